//! Owns the probes of one group: starts each when it is due, and says what came of it. Never judges, never chooses.

use std::{collections::BTreeMap, sync::Arc};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, SpawnHandle, WeakRecipient};
use rand_chacha::ChaCha8Rng;

use super::{
    Options,
    probe::{Probe, ProbeFailure},
    schedule::Schedule,
};
use crate::{
    env::{Env, Task},
    probe::{AUDITS, audit, audit_eq, mutant},
    target::{Reach, Target},
    time::{self, Duration, Instant},
};

/// The prober of one group.
pub struct Prober<R: Reach> {
    env: Env,
    probe: Arc<dyn Probe<R>>,
    timeout: Duration,
    schedule: Schedule<R::Key>,
    targets: BTreeMap<R::Key, Arc<Target<R>>>,
    tasks: BTreeMap<R::Key, Task>,
    /// Whoever listens. Weak, for it holds this actor: when it goes, so does the prober.
    results: WeakRecipient<Probed<R::Key>>,
    rng: ChaCha8Rng,
    timer: Option<(Instant, SpawnHandle)>,
}

impl<R: Reach> Prober<R> {
    /// A prober that watches nobody yet and reports to `results`.
    pub fn new(
        env: Env,
        options: Options,
        probe: Arc<dyn Probe<R>>,
        results: WeakRecipient<Probed<R::Key>>,
    ) -> Self {
        let rng = env.entropy.rng();
        Self {
            env,
            probe,
            timeout: options.timeout,
            schedule: Schedule::new(time::now(), options),
            targets: BTreeMap::new(),
            tasks: BTreeMap::new(),
            results,
            rng,
            timer: None,
        }
    }
}

/// Probe this target from now on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Watch<R: Reach>(pub Arc<Target<R>>);

/// Probe it no more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Unwatch<K: 'static>(pub K);

/// Real traffic had an answer from it just now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Answered<K: 'static>(pub K);

/// Who came into the active set and who left it: members are probed more often.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SetMembers<K: 'static> {
    /// Members that were none.
    pub joined: Vec<K>,
    /// Those that are members no more.
    pub left: Vec<K>,
}

/// Much depends on this one: probe it as soon as there is a place.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Hurry<K: 'static>(pub K);

/// A probe's task has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Ended<K: 'static>(Probed<K>);

/// Event: what came of a probe.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Probed<K: 'static> {
    /// Of whom.
    pub key: K,
    /// How long the answer took, or why there was none.
    pub result: Result<Duration, ProbeFailure>,
    /// How long it took in either case.
    pub elapsed: Duration,
    /// When it ended.
    pub at: Instant,
}

impl<R: Reach> Actor for Prober<R> {
    type Context = Context<Self>;
}

impl<R: Reach> Handler<Watch<R>> for Prober<R> {
    type Result = ();

    fn handle(&mut self, Watch(target): Watch<R>, ctx: &mut Self::Context) {
        let key = target.key();
        self.targets.insert(key.clone(), target);
        self.schedule.watch(time::now(), key);
        self.drive(ctx);
    }
}

impl<R: Reach> Handler<Unwatch<R::Key>> for Prober<R> {
    type Result = ();

    fn handle(&mut self, Unwatch(key): Unwatch<R::Key>, ctx: &mut Self::Context) {
        // A probe that is under way ends by itself: the schedule must not start a second one beside it.
        self.targets.remove(&key);
        self.schedule.unwatch(&key);
        self.drive(ctx);
    }
}

impl<R: Reach> Handler<Answered<R::Key>> for Prober<R> {
    type Result = ();

    fn handle(&mut self, Answered(key): Answered<R::Key>, _ctx: &mut Self::Context) {
        self.schedule.handle_answered(time::now(), &key);
    }
}

impl<R: Reach> Handler<SetMembers<R::Key>> for Prober<R> {
    type Result = ();

    fn handle(&mut self, set: SetMembers<R::Key>, ctx: &mut Self::Context) {
        self.schedule
            .set_members(time::now(), &set.joined, &set.left, &mut self.rng);
        self.drive(ctx);
    }
}

impl<R: Reach> Handler<Hurry<R::Key>> for Prober<R> {
    type Result = ();

    fn handle(&mut self, Hurry(key): Hurry<R::Key>, ctx: &mut Self::Context) {
        self.schedule.hurry(&key);
        self.drive(ctx);
    }
}

impl<R: Reach> Handler<Ended<R::Key>> for Prober<R> {
    type Result = ();

    fn handle(&mut self, Ended(probed): Ended<R::Key>, ctx: &mut Self::Context) {
        if let Some(task) = self.tasks.remove(&probed.key) {
            task.detach();
        }
        let refused = probed.result.is_err_and(ProbeFailure::is_refusal);
        if self.schedule.is_watched(&probed.key) || !mutant!("relisted-target-never-probed") {
            self.schedule
                .handle_probed(time::now(), &probed.key, refused, &mut self.rng);
        }
        if self.schedule.is_watched(&probed.key) {
            self.report(ctx, probed);
        }
        self.drive(ctx);
    }
}

impl<R: Reach> Prober<R> {
    fn drive(&mut self, ctx: &mut Context<Self>) {
        while let Some(key) = self.schedule.poll_probe(time::now(), &mut self.rng) {
            self.start_probe(ctx, key);
        }
        self.arm(ctx);
        self.check();
    }

    /// The schedule knows of every probe and every target, and of no others.
    fn check(&self) {
        if !AUDITS {
            return;
        }
        audit!(
            self.tasks.keys().eq(self.schedule.under_way()),
            "each probe under way has its task"
        );
        audit!(
            self.targets.keys().eq(self.schedule.everybody()),
            "whoever is watched is known, and nobody else is"
        );
        audit_eq!(
            self.timer.as_ref().map(|(armed, _)| *armed),
            self.schedule.poll_timeout(),
            "a prober is woken when somebody has its turn"
        );
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let due = self.schedule.poll_timeout();
        if self.timer.as_ref().map(|(armed, _)| *armed) == due {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(due) = due {
            let wait = due.saturating_duration_since(time::now());
            let timer = ctx.run_later(wait, |prober, ctx| {
                prober.timer = None;
                if ctx.connected() {
                    prober.drive(ctx);
                } else {
                    ctx.stop();
                }
            });
            self.timer = Some((due, timer));
        }
    }

    fn start_probe(&mut self, ctx: &mut Context<Self>, key: R::Key) {
        let Some(target) = self.targets.get(&key) else {
            return;
        };
        let (timeout, began) = (self.timeout, time::now());
        let asked = self.probe.probe(Arc::clone(target), timeout);
        let prober = ctx.address().downgrade();
        let of = key.clone();
        let task = async move {
            // The probe has a deadline of its own; this one is for a probe that forgets it.
            let result = time::within(timeout, asked)
                .await
                .unwrap_or(Err(ProbeFailure::Timeout));
            let at = time::now();
            let elapsed = at.saturating_duration_since(began);
            if let Some(prober) = prober.upgrade() {
                prober.do_send(Ended(Probed {
                    key: of,
                    result,
                    elapsed,
                    at,
                }));
            }
        };
        self.tasks.insert(key, self.env.spawn(task));
    }

    fn report(&self, ctx: &mut Context<Self>, probed: Probed<R::Key>) {
        match self.results.upgrade() {
            Some(results) => results.do_send(probed),
            None => ctx.stop(),
        }
    }
}
