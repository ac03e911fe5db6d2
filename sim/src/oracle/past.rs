//! What the plan has done to whom, as far as a run has come.

use std::time::Duration;

use super::{
    model::{Model, SETTLE},
    session::{Served, Session},
};
use crate::{
    fault::{AnyAct, Trouble},
    plan::Deed,
};

impl Model {
    /// Whether such trouble was felt at any time from then on.
    pub fn was_troubled(&self, from: Duration, such: impl Fn(&Trouble) -> bool) -> bool {
        let at = Duration::from_millis;
        self.plan.faults.iter().any(|fault| {
            let over = fault.to_ms.is_some_and(|to| at(to) + SETTLE < from);
            let harms = at(fault.from_ms) + self.plan.harmless_for(fault);
            harms <= self.now && !over && such(&self.plan.troubles(&fault.act))
        })
    }

    /// Since when the server has been told to stop and serves everybody as before, and until when, if it does `now`.
    pub fn drain_delay(&self, now: Duration) -> Option<(Duration, Duration)> {
        let at = Duration::from_millis;
        let of_server = |act: &AnyAct| self.plan.troubles(act).server;
        let stops = self.plan.faults.iter().filter(|fault| of_server(&fault.act));
        let mut delays = stops.filter_map(|fault| {
            let delay = self
                .plan
                .drain_delay(&fault.act)
                .min(self.plan.harmless_for(fault));
            let from = at(fault.from_ms);
            let until = fault.to_ms.map_or(from + delay, |to| at(to).min(from + delay));
            Some((from, until)).filter(|_| !delay.is_zero())
        });
        delays.find(|(from, until)| (*from..*until).contains(&now))
    }

    /// Whether a fault ended after `from` that troubles `such`: with the end of a stop a process is killed, also one that
    /// served on.
    pub fn has_ended(&self, from: Duration, such: impl Fn(&Trouble) -> bool) -> bool {
        self.plan.faults.iter().any(|fault| {
            let to = fault.to_ms.map(Duration::from_millis);
            let ended = to.is_some_and(|to| (from..=self.now).contains(&to));
            ended && such(&self.plan.troubles(&fault.act))
        })
    }

    /// Whether a door was shut while `session` came in by it, perhaps: whoever a kernel had taken and nobody had accepted
    /// yet is reset then.
    pub fn was_shut_out(&self, session: &Session) -> bool {
        self.plan.faults.iter().any(|fault| {
            let at = Duration::from_millis(fault.from_ms);
            let his = matches!(&fault.act, AnyAct::Shut(shut) if self.plan.clients[shut.upstream] == session.visit.group);
            his && session.greeted.is_none() && (session.opened..=self.now).contains(&at)
        })
    }

    /// Whether a client's process died at any time from then on, or so shortly before that what it had sent was still
    /// under way.
    pub fn was_killed(&self, client: usize, from: Duration) -> bool {
        let at = Duration::from_millis;
        self.plan.faults.iter().any(|fault| {
            let trouble = self.plan.troubles(&fault.act);
            // A forwarder's streams end at it.
            let his = trouble.clients.contains(&client) || (trouble.server && self.plan.forward.is_some());
            let died = fault.act.kills() && his;
            let over = fault.to_ms.is_some_and(|to| at(to) + SETTLE < from);
            died && at(fault.from_ms) <= self.now && !over
        })
    }

    /// Whether a client could not do as it would at any time from then on: it stood still, crawled, was away,
    /// or found no name.
    pub fn was_hampered(&self, client: usize, from: Duration) -> bool {
        let at = Duration::from_millis;
        self.plan.faults.iter().any(|fault| {
            let hampers = matches!(
                fault.act,
                AnyAct::Pause(_)
                    | AnyAct::Sluggish(_)
                    | AnyAct::Crash(_)
                    | AnyAct::PowerLoss(_)
                    | AnyAct::Stop(_)
                    | AnyAct::FailNames(_)
                    | AnyAct::MoveNames(_)
                    | AnyAct::TakePorts(_)
            );
            let over = fault.to_ms.is_some_and(|to| at(to) + SETTLE < from);
            let trouble = fault.act.troubles();
            let his = trouble.clients.contains(&client) || trouble.server;
            hampers && his && at(fault.from_ms) <= self.now && !over
        })
    }

    /// Whether that client or the server was in trouble at any time from then on, apart from impostors.
    pub fn was_troubled_besides_impostors(&self, from: Duration, client: usize) -> bool {
        let at = Duration::from_millis;
        let others = self.plan.faults.iter();
        let mut others = others.filter(|fault| !matches!(fault.act, AnyAct::Usurp(_)));
        others.any(|fault| {
            let trouble = fault.act.troubles();
            let over = fault.to_ms.is_some_and(|to| at(to) + SETTLE < from);
            at(fault.from_ms) <= self.now && !over && (trouble.server || trouble.clients.contains(&client))
        })
    }

