//! One stream as the link's core knows it: what waits to be sent, what waits to be read, and how far each
//! direction has come.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{
    Side,
    batch::Batch,
    flow::{Inflow, Outflow},
};
use crate::{
    probe::mutant,
    time::Instant,
    wire::{
        codec::Head,
        frame::{LINK_BODY_LEN_MAX, PREFIX_LEN, Prefix, kind},
    },
};

/// Messages of a stream that may wait to be read: no session has more.
const MESSAGES_MAX: usize = 8;

/// Pieces of a body shorter than this are copied together. A longer one stays where it was read, and holds as
/// much memory as was read at once: at most eight times its own length.
const SHARED_LEN_MIN: usize = 8 * 1024;

/// How far one direction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Bytes may follow.
    Open,
    /// FIN has passed: no byte follows, a last message may.
    Fin,
    /// Nothing follows.
    Done,
}

/// What waits to be sent.
#[derive(Debug)]
enum Out {
    Message { kind: u8, header: Vec<u8> },
    Data(Bytes),
}

/// What waits to be read.
#[derive(Debug)]
enum In {
    Head(Head),
    /// A piece of its own, or several copied together.
    Shared(Bytes),
    Copied(BytesMut),
}

/// What a reader is given.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// A message.
    Head(Head),
    /// So many bytes, which were appended to the reader's pieces.
    Data(usize),
    /// Nothing yet; it will be told.
    Nothing,
    /// The stream is over for this side, or its peer broke the rules.
    Over {
        /// The latter.
        violated: bool,
    },
}

/// One stream.
#[derive(Debug)]
pub struct Stream {
    outbox: VecDeque<Out>,
    /// Bytes of data in the outbox.
    out_len: usize,
    inbox: VecDeque<In>,
    in_messages: usize,
    /// The receiver's books.
    pub inflow: Inflow,
    /// The sender's book.
    pub outflow: Outflow,
    /// How far what we say has come, as queued.
    pub saying: Progress,
    /// How far what we hear has come.
    pub hearing: Progress,
    /// Bytes sent.
    pub sent: u64,
    /// START has gone out, or come in.
    pub begun: bool,
    /// The acceptor has answered.
    pub answered: bool,
    /// Stands in a lane.
    pub enrolled: bool,
    /// Credit to be granted with the next frames.
    pub grant: u64,
    /// Ended by a reset, from either side.
    pub reset: bool,
    /// The peer broke the rules of this stream.
    pub violated: bool,
    /// Nobody holds it any more.
    pub released: bool,
    /// Its reader waits.
    pub reader_waits: bool,
    /// Its writer waits.
    pub writer_waits: bool,
    /// It has data and no credit.
    pub starved: bool,
}

impl Stream {
    /// A stream that begins now, with the same window for both directions.
    pub fn new(now: Instant, window: u64) -> Self {
        Self {
            outbox: VecDeque::new(),
            out_len: 0,
            inbox: VecDeque::new(),
            in_messages: 0,
            inflow: Inflow::new(now, window),
            outflow: Outflow::new(now, window),
            saying: Progress::Open,
            hearing: Progress::Open,
            sent: 0,
            begun: false,
            answered: false,
            enrolled: false,
            grant: 0,
            reset: false,
            violated: false,
            released: false,
            reader_waits: false,
            writer_waits: false,
            starved: false,
        }
    }

    /// Bytes that wait to be sent.
    pub fn out_len(&self) -> usize {
        self.out_len
    }

    /// Whether nothing waits to be sent.
    pub fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Whether something could be sent now.
    pub fn can_send(&self) -> bool {
        match self.outbox.front() {
            None => false,
            Some(Out::Message { .. }) => true,
            Some(Out::Data(_)) => self.outflow.credit() > 0,
        }
    }

    /// Queues a message behind everything else.
    pub fn push_message(&mut self, kind: u8, header: Vec<u8>) {
        if kind == kind::FIN && self.begun && self.out_len > 0 && mutant!("end-sent-before-last-bytes") {
            self.outbox.push_front(Out::Message { kind, header });
            return;
        }
        self.outbox.push_back(Out::Message { kind, header });
    }

