//! The round trip of a link, asked for while its windows are at work.

use crate::{
    probe::{History, audit},
    time::{Duration, Instant},
};

/// What is assumed before the first answer.
const TRIP_DEFAULT: Duration = Duration::from_millis(30);

/// Between two questions.
const ASK_INTERVAL: Duration = Duration::from_secs(1);

/// How slowly a longer round trip is believed. A shorter one is believed at once: queues only add.
const GAIN: u32 = 8;

/// The estimate, and the question that is out.
#[derive(Debug, Default)]
pub struct Trip {
    estimate: Option<Duration>,
    asked: Option<(u32, Instant)>,
    asked_at: Option<Instant>,
    last: u32,
    /// The trips seen, for its audits.
    seen: History<Duration>,
}

impl Trip {
    /// The round trip, as far as known.
    pub fn estimate(&self) -> Duration {
        self.estimate.unwrap_or(TRIP_DEFAULT)
    }

    /// The token that was asked with last.
    #[cfg(any(test, fuzzing, feature = "mutants"))]
    pub fn last_asked(&self) -> u32 {
        self.last
    }

    /// Asks now; returns the token to send.
    pub fn ask(&mut self, now: Instant) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.asked = Some((self.last, now));
        self.asked_at = Some(now);
        self.last
    }

    /// Asks if the last question is old enough.
    pub fn ask_again(&mut self, now: Instant) -> Option<u32> {
        let due = self.asked_at.is_none_or(|at| now - at >= ASK_INTERVAL);
        due.then(|| self.ask(now))
    }

    /// An answer has come.
    pub fn handle_answer(&mut self, now: Instant, token: u32) {
        let Some((_, at)) = self.asked.filter(|(asked, _)| *asked == token) else {
            return;
        };
        self.asked = None;
        let seen = now - at;
        self.seen.push(seen);
        self.estimate = Some(match self.estimate {
            Some(old) if seen > old => (old * (GAIN - 1) + seen) / GAIN,
            _ => seen,
        });
        self.check();
    }

    fn check(&self) {
        let estimate = self.estimate();
        let (shorter, longer) = (
            self.seen.in_a_row(|seen| *seen <= estimate, |_| false),
            self.seen.in_a_row(|seen| *seen >= estimate, |_| false),
        );
        audit!(
            shorter != Some(0) && longer != Some(0),
            "a trip is not estimated beyond what was seen"
        );
        audit!(
            self.asked
                .is_none_or(|(token, at)| token == self.last && Some(at) == self.asked_at),
            "the answer that is waited for is that of the last question"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    #[test]
    fn a_shorter_trip_is_believed_at_once_and_a_longer_one_slowly() {
        let (mut now, mut trip) = (time::now(), Trip::default());
        let ms = Duration::from_millis;
        let mut answer = |trip: &mut Trip, after| {
            let token = trip.ask(now);
            now += after;
            trip.handle_answer(now, token);
            trip.handle_answer(now + after, token);
            trip.estimate()
        };
        assert_eq!(trip.estimate(), TRIP_DEFAULT);
        assert_eq!(answer(&mut trip, ms(100)), ms(100));
        assert_eq!(answer(&mut trip, ms(20)), ms(20));
        assert_eq!(answer(&mut trip, ms(100)), ms(30));
        assert_eq!(trip.ask_again(now), None);
        assert!(trip.ask_again(now + ASK_INTERVAL).is_some());
    }
}
