//! The one task of a data link: reads frames into its books, writes what they say.
//!
//! What is read is handed out in pieces of the memory it was read into; what is written goes from the memory it was
//! read into at the other side of this process. Small frames leave together.

use std::{
    future::poll_fn,
    io::IoSlice,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::AsyncWrite as _;
use tokio_util::io::poll_read_buf;

use super::{
    buffer::{CHUNK_LEN, give_chunk, take_chunk},
    data_link::{DataLink, Ended, State},
    gather::Gather,
    keepalive::{Act, Keepalive},
    mux::{Violation, batch::Batch},
    stream::LinkStream,
};
use crate::{
    metrics::Metrics,
    probe::{AUDITS, audit, mutant},
    time::{self, Duration, Instant, Timer},
    transport::Stream,
    wire::{
        codec::{Decoder, FrameError, Piece},
        frame::LINK_BODY_LEN_MAX,
    },
};

/// Reads and writes before other tasks get a turn. More starves neighbours; fewer costs wake-ups.
const TURNS_MAX: usize = 4;

/// How long the peer has to hang up as well when a link is left. What it still says must be read until then: a socket that is
/// closed over unread bytes is reset, and the peer loses the last words that it was sent.
const PARTING: Duration = Duration::from_secs(5);

/// Pieces written at once.
const SLICES_MAX: usize = 64;

/// What became of an attempt to write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrote {
    Some,
    Nothing,
    /// Others have a turn first.
    Later,
    /// The link is over.
    Last,
}

