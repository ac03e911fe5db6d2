//! One connection to an upstream, and how it may be used.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};

use super::body::TryBody;
use crate::{
    env::Task,
    probe::{audit, mutant},
    time::{Duration, Instant},
};

/// Requests at once on one HTTP/2 connection. More share one window; fewer open more connections.
const SHARERS_MAX: usize = 100;

/// Looks in that time.
pub const LOOKS: usize = 4;

/// A connection that carries one request at a time, with the task that moves its bytes. Dropped while it is free, it
/// ends by itself; in the middle of something it is reset.
pub struct Alone {
    /// Who sends requests on it.
    pub sender: http1::SendRequest<TryBody>,
    task: Option<Task>,
}

impl Alone {
    /// A connection, and the task that moves its bytes.
    pub fn new(sender: http1::SendRequest<TryBody>, task: Task) -> Self {
        let task = Some(task);
        Self { sender, task }
    }

    /// Whether the next request would be taken at once.
    pub fn is_free(&self) -> bool {
        self.sender.is_ready()
    }

    /// The task goes on for as long as it has something to do.
    pub fn leave(&mut self) {
        if let Some(task) = self.task.take() {
            task.detach();
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // A task that waits for what will not come would wait for ever.
        if self.is_free() {
            self.leave();
        }
    }
}

/// How a shared connection is used.
#[derive(Default)]
pub struct Usage {
    sharers: AtomicUsize,
    /// Looks in a row at which there were none.
    quiet: AtomicUsize,
}

impl Usage {
    /// Whether anybody uses it.
    pub fn is_used(&self) -> bool {
        self.sharers.load(Ordering::Relaxed) > 0
    }

    /// Whether one more may.
    pub fn has_room(&self) -> bool {
        self.sharers.load(Ordering::Relaxed) < SHARERS_MAX
    }

    /// Looks once. Whether nobody has used it for as long as a connection may be idle.
    pub fn is_idle(&self) -> bool {
        !self.is_used() && self.quiet.fetch_add(1, Ordering::Relaxed) >= LOOKS
    }
}

/// The time from which a connection carries no new request: an address that a name has left gets no requests for ever, and
/// they spread again.
#[derive(Clone, Copy)]
pub struct Age(Instant);

impl Age {
    /// The greatest age of a connection.
    const MAX: Duration = Duration::from_secs(300);

    /// That of a connection made `now`: of the greatest age, less up to a fifth, which `random` chooses, so that those that
    /// were made together do not end together.
    pub fn new(now: Instant, random: u32) -> Self {
        let jitter = Self::MAX / 5;
        Self(now + Self::MAX - jitter.mul_f64(f64::from(random) / f64::from(u32::MAX)))
    }

    /// Whether it is.
    pub fn is_over(self, now: Instant) -> bool {
        now >= self.0
    }
}

/// How a request failed without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// Nothing of it was written.
    Unwritten,
    /// Its upstream says that it has not worked on it (RFC 9113, section 8.7).
    Refused,
    /// The same, and that it takes no more on this connection (section 6.8).
    GoingAway,
    /// Anything may have become of it.
    Broken,
}

impl SendError {
    fn of(mut error: TrySendError<Request<TryBody>>) -> Self {
        if error.take_message().is_some() {
            return Self::Unwritten;
        }
        let error = error.into_error();
        let mut cause = error.source();
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<h2::Error>() {
                let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
                // Streams up to the last that a GOAWAY names do not end with it.
                return match error.is_remote() && !mutant!("refused-stream-is-final") {
                    true if refused => Self::Refused,
                    true if error.is_go_away() => Self::GoingAway,
                    _ => Self::Broken,
                };
            }
            cause = error.source();
        }
        Self::Broken
    }
}

/// A connection for one request.
pub enum Connection {
    /// For this one alone.
    Alone(Alone),
    /// Shared with others.
    Shared(http2::SendRequest<TryBody>, Sharer),
}

/// Counts a request on a shared connection while it lives.
pub struct Sharer(Arc<Usage>);

impl Sharer {
    /// One more.
    pub fn new(usage: &Arc<Usage>) -> Self {
        usage.sharers.fetch_add(1, Ordering::Relaxed);
        usage.quiet.store(0, Ordering::Relaxed);
        Self(Arc::clone(usage))
    }

    /// Whether it is one of those.
    pub fn is_of(&self, usage: &Arc<Usage>) -> bool {
        Arc::ptr_eq(&self.0, usage)
    }
}

impl Drop for Sharer {
    fn drop(&mut self) {
        let before = self.0.sharers.fetch_sub(1, Ordering::Relaxed);
        audit!(before > 0, "only who shares a connection leaves it");
    }
}

impl Connection {
    /// Sends a request, and waits for the head of its answer.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&mut self, request: Request<TryBody>) -> Result<Response<Incoming>, SendError> {
        let sent = match self {
            Self::Alone(Alone { sender, .. }) => {
                sender.ready().await.map_err(|_| SendError::Unwritten)?;
                sender.try_send_request(request).await
            }
            Self::Shared(sender, _) => {
                sender.ready().await.map_err(|_| SendError::Unwritten)?;
                sender.try_send_request(request).await
            }
        };
        sent.map_err(SendError::of)
    }
}
