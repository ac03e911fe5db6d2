//! Invariants 4, 27, 34 and 35: every visitor is served, by somebody who is there.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    event::{End, Event},
    oracle::{
        Class, Invariant,
        excuse::{Excuse, Excuses, Judgement},
        model::Model,
        rest::Rest,
        service::{excused_by_all, take_down},
        session::{Served, Session},
    },
    plan::{forward::LIST_FOLLOWED_MS, who::Who},
};

/// What a visitor has said beyond this is not kept, so it is not said again.
const KEPT_MAX: u64 = 60_000;

/// 4: a visitor's bytes reach a second upstream only when the first is in trouble, and no third.
pub struct OneUpstream;

impl Invariant for OneUpstream {
    fn number(&self) -> u8 {
        4
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        let Event::Requested { request, .. } = event else {
            return None;
        };
        let session = model.sessions.get(&request.connection)?;
        let seen = session.seen_by.len();
        (seen > 2 || (seen > 1 && !session.was_exposed()))
            .then(|| format!("a visitor's bytes went to {seen} upstream connections: {session}"))
    }

    fn handle_rest(&mut self, model: &Model, rest: &Rest) -> Option<String> {
        let sessions = model.sessions.values();
        let repeated: usize = sessions.map(|one| one.seen_by.len().saturating_sub(1)).sum();
        let owned = rest.replays_ambiguous;
        (repeated as u64 > owned)
            .then(|| format!("bytes were repeated {repeated} times, the forwarder owns up to {owned}"))
    }
}

/// 27: every visitor is served while one candidate can be counted on, whatever the others do.
#[derive(Default)]
pub struct Success {
    /// When the forwarder connected to which candidate.
    connects: Vec<(Duration, usize)>,
    excuses: Excuses,
}

impl Invariant for Success {
    fn number(&self) -> u8 {
        27
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        if let Event::Connects {
            upstream: Who::Upstream(n),
        } = event
        {
            self.connects.push((model.now, *n));
        }
        let Event::Ends {
            session: id,
            how: End::Broken(why) | End::Cut(why),
        } = event
        else {
            return None;
        };
        let session = model.sessions.get(id)?;
        let judgement = judge(model, session, &self.connects);
        take_down(&mut self.excuses, judgement, (*id, session, why))
    }

    fn excuses(&self) -> Option<&Excuses> {
        Some(&self.excuses)
    }
}

/// Why a broken session has an excuse, or has none.
fn judge(model: &Model, session: &Session, connects: &[(Duration, usize)]) -> Judgement {
    let (exposure, knobs) = (&session.exposure, &model.plan.knobs);
    let Some(candidates) = &model.candidates else {
        return Ok(Excuse::Outside);
    };
    if let Some(excuse) = excused_by_all(model, session) {
        return Ok(excuse);
    }
    if exposure.crowd >= knobs.sessions_max {
        return Ok(Excuse::TurnedAway);
    }
    let ill: BTreeSet<_> = exposure.clients.iter().copied().collect();
    let used: BTreeSet<_> = model.used_by(session).collect();
    // Whoever was well when it took a visitor is there for what has to be said again.
    let left = used.is_empty() || used.iter().any(|n| candidates.unlisted_since(*n).is_some());
    if exposure.sound_min == 0 && (left || model.was_struck(session.opened)) {
        return Ok(Excuse::NobodyLeft);
    }
    if used.iter().any(|n| ill.contains(n)) || (Model::reads_first(session) && !ill.is_empty()) {
        return Ok(Excuse::Carried);
    }
    // A connection that it alone has had, and that its upstream took for idle.
    let over = |serial: &u64| {
        let served = model.served.get(serial);
        served.filter(|served| served.request.is_none() && served.over.is_some())
    };
    let mut mute = model.served.keys().filter_map(over);
    if mute.any(|served| served.accepted >= session.opened && used.contains(&served.upstream)) {
        return Ok(Excuse::Carried);
    }
    if used.is_empty() {
        // One in trouble may have taken it and left it, before it had said a word.
        let mut mute = model.served.keys().filter_map(over);
        let left = |served: &Served| served.over_at.is_some_and(|at| at >= session.opened);
        let left = mute.any(|served| ill.contains(&served.upstream) && left(served));
        // Or it was in its kernel's hands alone, which let it go.
        let let_go = connects
            .iter()
            .any(|(at, n)| *at >= session.opened && ill.contains(n));
        if left || let_go || model.was_struck(session.opened) {
            return Ok(Excuse::Carried);
        }
        // Each of the others may have cost the time of a connect that nobody answers.
        let others = (candidates.count() - exposure.sound_min) as u64 + 1;
        if others * candidates.choice().connect_timeout_ms >= AT_ONCE * knobs.start_timeout_ms {
            return Ok(Excuse::Tries);
        }
        return Err("somebody was well throughout, and it was brought to nobody");
    }
    // What is too much to be kept is not said again.
    match session.visit.len > KEPT_MAX {
        true => Ok(Excuse::Lost),
        false => Err("it was brought to somebody who was well"),
    }
}