    /// Whether somebody may have taken the client's name, and the server have told it to come back later.
    pub fn may_have_been_told_to_wait(&self, client: usize) -> bool {
        let takes = |deed: &Deed| match deed {
            Deed::DuplicateId { client: whose, .. } | Deed::ReplayControl { client: whose } => {
                *whose == client
            }
            _ => false,
        };
        self.plan.strangers.iter().any(|one| takes(&one.deed))
    }

    /// Registered clients that are none, at most.
    pub fn shams(&self) -> usize {
        let sham = |deed: &Deed| matches!(deed, Deed::NeverServes { .. } | Deed::Flaps { .. });
        let now = u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX);
        let begun = |at_ms: u64| now >= at_ms && now < at_ms + 60_000;
        self.plan
            .strangers
            .iter()
            .filter(|one| sham(&one.deed) && begun(one.at_ms))
            .count()
    }

    /// Whether that connection came to a service that ails to the end in a way that loses whoever comes.
    fn is_lost(&self, served: &Served) -> bool {
        // Who speaks first has spoken as the connection came.
        let since = match self.plan.knobs.probe_http {
            true => served.asked.unwrap_or(served.accepted),
            false => served.accepted,
        };
        let lost = self.plan.ails_for_good(served.upstream);
        lost.is_some_and(|from| since >= from)
    }

    /// Whether `session` was brought to such a service, as far as anybody can see.
    pub fn has_met_the_lost(&self, session: &Session) -> bool {
        if !self.plan.has_lost_service() {
            return false;
        }
        self.served.iter().any(|(serial, served)| {
            let unknown = served.request.is_none() && served.accepted >= session.opened;
            (unknown || session.seen_by.contains(serial)) && self.is_lost(served)
        })
    }

    /// Whether the session of that number waits for a service that says nothing any more, and does so to the end.
    pub fn is_lost_on_a_mute(&self, id: u64) -> bool {
        let Some(session) = self.sessions.get(&id) else {
            return false;
        };
        match session.greeted {
            Some((_, greeting)) => {
                let served = self.served.get(&greeting.serial);
                served.is_some_and(|served| self.is_lost(served))
            }
            None => self.has_met_the_lost(session),
        }
    }

    /// The upstreams on which `session` was started, as far as anybody can see.
    pub fn started_on<'a>(&'a self, session: &'a Session) -> impl Iterator<Item = usize> + 'a {
        let greeted = session.greeted.iter().map(|(_, greeting)| greeting.serial);
        let seen = session.seen_by.iter().copied().chain(greeted);
        seen.filter_map(|serial| self.served.get(&serial))
            .map(|served| served.upstream)
    }

    /// Whether a try that came to nothing may be the last, because its bytes must not be repeated, or could
    /// not be kept.
    pub fn is_cautious(&self) -> bool {
        !self.plan.knobs.replay_unacknowledged || self.plan.knobs.replay_bytes < (1 << 20)
    }

    /// The upstreams that a forwarder brought `session` to, as far as anybody can see.
    pub fn used_by<'a>(&'a self, session: &'a Session) -> impl Iterator<Item = usize> + 'a {
        session.brought_to.iter().copied().chain(self.started_on(session))
    }

    /// Whether the upstream of a forwarder may have ended `session` in good order, because it seemed to be idle: the
    /// forwarder stood still.
    pub fn may_be_idle(&self, session: &Session) -> bool {
        let mute = |serial: u64| {
            self.served
                .get(&serial)
                .is_some_and(|served| served.request.is_none())
        };
        let greeted = session.greeted.is_none_or(|(_, greeting)| mute(greeting.serial));
        self.candidates.is_some() && session.exposure.server && greeted
    }

    /// Whether a fault began at an upstream, or at the server, since then.
    pub fn was_struck(&self, from: Duration) -> bool {
        self.plan.faults.iter().any(|fault| {
            let at = Duration::from_millis(fault.from_ms);
            let trouble = self.plan.troubles(&fault.act);
            (from..=self.now).contains(&at) && (trouble.server || !trouble.clients.is_empty())
        })
    }

    /// Whether that upstream was in trouble, or the server, at any time from then on.
    pub fn was_ill(&self, upstream: usize, from: Duration) -> bool {
        let at = Duration::from_millis;
        self.plan.faults.iter().any(|fault| {
            let over = fault.to_ms.is_some_and(|to| at(to) + SETTLE < from);
            let trouble = self.plan.troubles(&fault.act);
            at(fault.from_ms) <= self.now && !over && (trouble.server || trouble.clients.contains(&upstream))
        })
    }

    /// Whether an upstream in trouble was connected since `session` began, for nobody knows whom.
    pub fn perhaps_started_in_trouble(&self, session: &Session) -> bool {
        self.served.values().any(|served| {
            served.request.is_none()
                && served.accepted >= session.opened
                && session.exposure.clients.contains(&served.upstream)
        })
    }
}
