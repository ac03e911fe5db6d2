//! The client role.

use crate::{config::ClientConfig, env::Env};

/// Runs a client until it is told to stop.
///
/// # Errors
/// It could not start, or cannot go on.
pub async fn run(config: ClientConfig, env: Env) -> anyhow::Result<()> {
    let _ = (config, env);
    anyhow::bail!("the client role is not assembled yet")
}
