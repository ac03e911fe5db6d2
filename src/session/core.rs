//! What the two sides of a session have in common: the interface between a pure core and the relay that
//! moves its bytes.
//!
//! "Raw" is the side without frames: the visitor's socket at the server, the upstream's at the client.
//! "Stream" is the framed connection between server and client. A core never sees bytes, only lengths,
//! except for a visitor's first bytes, which it keeps for replay.

use crate::{
    id::Ordinal,
    probe::{mutant, sometimes},
    time::{Duration, Instant},
    wire::message::{Message, ResetCode},
};

/// One side of one session on one stream, as a state machine.
///
/// `handle_*` feed it, [`poll_action`](Self::poll_action) is drained after each feeding,
/// [`poll_timeout`](Self::poll_timeout) says when to call [`handle_timeout`](Self::handle_timeout).
pub trait Core: Send {
    /// Messages that come in on the stream.
    type In: Message;
    /// Messages that go out on the stream.
    type Out: Message;

    /// The stream id of every frame of this session.
    fn ordinal(&self) -> Ordinal;
    /// How many raw bytes may be read now; 0 means: do not read.
    fn raw_room(&mut self) -> usize;
    /// Raw bytes were read; the relay forwards them as DATA.
    fn handle_raw_bytes(&mut self, now: Instant, bytes: &[u8]);
    /// The raw side ended its direction.
    fn handle_raw_fin(&mut self, now: Instant);
    /// The raw side reset, or failed.
    fn handle_raw_broken(&mut self, now: Instant);
    /// A frame came in; `body_len` bytes of body follow it.
    fn handle_message(&mut self, now: Instant, stream_id: u32, message: Self::In, body_len: u32);
    /// So many bytes of body were written to the raw side.
    fn handle_delivered(&mut self, now: Instant, bytes: usize);
    /// Everything before FIN was written to the raw side, and its writing direction is ended.
    fn handle_raw_shut_down(&mut self, now: Instant);
    /// Whether bytes that the raw side does not take are dropped once the stream was reset.
    fn drops_what_is_held_up(&self) -> bool {
        false
    }
    /// Frames that the stream had not taken at once have gone out: its peer takes bytes.
    fn handle_sent(&mut self, _now: Instant) {}
    /// Bytes that had waited to be sent went out at `at`, before now.
    fn handle_sent_at(&mut self, at: Instant);
    /// The stream closed, failed, fell silent, or carried something that is no frame.
    fn handle_stream_broken(&mut self, now: Instant);
    /// The peer said something that has no place here: nothing on this stream can be trusted any more.
    fn handle_violation(&mut self, now: Instant);
    /// Whether that happened.
    fn is_violated(&self) -> bool;
    /// Someone with authority ends the session.
    fn handle_abort(&mut self, now: Instant, code: ResetCode);
    /// A deadline may have come.
    fn handle_timeout(&mut self, now: Instant);
    /// The next thing to do.
    fn poll_action(&mut self) -> Option<Action<Self::Out>>;
    /// When to call [`handle_timeout`](Self::handle_timeout); `None` while nothing is due.
    fn poll_timeout(&self) -> Option<Instant>;
    /// What becomes of the stream, once this session is through with it.
    fn fate(&self) -> Option<Fate>;
    /// Bytes read from the raw side and written to it so far.
    fn bytes(&self) -> (u64, u64);
}

/// What a relay does for its core, in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Action<M> {
    /// Send this message on the stream.
    Send(M),
    /// Send these kept bytes as DATA.
    SendKept(Vec<u8>),
    /// End the raw side's writing direction, then tell the core.
    ShutDownRaw,
    /// Close the raw side; both of its directions have ended.
    CloseRaw,
    /// End the raw side so that it sees a reset.
    ResetRaw,
    /// Hand the raw side back unharmed; it will be tried on another stream.
    ReleaseRaw,
}

/// What becomes of a stream after a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Both sides agree that the session is over: it may carry the next one.
    Reusable,
    /// Close it.
    Dead,
}

/// How far a session had come when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Come {
    /// A client said that it serves the visitor.
    pub served: bool,
    /// The upstream had said something and ended its direction: its answer is whole.
    pub answered: bool,
}

/// The books of an open session: who has ended which direction, and how much went through.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// FIN was sent on the stream.
    pub fin_sent: bool,
    /// FIN was received on the stream.
    pub fin_received: bool,
    /// All that came before the received FIN is out on the raw side.
    pub shut_down: bool,
    /// Raw bytes read.
    pub raw_in: u64,
    /// Raw bytes written.
    pub raw_out: u64,
    last_byte: Instant,
}

impl Flow {
    /// Nothing moved yet.
    pub fn new(now: Instant) -> Self {
        Self {
            fin_sent: false,
            fin_received: false,
            shut_down: false,
            raw_in: 0,
            raw_out: 0,
            last_byte: now,
        }
    }

    /// Counts raw bytes read.
    pub fn count_in(&mut self, now: Instant, bytes: usize) {
        self.raw_in += bytes as u64;
        if !mutant!("half-closed-deadline-ignores-what-is-read") {
            self.last_byte = now;
        }
    }

    /// Counts raw bytes written.
    pub fn count_out(&mut self, now: Instant, bytes: usize) {
        self.raw_out += bytes as u64;
        if !mutant!("half-closed-deadline-ignores-what-is-written") {
            self.last_byte = now;
        }
    }

    /// When a session with one ended direction has been without a byte for `limit`.
    pub fn half_closed_deadline(&self, limit: Duration) -> Option<Instant> {
        let mut half_closed = self.fin_sent || self.fin_received;
        if half_closed && mutant!("half-closed-deadline-waits-for-both-ends") {
            half_closed = self.fin_sent && self.fin_received;
        }
        if half_closed && mutant!("half-closed-deadline-never-comes") {
            return None;
        }
        half_closed |= !half_closed && mutant!("open-session-has-half-closed-deadline");
        half_closed.then(|| self.last_byte + limit)
    }

    /// Bytes that were read before went on at `at`. They move, although nothing is read or written meanwhile.
    pub fn note_sent(&mut self, at: Instant) {
        sometimes!(at > self.last_byte && self.fin_sent, "half-closed-bytes-moved-on");
        if !mutant!("half-closed-deadline-ignores-what-waits") {
            self.last_byte = self.last_byte.max(at);
        }
    }

    /// A direction has just ended: the wait for the other begins here.
    pub fn touch(&mut self, now: Instant) {
        self.last_byte = now;
    }

    /// The rules that hold at every moment.
    pub fn check(&self) {
        assert!(
            !self.shut_down || self.fin_received,
            "the raw side is ended only after FIN was received"
        );
    }
}
