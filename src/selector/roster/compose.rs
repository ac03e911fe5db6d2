//! Who is in the active set: everybody who is usable, up to its size, and never nobody.

use super::{
    super::{
        health::{Evidence, State},
        journal::{Change, Reason},
    },
    Action, Entry, Roster, SOFT_GROUP_MIN,
};
use crate::{
    probe::{audit, measure, mutant, sometimes},
    time::Instant,
};

impl<K: Ord + Clone> Roster<K> {
    /// Puts out who is not usable, and takes in who is, as far as there is room.
    pub(super) fn compose(&mut self, now: Instant) {
        self.choose(now);
        self.check_composed(now);
    }

    fn choose(&mut self, now: Instant) {
        self.judge_panic(now);
        self.judge_scores();
        let hold_off = self.options.switching.hold_off;
        let (panic, probed) = (self.panic, self.probed);
        let usable = |entry: &Entry| entry.is_usable(panic, probed);
        let ignored = mutant!("hold-off-ignored");
        let held = |entry: &Entry| !ignored && entry.is_held(now, hold_off);
        let free = |entry: &Entry| entry.active_since.is_some() || !held(entry);
        let somebody = self.entries.values().any(usable);
        // While nobody else is well, a hold-off does not count.
        let somebody_free = self.entries.values().any(|entry| usable(entry) && free(entry));
        self.judge_last_resort(now, !somebody);
        if !somebody {
            return self.compose_last_resort(now);
        }
        let out = self.entries.iter();
        let out: Vec<_> = out
            .filter(|(_, entry)| entry.active_since.is_some() && !usable(entry))
            .map(|(key, entry)| (key.clone(), why_out(entry)))
            .collect();
        for (key, reason) in out {
            sometimes!(reason == Reason::Failing, "member-ejected-hard");
            let soft = matches!(reason, Reason::RarelySucceeds | Reason::LowScore);
            sometimes!(soft, "member-ejected-soft");
            if reason == Reason::Failing && mutant!("failed-member-stays") {
                continue;
            }
            self.exit(now, &key, reason);
        }
        let others = self.entries.iter();
        let mut others: Vec<_> = others
            .filter(|(_, entry)| entry.active_since.is_none() && usable(entry))
            .filter(|(_, entry)| {
                sometimes!(somebody_free && !free(entry), "target-held-off");
                !somebody_free || free(entry)
            })
            .map(|(key, entry)| (entry.cost_to_enter(now), key.clone()))
            .collect();
        if let Some(size) = self.options.active_set_size {
            others.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
            others.truncate(size.max(1).saturating_sub(self.members));
        }
        for (_, key) in others {
            self.check_entering(now, &key, somebody_free);
            let served = self.entries.get(&key).is_some_and(|entry| entry.served);
            let reason = match self.newcomer.as_ref() == Some(&key) {
                true => Reason::Joined,
                false if served => Reason::Recovered,
                false => Reason::Room,
            };
            self.enter(now, &key, reason);
        }
    }

    /// The best `n` of those who are no members: those who are well, then those who were not when last heard of.
    pub fn reserve(&self, now: Instant, n: usize) -> Vec<K> {
        let out = |entry: &Entry| entry.active_since.is_none() && entry.is_present();
        let rank = |entry: &Entry| (entry.gate.state() != State::Closed, entry.meter.cost(now));
        let all = self.entries.iter().filter(|(_, entry)| out(entry));
        let mut all: Vec<_> = all.map(|(key, entry)| (rank(entry), key)).collect();
        // Of a long list the few that are wanted are found first, and only those are put in order.
        if n < all.len() {
            all.select_nth_unstable(n);
            all.truncate(n);
        }
        all.sort_unstable();
        all.into_iter().map(|(_, key)| key.clone()).collect()
    }

    /// Somebody left: others may take the place, if there is one to take.
    pub(super) fn fill_gap(&mut self, now: Instant) {
        let sized = self.options.active_set_size.is_some();
        if sized || self.members == 0 || self.panic || self.last_resort {
            self.compose(now);
        }
    }

