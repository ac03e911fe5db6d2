//! Whether the other end of a connection is still there. Pure: it is told the time.
//!
//! A quiet connection is asked (PING) after 15 s and dead 10 s later, so a black hole is noticed without
//! the kernel. A side that does not read, because the far socket does not drain, cannot answer: it gives a
//! sign of life of its own every 5 s instead, and does not judge the peer meanwhile.

use crate::{
    probe::{History, audit, mutant, sometimes},
    time::{Duration, Instant},
};

/// How long a connection may be quiet before it is asked. Longer hides a black hole; shorter costs packets.
const QUIET: Duration = Duration::from_secs(15);

/// How long the answer may take. Longer hides a black hole; shorter kills slow paths.
const ANSWER: Duration = Duration::from_secs(10);

/// Between two signs of life while not reading. Must stay well below [`ANSWER`].
const STALLED_SIGN: Duration = Duration::from_secs(5);

/// A timer this late means that this process slept, not that the peer is gone.
const LATE: Duration = Duration::from_secs(1);

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Send a PING.
    Ping,
    /// Give the connection up.
    Dead,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Input was seen at this time.
    Heard(Instant),
    /// Asked at this time.
    Asked(Instant),
    /// Not reading; the last sign of life was given at this time.
    Stalled(Instant),
}

/// Getters: [`poll_timeout`](Self::poll_timeout). Inputs: `handle_*`.
#[derive(Debug)]
pub struct Keepalive {
    state: State,
    /// When something was heard, for its audits.
    heard: History<Instant>,
}

impl Keepalive {
    /// A connection that was just heard from.
    pub fn new(now: Instant) -> Self {
        Self {
            state: State::Heard(now),
            heard: History::default(),
        }
    }

    /// Some bytes came in.
    pub fn handle_input(&mut self, now: Instant) {
        self.heard.push(now);
        if mutant!("keepalive-ignores-input") {
            return;
        }
        self.state = State::Heard(now);
    }

    /// The peer has taken bytes for which it had had no room.
    pub fn handle_taken(&mut self, now: Instant) {
        if let State::Heard(_) | State::Asked(_) = self.state {
            self.state = State::Heard(now);
        }
    }

    /// This side does (or does no longer) leave input unread on purpose.
    pub fn handle_stalled(&mut self, now: Instant, stalled: bool) {
        match (stalled, self.state) {
            (true, State::Heard(_) | State::Asked(_)) if mutant!("stalled-side-gives-no-sign") => {}
            (true, State::Heard(_) | State::Asked(_)) => self.state = State::Stalled(now),
            (false, State::Stalled(_)) => self.state = State::Heard(now),
            _ => {}
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    pub fn poll_timeout(&self) -> Instant {
        match self.state {
            State::Heard(at) => at + QUIET,
            State::Asked(at) => at + ANSWER,
            State::Stalled(at) => at + STALLED_SIGN,
        }
    }

    /// The time has come, or something else woke us.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<Act> {
        let due = self.poll_timeout();
        if now < due {
            return None;
        }
        match self.state {
            State::Heard(_) => {
                self.state = State::Asked(now);
                Some(Act::Ping)
            }
            State::Asked(_) if now > due + LATE || mutant!("silent-connection-never-given-up") => {
                self.state = State::Asked(now);
                Some(Act::Ping)
            }
            State::Asked(_) => {
                sometimes!("proxy-connection-fell-silent");
                let is_late = |at: &Instant| now >= *at + QUIET + ANSWER;
                audit!(
                    self.heard
                        .in_a_row(|at| !is_late(at), is_late)
                        .is_none_or(|heard| heard == 0),
                    "who was heard just now is not silent"
                );
                Some(Act::Dead)
            }
            State::Stalled(_) => {
                self.state = State::Stalled(now);
                Some(Act::Ping)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn quiet_is_asked_and_then_dead() {
        let start = crate::time::now();
        let mut keepalive = Keepalive::new(start);
        assert_eq!(keepalive.handle_timeout(start + secs(14)), None);
        assert_eq!(keepalive.handle_timeout(start + secs(15)), Some(Act::Ping));
        assert_eq!(keepalive.handle_timeout(start + secs(24)), None);
        assert_eq!(keepalive.handle_timeout(start + secs(25)), Some(Act::Dead));
    }

    #[test]
    fn an_answer_in_time_starts_over() {
        let start = crate::time::now();
        let mut keepalive = Keepalive::new(start);
        keepalive.handle_timeout(start + secs(15));
        keepalive.handle_input(start + secs(24));
        assert_eq!(keepalive.handle_timeout(start + secs(25)), None);
    }

    #[test]
    fn a_stalled_side_gives_signs_before_the_peer_can_despair() {
        let start = crate::time::now();
        let mut keepalive = Keepalive::new(start);
        keepalive.handle_timeout(start + secs(15));
        keepalive.handle_stalled(start + secs(16), true);
        for n in 1..100 {
            assert_eq!(
                keepalive.handle_timeout(start + secs(16 + 5 * n)),
                Some(Act::Ping)
            );
        }
        keepalive.handle_stalled(start + secs(600), false);
        assert_eq!(keepalive.handle_timeout(start + secs(614)), None);
    }

    #[test]
    fn a_process_that_slept_asks_again() {
        let start = crate::time::now();
        let mut keepalive = Keepalive::new(start);
        keepalive.handle_timeout(start + secs(15));
        assert_eq!(keepalive.handle_timeout(start + secs(60)), Some(Act::Ping));
        assert_eq!(keepalive.handle_timeout(start + secs(70)), Some(Act::Dead));
    }
}