    /// Queues bytes behind everything else.
    pub fn push_data(&mut self, bytes: Bytes) {
        assert!(self.saying == Progress::Open, "nothing is said after FIN");
        self.out_len += bytes.len();
        self.outbox.push_back(Out::Data(bytes));
    }

    /// Drops what waits to be sent and has no credit, and whatever is behind it: a reset must not wait for a
    /// peer that does not read.
    pub fn cut_outbox(&mut self) {
        let mut credit = self.outflow.credit();
        let keep = self.outbox.iter().take_while(|item| match item {
            Out::Message { .. } => true,
            Out::Data(bytes) => match credit.checked_sub(bytes.len() as u64) {
                Some(left) => {
                    credit = left;
                    true
                }
                None => false,
            },
        });
        let keep = keep.count();
        for item in self.outbox.split_off(keep) {
            match item {
                Out::Data(bytes) => self.out_len -= bytes.len(),
                Out::Message { .. } => {}
            }
        }
    }

    /// Drops everything that waits to be sent.
    pub fn clear_outbox(&mut self) {
        self.outbox.clear();
        self.out_len = 0;
    }

    /// Drops the bytes that wait to be sent, and leaves the messages.
    pub fn clear_data(&mut self) {
        self.outbox.retain(|item| matches!(item, Out::Message { .. }));
        self.out_len = 0;
    }

    /// Drops everything that waits to be read.
    pub fn clear_inbox(&mut self) {
        self.inbox.clear();
        self.in_messages = 0;
    }

    /// Moves frames of at most `quantum` bytes to `batch`; returns the bytes of data among them.
    pub fn send(&mut self, now: Instant, id: u32, quantum: u64, batch: &mut Batch) -> u64 {
        let before = self.sent;
        let mut left = quantum;
        while left > 0 {
            match self.outbox.front() {
                None => break,
                Some(Out::Message { .. }) => {
                    let Some(Out::Message { kind, header }) = self.outbox.pop_front() else {
                        break;
                    };
                    self.begun |= kind == kind::START;
                    batch.push_message(kind, id, &header);
                    left = left.saturating_sub((PREFIX_LEN + header.len()) as u64);
                }
                Some(Out::Data(_)) => {
                    let room = left.min(self.outflow.credit()).min(LINK_BODY_LEN_MAX.into());
                    if room == 0 {
                        break;
                    }
                    left -= self.send_data(now, id, room as usize, batch);
                }
            }
        }
        if self.outbox.is_empty() {
            // An idle stream holds no more than it must.
            self.outbox = VecDeque::new();
        }
        self.sent - before
    }

    /// Moves one frame of data; its body may come from several pieces.
    fn send_data(&mut self, now: Instant, id: u32, room: usize, batch: &mut Batch) -> u64 {
        let there = self.outbox.iter().map_while(|item| match item {
            Out::Data(bytes) => Some(bytes.len()),
            Out::Message { .. } => None,
        });
        let mut len = 0;
        for piece in there {
            len += piece;
            if len >= room {
                break;
            }
        }
        let len = len.min(room);
        batch.push_prefix(Prefix::data(id, len as u32));
        let mut left = len;
        while left > 0 {
            let Some(Out::Data(bytes)) = self.outbox.front_mut() else {
                break;
            };
            let piece = bytes.split_to(left.min(bytes.len()));
            let emptied = bytes.is_empty();
            left -= piece.len();
            batch.push_body(piece);
            if emptied {
                self.outbox.pop_front();
            }
        }
        self.out_len -= len;
        self.sent += len as u64;
        self.outflow.handle_sent(now, len as u64);
        len as u64
    }

    /// A message has come.
    ///
    /// # Errors
    /// More messages than any session has.
    pub fn receive_head(&mut self, head: Head) -> Result<(), ()> {
        if self.in_messages == MESSAGES_MAX {
            return Err(());
        }
        self.in_messages += 1;
        self.inbox.push_back(In::Head(head));
        Ok(())
    }

