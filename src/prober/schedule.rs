//! Who is probed when. Pure: it is told the time and handed randomness.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::{Rng, RngExt};

use super::Options;
use crate::{
    probe::{AUDITS, History, audit, audit_eq, measure, mutant},
    time::{Duration, Instant},
};

/// How soon somebody outside the active set is probed again at the earliest. Sooner is traffic for nothing; later
/// would break [`OTHERS_BOUND`].
const OTHERS_EVERY: Duration = Duration::from_secs(20);

/// Within what everybody outside the active set is probed where they are few.
const OTHERS_BOUND: Duration = Duration::from_secs(30);

/// By how much of itself a wait is lengthened or shortened, or nodes that started together would probe together.
const JITTER: f64 = 0.2;

/// How soon a member that turned a probe down is asked again, as a share of the interval, and how often in a row:
/// enough for its gate to know. Sooner would put out whoever restarts.
const CONFIRM_AFTER: f64 = 0.1;
const CONFIRMATIONS: u32 = 2;

/// How many probes may be under way at once where that is enough. Fewer lets a few that are silent delay the
/// others; more is a burst of connections.
const AT_ONCE_MIN: usize = 32;

/// Decides who is probed when.
///
/// Members are probed an interval after they last answered, be it a probe or real traffic, and much sooner when they
/// have just turned one down: whoever is dead is to be out within one interval, not three. Of the others, a steady
/// trickle of `candidate_count` in each interval is probed, those first that were never probed, then those that
/// waited longest; but nobody again before 20 s have passed. So everybody is probed within [`bound`](Self::bound).
/// Who is asked for by name is taken in a trickle of its own, as thin.
///
/// Commands: [`watch`](Self::watch), [`unwatch`](Self::unwatch), [`set_members`](Self::set_members),
/// [`hurry`](Self::hurry). Inputs: `handle_*`. Outputs: [`poll_probe`](Self::poll_probe),
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Schedule<K> {
    options: Options,
    watched: BTreeMap<K, Watched>,
    members: BTreeSet<(Instant, K)>,
    /// By when they were last probed: never comes first.
    others: BTreeSet<(Option<Instant>, K)>,
    hurried: VecDeque<K>,
    /// Probes under way, also of those that are watched no more.
    probing: BTreeSet<K>,
    others_trickle: Trickle,
    hurried_trickle: Trickle,
}

/// How one target is waiting.
#[derive(Clone, Debug)]
struct Watched {
    member: bool,
    hurried: bool,
    /// The last probe or answer.
    last: Option<Instant>,
    /// Since it was queued, real traffic has answered.
    answered: Option<Instant>,
    /// Probes in a row that it turned down.
    refusals: u32,
    /// As a member: when it is due. Its place in the queue.
    due: Instant,
    /// Of each probe, whether it was turned down.
    refused: History<bool>,
}

/// A steady trickle of places: an even grid, each place a little before or after its point.
#[derive(Clone, Copy, Debug)]
struct Trickle {
    /// The next point of the grid.
    point: Instant,
    /// The next place, at most a fifth of a step from its point.
    place: Instant,
}

impl Trickle {
    fn take(&mut self, now: Instant, step: Duration, patience: Duration, rng: &mut impl Rng) {
        // A small delay is made up for; after a long one the grid starts anew.
        let behind = now.saturating_duration_since(self.point);
        self.point = if behind > patience { now } else { self.point } + step;
        self.place = self.point - step.mul_f64(rng.random_range(0.0..JITTER));
    }
}

impl<K: Ord + Clone> Schedule<K> {
    /// A schedule without targets.
    pub fn new(now: Instant, options: Options) -> Self {
        let trickle = Trickle {
            point: now,
            place: now,
        };
        Self {
            options,
            watched: BTreeMap::new(),
            members: BTreeSet::new(),
            others: BTreeSet::new(),
            hurried: VecDeque::new(),
            probing: BTreeSet::new(),
            others_trickle: trickle,
            hurried_trickle: trickle,
        }
    }

    /// Whether this one is probed at all.
    pub fn is_watched(&self, key: &K) -> bool {
        self.watched.contains_key(key)
    }

