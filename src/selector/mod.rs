//! Who may be used now: the active set of each group.

pub mod active_set;
pub mod actor;
pub mod failures;
pub mod group;
pub mod health;
pub mod journal;
pub mod outage;
pub mod roster;
pub mod setup;
pub mod status;
pub mod strategy;

pub use crate::target;
use crate::time::Duration;

/// How a session picks one target of the active set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Each target with the same chance, by weight.
    #[default]
    Random,
    /// One after the other.
    RoundRobin,
    /// One after the other, each as often as its weight says, evenly spread.
    Weighted,
    /// The one with the fewest sessions for its weight; of several, any.
    LeastConnections,
    /// Of two drawn, the one with fewer sessions for its weight.
    PowerOfTwo,
    /// Of two drawn, the one that costs less: measured latency times sessions.
    PeakEwma,
    /// The same target for the same visitor's address, unless that one has far more sessions than others.
    ConsistentHash,
}

/// Who is in the active set.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Between two evaluations of what changes slowly. Default 10 s.
    pub evaluation_interval: Duration,
    /// The most members; `None` is all that are well. Default `None`; the forwarder's is 4.
    pub active_set_size: Option<usize>,
    /// Whoever scores less is left out while others score more. Default 20, of 100.
    pub min_score_threshold: f64,
    /// How unwillingly members change.
    pub switching: Switching,
    /// How long a target that came back takes to get its whole share. Default 30 s.
    pub slow_start: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            evaluation_interval: Duration::from_secs(10),
            active_set_size: None,
            min_score_threshold: 20.0,
            switching: Switching::default(),
            slow_start: Duration::from_secs(30),
        }
    }
}

/// How unwillingly members of an active set change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Switching {
    /// By how much a newcomer must be better than the worst member. Default 0.2.
    pub hysteresis: f64,
    /// How long a member stays at least, unless it fails. Default 60 s.
    pub min_dwell: Duration,
    /// Between two improvements. Default 30 s.
    pub cooldown: Duration,
    /// How long one that was put out for failing stays out, times how often, up to ten times this. Default 30 s.
    /// It does not count while nobody else is well.
    pub hold_off: Duration,
}

impl Default for Switching {
    fn default() -> Self {
        Self {
            hysteresis: 0.2,
            min_dwell: Duration::from_secs(60),
            cooldown: Duration::from_secs(30),
            hold_off: Duration::from_secs(30),
        }
    }
}
