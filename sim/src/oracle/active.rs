//! What is felt of a fault, or of a stranger's deed, and for how long.

use std::time::Duration;

use crate::{fault::Trouble, plan::Plan};

/// A fault, or a stranger's deed, that may still be felt.
#[derive(Clone, Debug)]
pub struct Active {
    /// Its number in the plan.
    pub nth: usize,
    /// Whom it troubles.
    pub trouble: Trouble,
    /// When it began.
    pub since: Duration,
    /// It is over as soon as it has begun, and found out when silence is.
    pub silent: bool,
    /// A process dies of it, and leaves it to its kernel to end connections.
    pub kills: bool,
    /// What is served already goes on.
    pub spares_served: bool,
    /// A client leaves in good order.
    pub farewell: Option<Farewell>,
    /// When it is no excuse any more.
    pub until: Option<Duration>,
}

/// A client on its way out. Nobody whom it serves is to notice; newcomers have to go elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Farewell {
    /// Which.
    pub client: usize,
    /// When its time is over, and what it still serves is reset.
    pub until: Duration,
    /// It is gone.
    pub gone: bool,
}

/// Before the time of a client that leaves is over, what it serves may already be seen to be reset.
const FAREWELL_GRACE: Duration = Duration::from_millis(200);

impl Active {
    /// Trouble from `since` on that says nothing else of itself.
    pub fn new(nth: usize, trouble: Trouble, since: Duration, until: Option<Duration>) -> Self {
        Self {
            nth,
            trouble,
            since,
            silent: false,
            kills: false,
            spares_served: false,
            farewell: None,
            until,
        }
    }

    /// The fault of that number, which begins `now`.
    pub fn of_fault(plan: &Plan, nth: usize, now: Duration) -> Self {
        let fault = &plan.faults[nth];
        let act = &fault.act;
        let time = plan.drain_delay(act) + Duration::from_millis(plan.knobs.drain_timeout_ms);
        let farewell = act.bids_farewell().map(|client| Farewell {
            client,
            until: now + time - FAREWELL_GRACE,
            gone: false,
        });
        Self {
            silent: act.is_silent(),
            kills: act.kills(),
            spares_served: act.spares_served(),
            farewell,
            ..Self::new(nth, plan.troubles(act), now + plan.harmless_for(fault), None)
        }
    }

    /// Whether it harms nobody, because a client only leaves, and has not been killed before it was gone.
    pub fn is_harmless(&self, now: Duration) -> bool {
        let killed = |farewell: Farewell| self.until.is_some() && !farewell.gone;
        self.farewell
            .is_some_and(|farewell| now < farewell.until && !killed(farewell))
    }
}
