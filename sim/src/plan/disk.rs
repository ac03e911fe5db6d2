//! When a disk is full, as it is drawn.

use rand::RngExt;

use super::{Plan, Purpose, who::Who};
use crate::fault::{AnyAct, Fault, disk::FillDisk};

/// In one seed of six the disk of the server is full for a while.
pub(super) fn fill(seed: u64, plan: &mut Plan) {
    let mut rng = Purpose::Disk.rng(seed);
    if !rng.random_ratio(1, 6) {
        return;
    }
    let from_ms = rng.random_range(6_000..plan.heal_ms);
    let lasts = rng.random_range(1_000..20_000);
    plan.add_fault(Fault {
        from_ms,
        to_ms: Some((from_ms + lasts).min(plan.heal_ms)),
        act: AnyAct::FillDisk(FillDisk { who: Who::Server }),
    });
}
