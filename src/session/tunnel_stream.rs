//! A session whose visitor is this process: a stream to an upstream behind a client, to be read and written.
//!
//! The protocol core is the one of any other visitor, so that starts, refusals, resets and half-closes mean the same.
//! Nothing is repeated here: whoever holds the stream asks its [`Progress`] whether it may try elsewhere.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

use super::{
    core::{Action, Core},
    visitor_side::{Cause, Outcome, VisitorSide},
};
use crate::{
    link::{buffer::CHUNK_LEN, framed::Input},
    metrics::Meter,
    pool::conn::Conn,
    probe::{mutant, sometimes},
    time::{self, Duration, Instant},
    wire::message::ResetCode,
};

/// How far a stream has come towards its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// Nothing was written, and the client has not answered.
    Asked,
    /// Something was written, and the client has not answered: it may have reached the upstream.
    Sent,
    /// The upstream is connected.
    Started,
    /// The client said no: nothing has reached an upstream.
    Refused,
    /// It never started, and nothing was written.
    Gone,
    /// It never started as far as anybody knows, and what was written may have reached the upstream.
    Lost,
}

impl Stage {
    const ALL: [Self; 6] = [
        Self::Asked,
        Self::Sent,
        Self::Started,
        Self::Refused,
        Self::Gone,
        Self::Lost,
    ];
}

/// Where others read how far a stream has come, also when it is no more. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Reached>);

#[derive(Debug, Default)]
struct Reached {
    stage: AtomicU8,
    retired: AtomicBool,
    start: OnceLock<Duration>,
}

/// Done when the upstream is connected; says how long that took.
pub type OnStart = Box<dyn FnOnce() -> Duration + Send>;

impl Progress {
    /// How far it has come.
    pub fn stage(&self) -> Stage {
        Stage::ALL[usize::from(self.0.stage.load(Ordering::Acquire))]
    }

    fn set(&self, stage: Stage) {
        self.0.stage.store(stage as u8, Ordering::Release);
    }

    /// Whether no new request should be sent on it: the client does not choose its upstream's address any more.
    pub fn is_retired(&self) -> bool {
        self.0.retired.load(Ordering::Relaxed) && !mutant!("retired-connection-used-again")
    }

    /// How long its upstream took to be connected, once it is.
    pub fn start(&self) -> Option<Duration> {
        self.0.start.get().copied()
    }
}

/// What is left of a stream that nobody holds any more.
pub struct Rest {
    /// What carried it.
    pub conn: Conn,
    /// Its core.
    pub side: VisitorSide,
}

/// A stream to an upstream. Dropped before its directions have ended, it is reset.
///
/// Reading and writing must be done by one task: it waits for both at once.
pub struct TunnelStream {
    /// There until it is dropped.
    inner: Option<Rest>,
    progress: Progress,
    abort: Option<oneshot::Receiver<ResetCode>>,
    meter: Meter,
    back: Option<oneshot::Sender<Rest>>,
    on_start: Option<OnStart>,
    /// The upstream has ended its bytes.
    heard_end: bool,
    said_end: bool,
    failed: bool,
    /// Whoever reads waits for more; else input is left unread on purpose.
    reader_waits: bool,
    /// Bytes of a body that have come and were not read.
    unread: usize,
    /// The connection has not taken everything at once.
    held_up: bool,
}

impl TunnelStream {
    /// A stream over `rest`, which goes to `back` in the end. `on_start` is done when the upstream is connected.
    pub fn new(
        rest: Rest,
        abort: oneshot::Receiver<ResetCode>,
        mut meter: Meter,
        back: oneshot::Sender<Rest>,
        on_start: OnStart,
    ) -> Self {
        meter.begin(rest.side.bytes());
        Self {
            inner: Some(rest),
            progress: Progress::default(),
            abort: Some(abort),
            meter,
            back: Some(back),
            on_start: Some(on_start),
            heard_end: false,
            said_end: false,
            failed: false,
            reader_waits: true,
            unread: 0,
            held_up: false,
        }
    }

