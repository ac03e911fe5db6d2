//! Real time, for those who wait for a command. Nothing that happens in a run may depend on it.

use std::time::{Duration, Instant};

/// A stopwatch that runs.
#[derive(Clone, Copy, Debug)]
pub struct Watch(Instant);

impl Watch {
    /// Starts one.
    #[allow(clippy::disallowed_methods, reason = "see above")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// How long it has run.
    #[allow(clippy::disallowed_methods, reason = "see above")]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
