//! Many streams over one connection: the books. Pure: it is told the time and sees frames, never a socket.
//!
//! The server opens streams, the client accepts them. A stream begins with START, is answered, carries bytes both
//! ways within the windows of its receivers, and is over when the server has said FIN and the client FINISHED, or
//! when either has said RESET. Frames of one stream keep their order; between streams the [`lanes`] decide.
//!
//! Commands come from those who hold streams ([`reserve`](Mux::reserve), [`start`](Mux::start),
//! [`queue_message`](Mux::queue_message), [`queue_data`](Mux::queue_data), [`take`](Mux::take),
//! [`handle_consumed`](Mux::handle_consumed), [`reset`](Mux::reset), [`release`](Mux::release)), frames from the
//! link (`handle_head`, `handle_body`). [`poll_transmit`](Mux::poll_transmit) yields what goes out,
//! [`poll_event`](Mux::poll_event) whom to wake, [`poll_timeout`](Mux::poll_timeout) when to call
//! [`handle_timeout`](Mux::handle_timeout).

#[cfg(any(test, fuzzing, feature = "mutants"))]
mod audits;
pub mod batch;
mod commands;
mod counts;
pub mod flow;
mod frames;
pub mod lanes;
mod limits;
mod stream;
#[cfg(test)]
mod tests;
mod transmit;
mod trip;

use std::collections::{BTreeMap, VecDeque};

use self::{
    flow::{BUDGET, Budget, WINDOW},
    lanes::Lanes,
    limits::Bucket,
    stream::{Progress, Stream},
    trip::Trip,
};
use crate::{
    id::StreamId,
    probe::{audit, mutant},
    time::{Duration, Instant},
    wire::frame::kind,
};

pub use self::{counts::Counts, frames::Violation, stream::Taken};

/// Bytes of one stream that may wait to be sent; then its writer waits.
pub const OUT_LEN_MAX: usize = 64 * 1024;

/// Streams that may have been opened and not answered. More lets a peer that opens and forgets cost memory; fewer
/// makes a burst of visitors wait for a round trip.
pub const UNANSWERED_MAX: usize = 256;

/// Streams opened a second, and streams reset a second, that the server keeps to. The client bears twice as many.
const OPENS_PER_SECOND: u32 = 20_000;
const RESETS_PER_SECOND: u32 = 10_000;

/// Frames without any meaning (DATA of no bytes, credit of none) that are borne at once, and a second.
const EMPTIES: u32 = 100;
const EMPTIES_PER_SECOND: u32 = 10;

/// Answers to PING that may wait. A peer that asks more often gets fewer answers.
const PONGS_MAX: usize = 16;

/// How long a stream must be silent before it gives back credit it does not need.
const IDLE: Duration = Duration::from_secs(10);

/// Which end of the link this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The server: opens streams.
    Opener,
    /// The client: accepts them.
    Acceptor,
}

impl Side {
    /// The kind of the last frame that this side says on a stream that ends well.
    fn last(self) -> u8 {
        match self {
            Self::Opener => kind::FIN,
            Self::Acceptor => kind::FINISHED,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Opener => Self::Acceptor,
            Self::Acceptor => Self::Opener,
        }
    }
}

/// How a link carries streams. Both ends must be told the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes each stream may have under way to begin with. Default 64 KiB.
    pub window: u32,
    /// What windows may have above that, together, in bytes. Default 32 MiB.
    pub budget: u64,
    /// Streams at once. Default 1,024.
    pub streams_max: usize,
    /// Ids up to which streams are opened; then the link is replaced. Default 2^30.
    pub ids_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            window: WINDOW as u32,
            budget: BUDGET,
            streams_max: 1024,
            ids_max: 1 << 30,
        }
    }
}

/// Why no stream is opened now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It carries as many as it may.
    #[error("the link carries as many streams as it may")]
    Full,
    /// Too many wait for an answer, or were opened or reset in this second.
    #[error("too many streams were opened or reset just now")]
    Busy,
    /// It opens no more: it ran out of ids, or one end is leaving.
    #[error("the link opens no more streams")]
    Leaving,
}

/// Someone to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is something to read for a reader that waited.
    Readable(StreamId),
    /// There is room for a writer that waited.
    Writable(StreamId),
}

/// A frame that goes before all streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Urgent {
    Ping(u32),
    Pong(u32),
    GoAway,
    Credit(StreamId),
    CreditBack(StreamId, u32),
    Refuse(StreamId),
}

/// What the body that is being received belongs to.
#[derive(Clone, Copy, Debug)]
enum Body {
    /// The bytes of a stream; `None` when nobody wants them any more.
    Data(Option<StreamId>),
    /// Credit, of which so many bytes have come.
    Credit {
        kind: u8,
        stream: StreamId,
        bytes: [u8; 4],
        len: usize,
    },
}

