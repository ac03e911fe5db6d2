//! One connection between client and server: frames over a stream, heartbeats, keepalive.

pub mod buffer;
pub mod carrier;
pub mod client;
pub mod connect;
pub mod control;
pub mod data_link;
pub mod framed;
mod gather;
pub mod gauges;
pub mod keepalive;
pub mod links;
pub mod mux;
pub mod pump;
pub mod pulse;
pub mod server;
pub mod stream;
mod tally;

use crate::{time::Duration, wire::message::Granted};

/// The most data links of one client. More share the same path and gain nothing.
pub const LINKS_MAX: usize = 8;

/// The most streams of one data link. More, and what the windows of one link promise to hold is beyond any memory.
pub const STREAMS_MAX: u32 = 1_000_000;

/// The largest window that a stream begins with. More would be held for a receiver that has not read a byte yet.
pub const WINDOW_MAX: u32 = 8 << 20;

/// How links behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Between two heartbeats on the control connection. Default 5 s.
    pub heartbeat: Duration,
    /// Heartbeat intervals without any sign of life after which a link is dead. Default 3.
    pub missed_max: u32,
    /// From accept (or connect) to the end of the handshake. Default 5 s.
    pub handshake_timeout: Duration,
    /// Data links of one client: 1 to [`LINKS_MAX`], or 0 where no session would use one. Default 4.
    pub links: usize,
    /// Streams of one data link: 1 to [`STREAMS_MAX`]. Default 1,024, which with the default window promises to hold
    /// 64 MiB.
    pub max_streams: u32,
    /// What may be sent on a stream of a data link before its receiver gives credit, in bytes: 1 to [`WINDOW_MAX`].
    /// Default 64 KiB.
    pub window: u32,
    /// What the windows of one data link may grow by together, in bytes. Default 32 MiB.
    pub window_budget: u64,
    /// Ids of streams up to which a data link opens them; then it is replaced. Default 2^30.
    pub ids_max: u32,
    /// How long a half-closed session may stay without a byte, at both ends. Default 300 s.
    pub half_closed_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            missed_max: 3,
            handshake_timeout: Duration::from_secs(5),
            links: 4,
            max_streams: 1024,
            window: 64 * 1024,
            window_budget: mux::flow::BUDGET,
            ids_max: 1 << 30,
            half_closed_timeout: Duration::from_secs(300),
        }
    }
}

impl Options {
    /// How a data link carries streams.
    pub fn mux(&self) -> mux::Options {
        mux::Options {
            window: self.window,
            budget: self.window_budget,
            streams_max: usize::try_from(self.max_streams).unwrap_or(usize::MAX),
            ids_max: self.ids_max,
        }
    }

    /// What holds for a registration: what the server has granted, and the default where it says nothing. A server
    /// that grants more than there may be gets what there may be, and harms its own links alone.
    pub fn granted(self, granted: &Granted) -> Self {
        let defaults = Self::default();
        let or = |number, default| if number == 0 { default } else { number };
        Self {
            heartbeat: match granted.heartbeat_ms {
                0 => self.heartbeat,
                ms => Duration::from_millis(ms.into()),
            },
            max_streams: or(granted.max_streams, defaults.max_streams).min(STREAMS_MAX),
            window: or(granted.window, defaults.window).min(WINDOW_MAX),
            half_closed_timeout: match granted.half_closed_ms {
                0 => self.half_closed_timeout,
                ms => Duration::from_millis(ms.into()),
            },
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_obeyed_within_bounds() {
        let options = Options {
            heartbeat: Duration::from_secs(7),
            ..Options::default()
        };
        assert_eq!(
            options.granted(&Granted::default()),
            options,
            "an older server says nothing"
        );
        let granted = |window, max_streams| {
            let granted = Granted {
                heartbeat_ms: 250,
                window,
                max_streams,
                ..Granted::default()
            };
            let options = options.granted(&granted);
            (options.heartbeat.as_millis(), options.window, options.max_streams)
        };
        let patient = Granted {
            half_closed_ms: 3_600_000,
            ..Granted::default()
        };
        assert_eq!(options.granted(&patient).half_closed_timeout.as_secs(), 3_600);
        assert_eq!(granted(1, 2), (250, 1, 2));
        assert_eq!(granted(u32::MAX, u32::MAX), (250, WINDOW_MAX, STREAMS_MAX));
    }
}
