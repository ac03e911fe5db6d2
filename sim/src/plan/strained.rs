//! A client that loses its registration while nothing else goes wrong: again and again, while the server's name leads nowhere
//! first, or while its server drains and serves on.

use rand::RngExt;

use super::{Millis, Plan, Purpose, Visit, who::Who};
use crate::{
    fault::{
        AnyAct, Fault,
        flow::{Pick, ResetFlow},
        process::Stop,
        seam::MoveNames,
    },
    node::CONTROL_PORT,
};

/// In one seed of so many of chaos, if no client is lost for good.
const ONE_IN: u32 = 6;

/// When it begins.
const BEGINS_MS: Millis = 6_000;

/// Between two losses where they follow upon each other.
const BETWEEN_MS: (Millis, Millis) = (900, 1_600);

/// Between two losses of which the client alone hears.
const AGAIN_MS: (Millis, Millis) = (4_000, 10_000);

/// How long the drain is put off, and how long after the signal the registration is lost.
const DELAY_MS: Millis = 20_000;
const LOST_AFTER_MS: (Millis, Millis) = (500, 3_000);

/// Has a client lose its registration, if the seed says so. Nothing else happens then. Whether it does.
pub(super) fn strain(seed: u64, plan: &mut Plan) -> bool {
    let mut rng = Purpose::Strained.rng(seed);
    if !rng.random_ratio(1, ONE_IN) || plan.registered().len() < plan.clients.len() {
        return false;
    }
    plan.faults.clear();
    plan.strangers.clear();
    let who = Who::Client(rng.random_range(0..plan.clients.len()));
    let knobs = &mut plan.knobs;
    // Whoever comes back takes its own place.
    knobs.clients_max = plan.clients.len();
    (knobs.backoff_base_ms, knobs.backoff_cap_ms) = (100, 5_000);
    let last = plan.heal_ms.min(60_000) - 2_000;
    match rng.random_range(0..6) {
        0 => {
            let mut from_ms = BEGINS_MS;
            while from_ms < last {
                plan.add_fault(lost(who, from_ms));
                from_ms += rng.random_range(BETWEEN_MS.0..BETWEEN_MS.1);
            }
        }
        1 => {
            let act = AnyAct::MoveNames(MoveNames { who, lost: false });
            plan.add_fault(Fault {
                from_ms: BEGINS_MS,
                to_ms: Some(last),
                act,
            });
            plan.add_fault(lost(who, BEGINS_MS + rng.random_range(1_000..10_000)));
        }
        2 | 3 => {
            knobs.backoff_cap_ms = 1_000;
            let mut from_ms = BEGINS_MS;
            for _ in 0..rng.random_range(3..=6) {
                plan.add_fault(unheard(who, from_ms, rng.random_bool(0.5)));
                from_ms += rng.random_range(AGAIN_MS.0..AGAIN_MS.1);
            }
        }
        4 => {
            // Long enough that it tells whether it was heard.
            knobs.drain_timeout_ms = 15_000;
            let act = AnyAct::Stop(Stop { who });
            plan.add_fault(Fault {
                from_ms: BEGINS_MS,
                to_ms: Some(BEGINS_MS + 25_000),
                act,
            });
            crowd(plan, BEGINS_MS + plan.knobs.drain_delay_ms);
        }
        _ => {
            knobs.drain_delay_ms = DELAY_MS;
            knobs.backoff_cap_ms = 1_000;
            let over = BEGINS_MS + DELAY_MS + plan.knobs.drain_timeout_ms + 3_000;
            plan.add_fault(Fault {
                from_ms: BEGINS_MS,
                to_ms: Some(over.min(plan.heal_ms)),
                act: AnyAct::Stop(Stop { who: Who::Server }),
            });
            let after = rng.random_range(LOST_AFTER_MS.0..LOST_AFTER_MS.1);
            plan.add_fault(lost(who, BEGINS_MS + after));
            crowd(plan, BEGINS_MS + DELAY_MS / 2);
        }
    }
    true
}

/// More visitors at once than there are connections ready, as somebody leaves or within the delay before.
fn crowd(plan: &mut Plan, at_ms: Millis) {
    let at_once = (2 * plan.knobs.pool_min + 4).min(60);
    let first = plan.visitors.first_mut().and_then(|visits| visits.first_mut());
    if let Some(visit) = first.filter(|_| plan.knobs.sessions_max > 2 * at_once) {
        *visit = Visit {
            pause_ms: at_ms.saturating_sub(50),
            at_once,
            len: 100,
            reply_len: 100,
            ..visit.clone().without_pauses()
        };
    }
}

/// The control connection is reset, and the client alone hears of it: it has to come back in its own place. The server hears of
/// it when it speaks, or not at all.
fn unheard(who: Who, from_ms: Millis, never: bool) -> Fault {
    let mut fault = lost(who, from_ms);
    if let AnyAct::ResetFlow(reset) = &mut fault.act {
        (reset.both, reset.lost) = (false, never);
    }
    fault
}

/// The control connection is reset, and both ends hear of it.
fn lost(who: Who, from_ms: Millis) -> Fault {
    let flow = Pick {
        who,
        port: CONTROL_PORT,
        nth: 0,
        to: None,
    };
    Fault {
        from_ms,
        to_ms: Some(from_ms + 1),
        act: AnyAct::ResetFlow(ResetFlow {
            flow,
            both: true,
            lost: false,
        }),
    }
}
