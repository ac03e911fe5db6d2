//! How one target of the active set is picked. Pure: randomness is handed in.

use std::sync::Arc;

use rand::{Rng, RngExt};

use super::{
    Strategy,
    active_set::{ActiveSet, Target},
};
use crate::probe::mutant;

/// Draws before the allowed targets are counted out.
const DRAWS_MAX: usize = 4;

/// Picks a target among those that `allowed` lets through.
pub fn pick(
    strategy: Strategy,
    set: &ActiveSet,
    allowed: impl Fn(&Target) -> bool,
    rng: &mut impl Rng,
) -> Option<Arc<Target>> {
    match strategy {
        Strategy::Random => {
            let targets = set.targets();
            // Usually everyone is allowed: a draw that is not is simply drawn again, which keeps the choice
            // even and its cost independent of the number of targets.
            for _ in 0..DRAWS_MAX.min(targets.len()) {
                let mut drawn = &targets[rng.random_range(0..targets.len())];
                if mutant!("first-target-always-picked") {
                    drawn = &targets[0];
                }
                if allowed(drawn) {
                    return Some(Arc::clone(drawn));
                }
            }
            let candidates: Vec<_> = targets.iter().filter(|target| allowed(target)).collect();
            let chosen = (!candidates.is_empty()).then(|| rng.random_range(0..candidates.len()))?;
            candidates.get(chosen).map(|target| Arc::clone(target))
        }
    }
}
