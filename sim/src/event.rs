//! What happens in a world, in the words of those it happens to. The trace keeps it, the oracle judges it,
//! the timeline draws it.

use std::fmt;

use adit::selector::journal::{Change, Reason};
use serde::Serialize;

use crate::{
    node::group_name,
    payload::{Greeting, Request},
    plan::{Millis, Visit, who::Who},
};

/// Something that happened. Numbers and hosts are those of the plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each field is the noun of its sentence")]
pub enum Event {
    /// A host begins its life of that number, counted from 0.
    Boots { host: Who, life: usize },
    /// What a host runs has come to its end by itself.
    Stops { host: Who, why: String },
    /// The fault of that number in the plan begins; when it will end, if ever.
    FaultBegins {
        nth: usize,
        act: String,
        to_ms: Option<Millis>,
    },
    /// It is over.
    FaultEnds { nth: usize, act: String },
    /// It found nothing to be done to, or the engine cannot.
    FaultMisses { nth: usize, act: String },
    /// A phase of the run begins: `liveness` when everything is healed, `converged` when all is well again.
    Phase { name: &'static str },
    /// So many clients are registered at the server now.
    Registered { clients: usize },
    /// A node said to who watches it whether it is ready, when it was asked so many ms before.
    Ready {
        stranger: Who,
        of: Who,
        ready: bool,
        asked_ms: Millis,
    },
    /// A visitor is about to connect.
    Opens {
        session: u64,
        visitor: Who,
        visit: Visit,
    },
    /// A visitor has an upstream's greeting.
    Greeted { session: u64, greeting: Greeting },
    /// It is over for its visitor.
    Ends { session: u64, how: End },
    /// An upstream has accepted a connection, or a request on one, that came in by the door with that number.
    Accepts { upstream: Who, serial: u64, door: usize },
    /// An upstream knows what is wanted on a connection.
    Requested {
        upstream: Who,
        serial: u64,
        request: Request,
    },
    /// A connection is over for its upstream: the bytes of body it got, whether they ended cleanly and
    /// complete, and whether they ended cleanly at all.
    Served {
        upstream: Who,
        serial: u64,
        got: u64,
        clean: bool,
        ended: bool,
        note: String,
    },
    /// A visitor or an upstream was given something that it should never see.
    Odd {
        place: Who,
        session: Option<u64>,
        what: Oddity,
    },
    /// A client connects to the server's control port: how long its last connection there lived, if it came to
    /// be, and how long ago that ended.
    Dials {
        client: Who,
        lived_ms: Option<Millis>,
        waited_ms: Option<Millis>,
    },
    /// A client could not reach its service for so many visitors and probes: at once, and after a wait in vain.
    TurnsAway { client: Who, refused: u64, in_vain: u64 },
    /// A stranger has knocked: how many bytes it was answered, and when the door was shut, if it was.
    Knocked {
        stranger: Who,
        answered: usize,
        shut_after_ms: Option<Millis>,
    },
    /// A stranger has played a client: how many proxy connections it was asked for.
    Pretended { stranger: Who, proxies: u64 },
    /// A client has met an impostor in the server's place: what it was lured into, and how long it stayed.
    Deceived {
        client: Who,
        lured: Option<String>,
        stayed_ms: Millis,
    },
    /// A node breaks the rules of data links, as its own wire shows: the invariant of that number.
    Irregular { host: Who, number: u8, what: String },
    /// A stranger does its deed, or says what came of it.
    Intrudes { stranger: Who, what: String },
    /// A forwarder has said all of a visitor's request to an upstream.
    Sends { session: u64, upstream: Who },
    /// A forwarder has connected to an upstream.
    Connects { upstream: Who },
    /// So many of a forwarder's candidates are out for succeeding rarely now, and so many for a low score.
    Poor { poor: usize, low: usize, of: usize },
    /// A forwarder's journal has a new decision, so many ms ago.
    Decides {
        ago_ms: Millis,
        target: Option<String>,
        #[serde(skip)]
        change: Change,
        #[serde(skip)]
        reason: Reason,
        members: usize,
        targets: usize,
    },
    /// An invariant is broken.
    Broken { invariant: u8, what: String },
}

/// What nobody should ever see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oddity {
    /// A session begins with bytes that are no greeting.
    NoGreeting(Vec<u8>),
    /// A greeting that no upstream has sent.
    UnknownGreeting(Greeting),
    /// An upstream connection begins with bytes that are no request.
    NoRequest(Vec<u8>),
    /// Bytes that are no reply, or not the one that was asked for.
    WrongReply(Vec<u8>),
    /// The reply of another connection.
    ForeignReply {
        /// The visitor's connection it is for.
        connection: u64,
        /// The upstream's connection it came from.
        serial: u64,
    },
    /// A byte that does not belong there.
    WrongByte {
        /// Its offset in the body.
        at: u64,
    },
    /// A head of HTTP that is not what it has to be.
    WrongHead(String),
    /// A connection that goes on as if its server did not drain.
    GoesOn(String),
    /// More than was sent.
    TooMuch {
        /// So much.
        got: u64,
        /// Of so much.
        of: u64,
    },
}

