//! Moves the bytes of one session between a raw stream and a framed one, as its core says.
//!
//! One task, two directions, no locks, no message per chunk. A buffer is held only while a direction is
//! blocked half-way; an idle session holds none.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::sync::oneshot;

use super::{
    core::{Action, Core, Fate},
    raw::RawStream,
};
use crate::{
    link::{buffer::CHUNK_LEN, carrier::Carrier, framed::Input},
    metrics::Meter,
    probe::{mutant, sometimes},
    time::{self, Duration, Instant, Timer},
    wire::message::ResetCode,
};

/// Chunks moved before other tasks get a turn. More starves neighbours; fewer costs wake-ups.
const TURNS_MAX: usize = 32;

/// Bytes moved before other tasks get a turn. More makes those who have little to say wait behind those who have much;
/// fewer costs wake-ups.
const TURN_LEN_MAX: u64 = 256 * 1024;

/// Between two looks at a raw side that is not read. Longer notices its reset later; shorter costs a system
/// call each time the stream is full.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Why a relay returned.
pub enum Stopped {
    /// The session is over; the raw side has been closed or reset, unless it was released before.
    Ended(Fate),
    /// The raw side is handed back unharmed; call again, without it, until the session is over.
    Released(RawStream),
}

/// The raw side's condition.
enum Raw {
    Whole(RawStream),
    /// Writing failed; what it still has to say is read before the failure is told.
    Deaf(RawStream),
    Gone,
}

impl Raw {
    fn stream(&mut self) -> Option<&mut RawStream> {
        match self {
            Self::Whole(stream) | Self::Deaf(stream) => Some(stream),
            Self::Gone => None,
        }
    }

    fn take(&mut self) -> Option<RawStream> {
        match std::mem::replace(self, Self::Gone) {
            Self::Whole(stream) | Self::Deaf(stream) => Some(stream),
            Self::Gone => None,
        }
    }
}

/// One side of one session, moving.
pub struct Relay<'a, C: Core> {
    core: &'a mut C,
    carrier: &'a mut Carrier,
    raw: Raw,
    timer: &'a mut Timer,
    abort: Option<oneshot::Receiver<ResetCode>>,
    shutting_down: bool,
    /// When a raw side that is not read is looked at again.
    look_at: Instant,
    /// The stream broke; what is still queued on it will never go out.
    lost: bool,
    /// The stream has not taken everything at once.
    held_up: bool,
    meter: Option<Meter>,
}

impl<'a, C: Core> Relay<'a, C> {
    /// Joins `raw` (or nothing, when there is only the stream to tidy up) and `carrier` under `core`.
    pub fn new(
        core: &'a mut C,
        carrier: &'a mut Carrier,
        raw: Option<RawStream>,
        timer: &'a mut Timer,
        abort: Option<oneshot::Receiver<ResetCode>>,
    ) -> Self {
        let raw = raw.map_or(Raw::Gone, Raw::Whole);
        Self {
            core,
            carrier,
            raw,
            timer,
            abort,
            shutting_down: false,
            look_at: time::now() + LOOK_INTERVAL,
            lost: false,
            held_up: false,
            meter: None,
        }
    }

    /// Counts on `meter` what moves from now on.
    pub fn counting(mut self, mut meter: Meter) -> Self {
        meter.begin(self.core.bytes());
        self.meter = Some(meter);
        self
    }

    /// The core, as it stands.
    pub fn core(&self) -> &C {
        self.core
    }

    /// The core, to tell it of what happened elsewhere. What it asks for is done at the next poll.
    pub fn core_mut(&mut self) -> &mut C {
        self.core
    }

