//! What a roster keeps of one target.

use std::sync::Arc;

use super::{
    super::{
        health::{Evidence, Gate, State},
        target::SHARE_WHOLE,
    },
    RAMP_FROM,
};
use crate::{
    prober::{Scoring, score::Meter},
    time::{Duration, Instant},
};

/// One target of the group.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: Arc<str>,
    pub gate: Gate,
    pub meter: Meter,
    /// It scores too little, since then.
    pub low_since: Option<Instant>,
    /// It is in the active set, since then.
    pub active_since: Option<Instant>,
    /// It was taken before it was measured.
    pub provisional: bool,
    /// It has been in the active set.
    pub served: bool,
    /// Its slow start began then.
    pub ramp_since: Option<Instant>,
    /// Its place in the roster's `due`.
    pub due: Option<Instant>,
    /// Why it failed last, in words.
    pub cause: Option<Arc<str>>,
}

impl Entry {
    pub fn new(now: Instant, name: &str, scoring: &Scoring, probe_interval: Duration) -> Self {
        Self {
            name: name.into(),
            gate: Gate::new(now),
            meter: Meter::new(now, scoring, probe_interval),
            low_since: None,
            active_since: None,
            provisional: false,
            served: false,
            ramp_since: None,
            due: None,
            cause: None,
        }
    }

    /// Whether it may be used at all, if only as a last resort.
    pub fn is_present(&self) -> bool {
        self.gate.state() != State::Draining
    }

    /// Whether nothing is held against it.
    pub fn is_well(&self) -> bool {
        self.gate.state() == State::Closed && self.low_since.is_none()
    }

    /// Whether it has answered and was well until now.
    pub fn is_known_well(&self) -> bool {
        self.gate.state() == State::Closed && self.meter.is_known()
    }

    /// Whether it counts where parts of the group are reckoned: who never answered and is down says nothing about
    /// the others, and a long list of candidates may be full of them.
    pub fn counts(&self) -> bool {
        self.is_present() && (!self.is_down() || self.meter.is_known())
    }

    /// Whether it could not be reached, or broke what it carried, and has not recovered.
    pub fn is_down(&self) -> bool {
        matches!(
            self.gate.state(),
            State::Open(Evidence::Hard) | State::HalfOpen(Evidence::Hard)
        )
    }

    /// Whether it may be used, as far as evidence goes. `panic` ignores what is soft; without probes a half-open
    /// gate lets visitors try.
    pub fn is_usable(&self, panic: bool, probed: bool) -> bool {
        match self.gate.state() {
            State::Closed => panic || self.low_since.is_none(),
            State::Open(Evidence::Soft) => panic,
            State::HalfOpen(Evidence::Soft) => panic || !probed,
            State::HalfOpen(Evidence::Hard) => !probed,
            State::Open(Evidence::Hard) | State::Draining => false,
        }
    }

    /// Whether its hold-off lasts.
    pub fn is_held(&self, now: Instant, hold_off: Duration) -> bool {
        self.gate.held_until(hold_off).is_some_and(|until| now < until)
    }

    /// What it costs in the long run as a member, in seconds. Unlike [`cost_to_enter`](Self::cost_to_enter) it does
    /// not count the last failures: a member that fails is judged by its gate.
    pub fn cost_to_stay(&self, now: Instant) -> f64 {
        self.meter.steady_cost().as_secs_f64() / self.success(now)
    }

    /// What its last answers cost, in seconds.
    pub fn recent_cost(&self, now: Instant) -> f64 {
        self.meter.recent_cost().as_secs_f64() / self.success(now)
    }

    /// What it costs in the long run, and what it has failed lately, in seconds.
    pub fn cost_to_enter(&self, now: Instant) -> f64 {
        (self.meter.steady_cost() + self.meter.penalty(now)).as_secs_f64() / self.success(now)
    }

    /// How bad it is where nobody is well: by state, failures in a row, cost.
    pub fn badness(&self, now: Instant) -> (u32, u32, f64) {
        let state = match self.gate.state() {
            State::Closed => 0,
            State::HalfOpen(_) => 1,
            State::Open(Evidence::Soft) => 2,
            State::Open(Evidence::Hard) | State::Draining => 3,
        };
        (state, self.gate.failures(), self.cost_to_enter(now))
    }

    /// How much of its weight counts, in thousandths.
    pub fn share(&self, now: Instant, slow_start: Duration) -> u32 {
        let Some(since) = self.ramp_since else {
            return SHARE_WHOLE;
        };
        let passed = now.saturating_duration_since(since);
        if passed >= slow_start {
            return SHARE_WHOLE;
        }
        let grown = f64::from(SHARE_WHOLE - RAMP_FROM) * passed.div_duration_f64(slow_start);
        RAMP_FROM + grown as u32
    }

    fn success(&self, now: Instant) -> f64 {
        self.meter.success(now).unwrap_or(1.0).max(SUCCESS_MIN)
    }
}

/// The least success that is divided by.
const SUCCESS_MIN: f64 = 0.01;
