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
pub mod patience;
pub mod open;
pub mod raw;
pub mod relay;
pub mod serve;
pub mod testimony;
pub mod trunk;
pub mod tunnel_probe;
pub mod tunnel_stream;
pub mod uplink;
pub mod upstream_side;
pub mod visitor_side;
pub mod way;

use crate::time::Duration;

/// How long whoever comes to a group that has no target waits for one.
pub const EMPTY_GROUP_TIMEOUT: Duration = Duration::from_secs(2);

/// The least time a client gets to bring a connection when none is parked: three round trips, and a margin.
const TAKE_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// What happens to a visitor whose bytes may have reached an upstream that then broke before `Started`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replay {
    /// Send them again to another target: at least once.
    #[default]
    Unacknowledged,
    /// Only a refusal is tried again: at most once.
    RefusedOnly,
}

/// What carries a session between server and client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carriage {
    /// A proxy connection, which it has to itself.
    #[default]
    Dedicated,
    /// A stream of a data link, which it shares.
    Mux,
}

/// What a session does when no proxy connection is ready for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// It takes a stream of a data link.
    #[default]
    Mux,
    /// It waits for a proxy connection.
    Wait,
}

/// How sessions behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What may be repeated. Default [`Replay::Unacknowledged`].
    pub replay: Replay,
    /// What carries them. Default [`Carriage::Dedicated`].
    pub carry: Carriage,
    /// What happens where no proxy connection is ready. Default [`Overflow::Mux`]; nothing under [`Carriage::Mux`].
    pub overflow: Overflow,
    /// The least time a client gets to answer a `Start`; the bound is max(this, 4 x RTT). Default 300 ms.
    pub answer_timeout: Duration,
    /// How long a client may take to connect its upstream. Default 2 s: a SYN that a full queue of the upstream's kernel
    /// drops is sent again after one (RFC 6298, section 2), and three tries fit into `start_timeout`.
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
            carry: Carriage::default(),
            overflow: Overflow::default(),
            answer_timeout: Duration::from_millis(300),
            connect_timeout: Duration::from_secs(2),
            start_timeout: Duration::from_secs(8),
            half_closed_timeout: Duration::from_secs(300),
        }
    }
}

impl Options {
    /// Whether such a session may ride on a data link.
    pub fn needs_links(&self) -> bool {
        self.carry == Carriage::Mux || self.overflow == Overflow::Mux
    }
}
