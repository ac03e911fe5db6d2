//! One connection between client and server: frames over a stream, heartbeats, keepalive.

pub mod buffer;
pub mod carrier;
pub mod client;
pub mod connect;
pub mod control;
pub mod data_link;
pub mod framed;
pub mod gauges;
pub mod keepalive;
pub mod mux;
pub mod pump;
pub mod pulse;
pub mod server;
pub mod stream;
mod tally;

use crate::time::Duration;

/// How links behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Between two heartbeats on the control connection. Default 5 s.
    pub heartbeat: Duration,
    /// Heartbeat intervals without any sign of life after which a link is dead. Default 3.
    pub missed_max: u32,
    /// From accept (or connect) to the end of the handshake. Default 5 s.
    pub handshake_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            missed_max: 3,
            handshake_timeout: Duration::from_secs(5),
        }
    }
}
