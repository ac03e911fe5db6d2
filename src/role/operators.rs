//! What a node opens for its operators, in every role.

use std::net::SocketAddr;

use super::{StartError, listen};
use crate::{
    admin::{Readiness, api},
    env::{Env, Task},
};

/// The addresses that a node opened for its operators; they stay open while this lives.
#[derive(Debug, Default)]
pub struct Operators {
    /// The admin address, with the port that was taken.
    pub admin: Option<SocketAddr>,
    /// The metrics address, with the port that was taken.
    pub metrics: Option<SocketAddr>,
    tasks: Vec<Task>,
}

impl Operators {
    /// Opens what is configured.
    ///
    /// # Errors
    /// [`StartError`] when an address is not to be had: a node that nobody can watch is not what was asked for.
    pub(super) async fn open(
        env: &Env,
        admin: Option<SocketAddr>,
        metrics: Option<SocketAddr>,
        ready: &Readiness,
    ) -> Result<Self, StartError> {
        let mut opened = Self::default();
        opened.admin = opened.start(env, "admin.listen", admin, ready).await?;
        opened.metrics = opened.start(env, "metrics.listen", metrics, ready).await?;
        Ok(opened)
    }

    async fn start(
        &mut self,
        env: &Env,
        key: &'static str,
        address: Option<SocketAddr>,
        ready: &Readiness,
    ) -> Result<Option<SocketAddr>, StartError> {
        let Some(address) = address else {
            return Ok(None);
        };
        let listener = listen(env, key, address).await?;
        let taken = listener.local_addr();
        self.tasks.push(api::start(env, key, listener, ready.clone()));
        Ok(Some(taken))
    }
}
