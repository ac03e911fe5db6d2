//! Invariant 49: who is well again is used again before long, and who fails a probe now and then is used on.

use std::{collections::BTreeMap, time::Duration};

use super::{Class, Invariant, Model, group_bit};
use crate::{
    fault::AnyAct,
    node::group_name,
    plan::{Millis, who::Who},
    upstream::Mood,
};

/// How much longer than its failure a target may be left out behind it. The waits behind a gate double, so the last one is
/// about as long as all before it together, each give or take a half.
const LONGER: u32 = 3;

/// The first wait, at most, and what it takes to be asked twice beyond the intervals of probes.
const FIRST_MS: Millis = 4_500;

/// Intervals of probes within which it is asked twice.
const INTERVALS: Millis = 3;

/// From so many targets on it counts how often they have succeeded, which is forgotten slowly.
const FEW: usize = 4;

/// A hold-off grows with each failure up to so many.
const EJECTIONS_MAX: u32 = 10;

/// How long all must have been used while all was well for nothing from before to count.
const WHOLE: Duration = Duration::from_secs(10);

/// A smaller pool has no connection for every try.
const ROOMY: usize = 64;

/// How one client has been.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    /// In trouble, since then.
    since: Option<Duration>,
    /// The longest that it was.
    longest: Duration,
    /// How often.
    times: u32,
}

/// 49: a group whose members are all well has all of them in use.
#[derive(Default)]
pub struct Back {
    clients: BTreeMap<usize, Past>,
    /// By group: since when all is well and all are used.
    whole: BTreeMap<usize, Duration>,
    /// By group: since when all is well.
    well: BTreeMap<usize, Duration>,
}

impl Back {
    /// Takes note of how a client is.
    fn note(&mut self, model: &Model, client: usize) -> bool {
        let is_troubled = model.is_server_troubled() || model.felt_by(client).next().is_some();
        let past = self.clients.entry(client).or_default();
        match (past.since, is_troubled) {
            (None, true) => {
                past.since = Some(model.now);
                past.times += 1;
            }
            (Some(since), _) => {
                past.longest = past.longest.max(model.now - since);
                past.since = past.since.filter(|_| is_troubled);
            }
            (None, false) => {}
        }
        is_troubled
    }
}

/// How many targets a group has.
fn targets(model: &Model, group: usize) -> usize {
    let clients = 0..model.plan.clients.len();
    clients.map(|client| model.plan.targets_in(client, group)).sum()
}

/// A client whose service fails a probe now and then, and nothing else troubles anybody, and of whose group not all are
/// used.
fn put_out_for_hiccups(model: &Model) -> Option<usize> {
    let fault = |nth: usize| model.plan.faults.get(nth).map(|fault| &fault.act);
    let mut all = model.all_felt();
    let (only, None) = (all.next()?, all.next()) else {
        return None;
    };
    let AnyAct::Ail(ail) = fault(only.nth)? else {
        return None;
    };
    let hiccups = matches!(ail.mood, Mood::Hiccups { .. });
    let all_here = model.sight.registered >= model.plan.clients.len();
    let group = *model.plan.clients.get(ail.upstream)?;
    let is_out = model.sight.uneven & group_bit(group) != 0;
    let knobs = &model.plan.knobs;
    let few = targets(model, group) <= FEW;
    let judged = hiccups && few && all_here && !knobs.is_slow() && knobs.leaves_time_to_probe();
    (judged && is_out).then_some(ail.upstream)
}

impl Invariant for Back {
    fn number(&self) -> u8 {
        49
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        if let Some(client) = put_out_for_hiccups(model) {
            let client = Who::Client(client);
            return Some(format!(
                "{client} fails a probe now and then and never two in a row, and is not used"
            ));
        }
        let (plan, knobs) = (&model.plan, &model.plan.knobs);
        let judged = plan.forward.is_none() && knobs.probe_interval_ms > 0 && !knobs.is_slow();
        if !judged || !knobs.leaves_time_to_probe() || model.shams() > 0 {
            return None;
        }
        let troubled: Vec<_> = (0..plan.clients.len())
            .map(|client| self.note(model, client))
            .collect();
        let all_here = model.sight.registered >= plan.clients.len();
        (0..plan.groups()).find_map(|group| {
            let members: Vec<_> = (0..plan.clients.len())
                .filter(|client| plan.serves(*client, group))
                .collect();
            if targets(model, group) > FEW || !all_here || members.iter().any(|client| troubled[*client]) {
                self.well.remove(&group);
                self.whole.remove(&group);
                return None;
            }
            let since = *self.well.entry(group).or_insert(model.now);
            let past = |client: &usize| self.clients.get(client).copied().unwrap_or_default();
            let longest = members.iter().map(|client| past(client).longest).max()?;
            let times = members.iter().map(|client| past(client).times).max()?;
            let held = Duration::from_millis(knobs.hold_off_ms) * times.min(EJECTIONS_MAX);
            let asked = Duration::from_millis(FIRST_MS + INTERVALS * knobs.probe_interval_ms);
            let bound = LONGER * longest + held + asked;
            let is_out = model.sight.uneven & group_bit(group) != 0;
            let was_whole = match is_out {
                true => self
                    .whole
                    .remove(&group)
                    .is_some_and(|whole| model.now > whole + WHOLE),
                false => {
                    self.whole.entry(group).or_insert(model.now);
                    false
                }
            };
            if was_whole && knobs.pool_max >= ROOMY {
                return Some(format!(
                    "all members of {} are well since {since:?} and were used, and one is put out",
                    group_name(group)
                ));
            }
            (is_out && model.now > since + bound).then(|| {
                format!(
                    "all members of {} ({}) are well since {since:?}, and not all are used",
                    group_name(group),
                    members
                        .iter()
                        .map(|client| Who::Client(*client).to_string())
                        .collect::<Vec<_>>()
                        .join(", ")
                )
            })
        })
    }
}
