//! What an HTTP entry owes where a request has more than all have.

use std::time::Duration;

use super::{Class, Invariant, Model, session::Session};
use crate::{
    event::{End, Event},
    plan::{Millis, web::Kind},
};

/// How much later than its deadline a call may end for its visitor: its connection, the way there and back.
const LATE_MS: Millis = 3_000;

/// How much longer than a deadline an upstream has to take for nobody to get its answer.
const MISSED_MS: Millis = 300;

/// 32 as well: a call of gRPC ends when its deadline is over. That it does not end before, its visitor says.
pub struct CallDeadline;

impl CallDeadline {
    fn is_late(model: &Model, session: &Session) -> bool {
        let extras = session.visit.call.map(|call| call.extras).unwrap_or_default();
        if extras.timeout_ms == 0 || session.exposure.server || session.exposure.visitor {
            return false;
        }
        let knobs = &model.plan.knobs;
        let ways = 12 * (knobs.latency_ms.1 + 1) * if knobs.tail_one_in > 0 { 4 } else { 1 };
        model.now > session.opened + Duration::from_millis(extras.timeout_ms + ways + LATE_MS)
    }
}

/// Whether a call was served whole although its upstream thinks for longer than the call may take. The entry, which knows
/// of the call first, is in no trouble.
fn is_answered_late(session: &Session) -> bool {
    let Some(call) = session.visit.call.filter(|call| call.kind == Kind::Grpc) else {
        return false;
    };
    let timeout_ms = call.extras.timeout_ms;
    let late = timeout_ms > 0 && session.visit.delay_ms > timeout_ms + MISSED_MS;
    late && !session.exposure.server
}

impl Invariant for CallDeadline {
    fn number(&self) -> u8 {
        32
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        let Event::Ends {
            session: id,
            how: End::Complete,
        } = event
        else {
            return None;
        };
        let session = model
            .sessions
            .get(id)
            .filter(|session| is_answered_late(session))?;
        Some(format!(
            "session {id} was served whole behind its deadline: {session}"
        ))
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        if model.plan.knobs.is_slow() {
            return None;
        }
        let mut open = model
            .open
            .iter()
            .filter_map(|id| Some((id, model.sessions.get(id)?)));
        let (id, session) = open.find(|(_, session)| Self::is_late(model, session))?;
        Some(format!("session {id} goes on behind its deadline: {session}"))
    }
}
