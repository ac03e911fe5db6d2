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

pub mod batch;
mod counts;
pub mod flow;
mod frames;
pub mod lanes;
mod limits;
mod stream;
#[cfg(test)]
mod tests;
mod trip;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use self::{
    batch::Batch,
    flow::{BUDGET, Budget, WINDOW},
    lanes::{Lane, Lanes},
    limits::Bucket,
    stream::{Progress, Stream},
    trip::Trip,
};
use crate::{
    id::StreamId,
    probe::{mutant, sometimes},
    time::{Duration, Instant},
    wire::{
        frame::kind,
        message::{Message, Reset, ResetCode, ToServer, decode_map},
    },
};

pub use self::{counts::Counts, frames::Violation, stream::Taken};

/// Bytes of one stream that may wait to be sent; then its writer waits. What it had read by then is queued as well,
/// and is no more than the same again.
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
    /// A stream is no more, and the pump was not told.
    settled: bool,
    /// Opened by the peer, and not yet handed out.
    opened: Vec<StreamId>,
    events: VecDeque<Event>,
    counts: Counts,
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
            settled: false,
            opened: Vec::new(),
            events: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Takes a place for a stream that begins soon, and numbers it. Opener only.
    ///
    /// # Errors
    /// [`OpenError`]: why not now.
    pub fn reserve(&mut self, now: Instant) -> Result<u32, OpenError> {
        // A place that is taken needs an id.
        let ahead = u32::try_from(self.reserved + 1).unwrap_or(u32::MAX);
        let id = self.last.saturating_add(ahead.saturating_mul(2));
        let spent = id > self.options.ids_max;
        if spent {
            sometimes!(!self.leaving, "link-ran-out-of-ids");
            self.leave();
        }
        if self.leaving || self.peer_leaving {
            return Err(OpenError::Leaving);
        }
        if self.streams.len() + self.reserved >= self.options.streams_max {
            sometimes!("link-full-of-streams");
            return Err(OpenError::Full);
        }
        if self.unanswered + self.reserved >= UNANSWERED_MAX || !self.resets.has(now) || !self.opens.take(now)
        {
            sometimes!("too-many-streams-unanswered");
            return Err(OpenError::Busy);
        }
        self.reserved += 1;
        self.places = self.places.wrapping_add(1);
        self.check();
        Ok(self.places)
    }

    /// Gives a place back that was not used.
    pub fn cancel(&mut self) {
        self.reserved -= 1;
        self.settled = true;
        self.check();
    }

    /// Begins a stream in a place that was taken: START, with this header, goes out in the order of these calls.
    pub fn start(&mut self, now: Instant, header: Vec<u8>) -> StreamId {
        self.reserved -= 1;
        self.unanswered += 1;
        // Ids are odd, and grow by two; 0 is the link itself.
        let step = match self.last {
            0 => 1,
            _ if self.last > 1 && mutant!("stream-id-used-twice") => 0,
            _ => 2,
        };
        self.last += step;
        let id = StreamId::new(self.last);
        let mut stream = Stream::new(now, self.options.window.into());
        stream.push_message(kind::START, header);
        self.streams.insert(id, stream);
        self.counts.opened += 1;
        self.enroll(id);
        self.check();
        id
    }

    /// Queues a message of a stream, behind everything it said before. A RESET ends it.
    pub fn queue_message<M: Message>(&mut self, now: Instant, id: StreamId, message: &M) {
        let message_kind = message.kind();
        let mut header = Vec::new();
        message.encode_header(&mut header);
        if message_kind == kind::RESET {
            let code = decode_map(kind::RESET, &header)
                .map_or(ResetCode::Protocol, |reset: Reset| ResetCode::from(reset.code));
            self.reset(now, id, code);
            return;
        }
        let last = self.side.last();
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.reset) else {
            return;
        };
        if message_kind == last {
            assert!(
                stream.saying < Progress::Done,
                "nothing is said after the last frame"
            );
            stream.saying = Progress::Done;
        } else if message_kind == kind::FIN {
            assert!(stream.saying == Progress::Open, "FIN is said once");
            stream.saying = Progress::Fin;
        }
        if is_answer(message_kind) && !std::mem::replace(&mut stream.answered, true) {
            self.unanswered -= 1;
        }
        stream.push_message(message_kind, header);
        self.enroll(id);
        self.check();
    }

    /// Queues bytes of a stream; returns whether more may follow at once.
    pub fn queue_data(&mut self, id: StreamId, bytes: Bytes) -> bool {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.reset) else {
            return true;
        };
        self.queued += bytes.len();
        stream.push_data(bytes);
        let room = stream.out_len() < OUT_LEN_MAX;
        if !stream.can_send() && !std::mem::replace(&mut stream.starved, true) {
            self.counts.stalls.credit += 1;
        }
        self.enroll(id);
        self.check();
        room
    }

    /// How many bytes of a stream may be queued now. At none, its writer is told when there is room.
    pub fn room(&mut self, id: StreamId) -> usize {
        let Some(stream) = self.streams.get_mut(&id) else {
            return OUT_LEN_MAX;
        };
        let room = OUT_LEN_MAX.saturating_sub(stream.out_len());
        if room == 0 && !std::mem::replace(&mut stream.writer_waits, true) {
            self.counts.stalls.queue += 1;
        }
        room
    }

    /// Takes what has come for a stream: a message, or bytes, which are appended to `pieces`.
    pub fn take(&mut self, id: StreamId, pieces: &mut VecDeque<Bytes>) -> Taken {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Taken::Over { violated: false };
        };
        let taken = stream.take(pieces);
        if taken != Taken::Nothing {
            return taken;
        }
        if stream.reset {
            let violated = stream.violated;
            return Taken::Over { violated };
        }
        stream.reader_waits = true;
        taken
    }

    /// The reader of a stream has handed so many bytes on.
    pub fn handle_consumed(&mut self, now: Instant, id: StreamId, bytes: usize) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let trip = self.trip.estimate();
        let granted = stream
            .inflow
            .handle_consumed(now, bytes as u64, trip, &mut self.budget);
        // Nobody needs credit for a direction that has ended.
        if stream.reset || stream.hearing > Progress::Open {
            return;
        }
        if let Some(granted) = granted {
            if stream.grant == 0 {
                self.urgent.push_back(Urgent::Credit(id));
            }
            stream.grant += granted;
            if let Some(token) = self.trip.ask_again(now) {
                self.urgent.push_back(Urgent::Ping(token));
            }
        }
        self.check();
    }

    /// Ends a stream at once. What it has queued and has credit for is still sent.
    pub fn reset(&mut self, now: Instant, id: StreamId, code: ResetCode) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.reset) else {
            return;
        };
        stream.reset = true;
        stream.clear_inbox();
        let queued = stream.out_len();
        if stream.begun {
            stream.cut_outbox();
            // Its peer is through with a stream that has said its last both ways.
            if stream.saying < Progress::Done || stream.hearing < Progress::Done {
                let reset = ToServer::Reset(Reset { code: code.code() });
                let mut header = Vec::new();
                reset.encode_header(&mut header);
                if !mutant!("reset-of-stream-never-sent") {
                    stream.push_message(kind::RESET, header);
                }
                self.resets.take(now);
            }
        } else {
            // Nothing of it has gone out: the peer need not know.
            sometimes!("stream-reset-before-it-began");
            stream.clear_outbox();
        }
        stream.saying = Progress::Done;
        self.queued -= queued - stream.out_len();
        self.forget_answer(id);
        self.counts.resets.push(code.label());
        self.wake_both(id);
        self.enroll(id);
        self.settle(id);
        self.check();
    }

    /// Nobody holds the stream any more. One that is not at its end is reset.
    pub fn release(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.released = true;
        stream.clear_inbox();
        let ended = stream.saying == Progress::Done && stream.hearing == Progress::Done;
        if !ended && !mutant!("dropped-stream-left-open") {
            self.reset(now, id, ResetCode::Shutdown);
        }
        self.settle(id);
        self.check();
    }

    /// Opens nothing more, and tells the peer. Streams that are there go on to their end.
    pub fn leave(&mut self) {
        if !std::mem::replace(&mut self.leaving, true) {
            self.urgent.push_back(Urgent::GoAway);
        }
    }

    /// Whether nothing more will be opened, by either end.
    pub fn is_leaving(&self) -> bool {
        self.leaving || self.peer_leaving
    }

    /// Whether one end is leaving, and nothing is left.
    pub fn is_over(&self) -> bool {
        self.is_leaving() && self.streams.is_empty() && self.reserved == 0 && self.urgent.is_empty()
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

    /// Whether a stream has gone since this was asked last: the link may be over.
    pub fn take_settled(&mut self) -> bool {
        std::mem::take(&mut self.settled)
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
        self.sweep_at = wide.then(|| now + IDLE);
        self.check();
    }

    /// Whether [`poll_transmit`](Self::poll_transmit) has anything to say.
    pub fn has_frames(&self) -> bool {
        !self.urgent.is_empty() || !self.lanes.is_empty()
    }

    /// Fills `batch` with frames, the most urgent first.
    pub fn poll_transmit(&mut self, now: Instant, batch: &mut Batch) {
        while !batch.is_full() {
            if let Some(urgent) = self.urgent.pop_front() {
                self.send_urgent(urgent, batch);
                continue;
            }
            let Some((id, quantum)) = self.lanes.pop() else {
                break;
            };
            let lane = Lane::of(self.sent(id));
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            stream.enrolled = false;
            let sent = stream.send(now, id.value(), quantum, batch);
            self.queued -= sent as usize;
            self.counts.sent(lane, sent);
            let starved = !stream.is_flushed() && !stream.can_send();
            if starved && !std::mem::replace(&mut stream.starved, true) {
                sometimes!("stream-out-of-credit");
                self.counts.stalls.credit += 1;
            }
            let room = stream.out_len() <= OUT_LEN_MAX / 2;
            if room && std::mem::take(&mut stream.writer_waits) && !mutant!("waiting-writer-never-told") {
                self.events.push_back(Event::Writable(id));
            }
            self.enroll(id);
            self.settle(id);
        }
        self.check();
    }

    fn send_urgent(&mut self, urgent: Urgent, batch: &mut Batch) {
        let before = batch.len();
        match urgent {
            Urgent::Ping(token) => batch.push_message(kind::PING, token, &[]),
            Urgent::Pong(token) => {
                self.pongs -= 1;
                batch.push_message(kind::PONG, token, &[]);
            }
            Urgent::GoAway => batch.push_message(kind::GO_AWAY, 0, &frames::go_away()),
            Urgent::Refuse(id) => frames::refuse(id, batch),
            Urgent::CreditBack(id, back) => batch.push_credit(kind::WINDOW_RETURN, id.value(), back),
            Urgent::Credit(id) => {
                // A stream that is no more needs none.
                if let Some(stream) = self.streams.get_mut(&id)
                    && let Ok(grant) = u32::try_from(std::mem::take(&mut stream.grant))
                {
                    batch.push_credit(kind::WINDOW, id.value(), grant);
                }
            }
        }
        self.counts.control += (batch.len() - before) as u64;
    }

    fn sent(&self, id: StreamId) -> u64 {
        self.streams.get(&id).map_or(0, |stream| stream.sent)
    }

    /// Puts a stream that can send in its lane, unless it stands there.
    fn enroll(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.can_send()
            && !std::mem::replace(&mut stream.enrolled, true)
        {
            self.lanes.push(Lane::of(stream.sent), id);
        }
    }

    /// Forgets a stream that is over and that nobody holds.
    fn settle(&mut self, id: StreamId) {
        let over = |stream: &mut Stream| stream.released && stream.is_over();
        let Some(mut stream) = self
            .streams
            .get_mut(&id)
            .is_some_and(over)
            .then(|| self.streams.remove(&id))
            .flatten()
        else {
            return;
        };
        if stream.enrolled {
            self.lanes.remove(id);
        }
        if !stream.answered {
            self.unanswered -= 1;
        }
        stream.inflow.close(&mut self.budget);
        self.settled = true;
    }

    /// A stream that was reset waits for no answer.
    fn forget_answer(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !std::mem::replace(&mut stream.answered, true)
        {
            self.unanswered -= 1;
        }
    }

    fn wake_both(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if std::mem::take(&mut stream.reader_waits) {
            self.events.push_back(Event::Readable(id));
        }
        if std::mem::take(&mut stream.writer_waits) {
            self.events.push_back(Event::Writable(id));
        }
    }

    /// The sentences this core believes at every moment, as far as they cost little.
    fn check(&self) {
        debug_assert!(
            self.unanswered <= self.streams.len(),
            "only streams that are there can wait for an answer"
        );
        debug_assert!(
            self.lanes.len() <= self.streams.len(),
            "a stream stands in one lane, once"
        );
        #[cfg(any(test, feature = "mutants"))]
        self.check_all();
    }

    /// All of them: for tests and the simulator.
    #[cfg(any(test, feature = "mutants"))]
    pub fn check_all(&self) {
        let streams = self.streams.values();
        assert_eq!(
            streams.clone().map(Stream::out_len).sum::<usize>(),
            self.queued,
            "what is queued is what the streams have queued"
        );
        assert_eq!(
            streams.clone().filter(|stream| !stream.answered).count(),
            self.unanswered,
            "who waits for an answer is counted"
        );
        assert_eq!(
            streams.clone().filter(|stream| stream.enrolled).count(),
            self.lanes.len(),
            "who stands in a lane is marked"
        );
        assert_eq!(
            streams.clone().map(|stream| stream.inflow.window()).sum::<u64>(),
            self.budget.used() + u64::from(self.options.window) * self.streams.len() as u64,
            "what windows have above their bases is taken from the budget"
        );
        for stream in streams {
            stream.inflow.check();
            assert!(
                stream.enrolled || !stream.can_send(),
                "a stream that could send waits for its turn"
            );
            assert!(
                stream.out_len() < 2 * OUT_LEN_MAX,
                "a queue is no longer than it may be, and what its writer had read by then"
            );
        }
    }
}

/// Whether a message answers START.
fn is_answer(message_kind: u8) -> bool {
    matches!(message_kind, kind::ACCEPTED | kind::STARTED | kind::REFUSED)
}
