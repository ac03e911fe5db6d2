//! Invariant 24 of an HTTP entry: its access log has a line for each request, and it is true.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde::Deserialize;

use super::{Invariant, Model, rest::Rest, session::Session};
use crate::{
    event::{End, Event},
    plan::{web::Kind, who::Who},
    web::{PREFIX, chain::Chain},
};

/// What a line of the access log says, as docs/http.md has it.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    time: String,
    path: String,
    client: IpAddr,
    peer: SocketAddr,
    status: Option<u16>,
    reason: Option<String>,
    end: String,
    tries: u32,
    queue_ms: f64,
    pool_ms: f64,
    start_ms: f64,
    first_byte_ms: f64,
    total_ms: f64,
}

/// Times are rounded to the microsecond.
const ROUNDING_MS: f64 = 0.005;

/// Clocks move in steps, and lines are dated to the millisecond.
const CLOCK_MS: f64 = 5.0;

impl Line {
    /// The session that it is about.
    fn session(&self) -> Option<u64> {
        let rest = self.path.strip_prefix(PREFIX)?.strip_prefix('/')?;
        rest.split_once('?')?.0.parse().ok()
    }

    /// When the head of its request was there. The wall clock of a run begins with it, and no run lasts for a day.
    fn at(&self) -> Option<Duration> {
        let time = self.time.split_once('T')?.1.strip_suffix('Z')?;
        let mut parts = time.split(':');
        let mut next = || parts.next()?.parse::<f64>().ok();
        let (hours, minutes, seconds) = (next()?, next()?, next()?);
        Duration::try_from_secs_f64((hours * 60.0 + minutes) * 60.0 + seconds).ok()
    }

    /// What its times cannot be, whatever it was that was asked for.
    fn wrong_times(&self) -> Option<&'static str> {
        let hops = self.queue_ms + self.pool_ms + self.start_ms + self.first_byte_ms;
        let tried = self.pool_ms + self.start_ms + self.first_byte_ms;
        if hops > self.total_ms + ROUNDING_MS {
            Some("a request took longer at its hops than in all")
        } else if self.status.is_none() && hops < self.total_ms - ROUNDING_MS {
            Some("a request lasted longer than it was anywhere")
        } else if self.tries == 0 && tried > 0.0 {
            Some("a request that nobody was asked for took time there")
        } else {
            None
        }
    }
}

/// How many lines of the access log there should be of one kind of answer.
#[derive(Clone, Debug)]
pub enum Answers {
    /// Of a class, `2xx` for example.
    Class(String, u64),
    /// That name a reason.
    Reason(String, u64),
}

impl Answers {
    /// Where the log has less of them, but for those that are `lost`, or more.
    fn differs(&self, lines: &[Line], lost: u64) -> Option<String> {
        let (what, counted, logged) = match self {
            Self::Class(class, counted) => {
                let is_one = |line: &&Line| {
                    let first = line
                        .status
                        .and_then(|status| char::from_digit(u32::from(status) / 100, 10));
                    first.is_some() && class.chars().next() == first
                };
                (class, *counted, lines.iter().filter(is_one).count() as u64)
            }
            Self::Reason(reason, counted) => {
                let is_one = |line: &&Line| line.reason.as_deref() == Some(reason);
                (reason, *counted, lines.iter().filter(is_one).count() as u64)
            }
        };
        (logged > counted || logged + lost < counted)
            .then(|| format!("{counted} answers {what} are counted, the access log has {logged}"))
    }
}

/// Whom a session is from, where a proxy speaks for it that the entry trusts.
fn client(model: &Model, session: &Session) -> Option<IpAddr> {
    let trusted = &model.plan.web.as_ref()?.trusted;
    let chain = trusted
        .contains(&session.visitor)
        .then_some(session.visit.call?.extras.chain);
    chain.map(|chain| Chain::of(chain).client())
}

/// 24: every request that is over is one line, which says how it ended, and where all of its time went.
#[derive(Default)]
pub struct Logged {
    /// From when to when no client was registered, so that nobody could be asked.
    empty: Vec<(Duration, Duration)>,
    /// Whether one is now, and since when none was.
    is_any: bool,
    none_since: Duration,
}

/// Between two looks at how many clients are registered.
const LOOK: Duration = Duration::from_millis(50);

/// How long the loss of the last client may take to be known everywhere.
const KNOWN: Duration = Duration::from_millis(100);

impl Logged {
    /// Takes note of how many clients are registered.
    fn handle_registered(&mut self, now: Duration, clients: usize) {
        match (self.is_any, clients) {
            (true, 0) => self.none_since = now + KNOWN,
            (false, 1..) => self.empty.push((self.none_since, now.saturating_sub(LOOK))),
            _ => {}
        }
        self.is_any = clients > 0;
    }

