//! Invariant 51: where nothing goes wrong nothing is tried again, lost, denied or refused.

use super::{Invariant, Model, rest::Rest};

/// Marks of what happens only where something goes wrong.
pub const TROUBLE: &[&str] = &[
    "client-denied-while-draining",
    "client-left-start-unanswered",
    "client-refused-start",
    "contender-turned-away",
    "drain-deadline-hit",
    "every-upstream-refused",
    "false-admission-refused",
    "first-bytes-sent-again",
    "group-panicked",
    "last-resort-used",
    "lent-connection-was-dead",
    "link-fell-silent",
    "lone-target-found-out",
    "member-ejected-hard",
    "name-not-resolved",
    "old-epoch-refused",
    "probe-refused-through-tunnel",
    "probe-timed-out-through-tunnel",
    "probes-frozen",
    "proxy-connection-fell-silent",
    "registered-elsewhere",
    "registration-resumed",
    "silent-holder-lost-its-id",
    "start-deadline-passed",
    "target-held-off",
    "target-left-out-by-probe",
    "target-left-out-by-sessions",
    "target-used-again",
    "void-ticket-refused",
    "waiter-gave-up",
    "wrong-proof-refused",
];

/// 51: in a world without faults and strangers nothing is done in vain.
pub struct Still;

impl Invariant for Still {
    fn number(&self) -> u8 {
        51
    }

    fn handle_rest(&mut self, model: &Model, rest: &Rest) -> Option<String> {
        let (plan, knobs) = (&model.plan, &model.plan.knobs);
        let still = plan.faults.is_empty() && plan.strangers.is_empty();
        if !still || knobs.is_slow() || !knobs.leaves_time_to_probe() {
            return None;
        }
        // A candidate that closes what waits for too long may do so as it is taken.
        let mut candidates = plan.forward.iter().flat_map(|forward| &forward.candidates);
        let closes = candidates.any(|one| one.idle_ms > 0);
        let is_vain = |(what, _): &&(String, u64)| !closes || what != "replays_ambiguous";
        if let Some((what, count)) = rest.vain.iter().find(is_vain) {
            return Some(format!("nothing went wrong, and there are {count} {what}"));
        }
        let mark = rest.marked.first()?;
        Some(format!("nothing went wrong, and the mark {mark} was counted"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::marks::MARKS;

    #[test]
    fn trouble_is_marked() {
        for name in TROUBLE {
            assert!(MARKS.iter().any(|mark| mark.name == *name), "{name}");
        }
    }
}
