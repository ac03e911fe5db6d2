//! Who of a group may be used now, and why. Pure: it is told the time and handed randomness.
//!
//! `evidence.rs` says what a success or a failure means, `compose.rs` who is in the active set, `tick.rs` what
//! changes slowly.

mod audits;
mod compose;
mod entry;
mod evidence;
mod tick;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use rand::{Rng, RngExt};

use entry::Entry;

use super::{
    Options,
    health::State,
    journal::{Change, Decision, Reason},
    outage::LocalFault,
    target::SHARE_WHOLE,
};
use crate::{
    probe::{History, mutant},
    prober::{Scoring, ewma::RTT_DEFAULT, score::Score},
    time::{Duration, Instant},
};

/// In smaller groups soft evidence puts nobody out: there are too few to compare with.
pub const SOFT_GROUP_MIN: usize = 5;

/// By how much of itself the evaluation interval is lengthened or shortened, or nodes would decide in step.
const TICK_JITTER: f64 = 0.2;

/// The first evaluation comes sooner: by then those who could be measured are.
const FIRST_TICK: f64 = 0.3;

/// How many steps a slow start has.
const RAMP_STEPS: u32 = 20;

/// The least share a slow start begins with, in thousandths. Source: `min_weight_percent` of Envoy.
const RAMP_FROM: u32 = 100;

/// What a session says about its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It was reached, so long after it was asked.
    Connected(Duration),
    /// It refused, or could not be reached, after so long.
    Refused(Duration),
    /// It did not answer in time; so long was waited.
    TimedOut(Duration),
    /// What carried the session broke before it started, after so long.
    BrokeEarly(Duration),
    /// The session started, and broke on the target's side.
    Broke,
    /// The session started and ended as it should.
    Ended,
}

/// What the caller has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action<K> {
    /// It is a member of the active set from now on.
    Enter(K),
    /// It is a member no more.
    Exit(K),
    /// What entered and left is to be seen by everybody.
    Publish,
    /// Probe it soon: it may be well again.
    Hurry(K),
    /// Its cost or its share may have changed.
    Weigh(K),
    /// The cost of everybody may have changed.
    WeighAll,
    /// To be remembered.
    Decided(Decision),
}

/// One target as it stands, to be shown.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What people call it.
    pub name: Arc<str>,
    /// What its gate says.
    pub state: State,
    /// Whether it is in the active set.
    pub active: bool,
    /// Whether it is left out for its score.
    pub low: bool,
    /// How well it does.
    pub score: Score,
    /// How much of its weight counts, in thousandths.
    pub share: u32,
}

/// Decides who is in the active set of one group.
///
/// **Hard** evidence (gone, draining, several failed connects or sessions in a row) removes at once. **Soft** evidence
/// (latency, success ratio) is weighed at each evaluation, only in groups of five and more, and puts out half of
/// them at most. Where only the best are wanted, a low score counts in smaller groups too; at most half of those that are
/// not down are left out for it. When fewer than half are well ("panic") it is ignored, but never for those that are down. When nearly
/// all that were well fail their probes at once, no probe's failure is believed (see [`LocalFault`]); sessions' are.
/// When nobody is well, everybody present is a last resort, the least bad first, and one success is enough to be
/// well again.
///
/// Commands: [`join`](Self::join), [`leave`](Self::leave), [`drain`](Self::drain). Inputs: `handle_*`.
/// Outputs: `poll_*`.
#[derive(Debug)]
pub struct Roster<K> {
    options: Options,
    scoring: Scoring,
    probe_interval: Duration,
    /// Whether somebody probes: then who is put out is tried by probes, else by visitors.
    probed: bool,
    /// Probes ask for an answer: to be reached is not enough to be well, and no measure of how fast it is.
    by_answers: bool,
    /// A target that scores too little is left out at once, also where there are few.
    best_only: bool,
    entries: BTreeMap<K, Entry>,
    members: usize,
    /// When each gate, or the end of a hold-off, wants to be looked at.
    due: BTreeSet<(Instant, K)>,
    ramping: BTreeSet<K>,
    ramp_at: Option<Instant>,
    /// When the first target joined the empty group: who comes with it needs no slow start.
    populated_at: Instant,
    tick_at: Option<Instant>,
    improved_at: Option<Instant>,
    improved: History<Instant>,
    fault: LocalFault<K>,
    panic: bool,
    last_resort: bool,
    /// Who is joining right now.
    newcomer: Option<K>,
    /// The cost that scores half.
    reference: Duration,
    changed: bool,
    actions: VecDeque<Action<K>>,
}

impl<K: Ord + Clone> Roster<K> {
    /// A group without targets. `probe_interval` is that of members; `None` when nobody is probed.
    pub fn new(now: Instant, options: Options, scoring: Scoring, probe_interval: Option<Duration>) -> Self {
        Self {
            fault: LocalFault::new(options.evaluation_interval),
            reference: scoring.reference.unwrap_or(RTT_DEFAULT),
            options,
            scoring,
            probe_interval: probe_interval.unwrap_or_default(),
            probed: probe_interval.is_some(),
            by_answers: false,
            best_only: false,
            entries: BTreeMap::new(),
            members: 0,
            due: BTreeSet::new(),
            ramping: BTreeSet::new(),
            ramp_at: None,
            populated_at: now,
            tick_at: None,
            improved_at: None,
            improved: History::default(),
            panic: false,
            last_resort: false,
            newcomer: None,
            changed: false,
            actions: VecDeque::new(),
        }
    }

