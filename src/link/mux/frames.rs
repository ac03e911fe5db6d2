//! What comes in on a link: which stream it is for, and whether it may come there.

use bytes::Bytes;

use super::{
    Body, Event, Mux, PONGS_MAX, Side, UNANSWERED_MAX, Urgent,
    batch::Batch,
    is_answer,
    stream::{Progress, Stream},
};
use crate::{
    id::StreamId,
    probe::{mutant, sometimes},
    time::Instant,
    wire::{
        codec::Head,
        frame::{IGNORABLE, is_known, kind},
        message::{
            Finished, GoAway, Message, RefuseCode, Refused, Reset, ResetCode, ToClient, ToServer, decode_map,
        },
    },
};

/// Refusals that may wait to be sent. A peer that opens on and on and does not read is cut off.
pub(super) const REFUSALS_MAX: usize = 1024;

/// What a peer did to a whole link. The link is closed; nothing after this can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A kind that has no place on a link.
    #[error("a frame of kind {0} has no place on a link")]
    Kind(u8),
    /// START of a stream that the peer may not open, or has opened before.
    #[error("stream {0} may not be opened")]
    Id(u32),
    /// A frame for a stream that was never opened.
    #[error("stream {0} was never opened")]
    Unopened(u32),
    /// A header that is not what its kind calls for.
    #[error("a header of kind {0} is malformed")]
    Header(u8),
    /// More unanswered streams, opens, resets, empty frames or unread refusals than are borne.
    #[error("too many {0}")]
    TooMany(&'static str),
}

/// What is to be done about one frame of one stream.
enum Verdict {
    Good,
    /// The peer broke the rules of this stream: it is reset, the others go on.
    Bad,
}

impl Mux {
    /// A frame came in; its body, if it has one, follows in [`handle_body`](Self::handle_body).
    ///
    /// # Errors
    /// [`Violation`]: the link cannot be trusted any further.
    pub fn handle_head(&mut self, now: Instant, head: Head) -> Result<(), Violation> {
        let prefix = head.prefix;
        let id = StreamId::new(prefix.stream_id);
        match prefix.kind {
            kind::PING => {
                if self.pongs < PONGS_MAX && !mutant!("link-leaves-pings-unanswered") {
                    self.pongs += 1;
                    self.urgent.push_back(Urgent::Pong(prefix.stream_id));
                }
            }
            kind::PONG => self.trip.handle_answer(now, prefix.stream_id),
            kind::GO_AWAY => {
                decode_map::<GoAway>(kind::GO_AWAY, &head.header)
                    .map_err(|_| Violation::Header(kind::GO_AWAY))?;
                sometimes!("peer-leaves-link");
                self.peer_leaving = true;
            }
            kind::WINDOW | kind::WINDOW_RETURN => {
                self.expect_stream(id)?;
                let (kind, stream) = (prefix.kind, id);
                self.body = Some(Body::Credit {
                    kind,
                    stream,
                    bytes: [0; 4],
                    len: 0,
                });
            }
            kind::DATA => self.handle_data(now, id, prefix.body_len)?,
            kind::START => self.handle_start(now, id, head)?,
            kind::RESET => self.handle_reset(now, id, head)?,
            kind::ACCEPTED | kind::STARTED | kind::REFUSED | kind::FINISHED | kind::RETIRE | kind::FIN => {
                self.expect_stream(id)?;
                self.handle_message(now, id, head);
            }
            unknown if prefix.flags & IGNORABLE != 0 && !is_known(unknown) => {}
            other => return Err(Violation::Kind(other)),
        }
        self.check();
        Ok(())
    }

