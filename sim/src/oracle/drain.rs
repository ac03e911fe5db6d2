//! Invariant 19: a node that is told to stop stops, in time, and lets finish what runs.

use std::{collections::BTreeMap, time::Duration};

use super::{Invariant, Model, model::SETTLE, session::Session, silence::outlasts};
use crate::{
    event::{End, Event, Oddity, named},
    fault::AnyAct,
    plan::{Manner, hosts, who::Who},
};

/// How long a node may take beyond its deadline to reset what still runs, and to be seen to have stopped.
const GRACE: Duration = Duration::from_secs(2);

/// One node on its way out.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    who: Who,
    /// From when on it takes nobody new: a server first serves on, for as long as its drain is delayed.
    since: Duration,
    deadline: Duration,
    /// Nothing rides on it, since then.
    idle: Option<Duration>,
    /// It has stopped; what it said last is still under way.
    gone: bool,
}

/// 19: a node that was told to stop takes nobody new, lets what runs finish until its deadline, and is gone then.
#[derive(Default)]
pub struct Draining {
    leaving: BTreeMap<usize, Leaving>,
}

impl Draining {
    fn of(&self, who: Who) -> Option<(usize, Leaving)> {
        let mut all = self.leaving.iter();
        all.find(|(_, leaving)| leaving.who == who)
            .map(|(nth, leaving)| (*nth, *leaving))
    }

    /// A session that opened while the server took nobody any more.
    fn judge_newcomer(&self, model: &Model, id: u64, how: &str) -> Option<String> {
        let session = model.sessions.get(&id)?;
        let (_, leaving) = self.of(Who::Server)?;
        // A connection may wait in the backlog for as long as a handshake takes.
        let grace = Duration::from_millis(200 + 20 * model.plan.knobs.latency_ms.1);
        let new = session.opened > leaving.since + grace;
        let quits = matches!(session.visit.manner, Manner::Quit { .. });
        let alone = only(model, session, Who::Server) && !session.exposure.visitor;
        (new && alone && !quits && !how.contains("refused")).then(|| {
            format!("session {id} opened after the server was told to stop, and was {how}: {session}")
        })
    }

    /// A session that ran when a node was told to stop, and was not let finish.
    fn judge_broken(&self, model: &Model, id: u64, why: &str) -> Option<String> {
        let session = model.sessions.get(&id)?;
        let (greeted, greeting) = session.greeted?;
        for who in [Who::Server, Who::Client(greeting.upstream.into())] {
            let Some((_, leaving)) = self.of(who) else {
                continue;
            };
            let early = model.now + Duration::from_millis(100) < leaving.deadline;
            let other = match who {
                Who::Server => !session.exposure.clients.is_empty(),
                _ => session.exposure.server,
            };
            if greeted < leaving.since
                && early
                && !other
                // Whoever is half-closed and silent for too long is not let finish at any time (44).
                && outlasts(model, session).is_none()
                && !session.exposure.visitor
                && only(model, session, who)
            {
                return Some(format!(
                    "session {id} broke ({why}) while {who} should let it finish: {session}"
                ));
            }
        }
        None
    }
}

