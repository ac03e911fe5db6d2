//! What the oracle knows of a forwarder's candidates: who is listed, who is in trouble, and who has been well for so
//! long that a visitor may count on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    fault::{
        AnyAct, Trouble,
        process::{Crash, PowerLoss},
    },
    plan::{
        Plan,
        forward::{Choice, LIST_FOLLOWED_MS, NAME_BELIEVED_MS},
        who::Who,
    },
};

/// When every name was asked for, unless that failed.
const RESOLVED: Duration = Duration::from_secs(3);

/// One candidate.
#[derive(Clone, Debug, Default)]
struct Standing {
    named: bool,
    /// How many faults keep it off the list.
    unlisted: usize,
    /// When it was listed, or taken from the list, last.
    relisted: Duration,
    /// When the trouble began that it is in, or has not recovered from.
    ill_since: Option<Duration>,
    /// It is in trouble now.
    ill: bool,
    /// When it may be counted on.
    sound_at: Duration,
    /// Since when each fault that lasts makes it impossible to reach.
    gone: BTreeMap<usize, Duration>,
}

/// All of them.
#[derive(Clone, Debug)]
pub struct Candidates {
    choice: Choice,
    each: Vec<Standing>,
    /// Faults of names that last, and when the last was over.
    names_wrong: usize,
    names_right: Option<Duration>,
    /// Names have led elsewhere, or the forwarder has begun anew: what it knows of them may not be right.
    names_doubtful: bool,
    /// Connections that have said nothing: to whom, and since when.
    pub silent: BTreeMap<u64, (usize, Duration)>,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Candidates {
    /// Those of `plan`, all well; `None` where there is no forwarder.
    pub fn of(plan: &Plan) -> Option<Self> {
        let forward = plan.forward.as_ref()?;
        let each = forward.candidates.iter().map(|one| Standing {
            named: one.named,
            ..Standing::default()
        });
        Some(Self {
            choice: forward.choice.clone(),
            each: each.collect(),
            names_wrong: 0,
            names_right: None,
            names_doubtful: false,
            silent: BTreeMap::new(),
        })
    }

    /// A fault begins, or is over.
    pub fn handle_fault(&mut self, now: Duration, nth: usize, act: &AnyAct, begins: bool) {
        match act {
            AnyAct::Unlist(unlist) => {
                if let Some(one) = self.each.get_mut(unlist.upstream) {
                    let was = one.unlisted > 0;
                    one.unlisted = if begins {
                        one.unlisted + 1
                    } else {
                        one.unlisted.saturating_sub(1)
                    };
                    if was != (one.unlisted > 0) {
                        one.relisted = now;
                    }
                }
            }
            AnyAct::Reweigh(reweigh) => {
                if let Some(one) = self.each.get_mut(reweigh.upstream) {
                    one.relisted = now;
                }
            }
            AnyAct::FailNames(_) | AnyAct::MoveNames(_) if begins => {
                self.names_wrong += 1;
                self.names_doubtful |= matches!(act, AnyAct::MoveNames(_)) || now < RESOLVED;
            }
            AnyAct::FailNames(_) | AnyAct::MoveNames(_) => {
                self.names_wrong = self.names_wrong.saturating_sub(1);
                self.names_right = Some(now);
            }
            _ => {}
        }
        if let AnyAct::Crash(Crash { who }) | AnyAct::PowerLoss(PowerLoss { who }) = act
            && begins
        {
            // The dead say nothing of what they had.
            self.silent.retain(|_, (n, _)| Who::Upstream(*n) != *who);
        }
        self.names_doubtful |= act.kills() && act.troubles().server;
        for n in unreachable(act) {
            if let Some(one) = self.each.get_mut(n) {
                if begins {
                    one.gone.insert(nth, now);
                } else {
                    one.gone.remove(&nth);
                }
            }
        }
    }

    /// Everybody is here: what was before counts for nothing.
    pub fn handle_started(&mut self, now: Duration) {
        for one in &mut self.each {
            (one.ill, one.ill_since, one.sound_at) = (false, None, now);
        }
    }

    /// This is felt now.
    pub fn handle_trouble(&mut self, now: Duration, trouble: &Trouble) {
        for (n, one) in self.each.iter_mut().enumerate() {
            let ill = trouble.server || trouble.clients.contains(&n);
            if ill && !one.ill && now >= one.sound_at {
                one.ill_since = None;
            }
            if ill {
                one.ill_since.get_or_insert(now);
            } else if one.ill {
                let lasted = now.saturating_sub(one.ill_since.unwrap_or(now)).as_millis();
                let recovery = self.choice.recovery_ms(u64::try_from(lasted).unwrap_or(u64::MAX));
                one.sound_at = now + ms(recovery);
            }
            one.ill = ill;
        }
    }

    /// Who can be counted on now.
    pub fn sound(&self, now: Duration) -> BTreeSet<usize> {
        let names =
            self.names_wrong == 0 && self.names_right.is_none_or(|at| now > at + ms(NAME_BELIEVED_MS));
        let sound = |one: &Standing| {
            let listed = one.unlisted == 0
                && (one.relisted == Duration::ZERO || now > one.relisted + ms(LIST_FOLLOWED_MS));
            let kept = self.has_stayed(one);
            listed && !one.ill && now >= one.sound_at && (names || kept || !one.named)
        };
        let all = self.each.iter().enumerate();
        all.filter(|(_, one)| sound(one)).map(|(n, _)| n).collect()
    }

    /// Whether it was on the list from the beginning, by the same address. A name that does not resolve keeps those it had.
    pub fn stays(&self, n: usize) -> bool {
        self.each.get(n).is_some_and(|one| self.has_stayed(one))
    }

    /// Whether it may just have been listed anew, as another target of which nothing is known.
    pub fn is_new(&self, n: usize, now: Duration) -> bool {
        let one = self.each.get(n).filter(|one| one.relisted > Duration::ZERO);
        one.is_some_and(|one| now <= one.relisted + ms(LIST_FOLLOWED_MS))
    }

    fn has_stayed(&self, one: &Standing) -> bool {
        let listed = one.unlisted == 0 && one.relisted == Duration::ZERO;
        listed && (!one.named || !self.names_doubtful)
    }

    /// Since when it has been off the list.
    pub fn unlisted_since(&self, n: usize) -> Option<Duration> {
        let one = self.each.get(n)?;
        (one.unlisted > 0).then_some(one.relisted)
    }

    /// Since when nobody can reach it.
    pub fn gone_since(&self, n: usize) -> Option<Duration> {
        self.each.get(n)?.gone.values().min().copied()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.each.len()
    }

    /// How it is chosen.
    pub fn choice(&self) -> &Choice {
        &self.choice
    }
}

/// Whom nobody can reach while this lasts.
fn unreachable(act: &AnyAct) -> Vec<usize> {
    let upstream = |who: &Who| match who {
        Who::Upstream(n) => Some(*n),
        _ => None,
    };
    match act {
        AnyAct::Crash(act) => upstream(&act.who).into_iter().collect(),
        AnyAct::PowerLoss(act) => upstream(&act.who).into_iter().collect(),
        AnyAct::Isolate(act) => upstream(&act.who).into_iter().collect(),
        AnyAct::Split(act) => act.clients.iter().filter_map(upstream).collect(),
        AnyAct::Cut(act) if act.both => upstream(&act.between.1).into_iter().collect(),
        _ => Vec::new(),
    }
}
