//! Invariant 9, its other half: whoever refuses is left out before long, where somebody else serves.

use std::{collections::BTreeMap, time::Duration};

use super::{Invariant, Model, group_bit};
use crate::{
    event::Event,
    fault::AnyAct,
    plan::{Millis, forward::Balance, knobs::PROBE_TIMEOUT_MS, who::Who},
    upstream::Mood,
};

/// How long being asked three times may take beyond the intervals.
const ASKED_MS: Millis = 5_000;

/// Intervals between probes within which a target that refuses is found out: one passes before it is asked, one more
/// while nobody else is thought to be well.
const INTERVALS: Millis = 3;

/// Visits for each client of a group after which three have met the one that refuses: with five clients all but four
/// times in a million.
const VISITS_EACH: usize = 16;

/// The same where five sessions in a row have to break.
const VISITS_EACH_RESET: usize = 20;

/// Whether the service of that fault resets whoever comes.
fn resets(model: &Model, nth: usize) -> bool {
    matches!(&model.plan.faults[nth].act, AnyAct::Ail(ail) if ail.mood == Mood::Resets)
}

/// Since when, and for how many visits, a service has refused and was not left out.
#[derive(Clone, Copy, Debug)]
struct Refusing {
    since: Duration,
    visits: usize,
}

/// Whether services are asked, and have to answer.
fn asks(model: &Model) -> bool {
    model.plan.knobs.probe_http && model.plan.knobs.probe_interval_ms > 0
}

/// Watches services that refuse, by the number of the fault.
#[derive(Default)]
pub struct LeftOut(BTreeMap<usize, Refusing>);

impl LeftOut {
    /// The client whose service that fault makes refuse.
    fn refuses(model: &Model, nth: usize) -> Option<usize> {
        match &model.plan.faults[nth].act {
            AnyAct::Ail(ail) if matches!(ail.mood, Mood::Refuses | Mood::Resets) => Some(ail.upstream),
            // Only who asks for an answer finds out that there is none.
            AnyAct::Ail(ail) if matches!(ail.mood, Mood::Hangs | Mood::Unready) && asks(model) => {
                Some(ail.upstream)
            }
            _ => None,
        }
    }
}

impl Invariant for LeftOut {
    fn number(&self) -> u8 {
        9
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        match event {
            Event::FaultBegins { nth, .. } if Self::refuses(model, *nth).is_some() => {
                let now = Refusing {
                    since: model.now,
                    visits: 0,
                };
                self.0.insert(*nth, now);
            }
            Event::FaultEnds { nth, .. } | Event::FaultMisses { nth, .. } => drop(self.0.remove(nth)),
            Event::Opens { visit, .. } => {
                for (nth, refusing) in &mut self.0 {
                    let group = Self::refuses(model, *nth).map(|client| model.plan.clients[client]);
                    // A crowd has come before anybody can learn of its first.
                    refusing.visits += usize::from(group == Some(visit.group) && visit.at_once == 1);
                }
            }
            _ => {}
        }
        None
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let (plan, knobs) = (&model.plan, &model.plan.knobs);
        // Those who are well may be too slow to be known to be, and then nobody is left out.
        if knobs.is_slow() || !knobs.leaves_time_to_probe() {
            return None;
        }
        self.0.iter_mut().find_map(|(nth, refusing)| {
            let client = Self::refuses(model, *nth)?;
            let group = plan.clients[client];
            let members: Vec<_> = (0..plan.clients.len())
                .filter(|member| plan.serves(*member, group))
                .collect();
            let targets = members.iter().map(|member| plan.targets_in(*member, group));
            let targets: usize = targets.sum();
            let somebody_is_out = model.sight.uneven & group_bit(group) != 0;
            let disturbed = members
                .iter()
                .any(|member| model.is_troubled_besides(*member, *nth));
            // Whoever is not here is not used either, and may take its longest pause to come back.
            let lost = model
                .outside
                .clients
                .iter()
                .filter(|lost| **lost != client)
                .count();
            let somebody_is_away = model.sight.registered + lost < plan.clients.len();
            if somebody_is_out || somebody_is_away || disturbed || members.len() < 2 {
                *refusing = Refusing {
                    since: model.now,
                    visits: 0,
                };
                return None;
            }
            let late = match knobs.probe_interval_ms {
                // Whoever only asks whether it can be connected finds nothing wrong.
                _ if resets(model, *nth) => refusing.visits > VISITS_EACH_RESET * targets,
                // Whoever costs more than the others is not asked, so nobody finds out.
                0 if knobs.balance == Balance::PeakEwma => false,
                0 => refusing.visits > VISITS_EACH * targets,
                interval => {
                    let asked = if asks(model) {
                        interval + PROBE_TIMEOUT_MS
                    } else {
                        interval
                    };
                    model.now > refusing.since + Duration::from_millis(INTERVALS * asked + ASKED_MS)
                }
            };
            let Refusing { since, visits } = refusing;
            let client = Who::Client(client);
            late.then(|| format!("{client} refuses since {since:?}, for {visits} visits, and is used"))
        })
    }
}
