//! A visitor's connection as bytes: what is said on it before hyper understands it, and how it ends.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{heads::Heads, interim::Saying, open::OpenRequests};
use crate::{
    probe::mutant,
    session::raw::RawStream,
    time::{self, Duration, Instant, Timer},
    transport::Stream,
};

/// A visitor's stream as hyper wants it. One that has said something and that hyper has not ended is reset: it must not
/// look finished.
pub struct VisitorStream {
    raw: Option<RawStream>,
    /// What is asked on it.
    open: Arc<OpenRequests>,
    /// It has said something, and may wait for an answer.
    asked: bool,
    /// How it speaks, as soon as that is known.
    framed: Framed,
    /// All that will be said to it has been.
    ended: bool,
    /// It was waited for in vain: nothing is owed to it.
    idle: Arc<AtomicBool>,
    interim: Saying,
    /// What hyper wrote last of the last answer: see [`Self::poll_rest`].
    rest: BytesMut,
    /// The whole answer to a head that hyper refuses with this status.
    refusal: Refusal,
    /// What is left of one.
    refusing: Option<Bytes>,
    lingering: Option<Lingering>,
}

/// The whole answer to a head that hyper refuses with this status.
type Refusal = Box<dyn Fn(StatusCode) -> Bytes + Send>;

/// Reads on after the end of what is said: a reset for bytes that nobody has read would overtake the answer.
struct Lingering {
    /// When it has had enough.
    most: Instant,
    /// When it has had enough, if nothing comes.
    until: Instant,
    timer: Timer,
}

/// How long a connection is read on whose visitor still says what nobody wants: altogether, and without a byte.
const LINGER_MAX: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(5));

/// Pieces that are read before others have their turn.
const LINGER_PIECES: usize = 16;

impl Lingering {
    fn new(now: Instant) -> Self {
        Self {
            most: now + LINGER_MAX.0,
            until: now + LINGER_MAX.1,
            timer: Timer::default(),
        }
    }
}

impl VisitorStream {
    /// Takes charge of `stream`.
    pub fn new(stream: Box<dyn Stream>, open: Arc<OpenRequests>, refusal: Refusal) -> Self {
        Self {
            raw: Some(RawStream::new(stream)),
            open,
            asked: false,
            framed: Framed::default(),
            ended: false,
            idle: Arc::default(),
            interim: Saying::default(),
            rest: BytesMut::new(),
            refusal,
            refusing: None,
            lingering: None,
        }
    }

