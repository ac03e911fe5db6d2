//! What a peer may do how often.

use crate::time::{Duration, Instant};

/// A bucket of tokens: so many at once, and so many a second in the long run.
#[derive(Clone, Debug)]
pub struct Bucket {
    per_second: u32,
    burst: f64,
    tokens: f64,
    filled_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn new(now: Instant, per_second: u32, burst: u32) -> Self {
        Self {
            per_second,
            burst: burst.into(),
            tokens: burst.into(),
            filled_at: now,
        }
    }

    /// Takes a token; `false` when there was none.
    pub fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    /// Whether there is a token.
    pub fn has(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= 1.0
    }

    fn fill(&mut self, now: Instant) {
        let since: Duration = now.saturating_duration_since(self.filled_at);
        self.filled_at = now;
        let fresh = since.as_secs_f64() * f64::from(self.per_second);
        self.tokens = (self.tokens + fresh).min(self.burst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut now = time::now();
        let mut bucket = Bucket::new(now, 10, 3);
        let takes = |bucket: &mut Bucket, now| (0..10).filter(|_| bucket.take(now)).count();
        assert_eq!(takes(&mut bucket, now), 3);
        now += Duration::from_millis(250);
        assert_eq!(takes(&mut bucket, now), 2);
        assert!(!bucket.has(now));
        now += Duration::from_secs(9);
        assert_eq!(takes(&mut bucket, now), 3, "and no more than it holds");
    }
}