    /// A piece of a body has come.
    pub fn receive_data(&mut self, piece: Bytes) {
        if piece.len() >= SHARED_LEN_MIN {
            self.inbox.push_back(In::Shared(piece));
            return;
        }
        match self.inbox.back_mut() {
            Some(In::Copied(copied)) if copied.len() < SHARED_LEN_MIN => {
                if mutant!("pieces-joined-in-wrong-order") {
                    *copied = BytesMut::from(&[&piece[..], &copied[..]].concat()[..]);
                    return;
                }
                copied.extend_from_slice(&piece);
            }
            _ => self.inbox.push_back(In::Copied(BytesMut::from(&piece[..]))),
        }
    }

    /// Gives the reader what is next: a message, or all bytes before the next one.
    pub fn take(&mut self, pieces: &mut VecDeque<Bytes>) -> Taken {
        let mut len = 0;
        loop {
            match self.inbox.pop_front() {
                Some(In::Head(head)) if len == 0 => {
                    self.in_messages -= 1;
                    self.settle();
                    return Taken::Head(head);
                }
                Some(In::Shared(bytes)) => {
                    len += bytes.len();
                    pieces.push_back(bytes);
                }
                Some(In::Copied(bytes)) => {
                    len += bytes.len();
                    pieces.push_back(bytes.freeze());
                }
                Some(head) => {
                    self.inbox.push_front(head);
                    break;
                }
                None => break,
            }
        }
        self.settle();
        match len {
            0 => Taken::Nothing,
            len => Taken::Data(len),
        }
    }

    fn settle(&mut self) {
        if self.inbox.is_empty() {
            self.inbox = VecDeque::new();
        }
    }

    /// The sentences that a stream believes at every moment.
    ///
    /// # Panics
    /// When one of them is wrong.
    #[cfg(any(test, fuzzing, feature = "mutants"))]
    pub fn check(&self) {
        self.inflow.check();
        self.outflow.check();
        let mut out_len = 0;
        let mut ended = false;
        for (place, item) in self.outbox.iter().enumerate() {
            match item {
                Out::Data(bytes) => {
                    assert!(!ended, "no byte stands behind the end");
                    out_len += bytes.len();
                }
                Out::Message { kind, .. } => {
                    ended |= matches!(*kind, kind::FIN | kind::FINISHED | kind::RESET);
                    assert_eq!(
                        *kind == kind::START,
                        place == 0 && !self.begun,
                        "a stream begins with START, once"
                    );
                }
            }
        }
        assert!(
            self.begun || self.reset || !self.outbox.is_empty(),
            "START waits for its turn"
        );
        assert_eq!(out_len, self.out_len, "the queue is as long as what is in it");
        assert!(
            !ended || self.saying > Progress::Open,
            "who has queued an end has said it"
        );
        assert!(
            !self.reset || out_len as u64 <= self.outflow.credit(),
            "a stream that was reset waits for no credit"
        );
        assert!(
            !self.starved || self.outflow.credit() == 0,
            "who is starved has no credit"
        );
        let messages = self.inbox.iter().filter(|item| matches!(item, In::Head(_)));
        assert_eq!(
            messages.count(),
            self.in_messages,
            "messages that came are counted"
        );
        let in_len = self.inbox.iter().map(|item| match item {
            In::Head(_) => 0,
            In::Shared(bytes) => bytes.len() as u64,
            In::Copied(bytes) => bytes.len() as u64,
        });
        assert!(
            in_len.sum::<u64>() <= self.inflow.unread(),
            "what waits to be read is not consumed"
        );
        assert!(
            !self.released || self.inbox.is_empty(),
            "nothing is kept for nobody"
        );
    }

    /// Whether the peer has said its last before it heard ours: it wants no bytes, and grants no credit for any.
    pub fn is_refused(&self, side: Side) -> bool {
        side == Side::Opener && self.hearing == Progress::Done
    }

    /// Whether both directions have come to their end, and nothing waits to be sent.
    pub fn is_over(&self) -> bool {
        let ended = self.saying == Progress::Done && self.hearing == Progress::Done;
        (self.reset || ended) && self.outbox.is_empty()
    }
}
