//! Invariants 20 and 23 to 28 as they stand when everybody has gone home.

use std::time::Duration;

use super::{Class, Invariant, Model, access::Answers};
use crate::{event::Event, plan::Deed, web::examined};

/// What nodes count of something: of what, how much, and how much it should be at least and at most.
pub type Figure = (String, i64, (i64, i64));

/// What there is at rest.
#[derive(Clone, Debug, Default)]
pub struct Rest {
    /// Visitors and strangers that have done all they will, of how many.
    pub done: (usize, usize),
    /// Clients that are registered, of those that should be.
    pub registered: (usize, usize),
    /// Proxy connections parked at the server.
    pub parked: i64,
    /// Fewest that should be: full pools of everybody who is well.
    pub parked_min: i64,
    /// Data links at the server.
    pub links: i64,
    /// What should be exactly so many: what, how many there are, how many there should be.
    pub baseline: Vec<(String, i64, i64)>,
    /// Visitors that the last server accepted, and sessions of its that have an outcome.
    pub books: (u64, u64),
    /// Tries repeated although their bytes may have arrived, over all lives of the server; of requests, all repeated.
    pub replays_ambiguous: u64,
    /// Visitors accepted, over all lives of the server; of an HTTP entry, requests answered.
    pub visitors: u64,
    /// The access log of an HTTP entry, over all lives of the server.
    pub log: Vec<String>,
    /// What is counted of the same, over all lives.
    pub answers: Vec<Answers>,
    /// Lines of it that were lost.
    pub lines_lost: u64,
    /// Peers that broke the protocol on a connection that was theirs to use, over all nodes.
    pub violations: u64,
    /// Tries that failed since all was well again.
    pub tries_failed: u64,
    /// What nodes count.
    pub figures: Vec<Figure>,
    /// Bytes of sessions up and down, over all lives of the server.
    pub bytes: (u64, u64),
    /// How long starts took, all together, in seconds, over all lives of the server.
    pub start_seconds: f64,
    /// Sessions that clients say were completed, over all lives of all.
    pub completed_at_clients: u64,
    /// Marks that only trouble brings about, as far as they were counted.
    pub marked: Vec<&'static str>,
    /// What nobody should have to do where nothing goes wrong, as far as it was done: what, and how often.
    pub vain: Vec<(String, u64)>,
    /// Targets that are active, of those whose clients serve.
    pub active: (i64, i64),
}

/// 20: counters do not count what did not happen, nor forget what did.
pub struct Counters;

impl Invariant for Counters {
    fn number(&self) -> u8 {
        20
    }

    fn handle_rest(&mut self, model: &Model, rest: &Rest) -> Option<String> {
        let greeted = model
            .sessions
            .values()
            .filter(|session| session.greeted.is_some())
            .count() as u64;
        let strangers = model.plan.strangers.iter();
        let others = strangers.map(|one| match one.deed {
            Deed::Lingers { asks: true } => 1,
            Deed::Examines { questions } => u64::from(questions) * examined::TIMES_MAX,
            _ => 0,
        });
        let opened = model.sessions.len() as u64;
        let counted = rest.visitors;
        (counted < greeted || counted > opened + others.sum::<u64>())
            .then(|| format!("{counted} visitors were counted; {opened} came, {greeted} were served"))
    }
}

/// 23: sockets, sessions and buffers are back where they began.
pub struct Baseline;

impl Invariant for Baseline {
    fn number(&self) -> u8 {
        23
    }

    fn handle_rest(&mut self, _: &Model, rest: &Rest) -> Option<String> {
        let off = rest.baseline.iter().find(|(_, is, should)| is != should);
        off.map(|(what, is, should)| format!("{is} {what} at rest, there should be {should}"))
    }
}

/// 24: whoever was accepted has an outcome.
pub struct Books;

impl Invariant for Books {
    fn number(&self) -> u8 {
        24
    }

    fn handle_rest(&mut self, _: &Model, rest: &Rest) -> Option<String> {
        let (visitors, outcomes) = rest.books;
        (visitors != outcomes)
            .then(|| format!("{visitors} visitors were accepted, {outcomes} sessions have an outcome"))
    }
}

/// 25: every client that is well is registered, and nobody else.
pub struct Registered;

