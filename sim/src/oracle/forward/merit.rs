//! Invariant 48: who takes the place of another is better, judged by how far away each is.

use std::collections::BTreeSet;

use adit::selector::journal::{Change, Reason};

use crate::{
    event::Event,
    oracle::{Invariant, model::Model},
    plan::{forward::Forward, knobs::Knobs, who::Who},
};

/// One is certainly worse than those nearby from so many of the longest ways on. What a neighbour costs is six of them at
/// most, a round trip and twice its jitter; what one far away costs is at least two of its own; and the largest
/// hysteresis asks for half.
const FAR_TIMES: u64 = 7;

/// How far away a candidate is for certain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Distance {
    Near,
    Between,
    Far,
}

fn distance(forward: &Forward, knobs: &Knobs, n: usize) -> Distance {
    match forward.candidates[n].far_ms {
        0 => Distance::Near,
        far if far >= FAR_TIMES * knobs.latency_ms.1 => Distance::Far,
        _ => Distance::Between,
    }
}

/// 48: until the first fault begins, nobody who is certainly worse takes the place of a member, nor one that somebody
/// better waits for.
#[derive(Default)]
pub struct Merit {
    members: BTreeSet<usize>,
    /// Who has just made way for a better one.
    gone: Option<usize>,
    disturbed: bool,
}

impl Merit {
    /// `newcomer` takes a place because it is better.
    fn judge(&self, model: &Model, newcomer: usize) -> Option<String> {
        let (candidates, forward) = (model.candidates.as_ref()?, model.plan.forward.as_ref()?);
        let knobs = &model.plan.knobs;
        let all_well = candidates.sound(model.now).len() == candidates.count();
        let told_apart = knobs.tail_one_in == 0 && !forward.choice.http;
        // The second engine cannot put anybody far away.
        if self.disturbed || !all_well || model.trouble().server || !model.can_reset || !told_apart {
            return None;
        }
        let distance = |n: usize| distance(forward, knobs, n);
        if distance(newcomer) != Distance::Far {
            return None;
        }
        let who = Who::Upstream(newcomer);
        if let Some(gone) = self.gone
            && distance(gone) == Distance::Near
        {
            return Some(format!(
                "{who}, which is far away, takes the place of {}",
                Who::Upstream(gone)
            ));
        }
        // Whom a name brings may be too new to have been measured.
        let waits = |n: &usize| {
            let known = !forward.candidates[*n].named && Some(*n) != self.gone;
            known && !self.members.contains(n) && distance(*n) == Distance::Near
        };
        let better = (0..candidates.count()).find(waits)?;
        Some(format!(
            "{who}, which is far away, takes a place for which {} waits",
            Who::Upstream(better)
        ))
    }
}

impl Invariant for Merit {
    fn number(&self) -> u8 {
        48
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        match event {
            Event::Boots {
                host: Who::Server, ..
            } => (self.gone, self.members) = (None, BTreeSet::new()),
            Event::FaultBegins { .. } => self.disturbed = true,
            Event::Decides {
                target: Some(name),
                change,
                reason,
                ..
            } => {
                let Ok(Who::Upstream(n)) = name.parse() else {
                    return None;
                };
                let better = *change == Change::Added && *reason == Reason::Better;
                let broken = better.then(|| self.judge(model, n)).flatten();
                match change {
                    Change::Added => drop(self.members.insert(n)),
                    Change::Removed => drop(self.members.remove(&n)),
                    Change::Noted => {}
                }
                let makes_way = matches!(reason, Reason::Worse | Reason::Settled);
                self.gone = (*change == Change::Removed && makes_way).then_some(n);
                return broken;
            }
            _ => {}
        }
        None
    }
}
