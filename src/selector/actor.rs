//! Owns who of one group may be used, and publishes it. Never carries a session, never opens a connection.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, MessageResult, SpawnHandle};
use rand_chacha::ChaCha8Rng;
use tracing::debug;

use super::{
    active_set::ActiveSet,
    failures::Failures,
    group::Group,
    journal::{Decision, Journal},
    roster::{Action, Report, Roster},
    setup::Setup,
    status::{Status, TargetStatus},
    target::{Reach, Target, Tunnel},
};
use crate::{
    env::Env,
    id::Epoch,
    metrics::{GroupSeries, ProbeResult, TargetSeries},
    pool::{
        actor::{Add, Remove},
        dial::Dialled,
    },
    probe::{mutant, sometimes},
    prober::{
        actor::{Answered, Hurry, Probed, Prober, SetMembers},
        probe::ProbeFailure,
    },
    time::{self, Duration, Instant},
};

/// How often, in probe intervals, the prober is told that real traffic answers. More is a message for each session.
const ANSWERED_PER_INTERVAL: u32 = 4;

/// How many of those who stand by are named. More would only reach their visitors' deadlines.
const RESERVE_MAX: usize = 8;

/// The selector of one group.
pub struct Selector<R: Reach> {
    env: Env,
    group: Arc<Group<R>>,
    setup: Setup<R>,
    roster: Roster<R::Key>,
    targets: BTreeMap<R::Key, Known<R>>,
    active: BTreeMap<R::Key, Arc<Target<R>>>,
    /// Members that the prober has not been told of yet, in and out.
    moved: SetMembers<R::Key>,
    prober: Option<Addr<Prober<R>>>,
    /// Targets are probed now.
    watching: bool,
    series: GroupSeries,
    journal: Journal,
    failures: Failures<R::Key>,
    rng: ChaCha8Rng,
    timer: Option<(Instant, SpawnHandle)>,
}

struct Known<R> {
    target: Arc<Target<R>>,
    series: TargetSeries,
    /// When the prober was last told that it answers.
    told_at: Option<Instant>,
    /// It has answered once: that it does no more is news.
    answered: bool,
}

impl<R: Reach> Selector<R> {
    /// The selector that publishes to `group`.
    pub fn new(env: &Env, group: Arc<Group<R>>, setup: Setup<R>) -> Self {
        let interval = setup.probe.as_ref().map(|_| setup.probing.interval);
        let series = env.metrics.groups.join(group.name().as_str());
        let mut roster = Roster::new(time::now(), setup.selector.clone(), setup.scoring, interval);
        if setup.judges_by_answers() {
            roster = roster.judging_by_answers();
        }
        if setup.best_only {
            roster = roster.wanting_best_only();
        }
        Self {
            env: env.clone(),
            group,
            setup,
            roster,
            targets: BTreeMap::new(),
            active: BTreeMap::new(),
            moved: SetMembers {
                joined: Vec::new(),
                left: Vec::new(),
            },
            prober: None,
            watching: false,
            series,
            journal: Journal::default(),
            failures: Failures::default(),
            rng: env.entropy.rng(),
            timer: None,
        }
    }
}

/// A target serves this group from now on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Joined<R: Reach>(pub Arc<Target<R>>);

/// A target is gone: a key names one, an [`Epoch`] all those of a registration.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Left<K: 'static>(pub K);

/// A target takes no new sessions any more; it is gone when it has [`Left`].
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Draining<K: 'static>(pub K);

/// A session says how its target did.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Reported<K: 'static> {
    /// Which target.
    pub key: K,
    /// How it did.
    pub report: Report,
}

/// What was decided lately, oldest first.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<Decision>")]
pub struct ReadJournal;

/// How the group stands.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Status")]
pub struct ReadStatus;

/// The choice is no longer in force: nothing is probed or kept warm for it any more. Sessions on their way go on.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Retire;

impl<R: Reach> Actor for Selector<R> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(probe) = &self.setup.probe {
            let (env, options) = (self.env.clone(), self.setup.probing.clone());
            let results = ctx.address().downgrade().recipient();
            self.prober = Some(Prober::new(env, options, Arc::clone(probe), results).start());
        }
    }
}

impl<R: Reach> Handler<Joined<R>> for Selector<R> {
    type Result = ();

    fn handle(&mut self, Joined(target): Joined<R>, ctx: &mut Self::Context) {
        let (key, name) = (target.key(), target.reach.name());
        if let Some(client) = target.reach.place().client {
            let traffic = &self.env.metrics.client_traffic;
            let traffic = traffic.join(self.group.name().as_str(), client.as_str());
            target.gauges.count_traffic(traffic);
        }
        let gauges = Arc::clone(&target.gauges);
        let series =
            (self.env.metrics.targets).join(self.group.name().as_str(), &name, move || gauges.in_flight());
        let known = Known {
            target,
            series,
            told_at: None,
            answered: false,
        };
        self.targets.insert(key.clone(), known);
        self.count_targets();
        self.watch_newcomer(&key);
        self.roster.join(time::now(), key.clone(), &name, &mut self.rng);
        self.drive(ctx);
        // The first of those who stand by are named at once: whoever is a member may refuse the very first visitor.
        let is_member = self.active.contains_key(&key);
        if !is_member && self.group.active().reserve().len() < RESERVE_MAX {
            self.publish();
        }
    }
}

