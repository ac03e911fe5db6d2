//! What measurements of one target come to: a cost to choose by, and a score to show. Pure: it is told the time.

use std::fmt;

use super::{
    Scoring,
    ewma::{PeakEwma, RTT_DEFAULT, kept, time_constant},
    ratio::SuccessRatio,
};
use crate::{
    probe::audit,
    time::{Duration, Instant},
};

/// The least cost. Less, and noise among the very near would decide.
pub const COST_MIN: Duration = Duration::from_millis(1);

/// How often jitter counts: what a target is worth is what it can be counted on for.
const JITTER_FACTOR: u32 = 2;

/// The highest score.
pub const SCORE_MAX: f64 = 100.0;

/// Everything measured of one target.
#[derive(Clone, Debug)]
pub struct Meter {
    time_constant: Duration,
    failure_penalty: Duration,
    ewma: PeakEwma,
    ratio: SuccessRatio,
    /// By how much failures have raised the latency, and when it was that much.
    penalty: (Duration, Instant),
}

/// A score from 0 to 100 with what it is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// 0 is useless; 50 is as good as the reference; 100 is never reached.
    pub total: f64,
    /// The peak EWMA of answers; `None` before the first.
    pub latency: Option<Duration>,
    /// How much answers vary.
    pub jitter: Duration,
    /// The share of attempts that succeeded, 0 to 1; `None` while there are too few.
    pub success: Option<f64>,
    /// What failures add to the latency; it decays as the latency does.
    pub penalty: Duration,
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "score {:.0}", self.total)?;
        match self.latency {
            Some(latency) => write!(f, ", latency {}", Millis(latency))?,
            None => write!(f, ", latency unknown")?,
        }
        write!(f, ", jitter {}", Millis(self.jitter))?;
        if let Some(success) = self.success {
            write!(f, ", success {:.0} %", success * 100.0)?;
        }
        if self.penalty > COST_MIN {
            write!(f, ", penalty {}", Millis(self.penalty))?;
        }
        Ok(())
    }
}

struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms", self.0.as_secs_f64() * 1e3)
    }
}

impl Meter {
    /// Nothing measured yet; `interval` is that of probes.
    pub fn new(now: Instant, scoring: &Scoring, interval: Duration) -> Self {
        let time_constant = time_constant(scoring.half_life, interval);
        Self {
            time_constant,
            failure_penalty: scoring.failure_penalty,
            ewma: PeakEwma::new(time_constant),
            ratio: SuccessRatio::new(now),
            penalty: (Duration::ZERO, now),
        }
    }

    /// An attempt succeeded within `rtt`.
    pub fn handle_success(&mut self, now: Instant, rtt: Duration) {
        self.ewma.handle_answer(now, rtt);
        self.ratio.handle_attempt(now, true);
    }

    /// It was reached, which says nothing of how long an answer takes.
    pub fn handle_reached(&mut self, now: Instant) {
        self.ratio.handle_attempt(now, true);
    }

    /// An attempt failed after `elapsed`; a timeout has taken the whole timeout.
    ///
    /// It counts as an answer that took so long, and no less than the penalty, or who refuses quickly would look
    /// fast. What it adds is kept apart from the latency of true answers and decays alike: the sum is the average.
    pub fn handle_failure(&mut self, now: Instant, elapsed: Duration) {
        let counted = elapsed.max(self.failure_penalty);
        let excess = counted.saturating_sub(self.ewma.latency().unwrap_or(RTT_DEFAULT));
        self.penalty = (excess.max(self.penalty(now)), now);
        self.ratio.handle_attempt(now, false);
        audit!(
            self.cost(now) + COST_MIN >= counted,
            "who fails costs what it took, and no less than the penalty"
        );
    }

    /// Whether it has ever answered.
    pub fn is_known(&self) -> bool {
        self.ewma.latency().is_some()
    }

    /// Whether anything, an answer or a failure, has been measured.
    pub fn is_measured(&self, now: Instant) -> bool {
        self.is_known() || self.penalty(now) > COST_MIN
    }

    /// The share of attempts that succeeded; `None` while there are too few.
    pub fn success(&self, now: Instant) -> Option<f64> {
        self.ratio.value(now)
    }

    /// Whether failures are remembered, or how often it succeeded.
    pub fn is_blamed(&self, now: Instant) -> bool {
        !self.penalty(now).is_zero() || self.success(now).is_some()
    }

    /// Forgets failures: they led to a verdict that has been served.
    pub fn forgive(&mut self, now: Instant) {
        self.ratio.forget();
        self.penalty = (Duration::ZERO, now);
        audit!(!self.is_blamed(now), "what is forgiven is forgotten");
    }

