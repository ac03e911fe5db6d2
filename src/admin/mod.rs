//! Where operators look in: metrics and health, over HTTP.

pub mod api;
pub mod needs;
pub mod routes;

use std::{fmt, sync::Arc};

/// Says whether a node can serve a visitor now, or why not, in one line. Cheap to clone, and to ask.
#[derive(Clone)]
pub struct Readiness(Arc<dyn Fn() -> Result<(), String> + Send + Sync>);

impl Readiness {
    /// Asks `check` each time. It must not block: whoever asks is waiting for the answer.
    pub fn new(check: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    /// Whether the node can serve a visitor now.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn check(&self) -> Result<(), String> {
        (self.0)()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Readiness").field(&self.check()).finish()
    }
}