    /// Moves what can be moved. Cancel safe between polls; dropping it resets the raw side.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Stopped> {
        let polled = self.poll_turns(cx);
        if let Some(meter) = &mut self.meter {
            meter.tell(self.core.bytes());
        }
        polled
    }

    fn poll_turns(&mut self, cx: &mut Context<'_>) -> Poll<Stopped> {
        let now = time::now();
        let enough = self.moved() + TURN_LEN_MAX;
        for _ in 0..TURNS_MAX {
            if self.moved() >= enough {
                break;
            }
            let mut moved = self.poll_abort(cx, now);
            if let Some(released) = self.perform() {
                return Poll::Ready(Stopped::Released(released));
            }
            if self.poll_flush(cx, now) {
                // The core has an opinion on a stream that just broke: it may want the raw side back.
                continue;
            }
            match self.core.fate() {
                Some(fate) if fate == Fate::Dead || self.carrier.is_flushed() => {
                    return Poll::Ready(Stopped::Ended(fate));
                }
                Some(_) if self.lost => return Poll::Ready(Stopped::Ended(Fate::Dead)),
                _ => {}
            }
            moved |= self.poll_shut_down(cx, now);
            moved |= self.poll_raw(cx, now);
            moved |= self.poll_stream(cx, now);
            moved |= self.poll_timer(cx, now);
            if !moved {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn moved(&self) -> u64 {
        let (there, back) = self.core.bytes();
        there + back
    }

    /// Moves everything to the end of the session. For a side that hands nothing back.
    pub async fn finish(mut self) -> Fate {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    /// The same, as far as it gets now. Cancel safe between polls.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Fate> {
        self.poll(cx).map(|stopped| match stopped {
            Stopped::Ended(fate) => fate,
            Stopped::Released(_) => Fate::Dead,
        })
    }

    /// Does what the core asks; returns the raw side when it is to be handed back.
    fn perform(&mut self) -> Option<RawStream> {
        let ordinal = self.core.ordinal().value();
        let mut released = None;
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Send(message) => self.carrier.queue(ordinal, &message),
                Action::SendKept(bytes) => {
                    self.carrier.queue_data(ordinal, &bytes);
                    if mutant!("replay-sends-first-bytes-twice") {
                        self.carrier.queue_data(ordinal, &bytes);
                    }
                }
                Action::ShutDownRaw => self.shutting_down = true,
                Action::CloseRaw => {
                    if let Some(stream) = self.raw.take() {
                        stream.close();
                    }
                }
                Action::ResetRaw => drop(self.raw.take()),
                Action::ReleaseRaw => released = self.raw.take(),
            }
        }
        released
    }

    fn poll_abort(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(abort) = &mut self.abort else {
            return false;
        };
        let Poll::Ready(order) = Pin::new(abort).poll(cx) else {
            return false;
        };
        self.abort = None;
        if let Ok(code) = order {
            self.core.handle_abort(now, code);
        }
        true
    }

    /// Reports whether the stream turned out to be broken.
    fn poll_flush(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.lost {
            return false;
        }
        let flushed = self.carrier.poll_flush(cx);
        let was_held_up = std::mem::replace(&mut self.held_up, flushed.is_pending());
        match flushed {
            Poll::Ready(Err(_)) => self.lose_stream(now),
            Poll::Ready(Ok(())) if was_held_up => self.core.handle_sent(now),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        self.lost
    }

    /// The stream is broken; a core that is through with its session no longer cares, the relay does.
    fn lose_stream(&mut self, now: Instant) {
        self.lost = true;
        if self.core.fate().is_none() {
            self.core.handle_stream_broken(now);
        }
    }

    fn poll_shut_down(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if !self.shutting_down {
            return false;
        }
        let result = match &mut self.raw {
            Raw::Whole(_) if mutant!("relay-drops-half-close") => Poll::Ready(Ok(())),
            Raw::Whole(stream) => stream.pin().poll_shutdown(cx),
            Raw::Deaf(_) => return false,
            Raw::Gone => Poll::Ready(Ok(())),
        };
        let Poll::Ready(result) = result else {
            return false;
        };
        self.shutting_down = false;
        match result {
            Ok(()) => self.core.handle_raw_shut_down(now),
            // The peer closed both directions first: everything was written, nobody is left to be told.
            Err(error) if error.kind() == std::io::ErrorKind::NotConnected && self.core.raw_room() == 0 => {
                self.core.handle_raw_shut_down(now);
            }
            Err(_) => self.lose_raw_writing(now),
        }
        true
    }

    /// raw -> stream. Reads only when the stream has taken everything before.
    fn poll_raw(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if !self.carrier.is_flushed() {
            return self.look_at_raw(now);
        }
        let room = self.core.raw_room().min(CHUNK_LEN);
        let Some(stream) = self.raw.stream().filter(|_| room > 0) else {
            return false;
        };
        match self.carrier.poll_fill(cx, stream.pin(), room) {
            Poll::Ready(Ok(n)) if n > 0 => {
                let n =
                    n - usize::from(n == room && n > 1 && mutant!("relay-loses-byte-when-read-fills-room"));
                self.core.handle_raw_bytes(now, &self.carrier.filled()[..n]);
                self.carrier.send_filled(self.core.ordinal().value(), n);
            }
            Poll::Ready(Ok(_)) if matches!(self.raw, Raw::Whole(_)) => self.core.handle_raw_fin(now),
            Poll::Ready(_) if mutant!("relay-takes-reset-for-end") => self.core.handle_raw_fin(now),
            Poll::Ready(_) => self.core.handle_raw_broken(now),
            Poll::Pending => return false,
        }
        true
    }

    /// While the stream takes nothing, nothing is read from the raw side either, so a reset there would go
    /// unnoticed for as long as that lasts.
    fn look_at_raw(&mut self, now: Instant) -> bool {
        if now < self.look_at {
            return false;
        }
        self.look_at = now + LOOK_INTERVAL;
        let broken = matches!(&self.raw, Raw::Whole(stream) if stream.is_broken());
        sometimes!(broken, "held-up-side-was-reset");
        let broken = broken && !mutant!("reset-of-held-up-side-unnoticed");
        if broken {
            self.core.handle_raw_broken(now);
        }
        broken
    }

    /// stream -> raw. Reads only when the raw side has taken everything before.
    fn poll_stream(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.core.fate().is_some() {
            return !mutant!("ended-session-stops-reading") && self.poll_last_words(cx, now);
        }
        match self.carrier.poll_input(cx) {
            Poll::Pending => {
                self.carrier.handle_stalled(now, false);
                // Answers to PING may have been queued.
                self.poll_flush(cx, now)
            }
            Poll::Ready(Err(error)) => {
                if error.is_violation() {
                    self.core.handle_violation(now);
                } else {
                    self.core.handle_stream_broken(now);
                }
                true
            }
            Poll::Ready(Ok(Input::Head(head))) => {
                match head.message::<C::In>() {
                    Ok(Some(message)) => {
                        let prefix = head.prefix;
                        self.core
                            .handle_message(now, prefix.stream_id, message, prefix.body_len);
                    }
                    Ok(None) => {}
                    Err(_) => self.core.handle_violation(now),
                }
                true
            }
            Poll::Ready(Ok(Input::Body(n))) => self.poll_deliver(cx, now, n).is_ready(),
        }
    }

    /// The session is over, but its last frames wait for a peer that reads slowly. It is still read, or its signs
    /// of life would go unheard and its PINGs unanswered; it has nothing else to say before it has got them.
    fn poll_last_words(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.carrier.poll_input(cx).is_ready() {
            self.lost = true;
            return true;
        }
        self.carrier.handle_stalled(now, false);
        self.poll_flush(cx, now)
    }

    fn poll_deliver(&mut self, cx: &mut Context<'_>, now: Instant, n: usize) -> Poll<()> {
        let Raw::Whole(stream) = &mut self.raw else {
            self.carrier.consume_body(n);
            return Poll::Ready(());
        };
        let result = self.carrier.poll_write_body(cx, stream.pin(), n);
        self.carrier.handle_stalled(now, result.is_pending());
        sometimes!(result.is_pending(), "slow-reader-blocked-relay");
        if result.is_pending() && self.core.drops_what_is_held_up() && self.carrier.is_over(cx) {
            sometimes!("held-up-bytes-dropped");
            // An end that was said behind them would make what has arrived look whole.
            self.core.handle_stream_broken(now);
            return Poll::Ready(());
        }
        match ready!(result) {
            Ok(written) if written > 0 => {
                let again = written < n && written > 1 && mutant!("relay-repeats-byte-after-partial-write");
                self.carrier.consume_body(written - usize::from(again));
                self.core.handle_delivered(now, written);
            }
            _ => self.lose_raw_writing(now),
        }
        Poll::Ready(())
    }

    /// The raw side takes no more. What it said before it broke is still worth reading.
    fn lose_raw_writing(&mut self, now: Instant) {
        match self.raw.take() {
            Some(stream) if self.core.raw_room() > 0 => self.raw = Raw::Deaf(stream),
            stream => {
                self.raw = stream.map_or(Raw::Gone, Raw::Deaf);
                self.core.handle_raw_broken(now);
            }
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let look = (!self.carrier.is_flushed() && self.raw.stream().is_some()).then_some(self.look_at);
        let due = [self.core.poll_timeout(), self.carrier.poll_timeout(), look];
        if self.timer.poll(cx, due.into_iter().flatten().min()).is_pending() {
            return false;
        }
        if let Some(at) = self.carrier.sent_at() {
            self.core.handle_sent_at(at);
        }
        self.core.handle_timeout(now);
        if self.carrier.handle_timeout(now).is_err() {
            self.lose_stream(now);
        }
        true
    }
}
