//! One proxied connection, from accept to last byte.

pub mod actor;
pub mod approach;
pub mod attempts;
pub mod carry;
pub mod core;
pub mod dialler;
pub mod direct;
pub mod first_bytes;
pub mod forward;
pub mod names;
pub mod raw;
pub mod relay;
pub mod serve;
pub mod testimony;
pub mod tunnel_probe;
pub mod uplink;
pub mod upstream_side;
pub mod visitor_side;

use crate::time::Duration;

/// What happens to a visitor whose bytes may have reached an upstream that then broke before `Started`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replay {
    /// Send them again to another target: at least once.
    #[default]
    Unacknowledged,
    /// Only a refusal is tried again: at most once.
    RefusedOnly,
}

/// How sessions behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What may be repeated. Default [`Replay::Unacknowledged`].
    pub replay: Replay,
    /// The least time a client gets to answer a `Start`; the bound is max(this, 4 x RTT). Default 300 ms.
    pub answer_timeout: Duration,
    /// How long a client may take to connect its upstream. Default 1 s.
    pub connect_timeout: Duration,
    /// From accept to `Started`, over all tries. Default 8 s.
    pub start_timeout: Duration,
    /// How long a half-closed session may stay without a byte. Default 300 s.
    pub half_closed_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            replay: Replay::default(),
            answer_timeout: Duration::from_millis(300),
            connect_timeout: Duration::from_secs(1),
            start_timeout: Duration::from_secs(8),
            half_closed_timeout: Duration::from_secs(300),
        }
    }
}
