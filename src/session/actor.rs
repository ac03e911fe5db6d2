//! Owns one visitor's way to an upstream: pick, take, start, report. Never touches a byte.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Recipient, WrapFuture};
use rand_chacha::ChaCha8Rng;
use std::net::SocketAddr;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::debug;

use super::{
    EMPTY_GROUP_TIMEOUT, Options, TAKE_TIMEOUT_MIN,
    attempts::{Attempts, Choice},
    carry::{Carried, Carry, Load, Witness},
    first_bytes::{FirstBytes, ReplayBudget},
    open::say_turned_away,
    patience::Patience,
    raw::RawStream,
    visitor_side::{Cause, Outcome},
    way::{Way, Ways},
};
use crate::{
    env::Env,
    id::{EntryName, SessionId},
    link::gauges::StartGuard,
    metrics::TrafficSeries,
    probe::{audit, mutant, sometimes},
    registry::actor::{Registry, SessionDispatched, SessionEnded},
    selector::{Strategy, actor::Reported, group::Group, strategy::bound_to},
    target::{InFlight, Reach, Target, Tunnel},
    time::{self, Instant},
    wire::message::{PROTOCOL_TCP, Start},
};

/// What all sessions of one entry share.
pub struct Desk {
    /// The world.
    pub env: Env,
    /// The entry they came in by.
    pub entry: EntryName,
    /// The group they go to.
    pub group: Arc<Group<Tunnel>>,
    /// How the group chooses.
    pub strategy: Strategy,
    /// Who is told how its targets did.
    pub reports: Recipient<Reported<<Tunnel as Reach>::Key>>,
    /// How sessions behave.
    pub options: Options,
    /// The memory for their first bytes.
    pub budget: ReplayBudget,
    /// Where visitors of the entry are counted.
    pub traffic: TrafficSeries,
    /// How many may wait for an empty group.
    pub waiting_max: usize,
    /// How they reach clients.
    pub ways: Ways,
    /// Who is told which session rides where.
    pub registry: Addr<Registry>,
    /// The randomness of choices.
    pub rng: RefCell<ChaCha8Rng>,
}

impl Desk {
    /// Says that a visitor was not served, why, and what the last target had said.
    pub fn turned_away(&self, visitor: SocketAddr, reason: &'static str, last: Option<Arc<str>>) {
        say_turned_away(&self.env, (&self.entry, &self.group), visitor, reason, last);
    }
}

/// One visitor.
pub struct Session {
    desk: Rc<Desk>,
    id: SessionId,
    peer: SocketAddr,
    visitor: Option<(RawStream, FirstBytes)>,
    attempts: Attempts,
    target: Option<Arc<Target<Tunnel>>>,
    /// Counts this session on its target, for those who choose after it.
    in_flight: Option<InFlight>,
    /// Why the last try failed, in words.
    failure: Option<Arc<str>>,
    accepted_at: Instant,
    dispatched: bool,
    /// Counts this session against the limit, and keeps a drain waiting.
    slot: OwnedSemaphorePermit,
}

impl Session {
    /// A visitor who has just been accepted.
    pub fn new(
        desk: Rc<Desk>,
        id: SessionId,
        visitor: RawStream,
        peer: SocketAddr,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        let accepted_at = time::now();
        let first = FirstBytes::new(desk.budget.clone());
        let attempts = Attempts::new(accepted_at, &desk.options).bound_to(bound_to(peer));
        let visitor = Some((visitor, first));
        desk.env.metrics.sessions.inc();
        Self {
            desk,
            id,
            peer,
            visitor,
            attempts,
            target: None,
            in_flight: None,
            failure: None,
            accepted_at,
            dispatched: false,
            slot,
        }
    }
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.drive(ctx);
    }
}

impl Session {
    fn drive(&mut self, ctx: &mut Context<Self>) {
        let active = self.desk.group.active();
        let mut rng = self.desk.rng.borrow_mut();
        let choice = self
            .attempts
            .choose(time::now(), &active, self.desk.strategy, &mut *rng);
        drop(rng);
        match choice {
            Choice::Try(target) => self.take(ctx, target),
            Choice::Pause(pause) => {
                ctx.run_later(pause, Self::drive);
            }
            Choice::Empty => self.wait_for_target(ctx),
            Choice::GiveUp(reason) => self.turn_away(ctx, reason),
        }
    }

    fn take(&mut self, ctx: &mut Context<Self>, target: Arc<Target<Tunnel>>) {
        let starting = target.reach.link.begin_start();
        self.in_flight = Some(target.gauges.begin());
        let patience = TAKE_TIMEOUT_MIN.max(target.reach.link.rtt() * 4);
        let deadline = (time::now() + patience).min(self.attempts.deadline());
        let way = self.desk.ways.find(&target.reach, deadline);
        self.target = Some(target);
        ctx.spawn(way.into_actor(self).map(move |way, session, ctx| match way {
            Some(way) => session.dispatch(ctx, way, starting),
            // Nobody is told: the pool may be at its limit, or the client on its way out.
            None => {
                if mutant!("failed-take-counts-as-starting") {
                    std::mem::forget(starting);
                }
                let cause = Cause::Broken;
                session.fail(
                    ctx,
                    Outcome::NotStarted {
                        cause,
                        ambiguous: false,
                    },
                );
            }
        }));
    }

