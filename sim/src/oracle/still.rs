//! Invariant 51: where nothing goes wrong nothing is tried again, lost, denied or refused.

use super::{Invariant, Model, rest::Rest};
use crate::plan::Plan;

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

/// What may bring something about: faults of these kinds, and these deeds of strangers.
struct Causes {
    acts: &'static [&'static str],
    deeds: &'static [&'static str],
}

/// What ends processes, and those who take another's id.
const LIVES: Causes = Causes {
    acts: &["crash", "stop", "power-loss", "usurp"],
    deeds: &["duplicate-id", "replay-control", "flaps"],
};

/// What may keep both ends of a connection from hearing of each other.
const SILENCE: Causes = Causes {
    acts: &[
        "crash",
        "power-loss",
        "pause",
        "sluggish",
        "lag",
        "loss",
        "narrow",
        "clog",
        "cut",
        "isolate",
        "split",
        "black-hole",
        "cut-off",
        "take-ports",
        "usurp",
    ],
    deeds: &[],
};

/// Clients that come for a while leave by a drain, too.
const DRAINS: Causes = Causes {
    acts: &["stop"],
    deeds: &["duplicate-id", "flaps", "never-serves", "over-reaches"],
};

/// Marks that nothing else brings about.
const CAUSES: &[(&str, Causes)] = &[
    ("contender-turned-away", LIVES),
    ("silent-holder-lost-its-id", LIVES),
    (
        "client-denied-while-draining",
        Causes {
            acts: &["stop"],
            deeds: &[],
        },
    ),
    ("drain-deadline-hit", DRAINS),
    ("link-fell-silent", SILENCE),
    ("proxy-connection-fell-silent", SILENCE),
];

/// Whether the world of a run has something that may bring a mark about.
fn has_cause(plan: &Plan, mark: &str) -> bool {
    let Some((_, Causes { acts, deeds })) = CAUSES.iter().find(|(name, _)| *name == mark) else {
        return true;
    };
    let act = plan.faults.iter().any(|fault| acts.contains(&fault.act.name()));
    act || plan.strangers.iter().any(|one| deeds.contains(&one.deed.name()))
}

/// 51: in a world without faults and strangers nothing is done in vain, and in none what nothing has brought about.
pub struct Still;

impl Invariant for Still {
    fn number(&self) -> u8 {
        51
    }

    fn handle_rest(&mut self, model: &Model, rest: &Rest) -> Option<String> {
        let (plan, knobs) = (&model.plan, &model.plan.knobs);
        if knobs.is_slow() || !knobs.leaves_time_to_probe() {
            return None;
        }
        if let Some(mark) = rest.marked.iter().find(|mark| !has_cause(plan, mark)) {
            return Some(format!(
                "nothing can have brought it about, and the mark {mark} was counted"
            ));
        }
        let still = plan.faults.is_empty() && plan.strangers.is_empty();
        if !still {
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
    use crate::{fault::AnyAct, ledger::marks::MARKS, plan::Deed};

    #[test]
    fn trouble_is_marked() {
        for name in TROUBLE {
            assert!(MARKS.iter().any(|mark| mark.name == *name), "{name}");
        }
        for (name, Causes { acts, deeds }) in CAUSES {
            assert!(TROUBLE.contains(name), "{name}");
            for act in *acts {
                assert!(AnyAct::KINDS.iter().any(|(kind, _)| kind == act), "{act}");
            }
            for deed in *deeds {
                assert!(Deed::NAMES.contains(deed), "{deed}");
            }
        }
    }
}
