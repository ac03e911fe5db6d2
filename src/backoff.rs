//! Exponential backoff with full jitter.
//!
//! Source: AWS Architecture Blog, "Exponential Backoff And Jitter": `sleep = random(0, min(cap, base * 2^n))`.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};

use crate::probe::{History, audit, audit_eq, measure, mutant};

/// How a [`Backoff`] grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The ceiling of the first wait. Default 200 ms. Larger delays healing; smaller makes a reconnect storm.
    pub base: Duration,
    /// The ceiling of every wait. Default 15 s.
    pub cap: Duration,
    /// How long a connection must have lasted for the next wait to start from `base` again. Default 10 s.
    pub stable_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(200),
            cap: Duration::from_secs(15),
            stable_after: Duration::from_secs(10),
        }
    }
}

/// What a [`Backoff`] was told.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// Somebody waits for the next try.
    Waits,
    /// A connection lasted so long.
    Lived(Duration),
}

/// Counts failures and says how long to wait before the next try.
#[derive(Debug)]
pub struct Backoff {
    options: Options,
    failures: u32,
    told: History<Told>,
}

impl Backoff {
    /// A backoff that has seen no failure.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            failures: 0,
            told: History::default(),
        }
    }

    /// The waits since a connection was stable, counted anew, and how long the next one may be.
    fn check(&self) {
        let stable = |told: &Told| matches!(told, Told::Lived(lived) if *lived >= self.options.stable_after);
        let waits = self.told.in_a_row(|told| matches!(told, Told::Waits), stable);
        if let Some(waits) = waits {
            audit_eq!(
                self.failures,
                waits,
                "a backoff counts the waits since a stable connection"
            );
            let grown = (0..waits.min(64)).fold(self.options.base, |wait, _| wait.saturating_mul(2));
            audit_eq!(
                self.ceiling(),
                grown.min(self.options.cap),
                "a wait doubles with each failure, up to its cap"
            );
        }
        audit!(
            self.ceiling() <= self.options.cap,
            "no wait is longer than the cap"
        );
    }

    /// The wait before the next try: uniform in `[0, min(cap, base * 2^failures)]`.
    pub fn next_wait(&mut self, rng: &mut impl Rng) -> Duration {
        let ceiling = self.ceiling();
        self.told.push(Told::Waits);
        measure!("backoff-up-to-ms", ceiling);
        self.failures = self.failures.saturating_add(1);
        self.check();
        if mutant!("backoff-without-jitter") {
            return ceiling;
        }
        Duration::from_nanos(rng.random_range(0..=u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Tells that a connection lived from `since` to `now`; a stable one forgives all failures.
    pub fn handle_lived(&mut self, since: Instant, now: Instant) {
        let lived = now.saturating_duration_since(since);
        self.told.push(Told::Lived(lived));
        let stable = lived >= self.options.stable_after;
        if stable && !mutant!("backoff-never-forgives") {
            self.failures = 0;
        }
        self.check();
    }

    fn ceiling(&self) -> Duration {
        let failures = if mutant!("backoff-never-grows") {
            0
        } else {
            self.failures
        };
        let factor = 1u32.checked_shl(failures.min(30)).unwrap_or(u32::MAX);
        let grown = self.options.base.saturating_mul(factor);
        if mutant!("backoff-without-cap") {
            return grown;
        }
        grown.min(self.options.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    proptest! {
        #[test]
        fn waits_stay_under_the_growing_ceiling(seed: u64, tries in 1usize..64) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut backoff = Backoff::new(Options::default());
            for n in 0..tries {
                let ceiling = Duration::from_millis(200)
                    .saturating_mul(1u32.checked_shl(n.min(30) as u32).unwrap_or(u32::MAX))
                    .min(Duration::from_secs(15));
                prop_assert!(backoff.next_wait(&mut rng) <= ceiling);
            }
        }
    }

    #[test]
    fn jitter_spreads_over_the_whole_range() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let waits: Vec<_> = (0..1000)
            .map(|_| Backoff::new(Options::default()).next_wait(&mut rng).as_millis())
            .collect();
        assert!(waits.iter().any(|w| *w < 20) && waits.iter().any(|w| *w > 180));
    }

    #[test]
    fn only_a_stable_connection_forgives() {
        let start = crate::time::now();
        let mut backoff = Backoff::new(Options::default());
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..10 {
            backoff.next_wait(&mut rng);
        }
        backoff.handle_lived(start, start + Duration::from_secs(9));
        assert_eq!(backoff.ceiling(), Duration::from_secs(15));
        backoff.handle_lived(start, start + Duration::from_secs(10));
        assert_eq!(backoff.ceiling(), Duration::from_millis(200));
    }
}
