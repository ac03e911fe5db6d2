//! What a selector believes behind every message: what is published, shown and probed is what its roster says.

use std::sync::Arc;

use super::{
    super::target::{Reach, SHARE_WHOLE},
    Selector,
};
use crate::probe::{AUDITS, audit, audit_eq};

/// Of so many targets each is looked at; of more that would take too long.
const RECOUNTED_MAX: usize = 64;

impl<R: Reach> Selector<R> {
    pub(super) fn check(&self) {
        if !AUDITS || self.targets.len() > RECOUNTED_MAX {
            return;
        }
        audit!(
            self.targets.keys().eq(self.roster.keys()),
            "the targets are those that are judged"
        );
        audit!(
            self.active.keys().eq(self.roster.member_keys()),
            "the members are those that were chosen"
        );
        audit!(
            self.failures.failing().all(|key| self.targets.contains_key(key)),
            "who has left fails no more"
        );
        audit!(
            self.moved.joined.is_empty() && self.moved.left.is_empty(),
            "the prober was told of who entered and left"
        );
        self.check_published();
        let fails = self.roster.all_fail();
        audit_eq!(
            self.group.check().is_ok(),
            !fails && !self.active.is_empty(),
            "the group says whether a visitor would be served"
        );
        let due = [self.roster.poll_timeout(), self.failures.poll_timeout()];
        audit_eq!(
            self.timer.as_ref().map(|(armed, _)| *armed),
            due.into_iter().flatten().min(),
            "a selector is woken when there is something to do"
        );
    }

    /// What everybody sees is what is known here.
    fn check_published(&self) {
        let set = self.group.active();
        let same = |(a, b): (&Arc<_>, &Arc<_>)| Arc::ptr_eq(a, b);
        audit!(
            set.targets().len() == self.active.len()
                && set.targets().iter().zip(self.active.values()).all(same),
            "the members are published"
        );
        for (key, member) in &self.active {
            let known = self.targets.get(key);
            audit!(
                known.is_some_and(|known| Arc::ptr_eq(&known.target, member)),
                "a member is the target that is known by its key"
            );
            audit!(
                self.roster.is_ramping(key) || member.gauges.share() == SHARE_WHOLE,
                "whoever is in no slow start has its whole share"
            );
        }
        let mut named = Vec::new();
        for target in set.reserve() {
            let key = target.key();
            let known = self.targets.get(&key);
            audit!(
                known.is_some_and(|known| Arc::ptr_eq(&known.target, target)),
                "whoever stands by is a target of the group"
            );
            audit!(
                !self.active.contains_key(&key) && !named.contains(&key),
                "whoever stands by is no member, and is named once"
            );
            named.push(key);
        }
    }
}
