//! What is told of targets that fail: when it begins, why, how it goes on, when it ends. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    probe::{AUDITS, audit, audit_eq},
    time::{Duration, Instant},
};

/// How long a target must not have failed, after a success, until it is said to be well: one that fails now and then is
/// told once.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// How often a cause that stays the same is told again.
const REMIND_EVERY: Duration = Duration::from_secs(300);

/// How often the visitors who were turned away are told.
const SUMMARY_EVERY: Duration = Duration::from_secs(60);

/// How many causes of one target are remembered. With more than these, one of them is told again.
const CAUSES_MAX: usize = 4;

/// How many lines about failing targets are written from one summary to the next. A list may have thousands of them.
const LINES_MAX: usize = 20;

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice<K> {
    /// It begins to fail, or fails for another reason than before, or still fails.
    Fails {
        /// Which target.
        key: K,
        /// Why, in words.
        cause: Arc<str>,
        /// How long it has failed. `None` when this is its first failure.
        lasting: Option<Duration>,
    },
    /// It answers again.
    Well {
        /// Which target.
        key: K,
        /// How long after its first failure it answered.
        lasted: Duration,
        /// How often.
        failures: u64,
    },
    /// A minute has passed while targets fail.
    Minute {
        /// How many targets fail.
        failing: usize,
        /// How many began or went on to fail without a line of their own.
        untold: usize,
    },
}

/// The targets of one group that fail. Inputs: `handle_*`. Outputs: `poll_*`.
#[derive(Debug)]
pub struct Failures<K> {
    failing: BTreeMap<K, Failing>,
    /// Those that have answered since, by when they will be said to be well.
    settling: BTreeSet<(Instant, K)>,
    minute_at: Option<Instant>,
    lines: usize,
    untold: usize,
    notices: Vec<Notice<K>>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    failures: u64,
    /// When it will be said to be well, unless it fails before.
    well_at: Option<Instant>,
    /// Causes, and when each was told last.
    causes: Vec<(Arc<str>, Instant)>,
    /// Whether a line said that it fails.
    told: bool,
}

impl<K> Default for Failures<K> {
    fn default() -> Self {
        Self {
            failing: BTreeMap::new(),
            settling: BTreeSet::new(),
            minute_at: None,
            lines: 0,
            untold: 0,
            notices: Vec::new(),
        }
    }
}

impl<K: Ord + Clone> Failures<K> {
    /// A target failed, because of `cause`. One that does not `matter` is told of only if it is already: it was never
    /// well, and no visitor is sent there.
    pub fn handle_failed(&mut self, now: Instant, key: &K, cause: &Arc<str>, matters: bool) {
        if matters || self.failing.contains_key(key) {
            self.fail(now, key, cause);
        }
        self.check();
    }

    fn fail(&mut self, now: Instant, key: &K, cause: &Arc<str>) {
        self.minute_at.get_or_insert(now + SUMMARY_EVERY);
        let state = self.failing.entry(key.clone()).or_insert_with(|| Failing {
            since: now,
            failures: 0,
            well_at: None,
            causes: Vec::new(),
            told: false,
        });
        state.failures += 1;
        if let Some(at) = state.well_at.take() {
            self.settling.remove(&(at, key.clone()));
        }
        let known = state.causes.iter_mut().find(|(known, _)| known == cause);
        match known {
            Some((_, told_at)) if now < *told_at + REMIND_EVERY => return,
            Some((_, told_at)) => *told_at = now,
            None => {
                if state.causes.len() == CAUSES_MAX {
                    state.causes.remove(0);
                }
                state.causes.push((Arc::clone(cause), now));
            }
        }
        if self.lines == LINES_MAX {
            self.untold += 1;
            return;
        }
        self.lines += 1;
        state.told = true;
        self.notices.push(Notice::Fails {
            key: key.clone(),
            cause: Arc::clone(cause),
            lasting: (state.failures > 1).then(|| now.saturating_duration_since(state.since)),
        });
    }

    /// A target answered.
    pub fn handle_succeeded(&mut self, now: Instant, key: &K) {
        if let Some(state) = self.failing.get_mut(key) {
            let at = *state.well_at.get_or_insert(now + SETTLED_AFTER);
            self.settling.insert((at, key.clone()));
        }
        self.check();
    }

    /// A target is gone.
    pub fn forget(&mut self, key: &K) {
        if let Some(at) = self.failing.remove(key).and_then(|state| state.well_at) {
            self.settling.remove(&(at, key.clone()));
        }
        self.settle();
        self.check();
    }

    /// Those that fail.
    pub(super) fn failing(&self) -> impl Iterator<Item = &K> {
        self.failing.keys()
    }