/// Why what came in cannot be trusted.
#[derive(Debug, thiserror::Error)]
enum Bad {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Violation(#[from] Violation),
}

/// Moves the frames of `link` over `stream` until either end is through with it; each stream that the peer opens is
/// given to `accept`. Dropped, it ends the link.
pub async fn run(
    link: Arc<DataLink>,
    stream: Box<dyn Stream>,
    metrics: Arc<Metrics>,
    accept: impl FnMut(LinkStream) + Send,
) -> Ended {
    stream.keep_queue_short();
    let mut pump = Pump {
        stream,
        decoder: Decoder::new(LINK_BODY_LEN_MAX),
        batch: Batch::default(),
        blocked: false,
        parting: None,
        gather: Gather::default(),
        keepalive: Keepalive::new(time::now()),
        timer: Timer::default(),
        metrics,
        link,
        accept,
    };
    poll_fn(|cx| pump.poll(cx)).await
}

struct Pump<F> {
    link: Arc<DataLink>,
    stream: Box<dyn Stream>,
    decoder: Decoder,
    batch: Batch,
    /// The socket has taken no more since.
    blocked: bool,
    /// All is said but the end of the stream: until when the peer may do the same.
    parting: Option<Instant>,
    gather: Gather,
    keepalive: Keepalive,
    timer: Timer,
    metrics: Arc<Metrics>,
    accept: F,
}

impl<F> Drop for Pump<F> {
    fn drop(&mut self) {
        self.link.end(Ended::Stopped);
    }
}

impl<F: FnMut(LinkStream)> Pump<F> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let polled = self.poll_turns(cx);
        self.link.with(State::tell);
        if let Poll::Ready(ended) = polled {
            self.link.end(ended);
        }
        polled
    }

    fn poll_turns(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let now = time::now();
        for _ in 0..TURNS_MAX {
            // What comes in may make others speak, who then leave with the rest.
            let mut moved = match self.poll_read(cx, now) {
                Ok(moved) => moved,
                Err(ended) => return Poll::Ready(ended),
            };
            moved |= match self.poll_write(cx, now) {
                Ok(Wrote::Later) if mutant!("link-that-gathers-sleeps") => return Poll::Pending,
                Ok(Wrote::Later) => break,
                Ok(wrote) => wrote == Wrote::Some,
                Err(ended) => return Poll::Ready(ended),
            };
            moved |= match self.poll_timer(cx, now) {
                Ok(moved) => moved,
                Err(ended) => return Poll::Ready(ended),
            };
            if !moved {
                self.check();
                self.gather.sleep();
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Who sleeps is woken again: by its socket, by what there is to say, and by the time.
    fn check(&self) {
        if !AUDITS {
            return;
        }
        let woken = self.link.with(|state| {
            let (mux, pump) = (&state.mux, &state.pump);
            pump.is_some() || mux.has_frames() || mux.is_over()
        });
        audit!(
            woken || !self.batch.is_empty(),
            "a pump that sleeps hears of what there is to say"
        );
        audit!(
            self.timer.is_armed_for(self.due()),
            "a pump that sleeps wakes when something is due"
        );
    }

    /// Writes what the books say, some at a time: what is urgent must not wait behind much that is not.
    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Wrote, Ended> {
        if self.parting.is_some() {
            return self.poll_part(cx);
        }
        if self.batch.is_empty() {
            let (batch, gather) = (&mut self.batch, &mut self.gather);
            let without = self.link.with(|state| {
                if gather.holds_back(state.mux.waiting(), state.mux.is_in_hurry()) {
                    return Some(Ok(Wrote::Later));
                }
                state.mux.poll_transmit(now, batch);
                if !batch.is_empty() {
                    return None;
                }
                state.pump = Some(cx.waker().clone());
                Some(Ok(match state.mux.is_over() {
                    true => Wrote::Last,
                    false => Wrote::Nothing,
                }))
            });
            if let Some(without) = without {
                return match without {
                    Ok(Wrote::Last) => {
                        self.parting = Some(now + PARTING);
                        self.poll_part(cx)
                    }
                    others => others,
                };
            }
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = self.batch.slices(&mut slices);
        match Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..count]) {
            Poll::Ready(Ok(0)) => Err(Ended::Closed),
            Poll::Ready(Ok(written)) => {
                self.batch.advance(written);
                if std::mem::replace(&mut self.blocked, false) {
                    self.link.moved.note(now);
                }
                Ok(Wrote::Some)
            }
            Poll::Ready(Err(error)) => Err(Ended::Io(error.kind())),
            Poll::Pending => {
                if !std::mem::replace(&mut self.blocked, true) {
                    self.link.with(|state| state.mux.handle_blocked());
                }
                Ok(Wrote::Nothing)
            }
        }
    }

    /// Ends the stream behind the last frame. The link is left once the peer has done the same.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Result<Wrote, Ended> {
        match Pin::new(&mut self.stream).poll_shutdown(cx) {
            Poll::Ready(Err(_)) => Err(Ended::Left),
            _ => Ok(Wrote::Nothing),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Ended> {
        let mut chunk = take_chunk();
        let read = poll_read_buf(Pin::new(&mut self.stream), cx, &mut (&mut chunk).limit(CHUNK_LEN));
        let result = match read {
            Poll::Ready(Ok(0)) => {
                let left = self.link.with(|state| state.mux.is_left());
                Err(if left { Ended::Left } else { Ended::Closed })
            }
            Poll::Ready(Ok(_)) => {
                self.keepalive.handle_input(now);
                self.link.moved.note(now);
                self.receive(&mut chunk, now).map(|()| true).map_err(|bad| {
                    tracing::debug!(reason = %bad, "data link broken off");
                    self.metrics.violations.inc();
                    Ended::Violated
                })
            }
            Poll::Ready(Err(_)) if self.parting.is_some() => Err(Ended::Left),
            Poll::Ready(Err(error)) => Err(Ended::Io(error.kind())),
            Poll::Pending => Ok(false),
        };
        give_chunk(chunk);
        result
    }

    /// Enters what was read into the books, and hands out the streams that were opened.
    fn receive(&mut self, chunk: &mut BytesMut, now: Instant) -> Result<(), Bad> {
        let decoder = &mut self.decoder;
        let opened = self.link.with(|state| {
            let mux = &mut state.mux;
            loop {
                let mut input = &chunk[..];
                let piece = decoder.next(&mut input)?;
                let taken = chunk.len() - input.len();
                chunk.advance(taken);
                match piece {
                    Piece::Head(head) => mux.handle_head(now, head)?,
                    Piece::Body(n) => {
                        mux.handle_body(now, chunk.split_to(n).freeze())?;
                        decoder.consume_body(n);
                    }
                    Piece::Incomplete => return Ok::<_, Bad>(mux.take_opened()),
                }
            }
        });
        // The events of what came before a violation are collected all the same.
        for id in opened? {
            (self.accept)(LinkStream::accepted(Arc::clone(&self.link), id));
        }
        Ok(())
    }

    /// When something has to be done though nothing comes.
    fn due(&self) -> Instant {
        let books = self.link.with(|state| state.mux.poll_timeout());
        let keepalive = self.keepalive.poll_timeout();
        books
            .into_iter()
            .chain(self.parting)
            .fold(keepalive, Instant::min)
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Ended> {
        if self.timer.poll(cx, Some(self.due())).is_pending() {
            return Ok(false);
        }
        if self.parting.is_some_and(|parting| parting <= now) {
            return Err(Ended::Left);
        }
        let act = self.keepalive.handle_timeout(now);
        if act == Some(Act::Dead) {
            return Err(Ended::Silent);
        }
        self.link.with(|state| {
            state.mux.handle_timeout(now);
            if act == Some(Act::Ping) {
                state.mux.ping(now);
            }
        });
        Ok(true)
    }
}