    /// Nobody is well: the least bad of all present are used.
    fn compose_last_resort(&mut self, now: Instant) {
        let mut all: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.is_present())
            .map(|(key, entry)| (entry.badness(now), key.clone()))
            .collect();
        if let Some(size) = self.options.active_set_size {
            all.sort_by(|((a, b, c), key), ((x, y, z), other)| {
                (a, b)
                    .cmp(&(x, y))
                    .then(c.total_cmp(z))
                    .then_with(|| key.cmp(other))
            });
            let worse = all.split_off(all.len().min(size.max(1)));
            for (_, key) in worse {
                self.exit(now, &key, Reason::Worse);
            }
        }
        if mutant!("last-resort-empty") {
            let members: Vec<_> = all.into_iter().map(|(_, key)| key).collect();
            return members
                .iter()
                .for_each(|key| self.exit(now, key, Reason::Failing));
        }
        for (_, key) in all {
            sometimes!("last-resort-used");
            self.enter(now, &key, Reason::LastResort);
        }
    }

    /// Where nobody better is left, a low score is nothing to be left out for.
    fn judge_scores(&mut self) {
        let usable = |entry: &Entry| entry.is_usable(self.panic, self.probed);
        if !self.entries.values().any(usable) {
            let left_out = self.entries.values_mut();
            left_out.for_each(|entry| entry.low_since = None);
        }
    }

    fn judge_panic(&mut self, now: Instant) {
        let counted = || self.entries.values().filter(|entry| entry.counts());
        let (all, well) = (
            counted().count(),
            counted().filter(|entry| entry.is_well()).count(),
        );
        let panic = all >= SOFT_GROUP_MIN && 2 * well < all;
        if panic != self.panic {
            sometimes!(panic, "group-panicked");
            self.panic = panic;
            let reason = if panic { Reason::Panic } else { Reason::PanicOver };
            self.note(now, None, Change::Noted, reason);
        }
    }

    fn judge_last_resort(&mut self, now: Instant, nobody_well: bool) {
        let last_resort = nobody_well && self.entries.values().any(Entry::is_present);
        if last_resort != self.last_resort {
            self.last_resort = last_resort;
            let reason = if last_resort {
                Reason::LastResort
            } else {
                Reason::ResortOver
            };
            self.note(now, None, Change::Noted, reason);
        }
    }

    /// It is a member from now on; nothing happens if it is one.
    pub(super) fn enter(&mut self, now: Instant, key: &K, reason: Reason) {
        let others = self.members > 0;
        let starting = now < self.populated_at + self.options.slow_start;
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        if entry.active_since.is_some() {
            return;
        }
        entry.active_since = Some(now);
        entry.provisional = !entry.meter.is_known();
        entry.served = true;
        // Nobody starts slowly where all have just started, or where it is all there is.
        entry.ramp_since = (others && !starting && !self.last_resort).then_some(now);
        if entry.ramp_since.is_some() {
            sometimes!("slow-start-began");
            self.ramping.insert(key.clone());
            self.ramp_at = self.ramp_at.or(Some(now + self.ramp_step()));
        }
        self.members += 1;
        self.changed = true;
        self.actions.push_back(Action::Enter(key.clone()));
        self.actions.push_back(Action::Weigh(key.clone()));
        self.note(now, Some(key), Change::Added, reason);
    }

    /// It is a member no more; nothing happens if it is none.
    pub(super) fn exit(&mut self, now: Instant, key: &K, reason: Reason) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        let Some(since) = entry.active_since.take() else {
            return;
        };
        measure!("member-for-ms", now.saturating_duration_since(since));
        audit!(
            reason != Reason::Worse || self.last_resort || now >= since + self.options.switching.min_dwell,
            "nobody gives way to a better one before its time"
        );
        entry.ramp_since = None;
        if matches!(reason, Reason::Failing | Reason::RarelySucceeds) {
            entry.gate.handle_ejected(now);
        }
        self.ramping.remove(key);
        self.members -= 1;
        self.changed = true;
        self.actions.push_back(Action::Exit(key.clone()));
        self.note(now, Some(key), Change::Removed, reason);
    }
}

/// Why a member that is not usable is not.
fn why_out(entry: &Entry) -> Reason {
    match entry.gate.state() {
        State::Draining => Reason::Draining,
        State::Open(Evidence::Soft) | State::HalfOpen(Evidence::Soft) => Reason::RarelySucceeds,
        State::Closed => Reason::LowScore,
        State::Open(Evidence::Hard) | State::HalfOpen(Evidence::Hard) => Reason::Failing,
    }
}
