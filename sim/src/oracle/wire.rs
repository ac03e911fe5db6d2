//! Invariants 10 and 12 as the wire of a data link shows them: what a node says within its credit, and what it holds.
//!
//! One [`Wire`] stands at each end of each data link and reads every frame that its node says and hears, with a
//! decoder of its own. Only what the node says is judged, by what it had said and heard before.

use std::collections::BTreeMap;

use super::{Invariant, Model};
use crate::{
    event::Event,
    lock::Shared,
    payload::{REQUEST_LEN, Request},
    plan::knobs::Knobs,
};

/// Bytes of a preamble, and where it says what its connection is for.
const PREAMBLE_LEN: usize = 8;
const PURPOSE_AT: usize = 5;
const PURPOSE_LINK: u8 = 3;

const PREFIX_LEN: usize = 12;

const START: u8 = 16;
const ACCEPTED: u8 = 17;
const STARTED: u8 = 18;
const REFUSED: u8 = 19;
const FINISHED: u8 = 20;
const RETIRE: u8 = 21;
const DATA: u8 = 32;
const FIN: u8 = 33;
const RESET: u8 = 34;
const WINDOW: u8 = 37;
const WINDOW_RETURN: u8 = 38;

/// The widest window there may be.
const WINDOW_MAX: u64 = 8 << 20;

/// What windows are like in this run.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Bytes that a stream may have under way to begin with.
    window: u64,
    /// What all windows of a link may have above that.
    budget: u64,
}

impl Terms {
    /// Those of a run, if it has data links.
    pub fn of(knobs: &Knobs) -> Option<Self> {
        knobs.has_links().then(|| Self {
            window: knobs.window.into(),
            budget: knobs.window_budget,
        })
    }
}

/// 10 and 12: what is broken on the wire of a data link.
pub struct Wires(pub u8);

impl Invariant for Wires {
    fn number(&self) -> u8 {
        self.0
    }

    fn handle(&mut self, _: &Model, event: &Event) -> Option<String> {
        match event {
            Event::Irregular { host, number, what } if *number == self.0 => Some(format!("{host} {what}")),
            _ => None,
        }
    }
}

/// What is wrong: the number of what is broken, and words.
type Wrong = (u8, String);

/// What a node holds of the sessions that it carries on data links, by the number of the session.
#[derive(Clone, Debug, Default)]
pub struct Holdings(BTreeMap<u64, Holding>);

#[derive(Clone, Copy, Debug, Default)]
struct Holding {
    /// How many streams have carried it: one after the other, where it was tried again.
    streams: u32,
    /// Bytes that were handed on to its visitor or upstream; `None` while it has none.
    handed: Option<u64>,
}

impl Holdings {
    /// The visitor or upstream of a session is known, and was handed so much before.
    pub fn handle_found(&mut self, session: u64, handed: u64) {
        self.0.entry(session).or_default().handed = Some(handed);
    }

    /// So much more was handed to it.
    pub fn handle_handed(&mut self, session: u64, bytes: u64) {
        if let Some(handed) = self.0.get_mut(&session).and_then(|one| one.handed.as_mut()) {
            *handed += bytes;
        }
    }

    /// It is gone: what comes is thrown away.
    pub fn handle_gone(&mut self, session: u64) {
        self.0.remove(&session);
    }
}

/// How far one end of a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Open,
    Fin,
    Last,
    Reset,
}

#[derive(Debug)]
struct Stream {
    /// Of the node's own direction, and of its peer's.
    said: Said,
    heard: Said,
    /// Bytes of data said, and those that may be.
    sent: u64,
    allowed: u64,
    /// The same of the peer.
    received: u64,
    granted: u64,
    /// The first bytes of its visitor, until they are a request.
    request: Vec<u8>,
    /// Whose they are, and which of its streams this is.
    session: Option<(u64, u32)>,
}

impl Stream {
    fn is_over(&self) -> bool {
        self.said.max(self.heard) == Said::Reset || self.said.min(self.heard) == Said::Last
    }

    /// What the peer may still send.
    fn outstanding(&self) -> u64 {
        self.granted.saturating_sub(self.received)
    }
}

/// One end of one connection to the proxy port.
#[derive(Debug)]
pub struct Wire {
    /// This is the server's end.
    serves: bool,
    terms: Terms,
    said: Reader,
    heard: Reader,
    streams: BTreeMap<u32, Stream>,
    last: u32,
    holdings: Shared<Holdings>,
    /// It is no data link, or was judged already.
    deaf: bool,
}

impl Wire {
    /// A connection on which nothing was said yet; the client says first what it is for.
    pub fn new(serves: bool, terms: Terms, holdings: Shared<Holdings>) -> Self {
        let (preamble, none) = (Reader::behind(PREAMBLE_LEN), Reader::behind(0));
        let (said, heard) = if serves {
            (none, preamble)
        } else {
            (preamble, none)
        };
        Self {
            serves,
            terms,
            said,
            heard,
            streams: BTreeMap::new(),
            last: 0,
            holdings,
            deaf: false,
        }
    }

