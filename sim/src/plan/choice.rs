//! How the server's groups choose, and what they keep ready, as it is drawn.

use rand::{RngExt, seq::IndexedRandom};

use super::{Manner, Plan, Purpose, forward::Balance};

/// In half of the seeds a target is chosen in another way than by chance, and in a third the pools follow demand.
pub(super) fn choose(seed: u64, plan: &mut Plan) {
    let rng = &mut Purpose::Choice.rng(seed);
    let balances = [
        Balance::RoundRobin,
        Balance::Weighted,
        Balance::LeastConnections,
        Balance::P2c,
        Balance::PeakEwma,
        Balance::Hash,
    ];
    let (balance, other) = (*balances.choose(rng).expect("some"), rng.random_bool(0.5));
    if other {
        plan.knobs.balance = balance;
    }
    plan.knobs.pool_follows = rng.random_ratio(1, 3);
    if rng.random_ratio(1, 6) {
        ask_by_http(plan);
    }
}

/// Has probes ask by HTTP, and services speak when they are spoken to.
pub(super) fn ask_by_http(plan: &mut Plan) {
    plan.knobs.probe_http = true;
    // Whoever waits for a greeting would wait for ever.
    for visit in plan.visitors.iter_mut().flatten() {
        if visit.manner == Manner::ReadFirst {
            visit.manner = Manner::Plain;
        }
    }
}
