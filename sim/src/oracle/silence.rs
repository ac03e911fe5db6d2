//! Invariant 44: a half-closed session on which nothing passes ends when its time is over, and not before.

use std::time::Duration;

use super::{Class, Invariant, Model, service::takes, session::Session};
use crate::{
    event::{End, Event},
    fault::AnyAct,
    plan::{Millis, patience::Outlasts},
};

/// How much later than its time such a session may end.
const MARGIN: Duration = Duration::from_secs(3);

/// Between a deadline and what is seen of it.
const SLACK: Duration = Duration::from_millis(100);

/// 44: what is half-closed and silent ends in its time.
pub struct Silence;

/// Who is silent for too long in `session`.
pub fn outlasts(model: &Model, session: &Session) -> Option<Outlasts> {
    session.visit.outlasts(model.plan.knobs.half_closed_timeout_ms)
}

/// Whether some candidate may have closed the connection of a visitor that had said nothing for so long. What was kept warm may
/// be closed earlier, and another takes its place.
pub fn was_mute_too_long(model: &Model, session: &Session) -> bool {
    let candidates = model.plan.forward.iter().flat_map(|forward| &forward.candidates);
    let first = candidates.map(|one| one.idle_ms).filter(|ms| *ms > 0).min();
    let at = session.ended.as_ref().map_or(model.now, |(at, _)| *at);
    let closes = |ms| at >= session.opened + Duration::from_millis(ms);
    let told = || {
        let mut meanwhile = model.plan.faults_between(session.opened, at);
        meanwhile.any(|fault| matches!(fault.act, AnyAct::DropIdle(_)))
    };
    session.visit.mute_ms > 0 && (first.is_some_and(closes) || told())
}

/// From when to when such a session ends, unless something befalls it.
fn ends(model: &Model, session: &Session) -> Option<(Duration, Duration)> {
    let (visit, knobs) = (&session.visit, &model.plan.knobs);
    outlasts(model, session)?;
    let exposure = &session.exposure;
    let touched = exposure.touched.server || !exposure.touched.clients.is_empty();
    if session.greeted.is_none() || session.was_exposed() || touched || knobs.is_slow() {
        return None;
    }
    let timeout = Duration::from_millis(knobs.half_closed_timeout_ms);
    let pieces: Millis = visit.len / visit.piece.max(1) as u64 + 1;
    let silent = Duration::from_millis(visit.delay_ms + pieces * visit.piece_pause_ms);
    let moves = takes(model, session).saturating_sub(silent);
    let from = (session.opened + timeout).saturating_sub(SLACK);
    Some((from, session.opened + moves + timeout + MARGIN))
}

fn words(id: u64, what: &str, session: &Session) -> Option<String> {
    Some(format!(
        "session {id} is half-closed and silent, and {what}: {session}"
    ))
}

impl Invariant for Silence {
    fn number(&self) -> u8 {
        44
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        match event {
            Event::Ends { session: id, how } => {
                let session = model.sessions.get(id)?;
                let (from, _) = ends(model, session)?;
                match how {
                    End::Complete => words(*id, "was let go on to its end", session),
                    _ if model.now < from => words(*id, "ended before its time", session),
                    _ => None,
                }
            }
            Event::Served { serial, .. } => {
                let request = model.served.get(serial)?.request?;
                let session = model.sessions.get(&request.connection)?;
                let (from, _) = ends(model, session)?;
                if model.now >= from {
                    return None;
                }
                words(
                    request.connection,
                    "ended before its time for its upstream",
                    session,
                )
            }
            _ => None,
        }
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let late = |id: &u64| {
            let session = model.sessions.get(id)?;
            let (_, to) = ends(model, session)?;
            let (_, greeting) = session.greeted?;
            // Whoever is silent itself does not hear that it is over.
            let is_over = outlasts(model, session) == Some(Outlasts::Visitor)
                && model
                    .served
                    .get(&greeting.serial)
                    .is_some_and(|served| served.over.is_some());
            (model.now > to && !is_over).then_some((*id, session))
        };
        let (id, session) = model.open.iter().find_map(late)?;
        words(id, "has not ended in its time", session)
    }
}
