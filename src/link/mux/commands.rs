//! What those who hold streams ask of a link's books.

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    Mux, OUT_LEN_MAX, OpenError, UNANSWERED_MAX, Urgent, is_answer,
    stream::{Progress, Stream, Taken},
};
use crate::{
    id::StreamId,
    probe::{measure, mutant, sometimes},
    time::Instant,
    wire::{
        frame::kind,
        message::{Message, Reset, ResetCode, ToServer, decode_map},
    },
};

impl Mux {
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
        measure!("streams-on-the-link", self.streams.len());
        measure!("starts-unanswered", self.unanswered);
        let mut streams_max = self.options.streams_max;
        if mutant!("link-one-stream-too-many") {
            streams_max += 1;
        }
        if self.streams.len() + self.reserved >= streams_max {
            sometimes!("link-full-of-streams");
            return Err(OpenError::Full);
        }
        if self.unanswered + self.reserved >= UNANSWERED_MAX || !self.resets.has(now) || !self.opens.take(now)
        {
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

    /// Queues bytes of a stream, no more than there is [`room`](Self::room) for; returns the room that is left.
    pub fn queue_data(&mut self, id: StreamId, bytes: Bytes) -> usize {
        let side = self.side;
        let wanted = |stream: &&mut Stream| !stream.reset && !stream.is_refused(side);
        let Some(stream) = self.streams.get_mut(&id).filter(wanted) else {
            return OUT_LEN_MAX;
        };
        self.queued += bytes.len();
        stream.push_data(bytes);
        let room = OUT_LEN_MAX.saturating_sub(stream.out_len());
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

    /// When the last bytes of a stream were sent that had been queued. `None` where there is no such stream any more.
    pub fn sent_at(&self, id: StreamId) -> Option<Instant> {
        self.streams.get(&id).map(|stream| stream.outflow.sent_at())
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
        let ended = match stream.saying > stream.hearing && mutant!("own-end-stops-credit") {
            false => stream.hearing,
            true => stream.saying,
        };
        if stream.reset || ended > Progress::Open {
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

    /// Whether a stream was reset. Its reader is told of what comes, although it has something to read.
    pub fn is_reset(&mut self, id: StreamId) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else {
            return false;
        };
        stream.reader_waits |= !stream.reset;
        stream.reset
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
}