    /// Probes under way.
    pub fn probing(&self) -> usize {
        self.probing.len()
    }

    /// Within what time everybody outside the active set is probed: 30 s, or what `candidate_count` takes for all.
    pub fn bound(&self) -> Duration {
        OTHERS_BOUND.max(self.round())
    }

    /// What one round through all others takes.
    fn round(&self) -> Duration {
        let n = self.watched.len() - self.members_watched();
        let count = self.options.candidate_count.of(n);
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        self.options.interval.mul_f64(f64::from(n) / count as f64)
    }

    fn members_watched(&self) -> usize {
        // Those being probed are in neither queue; they count as others, which only makes a round look longer.
        self.members.len()
    }

    /// Between two places of a trickle: a round has one place more than targets, which pays for the jitter.
    fn step(&self) -> Duration {
        let n = self.watched.len() - self.members_watched();
        let count = self.options.candidate_count.of(n);
        self.options
            .interval
            .div_f64(count as f64)
            .mul_f64(n.max(1) as f64 / (n as f64 + 1.0))
    }

    /// How many probes may be under way: twice what silent targets alone would hold.
    fn at_once_max(&self) -> usize {
        let others = self.watched.len() - self.members_watched();
        let each_interval = self.members.len() + 2 * self.options.candidate_count.of(others);
        let intervals = self
            .options
            .timeout
            .div_duration_f64(self.options.interval.max(STEP_MIN));
        AT_ONCE_MIN.max((each_interval as f64 * intervals).ceil() as usize)
    }

    /// A new target; it is probed before those that were probed already.
    pub fn watch(&mut self, now: Instant, key: K) {
        if self.watched.contains_key(&key) {
            return;
        }
        let fresh = Watched {
            member: false,
            hurried: false,
            last: None,
            answered: None,
            refusals: 0,
            due: now,
            refused: History::default(),
        };
        self.watched.insert(key.clone(), fresh);
        self.enqueue(&key);
        self.check();
    }

    /// It is probed no more.
    pub fn unwatch(&mut self, key: &K) {
        self.dequeue(key);
        if let Some(gone) = self.watched.remove(key)
            && gone.hurried
        {
            self.hurried.retain(|waiting| waiting != key);
        }
        self.check();
    }

    /// Who came into the active set, and who left it.
    pub fn set_members(&mut self, now: Instant, joined: &[K], left: &[K], rng: &mut impl Rng) {
        let moves = joined
            .iter()
            .map(|key| (key, true))
            .chain(left.iter().map(|key| (key, false)));
        for (key, member) in moves {
            self.dequeue(key);
            if let Some(watched) = self.watched.get_mut(key) {
                watched.member = member;
                // Who was never measured is measured now, not in an interval.
                watched.due = watched
                    .last
                    .map_or(now, |last| last + jittered(self.options.interval, rng));
                self.enqueue(key);
            }
        }
        self.check();
    }

    /// Probe this one as soon as there is a place: much depends on it.
    pub fn hurry(&mut self, key: &K) {
        if let Some(watched) = self.watched.get_mut(key)
            && !watched.hurried
        {
            watched.hurried = true;
            self.hurried.push_back(key.clone());
        }
        self.check();
    }

    /// Real traffic had an answer, which is as good as a probe's.
    pub fn handle_answered(&mut self, now: Instant, key: &K) {
        // Only noted, for this is said often; the queue is put right when its turn comes.
        if let Some(watched) = self.watched.get_mut(key) {
            watched.answered = Some(now);
        }
    }

    /// The probe of `key` has ended, one way or the other. `refused`: it said no, which is an answer too, so it is not
    /// the way that is at fault.
    pub fn handle_probed(&mut self, now: Instant, key: &K, refused: bool, rng: &mut impl Rng) {
        if !self.probing.remove(key) {
            return;
        }
        if let Some(watched) = self.watched.get_mut(key) {
            watched.refused.push(refused);
            watched.refusals = if refused {
                watched.refusals.saturating_add(1)
            } else if watched.refusals > 0 && mutant!("refusals-outlive-an-answer") {
                watched.refusals
            } else {
                0
            };
            let wait = match watched.refusals {
                1..=CONFIRMATIONS => self.options.interval.mul_f64(CONFIRM_AFTER),
                _ => self.options.interval,
            };
            watched.due = now + jittered(wait, rng);
            watched.check(now, &self.options);
            self.enqueue(key);
        }
        self.check();
    }

