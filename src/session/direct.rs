//! Joins two raw streams, as a forwarder does: what one says the other hears, to the end of both directions.
//!
//! One task, no locks, no message per chunk. A buffer is held only while a direction is blocked half-way; an idle
//! session holds none.

use std::{
    io,
    task::{Context, Poll, ready},
};

use tokio::io::ReadBuf;

use super::{first_bytes::FirstBytes, raw::RawStream};
use crate::{
    link::buffer::{Buffer, CHUNK_LEN},
    metrics::Meter,
    probe::{audit, audit_eq, mutant},
    time::{self, Duration, Instant, Timer},
};

/// Chunks moved before other tasks get a turn. More starves neighbours; fewer costs wake-ups.
const TURNS_MAX: usize = 32;

/// Between two looks at a side that is not read because the other takes nothing. Longer notices its reset later.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How a joined session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Both directions ended and every byte was delivered.
    Completed,
    /// The visitor reset, or its connection failed.
    VisitorGone,
    /// The upstream reset, or its connection failed.
    UpstreamBroken,
    /// The same, after it had ended its answer.
    UpstreamLeft,
    /// Half-closed and without a byte for too long.
    HalfClosedTimeout,
}

impl Outcome {
    /// Its name, for logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::VisitorGone => "visitor_gone",
            Self::UpstreamBroken | Self::UpstreamLeft => "broken",
            Self::HalfClosedTimeout => "half_closed_timeout",
        }
    }
}

/// What became of two joined streams.
pub enum Ended {
    /// The session is over, after so many bytes up and down.
    Over(Outcome, (u64, u64)),
    /// The upstream ended before its first byte: it had been left long ago, and nobody knew. The visitor is unharmed,
    /// and may be joined to another with what it has said so far.
    Stale(RawStream, FirstBytes),
}

/// One direction.
#[derive(Default)]
struct Way {
    /// Read and not yet written.
    pending: Option<Buffer>,
    stage: Stage,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// The source has ended; what is pending is to be written, and the end passed on.
    Ending,
    /// Nothing will pass any more, and the far side knows.
    Ended,
    /// The far side takes nothing any more.
    Deaf,
}

/// What a direction came to in one turn.
enum Moved {
    /// Something moved: try again.
    Yes,
    /// The source failed.
    SourceBroken,
    /// The far side failed.
    FarBroken,
}

impl Way {
    /// Moves one chunk from `source` to `far`, and keeps a copy of it.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut RawStream,
        far: &mut RawStream,
        kept: &mut Option<FirstBytes>,
    ) -> Poll<Moved> {
        if let Some(buffer) = &mut self.pending {
            let written = match ready!(far.pin().poll_write(cx, buffer.filled())) {
                Ok(written) if written > 0 => written,
                _ => return Poll::Ready(self.fail()),
            };
            if written < buffer.filled().len() && mutant!("direct-forgets-rest-of-a-write") {
                buffer.start = buffer.end;
            } else {
                buffer.start += written;
            }
            self.bytes += written as u64;
            if buffer.is_empty() {
                self.drop_pending();
            }
            return Poll::Ready(Moved::Yes);
        }
        match self.stage {
            Stage::Open => self.poll_read(cx, source, kept),
            Stage::Ending => {
                if mutant!("direct-drops-half-close") {
                    self.stage = Stage::Ended;
                    return Poll::Ready(Moved::Yes);
                }
                let shut = ready!(far.pin().poll_shutdown(cx));
                // A far side that has ended both of its directions has got everything.
                if shut.is_err_and(|error| error.kind() != io::ErrorKind::NotConnected) {
                    return Poll::Ready(self.fail());
                }
                self.stage = Stage::Ended;
                Poll::Ready(Moved::Yes)
            }
            Stage::Ended | Stage::Deaf => Poll::Pending,
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut RawStream,
        kept: &mut Option<FirstBytes>,
    ) -> Poll<Moved> {
        let mut room = kept.as_mut().map_or(CHUNK_LEN, FirstBytes::room);
        let keeps = room > 0;
        if !keeps {
            // Too much to be said again.
            if kept.is_some() && !mutant!("long-request-repeated-in-part") {
                *kept = None;
            }
            room = CHUNK_LEN;
        }
        let mut buffer = Buffer::take();
        let mut read = ReadBuf::new(&mut buffer.whole()[..room.min(CHUNK_LEN)]);
        let result = source.pin().poll_read(cx, &mut read);
        let n = read.filled().len();
        if n > 0 && matches!(result, Poll::Ready(Ok(()))) {
            buffer.end = n;
            if let Some(kept) = kept.as_mut().filter(|_| keeps) {
                kept.push(buffer.filled());
            }
            self.pending = Some(buffer);
            return Poll::Ready(Moved::Yes);
        }
        buffer.give();
        match ready!(result) {
            Ok(()) => {
                if let Some(kept) = kept {
                    kept.push_fin();
                }
                self.stage = Stage::Ending;
                Poll::Ready(Moved::Yes)
            }
            Err(_) => Poll::Ready(Moved::SourceBroken),
        }
    }

    fn fail(&mut self) -> Moved {
        self.drop_pending();
        self.stage = Stage::Deaf;
        Moved::FarBroken
    }

    fn drop_pending(&mut self) {
        if let Some(buffer) = self.pending.take() {
            buffer.give();
        }
    }

    fn is_ended(&self) -> bool {
        self.stage == Stage::Ended
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.drop_pending();
    }
}