    /// Judges by what answers probes get, where those ask for more than to be reached.
    pub fn judging_by_answers(self) -> Self {
        Self {
            by_answers: true,
            ..self
        }
    }

    /// Leaves out at the next evaluation who scores too little, however few there are and however short it was a member.
    pub fn wanting_best_only(self) -> Self {
        Self {
            best_only: true,
            ..self
        }
    }

    /// Members of the active set.
    pub fn members(&self) -> usize {
        self.members
    }

    /// Targets of the group.
    pub fn targets(&self) -> usize {
        self.entries.len()
    }

    /// Whether soft evidence is ignored because too many are out.
    pub fn is_panicking(&self) -> bool {
        self.panic
    }

    /// Whether failed probes are not believed.
    pub fn is_frozen(&self) -> bool {
        self.fault.is_suspected()
    }

    /// Whether nobody is well.
    pub fn is_last_resort(&self) -> bool {
        self.last_resort
    }

    /// What a session costs on it while it is idle; `None` before anything was measured.
    pub fn cost(&self, now: Instant, key: &K) -> Option<Duration> {
        let entry = self.entries.get(key)?;
        entry.meter.is_measured(now).then(|| entry.meter.cost(now))
    }

    /// How much of its weight counts, in thousandths.
    pub fn share(&self, now: Instant, key: &K) -> u32 {
        let entry = self.entries.get(key);
        let mut slow_start = self.options.slow_start;
        if mutant!("slow-start-never-over") {
            slow_start *= 1000;
        }
        entry.map_or(SHARE_WHOLE, |entry| entry.share(now, slow_start))
    }

    /// One target as it stands.
    pub fn standing(&self, now: Instant, key: &K) -> Option<Standing> {
        self.entries.get(key).map(|entry| self.show(now, entry))
    }

    /// Every target as it stands.
    pub fn standings(&self, now: Instant) -> impl Iterator<Item = (&K, Standing)> {
        let show = move |(key, entry)| (key, self.show(now, entry));
        self.entries.iter().map(show)
    }

    fn show(&self, now: Instant, entry: &Entry) -> Standing {
        Standing {
            name: Arc::clone(&entry.name),
            state: entry.gate.state(),
            active: entry.active_since.is_some(),
            low: entry.low_since.is_some(),
            score: entry.meter.score(now, self.reference),
            share: entry.share(now, self.options.slow_start),
        }
    }

    /// A target has come. One that is there already stays as it is.
    pub fn join(&mut self, now: Instant, key: K, name: &str, rng: &mut impl Rng) {
        if self.entries.is_empty() {
            self.populated_at = now;
            let first = self.options.evaluation_interval.mul_f64(FIRST_TICK);
            self.tick_at = Some(now + jittered(first, rng));
        }
        if self.entries.contains_key(&key) {
            return;
        }
        let entry = Entry::new(now, name, &self.scoring, self.probe_interval);
        self.entries.insert(key.clone(), entry);
        let room = self
            .options
            .active_set_size
            .is_none_or(|size| self.members < size);
        if self.last_resort || self.panic {
            self.newcomer = Some(key);
            self.compose(now);
            self.newcomer = None;
        } else if room {
            // Nothing is known against a new one, and everybody else stays: no need to look at them all.
            self.enter(now, &key, Reason::Joined);
        }
        self.end(now);
    }

    /// A target has gone.
    pub fn leave(&mut self, now: Instant, key: &K) {
        if let Some(entry) = self.entries.get(key) {
            if entry.active_since.is_some() {
                self.exit(now, key, Reason::Left);
            }
            self.disarm(key);
            self.fault.forget(key);
            self.entries.remove(key);
        }
        self.fill_gap(now);
        if self.entries.is_empty() {
            self.tick_at = None;
        }
        self.end(now);
    }

