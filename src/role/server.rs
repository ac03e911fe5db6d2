//! The server role.

use crate::{config::ServerConfig, env::Env};

/// Runs a server until it is told to stop.
///
/// # Errors
/// It could not start, or cannot go on.
pub async fn run(config: ServerConfig, env: Env) -> anyhow::Result<()> {
    let _ = (config, env);
    anyhow::bail!("the server role is not assembled yet")
}
