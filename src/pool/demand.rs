//! How many connections to one target are taken, and how long a new one takes. Pure.

use crate::{
    probe::{AUDITS, History, audit, audit_eq},
    time::{Duration, Instant},
};

/// What the fast average of arrivals looks back: a burst shows at once.
const FAST: Duration = Duration::from_secs(1);

/// How far back a peak counts, and in how many parts. Longer keeps what yesterday's burst needed.
const PEAK_WINDOW: Duration = Duration::from_secs(60);
const PEAK_PARTS: usize = 6;
const PEAK_PART: Duration = Duration::from_secs(PEAK_WINDOW.as_secs() / PEAK_PARTS as u64);

/// The refill time assumed before the first was measured. Longer orders more at first; shorter misses more.
const REFILL_UNKNOWN: Duration = Duration::from_millis(100);

/// How many refill times are remembered: enough for a tenth of them to mean something.
const REFILLS: usize = 32;

/// After so long without a miss, half of what misses have added is taken back.
const MISS_HALF_LIFE: Duration = Duration::from_secs(5);

/// Takes per second, averaged over about `tau`: each take adds `1 / tau`, and all fades with `exp(-t / tau)`.
#[derive(Clone, Copy, Debug)]
struct Rate {
    tau: f64,
    value: f64,
}

impl Rate {
    fn new(tau: Duration) -> Self {
        // A window of no length would make one take an infinite rate.
        let tau = tau.max(FAST).as_secs_f64();
        Self { tau, value: 0.0 }
    }

    fn after(&self, since: Duration) -> f64 {
        self.value * (-since.as_secs_f64() / self.tau).exp()
    }

    fn take(&mut self, since: Duration) {
        self.value = self.after(since) + 1.0 / self.tau;
    }
}

/// The demand for one target.
#[derive(Clone, Debug)]
pub struct Demand {
    fast: Rate,
    slow: Rate,
    last_take: Instant,
    /// The highest fast rate in each part of the peak window, the present part first.
    peaks: [f64; PEAK_PARTS],
    part_began: Instant,
    /// The last refill times in the order they came, as a ring; `refill` is their 90th percentile.
    refills: Vec<Duration>,
    next_refill: usize,
    refill: Duration,
    misses: usize,
    last_miss: Instant,
    taken_at: History<Instant>,
    missed_at: History<Instant>,
    refilled: History<Duration>,
}

impl Demand {
    /// Nobody has come yet. `window` is what the slow average looks back, 30 s by default.
    pub fn new(now: Instant, window: Duration) -> Self {
        Self {
            fast: Rate::new(FAST),
            slow: Rate::new(window),
            last_take: now,
            peaks: [0.0; PEAK_PARTS],
            part_began: now,
            refills: Vec::new(),
            next_refill: 0,
            refill: REFILL_UNKNOWN,
            misses: 0,
            last_miss: now,
            taken_at: History::default(),
            missed_at: History::default(),
            refilled: History::default(),
        }
    }

    /// Someone wanted a connection.
    pub fn handle_take(&mut self, now: Instant) {
        self.taken_at.push(now);
        let since = now.saturating_duration_since(self.last_take);
        self.fast.take(since);
        self.slow.take(since);
        self.last_take = now;
        let parts = self.parts_since(now);
        self.peaks.rotate_right(parts % PEAK_PARTS);
        self.peaks[..parts.min(PEAK_PARTS)].fill(0.0);
        self.part_began += PEAK_PART.saturating_mul(u32::try_from(parts).unwrap_or(u32::MAX));
        self.peaks[0] = self.peaks[0].max(self.fast.value);
    }

    /// There was none.
    pub fn handle_miss(&mut self, now: Instant) {
        self.missed_at.push(now);
        self.misses = self.missed(now).saturating_add(1);
        self.last_miss = now;
    }