impl Invariant for Registered {
    fn number(&self) -> u8 {
        25
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let plan = &model.plan;
        let due = plan.heal_ms + plan.knobs.convergence_ms();
        let late = model.converged.is_none() && model.now.as_millis() > u128::from(due);
        late.then(|| {
            let (is, should) = (model.sight.registered, plan.registered().len());
            format!(
                "{is} clients are registered {} ms after the healing, {should} should be",
                due - plan.heal_ms
            )
        })
    }

    fn handle_rest(&mut self, _: &Model, rest: &Rest) -> Option<String> {
        let (is, should) = rest.registered;
        (is != should).then(|| format!("{is} clients are registered at rest, {should} should be"))
    }
}

/// Connections beyond the fewest that a pool may still be about to retire.
const SURPLUS_MAX: i64 = 2;

/// 25 as well: whoever is well is active, however it did while it was not.
pub struct Active;

/// What being tried again takes beyond the waits: two probes, and the end of an evaluation.
const TRIED_AGAIN_MS: u64 = 10_000;

impl Invariant for Active {
    fn number(&self) -> u8 {
        25
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle_rest(&mut self, model: &Model, rest: &Rest) -> Option<String> {
        let (plan, knobs) = (&model.plan, &model.plan.knobs);
        // Without probes it takes visitors, and a probe that is too slow says nothing good.
        if knobs.probe_interval_ms == 0 || !knobs.leaves_time_to_probe() {
            return None;
        }
        // A wait is at most three times as long as all that came before it, and as often as it was put out counts ten
        // times at most.
        let waits =
            3 * plan.troubled_ms() + 10 * knobs.hold_off_ms + 2 * knobs.probe_interval_ms + TRIED_AGAIN_MS;
        if plan.heal_ms + knobs.convergence_ms() + waits > plan.duration_ms {
            return None;
        }
        let (is, should) = rest.active;
        (is < should).then(|| format!("{is} targets are active at rest, {should} are well"))
    }
}

/// 26: the pools of all who are well are full, and not fuller, when nobody has come for a while.
#[derive(Default)]
pub struct Pools {
    /// The quiet after the healing is over.
    asked: bool,
    /// The most that were parked near its end: a probe may use one at any moment.
    most: i64,
    /// When a crowd came last, and how large it was.
    crowd: Option<(Duration, usize)>,
}

/// Half of what a crowd has left behind is closed within such a time.
const HALVED_WITHIN: Duration = Duration::from_secs(10);

impl Pools {
    /// How many came in the crowd that a pool which follows demand may still remember.
    fn crowd_lately(&self, now: Duration) -> i64 {
        let lately = self.crowd.filter(|(at, _)| now < *at + REMEMBERED);
        lately.map_or(0, |(_, len)| i64::try_from(len).unwrap_or(i64::MAX))
    }

    /// What a crowd may still have left.
    fn left_behind(&self, now: Duration) -> usize {
        self.crowd.map_or(0, |(at, len)| {
            let halves = (now - at).as_secs() / HALVED_WITHIN.as_secs();
            len >> halves.saturating_sub(1).min(60)
        })
    }
}

/// What a pool that follows demand may keep for those who come one by one, beyond its minimum.
const FOLLOWING_MAX: i64 = 12;

/// For how long such a pool remembers a crowd, and how long it takes to forget it.
const REMEMBERED: Duration = Duration::from_secs(100);

/// How long before the end of the quiet a pool is looked at.
const POOLS_LOOKED_AT: Duration = Duration::from_secs(2);

impl Invariant for Pools {
    fn number(&self) -> u8 {
        26
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let plan = &model.plan;
        let (from, to) = plan.quiet();
        // Just before the next visitors come.
        if self.asked || from == to || model.now + POOLS_LOOKED_AT < to {
            return None;
        }
        self.most = self.most.max(model.sight.parked);
        if model.now + Duration::from_millis(200) < to {
            return None;
        }
        self.asked = true;
        // Who has only just come back has yet to open its connections.
        if model.converged? + POOLS_LOOKED_AT > model.now {
            return None;
        }
        if plan.silence_found() > to {
            // One of them may be dead and look alive, or be replaced at this very moment.
            return None;
        }
        if plan.knobs.pool_max < 64 {
            // A session that goes on takes the place of one that is parked.
            return None;
        }
        let (is, each) = (self.most, plan.knobs.pool_min);
        let least = i64::try_from(each * plan.registered().len()).unwrap_or(i64::MAX);
        (is < least)
            .then(|| format!("{is} proxy connections are parked after a quiet while, {least} are wanted"))
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        if let Event::Opens { visit, .. } = event
            && visit.at_once > 1
        {
            self.crowd = Some((model.now, visit.at_once));
        }
        None
    }