    /// Whether a request came while nobody could be asked, was brought to somebody later, and has not waited for that.
    fn hides_wait(&self, line: &Line) -> Option<&'static str> {
        let at = line.at().filter(|_| line.tries > 0)?;
        let waits = self.empty.iter().filter(|(from, to)| (*from..*to).contains(&at));
        let waited_ms = waits.map(|(_, to)| (*to - at).as_secs_f64() * 1_000.0);
        let hidden = waited_ms.into_iter().any(|ms| line.queue_ms + CLOCK_MS < ms);
        hidden.then_some("a request came while there was no client, and has not waited for one")
    }
}

/// Whether an answer came sooner than its upstream gives it.
fn is_hasty(session: &Session, line: &Line) -> bool {
    let thinks = session
        .visit
        .call
        .is_some_and(|call| !matches!(call.kind, Kind::WebSocket | Kind::Pipelined));
    thinks && line.start_ms + line.first_byte_ms + CLOCK_MS < session.visit.delay_ms as f64
}

/// An answer that its visitor saw break off, although nothing befell the server or the visitor, and that is logged as whole.
fn broken(model: &Model, lines: &[Line]) -> Option<String> {
    lines.iter().find_map(|line| {
        let session = model.sessions.get(&line.session()?)?;
        let broke = matches!(session.ended, Some((_, End::Broken(_) | End::Cut(_))));
        let others = session.exposure.server || session.exposure.visitor;
        let well = line.status.is_some_and(|status| status < 300);
        let plain = session.visit.call.is_some_and(|call| call.kind == Kind::Get);
        (broke && !others && well && plain && line.end == "whole")
            .then(|| format!("an answer broke off, the access log says {line:?}: {session}"))
    })
}

impl Invariant for Logged {
    fn number(&self) -> u8 {
        24
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        match event {
            Event::Registered { clients } => self.handle_registered(model.now, *clients),
            // A client may have come to the life before unseen.
            Event::Boots {
                host: Who::Server, ..
            } => (self.is_any, self.none_since) = (false, model.now),
            _ => {}
        }
        None
    }

    fn handle_rest(&mut self, model: &Model, rest: &Rest) -> Option<String> {
        let mut lines = Vec::new();
        for text in &rest.log {
            match serde_json::from_str::<Line>(text) {
                Ok(line) => lines.push(line),
                Err(error) => return Some(format!("a line of the access log is none: {error}: {text}")),
            }
        }
        let answered = lines.iter().filter(|line| line.status.is_some()).count() as u64;
        let lost = rest.lines_lost;
        if answered > rest.visitors || answered + lost < rest.visitors {
            return Some(format!(
                "{} requests were answered, the access log has {answered}, and {lost} lines are said to be lost",
                rest.visitors
            ));
        }
        if let Some(what) = rest
            .answers
            .iter()
            .find_map(|counted| counted.differs(&lines, lost))
        {
            return Some(what);
        }
        let wrong = |line: &Line| line.wrong_times().or_else(|| self.hides_wait(line));
        if let Some((what, line)) = lines.iter().find_map(|line| Some((wrong(line)?, line))) {
            return Some(format!("{what}: {line:?}"));
        }
        if let Some(what) = broken(model, &lines) {
            return Some(what);
        }
        for (number, session) in &model.sessions {
            let whole = matches!(session.ended, Some((_, End::Complete)));
            let twice = session.visit.call.is_none_or(|call| call.kind == Kind::Pipelined);
            // A process that dies may have said everything, and not noticed yet.
            if !whole || twice || session.exposure.server {
                continue;
            }
            let mut about = lines.iter().filter(|line| line.session() == Some(*number));
            let (line, more) = (about.next(), about.next());
            if line.is_none() && lost > 0 {
                continue;
            }
            let true_line = |line: &&Line| {
                let well = line.status.is_some_and(|status| status < 400);
                // A visitor of a WebSocket that has everything may close it before its upstream does.
                let upgraded = session
                    .visit
                    .call
                    .is_some_and(|call| call.kind == Kind::WebSocket);
                let ended = line.end == "whole" || upgraded && line.end == "broke";
                let client = client(model, session).unwrap_or_else(|| line.peer.ip());
                well && ended && line.tries >= 1 && line.client == client && !is_hasty(session, line)
            };
            if line.filter(true_line).is_none() || more.is_some() {
                return Some(format!(
                    "session {number} was served whole, the access log says {line:?} {more:?}: {session}"
                ));
            }
        }
        None
    }
}