/// The books of one link.
#[derive(Debug)]
pub struct Mux {
    side: Side,
    options: Options,
    streams: BTreeMap<StreamId, Stream>,
    /// Opened streams have ids up to this one.
    last: u32,
    /// Places taken for streams that have not begun.
    reserved: usize,
    /// Places ever taken.
    places: u32,
    /// Streams begun and not answered.
    unanswered: usize,
    lanes: Lanes,
    urgent: VecDeque<Urgent>,
    pongs: usize,
    /// Bytes that wait to be sent, of all streams.
    queued: usize,
    budget: Budget,
    trip: Trip,
    opens: Bucket,
    resets: Bucket,
    empties: Bucket,
    body: Option<Body>,
    leaving: bool,
    peer_leaving: bool,
    sweep_at: Option<Instant>,
    /// Opened by the peer, and not yet handed out.
    opened: Vec<StreamId>,
    events: VecDeque<Event>,
    counts: Counts,
    /// How often its audits were asked for.
    #[cfg(any(test, fuzzing, feature = "mutants"))]
    checks: std::cell::Cell<u32>,
}

impl Mux {
    /// A link that carries nothing yet.
    pub fn new(now: Instant, side: Side, options: Options) -> Self {
        let streams_max = u32::try_from(options.streams_max).unwrap_or(u32::MAX / 4);
        // Whoever bears must bear what the other end keeps to, when all of its streams end at once besides.
        let (rate, burst) = match side {
            Side::Opener => (1, streams_max.max(UNANSWERED_MAX as u32)),
            Side::Acceptor => (2, streams_max.saturating_mul(2).saturating_add(4096)),
        };
        let mut trip = Trip::default();
        let asked = Urgent::Ping(trip.ask(now));
        Self {
            side,
            options,
            streams: BTreeMap::new(),
            last: 0,
            reserved: 0,
            places: 0,
            unanswered: 0,
            lanes: Lanes::default(),
            urgent: VecDeque::from([asked]),
            pongs: 0,
            queued: 0,
            budget: Budget::new(options.budget),
            trip,
            opens: Bucket::new(now, OPENS_PER_SECOND * rate, burst),
            resets: Bucket::new(now, RESETS_PER_SECOND * rate, burst),
            empties: Bucket::new(now, EMPTIES_PER_SECOND, EMPTIES),
            body: None,
            leaving: false,
            peer_leaving: false,
            sweep_at: None,
            opened: Vec::new(),
            events: VecDeque::new(),
            counts: Counts::default(),
            #[cfg(any(test, fuzzing, feature = "mutants"))]
            checks: std::cell::Cell::default(),
        }
    }

    /// Whether nothing more will be opened, by either end.
    pub fn is_leaving(&self) -> bool {
        self.leaving || self.peer_leaving
    }

    /// Whether one end is leaving, and nothing is left. Only who opens streams can know: one may be under way.
    pub fn is_over(&self) -> bool {
        self.side == Side::Opener
            && self.is_leaving()
            && (self.streams.is_empty() || mutant!("leaving-link-ends-at-once"))
            && self.reserved == 0
            && self.urgent.is_empty()
    }

    /// Whether the peer, who says nothing more, has cut nothing short: one end is leaving, and of what is carried nothing goes
    /// on. Whoever uses a stream may not have noticed yet that it has ended.
    pub fn is_left(&self) -> bool {
        self.is_leaving() && self.reserved == 0 && self.streams.values().all(Stream::is_over)
    }

    /// Streams that it carries, and places taken.
    pub fn streams(&self) -> usize {
        self.streams.len() + self.reserved
    }

    /// Streams that it carries at most.
    pub fn streams_max(&self) -> usize {
        self.options.streams_max
    }

    /// Bytes that wait to be sent, of all streams.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// What windows have above their bases, in bytes.
    pub fn promised(&self) -> u64 {
        self.budget.used()
    }

    /// The round trip of the link, as far as known.
    pub fn trip(&self) -> Duration {
        self.trip.estimate()
    }

    /// What was counted since this was asked last.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// The link's socket took no more.
    pub fn handle_blocked(&mut self) {
        self.counts.stalls.socket += 1;
    }

    /// Asks whether the peer is there.
    pub fn ping(&mut self, now: Instant) {
        let token = self.trip.ask(now);
        self.urgent.push_back(Urgent::Ping(token));
    }

    /// Streams that the peer has opened since this was asked last; the START of each waits to be read.
    pub fn take_opened(&mut self) -> Vec<StreamId> {
        std::mem::take(&mut self.opened)
    }

    /// The next to be told.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` while nothing is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sweep_at
    }

    /// Has idle streams give back credit they do not need.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.sweep_at.is_none_or(|due| now < due) {
            return;
        }
        let mut wide = false;
        for (id, stream) in &mut self.streams {
            let open = !stream.reset && stream.saying == Progress::Open;
            if !open {
                continue;
            }
            if let Some(back) = stream.outflow.give_back(now, IDLE) {
                self.urgent.push_back(Urgent::CreditBack(*id, back as u32));
            }
            wide |= stream.outflow.is_wide();
        }
        let again = wide && !mutant!("idle-streams-swept-once");
        self.sweep_at = again.then(|| now + IDLE);
        self.check();
    }

    /// The sentences this core believes at every moment, as far as they cost little.
    fn check(&self) {
        audit!(
            self.unanswered <= self.streams.len(),
            "only streams that are there can wait for an answer"
        );
        audit!(
            self.lanes.len() <= self.streams.len(),
            "a stream stands in one lane, once"
        );
        #[cfg(any(test, fuzzing, feature = "mutants"))]
        if self.is_time_to_check() {
            self.check_all();
        }
    }
}

/// Whether a message answers START.
fn is_answer(message_kind: u8) -> bool {
    matches!(message_kind, kind::ACCEPTED | kind::STARTED | kind::REFUSED)
}
