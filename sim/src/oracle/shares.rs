//! Invariant 9 for strategies other than chance: who is chosen is who the strategy promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{Invariant, Model, session::Session};
use crate::{
    event::Event,
    payload::Greeting,
    plan::{forward::Balance, who::Who},
};

/// How long a session may still be counted at its target after it has ended for its visitor.
const COUNTED: Duration = Duration::from_secs(3);

/// Fewer pairs of sessions than this say nothing about turns.
const PAIRS_MIN: usize = 25;

/// Between two looks at the server.
const LOOK_MS: u64 = 50;

/// Of so many pairs of sessions that follow upon each other one may go to the same target: others, of whom nobody knows,
/// took the turns between.
const SAME_ONE_IN: usize = 12;

/// 9: the strategy of a group is kept to.
#[derive(Default)]
pub struct Strategy {
    /// Sessions that came while no other was there.
    alone: BTreeSet<u64>,
    /// By visitor and group: where the last such session went.
    bound: BTreeMap<(usize, usize), u8>,
    /// By group: the last session that was brought anywhere undisturbed, and where.
    last: BTreeMap<usize, (u64, u8)>,
    /// By group: the last session that came.
    came: BTreeMap<usize, u64>,
    /// Pairs of sessions that followed upon each other, and how many of them went to the same target.
    pairs: (usize, usize),
}

/// Whether the session before came after the server was looked at last, or a moment before: over for its visitor, it may
/// still run there.
fn is_followed(model: &Model, session: u64) -> bool {
    let before = model.sessions.get(&session.saturating_sub(1));
    let lately = Duration::from_millis(2 * LOOK_MS + model.plan.knobs.exchange_ms());
    before.is_some_and(|before| before.opened + lately > model.now)
}

/// The clients of a group that are well at the end.
fn members(model: &Model, group: usize) -> Vec<usize> {
    let core = model.plan.core().into_iter();
    core.filter(|client| model.plan.serves(*client, group)).collect()
}

/// Whether nothing has befallen a session, nor anybody who could have served it.
fn is_calm(model: &Model, session: &Session) -> bool {
    let exposure = &session.exposure;
    let touched = exposure.touched.server || !exposure.touched.clients.is_empty();
    let all = members(model, session.visit.group).len();
    // Who does not answer in time is not waited for, however well.
    !model.plan.knobs.is_slow()
        && !session.was_exposed()
        && !touched
        && !exposure.uneven
        && exposure.sound_min >= all
        && !model.is_troubled()
}

impl Strategy {
    /// Somebody comes, or leaves: nothing that was before says anything.
    fn begin_anew(&mut self) {
        self.bound.clear();
        self.last.clear();
        self.alone.clear();
    }

    /// The visitor is bound to where it went before.
    fn judge_bound(&mut self, id: u64, session: &Session, by: u8) -> Option<String> {
        let key = (session.visitor, session.visit.group);
        if !self.alone.contains(&id) {
            return None;
        }
        let before = self.bound.insert(key, by)?;
        (before != by).then(|| {
            let (before, by) = (Who::Upstream(before.into()), Who::Upstream(by.into()));
            format!("session {id} went to {by}, its visitor is bound to {before}: {session}")
        })
    }

    /// Two in a row do not go to the same target.
    fn judge_turn(&mut self, id: u64, session: &Session, by: u8) {
        let before = self.last.insert(session.visit.group, (id, by));
        if let Some((_, before)) = before.filter(|_| self.alone.contains(&id)) {
            self.pairs.0 += 1;
            self.pairs.1 += usize::from(before == by);
        }
    }
}

