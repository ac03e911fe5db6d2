//! What must hold of an HTTP entry: number 18, and those of the tunnel that mean something else for a request.

use std::time::Duration;

use super::{
    Invariant, Model, access, ailing, asks, bounds,
    bytes::{self, TRIES_MAX},
    choice, dials, doors, drain,
    excuse::{Excuse, Judgement},
    figures,
    rest::{self, Rest},
    service,
    session::Session,
    strangers, wire,
};
use crate::{
    event::{Event, Oddity, named},
    fault::AnyAct,
    plan::{Millis, web::Kind},
    upstream::Mood,
};

/// What of a request's body is kept to be said again, as docs/http.md has it.
const KEPT_MAX: u64 = 64 * 1024;

/// How long a connection to an upstream is kept on which nothing is asked, with the ways.
const KEPT_MS: Millis = 5_000;

/// How much later than its upstream gave it an answer may have been read.
const READ_MS: Millis = 10_000;

/// Every invariant of a world of an HTTP entry.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(bytes::Order),
        Box::new(bytes::Completeness),
        Box::new(bytes::Privacy),
        Box::new(Repeated),
        Box::new(bytes::Group),
        Box::new(strangers::Fencing),
        Box::new(bounds::Ports),
        Box::<bounds::Shelved>::default(),
        Box::new(bounds::Balance),
        Box::<choice::LeftOut>::default(),
        Box::new(wire::Wires(10)),
        Box::new(service::Beside),
        Box::new(wire::Wires(12)),
        Box::new(strangers::Admission),
        Box::<super::ready::Ready>::default(),
        Box::<super::here::Here>::default(),
        Box::new(super::still::Still),
        Box::<super::uneven::Agreement>::default(),
        Box::new(bounds::Limits),
        Box::<dials::Backoff>::default(),
        Box::<ailing::Released>::default(),
        Box::<doors::DoorsLeft>::default(),
        Box::new(Heads),
        Box::<drain::Draining>::default(),
        Box::new(service::Success::new(judge)),
        Box::new(service::Reached),
        Box::new(service::NoHang),
        Box::<dials::Noticed>::default(),
        Box::<dials::Storm>::default(),
        Box::<ailing::AnswerDeadline>::default(),
        Box::new(asks::CallDeadline),
        Box::new(rest::Counters),
        Box::new(rest::Baseline),
        Box::new(figures::Figures),
        Box::<access::Logged>::default(),
        Box::new(rest::Registered),
        Box::new(rest::Active),
        Box::<rest::Pools>::default(),
        Box::new(rest::DataLinks),
        Box::<dials::FoundOut>::default(),
        Box::new(rest::AllEnded),
        Box::new(rest::Courtesy),
        Box::new(rest::NoVainTries),
    ]
}

/// Whether the request may be made twice.
fn may_repeat(session: &Session) -> bool {
    session.visit.call.is_some_and(|call| call.may_repeat())
}

/// Whether its body was kept: it is short enough, and had no trailers.
fn is_kept(session: &Session) -> bool {
    let trailers = session.visit.call.is_some_and(|call| call.extras.trailers);
    session.visit.len <= KEPT_MAX && !trailers
}

/// Whether it can be made twice.
fn can_repeat(session: &Session) -> bool {
    may_repeat(session) && is_kept(session)
}

/// 4: a request is made twice only if it may be, if something befell it, before its answer began; and it is counted.
pub struct Repeated;

impl Invariant for Repeated {
    fn number(&self) -> u8 {
        4
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        let Event::Requested { request, .. } = event else {
            return None;
        };
        let session = model.sessions.get(&request.connection)?;
        if session.seen_by.len() < 2 {
            return None;
        }
        let exposure = &session.exposure;
        let why = if !may_repeat(session) {
            "it may not be"
        } else if model.plan.knobs.is_slow() {
            return None;
        } else if !session.was_exposed() {
            "nothing was troubled"
        } else if session.greeted.is_some() && !exposure.worn && !exposure.server {
            // What was said to a client that was not heard of may come late.
            "it was being answered"
        } else {
            return None;
        };
        Some(format!("a request was made twice although {why}: {session}"))
    }

    fn handle_rest(&mut self, model: &Model, rest: &Rest) -> Option<String> {
        let sessions = model.sessions.values();
        let repeated: usize = sessions.map(|one| one.seen_by.len().saturating_sub(1)).sum();
        let owned = rest.replays_ambiguous;
        (repeated as u64 > owned)
            .then(|| format!("requests were repeated {repeated} times, the servers own up to {owned}"))
    }
}

