//! Invariant 17 as it stands for a client: what becomes of kept connections by a door of a service that was shut.

use std::{collections::BTreeMap, time::Duration};

use super::{Invariant, Model, group_bit};
use crate::{
    event::Event,
    fault::{AnyAct, upstream::Shut},
    plan::{Millis, who::Who},
};

/// How long a request may still come by a door that is left out: the news and a request on its way may pass each other.
const LEFT_MS: Millis = 1_000;

/// 17 at a client: who keeps a connection by a door of a service that its client has left out asks nothing more on it. Watches
/// doors that are shut while nothing else troubles their client, by the number of the fault.
#[derive(Default)]
pub struct DoorsLeft(BTreeMap<usize, Shutting>);

/// What is known of a door that is shut.
#[derive(Clone, Copy, Debug, Default)]
struct Shutting {
    /// The client chose among both doors since then: the one that it leaves out after that is the one that is shut.
    had_both: bool,
    /// Since when it is left out.
    since: Option<Duration>,
}

/// The door that the fault of that number shuts.
fn shutting(model: &Model, nth: usize) -> Option<&Shut> {
    match &model.plan.faults[nth].act {
        AnyAct::Shut(shut) => Some(shut),
        _ => None,
    }
}

impl Invariant for DoorsLeft {
    fn number(&self) -> u8 {
        17
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        match event {
            Event::FaultBegins { nth, .. } if shutting(model, *nth).is_some() => {
                self.0.insert(*nth, Shutting::default());
            }
            Event::FaultEnds { nth, .. } | Event::FaultMisses { nth, .. } => drop(self.0.remove(nth)),
            Event::Accepts {
                upstream: Who::Upstream(upstream),
                door,
                serial,
            } => {
                let came_by = |shut: &Shut| (shut.upstream, usize::from(shut.spare)) == (*upstream, *door);
                let mut all = self.0.iter();
                let (_, watched) = all.find(|(nth, _)| shutting(model, **nth).is_some_and(came_by))?;
                let since = watched.since?;
                return (model.now > since + Duration::from_millis(LEFT_MS)).then(|| {
                    format!(
                        "{serial:#x} came by a door of {} that its client had left by {since:?}",
                        Who::Upstream(*upstream)
                    )
                });
            }
            _ => {}
        }
        None
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        for (nth, watched) in &mut self.0 {
            let Some(shut) = shutting(model, *nth) else {
                continue;
            };
            if model.plan.knobs.is_slow() || model.is_troubled_besides(shut.upstream, *nth) {
                *watched = Shutting::default();
                continue;
            }
            let is_left = model.sight.one_door & group_bit(shut.upstream) != 0;
            watched.had_both |= !is_left;
            let left = is_left && watched.had_both;
            watched.since = left.then(|| watched.since.unwrap_or(model.now));
        }
        None
    }
}