/// How a session ended for its visitor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Everything sent, everything got.
    Complete,
    /// The visitor left as planned.
    Left,
    /// Cut short, with an end that looks clean.
    Cut(String),
    /// Cut short by an error.
    Broken(String),
}

/// A session that may not be known.
pub fn named(session: Option<u64>) -> String {
    session.map_or_else(
        || "a session that nobody knows".to_owned(),
        |n| format!("session {n}"),
    )
}

impl fmt::Display for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "connection {:#x} of {}",
            self.serial,
            Who::Upstream(self.upstream.into())
        )
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "session {}, {} up, {} down, reply {} + {} ms",
            self.connection, self.len, self.reply_len, self.when, self.delay_ms
        )
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        match self {
            Self::NoGreeting(bytes) => write!(f, "it begins with what is no greeting: {}", text(bytes)),
            Self::UnknownGreeting(greeting) => {
                write!(f, "it has a greeting that nobody sent: {greeting}")
            }
            Self::NoRequest(bytes) => write!(f, "it begins with what is no request: {}", text(bytes)),
            Self::WrongReply(bytes) => {
                write!(f, "it has a reply that nobody asked for: {}", text(bytes))
            }
            Self::ForeignReply { connection, serial } => {
                write!(
                    f,
                    "it has the reply to session {connection}, of connection {serial:#x}"
                )
            }
            Self::WrongByte { at } => write!(f, "byte {at} of its body does not belong there"),
            Self::WrongHead(what) => write!(f, "its head is wrong: {what}"),
            Self::GoesOn(what) => f.write_str(what),
            Self::TooMuch { got, of } => write!(f, "it has {got} bytes of {of}"),
        }
    }
}

