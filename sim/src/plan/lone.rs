//! A client that is alone in its group, and whose service dies without a word while hardly anybody comes.

use rand::{RngExt, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::{Millis, Plan, Purpose};
use crate::{
    fault::{AnyAct, Fault, process::PowerLoss, upstream::Ail},
    plan::who::Who,
    upstream::Mood,
};

/// In one seed of so many of chaos there is such a client.
const ONE_IN: u32 = 8;

/// Of so many visits one goes there, where anybody comes.
const VISITS_ONE_IN: u32 = 12;

/// When its service dies, and for how long: longer than it takes to find out.
const DIES_MS: (Millis, Millis) = (6_000, 16_000);
const LASTS_MS: (Millis, Millis) = (18_000, 32_000);

/// Adds such a client, if the seed says so.
pub(super) fn add(seed: u64, plan: &mut Plan) {
    let mut rng = Purpose::Lone.rng(seed);
    if !rng.random_ratio(1, ONE_IN) {
        return;
    }
    let (client, group) = (plan.clients.len(), plan.groups());
    plan.clients.push(group);
    plan.knobs.probe_interval_ms = *[500, 1_000, 2_000].choose(&mut rng).expect("some");
    if rng.random_bool(0.5) {
        for visit in plan.visitors.iter_mut().flatten() {
            if visit.at_once == 1 && rng.random_ratio(1, VISITS_ONE_IN) {
                visit.group = group;
            }
        }
    }
    let from_ms = rng.random_range(DIES_MS.0..DIES_MS.1);
    let to_ms = from_ms + rng.random_range(LASTS_MS.0..LASTS_MS.1);
    plan.add_fault(Fault {
        from_ms,
        to_ms: Some(to_ms.min(plan.heal_ms)),
        act: dies(&mut rng, client, plan.knobs.probe_http),
    });
}

fn dies(rng: &mut ChaCha8Rng, client: usize, asks: bool) -> AnyAct {
    let ail = |mood| {
        AnyAct::Ail(Ail {
            upstream: client,
            mood,
        })
    };
    match rng.random_range(0..3) {
        0 if asks => ail(Mood::Hangs),
        0 | 1 => ail(Mood::Refuses),
        _ => AnyAct::PowerLoss(PowerLoss {
            who: Who::Upstream(client),
        }),
    }
}
