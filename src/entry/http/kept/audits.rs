//! What the connections to a target that are kept believe of themselves.

use std::sync::Arc;

use super::{Connections, FREE_MAX, OWN_MAX, Own, Shared, with};
use crate::probe::{AUDITS, audit};

impl Connections {
    /// The sentences that these books believe at every moment.
    pub(super) fn check(&self) {
        if !AUDITS {
            return;
        }
        let usage = |one: &Shared| Arc::as_ptr(&one.usage).addr();
        let free = with(&self.free, |free| free.len());
        let mut shared: Vec<_> = with(&self.shared, |all| all.iter().map(usage).collect());
        let own_most = with(&self.own, |own| {
            shared.extend(own.values().flatten().filter_map(|one| match one {
                Own::Shared(shared) => Some(usage(shared)),
                Own::Free(_) => None,
            }));
            own.values().map(Vec::len).max().unwrap_or_default()
        });
        audit!(
            free <= FREE_MAX && own_most <= OWN_MAX,
            "no more connections are kept than may be"
        );
        shared.sort_unstable();
        audit!(
            shared.is_sorted_by(|one, next| one < next),
            "a connection is kept once: for everybody, or for one visitor"
        );
    }
}
