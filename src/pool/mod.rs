//! Warm, ready connections to each target: proxy connections to a client, or streams to an address.

pub mod actor;
pub mod address;
pub mod conn;
mod demand;
pub mod dial;
mod pace;
pub mod park;
pub mod shelf;
pub mod sizing;
pub mod slot;

use crate::time::Duration;

/// How many connections are kept ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How the number of ready connections is found. Default [`Mode::Fixed`]; the forwarder's is dynamic.
    pub mode: Mode,
    /// Connections kept parked per client or address at least. Default 4. More costs descriptors; fewer makes visitors wait a
    /// round trip.
    pub min: usize,
    /// Connections per client, parked and busy together; per address, parked. Default 4,096.
    pub max: usize,
    /// How long a connection may be parked, give or take a fifth. `None` is for ever. Default `None`; the forwarder's is 90 s.
    pub max_age: Option<Duration>,
    /// How far back arrivals are looked at. Default 30 s.
    pub scaling_window: Duration,
}

impl Options {
    /// Nothing is kept ready.
    pub fn none() -> Self {
        Self {
            min: 0,
            ..Self::default()
        }
    }

    /// Whether nothing is ever kept ready.
    pub fn keeps_none(&self) -> bool {
        self.mode == Mode::Fixed && self.min == 0
    }
}

/// How the number of ready connections is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is `min`.
    #[default]
    Fixed,
    /// It follows how often connections are taken and how long a new one takes, between `min` and `max`.
    Dynamic,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::Fixed,
            min: 4,
            max: 4096,
            max_age: None,
            scaling_window: Duration::from_secs(30),
        }
    }
}
