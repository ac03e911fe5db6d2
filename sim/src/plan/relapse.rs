//! A service that fails for a short time, again and again, while all others are well; or that fails a probe now and then.

use rand::{RngExt, seq::IndexedRandom};

use super::{Manner, Millis, Plan, Purpose, choice};
use crate::{
    fault::{AnyAct, Fault, upstream::Ail},
    upstream::Mood,
};

/// In one seed of so many of chaos, if its group can do without.
const ONE_IN: u32 = 10;

/// When it begins, how often it fails, for how long, and how long it is well in between.
const BEGINS_MS: (Millis, Millis) = (5_000, 8_000);
const TIMES: (u32, u32) = (4, 9);
const LASTS_MS: (Millis, Millis) = (1_000, 2_500);
const WELL_MS: (Millis, Millis) = (3_500, 7_000);

/// Has a service fail and recover and fail, if the seed says so. Nothing else happens then.
pub(super) fn relapse(seed: u64, plan: &mut Plan) {
    let mut rng = Purpose::Relapses.rng(seed);
    if !rng.random_ratio(1, ONE_IN) {
        return;
    }
    let client = rng.random_range(0..plan.clients.len());
    let groups: Vec<_> = plan.offers_of(client).chain([plan.clients[client]]).collect();
    let others =
        |group: &usize| (0..plan.clients.len()).any(|other| other != client && plan.serves(other, *group));
    if !groups.iter().all(others) {
        return;
    }
    plan.faults.clear();
    plan.strangers.clear();
    let knobs = &mut plan.knobs;
    knobs.probe_interval_ms = *[500, 500, 1_000].choose(&mut rng).expect("some");
    knobs.hold_off_ms = *[0, 0, 1_000].choose(&mut rng).expect("some");
    let mut from_ms = rng.random_range(BEGINS_MS.0..BEGINS_MS.1);
    let mood = match rng.random_range(0..3) {
        0 => Mood::Refuses,
        1 => Mood::Unready,
        _ => Mood::Hiccups {
            one_in: rng.random_range(3..=5),
        },
    };
    if mood != Mood::Refuses {
        choice::ask_by_http(plan);
    }
    if matches!(mood, Mood::Hiccups { .. }) {
        return plan.add_fault(Fault {
            from_ms,
            to_ms: Some(plan.heal_ms),
            act: AnyAct::Ail(Ail {
                upstream: client,
                mood,
            }),
        });
    }
    for _ in 0..rng.random_range(TIMES.0..=TIMES.1) {
        let to_ms = from_ms + rng.random_range(LASTS_MS.0..LASTS_MS.1);
        if to_ms > plan.heal_ms {
            break;
        }
        plan.add_fault(Fault {
            from_ms,
            to_ms: Some(to_ms),
            act: AnyAct::Ail(Ail {
                upstream: client,
                mood,
            }),
        });
        from_ms = to_ms + rng.random_range(WELL_MS.0..WELL_MS.1);
    }
}

/// In one seed of so many of forward hardly anybody stays to the end.
const HASTY_ONE_IN: u32 = 10;

/// Has nearly all visitors reset their sessions in the middle, if the seed says so.
pub(super) fn reset_most(seed: u64, plan: &mut Plan) {
    let mut rng = Purpose::Relapses.rng(seed);
    if !rng.random_ratio(1, HASTY_ONE_IN) {
        return;
    }
    for visit in plan.visitors.iter_mut().flatten() {
        if visit.manner == Manner::Plain && rng.random_ratio(9, 10) {
            visit.manner = Manner::Reset;
        }
    }
}