impl Event {
    /// Where it happened.
    pub fn place(&self) -> String {
        match self {
            Self::Boots { host, .. } | Self::Stops { host, .. } => host.to_string(),
            Self::FaultBegins { .. } | Self::FaultEnds { .. } | Self::FaultMisses { .. } => {
                "fault".to_owned()
            }
            Self::Phase { .. } => "phase".to_owned(),
            Self::Registered { .. } => Who::Server.to_string(),
            Self::Opens { visitor, .. } => visitor.to_string(),
            Self::Greeted { session, .. } | Self::Ends { session, .. } => format!("session {session}"),
            Self::Accepts { upstream, .. }
            | Self::Requested { upstream, .. }
            | Self::Served { upstream, .. } => upstream.to_string(),
            Self::Odd { place, .. } => place.to_string(),
            Self::Dials { client, .. } | Self::TurnsAway { client, .. } | Self::Deceived { client, .. } => {
                client.to_string()
            }
            Self::Intrudes { stranger, .. }
            | Self::Knocked { stranger, .. }
            | Self::Ready { stranger, .. }
            | Self::Pretended { stranger, .. } => stranger.to_string(),
            Self::Sends { .. } | Self::Connects { .. } | Self::Poor { .. } | Self::Decides { .. } => {
                Who::Server.to_string()
            }
            Self::Irregular { host, .. } => host.to_string(),
            Self::Broken { .. } => "oracle".to_owned(),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<11} ", self.place())?;
        match self {
            Self::Boots { life, .. } => write!(f, "boots, life {life}"),
            Self::Stops { why, .. } => write!(f, "has stopped: {why}"),
            Self::FaultBegins {
                nth,
                act,
                to_ms: Some(to),
            } => write!(f, "#{nth} begins, to {to} ms: {act}"),
            Self::FaultBegins {
                nth,
                act,
                to_ms: None,
            } => write!(f, "#{nth} begins for good: {act}"),
            Self::FaultEnds { nth, act } => write!(f, "#{nth} ends: {act}"),
            Self::FaultMisses { nth, act } => write!(f, "#{nth} has nothing to do: {act}"),
            Self::Phase { name } => f.write_str(name),
            Self::Registered { clients } => write!(f, "{clients} clients registered"),
            Self::Opens { session, visit, .. } => write!(
                f,
                "session {session} opens: asks {}, {}, {} up, {} down, reply {} + {} ms",
                group_name(visit.group),
                visit.manner,
                visit.len,
                visit.reply_len,
                visit.when,
                visit.delay_ms
            ),
            Self::Greeted { greeting, .. } => {
                write!(f, "greeted by {greeting}")
            }
            Self::Ends {
                how: End::Complete, ..
            } => f.write_str("complete"),
            Self::Ends { how: End::Left, .. } => f.write_str("left"),
            Self::Ends {
                how: End::Broken(why) | End::Cut(why),
                ..
            } => write!(f, "broken: {why}"),
            Self::Accepts { serial, door, .. } => {
                let spare = if *door == 0 { "" } else { " at its spare door" };
                write!(f, "accepts connection {serial:#x}{spare}")
            }
            Self::Requested { serial, request, .. } => write!(
                f,
                "connection {serial:#x} has session {}, {} bytes to come",
                request.connection, request.len
            ),
            Self::Served {
                serial,
                got,
                clean,
                note,
                ..
            } => {
                let end = if *clean { "a clean end" } else { "no clean end" };
                write!(f, "connection {serial:#x} is over: {note}, {got} bytes and {end}")
            }
            Self::Odd { session, what, .. } => write!(f, "{} is odd: {what}", named(*session)),
            Self::TurnsAway { refused, in_vain, .. } => write!(
                f,
                "turns away {refused} at once and {in_vain} after a wait in vain"
            ),
            Self::Dials {
                lived_ms, waited_ms, ..
            } => {
                f.write_str("dials the server")?;
                if let Some(lived) = lived_ms {
                    write!(f, "; the last link lived {lived} ms")?;
                }
                if let Some(waited) = waited_ms {
                    write!(f, "; the last try ended {waited} ms ago")?;
                }
                Ok(())
            }
            Self::Ready { of, ready, .. } => {
                write!(
                    f,
                    "is told that {of} is {}ready",
                    if *ready { "" } else { "not " }
                )
            }
            Self::Knocked {
                answered,
                shut_after_ms,
                ..
            } => {
                write!(f, "was answered {answered} bytes, and ")?;
                match shut_after_ms {
                    Some(after) => write!(f, "shut out after {after} ms"),
                    None => f.write_str("not shut out"),
                }
            }
            Self::Deceived { lured, stayed_ms, .. } => match lured {
                Some(what) => write!(f, "meets an impostor: {what}"),
                None => write!(f, "leaves an impostor after {stayed_ms} ms"),
            },
            Self::Pretended { proxies, .. } => write!(f, "was asked for {proxies} proxy connections"),
            Self::Intrudes { what, .. } | Self::Irregular { what, .. } => f.write_str(what),
            Self::Sends { session, upstream } => write!(f, "brings session {session} to {upstream}"),
            Self::Connects { upstream } => write!(f, "connects to {upstream}"),
            Self::Poor { poor, low, of } => {
                write!(f, "{poor} of {of} succeed rarely, {low} score too little")
            }
            Self::Decides {
                ago_ms,
                target,
                change,
                reason,
                members,
                targets,
            } => {
                write!(f, "decided {ago_ms} ms ago: ")?;
                match (target, change) {
                    (Some(target), Change::Added) => write!(f, "{target} added: ")?,
                    (Some(target), Change::Removed) => write!(f, "{target} removed: ")?,
                    _ => {}
                }
                write!(f, "{reason}; {members} of {targets} used")
            }
            Self::Broken { invariant, what } => write!(f, "invariant {invariant} broken: {what}"),
        }
    }
}
