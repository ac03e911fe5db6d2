//! The targets of a group that may be used now, as an immutable snapshot.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    strategy::{hash_of, smooth_order},
    target::{Reach, Target},
};

/// An immutable set of targets, with what strategies need to choose one at once.
#[derive(Debug)]
pub struct ActiveSet<R> {
    targets: Vec<Arc<Target<R>>>,
    reserve: Vec<Arc<Target<R>>>,
    /// For each target, the weights of all up to it; empty when all weigh the same.
    weights_upto: Vec<u64>,
    /// Whose turn it is; goes on from one snapshot to the next.
    turn: Arc<AtomicUsize>,
    /// The order of smooth weighted turns; made for the first who asks.
    order: OnceLock<Vec<u32>>,
    /// A hash of each target's name; made for the first who asks.
    hashes: OnceLock<Vec<u64>>,
}

impl<R> Default for ActiveSet<R> {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            reserve: Vec::new(),
            weights_upto: Vec::new(),
            turn: Arc::default(),
            order: OnceLock::new(),
            hashes: OnceLock::new(),
        }
    }
}

impl<R: Reach> ActiveSet<R> {
    /// A snapshot of `targets`, in their order.
    pub fn new(targets: impl IntoIterator<Item = Arc<Target<R>>>) -> Self {
        let targets: Vec<_> = targets.into_iter().collect();
        let even = targets.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        let mut sum = 0;
        let upto = |target: &Arc<Target<R>>| {
            sum += u64::from(target.weight.max(1));
            sum
        };
        let weights_upto = if even {
            Vec::new()
        } else {
            targets.iter().map(upto).collect()
        };
        Self {
            targets,
            weights_upto,
            ..Self::default()
        }
    }

    /// The same, with those who stand by, the best first.
    pub fn reserving(self, reserve: Vec<Arc<Target<R>>>) -> Self {
        Self { reserve, ..self }
    }

    /// The same, whose turns go on where those of `previous` are.
    pub fn after(self, previous: &Self) -> Self {
        Self {
            turn: Arc::clone(&previous.turn),
            ..self
        }
    }

    /// The targets.
    pub fn targets(&self) -> &[Arc<Target<R>>] {
        &self.targets
    }

    /// Some of those who are no members, the best first: for a visitor whom no member serves. The last of them may be
    /// down; but then everybody else was in vain.
    pub fn reserve(&self) -> &[Arc<Target<R>>] {
        &self.reserve
    }

    /// The member with this key, if it is one.
    pub fn member(&self, key: &R::Key) -> Option<&Arc<Target<R>>> {
        self.targets().iter().find(|target| target.key() == *key)
    }

    /// Whether this one is in the reserve.
    pub fn reserves(&self, key: &R::Key) -> bool {
        self.reserve.iter().any(|target| target.key() == *key)
    }

    /// Whether nobody can be chosen.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// For each target, the weights of all up to it; empty when all weigh the same.
    pub(super) fn weights_upto(&self) -> &[u64] {
        &self.weights_upto
    }

    /// The number of the next turn.
    pub(super) fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Nobody takes the next `n` turns.
    pub(super) fn skip_turns(&self, n: usize) {
        self.turn.fetch_add(n, Ordering::Relaxed);
    }

    /// Places of targets in the order of smooth weighted turns; empty when all weigh the same.
    pub(super) fn order(&self) -> &[u32] {
        let weights = || self.targets.iter().map(|target| target.weight.max(1)).collect();
        self.order.get_or_init(|| {
            if self.weights_upto.is_empty() {
                Vec::new()
            } else {
                smooth_order(weights())
            }
        })
    }

    /// A hash of each target's name. A client that registers anew keeps its own.
    pub(super) fn hashes(&self) -> &[u64] {
        let hash = |target: &Arc<Target<R>>| hash_of(target.reach.name().as_bytes());
        self.hashes
            .get_or_init(|| self.targets.iter().map(hash).collect())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        id::{ClientId, Epoch, UpstreamName},
        link::links::Links,
        selector::target::Tunnel,
    };

    /// A set of `n` targets, for tests.
    pub(crate) fn set_of(n: u64) -> ActiveSet<Tunnel> {
        let target = |counter| {
            Target::new(Tunnel {
                client: ClientId::new(&format!("c{counter}")).unwrap(),
                epoch: Epoch::new(1, counter),
                upstream: UpstreamName::new("main").unwrap(),
                link: Arc::default(),
                links: Arc::new(Links::new(0)),
            })
        };
        ActiveSet::new((0..n).map(|counter| Arc::new(target(counter))))
    }
}
