//! Plans with something made simpler, the one that changes most first.

use super::turned;
use crate::{
    payload::When,
    plan::{
        Manner, Millis, Plan, Visit,
        asks::Extras,
        knobs::Knobs,
        visits::PIECE,
        web::{Call, Kind},
    },
};

/// Before that, not everybody is here.
const START_MS: Millis = 4_000;

/// Between the last visit and the end: time to come to rest.
const REST_MS: Millis = 10_000;

/// All knobs at their defaults, then one more of them.
pub fn knobs(plan: &Plan) -> Vec<Plan> {
    let default = |names: &[String]| {
        let mut fields = serde_json::to_value(&plan.knobs).expect("knobs can be written");
        let calm = serde_json::to_value(Knobs::default()).expect("knobs can be written");
        for name in names {
            fields[name] = calm[name].clone();
        }
        let knobs = serde_json::from_value(fields).expect("what was written is read");
        with_time(Plan {
            knobs,
            ..plan.clone()
        })
    };
    let turned = turned(&plan.knobs);
    let mut candidates: Vec<_> = turned.chunks(1).map(default).collect();
    if turned.len() > 1 {
        candidates.insert(0, default(&turned));
    }
    candidates.retain(|candidate| may_live(&candidate.knobs));
    candidates
}

/// Whether links live when nothing is done to them: a heartbeat that is shorter than an exchange takes breaks
/// everything by itself.
fn may_live(knobs: &Knobs) -> bool {
    let patience = knobs.heartbeat_ms * Millis::from(knobs.missed_max.saturating_sub(1));
    patience >= 2 * knobs.exchange_ms()
}

/// How long after the healing a run may not be judged yet.
fn settles_ms(plan: &Plan) -> Millis {
    plan.knobs.convergence_ms().max(plan.quiet_ms.1)
}

/// Gives a plan the time that its knobs need.
fn with_time(mut plan: Plan) -> Plan {
    if plan.quiet_ms != (0, 0) {
        plan.quiet_ms.1 = plan.quiet_ms.1.max(plan.knobs.quiet_ms());
    }
    plan.last_visit_ms = plan.last_visit_ms.max(plan.heal_ms + settles_ms(&plan));
    plan.duration_ms = plan.duration_ms.max(plan.last_visit_ms + REST_MS);
    plan
}

/// A lasting fault that has an end; one that is half as long, but no shorter than its kind is felt: the oracle
/// excuses nothing that breaks later.
pub fn faults(plan: &Plan) -> Vec<Plan> {
    let mut candidates = Vec::new();
    for (n, fault) in plan.faults.iter().enumerate() {
        let to_ms = match fault.to_ms {
            None => plan.heal_ms,
            Some(to) => {
                let lasts = to - fault.from_ms;
                fault.from_ms + (lasts / 2).max(fault.act.lasts_ms().0).min(lasts)
            }
        };
        let mut candidate = plan.clone();
        candidate.faults[n].to_ms = Some(to_ms);
        candidates.push(candidate);
    }
    candidates
}

/// All visits plain, then each, then each in one thing.
pub fn visits(plan: &Plan) -> Vec<Plan> {
    let mut all = plan.clone();
    all.visitors.iter_mut().flatten().for_each(plain);
    let mut candidates = vec![all];
    let places = |plan: &Plan| -> Vec<_> {
        let each = plan.visitors.iter().enumerate();
        each.flat_map(|(n, visits)| (0..visits.len()).map(move |k| (n, k)))
            .collect()
    };
    let with = |(n, k): (usize, usize), change: &dyn Fn(&mut Visit)| {
        let mut candidate = plan.clone();
        change(&mut candidate.visitors[n][k]);
        candidate
    };
    candidates.extend(places(plan).into_iter().map(|at| with(at, &plain)));
    let changes: [fn(&mut Visit); 8] = [
        |visit| {
            visit.manner = Manner::Plain;
            if visit.when == When::AfterEof {
                visit.when = When::AfterRequest;
            }
        },
        |visit| visit.when = When::AfterRequest,
        |visit| visit.len = 0,
        |visit| visit.reply_len = 0,
        |visit| visit.delay_ms = 0,
        |visit| (visit.piece, visit.piece_pause_ms) = (PIECE, 0),
        |visit| (visit.read_pause_ms, visit.stall_ms, visit.hold_ms) = (0, 0, 0),
        |visit| visit.at_once = 1,
    ];
    for at in places(plan) {
        candidates.extend(changes.iter().map(|change| with(at, change)));
    }
    candidates
}

fn plain(visit: &mut Visit) {
    *visit = Visit {
        pause_ms: visit.pause_ms,
        group: visit.group,
        len: 0,
        reply_len: 0,
        when: When::AfterRequest,
        delay_ms: 0,
        piece: PIECE,
        manner: Manner::Plain,
        at_once: 1,
        call: visit.call.map(|call| Call {
            kind: Kind::Get,
            forges: false,
            extras: Extras::default(),
            ..call
        }),
        ..visit.clone().without_pauses()
    };
}

/// The healing, the last visit and the end as soon as may be, or half as far away.
///
/// A run needs some time after the healing before it may be judged, and after the last visit to come to rest;
/// less would fail by itself.
pub fn times(plan: &Plan) -> Vec<Plan> {
    let over = plan
        .faults
        .iter()
        .filter_map(|fault| fault.to_ms.or(Some(fault.from_ms + 1)));
    let intruded = plan.strangers.iter().map(|one| one.at_ms + 1);
    let heal_least = over.chain(intruded).fold(START_MS, Millis::max);
    let nearer = |least: Millis, is: Millis| [least, least + is.saturating_sub(least) / 2];
    let mut candidates = Vec::new();
    for heal_ms in nearer(heal_least, plan.heal_ms).into_iter().chain([plan.heal_ms]) {
        let settled = heal_ms + settles_ms(plan);
        for last_visit_ms in nearer(settled, plan.last_visit_ms) {
            candidates.push(Plan {
                heal_ms,
                last_visit_ms,
                duration_ms: last_visit_ms + REST_MS,
                ..plan.clone()
            });
        }
    }
    candidates.retain(|one| {
        let times = |plan: &Plan| [plan.heal_ms, plan.last_visit_ms, plan.duration_ms];
        times(one).iter().zip(times(plan)).all(|(new, old)| *new <= old)
    });
    candidates
}
