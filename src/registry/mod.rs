//! Who is here: the clients, what they serve, and what their links carry.

pub mod actor;
mod audits;
pub mod auth;
pub mod data_links;
pub mod door;
pub mod draining;
pub mod groups;
pub mod table;
pub mod tickets;
pub mod trunks;
pub mod tunnels;

/// How many clients, and how much of each, the registry takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Registered clients. Default 10,000.
    pub clients_max: usize,
    /// Upstreams per client. Default 64; at most 64 fit a `Register`.
    pub upstreams_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clients_max: 10_000,
            upstreams_max: 64,
        }
    }
}