/// Two raw streams, moving. Dropping it resets both.
pub struct Direct {
    visitor: RawStream,
    upstream: RawStream,
    up: Way,
    down: Way,
    half_closed_timeout: Duration,
    last_byte: Instant,
    look_at: Instant,
    timer: Timer,
    meter: Option<Meter>,
    /// What the visitor has said, as long as it may have to be said again.
    kept: Option<FirstBytes>,
}

impl Direct {
    /// Joins a visitor and an upstream.
    pub fn new(visitor: RawStream, upstream: RawStream, half_closed_timeout: Duration) -> Self {
        let now = time::now();
        Self {
            visitor,
            upstream,
            up: Way::default(),
            down: Way::default(),
            half_closed_timeout,
            last_byte: now,
            look_at: now + LOOK_INTERVAL,
            timer: Timer::default(),
            meter: None,
            kept: None,
        }
    }

    /// Keeps what the visitor says until the upstream's first byte, in `first`, as far as there is room: its upstream
    /// may turn out to be [`Ended::Stale`].
    pub fn keeping(mut self, first: FirstBytes) -> Self {
        self.kept = Some(first);
        self
    }

    /// Begins with what the visitor has said to another.
    pub fn resending(mut self, first: &FirstBytes) -> Self {
        let bytes = first.bytes();
        if !bytes.is_empty() && !mutant!("stale-bytes-not-repeated") {
            let mut buffer = Buffer::take();
            buffer.whole()[..bytes.len()].copy_from_slice(bytes);
            buffer.end = bytes.len();
            self.up.pending = Some(buffer);
        }
        if first.fin() {
            self.up.stage = Stage::Ending;
        }
        self
    }

    /// Counts its bytes while it runs.
    pub fn counting(mut self, meter: Meter) -> Self {
        self.meter = Some(meter);
        self
    }

    /// Bytes that the upstream and the visitor were given.
    pub fn bytes(&self) -> (u64, u64) {
        (self.up.bytes, self.down.bytes)
    }

    /// Moves everything to the end of the session, and closes or resets both sides.
    pub async fn finish(mut self) -> Ended {
        let outcome = std::future::poll_fn(|cx| {
            let polled = self.poll(cx);
            if let Some(meter) = &mut self.meter {
                meter.tell((self.up.bytes, self.down.bytes));
            }
            polled
        })
        .await;
        let bytes = self.bytes();
        let Some(outcome) = outcome else {
            return match self.kept {
                Some(first) => Ended::Stale(self.visitor, first),
                None => Ended::Over(Outcome::UpstreamBroken, bytes),
            };
        };
        if outcome == Outcome::Completed {
            self.visitor.close();
            self.upstream.close();
        }
        Ended::Over(outcome, bytes)
    }

