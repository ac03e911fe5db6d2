//! What an HTTP entry owes where a request has more than all have.

use std::time::Duration;

use super::{Class, Invariant, Model, session::Session};
use crate::plan::Millis;

/// How much later than its deadline a call may end for its visitor: its connection, the way there and back.
const LATE_MS: Millis = 3_000;

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

impl Invariant for CallDeadline {
    fn number(&self) -> u8 {
        32
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
