//! How fast one target may be dialled beyond what is taken from it. Pure: the generic cell rate algorithm
//! (ITU-T I.371), with a burst of `burst` and a steady `per_second`.

use crate::{
    probe::{AUDITS, History, audit},
    time::{Duration, Instant},
};

/// What a [`Pace`] was told.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// So many were ordered.
    Ordered(Instant, u32),
    /// One was taken.
    Taken,
}

/// The pace of one target's orders.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Between two orders; `None` is no limit.
    interval: Option<Duration>,
    /// Orders that may come at once after a pause.
    burst: u32,
    /// Up to when the orders so far have used the time.
    used_until: Instant,
    told: History<Told>,
}

impl Pace {
    /// Nothing ordered yet. 0 per second is taken for 1.
    pub fn new(now: Instant, per_second: Option<u32>, burst: usize) -> Self {
        Self {
            interval: per_second.map(|count| Duration::from_secs(1) / count.max(1)),
            burst: u32::try_from(burst).unwrap_or(u32::MAX).max(1),
            used_until: now,
            told: History::default(),
        }
    }

    /// How many may be ordered now, of `wanted`.
    pub fn allowed(&self, now: Instant, wanted: usize) -> usize {
        let Some(interval) = self.interval else {
            return wanted;
        };
        let free =
            (now + interval.saturating_mul(self.burst)).saturating_duration_since(self.used_until.max(now));
        let count = free.as_nanos() / interval.as_nanos().max(1);
        wanted.min(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// So many were ordered.
    pub fn handle_ordered(&mut self, now: Instant, count: usize) {
        if let Some(interval) = self.interval {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            self.used_until = self.used_until.max(now) + interval.saturating_mul(count);
            self.told.push(Told::Ordered(now, count));
            self.check(now, interval);
        }
    }

    /// From any order on no more were ordered than a burst, one in each interval, and one for each that was taken.
    fn check(&self, now: Instant, interval: Duration) {
        audit!(
            self.used_until <= now + interval.saturating_mul(self.burst),
            "no more is ordered at once than a burst"
        );
        if !AUDITS {
            return;
        }
        let (mut ordered, mut taken) = (0, 0);
        for told in self.told.remembered().0.rev() {
            match told {
                Told::Taken => taken += 1,
                Told::Ordered(at, count) => {
                    ordered += count;
                    let earned = now.saturating_duration_since(*at) + interval * (self.burst + taken);
                    audit!(interval * ordered <= earned, "orders keep to their pace");
                }
            }
        }
    }

    /// One was taken: the order that replaces it is free.
    pub fn handle_taken(&mut self) {
        self.told.push(Told::Taken);
        if let Some(interval) = self.interval
            && let Some(earlier) = self.used_until.checked_sub(interval)
        {
            self.used_until = earlier;
        }
    }

    /// When the next order is allowed; `None` where there is no limit.
    pub fn next(&self) -> Option<Instant> {
        let interval = self.interval?;
        self.used_until
            .checked_sub(interval.saturating_mul(self.burst - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    #[test]
    fn a_burst_then_a_steady_pace() {
        let mut now = time::now();
        let mut pace = Pace::new(now, Some(50), 8);
        assert_eq!(pace.allowed(now, 64), 8);
        pace.handle_ordered(now, 8);
        assert_eq!(pace.allowed(now, 64), 0);
        let mut ordered = 0;
        let end = now + Duration::from_secs(2);
        while now < end {
            now = pace.next().expect("there is a limit");
            assert_eq!(pace.allowed(now, 64), 1, "exactly then, and no earlier");
            pace.handle_ordered(now, 1);
            ordered += 1;
        }
        assert_eq!(ordered, 100);
        assert_eq!(pace.allowed(now + Duration::from_secs(9), 64), 8);
    }

    #[test]
    fn what_replaces_a_taken_one_is_free() {
        let now = time::now();
        let mut pace = Pace::new(now, Some(50), 8);
        pace.handle_ordered(now, 8);
        for _ in 0..1000 {
            pace.handle_taken();
            assert_eq!(pace.allowed(now, 64), 1);
            pace.handle_ordered(now, 1);
        }
        for _ in 0..1000 {
            pace.handle_taken();
        }
        assert_eq!(pace.allowed(now, 64), 8, "and is not saved for a storm");
    }

    #[test]
    fn no_limit_is_no_limit() {
        let now = time::now();
        let mut pace = Pace::new(now, None, 8);
        pace.handle_ordered(now, 1000);
        assert_eq!((pace.allowed(now, 64), pace.next()), (64, None));
    }
}
