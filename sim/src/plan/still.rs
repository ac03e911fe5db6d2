//! Worlds in which nothing goes wrong, so that nothing has an excuse.

use rand::RngExt;

use super::{Plan, Purpose, knobs::Knobs};

/// In one seed of so many of any.
const ONE_IN: u32 = 12;

/// Takes faults and strangers away, if the seed says so.
pub(super) fn still(seed: u64, mut plan: Plan) -> Plan {
    if Purpose::Still.rng(seed).random_ratio(1, ONE_IN) {
        plan.faults.clear();
        plan.strangers.clear();
        // Nor is anybody turned away at a door that is narrow for those who belong there.
        plan.knobs.unproven_max = Knobs::default().unproven_max;
    }
    plan
}
