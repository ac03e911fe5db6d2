//! Invariant 41: who scores too little is not a member while others score more, judged by how far away each is.

use std::{collections::BTreeMap, time::Duration};

use adit::selector::journal::{Change, Reason};

use crate::{
    event::Event,
    oracle::{Class, Invariant, model::Model},
    plan::{forward::Forward, knobs::Knobs, who::Who},
};

/// Beyond two probes and an evaluation: answers are under way, and the journal is read now and then.
const MARGIN_MS: u64 = 4_000;

/// A way has to be longer than the longest to the others by so many times that one to score too little for certain. Who
/// scores less than 20 costs more than four times the median; the median costs six of the longest ways at most, a round
/// trip and twice its jitter; and a connection to one that is far away takes two long ways.
const FAR_TIMES: u64 = 12;

/// 41: within an evaluation interval after it was measured, a candidate that is far slower than the others is no member.
#[derive(Default)]
pub struct LeftOut {
    /// Who is a member, since when.
    members: BTreeMap<String, Duration>,
    /// The averages still hold what a fault has done to them.
    disturbed: bool,
    calm_since: Option<Duration>,
}

/// Within what a member is measured twice and judged.
pub fn judged_within(forward: &Forward) -> Duration {
    let choice = &forward.choice;
    let probed = choice.probe_interval_ms * 6 / 5 + choice.probe_timeout_ms;
    Duration::from_millis(2 * probed + choice.evaluation_ms * 6 / 5 + MARGIN_MS)
}

/// The candidates that score too little for certain; none where that cannot be said.
fn low(forward: &Forward, knobs: &Knobs) -> Vec<usize> {
    let each = || forward.candidates.iter().enumerate();
    let is_low = |far_ms: u64| far_ms > 0 && far_ms >= FAR_TIMES * knobs.latency_ms.1;
    let low: Vec<_> = each()
        .filter(|(_, one)| is_low(one.far_ms))
        .map(|(n, _)| n)
        .collect();
    let near = each().filter(|(_, one)| one.far_ms == 0).count();
    // More than half of them may stay, and an answer takes more than a connection.
    let certain = near + low.len() == forward.candidates.len() && low.len() <= near;
    if certain && knobs.tail_one_in == 0 && !forward.choice.http {
        low
    } else {
        Vec::new()
    }
}

impl Invariant for LeftOut {
    fn number(&self) -> u8 {
        41
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        match event {
            Event::Boots {
                host: Who::Server, ..
            } => self.members.clear(),
            Event::FaultBegins { .. } => self.disturbed = true,
            Event::Decides {
                ago_ms,
                target: Some(target),
                change,
                reason,
                ..
            } => match change {
                Change::Added => {
                    let at = model.now.saturating_sub(Duration::from_millis(*ago_ms));
                    // Where nobody else can be used, it has to be.
                    if *reason != Reason::LastResort {
                        self.members.insert(target.clone(), at);
                    }
                }
                Change::Removed => drop(self.members.remove(target)),
                Change::Noted => {}
            },
            _ => {}
        }
        None
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let (candidates, forward) = (model.candidates.as_ref()?, model.plan.forward.as_ref()?);
        let all_well = candidates.sound(model.now).len() == candidates.count();
        // The second engine cannot put anybody far away.
        if self.disturbed || !all_well || model.is_server_troubled() || !model.can_reset {
            self.calm_since = None;
            return None;
        }
        let calm = *self.calm_since.get_or_insert(model.now);
        let within = judged_within(forward);
        low(forward, &model.plan.knobs).into_iter().find_map(|n| {
            let who = Who::Upstream(n);
            let from = Duration::from_millis(forward.candidates[n].far_from_ms);
            let since = calm.max(from).max(*self.members.get(&who.to_string())?);
            // What it was like before counts as long as its average remembers it.
            let within = if from.is_zero() { within } else { 2 * within };
            (model.now > since + within).then(|| {
                let far = forward.candidates[n].far_ms;
                format!("{who} is {far} ms away, further than the others, and a member since {since:?}")
            })
        })
    }
}
