//! What is drawn of strangers: some mean no good, others ask no more than anybody may.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Deed, Intrusion, Millis, Plan, Purpose};
use crate::fault::{AnyAct, Fault};

/// Some who mean no good.
pub(super) fn intrusions(rng: &mut ChaCha8Rng, plan: &Plan) -> Vec<Intrusion> {
    let clients = plan.clients.len();
    let groups = plan.groups();
    let mut intrusions: Vec<_> = (0..rng.random_range(1..=4))
        .map(|_| {
            let for_ms = rng.random_range(500..10_000);
            let group = rng.random_range(0..groups);
            let client = rng.random_range(0..clients);
            let deed = match rng.random_range(0..14) {
                0 => Deed::Garbage {
                    len: rng.random_range(0..2_000),
                },
                1 => Deed::HugeHeader,
                11 => Deed::HugeBody,
                12 => Deed::UnknownFrame,
                2 => Deed::WrongVersion,
                3 => Deed::Slowloris,
                4 => Deed::Silence,
                5 => Deed::WrongToken,
                6 => Deed::ReplayControl { client },
                7 => Deed::ReplayProxy { client },
                8 => Deed::DuplicateId { client, for_ms },
                9 => Deed::NeverServes { group, for_ms },
                13 => Deed::OverReaches { group },
                _ => Deed::Flaps {
                    group,
                    times: rng.random_range(1..10),
                },
            };
            let mut at_ms = rng.random_range(3_000..plan.heal_ms - 20_000);
            let mut deed = deed;
            // Whoever takes a name, or says what its owner said, does it best while the owner is away; and is
            // still there when it comes back.
            if let Deed::DuplicateId { client, .. } | Deed::ReplayControl { client } = deed
                && let Some((from, to)) = away(plan, client, at_ms)
                && rng.random_bool(0.7)
            {
                at_ms = from + rng.random_range(50..1_000);
                if let Deed::DuplicateId { for_ms, .. } = &mut deed {
                    *for_ms = to.saturating_sub(at_ms) + rng.random_range(1_000..8_000);
                }
            }
            Intrusion { at_ms, deed }
        })
        .collect();
    // One who takes a lost client's name would be welcome.
    let core = plan.core();
    intrusions.retain(|one| !matches!(one.deed, Deed::DuplicateId { client, .. } if !core.contains(&client)));
    intrusions
}

/// From when to when a client's process is taken away, near a moment and long before the healing.
fn away(plan: &Plan, client: usize, at_ms: Millis) -> Option<(Millis, Millis)> {
    let gone = |fault: &Fault| {
        let by = matches!(
            fault.act,
            AnyAct::Crash(_) | AnyAct::PowerLoss(_) | AnyAct::Isolate(_)
        );
        let to = fault.to_ms.filter(|to| *to < plan.heal_ms - 10_000)?;
        (by && fault.act.troubles().clients.contains(&client)).then_some((fault.from_ms, to))
    };
    let all = plan.faults.iter().filter_map(gone);
    all.min_by_key(|(from, _)| from.abs_diff(at_ms))
}

/// In one seed of so many somebody holds a connection and asks nothing.
const LINGERS_ONE_IN: u32 = 3;

/// Has somebody hold a connection and ask nothing, or nothing more, if the seed says so: for so long before the end that it is
/// seen to be closed.
pub(super) fn linger(seed: u64, plan: &mut Plan) {
    let mut rng = Purpose::Lingering.rng(seed);
    if !rng.random_ratio(1, LINGERS_ONE_IN) {
        return;
    }
    plan.strangers.push(Intrusion {
        at_ms: rng.random_range(500..5_000),
        deed: Deed::Lingers {
            asks: rng.random_ratio(3, 4),
        },
    });
}

/// Has somebody ask what rules and plugins have to answer.
pub(super) fn examine(seed: u64, plan: &mut Plan) {
    let mut rng = Purpose::Examined.rng(seed);
    let at_ms = rng.random_range(500..5_000);
    // Over long ways a question takes seconds, on a connection of its own.
    let most = ASKING_MS / (16 * plan.knobs.latency_ms.1.max(1));
    let questions = rng
        .random_range(10..40)
        .min(u32::try_from(most).unwrap_or(u32::MAX));
    let deed = Deed::Examines { questions };
    plan.strangers.push(Intrusion { at_ms, deed });
}

/// How long questions may be asked, at most.
const ASKING_MS: Millis = 60_000;

/// In one seed of so many somebody watches the server.
const WATCHED_ONE_IN: u32 = 4;

/// Has somebody watch the server, if the seed says so.
pub(super) fn watch(seed: u64, plan: &mut Plan) {
    let mut rng = Purpose::Watched.rng(seed);
    if rng.random_ratio(1, WATCHED_ONE_IN) {
        let for_ms = plan.last_visit_ms.saturating_sub(5_000);
        let client = rng.random_range(0..plan.clients.len());
        let deed = Deed::Watches { client, for_ms };
        plan.strangers.push(Intrusion { at_ms: 1_000, deed });
    }
}
