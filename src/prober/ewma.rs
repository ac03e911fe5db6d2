//! Latency and jitter of one target. Pure: it is told the time.

use crate::{
    probe::{audit, mutant},
    time::{Duration, Instant},
};

/// The shortest round trip that is believed. Shorter ones are the clock's grain, not the network's.
pub const RTT_MIN: Duration = Duration::from_micros(50);

/// The round trip assumed before the first answer. Higher, and a new target is hardly tried; lower, and everybody
/// goes there.
pub const RTT_DEFAULT: Duration = Duration::from_millis(30);

/// How many probes the memory spans at least, or each one would be the whole truth.
const INTERVALS_REMEMBERED: u32 = 3;

/// The time constant of decay: the half life, and at least three probe intervals.
pub fn time_constant(half_life: Duration, interval: Duration) -> Duration {
    half_life
        .div_f64(std::f64::consts::LN_2)
        .max(interval.saturating_mul(INTERVALS_REMEMBERED))
        .max(RTT_MIN)
}

/// How much of an old value is left after `elapsed`: 1 at once, 0 after a long time.
pub fn kept(elapsed: Duration, time_constant: Duration) -> f64 {
    (-elapsed.as_secs_f64() / time_constant.as_secs_f64()).exp()
}

/// A moving average that follows a rise at once and forgets it slowly, with its jitter.
///
/// Sources: `PeakEwma` of Finagle and tower for the average; RFC 6298 for the smoothed round trip and its variation.
#[derive(Clone, Debug)]
pub struct PeakEwma {
    time_constant: Duration,
    measured: Option<Measured>,
}

/// What answers came to, in seconds.
#[derive(Clone, Copy, Debug)]
struct Measured {
    at: Instant,
    peak: f64,
    smoothed: f64,
    variation: f64,
    /// The last answer, and the one before it.
    last: (f64, f64),
}

impl PeakEwma {
    /// An average that has seen nothing.
    pub fn new(time_constant: Duration) -> Self {
        Self {
            time_constant,
            measured: None,
        }
    }

    /// An answer took `rtt`.
    pub fn handle_answer(&mut self, now: Instant, rtt: Duration) {
        let rtt = rtt.max(RTT_MIN).as_secs_f64();
        let Some(old) = self.measured else {
            self.measured = Some(Measured {
                at: now,
                peak: rtt,
                smoothed: rtt,
                variation: rtt / 2.0,
                last: (rtt, rtt),
            });
            return;
        };
        let w = kept(now.saturating_duration_since(old.at), self.time_constant);
        let peak = if rtt > old.peak {
            rtt
        } else {
            old.peak * w + rtt * (1.0 - w)
        };
        audit!(
            peak >= rtt * (1.0 - 1e-9) && peak <= rtt.max(old.peak) * (1.0 + 1e-9),
            "the average rises at once, and falls between two answers"
        );
        let mut before = old.last.0;
        if before > old.last.1 && mutant!("fastest-answer-never-forgotten") {
            before = old.last.1;
        }
        self.measured = Some(Measured {
            at: now.max(old.at),
            peak,
            smoothed: old.smoothed * 0.875 + rtt * 0.125,
            variation: old.variation * 0.75 + (rtt - old.smoothed).abs() * 0.25,
            last: (rtt, before),
        });
    }

    /// The average that rises at once; `None` before the first answer.
    pub fn latency(&self) -> Option<Duration> {
        self.measured.map(|m| Duration::from_secs_f64(m.peak))
    }

    /// The average that rises as slowly as it falls, by answers and not by time: what a target is like, where
    /// [`latency`](Self::latency) is what it is like now.
    pub fn smoothed(&self) -> Option<Duration> {
        self.measured.map(|m| Duration::from_secs_f64(m.smoothed))
    }

    /// The faster of the last two answers: one slow answer, as after a lost packet, does not raise it.
    pub fn faster_of_two(&self) -> Option<Duration> {
        self.measured
            .map(|m| Duration::from_secs_f64(m.last.0.min(m.last.1)))
    }

    /// How much answers vary; zero before the first.
    pub fn jitter(&self) -> Duration {
        self.measured
            .map_or(Duration::ZERO, |m| Duration::from_secs_f64(m.variation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_rise_counts_at_once_and_is_forgotten_slowly() {
        let start = crate::time::now();
        let mut ewma = PeakEwma::new(Duration::from_secs(10));
        assert_eq!(ewma.latency(), None);
        ewma.handle_answer(start, MS(10));
        ewma.handle_answer(start + MS(1), MS(100));
        assert_eq!(ewma.latency(), Some(MS(100)));
        ewma.handle_answer(start + MS(10_001), MS(10));
        let after = ewma.latency().unwrap().as_secs_f64();
        let expected = 0.1 / std::f64::consts::E + 0.01 * (1.0 - 1.0 / std::f64::consts::E);
        assert!((after - expected).abs() < 1e-6, "{after} {expected}");
    }

    #[test]
    fn jitter_is_that_of_rfc_6298() {
        let start = crate::time::now();
        let mut ewma = PeakEwma::new(Duration::from_secs(10));
        ewma.handle_answer(start, MS(100));
        assert_eq!(ewma.jitter(), MS(50));
        ewma.handle_answer(start, MS(140));
        assert_eq!(ewma.jitter().as_millis(), 47);
        assert_eq!(ewma.smoothed().unwrap().as_millis(), 105);
    }

    #[test]
    fn the_memory_spans_three_probes() {
        let check = |half_life, interval, expected_ms| {
            assert_eq!(time_constant(half_life, interval).as_millis(), expected_ms);
        };
        check(Duration::from_secs(10), Duration::from_secs(1), 14_426);
        check(Duration::from_secs(10), Duration::from_secs(5), 15_000);
    }

    proptest! {
        #[test]
        fn averages_stay_between_the_extremes(rtts in prop::collection::vec((0u64..100_000, 0u64..10_000_000), 1..64)) {
            let mut now = crate::time::now();
            let mut ewma = PeakEwma::new(Duration::from_secs(10));
            for (wait_ms, rtt_us) in &rtts {
                now += MS(*wait_ms);
                ewma.handle_answer(now, Duration::from_micros(*rtt_us));
            }
            let seen = || rtts.iter().map(|(_, us)| Duration::from_micros(*us).max(RTT_MIN));
            let (least, most) = (seen().min().unwrap(), seen().max().unwrap());
            let slack = Duration::from_nanos(2);
            for average in [ewma.latency().unwrap(), ewma.smoothed().unwrap()] {
                prop_assert!(average + slack >= least && average <= most + slack);
            }
        }
    }
}