    /// A target takes no new sessions any more.
    pub fn drain(&mut self, now: Instant, key: &K) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.gate.drain();
            if entry.active_since.is_some() {
                self.exit(now, key, Reason::Draining);
            }
            self.disarm(key);
        }
        self.fill_gap(now);
        self.end(now);
    }

    /// Says why a target failed, in words: it is part of what is decided because of it.
    pub fn note_cause(&mut self, key: &K, cause: &Arc<str>) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.cause = Some(Arc::clone(cause));
        }
    }

    /// A probe has ended: in an answer after so long, or in a failure after `elapsed`.
    pub fn handle_probed(
        &mut self,
        now: Instant,
        key: &K,
        answer: Option<Duration>,
        elapsed: Duration,
        rng: &mut impl Rng,
    ) {
        let Some(entry) = self.entries.get(key) else {
            return;
        };
        if entry.is_known_well() && self.fault.handle_probed(now, key, answer.is_none()) {
            self.note_fault(now);
        }
        match answer {
            Some(rtt) => self.succeeded(now, key, rtt),
            None if self.is_frozen() || mutant!("failing-probe-forgiven") => {}
            None => self.failed(now, key, elapsed, rng),
        }
        self.end(now);
    }

    /// A session says how it went.
    pub fn handle_report(&mut self, now: Instant, key: &K, report: Report, rng: &mut impl Rng) {
        self.reported(now, key, report, rng);
        self.end(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        let due = self.due.first().map(|(due, _)| *due);
        [due, self.ramp_at, self.tick_at].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant, rng: &mut impl Rng) {
        let mut compose = false;
        while let Some((due, key)) = self.due.first()
            && *due <= now
        {
            let key = key.clone();
            compose |= self.handle_due(now, &key);
        }
        if compose {
            self.compose(now);
        }
        if self.ramp_at.is_some_and(|at| at <= now) {
            self.ramp(now);
        }
        if self.tick_at.is_some_and(|at| at <= now) {
            self.tick(now, rng);
            self.tick_at = Some(now + jittered(self.options.evaluation_interval, rng));
        }
        self.end(now);
        self.check_rest(now);
    }

    /// What the caller has to do next.
    pub fn poll_action(&mut self) -> Option<Action<K>> {
        self.actions.pop_front()
    }

    /// The wait of a gate, or a hold-off, is over. Says whether that may change the set.
    fn handle_due(&mut self, now: Instant, key: &K) -> bool {
        let Some(entry) = self.entries.get_mut(key) else {
            self.due.retain(|(_, gone)| gone != key);
            return false;
        };
        let half_open = entry.gate.handle_timeout(now);
        if half_open && self.probed && entry.served {
            self.actions.push_back(Action::Hurry(key.clone()));
        }
        let usable = entry.is_usable(self.panic, self.probed);
        self.rearm(now, key);
        usable
    }

    /// Asks to be woken when `key` may change by itself.
    fn rearm(&mut self, now: Instant, key: &K) {
        self.disarm(key);
        if let Some(entry) = self.entries.get_mut(key) {
            let held = entry.gate.held_until(self.options.switching.hold_off);
            let held = held.filter(|held| entry.is_usable(self.panic, self.probed) && *held > now);
            entry.due = entry.gate.poll_timeout().or(held);
            if let Some(due) = entry.due {
                self.due.insert((due, key.clone()));
            }
        }
    }

    fn disarm(&mut self, key: &K) {
        if let Some(due) = self.entries.get_mut(key).and_then(|entry| entry.due.take()) {
            self.due.remove(&(due, key.clone()));
        }
    }

    /// Everybody in a slow start goes a step further.
    fn ramp(&mut self, now: Instant) {
        let slow_start = self.options.slow_start;
        let whole = |entry: &Entry| entry.share(now, slow_start) >= SHARE_WHOLE;
        for key in &self.ramping {
            self.actions.push_back(Action::Weigh(key.clone()));
        }
        let entries = &self.entries;
        self.ramping
            .retain(|key| entries.get(key).is_some_and(|entry| !whole(entry)));
        self.ramp_at = (!self.ramping.is_empty()).then(|| now + self.ramp_step());
    }

    fn ramp_step(&self) -> Duration {
        (self.options.slow_start / RAMP_STEPS).max(RAMP_STEP_MIN)
    }

    fn note_fault(&mut self, now: Instant) {
        let reason = match self.is_frozen() {
            true => Reason::Frozen,
            false => Reason::Thawed,
        };
        self.note(now, None, Change::Noted, reason);
    }

    fn note(&mut self, now: Instant, key: Option<&K>, change: Change, reason: Reason) {
        let entry = key.and_then(|key| self.entries.get(key));
        let decision = Decision {
            at: now,
            target: entry.map(|entry| Arc::clone(&entry.name)),
            change,
            reason,
            cause: entry.and_then(|entry| entry.cause.clone().filter(|_| reason.has_cause())),
            // Of a newcomer nothing is known that could have been a ground.
            score: entry
                .filter(|_| reason != Reason::Joined)
                .map(|entry| entry.meter.score(now, self.reference)),
            members: self.members,
            targets: self.entries.len(),
        };
        self.actions.push_back(Action::Decided(decision));
    }

    /// Ends every command and input: what changed is published once, and what is believed is checked.
    fn end(&mut self, _now: Instant) {
        if std::mem::take(&mut self.changed) {
            self.actions.push_back(Action::Publish);
        }
        self.check();
    }
}

/// The shortest step of a slow start.
const RAMP_STEP_MIN: Duration = Duration::from_millis(50);

/// `wait`, give or take a fifth.
fn jittered(wait: Duration, rng: &mut impl Rng) -> Duration {
    wait.mul_f64(rng.random_range(1.0 - TICK_JITTER..1.0 + TICK_JITTER))
}

#[cfg(test)]
mod any;
#[cfg(test)]
mod day;
#[cfg(test)]
mod few;
#[cfg(test)]
mod tests;
