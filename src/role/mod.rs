//! The roles of the one binary: each assembles actors from configuration, knows everyone, decides nothing.

pub mod client;
pub mod demo;

pub mod server;

use std::{io, net::SocketAddr};

/// Why a role could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listening address is not to be had.
    #[error("cannot listen on {address} ({what}): {error}")]
    Listen {
        /// What was to listen.
        what: String,
        /// Where.
        address: SocketAddr,
        /// What the operating system says.
        error: io::Error,
    },
    /// Drain before start, or an actor that died.
    #[error("stopped while starting")]
    Stopped,
}