    fn dispatch(&mut self, ctx: &mut Context<Self>, way: Way, starting: StartGuard) {
        let (Some(target), Some((visitor, first))) = (&self.target, self.visitor.take()) else {
            return;
        };
        let (abort_sender, abort) = oneshot::channel();
        let start = Start {
            session_id: self.id.value(),
            protocol: PROTOCOL_TCP.to_owned(),
            upstream: target.reach.upstream.to_string(),
            address: String::new(),
            visitor: self.peer.to_string(),
            entry: self.desk.entry.to_string(),
        };
        let patience = Patience::new(
            &self.desk.options,
            target.reach.link.rtt(),
            self.attempts.deadline(),
        );
        let load = Load {
            visitor,
            first,
            start,
            patience,
            starting,
            client: Arc::clone(&target.reach.link),
            abort,
            accepted_at: self.accepted_at,
            witness: Witness {
                key: target.key(),
                gauges: Arc::clone(&target.gauges),
                reports: self.desk.reports.clone(),
            },
            metrics: Arc::clone(&self.desk.env.metrics),
            meter: (self.desk.env.metrics.bytes.at_visitor())
                .also(&self.desk.traffic, target.gauges.traffic()),
        };
        let dispatched = SessionDispatched {
            session: self.id,
            ride: way.ride(),
            abort: abort_sender,
        };
        self.desk.registry.do_send(dispatched);
        self.dispatched = true;
        let (report, carried) = oneshot::channel();
        // Where the job is dropped unrun, it hands the visitor back.
        way.run(&self.desk.env, Box::new(Carry::new(load, report)));
        // Waiting for the report keeps this actor alive. A message could not: an actor without an address ends
        // as soon as it is idle, even when a message came in since it last looked.
        ctx.spawn(
            carried
                .into_actor(self)
                .map(|carried, session, ctx| session.handle_carried(ctx, carried.ok())),
        );
    }

    /// `None` when the try was torn down: its connection's task was aborted, and the visitor was reset.
    fn handle_carried(&mut self, ctx: &mut Context<Self>, carried: Option<Carried>) {
        match carried {
            Some(Carried {
                outcome,
                visitor: Some(visitor),
                ..
            }) => {
                self.visitor = Some(visitor);
                self.fail(ctx, outcome);
            }
            Some(Carried { outcome, bytes, .. }) => self.finish(ctx, outcome.label(), bytes),
            None => self.finish(ctx, Outcome::Broken.label(), (0, 0)),
        }
    }

    fn fail(&mut self, ctx: &mut Context<Self>, outcome: Outcome) {
        let target = match mutant!("turned-away-counted-at-client") {
            false => self.target.take(),
            true => self.target.clone(),
        };
        let Some(target) = target else {
            return;
        };
        self.in_flight = None;
        self.failure = target.gauges.failure();
        self.desk.env.metrics.tries_failed.inc(outcome.label());
        debug!(session = %self.id, client = %target.reach.client, reason = outcome.label(), "try failed");
        if self.attempts.handle_failed(target.key(), outcome) {
            self.desk.env.metrics.replays_ambiguous.inc();
        }
        self.drive(ctx);
    }

    fn wait_for_target(&mut self, ctx: &mut Context<Self>) {
        let group = Arc::clone(&self.desk.group);
        let waiting_max = self.desk.waiting_max;
        let left = self.attempts.deadline().saturating_duration_since(time::now());
        let patience = EMPTY_GROUP_TIMEOUT.min(left);
        let wait = async move {
            time::within(patience, group.wait_for_target(waiting_max))
                .await
                .flatten()
        };
        ctx.spawn(wait.into_actor(self).map(|came, session, ctx| match came {
            Some(()) => {
                sometimes!("visitor-waited-for-empty-group");
                session.drive(ctx);
            }
            None => session.turn_away(ctx, "no_target"),
        }));
    }

    /// Ends the session without an upstream, and says so.
    fn turn_away(&mut self, ctx: &mut Context<Self>, reason: &'static str) {
        self.desk.turned_away(self.peer, reason, self.failure.take());
        self.finish(ctx, reason, (0, 0));
    }

    /// Ends the session. A visitor that is still here is reset: it must not look served.
    fn finish(&mut self, ctx: &mut Context<Self>, outcome: &'static str, (up, down): (u64, u64)) {
        let before = self.desk.budget.used();
        self.visitor = None;
        if outcome == Outcome::VisitorGone.label()
            && mutant!("visitor-that-leaves-keeps-its-slot")
            && let Some(slot) = self.slot.split(1)
        {
            slot.forget();
        }
        let mut kept = self.desk.budget.used();
        if kept != before && mutant!("replay-bytes-shown-before-they-are-freed") {
            kept = before;
        }
        let kept = i64::try_from(kept).unwrap_or(i64::MAX);
        self.desk.env.metrics.replay_bytes.set(kept);
        if self.dispatched {
            self.desk.registry.do_send(SessionEnded(self.id));
        }
        self.desk.env.metrics.session_outcomes.inc(outcome);
        self.desk.traffic.outcomes.inc(outcome);
        let traffic = self.target.as_ref().and_then(|target| target.gauges.traffic());
        if let Some(traffic) = traffic {
            traffic.outcomes.inc(outcome);
        }
        let client = self
            .target
            .as_ref()
            .map(|target| target.reach.client.as_str())
            .unwrap_or_default();
        let took = time::now() - self.accepted_at;
        debug!(session = %self.id, visitor = %self.peer, client, outcome, up, down, ?took, "session ended");
        ctx.stop();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let before = self.desk.env.metrics.sessions.dec();
        audit!(before > 0, "a session that ends was counted");
    }
}