    /// A connection is ready, so long after it was ordered.
    pub fn handle_refill(&mut self, took: Duration) {
        self.refilled.push(took);
        if self.refills.len() < REFILLS {
            self.refills.push(took);
        } else {
            self.refills[self.next_refill] = took;
        }
        self.next_refill = (self.next_refill + 1) % REFILLS;
        let mut sorted = self.refills.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * 9).div_ceil(10);
        self.refill = sorted[rank - 1];
    }

    /// Takes per second: the highest of the fast average, the slow one and half the peak, so that it grows at once
    /// and falls slowly. 0 when nobody has come for as long as a peak counts.
    pub fn rate(&self, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.last_take);
        if since >= PEAK_WINDOW {
            return 0.0;
        }
        let parts = self.parts_since(now).min(PEAK_PARTS);
        let peak = self.peaks[..PEAK_PARTS - parts]
            .iter()
            .copied()
            .fold(0.0, f64::max);
        self.fast.after(since).max(self.slow.after(since)).max(peak / 2.0)
    }

    /// How long nine of ten new connections take at most, from order to ready.
    pub fn refill_time(&self) -> Duration {
        self.refill
    }

    /// Refills under way on average: rate times refill time.
    pub fn outstanding(&self, now: Instant) -> f64 {
        self.rate(now) * self.refill.as_secs_f64()
    }

    /// How many more to keep because of misses.
    pub fn missed(&self, now: Instant) -> usize {
        let halvings = now.saturating_duration_since(self.last_miss).as_millis() / MISS_HALF_LIFE.as_millis();
        let halvings = u32::try_from(halvings).unwrap_or(u32::MAX);
        self.misses.checked_shr(halvings).unwrap_or(0)
    }

    fn parts_since(&self, now: Instant) -> usize {
        let parts = now.saturating_duration_since(self.part_began).as_millis() / PEAK_PART.as_millis();
        usize::try_from(parts).unwrap_or(usize::MAX)
    }

    /// What it says now, found anew from what it was told.
    pub(super) fn check(&self, now: Instant) {
        if !AUDITS {
            return;
        }
        let (rate, said, whole) = (self.rate_anew(now), self.rate(now), self.taken_at.remembered().1);
        let slack = 1e-6 * (1.0 + rate);
        audit!(
            said >= rate - slack && (said <= rate + slack || !whole),
            "{said} takes per second are {rate} by their times"
        );
        let (misses, whole) = self.missed_at.remembered();
        let halved = |count: usize, since: Option<Instant>, at: Instant| {
            let since = since.map_or(Duration::ZERO, |since| at.saturating_duration_since(since));
            (0..(since.as_millis() / MISS_HALF_LIFE.as_millis()).min(64)).fold(count, |left, _| left / 2)
        };
        let (count, last) = misses.fold((0, None), |(count, last), at| {
            (halved(count, last, *at) + 1, Some(*at))
        });
        let (count, said) = (halved(count, last, now), self.missed(now));
        audit!(
            said == count || said > count && !whole,
            "{said} misses that are not forgotten are {count}"
        );
        let mut refills: Vec<_> = self.refilled.remembered().0.rev().take(REFILLS).collect();
        refills.sort_unstable();
        if let Some(longest) = refills.len().checked_sub(1 + refills.len() / 10) {
            audit_eq!(
                self.refill,
                *refills[longest],
                "nine of ten refills take no longer"
            );
        }
    }

    /// The rate, from the times of the last takes alone.
    fn rate_anew(&self, now: Instant) -> f64 {
        let (takes, _) = self.taken_at.remembered();
        let part = self.part_began + PEAK_PART.saturating_mul(self.parts_since(now).min(1 << 20) as u32);
        let kept_from = part.checked_sub(PEAK_PART * (PEAK_PARTS as u32 - 1));
        let (mut fast, mut slow, mut peak) = (0.0, 0.0, 0.0_f64);
        let mut last = None;
        for at in takes {
            let since = last.map_or(Duration::ZERO, |last| at.saturating_duration_since(last));
            fast = fast * (-since.as_secs_f64()).exp() + 1.0;
            slow = slow * (-since.as_secs_f64() / self.slow.tau).exp() + 1.0 / self.slow.tau;
            if kept_from.is_none_or(|from| *at >= from) {
                peak = peak.max(fast);
            }
            last = Some(*at);
        }
        let since = last.map_or(PEAK_WINDOW, |last| now.saturating_duration_since(last));
        if since >= PEAK_WINDOW {
            return 0.0;
        }
        let since = since.as_secs_f64();
        (fast * (-since).exp())
            .max(slow * (-since / self.slow.tau).exp())
            .max(peak / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    const WINDOW: Duration = Duration::from_secs(30);

    /// Takes `per_second` for so many seconds.
    fn come(demand: &mut Demand, now: &mut Instant, per_second: u32, seconds: u32) {
        for _ in 0..per_second * seconds {
            *now += Duration::from_secs(1) / per_second;
            demand.handle_take(*now);
        }
    }

    #[test]
    fn the_rate_grows_at_once_and_falls_slowly() {
        let mut now = time::now();
        let mut demand = Demand::new(now, WINDOW);
        assert_eq!(demand.rate(now), 0.0);
        come(&mut demand, &mut now, 100, 3);
        assert!((95.0..105.0).contains(&demand.rate(now)), "{}", demand.rate(now));
        let later = |seconds| demand.rate(now + Duration::from_secs(seconds));
        assert!((45.0..55.0).contains(&later(10)), "half the peak: {}", later(10));
        assert!((45.0..55.0).contains(&later(45)), "half the peak: {}", later(45));
        assert_eq!(later(60), 0.0);
    }

    #[test]
    fn a_peak_is_forgotten_after_its_window() {
        let mut now = time::now();
        let mut demand = Demand::new(now, WINDOW);
        come(&mut demand, &mut now, 100, 4);
        come(&mut demand, &mut now, 1, 40);
        assert!(demand.rate(now) > 45.0, "{}", demand.rate(now));
        come(&mut demand, &mut now, 1, 100);
        assert!(demand.rate(now) < 5.0, "{}", demand.rate(now));
    }

    #[test]
    fn the_slow_average_bridges_pauses() {
        let mut now = time::now();
        let mut demand = Demand::new(now, WINDOW);
        for _ in 0..60 {
            now += Duration::from_secs(3);
            demand.handle_take(now);
        }
        let rate = demand.rate(now + Duration::from_secs(2));
        assert!(rate > 0.3, "one in three seconds: {rate}");
    }

    #[test]
    fn the_refill_time_is_what_nine_of_ten_keep() {
        let mut demand = Demand::new(time::now(), WINDOW);
        assert_eq!(demand.refill_time(), REFILL_UNKNOWN);
        demand.handle_refill(Duration::from_millis(7));
        assert_eq!(demand.refill_time(), Duration::from_millis(7));
        for n in 1..=REFILLS as u64 {
            demand.handle_refill(Duration::from_millis(n));
        }
        assert_eq!(demand.refill_time(), Duration::from_millis(29));
        for _ in 0..REFILLS {
            demand.handle_refill(Duration::from_millis(2));
        }
        assert_eq!(demand.refill_time(), Duration::from_millis(2));
    }

    #[test]
    fn misses_add_one_each_and_fade_by_halves() {
        let mut now = time::now();
        let mut demand = Demand::new(now, WINDOW);
        for _ in 0..8 {
            demand.handle_miss(now);
        }
        let mut left = Vec::new();
        for _ in 0..5 {
            left.push(demand.missed(now));
            now += MISS_HALF_LIFE;
        }
        assert_eq!(left, [8, 4, 2, 1, 0]);
        assert_eq!(demand.missed(now + Duration::from_secs(1_000_000)), 0);
    }
}
