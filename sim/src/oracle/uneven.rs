//! Invariant 52: what a node counts in two places agrees while things are under way.

use std::time::Duration;

use super::{Invariant, Model};
use crate::plan::who::Who;

/// Two figures of one node that do not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uneven {
    /// Whose.
    pub who: Who,
    /// Of what.
    pub what: &'static str,
    /// How many there are.
    pub is: i64,
    /// How many there should be, at least and at most.
    pub should: (i64, i64),
}

/// 52: figures that mean the same do not differ for longer than a step takes.
#[derive(Default)]
pub struct Agreement {
    /// What differs, and since when.
    since: Option<(Who, &'static str, Duration)>,
}

impl Invariant for Agreement {
    fn number(&self) -> u8 {
        52
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let is_sound = |uneven: &Uneven| match uneven.who {
            Who::Client(n) => model.felt_by(n).next().is_none(),
            _ => !model.is_server_troubled(),
        };
        // Whoever is stopped halfway has not come to the other figure.
        let Some(uneven) = model.sight.uneven_figures.filter(is_sound) else {
            self.since = None;
            return None;
        };
        let Uneven {
            who,
            what,
            is,
            should,
        } = uneven;
        let same = self.since.filter(|(whose, of, _)| (*whose, *of) == (who, what));
        let (.., since) = *self.since.insert(same.unwrap_or((who, what, model.now)));
        // What is being connected takes its time.
        let step = Duration::from_millis(500 + 4 * model.plan.knobs.exchange_ms());
        (model.now > since + step).then(|| {
            let (least, most) = should;
            format!("{is} {what} are counted at {who}, there should be {least} to {most}")
        })
    }
}
