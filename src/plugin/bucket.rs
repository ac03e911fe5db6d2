//! Buckets of tokens by key: how often something may happen.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    probe::{audit, audit_eq, mutant},
    time::{Duration, Instant},
};

/// The most keys that are remembered. With more, strangers could fill memory; with fewer, one with many addresses
/// pushes others out sooner, and gets their tokens.
pub(super) const KEYS_MAX: usize = 10_000;

/// Buckets that are checked each time.
const CHECKED_MAX: usize = 64;

/// What a bucket holds and how fast it fills.
///
/// A bucket is remembered as the moment at which it will be full again, which is exact and small: each token that is
/// taken moves it by the time that one token takes to come. Source: the virtual scheduling form of the generic cell
/// rate algorithm, ITU-T I.371.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// How long one token takes to come.
    pub interval: Duration,
    /// Tokens of a full bucket.
    pub burst: u32,
}

impl Terms {
    /// Takes a token out of a bucket that is full at `full_at`: when it is full then.
    ///
    /// # Errors
    /// How long until there is a token.
    fn take(self, full_at: Option<Instant>, now: Instant) -> Result<Instant, Duration> {
        let full_at = full_at.map_or(now, |full_at| full_at.max(now)) + self.interval;
        let missing = full_at.saturating_duration_since(now);
        match missing.checked_sub(self.interval * self.burst) {
            None | Some(Duration::ZERO) => Ok(full_at),
            Some(wait) => Err(wait),
        }
    }
}

/// A bucket for each key. A key that is not here has a full bucket.
#[derive(Clone, Debug)]
pub(super) struct Buckets<K> {
    terms: Terms,
    full_at: BTreeMap<K, Instant>,
    /// The same by time: the first has been idle for longest, as far as its tokens tell.
    by_time: BTreeSet<(Instant, K)>,
}