impl<R: Reach> Handler<Left<R::Key>> for Selector<R> {
    type Result = ();

    fn handle(&mut self, Left(key): Left<R::Key>, ctx: &mut Self::Context) {
        self.forget(&key);
        self.drive(ctx);
    }
}

impl Handler<Left<Epoch>> for Selector<Tunnel> {
    type Result = ();

    fn handle(&mut self, Left(epoch): Left<Epoch>, ctx: &mut Self::Context) {
        let gone = self.targets.keys().filter(|(of, _)| *of == epoch);
        let gone: Vec<_> = gone.cloned().collect();
        if gone.is_empty() || mutant!("group-keeps-dead-member") {
            return;
        }
        gone.iter().for_each(|key| self.forget(key));
        self.drive(ctx);
    }
}

impl<R: Reach> Handler<Draining<R::Key>> for Selector<R> {
    type Result = ();

    fn handle(&mut self, Draining(key): Draining<R::Key>, ctx: &mut Self::Context) {
        self.roster.drain(time::now(), &key);
        self.drive(ctx);
        self.name_no_more(&key);
    }
}

impl<R: Reach> Handler<Probed<R::Key>> for Selector<R> {
    type Result = ();

    fn handle(&mut self, probed: Probed<R::Key>, ctx: &mut Self::Context) {
        if let Err(failure) = probed.result {
            debug!(group = %self.group.name(), target = ?probed.key, %failure, "probe failed");
        }
        self.series.probed(match probed.result {
            Ok(_) => ProbeResult::Ok,
            Err(ProbeFailure::Refused) => ProbeResult::Refused,
            Err(ProbeFailure::Timeout) => ProbeResult::Timeout,
            Err(ProbeFailure::Unreachable | ProbeFailure::Broken | ProbeFailure::BadStatus(_)) => {
                ProbeResult::Failed
            }
        });
        let words =
            |failure: ProbeFailure| failure.words(&self.setup.probing.kind, self.setup.probing.timeout);
        match probed.result {
            Err(_) if self.roster.is_frozen() => {}
            result => self.heard(&probed.key, result.err().map(words)),
        }
        let answer = probed.result.ok();
        let members = self.active.len();
        self.roster
            .handle_probed(probed.at, &probed.key, answer, probed.elapsed, &mut self.rng);
        self.drive(ctx);
        sometimes!(self.active.len() < members, "target-left-out-by-probe");
        sometimes!(self.active.len() > members, "target-used-again");
    }
}

impl<R: Reach> Handler<Reported<R::Key>> for Selector<R> {
    type Result = ();

    fn handle(&mut self, Reported { key, report }: Reported<R::Key>, ctx: &mut Self::Context) {
        if let Report::Connected(_) = report
            && !self.setup.judges_by_answers()
        {
            self.tell_answered(&key);
        }
        match report {
            Report::Refused(_) | Report::TimedOut(_) | Report::BrokeEarly(_) => self.heard(&key, Some(None)),
            Report::Connected(_) if !self.setup.judges_by_answers() => self.heard(&key, None),
            Report::Broke => self.note_cause(&key),
            Report::Connected(_) | Report::Ended => {}
        }
        let members = self.active.len();
        self.roster
            .handle_report(time::now(), &key, report, &mut self.rng);
        // One session that breaks is no news; that too many did is.
        if report == Report::Broke && self.roster.is_open(&key) {
            self.heard(&key, Some(None));
        }
        self.drive(ctx);
        sometimes!(self.active.len() < members, "target-left-out-by-sessions");
    }
}

/// What a pool's dials came to is as good as a probe.
impl Handler<Dialled> for Selector<SocketAddr> {
    type Result = ();

    fn handle(&mut self, dialled: Dialled, ctx: &mut Self::Context) {
        let Dialled { addr, took, .. } = dialled;
        if let (Err(_), Some(known)) = (dialled.result, self.targets.get(&addr)) {
            known.target.gauges.note_failure(&dialled.why);
        }
        let report = match dialled.result {
            Ok(took) => Report::Connected(took),
            Err(io::ErrorKind::TimedOut) => Report::TimedOut(took),
            Err(_) => Report::Refused(took),
        };
        self.handle(Reported { key: addr, report }, ctx);
    }
}

impl<R: Reach> Handler<ReadJournal> for Selector<R> {
    type Result = MessageResult<ReadJournal>;

    fn handle(&mut self, _: ReadJournal, _ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.journal.decisions().cloned().collect())
    }
}

impl<R: Reach> Handler<ReadStatus> for Selector<R> {
    type Result = MessageResult<ReadStatus>;

    fn handle(&mut self, _: ReadStatus, _ctx: &mut Self::Context) -> Self::Result {
        let status = |(key, standing)| TargetStatus {
            standing,
            in_flight: self
                .targets
                .get(key)
                .map_or(0, |known| known.target.gauges.in_flight()),
        };
        MessageResult(Status {
            group: self.group.name().clone(),
            panic: self.roster.is_panicking(),
            frozen: self.roster.is_frozen(),
            last_resort: self.roster.is_last_resort(),
            targets: self.roster.standings(time::now()).map(status).collect(),
        })
    }
}

