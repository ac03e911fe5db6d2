//! What a roster believes, counted anew from its entries.

use std::collections::BTreeSet;

use super::{Entry, Roster, SOFT_GROUP_MIN, TICK_JITTER};
use crate::{
    probe::{AUDITS, audit, audit_eq},
    selector::{health::State, target::SHARE_WHOLE},
    time::Instant,
};

/// Of so many targets each is looked at; of more that would take too long.
const RECOUNTED_MAX: usize = 64;

impl<K: Ord + Clone> Roster<K> {
    /// Its targets.
    pub(in crate::selector) fn keys(&self) -> impl Iterator<Item = &K> {
        self.entries.keys()
    }

    /// Those that are members of the active set.
    pub(in crate::selector) fn member_keys(&self) -> impl Iterator<Item = &K> {
        let members = self.entries.iter();
        members
            .filter(|(_, entry)| entry.active_since.is_some())
            .map(|(key, _)| key)
    }

    /// Whether its slow start goes on, as far as anybody was told.
    pub(in crate::selector) fn is_ramping(&self, key: &K) -> bool {
        self.ramping.contains(key)
    }

    /// What holds behind every command and input.
    pub(super) fn check(&self) {
        if !AUDITS {
            return;
        }
        let present = self.entries.values().any(Entry::is_present);
        audit_eq!(
            self.members > 0,
            present,
            "somebody is used exactly while somebody is present"
        );
        audit!(
            self.options
                .active_set_size
                .is_none_or(|size| self.members <= size.max(1)),
            "the active set is no larger than configured"
        );
        audit_eq!(
            self.tick_at.is_some(),
            !self.entries.is_empty(),
            "a group is evaluated while it has targets"
        );
        audit!(
            self.newcomer.is_none() && !self.changed,
            "what changed is published, and nobody is new for ever"
        );
        if self.entries.len() <= RECOUNTED_MAX {
            self.recount();
        }
    }

    fn recount(&self) {
        audit_eq!(self.members, self.member_keys().count(), "members are counted");
        let due = self
            .entries
            .iter()
            .filter_map(|(key, entry)| Some((entry.due?, key.clone())));
        audit!(
            due.collect::<BTreeSet<_>>() == self.due,
            "each target is looked at when it wants to be, and nobody else is"
        );
        audit!(
            self.ramping.is_empty() || self.ramp_at.is_some(),
            "a slow start goes on"
        );
        audit!(
            self.fault.probed().all(|key| self.entries.contains_key(key)),
            "who has left is no sign of a local fault"
        );
        for (key, entry) in &self.entries {
            self.check_entry(key, entry);
        }
    }

    fn check_entry(&self, key: &K, entry: &Entry) {
        let (state, active) = (entry.gate.state(), entry.active_since.is_some());
        audit!(
            !matches!(state, State::Open(_)) || entry.due == entry.gate.poll_timeout(),
            "a gate that is open is looked at when its wait is over"
        );
        audit!(
            state != State::Draining || !active && entry.due.is_none(),
            "who drains is no member, and nobody waits for it"
        );
        audit!(
            !active || self.last_resort || entry.is_usable(self.panic, self.probed),
            "a member may be used"
        );
        audit!(!active || entry.served, "a member has been in the active set");
        audit!(
            entry.low_since.is_none() || matches!(state, State::Closed | State::Draining),
            "what a target scored is forgotten when it fails"
        );
        audit!(entry.ramp_since.is_none() || active, "only members start slowly");
        audit!(
            !self.ramping.contains(key) || entry.ramp_since.is_some(),
            "whoever has no slow start is not in one"
        );
    }

    /// What holds behind a look at what was due at `now`.
    pub(super) fn check_rest(&self, now: Instant) {
        if !AUDITS {
            return;
        }
        audit!(
            self.poll_timeout().is_none_or(|due| due > now),
            "nothing that is due is left behind"
        );
        let interval = self.options.evaluation_interval.mul_f64(1.0 + TICK_JITTER);
        audit!(
            self.tick_at.is_none_or(|at| at <= now + interval),
            "the next evaluation is an interval away"
        );
        audit!(
            self.ramp_at.is_none_or(|at| at <= now + self.ramp_step()),
            "the next step of slow starts is a step away"
        );
        if self.entries.len() <= RECOUNTED_MAX {
            let slow_start = self.options.slow_start;
            let part = |entry: &Entry| entry.share(now, slow_start) < SHARE_WHOLE;
            let mut part = self.entries.iter().filter(|(_, entry)| part(entry));
            audit!(
                part.all(|(key, _)| self.ramping.contains(key)),
                "whoever has not its whole share yet is in a slow start"
            );
        }
    }

    /// What holds where the set has just been composed: it is judged and chosen anew.
    pub(super) fn check_composed(&self, now: Instant) {
        if !AUDITS || self.entries.len() > RECOUNTED_MAX {
            return;
        }
        let entries = || self.entries.values();
        let usable = |entry: &&Entry| entry.is_usable(self.panic, self.probed);
        let (all, well) = (
            entries().filter(|entry| entry.counts()).count(),
            entries()
                .filter(|entry| entry.counts() && entry.is_well())
                .count(),
        );
        audit_eq!(
            self.panic,
            all >= SOFT_GROUP_MIN && well * 2 < all,
            "a group panics while fewer than half are well"
        );
        audit_eq!(
            self.last_resort,
            entries().any(Entry::is_present) && !entries().any(|entry| usable(&entry)),
            "everybody is a last resort while nobody may be used"
        );
        let room = self
            .options
            .active_set_size
            .is_none_or(|size| self.members < size.max(1));
        let hold_off = self.options.switching.hold_off;
        let mut left_out = entries().filter(|entry| entry.active_since.is_none() && entry.is_present());
        audit!(
            !room
                || !left_out.any(|entry| self.last_resort || usable(&entry) && !entry.is_held(now, hold_off)),
            "whoever may be used is a member while there is room"
        );
        if self.last_resort {
            self.check_least_bad(now);
        }
    }

    /// Of those that fail no member is worse than one that is left out.
    fn check_least_bad(&self, now: Instant) {
        let present = || self.entries.iter().filter(|(_, entry)| entry.is_present());
        let least = present()
            .filter(|(_, entry)| entry.active_since.is_none())
            .map(|(_, entry)| entry.badness(now));
        let least = least.min_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        let no_worse = |entry: &Entry| least.is_none_or(|least| entry.badness(now) <= least);
        audit!(
            present().all(|(_, entry)| entry.active_since.is_none() || no_worse(entry)),
            "the least bad are used where all fail"
        );
    }

    /// What holds where `key` has been chosen to enter while others may be used and are `free` of a hold-off.
    pub(super) fn check_entering(&self, now: Instant, key: &K, free: bool) {
        if let (true, Some(entry)) = (AUDITS, self.entries.get(key)) {
            audit!(
                !free || !entry.is_held(now, self.options.switching.hold_off),
                "who is held off stays out while somebody else may be used"
            );
        }
    }

    /// What holds where one has just taken the place of another.
    pub(super) fn check_improved(&self) {
        let (improved, _) = self.improved.remembered();
        let mut last = improved.rev().take(2);
        if let (Some(last), Some(before)) = (last.next(), last.next()) {
            audit!(
                *last >= *before + self.options.switching.cooldown,
                "a pause lies between two improvements"
            );
        }
    }
}
