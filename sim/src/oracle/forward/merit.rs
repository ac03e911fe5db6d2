//! Invariant 48: who takes the place of another is better, judged by how far away each is.

use std::{collections::BTreeSet, time::Duration};

use adit::selector::journal::{Change, Reason};

use crate::{
    event::Event,
    oracle::{Invariant, forward::scores::judged_within, model::Model},
    plan::{forward::Forward, knobs::Knobs, who::Who},
};

/// Where the ways vary, one is certainly worse than those nearby from so many of the longest ways on. What a neighbour costs
/// is six of them at most, a round trip and twice its jitter; what one far away costs is at least two of its own; and the
/// largest hysteresis asks for half.
const FAR_TIMES: u64 = 7;

/// Where all ways take equally long: from so many times as much on. After one measurement jitter is half a round trip, so a
/// neighbour costs up to two, and one as far away as that a quarter more at least.
const EVENLY_FAR_TIMES: (u64, u64) = (17, 10);

/// With more it may take many measurements until a difference shows, and outsiders are measured rarely.
const HYSTERESIS_MAX: u32 = 20;

/// How far away a candidate is for certain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Distance {
    Near,
    Between,
    Far,
}

fn distance(forward: &Forward, knobs: &Knobs, n: usize) -> Distance {
    let (least, most) = knobs.latency_ms;
    let (times, of) = match least == most {
        true => EVENLY_FAR_TIMES,
        false => (FAR_TIMES, 1),
    };
    let candidate = &forward.candidates[n];
    match candidate.far_ms {
        0 => Distance::Near,
        _ if candidate.far_from_ms > 0 => Distance::Between,
        far if of * far >= times * most => Distance::Far,
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
    /// Since when a member is certainly worse than one that waits: who, and that one.
    worse: Option<(Duration, usize, usize)>,
}

/// By when a better one has taken its place, if places change as soon as they may.
fn improved_within(forward: &Forward) -> Duration {
    let choice = &forward.choice;
    let waits = choice.dwell_ms + (choice.active as u64) * (choice.cooldown_ms + choice.evaluation_ms);
    judged_within(forward) + Duration::from_millis(waits)
}

impl Merit {
    /// `newcomer` takes a place because it is better.
    fn judge(&self, model: &Model, newcomer: usize) -> Option<String> {
        let (forward, knobs) = (model.plan.forward.as_ref()?, &model.plan.knobs);
        let distance = |n: usize| distance(forward, knobs, n);
        if !self.can_tell(model, forward) || distance(newcomer) != Distance::Far {
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
        let better = self.waiting(forward, knobs)?;
        Some(format!(
            "{who}, which is far away, takes a place for which {} waits",
            Who::Upstream(better)
        ))
    }

    /// Who waits for a place, nearby. Whom a name brings may be too new to have been measured.
    fn waiting(&self, forward: &Forward, knobs: &Knobs) -> Option<usize> {
        let waits = |n: &usize| {
            let known = !forward.candidates[*n].named && Some(*n) != self.gone;
            known && !self.members.contains(n) && distance(forward, knobs, *n) == Distance::Near
        };
        (0..forward.candidates.len()).find(waits)
    }

    /// Whether distances decide: nothing has happened yet. The second engine cannot put anybody far away.
    fn can_tell(&self, model: &Model, forward: &Forward) -> bool {
        let calm = !self.disturbed && model.plan.knobs.tail_one_in == 0;
        calm && model.can_reset && !forward.choice.http
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

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let (forward, knobs) = (model.plan.forward.as_ref()?, &model.plan.knobs);
        if !self.can_tell(model, forward) || forward.choice.hysteresis_percent > HYSTERESIS_MAX {
            return None;
        }
        let mut members = self.members.iter().copied();
        let worse = members.find(|n| distance(forward, knobs, *n) == Distance::Far);
        let pair = worse.zip(self.waiting(forward, knobs));
        self.worse = pair.map(|(member, waiting)| match self.worse {
            Some((since, one, other)) if (one, other) == (member, waiting) => (since, one, other),
            _ => (model.now, member, waiting),
        });
        let (since, member, waiting) = self.worse?;
        (model.now > since + improved_within(forward)).then(|| {
            let [member, waiting] = [member, waiting].map(Who::Upstream);
            format!("{member} is far away and a member since {since:?}, and {waiting} waits for a place")
        })
    }
}
