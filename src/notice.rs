//! Limits log lines: many equal lines in a short time become one line with a count.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockWriteGuard},
};

use crate::{
    probe::audit,
    time::{Duration, Instant},
};

/// How long equal lines are collected after one was written.
const PERIOD: Duration = Duration::from_secs(10);

/// How many kinds of line are told apart. Beyond this, lines of one kind about different subjects are counted together.
const KEYS_MAX: usize = 256;

/// What to do with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Write it.
    Write,
    /// It is counted; the first line of the period that is. Call [`Limiter::handle_due`] at this time.
    Hold(Instant),
    /// It is counted.
    Count,
}

/// Decides which lines are written. The first line of a key is; those that follow within a period are counted. Pure.
#[derive(Debug)]
pub struct Limiter<K> {
    period: Duration,
    keys_max: usize,
    keys: BTreeMap<K, State>,
}

#[derive(Debug)]
struct State {
    until: Instant,
    held: u64,
}

impl<K: Ord> Limiter<K> {
    /// A limiter that has seen no line. It tells at most `keys_max` keys apart.
    pub fn new(period: Duration, keys_max: usize) -> Self {
        Self {
            period,
            keys_max,
            keys: BTreeMap::new(),
        }
    }

    /// Returns true if `key` can be told apart from others at `now`. Forgets keys whose period is over.
    pub fn has_room(&mut self, now: Instant, key: &K) -> bool {
        if self.keys.len() >= self.keys_max && !self.keys.contains_key(key) {
            self.keys.retain(|_, state| state.held > 0 || now < state.until);
        }
        self.keys.len() < self.keys_max || self.keys.contains_key(key)
    }

    /// A line of `key` is to be written.
    pub fn handle_line(&mut self, now: Instant, key: K) -> Verdict {
        let until = now + self.period;
        match self.keys.get_mut(&key) {
            Some(state) if state.held > 0 => {
                state.held += 1;
                Verdict::Count
            }
            Some(state) if now < state.until => {
                state.held = 1;
                Verdict::Hold(state.until)
            }
            _ => {
                self.keys.insert(key, State { until, held: 0 });
                Verdict::Write
            }
        }
    }

    /// The period of `key` is over. Returns how many lines were counted; one line that stands for them is to be written.
    pub fn handle_due(&mut self, now: Instant, key: &K) -> u64 {
        let Some(state) = self.keys.get_mut(key) else {
            return 0;
        };
        state.until = now + self.period;
        std::mem::take(&mut state.held)
    }
}

/// What a line is about: its kind, and whom or what it names.
type Key = (&'static str, String);

/// Writes one line that stands for so many.
type Line = Box<dyn Fn(u64) + Send + Sync>;

/// The limited log lines of one node. Cheap to clone.
#[derive(Clone)]
pub struct Notices(Arc<RwLock<Collected>>);

struct Collected {
    limiter: Limiter<Key>,
    held: BTreeMap<Key, Line>,
}

impl Collected {
    /// The sentence that these books believe at every moment.
    fn check(&self) {
        let counting = self.limiter.keys.iter().filter(|(_, state)| state.held > 0);
        audit!(
            counting.map(|(key, _)| key).eq(self.held.keys()),
            "a line is held for each key that counts, and for no other"
        );
    }
}

/// A line that was held back: it is due at a time.
#[derive(Debug)]
#[must_use = "a held line is written by `write_due`"]
pub struct Held {
    /// When.
    pub due: Instant,
    key: Key,
}

impl Default for Notices {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(Collected {
            limiter: Limiter::new(PERIOD, KEYS_MAX),
            held: BTreeMap::new(),
        })))
    }
}

impl Notices {
    /// Writes `line`, or counts it. The first counted line of a period is returned: it is due later, with the count.
    pub fn write(
        &self,
        now: Instant,
        kind: &'static str,
        subject: String,
        line: impl Fn(u64) + Send + Sync + 'static,
    ) -> Option<Held> {
        let mut collected = self.lock();
        let mut key = (kind, subject);
        if !collected.limiter.has_room(now, &key) {
            key.1.clear();
        }
        match collected.limiter.handle_line(now, key.clone()) {
            Verdict::Write => {
                drop(collected);
                line(1);
                None
            }
            Verdict::Hold(due) => {
                collected.held.insert(key.clone(), Box::new(line));
                collected.check();
                Some(Held { due, key })
            }
            Verdict::Count => None,
        }
    }

    /// Writes a line that was held back, with the count of all that it stands for.
    pub fn write_due(&self, now: Instant, held: &Held) {
        let mut collected = self.lock();
        let count = collected.limiter.handle_due(now, &held.key);
        let line = collected.held.remove(&held.key);
        collected.check();
        drop(collected);
        if let Some(line) = line {
            line(count);
        }
    }

    fn lock(&self) -> RwLockWriteGuard<'_, Collected> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notices").finish_non_exhaustive()
    }
}

/// The field `times` of a line that stands for so many: none when it stands for itself.
pub fn times(count: u64) -> Option<u64> {
    (count > 1).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn twenty_equal_lines_become_one_and_a_count() {
        let now = crate::time::now();
        let mut limiter = Limiter::new(S(10), 4);
        assert_eq!(limiter.handle_line(now, "a"), Verdict::Write);
        assert_eq!(limiter.handle_line(now, "a"), Verdict::Hold(now + S(10)));
        for _ in 0..18 {
            assert_eq!(limiter.handle_line(now + S(1), "a"), Verdict::Count);
        }
        assert_eq!(limiter.handle_line(now + S(1), "b"), Verdict::Write);
        let due = now + S(10);
        assert_eq!(limiter.handle_due(due, &"a"), 19);
        assert_eq!(limiter.handle_line(due + S(1), "a"), Verdict::Hold(due + S(10)));
        assert_eq!(limiter.handle_due(due + S(10), &"a"), 1);
        assert_eq!(
            limiter.handle_line(due + S(20), "a"),
            Verdict::Write,
            "after a quiet period"
        );
    }

    #[test]
    fn a_full_limiter_forgets_what_is_over_and_nothing_else() {
        let now = crate::time::now();
        let mut limiter = Limiter::new(S(10), 2);
        limiter.handle_line(now, 1);
        limiter.handle_line(now, 1);
        limiter.handle_line(now + S(5), 2);
        assert!(!limiter.has_room(now + S(5), &3));
        assert!(limiter.has_room(now + S(5), &2));
        assert!(limiter.has_room(now + S(15), &3), "2 is forgotten, 1 has a count");
        assert_eq!(limiter.handle_due(now + S(15), &1), 1);
    }

    #[test]
    fn lines_about_too_many_subjects_are_counted_together() {
        let now = crate::time::now();
        let notices = Notices::default();
        let written = Arc::new(RwLock::new(Vec::new()));
        let mut held = Vec::new();
        for n in 0..KEYS_MAX + 20 {
            let written = Arc::clone(&written);
            let line = move |count| written.write().unwrap().push((n, count));
            held.extend(notices.write(now, "kind", n.to_string(), line));
        }
        assert_eq!(written.write().unwrap().len(), KEYS_MAX + 1);
        assert_eq!(held.len(), 1, "one stands for all that found no room");
        for held in &held {
            notices.write_due(held.due, held);
        }
        let counts = written
            .write()
            .unwrap()
            .iter()
            .map(|(_, count)| count)
            .sum::<u64>();
        assert_eq!(counts as usize, KEYS_MAX + 20, "every line is counted");
    }
}
