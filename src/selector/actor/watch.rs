//! Has targets probed: those that have rivals all the time, one that is alone while it fails, or as it is asked for.

use std::sync::Arc;

use super::{
    super::{setup::Alone, target::Reach},
    Selector,
};
use crate::{
    pool::actor::Remove,
    probe::mutant,
    prober::actor::{SetMembers, Unwatch, Watch},
    time,
};

impl<R: Reach> Selector<R> {
    /// A target has come, and is not a member yet.
    pub(super) fn watch_newcomer(&mut self, key: &R::Key) {
        self.watch();
        if let (true, Some(prober), Some(known)) = (self.watching, &self.prober, self.targets.get(key)) {
            prober.do_send(Watch(Arc::clone(&known.target)));
        }
    }

    /// Begins to have targets probed, or ends it. One that is alone has nobody to be compared with; but what
    /// becomes of it only a probe finds out before a visitor.
    pub(super) fn watch(&mut self) {
        let Some(prober) = &self.prober else { return };
        let watching = self.targets.len() > 1 || self.watches_alone();
        if watching == self.watching {
            return;
        }
        self.watching = watching;
        for (key, known) in &self.targets {
            match watching {
                true => prober.do_send(Watch(Arc::clone(&known.target))),
                false => prober.do_send(Unwatch(key.clone())),
            }
        }
        // The prober did not know them when they were said to be members.
        if watching {
            prober.do_send(SetMembers {
                joined: self.active.keys().cloned().collect(),
                left: Vec::new(),
            });
        }
    }

    fn watches_alone(&self) -> bool {
        let fails = self.failures.any() || self.roster.all_fail();
        match self.setup.alone {
            Alone::Always => fails || !mutant!("lone-target-not-probed"),
            Alone::Failing => fails && !self.targets.is_empty(),
        }
    }

    /// A target is gone.
    pub(super) fn forget(&mut self, key: &R::Key) {
        self.roster.leave(time::now(), key);
        self.failures.forget(key);
        self.targets.remove(key);
        self.name_no_more(key);
        self.count_targets();
        if let Some(prober) = &self.prober
            && !mutant!("left-target-still-probed")
        {
            prober.do_send(Unwatch(key.clone()));
        }
    }

    /// Closes what is kept warm.
    pub(super) fn keep_nothing_warm(&self) {
        if let Some(warm) = &self.setup.warm {
            for key in self.active.keys() {
                warm.remove.do_send(Remove(key.clone()));
            }
        }
    }
}