    /// Where others may read how far it has come.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    fn rest(&mut self) -> &mut Rest {
        self.inner
            .as_mut()
            .expect("a stream is whole until it is dropped")
    }

    /// Does what the core asks, and what is due.
    fn drive(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let Some(abort) = &mut self.abort
            && let Poll::Ready(order) = Pin::new(abort).poll(cx)
        {
            self.abort = None;
            if let Ok(code) = order {
                self.rest().side.handle_abort(now, code);
            }
        }
        let (stalled, mut held_up) = (!self.reader_waits, self.held_up);
        loop {
            self.perform(now);
            let Rest { conn, side } = self.rest();
            conn.carrier.handle_stalled(now, stalled);
            match conn.carrier.poll_flush(cx) {
                Poll::Ready(Err(_)) if side.fate().is_none() => {
                    side.handle_stream_broken(now);
                    continue;
                }
                Poll::Ready(Ok(())) if held_up => {
                    held_up = false;
                    side.handle_sent(now);
                }
                flushed => held_up = flushed.is_pending(),
            }
            let due = [side.poll_timeout(), conn.carrier.poll_timeout()];
            if conn.timer.poll(cx, due.into_iter().flatten().min()).is_pending() {
                break;
            }
            if let Some(at) = conn.carrier.sent_at() {
                side.handle_sent_at(at);
            }
            side.handle_timeout(now);
            if conn.carrier.handle_timeout(now).is_err() && side.fate().is_none() {
                side.handle_stream_broken(now);
            }
        }
        self.held_up = held_up;
        self.note();
    }

    fn perform(&mut self, now: Instant) {
        let Rest { conn, side } = self
            .inner
            .as_mut()
            .expect("a stream is whole until it is dropped");
        let ordinal = side.ordinal().value();
        while let Some(action) = side.poll_action() {
            match action {
                Action::Send(message) => conn.carrier.queue(ordinal, &message),
                Action::SendKept(bytes) => conn.carrier.queue_data(ordinal, &bytes),
                Action::ShutDownRaw => {
                    self.heard_end = true;
                    side.handle_raw_shut_down(now);
                }
                Action::CloseRaw => {}
                Action::ResetRaw | Action::ReleaseRaw => self.failed = true,
            }
        }
    }

    /// Tells others how far it has come.
    fn note(&mut self) {
        let side = &self.rest().side;
        let (moved, served, retired) = (side.bytes(), side.was_served(), side.is_retired());
        let stage = match side.outcome() {
            _ if served => Stage::Started,
            Some(Outcome::NotStarted {
                cause: Cause::Refused(_),
                ..
            }) if !(moved.0 > 0 && mutant!("refusal-taken-for-loss")) => Stage::Refused,
            Some(_) if moved.0 > 0 => Stage::Lost,
            Some(_) => Stage::Gone,
            None if moved.0 > 0 => Stage::Sent,
            None => Stage::Asked,
        };
        self.progress.set(stage);
        if retired {
            self.progress.0.retired.store(true, Ordering::Relaxed);
        }
        self.meter.tell(moved);
        if served && let Some(on_start) = self.on_start.take() {
            // It happens once.
            let _ = self.progress.0.start.set(on_start());
        }
    }

    fn error(&self) -> io::Error {
        match self.progress.stage() {
            Stage::Started => io::ErrorKind::ConnectionReset.into(),
            _ => io::ErrorKind::ConnectionRefused.into(),
        }
    }

    /// How much may be written now; 0 is to wait.
    fn room(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<usize> {
        self.drive(cx, now);
        if self.failed {
            return Err(self.error());
        }
        if self.said_end {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let Rest { conn, side } = self.rest();
        let room = conn.carrier.room();
        Ok(if room == 0 {
            0
        } else {
            room.min(side.raw_room()).min(CHUNK_LEN)
        })
    }

    fn write(&mut self, cx: &mut Context<'_>, now: Instant, bytes: Bytes) {
        let Rest { conn, side } = self.rest();
        side.handle_raw_bytes(now, &bytes);
        conn.carrier.queue_bytes(side.ordinal().value(), bytes);
        self.drive(cx, now);
    }

    /// Takes in what has come; says whether that was anything.
    fn receive(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Rest { conn, side } = self.rest();
        match conn.carrier.poll_input(cx) {
            Poll::Pending => return false,
            Poll::Ready(Err(error)) if error.is_violation() => side.handle_violation(now),
            Poll::Ready(Err(_)) => side.handle_stream_broken(now),
            Poll::Ready(Ok(Input::Head(head))) => match head.message() {
                Ok(Some(message)) => {
                    let prefix = head.prefix;
                    side.handle_message(now, prefix.stream_id, message, prefix.body_len);
                }
                Ok(None) => {}
                Err(_) => side.handle_violation(now),
            },
            Poll::Ready(Ok(Input::Body(there))) => self.unread = there,
        }
        true
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (this, now) = (&mut *self, time::now());
        if into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        this.reader_waits = true;
        loop {
            if this.unread > 0 {
                let there = std::mem::take(&mut this.unread);
                let Rest { conn, side } = this.rest();
                let copied = conn.carrier.copy_body(into, there);
                let consumed = if mutant!("bytes-without-room-lost") {
                    there
                } else {
                    copied
                };
                conn.carrier.consume_body(consumed);
                side.handle_delivered(now, copied);
                // It may not come back for more.
                this.reader_waits = false;
                this.note();
                return Poll::Ready(Ok(()));
            }
            this.drive(cx, now);
            if this.failed {
                return Poll::Ready(Err(this.error()));
            }
            if this.heard_end {
                this.reader_waits = mutant!("half-closed-upgrade-not-answered-for");
                return Poll::Ready(Ok(()));
            }
            if !this.receive(cx, now) {
                // What came may have asked for something (PING).
                if !this.rest().conn.carrier.is_flushed() {
                    this.drive(cx, now);
                }
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let now = time::now();
        let len = match self.room(cx, now)? {
            0 if !bytes.is_empty() => return Poll::Pending,
            room => room.min(bytes.len()),
        };
        self.write(cx, now, Bytes::copy_from_slice(&bytes[..len]));
        Poll::Ready(Ok(len))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let now = time::now();
        let there: usize = slices.iter().map(|slice| slice.len()).sum();
        let len = match self.room(cx, now)? {
            0 if there > 0 => return Poll::Pending,
            room => room.min(there),
        };
        let mut bytes = BytesMut::with_capacity(len);
        let told = if mutant!("second-slice-not-written") {
            1
        } else {
            slices.len()
        };
        for slice in slices.iter().take(told) {
            bytes.extend_from_slice(&slice[..slice.len().min(len - bytes.len())]);
        }
        self.write(cx, now, bytes.freeze());
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.drive(cx, time::now());
        if self.failed {
            return Poll::Ready(Err(self.error()));
        }
        match self.rest().conn.carrier.is_flushed() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = time::now();
        if !std::mem::replace(&mut self.said_end, true) && !mutant!("end-of-request-never-sent") {
            self.rest().side.handle_raw_fin(now);
        }
        // Who ends what has failed already has ended it.
        self.drive(cx, now);
        match self.failed || self.rest().conn.carrier.is_flushed() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }
}

impl Drop for TunnelStream {
    fn drop(&mut self) {
        let now = time::now();
        if !self.said_end {
            sometimes!("upstream-connection-dropped");
            match mutant!("dropped-request-looks-whole") {
                false => self.rest().side.handle_raw_broken(now),
                true => self.rest().side.handle_raw_fin(now),
            }
        }
        self.perform(now);
        self.note();
        if let (Some(rest), Some(back)) = (self.inner.take(), self.back.take()) {
            // Whoever lent it may have been torn down; then it is closed here.
            let _ = back.send(rest);
        }
    }
}
