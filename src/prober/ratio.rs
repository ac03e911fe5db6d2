//! The share of attempts that succeeded lately, exactly counted. Pure: it is told the time.
//!
//! An average weighted by time would hide a burst: 50 failures within 100 ms move one of 10 s by a hundredth.
//! Source: `breaker/success_rate.rs` of linkerd2-proxy.

use crate::{
    probe::{AUDITS, History, audit_eq},
    time::{Duration, Instant},
};

/// How many buckets are kept.
const BUCKETS: usize = 10;

/// What one bucket spans. Ten make 30 s: longer blames for what is long over, shorter counts too little.
const BUCKET: Duration = Duration::from_secs(3);

/// Attempts below which nothing is said: with fewer, one failure would be a verdict.
pub const SAMPLES_MIN: u32 = 10;

/// Counts of attempts over the last 30 s.
#[derive(Clone, Debug)]
pub struct SuccessRatio {
    start: Instant,
    /// The number of the newest bucket since `start`.
    newest: u64,
    /// Successes and attempts, by bucket number modulo their count.
    buckets: [(u32, u32); BUCKETS],
    /// Attempts, each with its bucket and whether it succeeded; nothing where all before was forgotten.
    told: History<Option<(u64, bool)>>,
}

impl SuccessRatio {
    /// Counts from `now` on.
    pub fn new(now: Instant) -> Self {
        Self {
            start: now,
            newest: 0,
            buckets: [(0, 0); BUCKETS],
            told: History::default(),
        }
    }

    /// An attempt came to an end.
    pub fn handle_attempt(&mut self, now: Instant, succeeded: bool) {
        let bucket = self.bucket(now).max(self.newest);
        let passed = (bucket - self.newest).min(BUCKETS as u64);
        for gone in 0..passed {
            self.buckets[index(bucket - gone)] = (0, 0);
        }
        self.newest = bucket;
        let (successes, attempts) = &mut self.buckets[index(bucket)];
        *attempts = attempts.saturating_add(1);
        *successes = successes.saturating_add(u32::from(succeeded));
        self.told.push(Some((bucket, succeeded)));
        self.check(now);
    }

    /// The attempts of the last buckets, counted one by one.
    fn check(&self, now: Instant) {
        if !AUDITS {
            return;
        }
        let last = self.bucket(now).max(self.newest);
        let (told, whole) = self.told.remembered();
        let is_old =
            |told: &Option<(u64, bool)>| told.is_none_or(|(bucket, _)| bucket + BUCKETS as u64 <= last);
        let whole = whole || told.clone().any(is_old);
        let recent = told.rev().map_while(|told| told.filter(|_| !is_old(told)));
        let (mut attempts, mut successes) = (0u32, 0u32);
        for (_, succeeded) in recent {
            attempts += 1;
            successes += u32::from(succeeded);
        }
        if whole {
            let share = f64::from(successes) / f64::from(attempts);
            audit_eq!(
                self.value(now),
                (attempts >= SAMPLES_MIN).then_some(share),
                "the share that succeeded is that of the last attempts"
            );
        }
    }

    /// The share that succeeded, 0 to 1; `None` below ten attempts.
    pub fn value(&self, now: Instant) -> Option<f64> {
        let now = self.bucket(now).max(self.newest);
        let oldest = (now + 1).saturating_sub(BUCKETS as u64);
        let kept = oldest..=self.newest;
        let (successes, attempts) = kept.fold((0u32, 0u32), |sum, number| {
            let (successes, attempts) = self.buckets[index(number)];
            (sum.0.saturating_add(successes), sum.1.saturating_add(attempts))
        });
        (attempts >= SAMPLES_MIN).then(|| f64::from(successes) / f64::from(attempts))
    }

    /// Starts anew: what was counted led to a verdict that has been served.
    pub fn forget(&mut self) {
        self.told.push(None);
        self.buckets = [(0, 0); BUCKETS];
    }

    fn bucket(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / BUCKET.as_secs()
    }
}

fn index(bucket: u64) -> usize {
    usize::try_from(bucket % BUCKETS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn few_attempts_say_nothing() {
        let start = crate::time::now();
        let mut ratio = SuccessRatio::new(start);
        for n in 0..SAMPLES_MIN {
            assert_eq!(ratio.value(start), None, "after {n}");
            ratio.handle_attempt(start, n != 0);
        }
        assert_eq!(ratio.value(start), Some(0.9));
    }

    #[test]
    fn a_burst_of_failures_is_seen_at_once() {
        let start = crate::time::now();
        let mut ratio = SuccessRatio::new(start);
        for n in 0..100u64 {
            ratio.handle_attempt(start + Duration::from_millis(290 * n), true);
        }
        let burst = start + Duration::from_secs(29);
        for n in 0..50u64 {
            ratio.handle_attempt(burst + Duration::from_millis(2 * n), false);
        }
        let seen = ratio.value(burst + Duration::from_millis(100)).unwrap();
        assert!(seen < 0.7, "{seen}");
    }

    #[test]
    fn a_long_silence_leaves_nothing() {
        let start = crate::time::now();
        let mut ratio = SuccessRatio::new(start);
        for _ in 0..20 {
            ratio.handle_attempt(start, false);
        }
        assert_eq!(ratio.value(start + Duration::from_secs(29)), Some(0.0));
        assert_eq!(ratio.value(start + Duration::from_secs(30)), None);
    }

    proptest! {
        #[test]
        fn it_counts_what_a_list_counts(attempts in prop::collection::vec((0u64..5_000, any::<bool>()), 1..200)) {
            let start = crate::time::now();
            let mut ratio = SuccessRatio::new(start);
            let mut list = Vec::new();
            let mut at = 0;
            for (wait_ms, succeeded) in attempts {
                at += wait_ms;
                ratio.handle_attempt(start + Duration::from_millis(at), succeeded);
                list.push((at / 3000, succeeded));
                let kept = list.iter().filter(|(bucket, _)| bucket + 10 > at / 3000);
                let (all, ok) = kept.fold((0, 0), |(all, ok), (_, s)| (all + 1, ok + u32::from(*s)));
                let expected = (all >= SAMPLES_MIN).then(|| f64::from(ok) / f64::from(all));
                prop_assert_eq!(ratio.value(start + Duration::from_millis(at)), expected);
            }
        }
    }
}
