//! Warm, ready connections to each target.

pub mod actor;
pub mod conn;
pub mod shelf;
pub mod sizing;

/// How many connections are kept ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Connections kept parked per client. Default 4. More costs descriptors; fewer makes visitors wait a round trip.
    pub min: usize,
    /// Connections per client, parked and busy together. Default 4,096.
    pub max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { min: 4, max: 4096 }
    }
}
