//! What each client's links carry. Pure: the means to end a session is only kept and handed back.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{Epoch, SessionId};

/// Registration -> sessions, and back. `A` is what ends a session.
#[derive(Debug)]
pub struct TunnelConnectionManager<A> {
    sessions: BTreeMap<SessionId, (Epoch, A)>,
    carried: BTreeMap<Epoch, BTreeSet<SessionId>>,
}

impl<A> Default for TunnelConnectionManager<A> {
    fn default() -> Self {
        Self {
            sessions: BTreeMap::new(),
            carried: BTreeMap::new(),
        }
    }
}

impl<A> TunnelConnectionManager<A> {
    /// A session rides on a registration's connection from now on. A later try replaces an earlier one.
    pub fn insert(&mut self, session: SessionId, epoch: Epoch, abort: A) {
        self.remove(session);
        self.sessions.insert(session, (epoch, abort));
        self.carried.entry(epoch).or_default().insert(session);
        self.check();
    }

    /// A session has ended.
    pub fn remove(&mut self, session: SessionId) -> Option<A> {
        let (epoch, abort) = self.sessions.remove(&session)?;
        if let Some(carried) = self.carried.get_mut(&epoch) {
            carried.remove(&session);
            if carried.is_empty() {
                self.carried.remove(&epoch);
            }
        }
        self.check();
        Some(abort)
    }

    /// Forgets everything a registration carried, and hands back what ends it.
    pub fn remove_epoch(&mut self, epoch: Epoch) -> Vec<A> {
        let carried = self.carried.remove(&epoch).unwrap_or_default();
        let aborts = carried
            .iter()
            .filter_map(|session| self.sessions.remove(session))
            .map(|(_, abort)| abort);
        let aborts = aborts.collect();
        self.check();
        aborts
    }

    /// Forgets everything, and hands back what ends it.
    pub fn remove_all(&mut self) -> Vec<A> {
        self.carried.clear();
        std::mem::take(&mut self.sessions)
            .into_values()
            .map(|(_, abort)| abort)
            .collect()
    }

    /// How many sessions a registration carries.
    pub fn count(&self, epoch: Epoch) -> usize {
        self.carried.get(&epoch).map_or(0, BTreeSet::len)
    }

    /// How many sessions are carried in all.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether nothing is carried.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn check(&self) {
        debug_assert_eq!(
            self.carried.values().map(BTreeSet::len).sum::<usize>(),
            self.sessions.len(),
            "every session is carried by exactly one registration"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_registration_takes_its_sessions_and_no_others() {
        let mut tunnels = TunnelConnectionManager::default();
        let epoch = |n| Epoch::new(1, n);
        for n in 0..6 {
            tunnels.insert(SessionId::new(n), epoch(n % 2), n);
        }
        tunnels.insert(SessionId::new(0), epoch(1), 100);
        assert_eq!(tunnels.remove_epoch(epoch(0)), [2, 4]);
        assert_eq!(tunnels.count(epoch(1)), 4);
        assert_eq!(tunnels.remove(SessionId::new(0)), Some(100));
        assert_eq!(tunnels.remove(SessionId::new(2)), None);
        assert_eq!(tunnels.len(), 3);
    }
}
