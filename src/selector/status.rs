//! How a group stands, to be shown.

use super::{health::State, roster::Standing};
use crate::{id::GroupName, metrics::TargetState};

/// How a group stands, in the order of its targets.
#[derive(Clone, Debug)]
pub struct Status {
    /// The group.
    pub group: GroupName,
    /// Soft evidence is ignored: too many are out.
    pub panic: bool,
    /// Failed probes are not believed: a local fault is suspected.
    pub frozen: bool,
    /// Nobody is well.
    pub last_resort: bool,
    /// Its targets.
    pub targets: Vec<TargetStatus>,
}

/// How one target stands.
#[derive(Clone, Debug)]
pub struct TargetStatus {
    /// What the roster says of it.
    pub standing: Standing,
    /// Sessions that this node has on it.
    pub in_flight: usize,
}

impl Standing {
    /// The number that metrics show.
    pub(super) fn shown(&self) -> TargetState {
        match self.state {
            State::Draining => TargetState::Draining,
            State::Open(_) => TargetState::Down,
            State::HalfOpen(_) => TargetState::Probation,
            State::Closed if self.active => TargetState::Active,
            State::Closed => TargetState::Standby,
        }
    }
}
