//! One stream of a data link, as whoever holds it sees it. Dropped before its end, it is reset.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncWrite as _, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::{
    buffer::{give_chunk, take_chunk},
    data_link::DataLink,
    framed::{FramedError, Input},
    gauges::LastMoved,
    mux::{OUT_LEN_MAX, Taken},
};
use crate::{
    id::StreamId,
    probe::mutant,
    time::{self, Instant},
    transport::Stream,
    wire::{
        codec::Head,
        frame::{Prefix, kind},
        message::Message,
    },
};

/// Consumed bytes that are told at once. More delays credit; fewer takes the link's lock more often.
const CONSUMED_LEN: usize = 32 * 1024;

/// Bytes read at once that are copied, so that they do not hold the whole chunk they were read into.
const COPY_LEN_MAX: usize = 4 * 1024;

/// Room below which it is asked for anew before anything is read into it. Less makes small reads.
const ROOM_MIN: usize = OUT_LEN_MAX / 2;

/// Pieces written at once.
const SLICES_MAX: usize = 16;

/// One stream. Its session speaks to it as to a connection of its own, whose first session it is: messages carry
/// the ordinal 1, whatever the stream's number on the link.
#[derive(Debug)]
pub struct LinkStream {
    link: Arc<DataLink>,
    number: u32,
    /// Known from START on.
    id: Option<StreamId>,
    /// Bytes to be read, and how many there are.
    pieces: VecDeque<Bytes>,
    pieces_len: usize,
    /// Consumed, and not yet told.
    consumed: usize,
    /// How much more may be queued at least; at none, whoever writes must wait.
    room: usize,
    /// What was read from the raw side and is to be sent.
    filled: BytesMut,
}

impl LinkStream {
    /// The ordinal of everything that is said on a stream.
    pub const ORDINAL: u32 = 1;

    /// When bytes moved last on the link.
    pub fn link_moved(&self) -> &Arc<LastMoved> {
        &self.link.moved
    }

    /// A place on a link; START begins the stream.
    pub(super) fn reserved(link: Arc<DataLink>, number: u32) -> Self {
        Self {
            link,
            number,
            id: None,
            pieces: VecDeque::new(),
            pieces_len: 0,
            consumed: 0,
            room: OUT_LEN_MAX,
            filled: BytesMut::new(),
        }
    }

    /// A stream that the peer has opened; its START waits to be read.
    pub(super) fn accepted(link: Arc<DataLink>, id: StreamId) -> Self {
        let mut stream = Self::reserved(link, id.value());
        stream.id = Some(id);
        stream
    }

    /// What tells it apart from the others of its link, also before it begins. Not its number on the wire.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Queues a message. START begins the stream, RESET ends it.
    pub fn queue<M: Message>(&mut self, message: &M) {
        let now = time::now();
        match self.id {
            Some(id) => self.link.with(|state| state.mux.queue_message(now, id, message)),
            None if message.kind() == kind::START => {
                let mut header = Vec::new();
                message.encode_header(&mut header);
                self.id = Some(self.link.with(|state| state.mux.start(now, header)));
            }
            // A stream that never begins has nobody to talk to.
            None => {}
        }
    }

    /// Queues bytes, which are copied.
    pub fn queue_data(&mut self, bytes: &[u8]) {
        self.queue_bytes(Bytes::copy_from_slice(bytes));
    }

    /// Queues bytes, no more than there is [`room`](Self::room) for.
    pub fn queue_bytes(&mut self, bytes: Bytes) {
        if let Some(id) = self.id {
            self.room = self.link.with(|state| state.mux.queue_data(id, bytes));
        }
    }

    /// How many bytes may be queued at least.
    pub fn room(&self) -> usize {
        self.room
    }

    /// When bytes that were queued left last.
    pub fn sent_at(&self) -> Option<Instant> {
        self.id
            .and_then(|id| self.link.with(|state| state.mux.sent_at(id)))
    }

    /// Whether more may be queued.
    pub fn is_flushed(&self) -> bool {
        self.room > 0
    }

