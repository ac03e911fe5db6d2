//! A stream that speaks frames: where bytes meet the decoder.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    buffer::{Buffer, CHUNK_LEN},
    keepalive::{Act, Keepalive},
};
use crate::{
    probe::audit,
    time::{self, Instant, Timer},
    transport::{Stream, prefixed::Prefixed},
    wire::{
        codec::{Decoder, FrameError, Head, Piece, encode},
        frame::{PREFIX_LEN, Prefix, kind},
        message::{DecodeError, Message},
    },
};

/// Queued answers beyond this are dropped: a peer that pings and does not read must not fill memory.
const ANSWERS_LEN_MAX: usize = 256;

/// Why a framed stream came to its end.
#[derive(Debug, thiserror::Error)]
pub enum FramedError {
    /// The peer closed.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer did not answer.
    #[error("the peer fell silent")]
    Silent,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A frame that has no place here.
    #[error("a frame came where none was expected")]
    Unexpected,
    /// Not frames.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Not a message of this direction.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl FramedError {
    /// Whether the peer broke the protocol, as opposed to leaving.
    pub fn is_violation(&self) -> bool {
        matches!(self, Self::Unexpected | Self::Frame(_) | Self::Decode(_))
    }

    /// A short name for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Silent => "silent",
            Self::Io(_) => "io",
            Self::Unexpected => "unexpected",
            Self::Frame(_) | Self::Decode(_) => "malformed",
        }
    }
}

/// What came in.
#[derive(Debug)]
pub enum Input {
    /// A head; its body, if any, follows.
    Head(Head),
    /// So many bytes of the body lie ready in [`Framed::body`].
    Body(usize),
}

/// A stream, its decoder, and what is on its way out. PING is answered in here, and PONG
/// swallowed unless someone asked for it.
pub struct Framed {
    stream: Box<dyn Stream>,
    decoder: Decoder,
    /// Read, not yet decoded.
    inbound: Option<Buffer>,
    /// Read from the raw side behind the room for a prefix, not yet queued.
    filled: Option<Buffer>,
    /// The rest of a DATA frame; older than anything in `control`.
    outbound: Option<Buffer>,
    /// Encoded control frames, and how much of them is written.
    control: Vec<u8>,
    control_written: usize,
    /// The stream has taken no more since.
    blocked: bool,
    /// When it took bytes of a body last that had waited.
    sent_at: Option<Instant>,
    keepalive: Keepalive,
    deliver_pongs: bool,
}

impl Framed {
    /// Speaks frames over `stream`, with DATA bodies of at most `body_len_max` bytes.
    pub fn new(stream: Box<dyn Stream>, body_len_max: u32) -> Self {
        Self {
            stream,
            decoder: Decoder::new(body_len_max),
            inbound: None,
            filled: None,
            outbound: None,
            control: Vec::new(),
            control_written: 0,
            blocked: false,
            sent_at: None,
            keepalive: Keepalive::new(time::now()),
            deliver_pongs: false,
        }
    }

