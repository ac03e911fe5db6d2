//! The one clock door: every reading of the clock and every timer passes here.
//!
//! Tokio's clock is behind it, so a paused or simulated runtime moves all of Adit's time.
//! Cores never call [`now`]; they are told the time.

pub use std::time::{Duration, Instant};

/// The present, on the runtime's clock.
pub fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "this is the door")]
    tokio::time::Instant::now().into_std()
}

/// Waits for `duration`.
pub fn sleep(duration: Duration) -> tokio::time::Sleep {
    tokio::time::sleep(duration)
}

/// Waits until `deadline`.
pub fn sleep_until(deadline: Instant) -> tokio::time::Sleep {
    tokio::time::sleep_until(deadline.into())
}

/// Runs `future` for at most `duration`; `None` when time ran out.
pub async fn within<T>(duration: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(duration, future).await.ok()
}
