//! How much may be tried again: a share of what is asked, and a little more. Without it a group that fails is asked by
//! everybody several times over, just then (as in Finagle's `RetryBudget`).

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::{
    probe::{audit, measure, mutant},
    time::{self, Instant},
};

/// In thousandths of a retry: what one request adds, what a second adds, and how much may be saved.
const PER_REQUEST: i64 = 200;
const PER_SECOND: i64 = 10_000;
const SAVED_MAX: i64 = 100_000;

/// The retries that the requests of one group have saved up.
#[derive(Debug)]
pub struct RetryBudget {
    began: Instant,
    saved: AtomicI64,
    /// Milliseconds from the beginning up to which time has been paid for.
    paid_ms: AtomicU64,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            began: time::now(),
            saved: AtomicI64::new(PER_SECOND),
            paid_ms: AtomicU64::new(0),
        }
    }
}

impl RetryBudget {
    /// A request has come.
    pub fn deposit(&self, now: Instant) {
        self.pass(now);
        measure!("retries-saved-up", self.saved.load(Ordering::Relaxed) as f64);
        self.add(PER_REQUEST);
    }

    /// Whether one more request may be tried again.
    pub fn withdraw(&self, now: Instant) -> bool {
        self.pass(now);
        if mutant!("retry-never-granted") {
            return false;
        }
        let enough = |saved: i64| (saved >= 1000).then_some(saved - 1000);
        let withdrawn = self
            .saved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, enough);
        self.check();
        withdrawn.is_ok()
    }

    fn check(&self) {
        audit!(
            (0..=SAVED_MAX).contains(&self.saved.load(Ordering::Relaxed)),
            "no more is withdrawn than is saved, and no more saved than may be"
        );
    }

    /// How many requests may be tried again now.
    pub fn left(&self, now: Instant) -> f64 {
        self.pass(now);
        self.saved.load(Ordering::Relaxed) as f64 / 1000.0
    }

    /// Pays for the time that has passed.
    fn pass(&self, now: Instant) {
        let now_ms = u64::try_from((now - self.began).as_millis()).unwrap_or(u64::MAX);
        let before = self.paid_ms.fetch_max(now_ms, Ordering::Relaxed);
        let passed = i64::try_from(now_ms.saturating_sub(before)).unwrap_or(SAVED_MAX);
        if passed > 0 && mutant!("retries-not-saved-up-by-time") {
            return;
        }
        self.add(passed.min(SAVED_MAX) * PER_SECOND / 1000);
    }

    fn add(&self, amount: i64) {
        let sum = |saved: i64| Some((saved + amount).min(SAVED_MAX));
        let _ = self.saved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
        self.check();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    #[test]
    fn a_fifth_of_the_requests_and_ten_a_second_may_be_tried_again() {
        let budget = RetryBudget::default();
        let now = budget.began;
        let granted = |now| (0..1000).filter(|_| budget.withdraw(now)).count();
        assert_eq!(granted(now), 10, "what there is to begin with");
        (0..50).for_each(|_| budget.deposit(now));
        assert_eq!(granted(now), 10);
        assert_eq!(budget.left(now + Duration::from_secs(2)), 20.0);
        assert_eq!(granted(now + Duration::from_secs(2)), 20);
        assert_eq!(
            granted(now + Duration::from_secs(3600)),
            100,
            "and no more is saved"
        );
    }
}
