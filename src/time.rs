//! The one clock door: every reading of the clock and every timer passes here.
//!
//! Tokio's clock is behind it, so a paused or simulated runtime moves all of Adit's time.
//! Cores never call [`now`]; they are told the time.

pub use std::time::{Duration, Instant};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::SystemTime,
};

/// The present, on the runtime's clock.
pub fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "this is the door")]
    tokio::time::Instant::now().into_std()
}

/// Tells the time of day. Only for people: nothing is decided by it.
#[derive(Clone, Copy, Debug)]
pub enum WallClock {
    /// What the system says.
    System,
    /// What was `then` at `at`, and has gone on since.
    Since {
        /// The time of day.
        then: SystemTime,
        /// When it was that.
        at: Instant,
    },
}

impl WallClock {
    /// The present.
    pub fn now(self) -> SystemTime {
        match self {
            #[allow(clippy::disallowed_methods, reason = "this is the door")]
            Self::System => SystemTime::now(),
            Self::Since { then, at } => then + (now() - at),
        }
    }
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

/// One timer that a task re-arms as its deadline moves; moving it later costs nothing.
#[derive(Debug, Default)]
pub struct Timer {
    sleep: Option<(Pin<Box<tokio::time::Sleep>>, Instant)>,
}

impl Timer {
    /// Ready when `deadline` has come; never when there is none.
    ///
    /// A deadline that moved later leaves the timer as it is: it wakes once for nothing and is armed anew.
    pub fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else {
            self.sleep = None;
            return Poll::Pending;
        };
        loop {
            let (sleep, armed) = self
                .sleep
                .get_or_insert_with(|| (Box::pin(sleep_until(deadline)), deadline));
            if *armed > deadline {
                sleep.as_mut().reset(deadline.into());
                *armed = deadline;
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if *armed >= deadline {
                self.sleep = None;
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline.into());
            *armed = deadline;
        }
    }

    /// Whether it wakes its task at `deadline`, or before.
    pub fn is_armed_for(&self, deadline: Instant) -> bool {
        self.sleep.as_ref().is_some_and(|(_, armed)| *armed <= deadline)
    }
}