    /// Ready with `None` when the upstream is stale.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome>> {
        for _ in 0..TURNS_MAX {
            let up = self
                .up
                .poll(cx, &mut self.visitor, &mut self.upstream, &mut self.kept);
            let down = self
                .down
                .poll(cx, &mut self.upstream, &mut self.visitor, &mut None);
            if self.kept.is_some() {
                if self.is_stale(&down) {
                    self.check_kept();
                    return Poll::Ready(None);
                }
                if self.down.pending.is_some() && !mutant!("repeated-after-the-answer") {
                    self.kept = None;
                }
            }
            if let Some(outcome) = self.judge(&up, &down) {
                return Poll::Ready(Some(outcome));
            }
            if up.is_ready() || down.is_ready() {
                self.last_byte = time::now();
                continue;
            }
            let over = self.poll_timer(cx);
            if over.is_pending() {
                self.check();
            }
            return over.map(Some);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Who sleeps is woken in time, and could still say again what may have to be.
    fn check(&self) {
        let is_armed = |at| self.timer.is_armed_for(at);
        let half_closed = self.up.stage != Stage::Open || self.down.stage != Stage::Open;
        audit!(
            !half_closed || is_armed(self.last_byte + self.half_closed_timeout),
            "a half-closed session is not waited for without end"
        );
        let blocked = self.up.pending.is_some() || self.down.pending.is_some();
        audit!(
            !blocked || is_armed(self.look_at),
            "a side that is not read is looked at"
        );
        self.check_kept();
    }

    fn check_kept(&self) {
        let Some(kept) = &self.kept else { return };
        audit!(
            self.down.bytes == 0 && self.down.pending.is_none(),
            "nothing is said again once the visitor has heard something"
        );
        if self.up.stage != Stage::Deaf {
            let pending = self.up.pending.as_ref().map_or(0, |buffer| buffer.filled().len());
            audit_eq!(
                kept.bytes().len() as u64,
                self.up.bytes + pending as u64,
                "what may have to be said again is kept, all of it"
            );
            audit_eq!(kept.fin(), self.up.stage != Stage::Open, "and its end");
        }
    }

    /// Whether the upstream has ended, or failed, without having said a byte.
    fn is_stale(&self, down: &Poll<Moved>) -> bool {
        let failed = matches!(down, Poll::Ready(Moved::SourceBroken)) || self.up.stage == Stage::Deaf;
        failed || (self.down.stage == Stage::Ending && self.down.bytes == 0 && self.down.pending.is_none())
    }

    /// Whether the session is over.
    fn judge(&self, up: &Poll<Moved>, down: &Poll<Moved>) -> Option<Outcome> {
        if self.up.is_ended() && self.down.is_ended() {
            return Some(Outcome::Completed);
        }
        if matches!(up, Poll::Ready(Moved::SourceBroken)) {
            return Some(Outcome::VisitorGone);
        }
        if matches!(down, Poll::Ready(Moved::SourceBroken)) {
            return Some(Outcome::UpstreamBroken);
        }
        // Whoever takes nothing any more may still have something to say; that is heard to its end.
        match (self.up.stage, self.down.stage) {
            (_, Stage::Deaf) => Some(Outcome::VisitorGone),
            (Stage::Deaf, Stage::Ended) if self.down.bytes > 0 => Some(Outcome::UpstreamLeft),
            (Stage::Deaf, Stage::Ended) => Some(Outcome::UpstreamBroken),
            _ => None,
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            let half_closed = self.up.stage != Stage::Open || self.down.stage != Stage::Open;
            let over = half_closed.then(|| self.last_byte + self.half_closed_timeout);
            let blocked = self.up.pending.is_some() || self.down.pending.is_some();
            let look = blocked.then_some(self.look_at);
            let due = [over, look].into_iter().flatten().min();
            ready!(self.timer.poll(cx, due));
            let now = time::now();
            if over.is_some_and(|over| now >= over) {
                return Poll::Ready(Outcome::HalfClosedTimeout);
            }
            if now >= self.look_at {
                self.look_at = now + LOOK_INTERVAL;
                // A side whose bytes wait is not read, so a reset there would go unnoticed.
                if self.up.pending.is_some() && self.visitor.is_broken() {
                    return Poll::Ready(Outcome::VisitorGone);
                }
                if self.down.pending.is_some() && self.upstream.is_broken() {
                    return Poll::Ready(Outcome::UpstreamBroken);
                }
            }
        }
    }
}
