//! Two ends and what is done to them.

use std::collections::{BTreeMap, VecDeque};

use adit::{
    id::StreamId,
    link::mux::{Options, Side, Taken},
    time::{self, Duration, Instant},
    wire::{
        frame::{IGNORABLE, Prefix, kind},
        message::{Finished, GoAway, Message, Refused, Reset, ResetCode, Start, ToClient, ToServer},
    },
};

use super::{
    end::{Bad, End, Holder, Saying},
    said::Said,
};
use crate::input::Input;

/// The two ends, as indices. A way is named by the end that speaks.
const SERVER: usize = 0;
const CLIENT: usize = 1;

/// What a hostile peer can make an end say without reading it: its streams' queues, and answers.
const OWED_MAX: usize = 6 * 64 * 1024 + 256 * 1024;

/// How many windows are written at once. More make a narrow window take long to drain.
const WINDOWS_AT_ONCE: usize = 16;

/// What a hostile end says: what belongs on a link, what does not, and what is no frame.
const KINDS: [u8; 17] = [
    kind::START,
    kind::ACCEPTED,
    kind::STARTED,
    kind::REFUSED,
    kind::FINISHED,
    kind::RETIRE,
    kind::DATA,
    kind::FIN,
    kind::RESET,
    kind::PING,
    kind::PONG,
    kind::WINDOW,
    kind::WINDOW_RETURN,
    kind::GO_AWAY,
    kind::HEARTBEAT,
    NEWER,
    NOT_A_FRAME,
];
const NEWER: u8 = 200;
const NOT_A_FRAME: u8 = 0;

/// How often it says a frame at once.
const TIMES_MAX: u8 = 32;

/// How much of it is under way at most.
const UNDER_WAY_MAX: usize = 256 * 1024;

/// Longer than the sender of data stays idle before it gives credit back.
const LONG: Duration = Duration::from_secs(11);

pub(super) struct Link {
    now: Instant,
    options: Options,
    ends: [End; 2],
    /// The end that is not ours.
    hostile: Option<usize>,
    broken: bool,
    /// What was said on each stream, there and back.
    said: BTreeMap<StreamId, [Said; 2]>,
}

