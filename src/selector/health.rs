//! Whether one target may be used at all. Pure: it is told the time and handed randomness.

use std::fmt;

use rand::{Rng, RngExt};

use crate::{
    probe::{History, audit, audit_eq, measure, mutant},
    time::{Duration, Instant},
};

/// Failed connects in a row that shut the gate. One is chance, ten are ten disappointed visitors.
const CONNECT_FAILURES_MAX: u32 = 3;

/// Broken sessions in a row that shut the gate. More than connects, for a session may break for other reasons.
const SESSION_FAILURES_MAX: u32 = 5;

/// Successes in a row that open it again. Source: `rise 2` of HAProxy.
const SUCCESSES_NEEDED: u32 = 2;

/// The first wait behind a shut gate, and the longest. It doubles from one to the other.
const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// By how much of itself a wait is lengthened or shortened, or all that fell together would be tried together.
const WAIT_JITTER: f64 = 0.5;

/// The most times that a hold-off is multiplied by. Source: `max_ejection_time` of Envoy.
const EJECTIONS_MAX: u32 = 10;

/// After so long without an ejection, earlier ones are forgotten.
const EJECTIONS_FORGOTTEN: Duration = Duration::from_secs(600);

/// What a verdict rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// It could not be reached, or broke what it carried.
    Hard,
    /// It succeeded too rarely. Not believed when too many are said to be that bad.
    Soft,
}

/// The state of a gate, in the words of circuit breakers: a closed circuit carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Usable.
    Closed,
    /// Not usable, until some time has passed.
    Open(Evidence),
    /// Not usable, but two successes in a row close it.
    HalfOpen(Evidence),
    /// It takes no new sessions, and never will.
    Draining,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "well",
            Self::Open(Evidence::Hard) => "failed",
            Self::Open(Evidence::Soft) => "poor",
            Self::HalfOpen(_) => "recovering",
            Self::Draining => "draining",
        })
    }
}

/// What a gate was told, for its audits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Reached,
    Unreachable,
    Ended,
    Broke,
    Opened,
    HalfOpened,
    Closed,
}

/// The health gate of one target. Every input says whether it changed the state.
#[derive(Clone, Debug)]
pub struct Gate {
    state: State,
    connect_failures: u32,
    session_failures: u32,
    /// Successes in a row since it is half open.
    successes: u32,
    /// How often it opened without having closed in between: the exponent of the wait.
    opened: u32,
    /// While it is open: until when.
    until: Instant,
    ejections: u32,
    ejected_at: Instant,
    told: History<Told>,
    ejected: History<Instant>,
}

impl Gate {
    /// A closed gate: nothing is held against it yet.
    pub fn new(now: Instant) -> Self {
        Self {
            state: State::Closed,
            connect_failures: 0,
            session_failures: 0,
            successes: 0,
            opened: 0,
            until: now,
            ejections: 0,
            ejected_at: now,
            told: History::default(),
            ejected: History::default(),
        }
    }

