//! What the registry believes of its cores, whenever it has done what they say: they know of the same registrations and links.

use std::collections::BTreeSet;

use super::actor::Registry;
use crate::{
    id::{Epoch, LinkId},
    probe::{audit, audit_eq},
};

impl Registry {
    /// Asserts the sentences.
    pub(super) fn check(&self) {
        audit_eq!(
            self.joining.keys().copied().collect::<BTreeSet<_>>(),
            self.table.contenders().collect(),
            "who wants in and has no answer contests an id"
        );
        audit!(
            self.links.keys().eq(self.table.epochs()),
            "each registration has a link, and nobody else has"
        );
        audit_eq!(
            self.groups.members(),
            self.links.values().map(|live| live.groups.len()).sum::<usize>(),
            "groups have as many members as registrations serve them"
        );
        for (epoch, open) in self.trunks.fleets() {
            audit_eq!(
                self.links.get(epoch).map(|live| live.links.open_ids()).as_ref(),
                Some(open),
                "sessions ride on the data links that are counted"
            );
        }
        let pumps = self.pumps.iter().map(|(link, (epoch, _))| (*epoch, *link));
        let pumps: BTreeSet<(Epoch, LinkId)> = pumps.collect();
        audit!(
            self.tunnels.all_links().all(|link| pumps.contains(&link)),
            "each data link that carries sessions has a task"
        );
        // At the end of a drain all that is carried is forgotten at once.
        audit!(
            self.table.is_closed() || self.tunnels.all_links().count() == pumps.len(),
            "the task of each data link is one that may carry sessions"
        );
    }
}
