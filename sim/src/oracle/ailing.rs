//! Invariants 17 and 32 as they stand for an HTTP entry: what becomes of connections and requests while a service ails.

use std::{collections::BTreeMap, time::Duration};

use super::{Class, Invariant, Model, group_bit};
use crate::{
    event::Event,
    fault::AnyAct,
    plan::{Millis, web::Kind, who::Who},
    upstream::Mood,
};

/// The client whose service the fault of that number puts into `mood`.
fn put_into(model: &Model, nth: usize, mood: Mood) -> Option<usize> {
    match &model.plan.faults[nth].act {
        AnyAct::Ail(ail) if ail.mood == mood => Some(ail.upstream),
        _ => None,
    }
}

/// How long a connection may stay open when its target has left the active set: the entry looks once a second, and the
/// end has three ways to go. Less than the 4 s for which every connection is kept.
const RELEASED_MS: Millis = 3_000;

/// What is known of a service that refuses, while nothing else troubles its group.
#[derive(Clone, Copy, Debug, Default)]
struct Refusing {
    /// All targets of its group were active since then: whoever is out after that is the one that refuses.
    all_active: bool,
    /// Since when it is out and has a connection that no session needs.
    idle: Option<Duration>,
}

/// 17: nobody keeps a connection to a target that has left the active set, but for a request on its way. Watches services
/// that refuse new connections and go on with those they have, by the number of the fault.
#[derive(Default)]
pub struct Released(BTreeMap<usize, Refusing>);

impl Released {
    /// Whether a session that has not ended was brought to that upstream.
    fn is_used(model: &Model, upstream: usize) -> bool {
        let mut open = model.open.iter().filter_map(|id| model.sessions.get(id));
        open.any(|session| model.started_on(session).any(|one| one == upstream))
    }

    fn look(watched: &mut Refusing, model: &Model, nth: usize, client: usize) -> Option<String> {
        let clients = &model.plan.clients;
        let group = clients[client];
        let mut members = (0..clients.len()).filter(|member| clients[*member] == group);
        let disturbed = members.any(|member| model.is_troubled_besides(member, nth));
        let lost = model.outside.clients.iter().filter(|lost| **lost != client);
        let somebody_is_away = model.sight.registered + lost.count() < clients.len();
        // What a machine without power leaves behind, its service keeps.
        let lost_power = model.plan.faults.iter().any(|fault| {
            let begun = Duration::from_millis(fault.from_ms) <= model.now;
            begun && matches!(&fault.act, AnyAct::PowerLoss(loss) if loss.who == Who::Client(client))
        });
        if disturbed || somebody_is_away || lost_power {
            *watched = Refusing::default();
            return None;
        }
        let is_out = model.sight.uneven & group_bit(group) != 0;
        watched.all_active |= !is_out;
        let is_connected = model.sight.connected & group_bit(client) != 0;
        if !is_out || !watched.all_active || !is_connected || Self::is_used(model, client) {
            watched.idle = None;
            return None;
        }
        let since = *watched.idle.get_or_insert(model.now);
        (model.now > since + Duration::from_millis(RELEASED_MS)).then(|| {
            let upstream = Who::Upstream(client);
            format!("a connection to {upstream} is kept, which had left the active set by {since:?}")
        })
    }
}

impl Invariant for Released {
    fn number(&self) -> u8 {
        17
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        match event {
            Event::FaultBegins { nth, .. } if put_into(model, *nth, Mood::Refuses).is_some() => {
                self.0.insert(*nth, Refusing::default());
            }
            Event::FaultEnds { nth, .. } | Event::FaultMisses { nth, .. } => drop(self.0.remove(nth)),
            _ => {}
        }
        None
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        if model.plan.knobs.is_slow() {
            return None;
        }
        self.0.iter_mut().find_map(|(nth, watched)| {
            let client = put_into(model, *nth, Mood::Refuses)?;
            Self::look(watched, model, *nth, client)
        })
    }
}

/// How much longer than the time to answer a visitor may wait: both ways, and the entry's own answer.
const ANSWERED_MS: Millis = 3_000;

/// The longest body that an entry has taken as soon as its visitor has said it, whatever its upstream does.
const TAKEN_AT_ONCE: u64 = 4_096;

/// 32 as well: whose upstream does not begin its answer in time is answered by the entry. Watches services that hang, by
/// the number of the fault: since when nothing else troubles them.
#[derive(Default)]
pub struct AnswerDeadline(BTreeMap<usize, Duration>);

impl AnswerDeadline {
    /// The session that waits for an answer of that client's service for too long.
    fn late(model: &Model, client: usize, calm_since: Duration) -> Option<u64> {
        let first_byte_ms = model.plan.web.as_ref()?.first_byte_ms;
        let is_late = |id: &&u64| {
            let session = &model.sessions[*id];
            let visit = &session.visit;
            let waits = session.greeted.is_none() && !session.exposure.visitor;
            let plain = visit
                .call
                .is_some_and(|call| !matches!(call.kind, Kind::Pipelined | Kind::WebSocket));
            let last = session.seen_by.last().and_then(|serial| model.served.get(serial));
            let Some(last) = last.filter(|last| last.upstream == client) else {
                return false;
            };
            let pieces = visit.len / visit.piece.max(1) as u64 + 1;
            let takes = pieces * visit.piece_pause_ms + first_byte_ms + ANSWERED_MS;
            let is_over = model.now > last.accepted + Duration::from_millis(takes);
            waits && plain && visit.len <= TAKEN_AT_ONCE && last.accepted >= calm_since && is_over
        };
        model.open.iter().find(is_late).copied()
    }
}

impl Invariant for AnswerDeadline {
    fn number(&self) -> u8 {
        32
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        match event {
            Event::FaultBegins { nth, .. } if put_into(model, *nth, Mood::Hangs).is_some() => {
                self.0.insert(*nth, model.now);
            }
            Event::FaultEnds { nth, .. } | Event::FaultMisses { nth, .. } => drop(self.0.remove(nth)),
            _ => {}
        }
        None
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        if model.plan.knobs.is_slow() {
            return None;
        }
        let (id, client) = self.0.iter_mut().find_map(|(nth, calm_since)| {
            let client = put_into(model, *nth, Mood::Hangs)?;
            if model.is_troubled_besides(client, *nth) {
                *calm_since = model.now;
            }
            Some((Self::late(model, client, *calm_since)?, client))
        })?;
        let session = model.sessions.get(&id)?;
        let upstream = Who::Upstream(client);
        Some(format!(
            "session {id} still waits for the answer of {upstream}, which hangs: {session}"
        ))
    }
}