    /// What it counts in a row, counted anew.
    fn check(&self) {
        let row = |counts: Told, ends: Told| {
            self.told.in_a_row(
                |told| *told == counts,
                |told| *told == ends || *told == Told::Closed,
            )
        };
        if let Some(failures) = row(Told::Unreachable, Told::Reached) {
            audit_eq!(
                self.connect_failures,
                failures,
                "connects that failed in a row are counted"
            );
        }
        if let Some(failures) = row(Told::Broke, Told::Ended) {
            audit_eq!(
                self.session_failures,
                failures,
                "sessions that broke in a row are counted"
            );
        }
        if let Some(opened) = row(Told::Opened, Told::Closed) {
            audit_eq!(
                self.opened,
                opened,
                "a gate knows how often it opened since it was closed"
            );
        }
        let successes = self
            .told
            .in_a_row(|told| *told == Told::Reached, |told| *told == Told::HalfOpened);
        if let (State::HalfOpen(_), Some(successes)) = (self.state, successes) {
            audit_eq!(
                self.successes,
                successes,
                "successes in a row are counted while it is half open"
            );
        }
        audit!(
            self.poll_timeout().is_some() == matches!(self.state, State::Open(_)),
            "a gate that is open does not stay so"
        );
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Failures in a row, of either kind.
    pub fn failures(&self) -> u32 {
        self.connect_failures + self.session_failures
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        matches!(self.state, State::Open(_)).then_some(self.until)
    }

    /// A connect, or a probe, succeeded. A session's end does not count for this: who accepts and then breaks
    /// everything is not well.
    pub fn handle_success(&mut self, now: Instant) -> bool {
        let well = self.connect_failures > 0 && self.state == State::Closed;
        if !(well && mutant!("failures-not-in-a-row")) {
            self.connect_failures = 0;
        }
        if let State::Open(_) = self.state
            && now >= self.until
        {
            self.handle_timeout(now);
        }
        self.told.push(Told::Reached);
        if !matches!(self.state, State::HalfOpen(_)) {
            self.check();
            return false;
        }
        self.successes += 1;
        self.check();
        let enough = self.successes >= SUCCESSES_NEEDED || mutant!("half-open-closes-at-once");
        audit!(
            !enough
                || self
                    .told
                    .in_a_row(|told| *told == Told::Reached, |told| *told == Told::HalfOpened)
                    .is_none_or(|successes| successes >= SUCCESSES_NEEDED),
            "a gate closes behind so many successes in a row"
        );
        enough && self.close()
    }

    /// A session ended as it should.
    pub fn handle_session_ended(&mut self) {
        self.told.push(Told::Ended);
        self.session_failures = 0;
        self.check();
    }

    /// Nothing better is left, and it has just succeeded: that is enough.
    pub fn close(&mut self) -> bool {
        if matches!(self.state, State::Closed | State::Draining) {
            return false;
        }
        self.told.push(Told::Closed);
        self.state = State::Closed;
        self.connect_failures = 0;
        if self.session_failures == 0 || !mutant!("broken-sessions-remembered") {
            self.session_failures = 0;
        }
        if self.opened < 2 || !mutant!("earlier-waits-not-forgotten") {
            self.opened = 0;
        }
        audit!(
            (self.opened, self.connect_failures, self.session_failures) == (0, 0, 0),
            "a gate that is closed holds nothing against its target"
        );
        self.check();
        true
    }

    /// A connect, or a probe, failed.
    pub fn handle_connect_failed(&mut self, now: Instant, rng: &mut impl Rng) -> bool {
        self.told.push(Told::Unreachable);
        self.connect_failures = self.connect_failures.saturating_add(1);
        self.handle_failure(now, self.connect_failures >= CONNECT_FAILURES_MAX, rng)
    }

    /// A session broke.
    pub fn handle_session_failed(&mut self, now: Instant, rng: &mut impl Rng) -> bool {
        if mutant!("broken-sessions-forgiven") {
            return false;
        }
        self.told.push(Told::Broke);
        self.session_failures = self.session_failures.saturating_add(1);
        self.handle_failure(now, self.session_failures >= SESSION_FAILURES_MAX, rng)
    }

    fn handle_failure(&mut self, now: Instant, too_many: bool, rng: &mut impl Rng) -> bool {
        measure!("failures-in-a-row", self.failures());
        audit!(
            self.state != State::Closed
                || self.connect_failures <= CONNECT_FAILURES_MAX
                    && self.session_failures <= SESSION_FAILURES_MAX,
            "a gate that is closed has seen no more failures in a row than open it"
        );
        match self.state {
            State::Closed if too_many => self.open(now, Evidence::Hard, rng),
            // What was thought to be poor turns out to be unreachable.
            State::Open(Evidence::Soft) if too_many => self.open(now, Evidence::Hard, rng),
            State::HalfOpen(evidence) => self.open(now, evidence, rng),
            _ => false,
        }
    }

    /// It is not to be used, for a while.
    pub fn open(&mut self, now: Instant, evidence: Evidence, rng: &mut impl Rng) -> bool {
        if self.state == State::Draining {
            return false;
        }
        let (base, cap) = WAIT;
        let wait = base
            .saturating_mul(1u32.checked_shl(self.opened.min(30)).unwrap_or(u32::MAX))
            .min(cap);
        measure!("wait-behind-a-gate-ms", wait);
        self.until = now + wait.mul_f64(rng.random_range(1.0 - WAIT_JITTER..1.0 + WAIT_JITTER));
        self.told.push(Told::Opened);
        self.opened = self.opened.saturating_add(1);
        self.successes = 0;
        self.state = State::Open(evidence);
        self.check();
        self.check_wait(now);
        true
    }

    /// Time has passed: it may be tried.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        match self.state {
            State::Open(evidence) if now >= self.until => {
                self.told.push(Told::HalfOpened);
                self.state = State::HalfOpen(evidence);
                self.successes = 0;
                true
            }
            _ => false,
        }
    }

    /// It takes no new sessions from now on.
    pub fn drain(&mut self) {
        self.state = State::Draining;
    }

    /// It was put out of the active set for failing.
    pub fn handle_ejected(&mut self, now: Instant) {
        if now.saturating_duration_since(self.ejected_at) >= EJECTIONS_FORGOTTEN {
            self.ejections = 0;
        }
        self.ejections = (self.ejections + 1).min(EJECTIONS_MAX);
        self.ejected_at = now;
        measure!("ejections-in-a-row", self.ejections);
        self.ejected.push(now);
        self.check_ejections();
    }

    /// How long it has just been opened for, by how often it was opened.
    fn check_wait(&self, now: Instant) {
        let opened = self
            .told
            .in_a_row(|told| *told == Told::Opened, |told| *told == Told::Closed);
        let (base, cap) = WAIT;
        if let Some(opened) = opened {
            let doubled = (1..opened.min(64)).fold(base, |wait, _| wait.saturating_mul(2));
            let (wait, waits) = (doubled.min(cap), self.until.saturating_duration_since(now));
            audit!(
                waits >= wait.mul_f64(1.0 - WAIT_JITTER) && waits <= wait.mul_f64(1.0 + WAIT_JITTER),
                "the wait behind a gate doubles each time, up to its cap"
            );
        }
    }

    /// How often it was put out without a long pause in between, counted anew.
    fn check_ejections(&self) {
        let (ejected, _) = self.ejected.remembered();
        let (mut count, mut next) = (0, None);
        for at in ejected.rev() {
            let gap = next.map_or(Duration::ZERO, |next: Instant| {
                next.saturating_duration_since(*at)
            });
            if gap >= EJECTIONS_FORGOTTEN {
                break;
            }
            (count, next) = (count + 1, Some(*at));
        }
        audit!(
            count == 0 || self.ejections == count.min(EJECTIONS_MAX),
            "a gate knows how often its target was put out lately"
        );
    }

    /// Until when it stays out of the active set, however well it does: `hold_off` times how often it was put out.
    pub fn held_until(&self, hold_off: Duration) -> Option<Instant> {
        (self.ejections > 0).then(|| self.ejected_at + hold_off * self.ejections)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn gate() -> (Gate, Instant, ChaCha8Rng) {
        let now = crate::time::now();
        (Gate::new(now), now, ChaCha8Rng::seed_from_u64(5))
    }

    #[test]
    fn three_failed_connects_in_a_row_open_it() {
        let (mut gate, now, mut rng) = gate();
        for _ in 0..10 {
            assert!(!gate.handle_connect_failed(now, &mut rng));
            assert!(!gate.handle_connect_failed(now, &mut rng));
            gate.handle_success(now);
        }
        gate.handle_connect_failed(now, &mut rng);
        gate.handle_connect_failed(now, &mut rng);
        assert!(gate.handle_connect_failed(now, &mut rng));
        assert_eq!(gate.state(), State::Open(Evidence::Hard));
    }

    #[test]
    fn who_accepts_and_breaks_is_not_well() {
        let (mut gate, now, mut rng) = gate();
        for _ in 0..4 {
            gate.handle_success(now);
            assert!(!gate.handle_session_failed(now, &mut rng));
        }
        gate.handle_success(now);
        assert!(gate.handle_session_failed(now, &mut rng));
        assert_eq!(gate.state(), State::Open(Evidence::Hard));
    }

    #[test]
    fn two_successes_after_the_wait_close_it() {
        let (mut gate, now, mut rng) = gate();
        gate.open(now, Evidence::Hard, &mut rng);
        assert!(!gate.handle_success(now), "too early");
        let due = gate.poll_timeout().unwrap();
        assert!(due >= now + S(1) / 2 && due <= now + S(3) / 2);
        assert!(gate.handle_timeout(due));
        assert!(!gate.handle_success(due));
        assert!(gate.handle_success(due));
        assert_eq!(gate.state(), State::Closed);
    }

    #[test]
    fn the_wait_doubles_up_to_a_minute_while_it_stays_bad() {
        let (mut gate, mut now, mut rng) = gate();
        gate.open(now, Evidence::Hard, &mut rng);
        for n in 0..12u32 {
            let due = gate.poll_timeout().unwrap();
            let full = S(1 << n.min(6)).min(S(60));
            assert!(due >= now + full / 2 && due <= now + full * 3 / 2, "{n}");
            now = due;
            gate.handle_timeout(now);
            gate.handle_success(now);
            assert!(gate.handle_connect_failed(now, &mut rng), "one failure is enough");
        }
    }

    #[test]
    fn hold_off_grows_with_every_ejection_and_is_forgotten() {
        let (mut gate, now, _) = gate();
        assert_eq!(gate.held_until(S(30)), None);
        for n in 1..=12u32 {
            gate.handle_ejected(now);
            assert_eq!(gate.held_until(S(30)), Some(now + S(30) * n.min(10)));
        }
        let later = now + EJECTIONS_FORGOTTEN;
        gate.handle_ejected(later);
        assert_eq!(gate.held_until(S(30)), Some(later + S(30)));
    }

    #[test]
    fn who_drains_never_comes_back() {
        let (mut gate, now, mut rng) = gate();
        gate.drain();
        gate.handle_success(now);
        gate.close();
        gate.open(now, Evidence::Soft, &mut rng);
        assert_eq!(gate.state(), State::Draining);
    }
}