impl Invariant for Draining {
    fn number(&self) -> u8 {
        19
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        match event {
            Event::FaultBegins { nth, .. } => {
                let act = &model.plan.faults[*nth].act;
                if let AnyAct::Stop(stop) = act {
                    let since = model.now + model.plan.drain_delay(act);
                    let deadline = since + Duration::from_millis(model.plan.knobs.drain_timeout_ms);
                    self.leaving.insert(
                        *nth,
                        Leaving {
                            who: stop.who,
                            since,
                            deadline,
                            idle: None,
                            gone: false,
                        },
                    );
                }
                None
            }
            Event::Boots { host, .. } => {
                self.leaving.retain(|_, leaving| leaving.who != *host);
                None
            }
            Event::Stops { host, .. } => {
                for leaving in self.leaving.values_mut().filter(|leaving| leaving.who == *host) {
                    leaving.gone = true;
                }
                None
            }
            Event::FaultEnds { nth, .. } | Event::FaultMisses { nth, .. } => {
                self.leaving.remove(nth);
                None
            }
            Event::Odd {
                place,
                session,
                what: Oddity::GoesOn(what),
            } => Some(format!("{place}, {}: {what}", named(*session))),
            Event::Greeted { session, .. } => self.judge_newcomer(model, *session, "served"),
            Event::Ends {
                session,
                how: End::Broken(why) | End::Cut(why),
            } => {
                let newcomer = self.judge_newcomer(model, *session, why);
                newcomer.or_else(|| self.judge_broken(model, *session, why))
            }
            _ => None,
        }
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        for leaving in self.leaving.values_mut().filter(|leaving| !leaving.gone) {
            let idle = model.now >= leaving.since && !is_used(model, leaving);
            leaving.idle = idle.then(|| leaving.idle.unwrap_or(model.now));
        }
        let gone = model
            .plan
            .knobs
            .gone_ms()
            .map_or(Duration::MAX, Duration::from_millis);
        let waits = self.leaving.iter().find(|(nth, leaving)| {
            let idle = |idle: Duration| model.now > idle.saturating_add(gone);
            !leaving.gone && leaving.idle.is_some_and(idle) && is_alone(model, **nth, leaving)
        });
        if let Some((_, Leaving { who, idle, .. })) = waits {
            let idle = idle.unwrap_or_default();
            return Some(format!(
                "{who} was told to stop, carries nothing since {idle:?}, and is still there"
            ));
        }
        let late = self.leaving.iter().find(|(nth, leaving)| {
            let over = !leaving.gone && model.now > leaving.deadline + GRACE;
            over && is_alone(model, **nth, leaving)
        });
        let (_, leaving) = late?;
        Some(format!(
            "{} was told to stop at {:?}, and is still there",
            leaving.who, leaving.since
        ))
    }
}

/// Whether anything rides on a node that has not ended.
fn is_used(model: &Model, leaving: &Leaving) -> bool {
    let who = leaving.who;
    let by = |upstream: usize| who == Who::Server || who == Who::Client(upstream);
    let open = model.open.iter().filter_map(|id| model.sessions.get(id));
    // Whoever is not served yet may come to be, but by no client that had said before that it leaves.
    let said = leaving.since + Duration::from_millis(4 * model.plan.knobs.exchange_ms());
    let mut open = open.map(|session| match session.greeted {
        Some((_, greeting)) => by(greeting.upstream.into()),
        None => who == Who::Server || session.opened < said,
    });
    // What is over for its visitor may not be for the node.
    let unknown = model.sight.sessions > model.open.len() as i64;
    let mut served = model.served.values();
    unknown || open.any(|one| one) || served.any(|served| served.over.is_none() && by(served.upstream))
}

/// Whether nothing but its stop has befallen a node since. A client waits for the server to take note of it, too, and for
/// that the server must be well.
fn is_alone(model: &Model, nth: usize, leaving: &Leaving) -> bool {
    let client = match leaving.who {
        Who::Client(n) => Some(n),
        _ => None,
    };
    let well = client.is_none_or(|client| {
        let second = model
            .plan
            .harms_second_server(leaving.since.saturating_sub(SETTLE), model.now);
        !second && !model.is_troubled_besides(client, nth)
    });
    well && felt(model, leaving.who, leaving.since, model.now) == 1
}

/// Whether nothing but one stop has befallen a node while the session lasted.
fn only(model: &Model, session: &Session, who: Who) -> bool {
    felt(model, who, session.opened.saturating_sub(SETTLE), model.now) == 1
}

/// How many faults were felt at a node between two moments.
fn felt(model: &Model, who: Who, from: Duration, to: Duration) -> usize {
    let at = |ms| Duration::from_millis(ms);
    let hits = |act: &AnyAct| match who {
        Who::Client(n) => act.troubles().clients.contains(&n) || act.troubles().server,
        Who::SecondServer => hosts::named(act).contains(&who),
        _ => act.troubles().server,
    };
    let all = model.plan.faults.iter();
    all.filter(|fault| {
        hits(&fault.act) && at(fault.from_ms) <= to && fault.to_ms.is_none_or(|end| at(end) >= from)
    })
    .count()
}
