//! The roles of the one binary: each assembles actors from configuration, knows everyone, decides nothing.

mod choice;
pub mod client;
pub mod demo;
pub mod forward;
mod gateway;
pub mod operators;
mod ready;
pub mod server;
mod targets;
pub mod updates;

use std::{io, net::SocketAddr};

use tokio::task::JoinHandle;
use tracing::info;

use crate::{env::Env, files::Output, id::EntryName, plugin, transport::Listener};

/// A task of the control thread, aborted on drop.
struct Local(JoinHandle<()>);

impl Drop for Local {
    fn drop(&mut self) {
        self.0.abort();
    }
}

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
    /// The access log of an entry cannot be opened.
    #[error("cannot open the access log of entry {entry}, {output}: {error}")]
    AccessLog {
        /// The entry.
        entry: EntryName,
        /// Where its lines should go.
        output: Output,
        /// What the operating system says.
        error: io::Error,
    },
    /// A rule has a plugin that cannot be: its configuration was not checked.
    #[error("a plugin of a rule cannot be: {0}")]
    Plugin(#[from] plugin::Error),
    /// Drain before start, or an actor that died.
    #[error("stopped while starting")]
    Stopped,
}

async fn listen(env: &Env, what: &str, address: SocketAddr) -> Result<Box<dyn Listener>, StartError> {
    let failed = |error| StartError::Listen {
        what: what.to_owned(),
        address,
        error,
    };
    let listener = env.transport.listen(address).await.map_err(failed)?;
    info!(address = %listener.local_addr(), "listening: {what}");
    Ok(listener)
}