    /// A piece of the body of the last head came in.
    ///
    /// # Errors
    /// [`Violation`]: the link cannot be trusted any further.
    pub fn handle_body(&mut self, now: Instant, piece: Bytes) -> Result<(), Violation> {
        match &mut self.body {
            Some(Body::Data(Some(id))) => {
                let id = *id;
                if let Some(stream) = self.streams.get_mut(&id)
                    && !stream.reset
                    && !stream.released
                {
                    stream.receive_data(piece);
                    self.wake_reader(id);
                }
            }
            Some(Body::Credit {
                kind,
                stream,
                bytes,
                len,
            }) => {
                let room = &mut bytes[if mutant!("split-credit-read-from-its-middle") {
                    0
                } else {
                    *len
                }..];
                let taken = room.len().min(piece.len());
                room[..taken].copy_from_slice(&piece[..taken]);
                *len += taken;
                if *len == bytes.len() {
                    let (kind, stream, credit) = (*kind, *stream, u32::from_le_bytes(*bytes));
                    self.body = None;
                    self.handle_credit(now, kind, stream, credit)?;
                }
            }
            Some(Body::Data(None)) | None => {}
        }
        self.check();
        Ok(())
    }

    /// Frames may come late for a stream that is no more, never early for one that is not yet.
    fn expect_stream(&self, id: StreamId) -> Result<(), Violation> {
        let value = id.value();
        if value % 2 == 1 && value <= self.last {
            Ok(())
        } else {
            Err(Violation::Unopened(value))
        }
    }

    /// Whether the peer has as many streams here as it may. One that is over counts no more for the peer, while whoever
    /// held it here has perhaps not heard yet; but no more than twice as many are kept.
    fn is_full(&self) -> bool {
        let (kept, max) = (self.streams.len(), self.options.streams_max);
        let open = || self.streams.values().filter(|stream| !stream.is_over()).count();
        kept >= max && (kept / 2 >= max || open() >= max)
    }

    fn handle_start(&mut self, now: Instant, id: StreamId, head: Head) -> Result<(), Violation> {
        let value = id.value();
        let fresh = value % 2 == 1 && value > self.last;
        if self.side == Side::Opener || !fresh {
            return Err(Violation::Id(value));
        }
        self.last = value;
        if !self.opens.take(now) {
            return Err(Violation::TooMany("opens"));
        }
        if self.unanswered >= UNANSWERED_MAX {
            return Err(Violation::TooMany("unanswered streams"));
        }
        if self.is_full() {
            sometimes!("stream-refused-by-full-link");
            let refusals = |urgent: &&Urgent| matches!(urgent, Urgent::Refuse(_));
            if self.urgent.iter().filter(refusals).count() >= REFUSALS_MAX {
                return Err(Violation::TooMany("unread refusals"));
            }
            self.urgent.push_back(Urgent::Refuse(id));
            return Ok(());
        }
        let mut stream = Stream::new(now, self.options.window.into());
        stream.begun = true;
        // The first message of a stream always fits.
        let _ = stream.receive_head(head);
        self.streams.insert(id, stream);
        self.unanswered += 1;
        self.counts.opened += 1;
        self.opened.push(id);
        Ok(())
    }