/// Nobody with more sessions than another is chosen.
fn judge_fewest(model: &Model, id: u64, session: &Session, by: u8) -> Option<String> {
    // In another group the same client is another target.
    let rivals = |(other, one): &(&u64, &Session)| **other != id && one.visit.group == session.visit.group;
    let others = || model.sessions.iter().filter(rivals);
    let there = others().filter(|(_, other)| {
        // What its visitor has yet to read may be over for its target.
        let goes_on = |serial: u64| {
            model
                .served
                .get(&serial)
                .is_some_and(|served| served.over.is_none())
        };
        let there = other
            .greeted
            .filter(|(at, greeting)| *at < session.opened && greeting.upstream == by);
        // One that a client took with it when it died, or that goes on although its registration was lost, is none of whoever
        // has come back in its place.
        let exposure = &other.exposure;
        let lost = exposure.server || exposure.clients.contains(&by.into());
        other.ended.is_none() && !lost && there.is_some_and(|(_, greeting)| goes_on(greeting.serial))
    });
    let there = there.count();
    // Of sessions that are over for their visitors and not for the server nobody knows where they are.
    let unknown = model.sight.sessions > model.open.len() as i64;
    if there == 0 || unknown {
        return None;
    }
    let recent = session.opened.saturating_sub(COUNTED);
    let perhaps = |upstream: usize| {
        let all = others().filter(|(_, other)| other.ended.as_ref().is_none_or(|(at, _)| *at >= recent));
        all.filter(|(_, other)| {
            other
                .greeted
                .is_none_or(|(_, greeting)| usize::from(greeting.upstream) == upstream)
        })
        .count()
    };
    let mut fewer = members(model, session.visit.group).into_iter();
    let fewer = fewer.find(|other| *other != usize::from(by) && perhaps(*other) < there)?;
    let (by, fewer) = (Who::Upstream(by.into()), Who::Upstream(fewer));
    Some(format!(
        "session {id} went to {by}, which had {there} others, and {fewer} had fewer: {session}"
    ))
}

impl Invariant for Strategy {
    fn number(&self) -> u8 {
        9
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        let balance = model.plan.knobs.balance;
        match event {
            Event::Opens { session, visit, .. } => {
                // Who came before and left without a word may have taken a turn.
                let before = self.came.insert(visit.group, *session);
                let last = self.last.get(&visit.group);
                if last.map(|(id, _)| *id) != before {
                    self.last.remove(&visit.group);
                }
                let is_alone =
                    model.open.len() == 1 && model.sight.sessions == 0 && !is_followed(model, *session);
                if is_alone {
                    self.alone.insert(*session);
                } else {
                    self.alone.retain(|other| !model.open.contains(other));
                }
                None
            }
            Event::Registered { .. }
            | Event::Dials { .. }
            | Event::Boots { .. }
            | Event::FaultBegins { .. } => {
                self.begin_anew();
                None
            }
            Event::Greeted {
                session: id,
                greeting: Greeting { upstream: by, .. },
            } => {
                let session = model.sessions.get(id)?;
                // Of several targets of one client nobody knows which it was.
                if !is_calm(model, session) || model.plan.has_twins(session.visit.group) {
                    self.last.clear();
                    return None;
                }
                // Whoever is in trouble at the end may have been one of those drawn before.
                let serves = |client: &usize| model.plan.serves(*client, session.visit.group);
                let two = (0..model.plan.clients.len()).filter(serves).count() == 2;
                match balance {
                    Balance::Hash => self.judge_bound(*id, session, *by),
                    Balance::LeastConnections => judge_fewest(model, *id, session, *by),
                    Balance::P2c if two => judge_fewest(model, *id, session, *by),
                    Balance::RoundRobin | Balance::Weighted => {
                        self.judge_turn(*id, session, *by);
                        None
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn handle_rest(&mut self, model: &Model, _: &super::rest::Rest) -> Option<String> {
        let (pairs, same) = self.pairs;
        let several = (0..model.plan.groups()).all(|group| members(model, group).len() > 1);
        (several && pairs >= PAIRS_MIN && same > 2 + pairs / SAME_ONE_IN).then(|| {
            format!("of {pairs} sessions that followed upon another, {same} went to the same target")
        })
    }
}