    /// The other end's address, as far as known.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.stream.peer_addr()
    }

    /// See [`Stream::expect_prompt_reader`]: control connections only.
    pub fn expect_prompt_reader(&self) {
        self.stream.expect_prompt_reader();
    }

    /// See [`Stream::keep_queue_short`].
    pub fn keep_queue_short(&self) {
        self.stream.keep_queue_short();
    }

    /// From now on PONG is input like any other: its receiver waits for it.
    pub fn deliver_pongs(&mut self) {
        self.deliver_pongs = true;
    }

    /// Queues a frame; [`poll_flush`](Self::poll_flush) sends it.
    pub fn queue<M: Message>(&mut self, stream_id: u32, message: &M) {
        encode(&mut self.control, stream_id, message);
    }

    /// Queues bytes that are frames already.
    pub fn queue_raw(&mut self, frames: &[u8]) {
        self.control.extend_from_slice(frames);
    }

    /// Queues a DATA frame whose body is copied; for small bodies off the hot path.
    pub fn queue_data(&mut self, stream_id: u32, body: &[u8]) {
        let len = u32::try_from(body.len()).expect("a copied body is small");
        self.control
            .extend_from_slice(&Prefix::data(stream_id, len).encode());
        self.control.extend_from_slice(body);
    }

    /// Reads at most `room` bytes of `raw`, to be sent. Only when [`is_flushed`](Self::is_flushed).
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        raw: Pin<&mut dyn Stream>,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        audit!(
            self.is_flushed(),
            "a data frame is queued only behind everything else"
        );
        let room = room.min(CHUNK_LEN);
        let mut buffer = Buffer::take();
        let mut read = ReadBuf::new(&mut buffer.whole()[PREFIX_LEN..PREFIX_LEN + room]);
        let result = raw.poll_read(cx, &mut read);
        let n = read.filled().len();
        match result {
            Poll::Ready(Ok(())) if n > 0 => {
                buffer.end = PREFIX_LEN + n;
                self.filled = Some(buffer);
            }
            _ => buffer.give(),
        }
        result.map_ok(|()| n)
    }

    /// What [`poll_fill`](Self::poll_fill) has read.
    pub fn filled(&self) -> &[u8] {
        self.filled
            .as_ref()
            .map_or(&[], |buffer| &buffer.filled()[PREFIX_LEN..])
    }

    /// Queues the first `n` bytes of it as the body of a DATA frame.
    pub fn send_filled(&mut self, stream_id: u32, n: usize) {
        if let Some(mut buffer) = self.filled.take() {
            buffer.end = PREFIX_LEN + n;
            let prefix = Prefix::data(stream_id, n as u32);
            buffer.whole()[..PREFIX_LEN].copy_from_slice(&prefix.encode());
            self.outbound = Some(buffer);
        }
    }

    /// Whether everything queued was written.
    pub fn is_flushed(&self) -> bool {
        self.outbound.is_none() && self.control.is_empty()
    }

    /// Writes what is queued. Cancel safe: what was not written stays queued.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.poll_write(cx);
        self.blocked |= polled.is_pending();
        polled
    }

    /// Bytes of a body were written: where there had been no room for them, the peer has taken others. A PING says nothing of
    /// the peer, however long it had to wait. Asks for the time only then.
    fn note_written(&mut self) {
        if std::mem::replace(&mut self.blocked, false) {
            let now = time::now();
            self.sent_at = Some(now);
            self.keepalive.handle_taken(now);
        }
    }

    /// When bytes of a body were written last that had waited for room.
    pub fn sent_at(&self) -> Option<Instant> {
        self.sent_at
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(buffer) = &mut self.outbound {
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, buffer.filled()))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            buffer.start += n;
            if buffer.is_empty()
                && let Some(buffer) = self.outbound.take()
            {
                buffer.give();
            }
            self.note_written();
        }
        while self.control_written < self.control.len() {
            let rest = &self.control[self.control_written..];
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.control_written += n;
        }
        if self.control_written > 0 {
            self.control_written = 0;
            self.control.clear();
            // A replayed copy may have grown it; an idle connection holds no more than a few frames.
            self.control.shrink_to(ANSWERS_LEN_MAX);
        }
        Poll::Ready(Ok(()))
    }

    /// The beginning of a frame that has not come whole, or is none.
    pub fn partial(&self) -> &[u8] {
        self.decoder.partial()
    }

    /// Waits for the next head, or for bytes of a body. Cancel safe.
    ///
    /// # Errors
    /// [`FramedError`]; the stream is not usable any more.
    pub fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<Input, FramedError>> {
        loop {
            let mut buffer = match self.inbound.take() {
                Some(buffer) => buffer,
                None => ready!(self.poll_more(cx))?,
            };
            let mut input = buffer.filled();
            let piece = self.decoder.next(&mut input)?;
            buffer.start = buffer.end - input.len();
            match piece {
                Piece::Incomplete => buffer.give(),
                Piece::Body(n) => {
                    self.inbound = Some(buffer);
                    return Poll::Ready(Ok(Input::Body(n)));
                }
                Piece::Head(head) => {
                    if buffer.is_empty() {
                        buffer.give();
                    } else {
                        self.inbound = Some(buffer);
                    }
                    match head.prefix.kind {
                        kind::PING => self.answer(head.prefix.stream_id),
                        kind::PONG if !self.deliver_pongs => {}
                        _ => return Poll::Ready(Ok(Input::Head(head))),
                    }
                }
            }
        }
    }

    /// The bytes of the body that [`Input::Body`] announced, with the stream's own half untouched.
    pub fn body(&self, n: usize) -> &[u8] {
        self.inbound.as_ref().map_or(&[], |buffer| &buffer.filled()[..n])
    }

    /// Tells that `n` bytes of the body were used.
    pub fn consume_body(&mut self, n: usize) {
        self.decoder.consume_body(n);
        if let Some(buffer) = &mut self.inbound {
            buffer.start += n;
            if buffer.is_empty()
                && let Some(buffer) = self.inbound.take()
            {
                buffer.give();
            }
        }
    }

    /// Tells that input is (not) left unread on purpose.
    pub fn handle_stalled(&mut self, now: Instant, stalled: bool) {
        self.keepalive.handle_stalled(now, stalled);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    pub fn poll_timeout(&self) -> Instant {
        self.keepalive.poll_timeout()
    }

    /// Asks a quiet peer; says [`FramedError::Silent`] when it did not answer.
    ///
    /// # Errors
    /// [`FramedError::Silent`].
    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), FramedError> {
        match self.keepalive.handle_timeout(now) {
            None => {}
            Some(Act::Ping) => self.queue_bare(kind::PING, 0),
            Some(Act::Dead) => return Err(FramedError::Silent),
        }
        Ok(())
    }

    /// Watches a connection between two sessions: answers and asks PINGs, until something else comes in.
    /// Cancel safe.
    ///
    /// # Errors
    /// [`FramedError`]; [`FramedError::Silent`] among them.
    pub fn poll_idle(&mut self, cx: &mut Context<'_>, timer: &mut Timer) -> Poll<Result<Input, FramedError>> {
        loop {
            if let Poll::Ready(input) = self.poll_input(cx) {
                return Poll::Ready(input);
            }
            if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                return Poll::Ready(Err(error.into()));
            }
            let due = self.poll_timeout();
            ready!(timer.poll(cx, Some(due)));
            self.handle_timeout(time::now())?;
        }
    }

    /// Waits for the next head on a connection that carries no DATA. Cancel safe.
    ///
    /// # Errors
    /// [`FramedError`]; a body is one.
    pub async fn read_head(&mut self) -> Result<Head, FramedError> {
        poll_fn(|cx| {
            // Answers to PING are queued by reading; they must not wait for the next write.
            if let Poll::Ready(Err(error)) = self.poll_flush(cx) {
                return Poll::Ready(Err(error.into()));
            }
            let input = self.poll_input(cx);
            let _ = self.poll_flush(cx)?;
            match ready!(input)? {
                Input::Head(head) => Poll::Ready(Ok(head)),
                Input::Body(_) => Poll::Ready(Err(FrameError::UnexpectedBody(kind::DATA).into())),
            }
        })
        .await
    }

    /// Writes everything queued. Cancel safe.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// The bare stream, for another reader of frames: what was read and not yet decoded comes first. Only between two
    /// frames, as behind [`read_head`](Self::read_head); queued frames are lost.
    pub fn into_stream(self) -> Box<dyn Stream> {
        audit!(
            self.decoder.is_empty(),
            "a stream is taken over between two frames"
        );
        let Some(buffer) = self.inbound else {
            return self.stream;
        };
        let ahead = buffer.filled().to_vec();
        buffer.give();
        Box::new(Prefixed::new(ahead, self.stream))
    }

    /// Ends the stream so that the peer sees a reset.
    pub fn reset(self) {
        self.stream.reset();
    }

    fn answer(&mut self, token: u32) {
        if self.control.len() < ANSWERS_LEN_MAX {
            self.queue_bare(kind::PONG, token);
        }
    }

    /// Asks whether everything up to here has been read: PONG with this token is input then.
    pub fn ask(&mut self, token: u32) {
        self.deliver_pongs = true;
        self.queue_bare(kind::PING, token);
    }

    fn queue_bare(&mut self, kind: u8, stream_id: u32) {
        self.control
            .extend_from_slice(&Prefix::bare(kind, stream_id).encode());
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, FramedError>> {
        let mut buffer = Buffer::take();
        let mut read = ReadBuf::new(buffer.whole());
        let result = Pin::new(&mut self.stream).poll_read(cx, &mut read);
        let n = read.filled().len();
        match result {
            Poll::Ready(Ok(())) if n > 0 => {
                buffer.end = n;
                self.keepalive.handle_input(time::now());
                Poll::Ready(Ok(buffer))
            }
            other => {
                buffer.give();
                other.map(|result| Err(result.err().map_or(FramedError::Closed, FramedError::Io)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
