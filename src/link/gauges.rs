//! What a session may want to know of a link without asking its actor.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use crate::{
    probe::{audit, mutant},
    time::{self, Duration, Instant},
};

/// The round trip assumed where nothing was measured.
const RTT_DEFAULT: Duration = Duration::from_millis(30);

/// The longest round trip that is believed. Longer, and one late heartbeat, or a peer that lies, could claim
/// a visitor's whole patience for a single try.
const RTT_MAX: Duration = Duration::from_millis(500);

/// When bytes moved last: something came from the peer, or what had been held up went out to it. Cheap to write often.
#[derive(Debug)]
pub struct LastMoved {
    since: Instant,
    /// Milliseconds, and one more; 0 before the first.
    at: AtomicU64,
}

impl Default for LastMoved {
    fn default() -> Self {
        Self {
            since: time::now(),
            at: AtomicU64::new(0),
        }
    }
}

impl LastMoved {
    /// Bytes moved `now`.
    pub fn note(&self, now: Instant) {
        let millis = u64::try_from((now - self.since).as_millis()).unwrap_or(u64::MAX - 1);
        // Many tasks tell the same: those that come later in a millisecond only read.
        if self.at.load(Ordering::Relaxed) <= millis {
            self.at.store(millis + 1, Ordering::Relaxed);
        }
    }

    /// Whether `now` is told as it is: clocks of tests move by whole milliseconds.
    pub fn is_exact_at(&self, now: Instant) -> bool {
        (now - self.since).subsec_nanos().is_multiple_of(1_000_000)
    }

    /// When that was; `None` before the first.
    pub fn get(&self) -> Option<Instant> {
        let millis = self.at.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.since + Duration::from_millis(millis))
    }
}

/// Live figures of one link; shared by its actor, its targets and their sessions.
#[derive(Debug)]
pub struct LinkGauges {
    /// What its registration took, as long as no heartbeat has said better.
    first_rtt: Duration,
    /// 0 before the first heartbeat that knows.
    rtt_us: AtomicU64,
    starting: AtomicUsize,
    /// When bytes of a session moved last, on any connection of the registration.
    pub moved: LastMoved,
}

impl Default for LinkGauges {
    fn default() -> Self {
        Self::new(RTT_DEFAULT)
    }
}

impl LinkGauges {
    /// Those of a link whose peer took so long to answer once. The first heartbeat that brings a measurement is sent an
    /// interval later, and who is further away than others has visitors before.
    pub fn new(first_rtt: Duration) -> Self {
        Self {
            first_rtt: first_rtt.min(RTT_MAX),
            rtt_us: AtomicU64::default(),
            starting: AtomicUsize::default(),
            moved: LastMoved::default(),
        }
    }

    /// The smoothed round trip; what the registration took before the first measurement.
    pub fn rtt(&self) -> Duration {
        match self.rtt_us.load(Ordering::Relaxed) {
            0 if mutant!("first-visitors-wait-for-the-default-only") => RTT_DEFAULT,
            0 => self.first_rtt,
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
        let before = self.0.starting.fetch_sub(1, Ordering::AcqRel);
        audit!(before > 0, "only who has begun to start is through with it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_tells_the_way_until_a_heartbeat_does() {
        let ms = Duration::from_millis;
        let gauges = LinkGauges::new(ms(400));
        assert_eq!(gauges.rtt(), ms(400));
        gauges.measure_rtt(ms(100));
        assert_eq!(gauges.rtt(), ms(100), "nothing of the guess is left");
        assert_eq!(LinkGauges::new(ms(9_000)).rtt(), RTT_MAX);
        assert_eq!(LinkGauges::default().rtt(), RTT_DEFAULT);
    }
}
