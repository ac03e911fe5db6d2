//! State that several seams of one run share.

// Every simulated host runs on its run's one thread, so the lock is never contended and its order is the
// simulation's own. It is a lock only because the seams of the system under test ask for `Send`.
use std::sync::Arc;
#[allow(clippy::disallowed_types, reason = "see above")]
use std::sync::Mutex;

/// Shared state of one run. Cheap to clone.
#[derive(Debug, Default)]
#[allow(clippy::disallowed_types, reason = "see above")]
pub struct Shared<T>(Arc<Mutex<T>>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Shared<T> {
    /// Shares `value`.
    pub fn new(value: T) -> Self {
        #[allow(clippy::disallowed_types, reason = "see above")]
        Self(Arc::new(Mutex::new(value)))
    }

    /// Reads or changes it. Not to be called from within itself.
    pub fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}