impl<K: Copy + Ord> Buckets<K> {
    /// No bucket has been touched.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            full_at: BTreeMap::new(),
            by_time: BTreeSet::new(),
        }
    }

    /// Takes a token of this key.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        let before = self.full_at.get(&key).copied();
        let after = match self.terms.take(before, now) {
            Ok(after) => after,
            Err(wait) => {
                if let Some(before) = before
                    && mutant!("refused-request-costs-a-token")
                {
                    let later = before + self.terms.interval;
                    self.by_time.remove(&(before, key));
                    self.full_at.insert(key, later);
                    self.by_time.insert((later, key));
                }
                return Err(wait);
            }
        };
        match before {
            Some(before) => drop(self.by_time.remove(&(before, key))),
            None => self.make_room(now),
        }
        self.full_at.insert(key, after);
        self.by_time.insert((after, key));
        audit!(
            after <= now + self.terms.interval * self.terms.burst,
            "no more is taken than a full bucket holds"
        );
        self.check();
        Ok(())
    }

    /// Forgets full buckets, which changes nothing, two at most so that no request pays for many. Where there is
    /// still no room the one goes that is nearest to full: it gains the least.
    fn make_room(&mut self, now: Instant) {
        for _ in 0..2 {
            let first = self.by_time.first().copied();
            let Some((full_at, key)) = first.filter(|(at, _)| *at <= now || self.full_at.len() >= KEYS_MAX)
            else {
                return;
            };
            self.by_time.remove(&(full_at, key));
            self.full_at.remove(&key);
        }
    }

    fn check(&self) {
        audit!(self.full_at.len() <= KEYS_MAX, "the table is bounded");
        audit_eq!(
            self.full_at.len(),
            self.by_time.len(),
            "each key stands in both orders"
        );
        // Of many those that are looked at next stand for all.
        audit!(
            self.by_time
                .iter()
                .take(CHECKED_MAX)
                .all(|(at, key)| self.full_at.get(key) == Some(at)),
            "each bucket stands at the time at which it is full"
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time;

    fn buckets(interval: u64, burst: u32) -> Buckets<usize> {
        Buckets::new(Terms {
            interval: Duration::from_millis(interval),
            burst,
        })
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let (mut now, mut buckets) = (time::now(), buckets(100, 3));
        let mut takes = |now| (0..10).filter(|_| buckets.take(1, now).is_ok()).count();
        assert_eq!(takes(now), 3);
        now += Duration::from_millis(250);
        assert_eq!(takes(now), 2);
        now += Duration::from_millis(49);
        assert_eq!(takes(now), 0);
        now += Duration::from_millis(1);
        assert_eq!(takes(now), 1);
        now += Duration::from_secs(9);
        assert_eq!(takes(now), 3, "and no more than it holds");
    }

    #[test]
    fn who_is_refused_hears_how_long() {
        let (now, mut buckets) = (time::now(), buckets(1000, 1));
        assert_eq!(buckets.take(1, now), Ok(()));
        assert_eq!(buckets.take(1, now), Err(Duration::from_secs(1)));
        let later = now + Duration::from_millis(400);
        assert_eq!(buckets.take(1, later), Err(Duration::from_millis(600)));
        assert_eq!(
            buckets.take(1, now + Duration::from_secs(1)),
            Ok(()),
            "asking cost nothing"
        );
        assert_eq!(buckets.take(2, now), Ok(()), "another key has its own");
    }

    #[test]
    fn a_clock_that_another_thread_read_earlier_does_no_harm() {
        let (now, mut buckets) = (time::now() + Duration::from_secs(10), buckets(1000, 2));
        let earlier = now - Duration::from_millis(5);
        assert_eq!(buckets.take(1, now), Ok(()));
        assert_eq!(buckets.take(1, earlier), Err(Duration::from_millis(5)));
        assert_eq!(buckets.take(1, now), Ok(()));
        assert!(buckets.take(1, now).is_err());
    }

    #[test]
    fn the_table_is_bounded_and_the_idlest_leave() {
        let (now, mut buckets) = (time::now(), buckets(1000, 5));
        let busy = usize::MAX;
        for _ in 0..5 {
            buckets.take(busy, now).unwrap();
        }
        for key in 0..3 * KEYS_MAX {
            let at = now + Duration::from_nanos(key as u64);
            buckets.take(key, at).unwrap();
        }
        assert!(buckets.full_at.len() <= KEYS_MAX && buckets.full_at.len() >= KEYS_MAX - 2);
        assert!(buckets.take(busy, now).is_err(), "who is busy is remembered");
        assert!(buckets.full_at.contains_key(&(3 * KEYS_MAX - 1)));
        assert!(!buckets.full_at.contains_key(&0));
        // Once all are full again nothing has to be remembered.
        let later = now + Duration::from_secs(60);
        for key in 0..KEYS_MAX {
            buckets.take(key, later).unwrap();
        }
        let stale = buckets.full_at.values().filter(|at| **at <= later).count();
        assert_eq!(stale, 0);
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_burst_and_rate(
            interval in 1_u64..50,
            burst in 1_u32..8,
            gaps in prop::collection::vec(0_u64..40, 1..80),
        ) {
            let mut buckets = buckets(interval, burst);
            let mut now = time::now();
            let mut taken = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                if buckets.take(0, now).is_ok() {
                    taken.push(now);
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    let came = (*to - *from).as_millis() as u64 / interval;
                    prop_assert!((last - first + 1) as u64 <= u64::from(burst) + came);
                }
            }
        }

        #[test]
        fn who_waits_as_told_gets_a_token(interval in 1_u64..50, burst in 1_u32..8, asks in 1_usize..40) {
            let mut buckets = buckets(interval, burst);
            let mut now = time::now();
            for _ in 0..asks {
                if let Err(wait) = buckets.take(0, now) {
                    prop_assert!(buckets.take(0, now + wait - Duration::from_nanos(1)).is_err());
                    now += wait;
                    prop_assert_eq!(buckets.take(0, now), Ok(()));
                }
            }
        }
    }
}