    fn handle_rest(&mut self, model: &Model, rest: &Rest) -> Option<String> {
        let (is, least) = (rest.parked, rest.parked_min);
        let left = i64::try_from(self.left_behind(model.now)).unwrap_or(i64::MAX);
        let follows = match model.plan.knobs.pool_follows {
            true => FOLLOWING_MAX * rest.registered.1 as i64 + 2 * self.crowd_lately(model.now),
            false => 0,
        };
        let most = least + SURPLUS_MAX * rest.registered.1 as i64 + left + follows;
        (is < least || is > most)
            .then(|| format!("{is} proxy connections are parked, {least} to {most} are wanted"))
    }
}

/// 26 as well: whoever is well has a data link, where sessions may ride on one, and no more of them than it may.
pub struct DataLinks;

impl Invariant for DataLinks {
    fn number(&self) -> u8 {
        26
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle_rest(&mut self, model: &Model, rest: &Rest) -> Option<String> {
        let knobs = &model.plan.knobs;
        let (is, clients) = (rest.links, rest.registered.1 as i64);
        let (least, most) = match knobs.has_links() {
            false => (0, 0),
            // Probes use one up, and the next is on its way.
            true if knobs.uses_up_links() => (0, knobs.links as i64 * clients),
            true => (clients, knobs.links as i64 * clients),
        };
        (is < least || is > most).then(|| format!("{is} data links are open, {least} to {most} are wanted"))
    }
}

/// 28, at rest: every session has ended.
pub struct AllEnded;

impl Invariant for AllEnded {
    fn number(&self) -> u8 {
        28
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle_rest(&mut self, model: &Model, rest: &Rest) -> Option<String> {
        let (done, of) = rest.done;
        let open = model.open.len();
        (open > 0 || done < of).then(|| {
            format!("{open} sessions have not ended, {done} of {of} visitors and strangers are done")
        })
    }
}

/// 33: nodes keep to the protocol among themselves.
pub struct Courtesy;

impl Invariant for Courtesy {
    fn number(&self) -> u8 {
        33
    }

    fn handle_rest(&mut self, model: &Model, rest: &Rest) -> Option<String> {
        // Whoever says again what a client has said may be faster than the client's own packets.
        let strangers = model.plan.strangers.iter();
        let echoes = strangers
            .filter(|one| matches!(one.deed, Deed::ReplayProxy { .. }))
            .count() as u64;
        let count = rest.violations;
        (count > echoes).then(|| format!("peers broke the protocol {count} times, and all of them are ours"))
    }
}

/// Tries in vain on one that refuses for good: three visitors find out, and one or two at the end of each wait, which
/// doubles from a second; visitors that come at the same moment count each.
const VAIN_TRIES_MAX: u64 = 20;

/// The same where probes find out: only those that come while nobody else is thought to be well.
const VAIN_TRIES_PROBED_MAX: u64 = 8;

/// 30: once all is well, no visitor is sent where nobody serves.
pub struct NoVainTries;

impl Invariant for NoVainTries {
    fn number(&self) -> u8 {
        30
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle_rest(&mut self, model: &Model, rest: &Rest) -> Option<String> {
        let knobs = &model.plan.knobs;
        // A slow answer and a full pool fail a try as well.
        if knobs.is_slow() || knobs.pool_max < 64 {
            return None;
        }
        // Whoever refuses for good is left out, and tried now and then where nobody probes.
        let most = match (model.outside.clients.len(), knobs.probe_interval_ms) {
            (0, _) => 0,
            (1, 0) => VAIN_TRIES_MAX,
            (1, _) => VAIN_TRIES_PROBED_MAX,
            _ => return None,
        };
        // So many in two minutes.
        let most = most * (model.plan.duration_ms / 120_000).max(1);
        // A try waits a second for a connection. Of a crowd that is larger than what is ready some may wait for longer, and come
        // to another client's, which others wait for.
        let visits = model.plan.visitors.iter().flatten();
        let crowds = visits.map(|visit| visit.at_once.saturating_sub(knobs.pool_min) as u64);
        let most = most + crowds.sum::<u64>();
        let count = rest.tries_failed;
        (count > most).then(|| format!("{count} tries failed although all was well, at most {most} may"))
    }
}
