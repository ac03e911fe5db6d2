//! Invariants 36 and 37: a forwarder's own decisions, judged by the rules it was given.

use std::{collections::BTreeMap, time::Duration};

use adit::selector::journal::{Change, Reason};

use crate::{
    event::Event,
    fault::{
        AnyAct, Fault,
        upstream::{Reweigh, Unlist},
    },
    oracle::{Invariant, model::Model},
    plan::who::Who,
};

/// In smaller groups nobody is put out for succeeding rarely.
const SOFT_MIN: usize = 5;

/// The most times a hold-off is multiplied by.
const EJECTIONS_MAX: u32 = 10;

/// How long an active set may be seen empty, between two looks at the journal.
const EMPTY_MAX: Duration = Duration::from_secs(1);

/// How long a candidate must have been well for nothing from before to count.
const WELL: Duration = Duration::from_secs(10);

/// Successes in a row that bring back one that failed.
const SUCCESSES: usize = 2;

/// What the journal says of one target.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// It is a member, since then.
    member: Option<Duration>,
    /// It became one because nobody is well.
    resort: bool,
    /// It was put out last, then and for that; a last resort was out before.
    out: Option<(Duration, Reason)>,
    ejections: u32,
    ejected: Duration,
}

/// 36: members change as the options allow: no sooner, no more at once, nobody too early.
#[derive(Default)]
pub struct Switching {
    targets: BTreeMap<String, Told>,
    /// Nobody is well.
    resort: bool,
    resort_over: Option<Duration>,
    /// So many were out that what is soft did not count.
    panicked: bool,
    improved: Option<Duration>,
    /// The most candidates there were.
    most: usize,
    connects: Vec<(Duration, usize)>,
}

impl Switching {
    fn judge(
        &mut self,
        model: &Model,
        at: Duration,
        name: &str,
        added: bool,
        reason: Reason,
    ) -> Option<String> {
        let choice = model.candidates.as_ref()?.choice();
        let ms = Duration::from_millis;
        let is_new = |who: Who| match who {
            Who::Upstream(n) => model.candidates.as_ref().is_some_and(|all| all.is_new(n, at)),
            _ => false,
        };
        if added && name.parse().is_ok_and(is_new) {
            self.targets.remove(name);
        }
        let told = self.targets.get(name).copied().unwrap_or_default();
        let stays = |who: Who| match who {
            Who::Upstream(n) => model.candidates.as_ref().is_some_and(|all| all.stays(n)),
            _ => false,
        };
        let broken = if reason == Reason::Left && name.parse().is_ok_and(stays) {
            Some(format!("{name} was always on the list, and has left it"))
        } else if added {
            let held = told.ejected + ms(choice.hold_off_ms) * told.ejections;
            let before =
                |(other, one): (&String, &Told)| other != name && one.member.is_some_and(|since| since < at);
            let others = self.targets.iter().any(before);
            let resort = self.resort || self.resort_over == Some(at);
            let moved = |fault: &Fault| matches!(fault.act, AnyAct::MoveNames(_));
            // A name that leads elsewhere for a while takes its target away, and brings a new one.
            let others = others && !model.plan.faults.iter().any(moved);
            if told.ejections > 0 && at < held && others && !resort {
                Some(format!(
                    "{name} is used again at {at:?}, and was to be held off until {held:?}"
                ))
            } else if let Some((since, Reason::LowScore)) = told.out
                && at < since + ms(choice.hold_off_ms)
                && !resort
                && !self.panicked
                && self.lasting_since(name, since)
            {
                Some(format!(
                    "{name} scored too little at {since:?}, and is used again at {at:?}, within its hold-off"
                ))
            } else if let Some((since, Reason::Failing)) = told.out
                && !resort
                && reason == Reason::Recovered
                // Who was out all the time that everybody was used may have succeeded once before.
                && self.resort_over != Some(since)
                && self.successes(name, since) < SUCCESSES
            {
                Some(format!(
                    "{name} was put out at {since:?}, and is used again after less than {SUCCESSES} successes"
                ))
            } else {
                None
            }
        } else {
            match reason {
                Reason::Worse if !self.resort => {
                    let dwelt = told
                        .member
                        .map_or(Duration::MAX, |since| at.saturating_sub(since));
                    let last = self.improved.replace(at);
                    if dwelt < ms(choice.dwell_ms) {
                        Some(format!("{name} had to make way after {dwelt:?}"))
                    } else if last.is_some_and(|last| at < last + ms(choice.cooldown_ms)) {
                        Some(format!(
                            "{name} has to make way at {at:?}, another had to at {last:?}"
                        ))
                    } else {
                        None
                    }
                }
                Reason::Failing if self.is_well(model, name, at) => {
                    Some(format!("{name} is put out at {at:?} for failing, and was well"))
                }
                Reason::RarelySucceeds if self.most < SOFT_MIN => Some(format!(
                    "{name} is put out for succeeding rarely, of {} candidates",
                    self.most
                )),
                _ => None,
            }
        };
        self.note(at, name, added, reason);
        broken
    }

