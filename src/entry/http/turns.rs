//! Whether what was said on a visitor's connection has been written.
//!
//! Hyper takes what is said of an answer, and writes it when the connection has its turn next. It does not tell whether it
//! has, and drops what is not written when the answer fails.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use crate::time::{self, Duration};

/// How long a visitor is waited for that takes nothing.
const WRITE_MAX: Duration = Duration::from_secs(1);

/// The turns of one connection: the times that hyper is polled.
#[derive(Debug, Default)]
pub struct Turns {
    begun: AtomicUsize,
    /// The last one at whose end nothing was left to write.
    clean: AtomicUsize,
    /// Something is written that has not been flushed.
    dirty: AtomicBool,
    /// Somebody waits for a turn.
    wanted: Notify,
    ended: Notify,
}

impl Turns {
    /// Polls hyper once.
    pub fn take<T>(&self, poll: impl FnOnce() -> T) -> T {
        let turn = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let polled = poll();
        if !self.dirty.load(Ordering::Relaxed) {
            self.clean.store(turn, Ordering::Release);
            self.ended.notify_waiters();
        }
        polled
    }

    /// Hyper writes.
    pub fn writes(&self) {
        self.dirty.store(true, Ordering::Relaxed);
    }

    /// All that it wrote is on its way.
    pub fn flushed(&self) {
        self.dirty.store(false, Ordering::Relaxed);
    }

    /// Waits until somebody wants a turn.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Waits until all is written that hyper has been given before this is called, but not for long.
    pub fn written(self: Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        let now = self.begun.load(Ordering::Acquire);
        // What hyper takes while it has its turn may wait for the next.
        self.wanted.notify_one();
        async move {
            let written = async {
                loop {
                    let ended = self.ended.notified();
                    if self.clean.load(Ordering::Acquire) > now {
                        return;
                    }
                    ended.await;
                }
            };
            let _ = time::within(WRITE_MAX, written).await;
        }
    }
}