    fn handle_data(&mut self, now: Instant, id: StreamId, len: u32) -> Result<(), Violation> {
        self.expect_stream(id)?;
        if len == 0 && !self.empties.take(now) {
            return Err(Violation::TooMany("empty frames"));
        }
        self.body = Some(Body::Data(None));
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.reset) else {
            return Ok(());
        };
        let open = stream.hearing == Progress::Open;
        if !open || stream.inflow.handle_data(now, len.into()).is_err() {
            self.violate(now, id);
            return Ok(());
        }
        self.body = Some(Body::Data(Some(id)));
        Ok(())
    }

    fn handle_message(&mut self, now: Instant, id: StreamId, head: Head) {
        let last = self.side.other().last();
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.reset) else {
            return;
        };
        let message_kind = head.prefix.kind;
        let verdict = match message_kind {
            _ if stream.hearing == Progress::Done => Verdict::Bad,
            kind::FIN if stream.hearing == Progress::Fin => Verdict::Bad,
            message if message == last => {
                stream.hearing = Progress::Done;
                Verdict::Good
            }
            kind::FIN => {
                sometimes!(stream.saying == Progress::Open, "stream-half-closed");
                stream.hearing = Progress::Fin;
                Verdict::Good
            }
            // The server says nothing but bytes, FIN and RESET on a stream that has begun.
            _ if self.side == Side::Acceptor => Verdict::Bad,
            _ => Verdict::Good,
        };
        let answers = is_answer(message_kind) && matches!(verdict, Verdict::Good);
        if answers && !std::mem::replace(&mut stream.answered, true) {
            self.unanswered -= 1;
        }
        match verdict {
            Verdict::Good if stream.released => {}
            Verdict::Good if stream.receive_head(head).is_ok() => self.wake_reader(id),
            _ => self.violate(now, id),
        }
        self.drop_unwanted(id);
        self.settle(id);
    }

    /// Whoever turns a stream away before it has read everything grants no credit for the rest.
    fn drop_unwanted(&mut self, id: StreamId) {
        let side = self.side;
        let unwanted = |stream: &&mut Stream| stream.is_refused(side) && stream.out_len() > 0;
        let Some(stream) = self.streams.get_mut(&id).filter(unwanted) else {
            return;
        };
        self.queued -= stream.out_len();
        stream.clear_data();
        if std::mem::take(&mut stream.writer_waits) {
            self.events.push_back(Event::Writable(id));
        }
        self.enroll(id);
    }

    fn handle_reset(&mut self, now: Instant, id: StreamId, head: Head) -> Result<(), Violation> {
        self.expect_stream(id)?;
        let reset: Reset =
            decode_map(kind::RESET, &head.header).map_err(|_| Violation::Header(kind::RESET))?;
        if !self.resets.take(now) {
            return Err(Violation::TooMany("resets"));
        }
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.reset) else {
            sometimes!("reset-crossed-end-of-stream");
            return Ok(());
        };
        sometimes!("stream-reset-by-peer");
        self.counts.resets.push(ResetCode::from(reset.code).label());
        stream.reset = true;
        self.queued -= stream.out_len();
        stream.clear_outbox();
        stream.saying = Progress::Done;
        stream.hearing = Progress::Done;
        if !stream.released {
            // What came before is still read; a stream with too many messages is told by its end alone.
            let _ = stream.receive_head(head);
        }
        self.forget_answer(id);
        if !mutant!("reset-by-peer-wakes-nobody") {
            self.wake_both(id);
        }
        self.settle(id);
        Ok(())
    }

    fn handle_credit(&mut self, now: Instant, kind: u8, id: StreamId, credit: u32) -> Result<(), Violation> {
        if credit == 0 && !self.empties.take(now) {
            return Err(Violation::TooMany("empty frames"));
        }
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| !stream.reset) else {
            return Ok(());
        };
        let taken = if kind == kind::WINDOW {
            stream.starved = false;
            stream.outflow.handle_granted(credit.into())
        } else {
            stream.inflow.handle_returned(credit.into(), &mut self.budget)
        };
        if taken.is_err() {
            self.violate(now, id);
            return Ok(());
        }
        if stream.outflow.is_wide() && self.sweep_at.is_none() {
            self.sweep_at = Some(now + super::IDLE);
        }
        if !mutant!("stream-with-new-credit-not-scheduled") {
            self.enroll(id);
        }
        Ok(())
    }

    /// The peer broke the rules of one stream: it alone is reset.
    fn violate(&mut self, now: Instant, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.violated = true;
        }
        self.reset(now, id, ResetCode::Protocol);
    }

    fn wake_reader(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && std::mem::take(&mut stream.reader_waits)
        {
            self.events.push_back(Event::Readable(id));
        }
    }
}

/// The header of a GOAWAY between two ends of a link.
pub(super) fn go_away() -> Vec<u8> {
    let mut header = Vec::new();
    ToClient::GoAway(GoAway::default()).encode_header(&mut header);
    header
}

/// Turns a stream away that was opened beyond what the link carries.
pub(super) fn refuse(id: StreamId, batch: &mut Batch) {
    let refused = ToServer::Refused(Refused {
        code: RefuseCode::Overload.code(),
        message: "the link carries as many streams as it may".to_owned(),
    });
    let finished = ToServer::Finished(Finished { outcome: 0, bytes: 0 });
    for message in [refused, finished] {
        let mut header = Vec::new();
        message.encode_header(&mut header);
        batch.push_message(message.kind(), id.value(), &header);
    }
}