    /// Where to say that it was waited for in vain.
    pub fn idle(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.idle)
    }

    /// Whoever takes something is not stuck.
    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(_))) {
            self.open.wrote();
        }
    }

    /// Says what upstreams have said before their answers, while hyper is between two things that it says.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let bytes = self.interim.next(&self.open.interim);
            if bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match ready!(pinned(&mut self.raw).poll_write(cx, bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.interim.wrote(written),
            }
            self.open.wrote();
        }
    }

    /// Writes what was kept. Where a request has asked the connection to become something else, hyper leaves it at the end as
    /// if it had: it neither waits until its own buffer is written nor ends what it says. So its last bytes are kept here.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.rest.is_empty() {
            // An interim answer that is written in part came before.
            ready!(self.poll_interim(cx))?;
        }
        while !self.rest.is_empty() {
            match ready!(pinned(&mut self.raw).poll_write(cx, &self.rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.rest.advance(written),
            }
            self.open.wrote();
        }
        Poll::Ready(Ok(()))
    }

    /// What to do with bytes that cannot be written now: they are kept, if they are the last of an answer that hyper may leave.
    fn keep_rest(&mut self, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.open.count().open > 0 || !self.open.has_offer() || self.rest.len() > REST_MAX {
            return Poll::Pending;
        }
        // What was said of this request stands before it, and what is said of one that follows behind it.
        self.interim.gather(&self.open.interim);
        self.open.interim.set_busy(true);
        slices.iter().for_each(|slice| self.rest.extend_from_slice(slice));
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    /// Before hyper writes.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open.turns.writes();
        ready!(self.poll_rest(cx))?;
        ready!(self.poll_interim(cx))?;
        self.open.interim.set_busy(true);
        Poll::Ready(Ok(()))
    }

    /// Says more than hyper does where it refuses a head: why, and a page. Ready when all of it is said.
    fn poll_refusal(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<bool>> {
        if self.refusing.is_none() {
            let Some(status) = refused_with(bytes).filter(|_| self.open.is_unanswered()) else {
                return Poll::Ready(Ok(false));
            };
            self.open.refuse(status);
            self.refusing = Some((self.refusal)(status));
        }
        while let Some(left) = self.refusing.as_mut().filter(|left| !left.is_empty()) {
            match ready!(pinned(&mut self.raw).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => left.advance(written),
            }
        }
        Poll::Ready(Ok(true))
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..LINGER_PIECES {
            let Some(lingering) = &mut self.lingering else {
                return Poll::Ready(());
            };
            let over = lingering.most.min(lingering.until);
            let mut buffer = [MaybeUninit::uninit(); LINGER_LEN];
            let mut into = ReadBuf::uninit(&mut buffer);
            let read = pinned(&mut self.raw).poll_read(cx, &mut into);
            if read.is_pending() {
                ready!(lingering.timer.poll(cx, Some(over)));
            }
            let now = time::now();
            if into.filled().is_empty() || now >= over {
                self.lingering = None;
                return Poll::Ready(());
            }
            lingering.until = now + LINGER_MAX.1;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn pin(&mut self) -> Pin<&mut dyn Stream> {
        pinned(&mut self.raw)
    }
}

fn pinned(raw: &mut Option<RawStream>) -> Pin<&mut dyn Stream> {
    let raw = raw.as_mut();
    raw.expect("a stream is there until it is dropped").pin()
}

/// What is known of how a visitor speaks: in HTTP/2 frames say when a head is whole, in HTTP/1 the bytes do.
#[derive(Default)]
struct Framed {
    /// So many bytes came that HTTP/2 begins with.
    alike: usize,
    /// What came was something else.
    otherwise: bool,
    heads: Heads,
}

/// The most that is kept of answers whose last bytes cannot be written, before the last write, in bytes.
const REST_MAX: usize = 128 * 1024;

/// So many bytes are read at once that nobody wants.
const LINGER_LEN: usize = 8 * 1024;

/// The status of an answer that hyper gives by itself to what is no head: it says nothing else.
fn refused_with(answer: &[u8]) -> Option<StatusCode> {
    let (head, rest) = answer.strip_prefix(b"HTTP/1.1 ")?.split_at_checked(3)?;
    let lines = rest.split(|byte| *byte == b'\n').skip(1);
    let mut lines = lines.map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let bare = lines.all(|line| [&b"connection: close"[..], b"content-length: 0"].contains(&line));
    let status = StatusCode::from_bytes(head).ok()?;
    (bare && status.is_client_error()).then_some(status)
}

/// What HTTP/2 begins with (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Framed {
    /// Takes note of what came.
    fn hear(&mut self, bytes: &[u8], open: &OpenRequests) {
        let expected = &PREFACE[self.alike..];
        if expected.is_empty() {
            return;
        }
        let len = expected.len().min(bytes.len());
        self.otherwise |= bytes[..len] != expected[..len];
        if !self.otherwise {
            self.alike += len;
            if self.alike == PREFACE.len() {
                return open.speaks_http2();
            }
        }
        if open.is_none() {
            // An empty line may stand before a request (RFC 9112, section 2.2).
            if bytes.iter().any(|byte| !b"\r\n".contains(byte)) {
                open.heard(time::now());
            }
            self.heads.next_is_head(open.count().begun);
        }
        if open.is_upgraded() {
            return;
        }
        if let Some(request) = self.heads.hear(bytes) {
            open.framed_twice(request);
        }
    }
}

impl Drop for VisitorStream {
    fn drop(&mut self) {
        // Behind a head that was refused hyper may leave without an end.
        let refused = self.refusing.as_ref().is_some_and(Bytes::is_empty);
        let owed = self.asked && !self.ended && !refused && !self.idle.load(Ordering::Relaxed);
        if let Some(raw) = self.raw.take().filter(|_| !owed) {
            raw.close();
        }
    }
}

impl AsyncRead for VisitorStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = self.pin().poll_read(cx, into);
        let came = into.filled().len() > before;
        if came {
            self.asked = true;
            let this = &mut *self;
            this.framed.hear(&into.filled()[before..], &this.open);
        }
        if came && mutant!("visitor-reset-for-late-bytes") {
            self.ended = false;
        }
        read
    }
}

impl AsyncWrite for VisitorStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.poll_turn(cx)?.is_pending() {
            return self.keep_rest(&[IoSlice::new(bytes)]);
        }
        if ready!(self.poll_refusal(cx, bytes))? {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = self.pin().poll_write(cx, bytes);
        self.wrote(&written);
        match written {
            Poll::Pending => self.keep_rest(&[IoSlice::new(bytes)]),
            written => written,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.poll_turn(cx)?.is_pending() {
            return self.keep_rest(slices);
        }
        if let [bytes] = slices
            && ready!(self.poll_refusal(cx, bytes))?
        {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = self.pin().poll_write_vectored(cx, slices);
        self.wrote(&written);
        match written {
            Poll::Pending => self.keep_rest(slices),
            written => written,
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Hyper flushes when nothing is left in its own buffer.
        ready!(self.poll_rest(cx))?;
        self.open.interim.set_busy(false);
        ready!(self.poll_interim(cx))?;
        ready!(self.pin().poll_flush(cx))?;
        self.open.turns.flushed();
        self.open.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            ready!(self.poll_rest(cx))?;
            ready!(self.pin().poll_shutdown(cx))?;
            self.ended = true;
            let within = self.framed.heads.is_within_body() && !self.open.is_upgraded();
            // What a visitor has asked before it heard that an answer is the last is not read by hyper.
            let unread = within || self.refusing.is_some() || self.open.has_said_last();
            self.lingering = unread.then(|| Lingering::new(time::now()));
        }
        self.poll_linger(cx).map(Ok)
    }
}
