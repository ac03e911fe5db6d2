//! What the oracle knows: sessions, upstream connections, and who is in trouble. A model of its own; it shares
//! no code with what it judges.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Sight,
    active::Active,
    forward::candidates::Candidates,
    group_bit,
    session::{Exposure, Served, Session, Touched},
};
use crate::{
    event::Event,
    fault::Trouble,
    plan::{Deed, Manner, Plan, who::Who},
};

/// How long after its end a fault still excuses: news of it is under way, and what it held back is sent again
/// at the latest then.
pub const SETTLE: Duration = Duration::from_secs(5);

/// Stands for the first registrations among the numbers of faults, and for strangers' deeds.
const STARTING: usize = usize::MAX;
const INTRUSION: usize = usize::MAX - 1;

/// Everything the oracle knows.
#[derive(Debug)]
pub struct Model {
    /// The plan of the run.
    pub plan: Plan,
    /// Whether a stream that is cut short can be seen to be.
    pub can_reset: bool,
    /// The present.
    pub now: Duration,
    /// The server's gauges when last looked at.
    pub sight: Sight,
    /// By number.
    pub sessions: BTreeMap<u64, Session>,
    /// Of those, the ones that have not ended.
    pub open: BTreeSet<u64>,
    /// Those that have just ended.
    leaving: BTreeSet<u64>,
    /// By serial.
    pub served: BTreeMap<u64, Served>,
    /// When all was well again after the healing.
    pub converged: Option<Duration>,
    /// Whoever is left out of the liveness phase.
    pub outside: Trouble,
    /// Where there is a forwarder.
    pub candidates: Option<Candidates>,
    active: Vec<Active>,
    /// Those that have begun and do no harm before their `since`.
    harmless: Vec<Active>,
    /// Sessions that have opened since the server was last looked at.
    newcomers: usize,
    /// Until when the targets of each group have no even shares: somebody is out, or has just come back.
    uneven_until: BTreeMap<usize, Duration>,
}

/// How long after its end a visitor's first bytes may still be on their way.
const SAID: Duration = Duration::from_secs(2);

impl Model {
    /// Nothing has happened yet.
    pub fn new(plan: Plan, can_reset: bool) -> Self {
        let lasting = plan.faults.iter().filter(|fault| fault.to_ms.is_none());
        let outside = lasting
            .map(|fault| plan.troubles(&fault.act))
            .fold(Trouble::default(), Trouble::and);
        let mut model = Self {
            now: Duration::ZERO,
            sight: Sight::default(),
            sessions: BTreeMap::new(),
            open: BTreeSet::new(),
            leaving: BTreeSet::new(),
            served: BTreeMap::new(),
            converged: None,
            outside,
            candidates: Candidates::of(&plan),
            active: Vec::new(),
            harmless: Vec::new(),
            newcomers: 0,
            uneven_until: BTreeMap::new(),
            plan,
            can_reset,
        };
        // Nobody is expected before everybody is here.
        let start = Trouble {
            server: true,
            ..Trouble::default()
        };
        let begin = Active::new(STARTING, start, Duration::ZERO, None);
        model.active.push(begin);
        model
    }

