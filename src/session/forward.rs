//! One visitor of a forwarder: find an address, join the two, say how it went. A plain task, on any thread.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, info};

use super::{
    Options,
    approach::{Approach, ApproachError, Reached},
    direct::{Direct, Ended, Outcome},
    first_bytes::{FirstBytes, ReplayBudget},
    raw::RawStream,
};
use crate::{
    id::SessionId,
    metrics::{Counted, TrafficSeries},
    notice::times,
    probe::{mutant, sometimes},
    selector::strategy::bound_to,
    target::Target,
    time::{self, Instant},
};

/// What all sessions of a forwarder share.
pub struct Forwarding {
    /// The way to its candidates.
    pub approach: Approach,
    /// Where visitors are counted.
    pub traffic: TrafficSeries,
    /// How sessions behave.
    pub options: Options,
    /// The memory for what may have to be said again.
    pub budget: ReplayBudget,
}

/// Carries one visitor to its end. `slot` counts it against the limit, and keeps a drain waiting.
pub async fn forward(
    forwarding: Arc<Forwarding>,
    id: SessionId,
    visitor: RawStream,
    peer: SocketAddr,
    slot: OwnedSemaphorePermit,
) {
    let metrics = &forwarding.approach.env.metrics;
    let _counted = Counted::new(&metrics.sessions);
    let began = time::now();
    let visit = Visit {
        forwarding: &forwarding,
        began,
        peer,
        bound_to: bound_to(peer),
    };
    let (outcome, to, (up, down)) = visit.carry(visitor).await;
    metrics.session_outcomes.inc(outcome);
    forwarding.traffic.outcomes.inc(outcome);
    let to = to.map(|to| to.to_string()).unwrap_or_default();
    debug!(session = %id, visitor = %peer, %to, outcome, up, down, took = ?(time::now() - began), "session ended");
    if mutant!("session-slot-kept") {
        slot.forget();
    } else {
        drop(slot);
    }
}

/// One visitor's way.
struct Visit<'a> {
    forwarding: &'a Forwarding,
    began: Instant,
    peer: SocketAddr,
    bound_to: u64,
}

/// How a visit ended: for metrics, where it went, bytes up and down.
type End = (&'static str, Option<SocketAddr>, (u64, u64));

impl Visit<'_> {
    async fn carry(&self, visitor: RawStream) -> End {
        let metrics = &self.forwarding.approach.env.metrics;
        let reached = match self.reach(false).await {
            Ok(reached) => reached,
            // Dropping the visitor resets it: it must not look served.
            Err(error) => return (error.label(), None, (0, 0)),
        };
        metrics.start_seconds.observe(time::now() - self.began);
        let first = FirstBytes::new(self.forwarding.budget.clone());
        let direct = self.join(visitor, &reached.target, reached.stream);
        let direct = if reached.warm {
            direct.keeping(first)
        } else {
            direct
        };
        match direct.finish().await {
            Ended::Over(outcome, bytes) => self.end(outcome, bytes, &reached.target),
            // A stream that waited may have been left by its target in the very moment it was taken. It is said again
            // once, on a stream that did not wait.
            Ended::Stale(..) if mutant!("stale-stream-not-repeated") => {
                self.end(Outcome::UpstreamBroken, (0, 0), &reached.target)
            }
            Ended::Stale(visitor, first) => {
                sometimes!("warm-stream-was-stale");
                drop(reached.in_flight);
                metrics
                    .replays_ambiguous
                    .inc_by(u64::from(!first.bytes().is_empty()));
                self.repeat(visitor, first).await
            }
        }
    }

    async fn repeat(&self, visitor: RawStream, first: FirstBytes) -> End {
        let reached = match self.reach(true).await {
            Ok(reached) => reached,
            Err(error) => return (error.label(), None, (0, 0)),
        };
        let direct = self
            .join(visitor, &reached.target, reached.stream)
            .resending(&first);
        drop(first);
        match direct.finish().await {
            Ended::Over(outcome, bytes) => self.end(outcome, bytes, &reached.target),
            Ended::Stale(..) => self.end(Outcome::UpstreamBroken, (0, 0), &reached.target),
        }
    }

    async fn reach(&self, fresh: bool) -> Result<Reached, ApproachError> {
        let (approach, options) = (&self.forwarding.approach, &self.forwarding.options);
        let mut rng = approach.env.entropy.rng();
        // What is said again has its time anew: it had been served in time already.
        let from = if fresh { time::now() } else { self.began };
        let deadline = from + options.start_timeout;
        let reached = approach
            .reach(deadline, Some(self.bound_to), fresh, &mut rng)
            .await;
        reached.inspect_err(|error| self.turned_away(error))
    }

    /// Says that the visitor is not served, and why.
    fn turned_away(&self, error: &ApproachError) {
        let approach = &self.forwarding.approach;
        approach.group.count_turned_away();
        let (visitor, reason) = (self.peer, error.to_string());
        approach
            .env
            .notice("visitor", error.label().to_owned(), move |n| {
                info!(%visitor, reason, times = times(n), "visitor turned away");
            });
    }

    fn join(&self, visitor: RawStream, target: &Target<SocketAddr>, stream: RawStream) -> Direct {
        debug!(to = %target.reach, "joined");
        let meter = self.forwarding.approach.env.metrics.bytes.at_visitor();
        let meter = meter.also(&self.forwarding.traffic, None);
        Direct::new(visitor, stream, self.forwarding.options.half_closed_timeout).counting(meter)
    }

    fn end(&self, outcome: Outcome, bytes: (u64, u64), target: &Target<SocketAddr>) -> End {
        let well = match outcome {
            Outcome::VisitorGone if mutant!("leaving-visitor-held-against-candidate") => false,
            outcome => outcome != Outcome::UpstreamBroken,
        };
        self.forwarding.approach.report_end(target, well);
        (outcome.label(), Some(target.reach), bytes)
    }
}
