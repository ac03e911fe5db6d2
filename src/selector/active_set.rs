//! The targets of a group that may be used now, as an immutable snapshot.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    id::{ClientId, Epoch, UpstreamName},
    link::gauges::LinkGauges,
};

/// One thing a group may choose: an upstream behind a registered client.
#[derive(Debug)]
pub struct Target {
    /// The client that serves it.
    pub client: ClientId,
    /// The client's registration; a later one is another target.
    pub epoch: Epoch,
    /// Which of the client's upstreams.
    pub upstream: UpstreamName,
    /// The client's link.
    pub link: Arc<LinkGauges>,
}

/// What tells targets apart.
pub type TargetKey = (Epoch, UpstreamName);

impl Target {
    /// What tells it apart.
    pub fn key(&self) -> TargetKey {
        (self.epoch, self.upstream.clone())
    }
}

/// An immutable set of targets, in the order of their keys.
#[derive(Debug, Default)]
pub struct ActiveSet {
    targets: Vec<Arc<Target>>,
}

impl ActiveSet {
    /// A snapshot of `targets`.
    pub fn new(targets: &BTreeMap<TargetKey, Arc<Target>>) -> Self {
        Self {
            targets: targets.values().cloned().collect(),
        }
    }

    /// The targets.
    pub fn targets(&self) -> &[Arc<Target>] {
        &self.targets
    }

    /// Whether nobody can be chosen.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A set of `n` targets, for tests.
    pub(crate) fn set_of(n: u64) -> ActiveSet {
        let target = |counter| Target {
            client: ClientId::new(&format!("c{counter}")).unwrap(),
            epoch: Epoch::new(1, counter),
            upstream: UpstreamName::new("main").unwrap(),
            link: Arc::default(),
        };
        ActiveSet::new(&(0..n).map(target).map(|t| (t.key(), Arc::new(t))).collect())
    }
}