    /// Takes note of what happened.
    pub fn handle(&mut self, now: Duration, event: &Event) {
        self.now = now;
        self.active
            .retain(|active| active.until.is_none_or(|until| now < until));
        self.activate(|active| active.since <= now);
        match event {
            Event::FaultBegins { nth, .. } => {
                self.harmless.push(Active::of_fault(&self.plan, *nth, now));
                if let Some(candidates) = &mut self.candidates {
                    candidates.handle_fault(now, *nth, &self.plan.faults[*nth].act, true);
                }
                self.activate(|active| active.since <= now);
            }
            Event::FaultEnds { nth, .. } => {
                if let Some(candidates) = &mut self.candidates {
                    candidates.handle_fault(now, *nth, &self.plan.faults[*nth].act, false);
                }
                self.activate(|active| active.nth == *nth);
                let silence = if self.plan.faults[*nth].act.is_silent() {
                    self.plan.knobs.detection_ms()
                } else {
                    0
                };
                let found = self.plan.faults[*nth].silence_found();
                for active in self.active.iter_mut().filter(|active| active.nth == *nth) {
                    let over = (now + Duration::from_millis(silence)).max(found);
                    active.until = Some(over + SETTLE);
                }
                // A client that was still leaving is killed now.
                self.expose_all();
            }
            Event::FaultMisses { nth, .. } => {
                if let Some(candidates) = &mut self.candidates {
                    candidates.handle_fault(now, *nth, &self.plan.faults[*nth].act, false);
                }
                self.active.retain(|active| active.nth != *nth);
                self.harmless.retain(|active| active.nth != *nth);
            }
            Event::Intrudes {
                stranger: Who::Stranger(n),
                ..
            } => {
                let (trouble, lasts) = intrusion_trouble(self.plan.strangers[*n].deed);
                // Begun and over alike: what it did is felt for a while.
                let until = Some(now + lasts + SETTLE);
                self.active.push(Active::new(INTRUSION, trouble, now, until));
                self.expose_all();
            }
            Event::Opens {
                session,
                visitor: Who::Visitor(visitor),
                visit,
            } => {
                let mut opened = Session {
                    visit: visit.clone(),
                    visitor: *visitor,
                    opened: now,
                    greeted: None,
                    ended: None,
                    exposure: Exposure {
                        server: false,
                        server_died: false,
                        worn: false,
                        last: now,
                        visitor: false,
                        clients: BTreeSet::new(),
                        upstreams: false,
                        found: None,
                        sound_min: usize::MAX,
                        sound_since: None,
                        crowd: 0,
                        busy: 0,
                        uneven: false,
                        sound: None,
                        touched: Touched::default(),
                    },
                    seen_by: Vec::new(),
                    brought_to: Vec::new(),
                };
                self.open.insert(*session);
                self.newcomers += 1;
                self.expose(&mut opened, &self.felt());
                self.sessions.insert(*session, opened);
                self.crowd();
            }
            Event::Greeted { session, greeting } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.greeted = Some((now, *greeting));
                }
            }
            Event::Ends { session, how } => {
                self.open.remove(session);
                self.leaving.insert(*session);
                if let Some(session) = self.sessions.get_mut(session) {
                    session.ended = Some((now, how.clone()));
                }
            }
            Event::Accepts {
                upstream: Who::Upstream(upstream),
                serial,
                door,
            } => {
                let served = Served {
                    upstream: *upstream,
                    door: *door,
                    accepted: now,
                    request: None,
                    asked: None,
                    over: None,
                    over_at: None,
                };
                self.served.insert(*serial, served);
                if let Some(candidates) = &mut self.candidates {
                    candidates.silent.insert(*serial, (*upstream, now));
                }
            }
            Event::Requested { serial, request, .. } => {
                if let Some(candidates) = &mut self.candidates {
                    candidates.silent.remove(serial);
                }
                if let Some(served) = self.served.get_mut(serial) {
                    served.request = Some(*request);
                    served.asked = Some(now);
                }
                if let Some(session) = self.sessions.get_mut(&request.connection) {
                    session.seen_by.push(*serial);
                }
            }
            Event::Served {
                serial,
                got,
                clean,
                ended,
                ..
            } => {
                if let Some(candidates) = &mut self.candidates {
                    candidates.silent.remove(serial);
                }
                if let Some(served) = self.served.get_mut(serial) {
                    served.over = Some((*got, *clean, *ended));
                    served.over_at = Some(now);
                }
            }
            Event::Stops {
                host: Who::Client(client),
                ..
            } => {
                let farewells = self
                    .active
                    .iter_mut()
                    .filter_map(|active| active.farewell.as_mut());
                for farewell in farewells.filter(|farewell| farewell.client == *client) {
                    farewell.gone = true;
                    farewell.until = Duration::MAX;
                }
            }
            Event::Phase { name: "converged" } => self.converged = Some(now),
            Event::Registered { clients } => {
                self.sight.registered = *clients;
                self.expose_all();
            }
            Event::Phase { name: "started" } => {
                self.active.retain(|active| active.nth != STARTING);
                if let Some(candidates) = &mut self.candidates {
                    candidates.handle_started(now);
                }
            }
            Event::Sends {
                session,
                upstream: Who::Upstream(n),
            } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.brought_to.push(*n);
                }
            }
            _ => {}
        }
    }

    /// Takes note of the server's gauges.
    pub fn handle_sight(&mut self, now: Duration, sight: Sight) {
        self.now = now;
        self.sight = sight;
        self.newcomers = 0;
        let even_again = now + Duration::from_millis(self.plan.knobs.slow_start_ms) + SETTLE;
        for group in (0..self.plan.groups()).filter(|group| sight.uneven & group_bit(*group) != 0) {
            self.uneven_until.insert(group, even_again);
        }
        self.active
            .retain(|active| active.until.is_none_or(|until| now < until));
        self.activate(|active| active.since <= now);
        self.expose_all();
    }

    /// Has those of the harmless that are `due` do harm.
    fn activate(&mut self, due: impl Fn(&Active) -> bool) {
        let all = std::mem::take(&mut self.harmless);
        let (due, harmless): (Vec<_>, Vec<_>) = all.into_iter().partition(due);
        self.harmless = harmless;
        if !due.is_empty() {
            self.active.extend(due);
            self.expose_all();
        }
    }

    fn expose_all(&mut self) {
        let trouble = self.candidates.is_some().then(|| self.trouble());
        if let (Some(candidates), Some(trouble)) = (&mut self.candidates, trouble) {
            candidates.handle_trouble(self.now, &trouble);
        }
        // What a session sent last may still be under way when it is over for its visitor.
        let (sessions, now) = (&self.sessions, self.now);
        self.leaving.retain(|id| {
            let ended = sessions.get(id).and_then(|session| session.ended.as_ref());
            ended.is_some_and(|(at, _)| now < *at + SETTLE)
        });
        let all: Vec<_> = self.open.iter().chain(&self.leaving).copied().collect();
        if all.is_empty() {
            return;
        }
        let felt = self.felt();
        for id in all {
            if let Some(mut session) = self.sessions.remove(&id) {
                self.expose(&mut session, &felt);
                self.sessions.insert(id, session);
            }
        }
    }

    fn crowd(&mut self) {
        // A server may still be busy with those that are over for their visitors.
        let crowd = self.open.len() + self.leaving.len();
        let at_server = usize::try_from(self.sight.sessions).unwrap_or(0);
        let busy = self.open.len().max(at_server + self.newcomers);
        for id in &self.open {
            if let Some(session) = self.sessions.get_mut(id) {
                let exposure = &mut session.exposure;
                exposure.crowd = exposure.crowd.max(crowd);
                exposure.busy = exposure.busy.max(busy);
            }
        }
    }

    /// What is felt right now befalls `session`.
    fn expose(&self, session: &mut Session, (trouble, harmed): &(Trouble, BTreeSet<usize>)) {
        let group = session.visit.group;
        let serves = |client: &usize| self.plan.serves(*client, group);
        let exposure = &mut session.exposure;
        // Once all is well again, what lasts is no excuse any more.
        let well = self.converged.is_some_and(|at| session.opened >= at);
        exposure.server |= trouble.server;
        exposure.uneven |= self
            .uneven_until
            .get(&group)
            .is_some_and(|until| self.now < *until);
        exposure.visitor |= trouble.visitors.contains(&session.visitor);
        let mut troubled: BTreeSet<_> = trouble.clients.iter().copied().filter(serves).collect();
        if well {
            troubled.retain(|client| !self.outside.clients.contains(client));
        }
        // How many of the registered belong to other groups, at most: the server counts them all.
        let others = (0..self.plan.clients.len())
            .filter(|client| !serves(client))
            .count()
            + self.shams();
        let registered = self.sight.registered.saturating_sub(others);
        exposure.found.get_or_insert(registered);
        let sound = registered.saturating_sub(troubled.len());
        exposure.sound_min = exposure.sound_min.min(sound);
        exposure.sound_since = match sound {
            0 => None,
            _ => exposure.sound_since.or(Some(self.now)),
        };
        if let Some(candidates) = &self.candidates {
            let now = candidates.sound(self.now);
            let sound = exposure.sound.get_or_insert_with(|| now.clone());
            sound.retain(|one| now.contains(one));
            exposure.sound_min = sound.len();
        }
        exposure.upstreams |= trouble.upstreams.intersection(&troubled).next().is_some();
        exposure.clients.extend(troubled.intersection(harmed));
        for active in &self.active {
            let hits_clients = active.trouble.clients.iter().any(serves);
            let hits =
                active.trouble.server || hits_clients || active.trouble.visitors.contains(&session.visitor);
            let at = if active.silent { active.since } else { self.now };
            if hits {
                exposure.last = exposure.last.max(at);
            }
            let harmless = active.is_harmless(self.now);
            if !active.spares_served && !harmless {
                exposure.touched.server |= active.trouble.server;
                exposure.touched.clients.extend(&active.trouble.clients);
            }
            exposure.server_died |= active.kills && active.trouble.server;
            exposure.worn |= !active.kills && hits_clients && !harmless;
        }
    }

    /// All trouble, and the clients that are harmed by it.
    fn felt(&self) -> (Trouble, BTreeSet<usize>) {
        let harmful = self.active.iter().filter(|active| !active.is_harmless(self.now));
        let harmed = harmful.flat_map(|active| active.trouble.clients.iter().copied());
        (self.trouble(), harmed.collect())
    }

    /// Whether `client` or the server is in trouble by anything but the fault of that number.
    pub fn is_troubled_besides(&self, client: usize, nth: usize) -> bool {
        let others = self.active.iter().filter(|active| active.nth != nth);
        others
            .map(|active| &active.trouble)
            .any(|trouble| trouble.server || trouble.clients.contains(&client))
    }

    /// What is felt of a client right now.
    pub fn felt_by(&self, client: usize) -> impl Iterator<Item = &Active> {
        let all = self.active.iter();
        all.filter(move |active| active.trouble.clients.contains(&client))
    }

    /// Everything that is felt right now, one by one.
    pub fn all_felt(&self) -> impl Iterator<Item = &Active> {
        self.active.iter()
    }

    /// How many visitors are there that may have said nothing yet: each has a connection that looks as if nobody used it.
    pub fn mute(&self) -> usize {
        let is_over = |at: Duration| self.now > at + SAID;
        let mute = self.sessions.values().filter(|session| session.visit.mute_ms > 0);
        mute.filter(|session| session.ended.as_ref().is_none_or(|(at, _)| !is_over(*at)))
            .count()
    }

    /// Whether the server is in trouble right now.
    pub fn is_server_troubled(&self) -> bool {
        self.active.iter().any(|active| active.trouble.server)
    }

    /// Whether anything is felt right now.
    pub fn is_troubled(&self) -> bool {
        !self.active.is_empty()
    }

    /// Everything that is felt right now.
    pub fn trouble(&self) -> Trouble {
        self.active
            .iter()
            .map(|active| active.trouble.clone())
            .fold(Trouble::default(), Trouble::and)
    }

    /// Whether it takes part in the liveness phase.
    pub fn takes_part(&self, session: &Session) -> bool {
        !self.outside.visitors.contains(&session.visitor)
    }

    /// Whether the visitor waits for the upstream's word before its own.
    pub fn reads_first(session: &Session) -> bool {
        session.visit.manner == Manner::ReadFirst
    }
}

/// Whom a stranger's deed may harm, and for how long.
fn intrusion_trouble(deed: Deed) -> (Trouble, Duration) {
    match deed {
        Deed::DuplicateId { client, for_ms } => {
            (Trouble::at(Who::Client(client)), Duration::from_millis(for_ms))
        }
        _ => (Trouble::default(), Duration::ZERO),
    }
}