    /// Probes under way, one by one.
    pub(super) fn under_way(&self) -> impl Iterator<Item = &K> {
        self.probing.iter()
    }

    /// Everybody who is probed.
    pub(super) fn everybody(&self) -> impl Iterator<Item = &K> {
        self.watched.keys()
    }

    /// The next target whose time has come; the caller probes it and says so when it has ended.
    pub fn poll_probe(&mut self, now: Instant, rng: &mut impl Rng) -> Option<K> {
        if self.probing.len() >= self.at_once_max() {
            return None;
        }
        let next = self
            .next_hurried(now, rng)
            .or_else(|| self.next_member(now, rng))
            .or_else(|| self.next_other(now, rng));
        let Some(key) = next else {
            self.check_rest(now);
            return None;
        };
        self.dequeue(&key);
        self.probing.insert(key.clone());
        if let Some(watched) = self.watched.get_mut(&key) {
            if let Some(last) = watched.last {
                let waited = now.saturating_duration_since(last);
                match watched.member {
                    true => measure!("member-probed-after-ms", waited),
                    false => measure!("other-probed-after-ms", waited),
                }
            }
            watched.last = Some(now);
            watched.answered = None;
        }
        self.check();
        Some(key)
    }

    /// When to ask [`poll_probe`](Self::poll_probe) again, unless a probe ends before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.probing.len() >= self.at_once_max() {
            return None;
        }
        let hurried = (!self.hurried.is_empty()).then_some(self.hurried_trickle.place);
        let member = self.members.first().map(|(due, _)| *due);
        let other = self.others.first().map(|(last, _)| self.other_due(*last));
        [hurried, member, other].into_iter().flatten().min()
    }

    fn next_hurried(&mut self, now: Instant, rng: &mut impl Rng) -> Option<K> {
        while !self.hurried.is_empty() && now >= self.hurried_trickle.place {
            let key = self.hurried.pop_front()?;
            let watched = self.watched.get_mut(&key)?;
            let probing = self.probing.contains(&key);
            watched.hurried = probing && mutant!("hurried-while-probed-never-again");
            // One that is being probed already gets its answer that way.
            if !probing {
                let step = self.step();
                self.hurried_trickle.take(now, step, self.options.interval, rng);
                return Some(key);
            }
        }
        None
    }

    fn next_member(&mut self, now: Instant, rng: &mut impl Rng) -> Option<K> {
        loop {
            let (due, key) = self.members.first()?;
            if *due > now {
                return None;
            }
            let key = key.clone();
            let watched = self.watched.get_mut(&key)?;
            let Some(answered) = watched.answered.take() else {
                return Some(key);
            };
            self.members.remove(&(watched.due, key.clone()));
            watched.last = watched.last.max(Some(answered));
            watched.due = answered + jittered(self.options.interval, rng);
            self.members.insert((watched.due, key));
        }
    }

    fn next_other(&mut self, now: Instant, rng: &mut impl Rng) -> Option<K> {
        loop {
            let (last, key) = self.others.first()?;
            if self.other_due(*last) > now {
                return None;
            }
            let key = key.clone();
            let watched = self.watched.get_mut(&key)?;
            let Some(answered) = watched.answered.take() else {
                audit!(
                    watched.last.is_none_or(|last| now >= last + OTHERS_EVERY),
                    "nobody who is no member is probed again that soon"
                );
                let step = self.step();
                self.others_trickle.take(now, step, self.options.interval, rng);
                return Some(key);
            };
            self.others.remove(&(watched.last, key.clone()));
            watched.last = watched.last.max(Some(answered));
            self.others.insert((watched.last, key));
        }
    }

    /// When the first of the others, last probed at `last`, has its turn.
    fn other_due(&self, last: Option<Instant>) -> Instant {
        let mut place = self.others_trickle.place;
        if mutant!("only-members-probed") {
            place += OTHERS_BOUND * 1000;
        }
        last.map_or(place, |last| place.max(last + OTHERS_EVERY))
    }

    fn enqueue(&mut self, key: &K) {
        if let Some(watched) = self.watched.get(key)
            && !self.probing.contains(key)
        {
            if watched.member {
                self.members.insert((watched.due, key.clone()));
            } else {
                self.others.insert((watched.last, key.clone()));
            }
        }
    }

    fn dequeue(&mut self, key: &K) {
        if let Some(watched) = self.watched.get(key) {
            if watched.member {
                self.members.remove(&(watched.due, key.clone()));
            } else {
                self.others.remove(&(watched.last, key.clone()));
            }
        }
    }

    fn check(&self) {
        audit!(
            self.members.len() + self.others.len() <= self.watched.len(),
            "only who is watched waits for a probe"
        );
        audit!(
            self.members.len() + self.others.len() + self.probing.len() >= self.watched.len(),
            "who is watched waits for a probe or is being probed"
        );
        if AUDITS && self.watched.len() <= RECOUNTED_MAX {
            self.recount();
        }
    }

    /// Where everybody stands, one by one.
    fn recount(&self) {
        for (key, watched) in &self.watched {
            let hurried = self.hurried.iter().filter(|waiting| *waiting == key).count();
            audit_eq!(
                hurried,
                usize::from(watched.hurried),
                "who is marked as hurried stands in its queue, once"
            );
            let is_probed = self.probing.contains(key);
            let as_member = self.members.contains(&(watched.due, key.clone()));
            let as_other = self.others.contains(&(watched.last, key.clone()));
            audit_eq!(
                (as_member, as_other),
                (!is_probed && watched.member, !is_probed && !watched.member),
                "who is not being probed waits where it belongs"
            );
        }
        let hurried = self.watched.values().filter(|watched| watched.hurried);
        let waiting = self.watched.keys().filter(|key| !self.probing.contains(key));
        audit_eq!(
            (self.hurried.len(), self.members.len() + self.others.len()),
            (hurried.count(), waiting.count()),
            "nobody else waits, and nobody twice"
        );
    }

    /// Nobody is to be probed at this moment: somebody will be, and not too late.
    fn check_rest(&self, now: Instant) {
        if !AUDITS || self.probing.len() >= self.at_once_max() {
            return;
        }
        let nobody = self.members.is_empty() && self.others.is_empty() && self.hurried.is_empty();
        let latest = now + OTHERS_EVERY.max(self.options.interval.mul_f64(1.0 + JITTER)) + STEP_MIN;
        audit!(
            match self.poll_timeout() {
                None => nobody,
                Some(due) => !nobody && due > now && due <= latest,
            },
            "who waits has its turn, and not before it is due"
        );
        let first = self.members.first();
        audit!(
            first.is_none_or(|(due, _)| *due <= now + self.options.interval.mul_f64(1.0 + JITTER) + STEP_MIN),
            "a member is probed within an interval"
        );
    }
}

