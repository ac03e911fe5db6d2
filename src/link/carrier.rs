//! What carries a session's frames: a proxy connection of its own, or a stream of a data link. Whoever moves bytes
//! does not know which.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::ReadBuf;

use super::{
    buffer::CHUNK_LEN,
    framed::{Framed, FramedError, Input},
    gauges::LastMoved,
    stream::LinkStream,
};
use crate::{
    time::{Instant, Timer},
    transport::Stream,
    wire::message::Message,
};

/// The frames of one session at a time.
pub enum Carrier {
    /// A connection that carries one session, and then the next.
    Dedicated(Box<Framed>),
    /// One of many streams of a link; it carries one session.
    Mux(LinkStream),
}

impl Carrier {
    /// When bytes moved last on what carries this session beside others; `None` where it carries this one alone.
    pub fn moved(&self) -> Option<&Arc<LastMoved>> {
        match self {
            Self::Dedicated(_) => None,
            Self::Mux(stream) => Some(stream.link_moved()),
        }
    }

    /// Queues a frame of the session `ordinal`; [`poll_flush`](Self::poll_flush) sends it.
    pub fn queue<M: Message>(&mut self, ordinal: u32, message: &M) {
        match self {
            Self::Dedicated(framed) => framed.queue(ordinal, message),
            Self::Mux(stream) => stream.queue(message),
        }
    }

    /// Queues bytes, which are copied.
    pub fn queue_data(&mut self, ordinal: u32, bytes: &[u8]) {
        match self {
            Self::Dedicated(framed) => framed.queue_data(ordinal, bytes),
            Self::Mux(stream) => stream.queue_data(bytes),
        }
    }

    /// Queues bytes of this process, no more than there is [`room`](Self::room) for.
    pub fn queue_bytes(&mut self, ordinal: u32, bytes: Bytes) {
        match self {
            Self::Dedicated(framed) => framed.queue_data(ordinal, &bytes),
            Self::Mux(stream) => stream.queue_bytes(bytes),
        }
    }

    /// How many bytes may be queued at once.
    pub fn room(&self) -> usize {
        match self {
            Self::Dedicated(framed) if framed.is_flushed() => CHUNK_LEN,
            Self::Dedicated(_) => 0,
            Self::Mux(stream) => stream.room(),
        }
    }

    /// Whether more may be queued.
    pub fn is_flushed(&self) -> bool {
        match self {
            Self::Dedicated(framed) => framed.is_flushed(),
            Self::Mux(stream) => stream.is_flushed(),
        }
    }

    /// When bytes that had to wait in here left last, as far as it is known.
    pub fn sent_at(&self) -> Option<Instant> {
        match self {
            Self::Dedicated(framed) => framed.sent_at(),
            Self::Mux(stream) => stream.sent_at(),
        }
    }

    /// Sends what is queued, until more may be. Cancel safe.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Dedicated(framed) => framed.poll_flush(cx),
            Self::Mux(stream) => stream.poll_flush(cx),
        }
    }

    /// Reads at most `room` bytes of `raw`, to be sent; only when [`is_flushed`](Self::is_flushed).
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        raw: Pin<&mut dyn Stream>,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Dedicated(framed) => framed.poll_fill(cx, raw, room),
            Self::Mux(stream) => stream.poll_fill(cx, raw, room),
        }
    }

    /// What [`poll_fill`](Self::poll_fill) has read.
    pub fn filled(&self) -> &[u8] {
        match self {
            Self::Dedicated(framed) => framed.filled(),
            Self::Mux(stream) => stream.filled(),
        }
    }

    /// Queues the first `n` bytes of it as DATA.
    pub fn send_filled(&mut self, ordinal: u32, n: usize) {
        match self {
            Self::Dedicated(framed) => framed.send_filled(ordinal, n),
            Self::Mux(stream) => stream.send_filled(n),
        }
    }

    /// Waits for the next head, or for bytes of a body. Cancel safe.
    ///
    /// # Errors
    /// [`FramedError`]; nothing more can be carried.
    pub fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<Input, FramedError>> {
        match self {
            Self::Dedicated(framed) => framed.poll_input(cx),
            Self::Mux(stream) => stream.poll_input(cx),
        }
    }

    /// Writes the bytes that [`Input::Body`] announced to `raw`; they stay until they are consumed. Cancel safe.
    pub fn poll_write_body(
        &self,
        cx: &mut Context<'_>,
        raw: Pin<&mut dyn Stream>,
        n: usize,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Dedicated(framed) => raw.poll_write(cx, framed.body(n)),
            Self::Mux(stream) => stream.poll_write_body(cx, raw),
        }
    }

    /// Whether the session was ended at once behind bytes that wait to be used, as far as that is to be seen: what is behind
    /// them on a connection of its own is not read. Cancel safe.
    pub fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Dedicated(_) => false,
            Self::Mux(stream) => stream.is_over(cx),
        }
    }

    /// Copies what `into` has room for of the `n` bytes that [`Input::Body`] announced; they stay until they are
    /// consumed. Returns how many it has copied.
    pub fn copy_body(&self, into: &mut ReadBuf<'_>, n: usize) -> usize {
        match self {
            Self::Dedicated(framed) => {
                let copied = n.min(into.remaining());
                into.put_slice(framed.body(copied));
                copied
            }
            Self::Mux(stream) => stream.copy_body(into),
        }
    }

    /// Tells that `n` bytes of the body were used.
    pub fn consume_body(&mut self, n: usize) {
        match self {
            Self::Dedicated(framed) => framed.consume_body(n),
            Self::Mux(stream) => stream.consume_body(n),
        }
    }

    /// Tells that input is (not) left unread on purpose. A link is read whatever its streams do.
    pub fn handle_stalled(&mut self, now: Instant, stalled: bool) {
        if let Self::Dedicated(framed) = self {
            framed.handle_stalled(now, stalled);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next. A link looks after itself.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Dedicated(framed) => Some(framed.poll_timeout()),
            Self::Mux(_) => None,
        }
    }

    /// Asks a quiet peer; says [`FramedError::Silent`] when it did not answer.
    ///
    /// # Errors
    /// [`FramedError::Silent`].
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), FramedError> {
        match self {
            Self::Dedicated(framed) => framed.handle_timeout(now),
            Self::Mux(_) => Ok(()),
        }
    }

    /// Watches what carries nothing now, until something comes in. Cancel safe.
    ///
    /// # Errors
    /// [`FramedError`]; [`FramedError::Silent`] among them.
    pub fn poll_idle(&mut self, cx: &mut Context<'_>, timer: &mut Timer) -> Poll<Result<Input, FramedError>> {
        match self {
            Self::Dedicated(framed) => framed.poll_idle(cx, timer),
            Self::Mux(stream) => stream.poll_input(cx),
        }
    }
}