impl Link {
    pub(super) fn new(options: Options, hostile: Option<Side>) -> Self {
        let now = time::now();
        let hostile = hostile.map(|side| match side {
            Side::Opener => SERVER,
            Side::Acceptor => CLIENT,
        });
        Self {
            now,
            options,
            ends: [Side::Opener, Side::Acceptor].map(|side| End::new(now, side, options)),
            hostile,
            broken: false,
            said: BTreeMap::new(),
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// One deed: what, at which end, and on which of its streams.
    pub(super) fn act(&mut self, input: &mut Input<'_>) {
        let (deed, place) = (input.byte(), input.byte());
        let at = match self.hostile {
            None => usize::from(place & 1),
            Some(hostile) => 1 - hostile,
        };
        let held = self.ends[at].holders.keys();
        let id = held
            .clone()
            .nth(usize::from(place >> 1) % held.len().max(1))
            .copied();
        match (deed % 16, id) {
            (0, _) => self.open(),
            (1 | 2, Some(id)) => self.write(at, id, input.number()),
            (3, Some(id)) => drop(self.read(at, id)),
            (4, Some(id)) => {
                while self.read(at, id) {}
                self.consume(at, id, usize::MAX);
            }
            (5, Some(id)) => self.consume(at, id, input.number()),
            (6, Some(id)) => self.answer(at, id, input.byte()),
            (7, Some(id)) => self.finish(at, id),
            (8, Some(id)) => self.reset(at, id),
            (9, Some(id)) => self.release(at, id),
            (10, _) => drop(self.transmit(at, input.number())),
            (11, _) => drop(self.deliver(at, input.number())),
            (12, _) => {
                self.transmit(at, usize::MAX);
                self.deliver(1 - at, usize::MAX);
            }
            (13, _) => self.pass(Duration::from_millis(input.byte().into())),
            (14, _) if place < 0x40 => self.ends[at].mux.leave(),
            (14, _) if place < 0x80 => self.pass(LONG),
            (14, _) => self.ends[at].mux.ping(self.now),
            (15, _) if self.hostile.is_some() => self.say_anything(at, input),
            _ => {}
        }
        self.ends.iter_mut().for_each(End::tell);
    }

    fn open(&mut self) {
        let server = &mut self.ends[SERVER];
        if self.hostile == Some(SERVER) || server.mux.reserve(self.now).is_err() {
            return;
        }
        let id = server
            .mux
            .start(self.now, header(&ToClient::Start(Start::default())));
        server.hold(id, Holder::saying(Saying::Open));
        self.said.entry(id).or_default()[SERVER].say_message(kind::START);
    }

    fn write(&mut self, at: usize, id: StreamId, len: usize) {
        let Some(holder) = self.ends[at].holders.get_mut(&id) else {
            return;
        };
        if holder.waits_to_write || !matches!(holder.saying, Saying::Open | Saying::Unanswered) {
            return;
        }
        let room = self.ends[at].mux.room(id);
        holder.waits_to_write = room == 0;
        let len = len.min(room).min(self.options.window as usize * WINDOWS_AT_ONCE);
        if len > 0 {
            let bytes = self.said.entry(id).or_default()[at].say_bytes(id, at, len);
            self.ends[at].mux.queue_data(id, bytes);
        }
    }

    /// Takes what has come next; returns whether anything has.
    fn read(&mut self, at: usize, id: StreamId) -> bool {
        let honest = self.hostile.is_none();
        // A client that is full refuses a stream that it never knew.
        let began = self.ends[CLIENT].known.contains(&id);
        let Some(holder) = self.ends[at]
            .holders
            .get_mut(&id)
            .filter(|holder| !holder.waits_to_read)
        else {
            return false;
        };
        let ways = self.said.entry(id).or_default();
        let reset_here = ways[at].reset;
        let way = &mut ways[1 - at];
        let mut pieces = VecDeque::new();
        match self.ends[at].mux.take(id, &mut pieces) {
            Taken::Nothing => holder.waits_to_read = true,
            Taken::Data(len) => {
                let bytes = Vec::from(pieces).concat();
                assert_eq!(bytes.len(), len);
                assert!(!holder.heard_fin, "no byte of {id} is heard behind its FIN");
                holder.unconsumed += len;
                let held_max = u64::from(self.options.window) + self.ends[at].mux.promised();
                assert!(
                    holder.unconsumed as u64 <= held_max,
                    "{} bytes of {id} held",
                    holder.unconsumed
                );
                if honest {
                    way.hear_bytes(id, 1 - at, &bytes);
                }
            }
            Taken::Head(head) if head.prefix.kind == kind::RESET => {
                assert!(!honest || way.reset, "{id} is reset by somebody");
                holder.heard_reset = true;
            }
            Taken::Head(head) => {
                let said = head.prefix.kind;
                assert!(
                    !holder.heard_last,
                    "nothing of {id} is heard behind its last message"
                );
                holder.heard_fin |= [kind::FIN, kind::FINISHED].contains(&said);
                holder.heard_last |= said == if at == SERVER { kind::FINISHED } else { kind::FIN };
                if honest && began {
                    way.hear_message(said);
                } else if honest {
                    let refusal = [kind::REFUSED, kind::FINISHED].contains(&said);
                    assert!(refusal, "a client that does not know {id} says {said}");
                }
            }
            Taken::Over { violated } => {
                assert!(!honest || !violated, "honest ends do not accuse each other");
                assert!(
                    !honest || reset_here || holder.heard_reset,
                    "{id} ends by a reset that is heard"
                );
                holder.waits_to_read = true;
            }
        }
        !holder.waits_to_read
    }

    fn consume(&mut self, at: usize, id: StreamId, len: usize) {
        if let Some(holder) = self.ends[at].holders.get_mut(&id) {
            let len = len.min(holder.unconsumed);
            holder.unconsumed -= len;
            self.ends[at].mux.handle_consumed(self.now, id, len);
        }
    }

    /// The client says that it is at it, or that its upstream is there, or is not.
    fn answer(&mut self, at: usize, id: StreamId, choice: u8) {
        let message = match choice % 3 {
            0 => ToServer::Started,
            1 => ToServer::Accepted,
            _ => ToServer::Refused(Refused::default()),
        };
        if at == CLIENT && self.holds(at, id, |saying| saying == Saying::Unanswered) {
            self.say(at, id, &message, Saying::Open);
        }
    }

    /// The next that ends this direction well.
    fn finish(&mut self, at: usize, id: StreamId) {
        if at == SERVER && self.holds(at, id, |saying| saying < Saying::Done) {
            self.say(at, id, &ToClient::Fin, Saying::Done);
        } else if at == CLIENT && self.holds(at, id, |saying| saying < Saying::Fin) {
            self.say(at, id, &ToServer::Fin, Saying::Fin);
        } else if at == CLIENT && self.holds(at, id, |saying| saying == Saying::Fin) {
            if !self.ends[CLIENT].holders[&id].heard_last {
                self.said.entry(id).or_default()[SERVER].unwanted = true;
            }
            self.say(at, id, &ToServer::Finished(Finished::default()), Saying::Done);
        }
    }

    fn holds(&self, at: usize, id: StreamId, is: impl Fn(Saying) -> bool) -> bool {
        self.ends[at]
            .holders
            .get(&id)
            .is_some_and(|holder| is(holder.saying))
    }

    fn say<M: Message>(&mut self, at: usize, id: StreamId, message: &M, then: Saying) {
        if let Some(holder) = self.ends[at].holders.get_mut(&id) {
            holder.saying = then;
            self.said.entry(id).or_default()[at].say_message(message.kind());
            self.ends[at].mux.queue_message(self.now, id, message);
        }
    }

    fn reset(&mut self, at: usize, id: StreamId) {
        if let Some(holder) = self.ends[at].holders.get_mut(&id) {
            holder.saying = Saying::Done;
            self.said.entry(id).or_default()[at].reset = true;
            self.ends[at].mux.reset(self.now, id, ResetCode::Timeout);
        }
    }

    fn release(&mut self, at: usize, id: StreamId) {
        if self.ends[at].holders.remove(&id).is_some() {
            self.said.entry(id).or_default()[at].reset = true;
            self.ends[at].mux.release(self.now, id);
        }
    }

    /// The socket of this end takes so many bytes.
    fn transmit(&mut self, at: usize, len: usize) -> bool {
        let written = self.ends[at].transmit(self.now, len);
        let any = !written.is_empty();
        if self.hostile.is_none() {
            self.ends[1 - at].incoming.extend(written);
        }
        any
    }

    /// So many bytes arrive at this end.
    fn deliver(&mut self, at: usize, len: usize) -> bool {
        if self.hostile == Some(at) {
            return false;
        }
        let received = self.ends[at].receive(self.now, len);
        self.ends[at].tell();
        let promised = self.ends[at].mux.promised();
        assert!(promised <= self.options.budget, "{promised} bytes promised");
        received.unwrap_or_else(|Bad(reason)| {
            assert!(
                self.hostile.is_some(),
                "honest ends understand each other, but {reason}"
            );
            self.broken = true;
            false
        })
    }

    /// Frames of every kind, good and bad, or bytes that are none, are under way to this end.
    fn say_anything(&mut self, at: usize, input: &mut Input<'_>) {
        let kind = input.one_of(&KINDS);
        let (stream_id, times) = (u32::from(input.byte()), u32::from(input.byte() % TIMES_MAX));
        let header = match input.byte() % 4 {
            0 => proper_header(kind),
            1 => {
                let len = input.byte().into();
                input.take(len).to_vec()
            }
            _ => Vec::new(),
        };
        let body = match kind {
            kind::DATA => vec![0; input.number()],
            kind::WINDOW | kind::WINDOW_RETURN => {
                let credit = (input.number() as u32).checked_shl(input.byte().into());
                credit.unwrap_or(u32::MAX).to_le_bytes().to_vec()
            }
            NOT_A_FRAME => {
                let len = input.byte().into();
                self.ends[at].incoming.extend(input.take(len));
                return;
            }
            _ => Vec::new(),
        };
        for nth in 0..=times {
            if self.ends[at].incoming.len() > UNDER_WAY_MAX {
                return;
            }
            let prefix = Prefix {
                flags: if kind == NEWER { IGNORABLE } else { 0 },
                header_len: header.len() as u16,
                body_len: body.len() as u32,
                // Streams are opened one after the other.
                ..Prefix::bare(kind, stream_id + if kind == kind::START { 2 * nth } else { 0 })
            };
            self.ends[at].incoming.extend(prefix.encode());
            self.ends[at].incoming.extend(header.iter().chain(&body));
        }
    }

    /// Brings everything to its end.
    pub(super) fn end(&mut self) {
        if self.hostile.is_some() {
            // What is under way now never comes.
            self.broken = true;
            let owed: usize = self
                .ends
                .iter_mut()
                .map(|end| end.transmit(self.now, usize::MAX).len())
                .sum();
            assert!(owed <= OWED_MAX, "{owed} bytes are owed to a stranger");
        } else {
            self.settle();
            self.said
                .iter()
                .for_each(|(id, ways)| self.check_heard(*id, ways));
        }
        for at in [SERVER, CLIENT] {
            let held: Vec<_> = self.ends[at].holders.keys().copied().collect();
            held.into_iter().for_each(|id| self.release(at, id));
        }
        self.settle();
        for end in &self.ends {
            assert_eq!(end.mux.streams(), 0, "no stream is left");
            assert_eq!(end.mux.queued(), 0, "nothing is left to be sent");
            assert_eq!(end.mux.promised(), 0, "nothing is promised to nobody");
        }
    }

    /// Lets everything pass that anybody has to say, and has everybody read it.
    fn settle(&mut self) {
        let mut any = true;
        while std::mem::take(&mut any) {
            for at in [SERVER, CLIENT] {
                any |= self.transmit(at, usize::MAX);
                any |= !self.broken && self.deliver(1 - at, usize::MAX);
            }
            for at in [SERVER, CLIENT] {
                self.ends[at].tell();
                let held: Vec<_> = self.ends[at].holders.keys().copied().collect();
                for id in held {
                    while self.read(at, id) {
                        any = true;
                    }
                    any |= self.ends[at]
                        .holders
                        .get(&id)
                        .is_some_and(|holder| holder.unconsumed > 0);
                    self.consume(at, id, usize::MAX);
                }
            }
        }
    }

    /// When nothing is under way any more, everything is heard, and whoever waited was told.
    fn check_heard(&self, id: StreamId, ways: &[Said; 2]) {
        if !self.ends[CLIENT].known.contains(&id) {
            return;
        }
        for at in [SERVER, CLIENT] {
            let Some(holder) = self.ends[at].holders.get(&id) else {
                continue;
            };
            assert!(
                !holder.waits_to_write,
                "whoever has to write {id} is told that there is room"
            );
            let ended = holder.saying == Saying::Done && holder.heard_last;
            if ways[1 - at].reset && !ways[at].reset {
                assert!(ended || holder.heard_reset, "a reset of {id} is told");
            } else if !ways[at].reset {
                assert!(ways[1 - at].is_heard(), "{id} is not heard: {:?}", ways[1 - at]);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        for end in &mut self.ends {
            end.mux.handle_timeout(self.now);
        }
    }
}

fn proper_header(kind: u8) -> Vec<u8> {
    match kind {
        kind::START => header(&ToClient::Start(Start::default())),
        kind::RESET => header(&ToClient::Reset(Reset::default())),
        kind::REFUSED => header(&ToServer::Refused(Refused::default())),
        kind::FINISHED => header(&ToServer::Finished(Finished::default())),
        kind::GO_AWAY => header(&ToServer::GoAway(GoAway::default())),
        _ => Vec::new(),
    }
}

fn header<M: Message>(message: &M) -> Vec<u8> {
    let mut header = Vec::new();
    message.encode_header(&mut header);
    header
}
