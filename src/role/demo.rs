//! The demo role.

use crate::env::Env;

/// What the demo does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Send some requests and end.
    pub once: bool,
    /// Where visitors come in; 0 takes any free port.
    pub port: u16,
}

/// Runs the demo; whether everything went well.
///
/// # Errors
/// It could not start.
pub async fn run(options: Options, env: Env) -> anyhow::Result<bool> {
    let _ = (options, env);
    anyhow::bail!("the demo role is not assembled yet")
}