/// Connects of one visitor under way at once.
const AT_ONCE: u64 = 3;

/// 34: nobody is brought to a candidate that has been off the list, or out of reach, for longer than it takes to
/// notice.
pub struct Out;

impl Invariant for Out {
    fn number(&self) -> u8 {
        34
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        let Event::Sends {
            session: id,
            upstream: Who::Upstream(n),
        } = event
        else {
            return None;
        };
        let (candidates, session) = (model.candidates.as_ref()?, model.sessions.get(id)?);
        if session.exposure.server {
            return None;
        }
        if let Some(since) = candidates.unlisted_since(*n)
            && session.opened > since + Duration::from_millis(LIST_FOLLOWED_MS)
        {
            return Some(format!(
                "session {id} was brought to {}, which was taken from the list at {since:?}: {session}",
                Who::Upstream(*n)
            ));
        }
        // Where most fail at once, probes are not believed, and where all fail, all are tried.
        let count = candidates.count();
        let well = session.exposure.sound_min;
        if well == 0 || (count >= 5 && 2 * well < count) {
            return None;
        }
        let detection = Duration::from_millis(candidates.choice().detection_ms() + 3_000);
        let since = candidates.gone_since(*n)?;
        (session.opened > since + detection).then(|| {
            format!(
                "session {id} was brought to {}, which is out of reach since {since:?}: {session}",
                Who::Upstream(*n)
            )
        })
    }
}

/// How long after a candidate was taken from the list its connections may last that nobody uses.
const PARTED: Duration = Duration::from_millis(LIST_FOLLOWED_MS + 2_000);

/// How long a dial may take that had begun before.
const DIALLED: Duration = Duration::from_secs(3);

/// 35: a candidate that was taken from the list is left alone: nothing is kept warm to it, and it is not probed.
pub struct Parted;

impl Invariant for Parted {
    fn number(&self) -> u8 {
        35
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let candidates = model.candidates.as_ref()?;
        let trouble = model.trouble();
        if trouble.server {
            return None;
        }
        let mut late = candidates.silent.iter().filter(|(_, (n, accepted))| {
            let since = candidates.unlisted_since(*n);
            let parted =
                since.is_some_and(|since| model.now > since + PARTED && model.now > *accepted + PARTED);
            parted && !trouble.clients.contains(n) && !model.was_ill(*n, *accepted)
        });
        let (serial, (n, _)) = late.nth(model.mute())?;
        let since = candidates.unlisted_since(*n)?;
        Some(format!(
            "{} was taken from the list at {since:?}, and still has connection {serial:#x}, which nobody uses",
            Who::Upstream(*n)
        ))
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        // Not when it accepts: what was dialled long ago, and left meanwhile, may wait in its kernel.
        let Event::Connects {
            upstream: Who::Upstream(n),
        } = event
        else {
            return None;
        };
        let candidates = model.candidates.as_ref()?;
        let since = candidates.unlisted_since(*n)?;
        let late =
            model.now > since + PARTED + DIALLED && !model.was_ill(*n, since) && !model.is_server_troubled();
        late.then(|| {
            format!(
                "{} was taken from the list at {since:?}, and connected once more",
                Who::Upstream(*n)
            )
        })
    }
}
