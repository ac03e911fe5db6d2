//! Invariant 24 of an HTTP entry: its access log has a line for each request, and it is true.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use super::{Invariant, Model, rest::Rest, session::Session};
use crate::{
    event::End,
    plan::web::Kind,
    web::{PREFIX, chain::Chain},
};

/// What a line of the access log says, as docs/http.md has it.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    path: String,
    client: IpAddr,
    peer: SocketAddr,
    status: Option<u16>,
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

impl Line {
    /// The session that it is about.
    fn session(&self) -> Option<u64> {
        let rest = self.path.strip_prefix(PREFIX)?.strip_prefix('/')?;
        rest.split_once('?')?.0.parse().ok()
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
pub struct Logged;

impl Invariant for Logged {
    fn number(&self) -> u8 {
        24
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
        let hops = |line: &Line| line.queue_ms + line.pool_ms + line.start_ms + line.first_byte_ms;
        if let Some(line) = lines.iter().find(|line| hops(line) > line.total_ms + ROUNDING_MS) {
            return Some(format!("a request took longer at its hops than in all: {line:?}"));
        }
        let nowhere = |line: &&Line| line.status.is_none() && hops(line) < line.total_ms - ROUNDING_MS;
        if let Some(line) = lines.iter().find(nowhere) {
            return Some(format!("a request lasted longer than it was anywhere: {line:?}"));
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
                well && ended && line.tries >= 1 && line.client == client
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