/// 18: a request comes to the host that it names, as the rule has it, and shows nothing that belongs to another
/// connection; its answer is its own.
pub struct Heads;

impl Invariant for Heads {
    fn number(&self) -> u8 {
        18
    }

    fn handle(&mut self, _: &Model, event: &Event) -> Option<String> {
        let Event::Odd {
            place,
            session,
            what: Oddity::WrongHead(what),
        } = event
        else {
            return None;
        };
        Some(format!("{place}, {}: {what}", named(*session)))
    }
}

/// How long a service must have refused for nothing to be under way that it accepted.
const REFUSES: Duration = Duration::from_millis(300);

/// Whether everybody who was in trouble refused whoever came, and nothing else.
fn only_refused(model: &Model, session: &Session) -> bool {
    let at = |ms| Duration::from_millis(ms);
    let from = session.opened.saturating_sub(REFUSES);
    let mut faults = model.plan.faults.iter().filter(|fault| {
        let trouble = fault.act.troubles();
        let near = trouble
            .clients
            .iter()
            .any(|client| session.exposure.clients.contains(client));
        let lasted =
            at(fault.from_ms) <= model.now && fault.to_ms.is_none_or(|end| at(end) + REFUSES >= from);
        lasted && (near || trouble.server)
    });
    faults.all(|fault| {
        let refuses = matches!(&fault.act, AnyAct::Ail(ail) if ail.mood == Mood::Refuses);
        refuses && at(fault.from_ms) <= from
    })
}

/// Why a broken request has an excuse, or has none. The death of a client excuses none that may be made again.
fn judge(model: &Model, session: &Session) -> Judgement {
    let exposure = &session.exposure;
    if let Some(excuse) = service::excused_by_all(model, session) {
        return Ok(excuse);
    }
    // Of an upstream that closes what has waited for too long.
    let web = model.plan.web.as_ref();
    let hasty = web.is_some_and(|web| (1..KEPT_MS).contains(&web.idle_ms));
    if let Some((_, greeting)) = session.greeted {
        // One that closes as soon as its kernel has the whole answer resets it, if anything comes to it before all of it is
        // taken: with HTTP/2 something does.
        return match hasty {
            true => Ok(Excuse::Lost),
            false => service::touched(session, greeting),
        };
    }
    if exposure.sound_min == 0 {
        return Ok(Excuse::NobodyLeft);
    }
    // A start may be too slow for an untroubled client, again and again.
    if model.plan.knobs.is_slow() {
        return Ok(Excuse::Slow);
    }
    // To an upstream a connection has waited since it gave its answer, which a slow visitor may have taken long after.
    let closes = web.is_some_and(|web| (1..KEPT_MS + READ_MS).contains(&web.idle_ms));
    if exposure.clients.is_empty() {
        // It may have been said to a client that is lost for good, or to an upstream that closed just then what had
        // waited for too long.
        // What an upstream has turned away is sent again whatever it is, if it was kept.
        let refused = web.is_some_and(|web| web.refuses_one_in > 0) && !is_kept(session);
        let excused = refused || (closes || !model.outside.clients.is_empty()) && !can_repeat(session);
        return match excused {
            true => Ok(Excuse::Lost),
            false => Err("nothing was troubled and a client was registered"),
        };
    }
    // Each of them may have been tried; or none is left that could be.
    if exposure.clients.len() >= TRIES_MAX {
        return Ok(Excuse::Tries);
    }
    // What waits behind another request is lost with it; and who was let speak as it likes, and is reset before it hears of
    // that, does not know that it was answered.
    let alone = session
        .visit
        .call
        .is_some_and(|call| !matches!(call.kind, Kind::Pipelined | Kind::WebSocket));
    let arrived = !session.seen_by.is_empty();
    let crosses = closes && !can_repeat(session);
    if alone && is_kept(session) && !arrived && !crosses && only_refused(model, session) {
        return Err("whoever was in trouble refused it, and nothing of it can have arrived");
    }
    if exposure.upstreams || exposure.worn {
        return Ok(Excuse::Carried);
    }
    match alone && can_repeat(session) {
        true => Err("it could be made again, and its clients had died and nothing else"),
        false => Ok(Excuse::Carried),
    }
}

/// How much longer than a session a request may take: what its upstream has for the head of the answer.
pub fn takes_more(model: &Model) -> Duration {
    let web = model.plan.web.as_ref();
    web.map_or(Duration::ZERO, |web| Duration::from_millis(web.first_byte_ms))
}
