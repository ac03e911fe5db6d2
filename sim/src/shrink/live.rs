//! The search with real runs.

use std::time::Duration;

use super::{Shrunk, shrink};
use crate::{
    mutants::hunt::is_clean_without,
    plan::Plan,
    runner::{self, Options, Report},
    watch::Watch,
    world::EngineKind,
};

/// The smallest plan that fails as the one of `report` did, as far as it is found in `time`. `None` when that
/// did not fail.
pub fn smaller(report: &Report, engine: EngineKind, time: Duration) -> Option<Shrunk> {
    let watch = Watch::start();
    let invariant = report.failure.as_ref()?.violation.invariant;
    let options = Options {
        engine,
        ..Options::default()
    };
    let fails = |plan: &Plan| {
        let found = runner::run(plan, options).failure?.violation.invariant;
        // A plan that fails even without its planted bug fails by something else.
        let by_itself = found == invariant && plan.planted.is_some() && !is_clean_without(plan, options);
        (!by_itself).then_some(found)
    };
    Some(shrink(&report.plan, invariant, &fails, &|| {
        watch.elapsed() < time
    }))
}