    fn note(&mut self, at: Duration, name: &str, added: bool, reason: Reason) {
        if reason == Reason::Left {
            self.targets.remove(name);
            return;
        }
        let told = self.targets.entry(name.to_owned()).or_default();
        if added {
            (told.member, told.resort) = (Some(at), reason == Reason::LastResort);
            return;
        }
        told.member = None;
        if !told.resort {
            told.out = Some((at, reason));
        }
        if matches!(reason, Reason::Failing | Reason::RarelySucceeds) {
            told.ejections = (told.ejections + 1).min(EJECTIONS_MAX);
            told.ejected = at;
        }
    }

    /// Whether a candidate could be counted on for long when that was decided.
    fn is_well(&self, model: &Model, name: &str, at: Duration) -> bool {
        let Ok(Who::Upstream(n)) = name.parse() else {
            return false;
        };
        let Some(all) = model.candidates.as_ref() else {
            return false;
        };
        // A connection, a question and its answer.
        let in_time = 2 * model.plan.knobs.exchange_ms() < all.choice().probe_timeout_ms;
        let sound = |when: Duration| all.sound(when).contains(&n);
        in_time && sound(at) && sound(at.saturating_sub(WELL)) && all.stays(n)
    }

    /// Whether somebody else has been a member all the time since then.
    fn lasting_since(&self, name: &str, since: Duration) -> bool {
        let lasts = |(other, one): (&String, &Told)| {
            other != name && !one.resort && one.member.is_some_and(|member| member < since)
        };
        self.targets.iter().any(lasts)
    }

    /// How often a target was reached since then.
    fn successes(&self, name: &str, since: Duration) -> usize {
        let Ok(Who::Upstream(n)) = name.parse() else {
            return SUCCESSES;
        };
        let connects = self.connects.iter().rev();
        let since = connects.take_while(|(at, _)| *at >= since);
        since.filter(|(_, of)| *of == n).count()
    }
}

impl Invariant for Switching {
    fn number(&self) -> u8 {
        36
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        match event {
            Event::Boots {
                host: Who::Server, ..
            } => {
                *self = Self::default();
                None
            }
            Event::Connects {
                upstream: Who::Upstream(n),
            } => {
                self.connects.push((model.now, *n));
                None
            }
            // Who is not a member leaves without a word in the journal.
            Event::FaultBegins { nth, .. } | Event::FaultEnds { nth, .. } => {
                if let AnyAct::Unlist(Unlist { upstream }) | AnyAct::Reweigh(Reweigh { upstream, .. }) =
                    &model.plan.faults[*nth].act
                {
                    self.targets.remove(&Who::Upstream(*upstream).to_string());
                }
                None
            }
            Event::Poor { poor, low, of } => {
                // The journal told how many there were when it told of a change, which may be long ago.
                let listed = model
                    .plan
                    .forward
                    .as_ref()
                    .map_or(0, |forward| forward.candidates.len());
                let most = self.most.max((*of).min(listed));
                (2 * (poor + low) > most || (most < SOFT_MIN && *poor > 0)).then(|| {
                    format!(
                        "of {most} candidates {poor} are out for succeeding rarely, {low} for a low score"
                    )
                })
            }
            Event::Decides {
                ago_ms,
                target,
                change,
                reason,
                targets,
                ..
            } => {
                let at = model.now.saturating_sub(Duration::from_millis(*ago_ms));
                self.most = self.most.max(*targets);
                match (change, reason) {
                    (Change::Noted, Reason::LastResort) => self.resort = true,
                    (Change::Noted, Reason::Panic) => self.panicked = true,
                    (Change::Noted, Reason::ResortOver) => {
                        (self.resort, self.resort_over) = (false, Some(at));
                    }
                    _ => {}
                }
                let added = match change {
                    Change::Noted => return None,
                    Change::Added => true,
                    Change::Removed => false,
                };
                self.judge(model, at, target.as_ref()?, added, *reason)
            }
            _ => None,
        }
    }
}

/// 37: somebody is used as long as anybody is listed.
#[derive(Default)]
pub struct NeverNobody {
    /// Nobody has been used since then.
    since: Option<Duration>,
}

impl Invariant for NeverNobody {
    fn number(&self) -> u8 {
        37
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        match event {
            Event::Boots {
                host: Who::Server, ..
            } => self.since = None,
            Event::Decides {
                reason,
                members,
                targets,
                ..
            } => {
                let left = usize::from(*reason == Reason::Left);
                self.since = (*members == 0 && *targets > left).then_some(model.now);
            }
            _ => {}
        }
        None
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let since = self.since?;
        if model.is_server_troubled() {
            self.since = Some(model.now);
        }
        (model.now > since + EMPTY_MAX && !model.is_server_troubled())
            .then(|| format!("nobody is used since {since:?}, though there are candidates"))
    }
}
