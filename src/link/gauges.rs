//! What a session may want to know of a link without asking its actor.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::time::Duration;

/// The round trip assumed before the first measurement.
const RTT_DEFAULT: Duration = Duration::from_millis(30);

/// The longest round trip that is believed. Longer, and one late heartbeat, or a peer that lies, could claim
/// a visitor's whole patience for a single try.
const RTT_MAX: Duration = Duration::from_millis(500);

/// Live figures of one link; shared by its actor, its targets and their sessions.
#[derive(Debug, Default)]
pub struct LinkGauges {
    rtt_us: AtomicU64,
    starting: AtomicUsize,
}

impl LinkGauges {
    /// The smoothed round trip; 30 ms before the first measurement.
    pub fn rtt(&self) -> Duration {
        match self.rtt_us.load(Ordering::Relaxed) {
            0 => RTT_DEFAULT,
            us => Duration::from_micros(us),
        }
    }

    /// A heartbeat measured the round trip. Smoothed as in RFC 6298: 7/8 of the old, 1/8 of the new.
    pub fn measure_rtt(&self, rtt: Duration) {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let new = micros(rtt.min(RTT_MAX)).max(1);
        let smoothed = match self.rtt_us.load(Ordering::Relaxed) {
            0 => new,
            old => (old * 7 + new) / 8,
        };
        self.rtt_us.store(smoothed.max(1), Ordering::Relaxed);
    }

    /// Sessions that picked this link and have not started yet.
    pub fn starting(&self) -> usize {
        self.starting.load(Ordering::Acquire)
    }

    /// A session picked this link; hold the guard until it started or failed.
    pub fn begin_start(self: &Arc<Self>) -> StartGuard {
        self.starting.fetch_add(1, Ordering::AcqRel);
        StartGuard(Arc::clone(self))
    }
}

/// Counts one session as starting while it lives.
#[derive(Debug)]
pub struct StartGuard(Arc<LinkGauges>);

impl Drop for StartGuard {
    fn drop(&mut self) {
        self.0.starting.fetch_sub(1, Ordering::AcqRel);
    }
}
