//! Invariant 16 as it is for a forwarder: how much.

use crate::oracle::{Invariant, model::Model};

/// 16: limits hold at every moment.
pub struct Limits;

impl Invariant for Limits {
    fn number(&self) -> u8 {
        16
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let (knobs, sight) = (&model.plan.knobs, &model.sight);
        let candidates = model.candidates.as_ref()?;
        // A name may lead to one more address each.
        let addresses = 2 * candidates.count();
        let parked = candidates.choice().pool_max.saturating_mul(addresses);
        let limits = [
            ("sessions", sight.sessions, knobs.sessions_max),
            ("streams parked", sight.parked, parked),
        ];
        limits.into_iter().find_map(|(what, is, most)| {
            let over = is < 0 || usize::try_from(is).unwrap_or(usize::MAX) > most;
            over.then(|| format!("{is} {what}, at most {most} are allowed"))
        })
    }
}