    /// What a session costs on it while it is idle: `ewma + 2 * jitter`, and what failures add.
    pub fn cost(&self, now: Instant) -> Duration {
        self.costing(self.ewma.latency(), self.penalty(now))
    }

    /// What it costs in the long run: of the slow average, and without failures. It is less precise about the
    /// present, and is moved neither by one slow answer nor by how often somebody is probed.
    pub fn steady_cost(&self) -> Duration {
        self.costing(self.ewma.smoothed(), Duration::ZERO)
    }

    /// What it costs by the faster of its last two answers alone.
    pub fn recent_cost(&self) -> Duration {
        let latency = self.ewma.faster_of_two().unwrap_or(RTT_DEFAULT);
        latency.max(COST_MIN)
    }

    fn costing(&self, latency: Option<Duration>, penalty: Duration) -> Duration {
        let jitter = self.ewma.jitter() * JITTER_FACTOR;
        (latency.unwrap_or(RTT_DEFAULT) + penalty + jitter).max(COST_MIN)
    }

    /// `100 * success * reference / (reference + cost)`, with its parts. Too few attempts count as success.
    pub fn score(&self, now: Instant, reference: Duration) -> Score {
        let reference = reference.max(COST_MIN).as_secs_f64();
        let success = self.success(now);
        let cost = self.cost(now).as_secs_f64();
        Score {
            total: SCORE_MAX * success.unwrap_or(1.0) * reference / (reference + cost),
            latency: self.ewma.latency(),
            jitter: self.ewma.jitter(),
            success,
            penalty: self.penalty(now),
        }
    }

    /// By how much failures raise the latency; it decays as the latency does.
    pub fn penalty(&self, now: Instant) -> Duration {
        let (penalty, at) = self.penalty;
        penalty.mul_f64(kept(now.saturating_duration_since(at), self.time_constant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn meter(now: Instant) -> Meter {
        Meter::new(now, &Scoring::default(), Duration::from_secs(5))
    }

    #[test]
    fn a_fast_refusal_is_not_fast() {
        let now = crate::time::now();
        let mut meter = meter(now);
        assert_eq!(meter.cost(now), RTT_DEFAULT, "unknown is assumed");
        meter.handle_success(now, MS(10));
        meter.handle_failure(now, MS(1));
        assert!(meter.cost(now) >= Duration::from_secs(2));
        assert!(meter.score(now, MS(30)).total < 2.0);
    }

    #[test]
    fn a_penalty_decays_without_answers() {
        let now = crate::time::now();
        let mut meter = meter(now);
        meter.handle_success(now, MS(10));
        meter.handle_failure(now, MS(1));
        let later = now + Duration::from_secs(120);
        assert!(meter.cost(later) < MS(25), "{:?}", meter.cost(later));
        meter.handle_failure(now, MS(1));
        meter.forgive(now);
        assert_eq!(meter.cost(now), MS(20), "10 ms and twice 5 ms of jitter");
    }

    #[test]
    fn a_slow_timeout_counts_for_what_it_took() {
        let now = crate::time::now();
        let mut meter = meter(now);
        meter.handle_failure(now, Duration::from_secs(7));
        assert!(meter.cost(now) >= Duration::from_secs(7));
    }

    #[test]
    fn who_costs_the_reference_scores_half() {
        let now = crate::time::now();
        let meter = meter(now);
        assert!((meter.score(now, RTT_DEFAULT).total - 50.0).abs() < 1e-9);
        assert_eq!(
            meter.score(now, RTT_DEFAULT).to_string(),
            "score 50, latency unknown, jitter 0.0 ms"
        );
    }

    proptest! {
        #[test]
        fn scores_are_numbers_from_0_to_100(
            events in prop::collection::vec((any::<bool>(), 0u64..1 << 40, 0u64..1 << 40), 0..64),
            reference_us in 0u64..1 << 50,
            penalty_us in 0u64..1 << 40,
        ) {
            let mut now = crate::time::now();
            let scoring = Scoring { failure_penalty: Duration::from_micros(penalty_us), ..Scoring::default() };
            let mut meter = Meter::new(now, &scoring, Duration::ZERO);
            for (succeeded, wait_us, took_us) in events {
                now += Duration::from_micros(wait_us);
                match succeeded {
                    true => meter.handle_success(now, Duration::from_micros(took_us)),
                    false => meter.handle_failure(now, Duration::from_micros(took_us)),
                }
                let total = meter.score(now, Duration::from_micros(reference_us)).total;
                prop_assert!((0.0..=SCORE_MAX).contains(&total), "{total}");
                prop_assert!(meter.cost(now) >= COST_MIN && meter.steady_cost() >= COST_MIN);
            }
        }
    }
}
