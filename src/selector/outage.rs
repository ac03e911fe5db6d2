//! Whether it is the others who fail, or this node's own way out. Pure: it is told the time.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    probe::{AUDITS, audit, audit_eq, sometimes},
    time::{Duration, Instant},
};

/// The share of failures at which this node's own network is suspected.
const SUSPICION: f64 = 0.7;

/// Below so many targets everything may well be down at once.
pub const TARGETS_MIN: usize = 5;

/// How long a suspicion holds against the evidence. Longer, and targets that are really gone stay members.
const SUSPECTED_MAX: Duration = Duration::from_secs(60);

/// Watches the probes of those that were well. When most of them fail within one evaluation interval, it suspects a
/// local fault, and nothing that probes say is believed until some succeed or a minute has passed.
///
/// Those that were down before say nothing: of a long list of candidates most may be down for ever.
#[derive(Debug)]
pub struct LocalFault<K> {
    window: Duration,
    /// The last probe of each within the window, and whether it failed.
    latest: BTreeMap<K, (Instant, bool)>,
    /// All probes within the window, oldest first.
    recent: VecDeque<(Instant, K)>,
    failing: usize,
    suspected_since: Option<Instant>,
    /// It lasted too long to be believed; until probes succeed again.
    disbelieved: bool,
}

impl<K: Ord + Clone> LocalFault<K> {
    /// Nothing suspected; probes count for `window`.
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            latest: BTreeMap::new(),
            recent: VecDeque::new(),
            failing: 0,
            suspected_since: None,
            disbelieved: false,
        }
    }

    /// Whether a local fault is suspected.
    pub fn is_suspected(&self) -> bool {
        self.suspected_since.is_some()
    }

    /// Whether every target that was probed lately failed: then nobody is served, whoever is at fault.
    pub fn all_fail(&self) -> bool {
        self.latest.len() >= TARGETS_MIN && self.failing == self.latest.len()
    }

    /// Whether the last probe of this target, within the window, failed.
    pub fn has_failed(&self, key: &K) -> bool {
        self.latest.get(key).is_some_and(|(_, failed)| *failed)
    }

    /// A target that was well until now was probed. Says whether the suspicion changed.
    pub fn handle_probed(&mut self, now: Instant, key: &K, failed: bool) -> bool {
        self.forget(key);
        self.latest.insert(key.clone(), (now, failed));
        self.failing += usize::from(failed);
        self.recent.push_back((now, key.clone()));
        self.judge(now)
    }

    /// Time has passed. Says whether the suspicion changed.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        self.judge(now)
    }

    /// A target has left.
    pub fn forget(&mut self, key: &K) {
        if let Some((_, failed)) = self.latest.remove(key) {
            self.failing -= usize::from(failed);
        }
    }

    fn judge(&mut self, now: Instant) -> bool {
        while let Some((at, key)) = self.recent.front()
            && now.saturating_duration_since(*at) > self.window
        {
            if self.latest.get(key).is_some_and(|(latest, _)| latest == at) {
                let key = key.clone();
                self.forget(&key);
            }
            self.recent.pop_front();
        }
        let before = self.is_suspected();
        let most_fail =
            self.latest.len() >= TARGETS_MIN && self.failing as f64 >= SUSPICION * self.latest.len() as f64;
        if !most_fail {
            self.suspected_since = None;
            self.disbelieved = false;
        } else if let Some(since) = self.suspected_since {
            if now.saturating_duration_since(since) >= SUSPECTED_MAX {
                self.suspected_since = None;
                self.disbelieved = true;
            }
        } else if !self.disbelieved {
            sometimes!("probes-frozen");
            self.suspected_since = Some(now);
        }
        self.check(now);
        before != self.is_suspected()
    }

    /// Whose last probe counts.
    pub(super) fn probed(&self) -> impl Iterator<Item = &K> {
        self.latest.keys()
    }

    /// What it counts, counted anew, and what it concludes.
    fn check(&self, now: Instant) {
        if !AUDITS {
            return;
        }
        audit_eq!(
            self.failing,
            self.latest.values().filter(|(_, failed)| *failed).count(),
            "whose last probe failed is counted"
        );
        let most_fail = self.latest.len() >= TARGETS_MIN
            && self.failing as f64 / self.latest.len() as f64 >= SUSPICION - f64::EPSILON;
        audit_eq!(
            self.is_suspected() || self.disbelieved,
            most_fail,
            "a local fault is suspected, or was for too long, while most fail"
        );
        audit!(
            !(self.is_suspected() && self.disbelieved),
            "what is believed no more is not suspected"
        );
        let lasts = |since| now.saturating_duration_since(since) < SUSPECTED_MAX;
        audit!(
            self.suspected_since.is_none_or(lasts),
            "a suspicion does not last for ever"
        );
        if self.recent.len() > RECOUNTED_MAX {
            return;
        }
        let newest: BTreeMap<_, _> = self.recent.iter().map(|(at, key)| (key, *at)).collect();
        audit!(
            self.latest
                .iter()
                .all(|(key, (at, _))| newest.get(key) == Some(at)),
            "a probe that counts is forgotten in time"
        );
        audit!(
            self.recent
                .front()
                .is_none_or(|(at, _)| now.saturating_duration_since(*at) <= self.window),
            "no probe counts for longer than it may"
        );
    }
}

/// Of so many probes each is looked at by the audits; of more that would take too long.
const RECOUNTED_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn failing(of: usize, failing: usize) -> (LocalFault<usize>, Instant) {
        let now = crate::time::now();
        let mut fault = LocalFault::new(WINDOW);
        for key in 0..of {
            fault.handle_probed(now, &key, key < failing);
        }
        (fault, now)
    }

    #[test]
    fn most_must_fail_and_they_must_be_many() {
        let check = |of, failed, expected| {
            assert_eq!(failing(of, failed).0.is_suspected(), expected, "{failed} of {of}");
        };
        check(4, 4, false);
        check(5, 5, true);
        check(10, 6, false);
        check(10, 7, true);
    }

    #[test]
    fn successes_and_time_clear_it() {
        let (mut fault, now) = failing(5, 5);
        assert!(!fault.handle_probed(now, &0, false));
        assert!(fault.handle_probed(now, &1, false));
        assert!(!fault.is_suspected());

        let (mut fault, now) = failing(5, 5);
        assert!(fault.handle_timeout(now + WINDOW + Duration::from_millis(1)));
        assert!(!fault.is_suspected());
    }

    #[test]
    fn it_is_not_believed_for_ever() {
        let (mut fault, mut now) = failing(6, 6);
        for second in 0..180 {
            now += Duration::from_secs(1);
            fault.handle_probed(now, &(second % 6), true);
            assert_eq!(fault.is_suspected(), second < 59, "after {second} s");
        }
        (0..6).for_each(|key| {
            fault.handle_probed(now, &key, false);
        });
        (0..6).for_each(|key| {
            fault.handle_probed(now, &key, true);
        });
        assert!(fault.is_suspected(), "a new fault is a new suspicion");
    }
}
