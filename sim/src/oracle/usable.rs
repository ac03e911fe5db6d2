//! Invariant 47: whether a group is usable is known within the time of a few probes, whether or not anybody comes.

use std::{collections::BTreeMap, time::Duration};

use super::{Class, Invariant, Model, active::Active, group_bit};
use crate::{
    fault::AnyAct,
    node::group_name,
    plan::{Millis, knobs::PROBE_TIMEOUT_MS, who::Who},
    upstream::Mood,
};

/// Probes after which a target is known to fail, or to be well again.
const PROBES: Millis = 3;

/// What noticing takes beyond the probes: their jitter, and the end of an evaluation.
const NOTICED_MS: Millis = 5_000;

/// How the upstreams of one client are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feels {
    /// Nothing troubles them.
    Well,
    /// Nobody can be served there, and nothing else troubles their client.
    Dead,
    /// Anything else.
    Unknown,
}

/// Since when a group has been as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Usable(Duration),
    Dead(Duration),
}

/// Watches every group.
#[derive(Default)]
pub struct Usable(BTreeMap<usize, Since>);

/// The client whose service a fault kills, as far as a probe can tell.
fn killed(model: &Model, act: &AnyAct) -> Option<usize> {
    match act {
        AnyAct::Ail(ail) if ail.mood == Mood::Refuses => Some(ail.upstream),
        AnyAct::Ail(ail)
            if matches!(ail.mood, Mood::Hangs | Mood::Unready) && model.plan.knobs.probe_http =>
        {
            Some(ail.upstream)
        }
        AnyAct::PowerLoss(loss) => match loss.who {
            Who::Upstream(n) => Some(n),
            _ => None,
        },
        _ => None,
    }
}

fn feels(model: &Model, client: usize) -> Feels {
    let kills = |active: &Active| {
        let fault = model.plan.faults.get(active.nth);
        active.until.is_none() && fault.is_some_and(|fault| killed(model, &fault.act) == Some(client))
    };
    let mut all = model.felt_by(client);
    match all.next() {
        None => Feels::Well,
        Some(first) if kills(first) && all.all(kills) => Feels::Dead,
        Some(_) => Feels::Unknown,
    }
}

/// How a group is, if that can be told.
fn state(model: &Model, group: usize) -> Option<bool> {
    let clients = 0..model.plan.clients.len();
    let members = clients.filter(|client| model.plan.serves(*client, group));
    let all: Vec<_> = members.map(|client| feels(model, client)).collect();
    match all.contains(&Feels::Unknown) {
        true => None,
        false => Some(all.contains(&Feels::Well)),
    }
}

impl Invariant for Usable {
    fn number(&self) -> u8 {
        47
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let (plan, knobs) = (&model.plan, &model.plan.knobs);
        if knobs.probe_interval_ms == 0 || knobs.is_slow() || !knobs.leaves_time_to_probe() {
            return None;
        }
        let here = model.sight.registered + model.outside.clients.len() >= plan.clients.len();
        // Of strangers in a group nobody knows how they are.
        if !here || model.shams() > 0 || model.is_server_troubled() {
            self.0.clear();
            return None;
        }
        let bound = Duration::from_millis(PROBES * (knobs.probe_interval_ms + PROBE_TIMEOUT_MS) + NOTICED_MS);
        (0..plan.groups()).find_map(|group| {
            let is_shown = model.sight.usable & group_bit(group) != 0;
            let since = match (state(model, group), self.0.get(&group)) {
                (None, _) => {
                    self.0.remove(&group);
                    return None;
                }
                (Some(true), Some(Since::Usable(at))) => Since::Usable(*at),
                (Some(true), _) => Since::Usable(model.now),
                (Some(false), Some(Since::Dead(at))) => Since::Dead(*at),
                (Some(false), _) => Since::Dead(model.now),
            };
            self.0.insert(group, since);
            let group = group_name(group);
            match since {
                Since::Dead(at) if is_shown && model.now > at + bound => Some(format!(
                    "nobody of {group} can be served since {at:?}, and it is shown as usable"
                )),
                Since::Usable(at) if !is_shown && model.now > at + bound => Some(format!(
                    "somebody of {group} is well since {at:?}, and it is not shown as usable"
                )),
                _ => None,
            }
        })
    }
}
