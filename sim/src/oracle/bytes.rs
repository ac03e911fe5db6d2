//! Invariants 1 to 5: what arrives, whole, where it belongs.

use std::time::Duration;

use super::{Invariant, Model, rest::Rest, silence::was_mute_too_long};
use crate::{
    event::{End, Event, Oddity, named},
    node::group_name,
    payload::When,
    plan::{Manner, web::Call, who::Who},
};

/// To how many upstream connections a visitor's bytes may go at most.
pub const TRIES_MAX: usize = 3;

/// 1: what arrives is a prefix of what was sent, in each direction.
pub struct Order;

impl Invariant for Order {
    fn number(&self) -> u8 {
        1
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        match event {
            Event::Odd {
                what:
                    Oddity::TooMuch { .. }
                    | Oddity::ForeignReply { .. }
                    | Oddity::WrongHead(_)
                    | Oddity::GoesOn(_),
                ..
            } => None,
            Event::Odd { place, session, what } => Some(format!("{place}, {}: {what}", named(*session))),
            Event::Greeted { session, greeting } => {
                let served = model.served.get(&greeting.serial);
                let known = served.is_some_and(|served| served.upstream == usize::from(greeting.upstream));
                (!known).then(|| format!("session {session} has a greeting that nobody sent: {greeting}"))
            }
            Event::Requested { request, .. } => {
                let visit = &model.sessions.get(&request.connection)?.visit;
                let same = (request.len, request.reply_len, request.when, request.delay_ms)
                    == (visit.len, visit.reply_len, visit.when, visit.delay_ms);
                let held = request.hold_ms == visit.hold_ms || request.hold_ms == 0;
                (!same || !held).then(|| {
                    let session = &model.sessions[&request.connection];
                    format!("an upstream got what was not sent: {request}: {session}")
                })
            }
            _ => None,
        }
    }
}

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);

/// 2: a session that looks finished is finished.
pub struct Completeness;

impl Invariant for Completeness {
    fn number(&self) -> u8 {
        2
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        match event {
            _ if !model.can_reset => None,
            // Only a process that dies leaves ends that look clean; or a service that means them.
            Event::Ends {
                session: id,
                how: End::Cut(why),
            } => {
                let session = model.sessions.get(id)?;
                let exposure = &session.exposure;
                // Hyper cannot reset what was upgraded over HTTP/2 (docs/http.md).
                let cannot = session.visit.call.is_some_and(Call::is_extended) && session.was_exposed();
                // The head of a request whose visitor is in trouble may come too late, which closes its connection.
                let asks = session.visit.call.is_some() && session.greeted.is_none();
                let late = asks && exposure.visitor && model.now >= session.opened + HEAD;
                let meant = exposure.server_died
                    || exposure.upstreams
                    || model.may_be_idle(session)
                    || was_mute_too_long(model, session)
                    || cannot
                    || late;
                (!meant).then(|| format!("session {id} looks finished, and was {why}: {session}"))
            }
            Event::Served {
                upstream,
                serial,
                clean: false,
                ended: true,
                note,
                ..
            } => {
                let served = model.served.get(serial)?;
                let (request, client) = (served.request?, served.upstream);
                let session = model.sessions.get(&request.connection)?;
                let leaves = matches!(session.visit.manner, Manner::Leave | Manner::Quit { .. });
                let gave_up = matches!(&session.ended, Some((_, End::Broken(_) | End::Cut(_))));
                let meant = leaves || gave_up || model.was_killed(client, served.accepted);
                (!meant).then(|| {
                    format!("{upstream}, connection {serial:#x}: looks finished, and is {note}: {session}")
                })
            }
            Event::Odd {
                place,
                session,
                what: what @ Oddity::TooMuch { .. },
            } => Some(format!("{place}, {}: {what}", named(*session))),
            _ => None,
        }
    }

    fn handle_rest(&mut self, model: &Model, _: &Rest) -> Option<String> {
        let complete = model.sessions.iter().filter(|(_, session)| {
            // Whoever has the answer to a request may leave before all of the request is taken.
            let early = session.visit.call.is_some() && session.visit.when == When::AfterHeader;
            matches!(session.ended, Some((_, End::Complete))) && !session.was_exposed() && !early
        });
        for (id, session) in complete {
            // The last bytes of an exposed one may still have been under way when a fault struck.
            let served = session
                .greeted
                .and_then(|(_, greeting)| model.served.get(&greeting.serial));
            let whole = served.is_some_and(|served| {
                served.request.is_some_and(|request| request.connection == *id)
                    && served.over == Some((session.visit.len, true, true))
            });
            if !whole {
                let got = match served.and_then(|served| served.over) {
                    Some((got, clean, _)) if !clean => format!("{got} bytes and no clean end"),
                    Some((got, ..)) => format!("{got} bytes of something else"),
                    None => "not seen its end".to_owned(),
                };
                return Some(format!(
                    "session {id} was complete for its visitor, but its upstream has {got}: {session}"
                ));
            }
        }
        None
    }
}

/// 3: no byte of another session.
pub struct Privacy;

impl Invariant for Privacy {
    fn number(&self) -> u8 {
        3
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        match event {
            Event::Odd {
                session,
                what: what @ Oddity::ForeignReply { .. },
                ..
            } => Some(format!("{} got another's: {what}", named(*session))),
            Event::Requested { request, .. } if !model.sessions.contains_key(&request.connection) => {
                Some(format!("an upstream got a request that nobody sent: {request}"))
            }
            _ => None,
        }
    }
}

/// 4: a visitor's bytes reach two upstreams only in the window where a try is ambiguous, and it is counted.
pub struct OneUpstream;

impl Invariant for OneUpstream {
    fn number(&self) -> u8 {
        4
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        let Event::Requested { request, .. } = event else {
            return None;
        };
        let session = model.sessions.get(&request.connection)?;
        let repeats = session.seen_by.len();
        if repeats > TRIES_MAX {
            return Some(format!(
                "a visitor's bytes went to {repeats} upstream connections: {session}"
            ));
        }
        if repeats > 1 && !session.was_exposed() && !model.plan.knobs.is_slow() {
            return Some(format!(
                "a visitor's bytes were repeated though nothing was troubled: {session}"
            ));
        }
        if repeats > 1 && !model.plan.knobs.replay_unacknowledged {
            return Some(format!(
                "a visitor's bytes were repeated though it is forbidden: {session}"
            ));
        }
        None
    }

    fn handle_rest(&mut self, model: &Model, rest: &Rest) -> Option<String> {
        let repeated: usize = model
            .sessions
            .values()
            .map(|one| one.seen_by.len().saturating_sub(1))
            .sum();
        let owned = rest.replays_ambiguous;
        (repeated as u64 > owned)
            .then(|| format!("bytes were repeated {repeated} times, the servers own up to {owned}"))
    }
}

/// 5: a visitor is served by a client of its group, and there by an upstream of its group.
pub struct Group;

impl Invariant for Group {
    fn number(&self) -> u8 {
        5
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        let Event::Greeted {
            session: id,
            greeting,
        } = event
        else {
            return None;
        };
        let session = model.sessions.get(id)?;
        let client = usize::from(greeting.upstream);
        let door = model.served.get(&greeting.serial).map_or(0, |served| served.door);
        let of = model.plan.group_behind(client, door);
        (of != Some(session.visit.group)).then(|| {
            let who = Who::Client(client);
            let of = of.map_or_else(|| "no group".to_owned(), group_name);
            let asked = group_name(session.visit.group);
            format!("session {id} asked for {asked} and was served by {who} of {of}")
        })
    }
}