impl<R: Reach> Handler<Retire> for Selector<R> {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        self.keep_nothing_warm();
        ctx.stop();
    }
}

impl<R: Reach> Selector<R> {
    fn drive(&mut self, ctx: &mut Context<Self>) {
        while let Some(action) = self.roster.poll_action() {
            match action {
                Action::Enter(key) => self.enter(key),
                Action::Exit(key) => self.exit(key),
                Action::Publish => self.publish(),
                Action::Hurry(key) => {
                    if let Some(prober) = &self.prober {
                        prober.do_send(Hurry(key));
                    }
                }
                Action::Weigh(key) => self.weigh(time::now(), &key),
                Action::WeighAll => {
                    let now = time::now();
                    self.targets.keys().for_each(|key| self.weigh(now, key));
                }
                Action::Decided(decision) => {
                    self.tell_decision(&decision);
                    self.journal.push(decision);
                }
            }
        }
        self.show_usable();
        self.tell_failures();
        self.watch();
        self.arm(ctx);
        self.check();
    }

    fn count_targets(&self) {
        self.series
            .targets
            .set(i64::try_from(self.targets.len()).unwrap_or(i64::MAX));
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let due = self.roster.poll_timeout().into_iter();
        let due = due.chain(self.failures.poll_timeout()).min();
        if self.timer.as_ref().map(|(armed, _)| *armed) == due {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(due) = due {
            let wait = due.saturating_duration_since(time::now());
            let timer = ctx.run_later(wait, |selector, ctx| {
                selector.timer = None;
                // A timer would keep an actor alive that nobody can reach any more.
                if ctx.connected() {
                    selector.failures.handle_timeout(time::now());
                    selector.roster.handle_timeout(time::now(), &mut selector.rng);
                    if selector.active.len() < selector.targets.len() {
                        // Those who stand by may be others by now.
                        selector.publish();
                    }
                    selector.drive(ctx);
                } else {
                    ctx.stop();
                }
            });
            self.timer = Some((due, timer));
        }
    }

    fn enter(&mut self, key: R::Key) {
        if let Some(known) = self.targets.get(&key) {
            self.active.insert(key.clone(), Arc::clone(&known.target));
            self.series.changes.inc();
            if let Some(warm) = &self.setup.warm {
                warm.add.do_send(Add(key.clone()));
            }
            if self.prober.is_some() {
                self.moved.joined.push(key);
            }
        }
    }

    fn exit(&mut self, key: R::Key) {
        if mutant!("who-is-put-out-stays-active") {
            return;
        }
        self.active.remove(&key);
        self.series.changes.inc();
        if let Some(warm) = &self.setup.warm
            && !mutant!("removed-target-keeps-streams")
        {
            warm.remove.do_send(Remove(key.clone()));
        }
        if self.prober.is_some() {
            self.moved.left.push(key);
        }
    }

    fn publish(&mut self) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.series.active.set(count(self.active.len()));
        let reserve = self.roster.reserve(time::now(), RESERVE_MAX);
        let reserve = reserve
            .iter()
            .filter_map(|key| Some(Arc::clone(&self.targets.get(key)?.target)));
        let set = ActiveSet::new(self.active.values().cloned()).reserving(reserve.collect());
        self.group.publish(set);
        if let Some(prober) = &self.prober {
            prober.do_send(SetMembers {
                joined: std::mem::take(&mut self.moved.joined),
                left: std::mem::take(&mut self.moved.left),
            });
        }
    }

    /// Whoever stood by and does no more is to be seen by everybody; of members the roster says so itself.
    fn name_no_more(&mut self, key: &R::Key) {
        if self.group.active().reserves(key) {
            self.publish();
        }
    }

    /// Writes what strategies choose by.
    fn weigh(&self, now: Instant, key: &R::Key) {
        if let Some(known) = self.targets.get(key) {
            let gauges = &known.target.gauges;
            gauges.set_share(self.roster.share(now, key));
            if let Some(cost) = self.roster.cost(now, key) {
                gauges.set_cost(cost);
            }
            if let Some(standing) = self.roster.standing(now, key) {
                known.series.set_score(standing.score.total);
                if let Some(latency) = standing.score.latency {
                    known.series.set_latency(latency);
                }
                known.series.set_state(standing.shown());
            }
        }
    }

    /// Saves the prober a probe, and a message for each session.
    fn tell_answered(&mut self, key: &R::Key) {
        let (Some(prober), Some(known)) = (&self.prober, self.targets.get_mut(key)) else {
            return;
        };
        let now = time::now();
        let pause: Duration = self.setup.probing.interval / ANSWERED_PER_INTERVAL;
        if known.told_at.is_none_or(|told| now >= told + pause) {
            known.told_at = Some(now);
            prober.do_send(Answered(key.clone()));
        }
    }
}

mod audits;
mod tell;
mod watch;
#[cfg(test)]
mod tests;
