//! Where connections come from: three small object-safe traits, one production implementation.
//!
//! Everything above holds `Arc<dyn Transport>`, so that the same server and client run on real sockets
//! and inside a simulated network. Nothing here retries, logs or decides.

use std::{future::Future, io, net::SocketAddr, pin::Pin};

use tokio::io::{AsyncRead, AsyncWrite};

pub mod null;
pub mod pipe;
pub mod prefixed;
pub mod tcp;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens and accepts byte streams.
pub trait Transport: Send + Sync {
    /// Connects to `peer`. Without a deadline of its own: the caller sets one.
    ///
    /// # Errors
    /// What the operating system says: refused, unreachable, reset.
    fn connect(&self, peer: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>;

    /// Starts listening on `local`; port 0 takes any free port.
    ///
    /// # Errors
    /// What the operating system says: address in use, not available, not permitted.
    fn listen(&self, local: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>>;
}

/// A bound address that yields streams.
pub trait Listener: Send {
    /// Waits for the next stream and its peer's address. Cancel safe: no accepted stream is lost.
    ///
    /// # Errors
    /// What the operating system says; descriptor exhaustion among it. The listener stays usable.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>>;

    /// The address it is bound to, with the port that was taken.
    fn local_addr(&self) -> SocketAddr;
}

/// An ordered, reliable byte stream. `poll_shutdown` ends the writing direction only (half-close).
///
/// Dropping a stream closes it in both directions; the peer may see a clean end. A stream that must not
/// look finished is ended with [`Stream::reset`].
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// The other end's address, as far as known.
    fn peer_addr(&self) -> Option<SocketAddr>;

    /// Declares that the peer always reads, so that bytes which stay unacknowledged mean that it is gone.
    /// Only for streams of which that is true: a peer that merely stopped reading would be cut off too.
    fn expect_prompt_reader(&self) {}

    /// Asks that little be kept waiting in front of the network, so that what is urgent can still go first.
    fn keep_queue_short(&self) {}

    /// Whether the stream is known to have failed, without reading from it. `false` where that cannot be told.
    fn is_broken(&self) -> bool {
        false
    }

    /// Ends the stream so that the peer sees a reset, never a clean end.
    fn reset(self: Box<Self>);
}