    /// Waits until more may be queued. What is queued goes its way also when this stream is dropped, if it was
    /// ended well. Cancel safe.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(id) = self.id.filter(|_| self.room < ROOM_MIN) else {
            return Poll::Ready(Ok(()));
        };
        let (room, ended) = self.link.with(|state| {
            let room = state.mux.room(id);
            if room == 0 && state.ended.is_none() {
                state.wait_to_write(id, cx.waker());
                // It may be long before anything else happens here.
                state.tell();
            }
            (room, state.ended)
        });
        self.room = room;
        match (room, ended) {
            (_, Some(_)) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            (0, None) => Poll::Pending,
            (_, None) => Poll::Ready(Ok(())),
        }
    }

    /// Reads at most `room` bytes of `raw`; they wait in [`filled`](Self::filled) until they are sent.
    pub fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        raw: Pin<&mut dyn Stream>,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        let mut chunk = take_chunk();
        let mut limited = (&mut chunk).limit(room.min(self.room));
        let result = poll_read_buf(raw, cx, &mut limited);
        if let Poll::Ready(Ok(n)) = result
            && n > 0
        {
            self.filled = match n {
                0..=COPY_LEN_MAX => BytesMut::from(&chunk[..]),
                n => chunk.split_to(n),
            };
        }
        give_chunk(chunk);
        result
    }

    /// What [`poll_fill`](Self::poll_fill) has read.
    pub fn filled(&self) -> &[u8] {
        &self.filled
    }

    /// Sends the first `n` bytes of it.
    pub fn send_filled(&mut self, n: usize) {
        let mut filled = std::mem::take(&mut self.filled);
        filled.truncate(n);
        self.queue_bytes(filled.freeze());
    }

    /// Waits for the next message, or for bytes. Cancel safe.
    ///
    /// # Errors
    /// [`FramedError`]: the stream is over without having been reset in its order, or its link is.
    pub fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<Input, FramedError>> {
        if self.pieces_len > 0 {
            return Poll::Ready(Ok(Input::Body(self.pieces_len)));
        }
        let Some(id) = self.id else {
            return Poll::Ready(Err(FramedError::Closed));
        };
        let pieces = &mut self.pieces;
        let (taken, ended) = self.link.with(|state| {
            let taken = state.mux.take(id, pieces);
            if taken == Taken::Nothing && state.ended.is_none() {
                state.wait_to_read(id, cx.waker());
            }
            (taken, state.ended)
        });
        Poll::Ready(match (taken, ended) {
            (Taken::Head(mut head), _) => {
                head.prefix.stream_id = Self::ORDINAL;
                Ok(Input::Head(head))
            }
            (Taken::Data(len), _) => {
                self.pieces_len = len;
                // As on a connection of its own, bytes are announced.
                Ok(Input::Head(Head {
                    prefix: Prefix::data(Self::ORDINAL, len as u32),
                    header: Vec::new(),
                }))
            }
            (Taken::Over { violated: true }, _) => Err(FramedError::Unexpected),
            (Taken::Over { violated: false }, _) => Err(FramedError::Closed),
            (Taken::Nothing, Some(ended)) => Err(ended.error()),
            (Taken::Nothing, None) => return Poll::Pending,
        })
    }

    /// Whether the stream was reset, or its link has ended, behind bytes that wait to be used. Else the task is woken when
    /// something comes. Cancel safe.
    pub fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(id) = self.id else { return false };
        self.link.with(|state| {
            let over = state.ended.is_some() || state.mux.is_reset(id);
            if !over {
                state.wait_to_read(id, cx.waker());
            }
            over
        })
    }

    /// Writes bytes that have come to `raw`; they stay until [`consume_body`](Self::consume_body). Cancel safe.
    pub fn poll_write_body(
        &self,
        cx: &mut Context<'_>,
        raw: Pin<&mut dyn Stream>,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        if count > 1 && raw.is_write_vectored() {
            raw.poll_write_vectored(cx, &slices[..count])
        } else {
            raw.poll_write(cx, &slices[0])
        }
    }

    /// Copies bytes that have come, as many as there is room for; they stay until [`consume_body`](Self::consume_body).
    pub fn copy_body(&self, into: &mut ReadBuf<'_>) -> usize {
        let before = into.remaining();
        for piece in &self.pieces {
            let copied = piece.len().min(into.remaining());
            into.put_slice(&piece[..copied]);
        }
        before - into.remaining()
    }

    /// Tells that `n` bytes were handed on, or are not wanted: their credit goes back.
    pub fn consume_body(&mut self, n: usize) {
        self.pieces_len -= n;
        self.consumed += n;
        let mut left = n;
        while left > 0
            && let Some(piece) = self.pieces.front_mut()
        {
            let taken = left.min(piece.len());
            piece.advance(taken);
            left -= taken;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
        if self.pieces_len == 0 {
            self.pieces = VecDeque::new();
        }
        let due = self.pieces_len == 0 || self.consumed >= CONSUMED_LEN;
        if let Some(id) = self.id.filter(|_| due) {
            let consumed = std::mem::take(&mut self.consumed);
            let now = time::now();
            self.link
                .with(|state| state.mux.handle_consumed(now, id, consumed));
        }
    }
}

impl Drop for LinkStream {
    fn drop(&mut self) {
        if mutant!("dropped-stream-never-released") {
            return;
        }
        if self.link.is_broken() {
            return;
        }
        let now = time::now();
        self.link.with(|state| match self.id {
            Some(id) => {
                state.mux.release(now, id);
                state.forget(id);
                state.tell();
            }
            None => state.mux.cancel(),
        });
    }
}