    /// Its node says or hears these bytes; what is wrong with that.
    pub fn handle(&mut self, says: bool, mut bytes: &[u8]) -> Option<Wrong> {
        while !bytes.is_empty() && !self.deaf {
            let reader = if says { &mut self.said } else { &mut self.heard };
            let wrong = match reader.next(&mut bytes) {
                Piece::Purpose(purpose) => {
                    self.deaf = purpose != PURPOSE_LINK;
                    None
                }
                Piece::Frame(frame) if says => self.judge(frame),
                Piece::Frame(frame) => {
                    self.hear(frame);
                    None
                }
                Piece::Body(id, piece) => self.handle_body(says, id, piece),
                Piece::Nothing => None,
            };
            if wrong.is_some() {
                self.deaf = true;
                return wrong;
            }
        }
        None
    }

    /// The node says a frame.
    fn judge(&mut self, frame: Frame) -> Option<Wrong> {
        let wrong = |what: String| Some((10, format!("says {frame:?} on a data link, and {what}")));
        if !frame.is_of_stream() {
            return None;
        }
        if frame.kind == START {
            if !self.serves || frame.id.is_multiple_of(2) || frame.id <= self.last {
                return wrong(format!("the last stream was {}", self.last));
            }
            self.open(frame.id);
            return None;
        }
        let terms = self.terms;
        let Some(stream) = self.streams.get_mut(&frame.id) else {
            return wrong("that stream was never opened".to_owned());
        };
        if stream.said == Said::Reset {
            return wrong("it has reset that stream".to_owned());
        }
        match frame.kind {
            DATA => {
                stream.sent += frame.len;
                if stream.said != Said::Open {
                    return wrong("it has ended that direction".to_owned());
                }
                if stream.sent > stream.allowed {
                    return wrong(format!("has sent {} of {}", stream.sent, stream.allowed));
                }
            }
            FIN | FINISHED | ACCEPTED | STARTED | REFUSED | RETIRE => {
                let last = frame.is_last(self.serves);
                if stream.said == Said::Last || stream.said == Said::Fin && !last {
                    return wrong("it has ended that direction".to_owned());
                }
                stream.said = frame.leads_to(self.serves).unwrap_or(stream.said);
            }
            RESET => stream.said = Said::Reset,
            WINDOW => {
                stream.granted += frame.credit;
                if 2 * frame.credit < terms.window {
                    return wrong("that is less than half of a window".to_owned());
                }
                if stream.outstanding() > WINDOW_MAX.max(terms.window) {
                    return wrong("no window is so wide".to_owned());
                }
                let open = self.streams.values().filter(|stream| !stream.is_over());
                let above = open.map(|stream| stream.outstanding().saturating_sub(terms.window));
                let above: u64 = above.sum();
                if above > terms.budget {
                    return wrong(format!("its windows have {above} above what they begin with"));
                }
            }
            WINDOW_RETURN => {
                let left = stream.allowed.saturating_sub(stream.sent + frame.credit);
                if left < terms.window {
                    return wrong(format!("keeps {left}"));
                }
                stream.allowed -= frame.credit;
            }
            _ => {}
        }
        None
    }

    /// The node hears a frame.
    fn hear(&mut self, frame: Frame) {
        if !frame.is_of_stream() {
            return;
        }
        if frame.kind == START {
            self.open(frame.id);
            return;
        }
        let Some(stream) = self.streams.get_mut(&frame.id) else {
            return;
        };
        match frame.kind {
            DATA => stream.received += frame.len,
            RESET => stream.heard = Said::Reset,
            WINDOW => stream.allowed += frame.credit,
            WINDOW_RETURN => stream.granted = stream.granted.saturating_sub(frame.credit),
            _ => {
                let next = frame.leads_to(!self.serves).unwrap_or(stream.heard);
                stream.heard = stream.heard.max(next);
            }
        }
    }

    fn open(&mut self, id: u32) {
        let window = self.terms.window;
        self.last = self.last.max(id);
        self.streams.insert(
            id,
            Stream {
                said: Said::Open,
                heard: Said::Open,
                sent: 0,
                allowed: window,
                received: 0,
                granted: window,
                request: Vec::new(),
                session: None,
            },
        );
    }

