//! Invariant 50: who can reach the server is registered with it.

use std::time::Duration;

use super::{Class, Invariant, Model};
use crate::fault::AnyAct;

/// How much longer than its pause a client may take to come back on a way that is sound.
const MARGIN_MS: u64 = 2_500;

/// 50: where nothing goes wrong all clients are registered. That a name leads nowhere first is nothing.
#[derive(Default)]
pub struct Here {
    since: Option<Duration>,
}

impl Invariant for Here {
    fn number(&self) -> u8 {
        50
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let (plan, knobs) = (&model.plan, &model.plan.knobs);
        let is_lasting = |nth: usize| plan.faults.get(nth).is_some_and(|fault| fault.to_ms.is_none());
        let is_stale = |nth: usize| match plan.faults.get(nth).map(|fault| &fault.act) {
            Some(AnyAct::MoveNames(moved)) => !moved.lost,
            _ => false,
        };
        let well = model.all_felt().all(|active| {
            let trouble = &active.trouble;
            let spared = !trouble.server && trouble.clients.is_empty();
            spared || is_lasting(active.nth) || is_stale(active.nth)
        });
        if !well {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(model.now);
        // Of two addresses each gets half of the time for a handshake.
        let handshake = knobs.handshake_timeout_ms / 2;
        let patience = knobs.backoff_cap_ms + handshake + 8 * knobs.exchange_ms() + MARGIN_MS;
        // A server may count one that has gone, and a client one of which the server does not know any more.
        let linked = model.sight.linked.count_ones() as usize;
        let (here, lost) = (model.sight.registered.min(linked), model.outside.clients.len());
        let missing = here + lost < plan.clients.len();
        (missing && model.now > since + Duration::from_millis(patience)).then(|| {
            format!("{here} clients are registered, and nothing has kept anybody away since {since:?}")
        })
    }
}
