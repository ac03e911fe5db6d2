//! Writes the log lines about a group: which of its targets fail and why, when they are well again, and what was decided.

use tracing::{info, warn};

use super::{
    super::{
        failures::Notice,
        journal::{Decision, Reason},
        target::{Place, Reach},
    },
    Selector,
};
use crate::{
    probe::{mutant, sometimes},
    time::{self, Duration},
};

impl<R: Reach> Selector<R> {
    /// A target failed, or answered. `words` are none where the target's gauges hold them.
    pub(super) fn heard(&mut self, key: &R::Key, failure: Option<Option<String>>) {
        let (now, Some(known)) = (time::now(), self.targets.get_mut(key)) else {
            return;
        };
        let Some(words) = failure else {
            known.answered = true;
            return self.failures.handle_succeeded(now, key);
        };
        if !self.failures.any() {
            // What was turned away before has nothing to do with this.
            self.group.take_turned_away();
        }
        if let Some(words) = &words {
            known.target.gauges.note_failure(words);
        }
        let words = words.map(Into::into).or_else(|| known.target.gauges.failure());
        let cause = words.unwrap_or_else(|| "no reason was given".into());
        let matters = known.answered || self.active.contains_key(key);
        self.roster.note_cause(key, &cause);
        self.failures.handle_failed(now, key, &cause, matters);
    }

    /// Keeps why a session on a target broke, for what may be decided because of it.
    pub(super) fn note_cause(&mut self, key: &R::Key) {
        if let Some(cause) = self
            .targets
            .get(key)
            .and_then(|known| known.target.gauges.failure())
        {
            self.roster.note_cause(key, &cause);
        }
    }

    /// Shows whether any target is well: in the metrics, and to whoever asks the group.
    pub(super) fn show_usable(&self) {
        let failing = self.roster.all_fail();
        self.group.set_failing(failing);
        sometimes!(
            failing && self.targets.len() == 1 && self.series.usable.get() > 0,
            "lone-target-found-out"
        );
        let usable = !self.active.is_empty() && (!failing || mutant!("failing-group-shown-as-usable"));
        self.series.usable.set(i64::from(usable));
    }

    /// Writes what is to be told of failing targets.
    pub(super) fn tell_failures(&mut self) {
        for notice in self.failures.take_notices() {
            match notice {
                Notice::Fails { key, cause, lasting } => {
                    let place = self.place(&key);
                    warn!(
                        group = %self.group.name(),
                        client = place.client.as_ref().map(display),
                        upstream = place.upstream.as_ref().map(display),
                        address = place.address.map(display),
                        reason = &*cause,
                        lasting = lasting.map(whole).map(debug),
                        "target fails"
                    );
                }
                Notice::Well {
                    key,
                    lasted,
                    failures,
                } => {
                    let place = self.place(&key);
                    info!(
                        group = %self.group.name(),
                        client = place.client.as_ref().map(display),
                        upstream = place.upstream.as_ref().map(display),
                        address = place.address.map(display),
                        failed_for = ?whole(lasted),
                        failures,
                        "target is well again"
                    );
                }
                Notice::Minute { failing, untold } => self.tell_minute(failing, untold),
            }
        }
    }

    /// Writes what was decided.
    pub(super) fn tell_decision(&self, decision: &Decision) {
        let group = self.group.name();
        match (decision.reason, &decision.target) {
            (Reason::LastResort, None) => warn!(%group, "{decision}"),
            _ => info!(%group, "{decision}"),
        }
    }

    /// A minute of an outage is over, or its last part.
    fn tell_minute(&self, failing: usize, untold: usize) {
        let group = self.group.name();
        if untold > 0 {
            warn!(%group, failing, "{untold} more targets fail, or fail for another reason");
        }
        let turned_away = self.group.take_turned_away();
        if turned_away > 0 {
            let visitors = if turned_away == 1 { "visitor" } else { "visitors" };
            warn!(%group, failing, "{turned_away} {visitors} turned away in the last minute");
        }
    }

    fn place(&self, key: &R::Key) -> Place {
        let known = self.targets.get(key);
        let mut place = known.map_or_else(Place::default, |known| known.target.reach.place());
        if let Some((client, upstream)) = &self.setup.serves {
            place.client.get_or_insert_with(|| client.clone());
            place.upstream.get_or_insert_with(|| upstream.clone());
        }
        place
    }
}

/// Whole milliseconds, or whole seconds: nobody reads more of how long something lasted.
fn whole(duration: Duration) -> Duration {
    match duration.as_secs() {
        0 => Duration::from_millis(u64::from(duration.subsec_millis())),
        seconds => Duration::from_secs(seconds),
    }
}