    /// Bytes of a stream go by: those of its visitor tell which session it is, and those that come are held.
    fn handle_body(&mut self, says: bool, id: u32, piece: &[u8]) -> Option<Wrong> {
        let stream = self.streams.get_mut(&id)?;
        if says == self.serves && stream.request.len() < REQUEST_LEN {
            let missing = REQUEST_LEN - stream.request.len();
            stream
                .request
                .extend_from_slice(&piece[..piece.len().min(missing)]);
            let whole = <&[u8; REQUEST_LEN]>::try_from(&stream.request[..]).ok();
            if let Some(request) = whole.and_then(Request::decode) {
                let (serves, session) = (self.serves, request.connection);
                let nth = self.holdings.with(|holdings| {
                    let holding = holdings.0.entry(session).or_default();
                    // Another try has another upstream, and the same visitor.
                    holding.handed = holding.handed.filter(|_| serves);
                    holding.streams += 1;
                    holding.streams
                });
                stream.session = Some((session, nth));
            }
        }
        if says {
            return None;
        }
        let (session, nth) = stream.session?;
        let holding = self.holdings.with(|holdings| holdings.0.get(&session).copied())?;
        let handed = holding.handed.filter(|_| holding.streams == nth)?;
        let held = stream.received.saturating_sub(handed);
        let most = self.terms.window + self.terms.budget;
        (held > most).then(|| {
            (
                12,
                format!("holds {held} bytes of session {session}, at most {most} are allowed"),
            )
        })
    }
}

/// The fixed part of a frame, with the credit that it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    kind: u8,
    id: u32,
    /// Bytes of body.
    len: u64,
    /// What the body says, where it is credit.
    credit: u64,
}

impl Frame {
    fn is_of_stream(self) -> bool {
        let kinds = matches!(self.kind, START..=RETIRE | DATA..=RESET | WINDOW | WINDOW_RETURN);
        kinds && self.id > 0
    }

    /// Whether nothing follows it from that end, but for a reset.
    fn is_last(self, by_server: bool) -> bool {
        self.kind == if by_server { FIN } else { FINISHED }
    }

    fn leads_to(self, by_server: bool) -> Option<Said> {
        match self.kind {
            _ if self.is_last(by_server) => Some(Said::Last),
            FIN => Some(Said::Fin),
            _ => None,
        }
    }
}

/// What a reader finds next.
enum Piece<'a> {
    Purpose(u8),
    /// A frame's fixed part; that of credit comes with its body.
    Frame(Frame),
    /// Bytes of the body of a stream's DATA.
    Body(u32, &'a [u8]),
    Nothing,
}

/// One direction of a connection, taken apart.
#[derive(Debug)]
struct Reader {
    /// The preamble, prefix or credit that is being read, and its length.
    part: Vec<u8>,
    wanted: usize,
    purpose_known: bool,
    frame: Option<Frame>,
    /// Bytes of header and body that are still to come.
    header: usize,
    body: u64,
}

impl Reader {
    /// Reads frames behind a preamble of that length.
    fn behind(preamble: usize) -> Self {
        Self {
            part: Vec::new(),
            wanted: if preamble > 0 { preamble } else { PREFIX_LEN },
            purpose_known: preamble == 0,
            frame: None,
            header: 0,
            body: 0,
        }
    }

    /// Takes what is next from `bytes`, which are not empty.
    fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Piece<'a> {
        if self.header > 0 {
            let (_, rest) = bytes.split_at(self.header.min(bytes.len()));
            self.header -= bytes.len() - rest.len();
            *bytes = rest;
            return Piece::Nothing;
        }
        if let Some(frame) = self.frame.filter(|frame| self.body > 0 && !is_credit(frame.kind)) {
            let there = bytes.len().min(usize::try_from(self.body).unwrap_or(usize::MAX));
            let (piece, rest) = bytes.split_at(there);
            (self.body, *bytes) = (self.body - there as u64, rest);
            return match frame.kind {
                DATA => Piece::Body(frame.id, piece),
                _ => Piece::Nothing,
            };
        }
        let there = bytes.len().min(self.wanted - self.part.len());
        self.part.extend_from_slice(&bytes[..there]);
        *bytes = &bytes[there..];
        if self.part.len() < self.wanted {
            return Piece::Nothing;
        }
        let part = std::mem::take(&mut self.part);
        self.wanted = PREFIX_LEN;
        if !std::mem::replace(&mut self.purpose_known, true) {
            return Piece::Purpose(part[PURPOSE_AT]);
        }
        let word = |at: usize| u32::from_le_bytes([part[at], part[at + 1], part[at + 2], part[at + 3]]);
        if let Some(mut frame) = self.frame.take_if(|_| self.body > 0) {
            frame.credit = word(0).into();
            self.body = 0;
            return Piece::Frame(frame);
        }
        let frame = Frame {
            kind: part[0],
            id: word(4),
            len: word(8).into(),
            credit: 0,
        };
        self.header = u16::from_le_bytes([part[2], part[3]]).into();
        (self.frame, self.body) = (Some(frame), frame.len);
        if is_credit(frame.kind) {
            // Four bytes, which are the body.
            self.wanted = 4;
            return Piece::Nothing;
        }
        Piece::Frame(frame)
    }
}

fn is_credit(kind: u8) -> bool {
    matches!(kind, WINDOW | WINDOW_RETURN)
}
