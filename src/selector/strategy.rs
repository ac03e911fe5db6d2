//! How one target of the active set is picked. Pure: randomness is handed in.

use std::sync::Arc;

use rand::{Rng, RngExt};

use super::{
    Strategy,
    active_set::{ActiveSet, Target},
};

/// Picks a target among those that `allowed` lets through.
pub fn pick(
    strategy: Strategy,
    set: &ActiveSet,
    allowed: impl Fn(&Target) -> bool,
    rng: &mut impl Rng,
) -> Option<Arc<Target>> {
    match strategy {
        Strategy::Random => {
            let candidates = || set.targets().iter().filter(|target| allowed(target));
            let count = candidates().count();
            let chosen = (count > 0).then(|| rng.random_range(0..count))?;
            candidates().nth(chosen).cloned()
        }
    }
}
