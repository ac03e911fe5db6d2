//! A group's notice board: one selector writes, every session reads.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use super::{active_set::ActiveSet, target::Reach};
use crate::{
    id::GroupName,
    probe::{audit, mutant},
};

/// Why a group serves nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It has no target, or those that it has drain.
    NoTarget,
    /// All of them fail; why one of them does, in words.
    AllFail(Option<Arc<str>>),
}

/// Where a selector publishes and everybody else reads, asking nobody.
#[derive(Debug)]
pub struct Group<R> {
    name: GroupName,
    active: ArcSwap<ActiveSet<R>>,
    /// Every target fails; the active set holds them as a last resort.
    failing: AtomicBool,
    waiting: AtomicUsize,
    changed: Notify,
    published: Notify,
    turned_away: AtomicU64,
}

impl<R: Reach> Group<R> {
    /// A group without targets.
    pub fn new(name: GroupName) -> Arc<Self> {
        Arc::new(Self {
            name,
            active: ArcSwap::default(),
            failing: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            changed: Notify::new(),
            published: Notify::new(),
            turned_away: AtomicU64::new(0),
        })
    }

    /// Its name.
    pub fn name(&self) -> &GroupName {
        &self.name
    }

    /// The targets that may be used now.
    pub fn active(&self) -> Arc<ActiveSet<R>> {
        self.active.load_full()
    }

    /// Replaces the snapshot and wakes who waits for a target.
    pub fn publish(&self, set: ActiveSet<R>) {
        let usable = !set.is_empty();
        let set = set.after(&self.active.load());
        self.active.store(Arc::new(set));
        if usable {
            self.changed.notify_waiters();
        }
        self.published.notify_waiters();
    }

    /// Waits until the target with this key is not a member of the active set. One that was none to begin with, as it stood
    /// by, has time until the next set.
    pub async fn wait_until_left(&self, key: &R::Key) {
        let mut was_member = self.active.load().member(key).is_some();
        loop {
            let published = self.published.notified();
            if was_member && self.active.load().member(key).is_none() {
                return;
            }
            published.await;
            was_member = true;
        }
    }

    /// The selector says whether every target fails.
    pub fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    /// Whether a visitor would be served now, as far as is known.
    ///
    /// # Errors
    /// Why it would not.
    pub fn check(&self) -> Result<(), Unusable> {
        let active = self.active.load();
        if active.is_empty() {
            return Err(Unusable::NoTarget);
        }
        if !self.failing.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(Unusable::AllFail(self.failure()))
    }

    /// What one of the active targets said when it failed, if one does.
    pub fn failure(&self) -> Option<Arc<str>> {
        let active = self.active.load();
        active.targets().iter().find_map(|target| target.gauges.failure())
    }

    /// A visitor was not served.
    pub fn count_turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    /// How many visitors were not served since this was asked last.
    pub fn take_turned_away(&self) -> u64 {
        self.turned_away.swap(0, Ordering::Relaxed)
    }

    /// How many wait for a target now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits until the group has a target. `None` when `waiting_max` others wait already.
    pub async fn wait_for_target(&self, waiting_max: usize) -> Option<()> {
        let place = Place::take(&self.waiting, waiting_max)?;
        loop {
            let changed = self.changed.notified();
            if !self.active.load().is_empty() {
                if mutant!("served-visitor-keeps-its-place") {
                    std::mem::forget(place);
                }
                return Some(());
            }
            changed.await;
        }
    }
}

/// A place in the queue of those who wait; left on drop.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        let free = |now: usize| (now < max).then_some(now + 1);
        waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, free)
            .ok()?;
        Some(Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        audit!(before > 0, "whoever waits has a place");
    }
}