    /// Whether any target fails.
    pub fn any(&self) -> bool {
        !self.failing.is_empty()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        let well = self.settling.first().map(|(at, _)| *at);
        [well, self.minute_at].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, _)) = self.settling.first()
            && *at <= now
            && let Some((at, key)) = self.settling.pop_first()
        {
            if let Some(state) = self.failing.remove(&key).filter(|state| state.told) {
                let answered = at.checked_sub(SETTLED_AFTER).unwrap_or(at);
                self.notices.push(Notice::Well {
                    key,
                    lasted: answered.saturating_duration_since(state.since),
                    failures: state.failures,
                });
            }
        }
        if self.minute_at.is_some_and(|at| at <= now) {
            self.notices.push(Notice::Minute {
                failing: self.failing.len(),
                untold: std::mem::take(&mut self.untold),
            });
            self.lines = 0;
            self.minute_at = Some(now + SUMMARY_EVERY);
        }
        self.settle();
        audit!(
            self.poll_timeout().is_none_or(|at| at > now),
            "nothing that is due is left behind"
        );
        self.check();
    }

    /// What is to be told, in order.
    pub fn take_notices(&mut self) -> Vec<Notice<K>> {
        std::mem::take(&mut self.notices)
    }

    /// When no target fails any more, the minutes end with the one that has begun: it may have turned visitors away.
    fn settle(&mut self) {
        if self.failing.is_empty() && self.minute_at.is_some() {
            self.notices.push(Notice::Minute {
                failing: 0,
                untold: std::mem::take(&mut self.untold),
            });
            self.minute_at = None;
            self.lines = 0;
        }
    }

    /// What it believes at the end of every input.
    fn check(&self) {
        if !AUDITS {
            return;
        }
        audit_eq!(
            self.minute_at.is_some(),
            self.any(),
            "the minutes are told while any target fails"
        );
        audit!(
            self.lines <= LINES_MAX && (self.untold == 0 || self.lines == LINES_MAX),
            "a failure has a line of its own while there are some left"
        );
        audit!(
            self.any() || (self.lines, self.untold) == (0, 0),
            "an outage begins anew"
        );
        if self.failing.len() > RECOUNTED_MAX {
            return;
        }
        let settling = self
            .failing
            .iter()
            .filter_map(|(key, state)| Some((state.well_at?, key.clone())));
        audit!(
            settling.collect::<BTreeSet<_>>() == self.settling,
            "whoever answers is said to be well in time, and nobody else is"
        );
        audit!(
            self.failing
                .values()
                .all(|state| state.failures > 0 && (1..=CAUSES_MAX).contains(&state.causes.len())),
            "whoever fails has a cause"
        );
    }
}

/// Of so many targets each is looked at by the audits; of more that would take too long.
const RECOUNTED_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn cause(text: &str) -> Arc<str> {
        text.into()
    }

    fn fails(text: &str, lasting: Option<Duration>) -> Notice<u8> {
        Notice::Fails {
            key: 1,
            cause: text.into(),
            lasting,
        }
    }

    #[test]
    fn an_outage_is_told_when_it_begins_and_when_it_is_over() {
        let (mut failures, start) = (Failures::default(), crate::time::now());
        for n in 0..20 {
            failures.handle_failed(start + S(n), &1, &cause("refused"), true);
        }
        assert_eq!(
            failures.take_notices(),
            [fails("refused", None)],
            "twenty failures, one line"
        );
        failures.handle_succeeded(start + S(20), &1);
        let due = failures.poll_timeout().unwrap();
        assert_eq!(due, start + S(22));
        failures.handle_timeout(due);
        let well = Notice::Well {
            key: 1,
            lasted: S(20),
            failures: 20,
        };
        let over = Notice::Minute {
            failing: 0,
            untold: 0,
        };
        assert_eq!(failures.take_notices(), [well, over]);
        assert_eq!(failures.poll_timeout(), None);
    }

    #[test]
    fn a_cause_is_told_again_when_it_changes_and_after_five_minutes() {
        let (mut failures, start) = (Failures::default(), crate::time::now());
        let mut told = Vec::new();
        for n in 0..400 {
            let now = start + S(n);
            // Two causes that take turns are not told in turns.
            let why = if n >= 100 && n % 2 == 0 {
                "timed out"
            } else {
                "refused"
            };
            failures.handle_failed(now, &1, &cause(why), true);
            failures.handle_timeout(now);
            told.extend(
                failures
                    .take_notices()
                    .into_iter()
                    .filter_map(|notice| match notice {
                        Notice::Fails { cause, .. } => Some((n, cause.to_string())),
                        _ => None,
                    }),
            );
        }
        let expected = [(0, "refused"), (100, "timed out"), (301, "refused")];
        assert_eq!(told, expected.map(|(n, why)| (n, why.to_owned())));
    }

    #[test]
    fn a_target_that_fails_now_and_then_is_told_once() {
        let (mut failures, start) = (Failures::default(), crate::time::now());
        let mut lines = 0;
        for n in 0..40 {
            let now = start + S(n);
            failures.handle_failed(now, &1, &cause("refused"), true);
            failures.handle_succeeded(now, &1);
            failures.handle_timeout(now);
            lines += failures.take_notices().len();
        }
        assert_eq!(lines, 1);
    }

    #[test]
    fn while_it_lasts_each_minute_is_told() {
        let (mut failures, start) = (Failures::default(), crate::time::now());
        failures.handle_failed(start, &1, &cause("refused"), true);
        failures.take_notices();
        for minute in 1..4 {
            assert_eq!(failures.poll_timeout(), Some(start + S(60 * minute)));
            failures.handle_timeout(start + S(60 * minute));
            assert_eq!(
                failures.take_notices(),
                [Notice::Minute {
                    failing: 1,
                    untold: 0
                }]
            );
        }
        failures.forget(&1);
        assert!(!failures.any());
        assert_eq!(failures.poll_timeout(), None);
    }

    #[test]
    fn thousands_of_targets_are_not_thousands_of_lines() {
        let (mut failures, start) = (Failures::default(), crate::time::now());
        for key in 0..1000 {
            failures.handle_failed(start, &key, &cause("refused"), key < 50);
        }
        assert_eq!(failures.take_notices().len(), LINES_MAX);
        failures.handle_timeout(start + S(60));
        let minute = Notice::Minute {
            failing: 50,
            untold: 30,
        };
        assert_eq!(failures.take_notices(), [minute]);
    }
}
