//! Minutes in which nothing happens but that one request follows upon another: what lives by minutes comes to its end while
//! it is in use.

use rand::RngExt;

use super::{
    Manner, Millis, Plan, Purpose, Visit,
    web::{Call, Kind},
};

/// In so many of the worlds of an HTTP entry.
const ONE_IN: u32 = 30;

/// From when on nobody asks any more: the greatest age of a connection, and some more. And how long it takes to rest.
const LAST_VISIT_MS: Millis = 340_000;
const REST_MS: Millis = 18_000;

/// Between two requests: less than a connection is kept on which nothing is asked.
const PAUSE_MS: (Millis, Millis) = (300, 1_500);

/// More requests than there is time for.
const REQUESTS: usize = 700;

/// The longest body, and the longest time to think.
const SHORT: u64 = 2_000;
const SOON_MS: Millis = 200;

/// How long an upstream keeps a connection: longer than the pauses.
const IDLE_MS: Millis = 20_000;

/// Has one visitor ask one service on and on, if the seed says so. Whether it does.
pub(super) fn asks_on(plan: &mut Plan) -> bool {
    let mut rng = Purpose::Steady.rng(plan.seed);
    let Some(web) = plan.web.as_mut().filter(|_| rng.random_ratio(1, ONE_IN)) else {
        return false;
    };
    (web.idle_ms, web.refuses_one_in) = (IDLE_MS, 0);
    plan.faults.clear();
    plan.strangers.clear();
    // Two would share what is asked, and either might rest.
    plan.clients = vec![0];
    plan.knobs.spare_doors = false;
    (plan.heal_ms, plan.quiet_ms) = (20_000, (0, 0));
    plan.last_visit_ms = LAST_VISIT_MS;
    plan.duration_ms = LAST_VISIT_MS + REST_MS;
    plan.visitors.truncate(1);
    for visits in &mut plan.visitors {
        visits.retain(|visit| visit.call.is_some_and(asks_plainly));
        let often = visits.iter().cycle().take(REQUESTS).map(|visit| Visit {
            pause_ms: rng.random_range(PAUSE_MS.0..PAUSE_MS.1),
            ..short(visit)
        });
        *visits = often.collect();
    }
    true
}

/// Whether all such requests go over one connection, which no visitor has to itself.
fn asks_plainly(call: Call) -> bool {
    matches!(call.kind, Kind::Get | Kind::Put | Kind::Post) && !call.logs_in
}

/// The same, without anything that takes long.
fn short(visit: &Visit) -> Visit {
    Visit {
        group: 0,
        len: visit.len.min(SHORT),
        reply_len: visit.reply_len.min(SHORT),
        delay_ms: visit.delay_ms.min(SOON_MS),
        manner: Manner::Plain,
        ..visit.clone().without_pauses()
    }
}
