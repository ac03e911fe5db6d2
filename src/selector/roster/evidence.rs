//! What a success or a failure means for one target.

use rand::Rng;

use super::{
    super::health::{Evidence, State},
    Action, Report, Roster,
    entry::Entry,
};
use crate::{
    probe::{audit, mutant},
    time::{Duration, Instant},
};

impl<K: Ord + Clone> Roster<K> {
    /// Whether every target fails, also while that is taken for a local fault.
    pub fn all_fail(&self) -> bool {
        // A member that serves visitors all the time is not probed.
        let is_down = |(key, entry): (&K, &Entry)| entry.active_since.is_none() || self.fault.has_failed(key);
        self.last_resort || self.fault.all_fail() && self.entries.iter().all(is_down)
    }

    /// Whether a target is put out for what it did.
    pub fn is_open(&self, key: &K) -> bool {
        let state = self.entries.get(key).map(|entry| entry.gate.state());
        matches!(state, Some(State::Open(_)))
    }

    /// A session says how it went.
    pub(super) fn reported(&mut self, now: Instant, key: &K, report: Report, rng: &mut impl Rng) {
        match report {
            Report::Connected(_) if self.by_answers => {
                if let Some(entry) = self.entries.get_mut(key) {
                    entry.meter.handle_reached(now);
                }
            }
            // Nor does not to be reached: the gate hears of answers alone, and asks for one.
            Report::Refused(elapsed) | Report::TimedOut(elapsed) if self.by_answers => {
                if let Some(entry) = self.entries.get_mut(key) {
                    entry.meter.handle_failure(now, elapsed);
                }
                self.doubt(key);
            }
            Report::Connected(rtt) => self.succeeded(now, key, rtt),
            Report::Refused(elapsed) => {
                self.failed(now, key, elapsed, rng);
                self.doubt(key);
            }
            Report::TimedOut(elapsed) => self.failed(now, key, elapsed, rng),
            Report::BrokeEarly(elapsed) => {
                if let Some(entry) = self.entries.get_mut(key) {
                    entry.meter.handle_failure(now, elapsed);
                }
                self.broke(now, key, rng);
            }
            Report::Broke => self.broke(now, key, rng),
            Report::Ended => {
                if let Some(entry) = self.entries.get_mut(key) {
                    entry.gate.handle_session_ended();
                }
            }
        }
    }

    /// It answered, within `rtt`.
    pub(super) fn succeeded(&mut self, now: Instant, key: &K, rtt: Duration) {
        let enough = self.last_resort;
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        entry.meter.handle_success(now, rtt);
        let was_well = entry.gate.state() == State::Closed;
        let enough = enough && !mutant!("success-of-last-resort-not-enough");
        let closed = entry.gate.handle_success(now) || enough && entry.gate.close();
        if closed {
            if !mutant!("served-verdict-not-forgiven") {
                entry.meter.forgive(now);
            }
            audit!(!entry.meter.is_blamed(now), "who is well again has no past");
        } else if !was_well && entry.served && matches!(entry.gate.state(), State::HalfOpen(_)) {
            self.actions.push_back(Action::Hurry(key.clone()));
        }
        self.actions.push_back(Action::Weigh(key.clone()));
        if closed {
            self.rearm(now, key);
            self.compose(now);
        }
    }

    /// It could not be reached, which took so long.
    pub(super) fn failed(&mut self, now: Instant, key: &K, elapsed: Duration, rng: &mut impl Rng) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.meter.handle_failure(now, elapsed);
            let was = entry.gate.state();
            let opened = entry.gate.handle_connect_failed(now, rng);
            self.after_failure(now, key, opened.then_some(was));
        }
    }

    /// It turned a session down, and is believed to be well still: a probe is to tell, before the next visitor does.
    pub(super) fn doubt(&mut self, key: &K) {
        let believed = |entry: &Entry| entry.active_since.is_some() && entry.gate.state() == State::Closed;
        if self.probed && self.entries.get(key).is_some_and(believed) {
            self.actions.push_back(Action::Hurry(key.clone()));
        }
    }

    /// A session on it broke.
    pub(super) fn broke(&mut self, now: Instant, key: &K, rng: &mut impl Rng) {
        if let Some(entry) = self.entries.get_mut(key) {
            let was = entry.gate.state();
            let opened = entry.gate.handle_session_failed(now, rng);
            self.after_failure(now, key, opened.then_some(was));
        }
    }

    /// A failure has, or has not, opened a gate that `was` in another state.
    fn after_failure(&mut self, now: Instant, key: &K, opened: Option<State>) {
        self.actions.push_back(Action::Weigh(key.clone()));
        if let Some(was) = opened {
            if let Some(entry) = self.entries.get_mut(key)
                && entry.gate.state() == State::Open(Evidence::Hard)
            {
                // What it scored is of the past.
                entry.low_since = None;
            }
            self.rearm(now, key);
            // A target that was out stays out: nobody else needs to be looked at.
            if was == State::Closed || self.entries.get(key).is_some_and(|e| e.active_since.is_some()) {
                self.compose(now);
            }
        }
    }
}