impl Watched {
    /// Behind a probe: its refusals in a row, counted anew, and what they come to.
    fn check(&self, now: Instant, options: &Options) {
        let Some(refusals) = self.refused.in_a_row(|refused| *refused, |refused| !refused) else {
            return;
        };
        audit_eq!(self.refusals, refusals, "refusals in a row are counted");
        let is_confirmed = refusals == 0 || refusals > CONFIRMATIONS;
        let wait = match is_confirmed {
            true => options.interval,
            false => options.interval.mul_f64(CONFIRM_AFTER),
        };
        audit!(
            self.due + STEP_MIN >= now + wait.mul_f64(1.0 - JITTER)
                && self.due <= now + wait.mul_f64(1.0 + JITTER) + STEP_MIN,
            "whoever turns a probe down is asked again soon, and not for ever"
        );
    }
}

/// Of so many targets each is looked at by the audits; of more that would take too long.
const RECOUNTED_MAX: usize = 64;

/// The shortest interval that is reckoned with.
const STEP_MIN: Duration = Duration::from_millis(1);

/// `wait`, give or take a fifth.
fn jittered(wait: Duration, rng: &mut impl Rng) -> Duration {
    wait.mul_f64(rng.random_range(1.0 - JITTER..1.0 + JITTER))
}

#[cfg(test)]
mod tests;
