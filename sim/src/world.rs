//! The world of a plan: hosts on an engine, and the hand that does the faults.

mod look;
mod usurp;
mod ways;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use crate::{
    engine::{
        Condition, Engine, FlowDeed, FlowPick, ProcessDeed, Software,
        packets::{NetOptions, Packets},
        stock::Stock,
    },
    event::Event,
    fault::Fault,
    forwarder::Forwarder,
    impostor::Impostor,
    lock::Shared,
    net::Ailments,
    node::{Node, Part},
    oracle::Oracle,
    plan::{Millis, Plan, who::Who},
    stranger::Stranger,
    upstream::{Mood, Upstream},
    visitor::{Browser, Visitor},
};

/// Which engine carries a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// Simulated kernels and packets.
    #[default]
    Packets,
    /// Stock turmoil, for what it can do.
    Stock,
}

impl EngineKind {
    /// Whether a stream can be reset; else what is meant as a reset looks like an end.
    pub fn can_reset(self) -> bool {
        self == Self::Packets
    }
}

/// The hosts of one run.
pub struct World {
    engine: Box<dyn Engine>,
    hosts: BTreeMap<Who, usize>,
    nodes: BTreeMap<Who, Node>,
    upstreams: Vec<Upstream>,
    /// Whether clients know both doors of their upstreams.
    spare_doors: bool,
    /// In a world of the forwarder.
    forwarder: Option<Forwarder>,
    oracle: Oracle,
    /// Visitor and stranger hosts that have done all they will.
    done: Rc<Cell<usize>>,
    /// How many faults keep a host down.
    downs: BTreeMap<Who, usize>,
    /// Nodes that were told to stop: which life of theirs, counted from 1.
    told: BTreeMap<Who, usize>,
    faults: Vec<Fault>,
    /// What is still to be done: when, which fault, whether it begins.
    deeds: Vec<(Duration, usize, bool)>,
    /// Candidates that are still to be put far away: when, which, and how far. The next is taken from the end.
    far: Vec<(Duration, usize, Millis)>,
    /// In which life clients were when last looked at, and how many they had turned away: at once, and in vain.
    refusals: BTreeMap<Who, (usize, [u64; 2])>,
    /// Faults that have begun and found something to do.
    begun: Vec<bool>,
    /// How many groups visitors ask for.
    groups: usize,
}

impl World {
    /// Builds every host of `plan` and boots it.
    pub fn new(plan: &Plan, kind: EngineKind, oracle: Oracle) -> Self {
        let who = plan.hosts();
        let names: Vec<_> = who.iter().map(ToString::to_string).collect();
        let knobs = &plan.knobs;
        let engine: Box<dyn Engine> = match kind {
            EngineKind::Packets => {
                let options = NetOptions {
                    latency_ms: knobs.latency_ms,
                    tail_one_in: knobs.tail_one_in,
                    mtu: knobs.mtu,
                    buffer: knobs.kernel_buffer,
                    retry_budget: (knobs.retry_budget_ms > 0)
                        .then(|| Duration::from_millis(knobs.retry_budget_ms)),
                };
                Box::new(Packets::new(plan.seed, options, &names, oracle.recorder()))
            }
            EngineKind::Stock => Box::new(Stock::new(plan.seed, knobs.latency_ms, &names, oracle.recorder())),
        };
        let mut deeds: Vec<_> = plan
            .faults
            .iter()
            .enumerate()
            .flat_map(|(nth, fault)| {
                let end = fault.to_ms.map(|to| (Duration::from_millis(to), nth, false));
                [Some((Duration::from_millis(fault.from_ms), nth, true)), end]
            })
            .flatten()
            .collect();
        // The next is taken from the end. What ends at a moment makes way for what begins then.
        deeds.sort_by_key(|(at, nth, begins)| std::cmp::Reverse((*at, *begins, *nth)));
        let mut world = Self {
            engine,
            hosts: who.iter().enumerate().map(|(n, who)| (*who, n)).collect(),
            nodes: BTreeMap::new(),
            upstreams: Vec::new(),
            spare_doors: knobs.spare_doors,
            forwarder: None,
            oracle,
            done: Rc::default(),
            downs: BTreeMap::new(),
            told: BTreeMap::new(),
            refusals: BTreeMap::new(),
            begun: vec![false; plan.faults.len()],
            far: ways::far(plan),
            faults: plan.faults.clone(),
            deeds,
            groups: plan.groups(),
        };
        world.populate(plan);
        world.place_far(Duration::ZERO);
        // What is wrong from the beginning is wrong before anybody has done anything.
        world.perform_until(Duration::ZERO);
        world
    }

    /// Candidates that are far away are so from some moment on, for the rest of the run.
    fn place_far(&mut self, now: Duration) {
        while let Some((_, n, far_ms)) = self.far.pop_if(|(from, ..)| *from <= now) {
            let between = (Who::Server, Who::Upstream(n));
            self.both_ways(between, Condition::Lag(far_ms), true);
        }
    }

    fn populate(&mut self, plan: &Plan) {
        for n in 0..plan.upstreams() {
            let sockets = self.engine.transport(self.hosts[&Who::Upstream(n)]);
            let upstream = Upstream::new(n, ways::ways(plan, n), sockets, self.oracle.clone());
            self.upstreams.push(upstream.clone());
            self.install(
                Who::Upstream(n),
                Rc::new(move || Box::pin(upstream.clone().run())),
            );
        }
        // Addresses are known once hosts are: the second engine gives them out one by one.
        let groups = plan.groups();
        let node = |world: &Self, who: Who, addresses: &Arc<BTreeMap<_, _>>| {
            let number = world.hosts[&who];
            let sockets = world.engine.transport(number);
            let knobs = Rc::new(plan.knobs.clone());
            Node::new(
                (who, number),
                (plan.seed, knobs),
                sockets,
                Arc::clone(addresses),
                world.oracle.clone(),
            )
        };
        let addresses: BTreeMap<_, _> = self
            .hosts
            .iter()
            .map(|(who, n)| (who.to_string(), self.engine.address(*n)))
            .collect();
        let addresses = Arc::new(addresses);
        let server = node(self, Who::Server, &addresses);
        self.nodes.insert(Who::Server, server.clone());
        let software: Software = match &plan.forward {
            None => {
                let web = plan.web.clone();
                Rc::new(move || match server.ailments.with(|ailments| ailments.usurped) {
                    Some(how) => Box::pin(Impostor::new(server.clone(), how).run()),
                    None => Box::pin(server.clone().serve(groups, web.clone())),
                })
            }
            Some(forward) => {
                let forwarder = Forwarder::new(server, forward.clone());
                self.forwarder = Some(forwarder.clone());
                Rc::new(move || Box::pin(forwarder.clone().run()))
            }
        };
        self.install(Who::Server, software);
        if plan.second_server {
            let second = node(self, Who::SecondServer, &addresses);
            self.nodes.insert(Who::SecondServer, second.clone());
            let software = move || Box::pin(second.clone().serve(groups, None)) as _;
            self.install(Who::SecondServer, Rc::new(software));
        }
        for n in 0..plan.clients.len() {
            let client = node(self, Who::Client(n), &addresses);
            self.nodes.insert(Who::Client(n), client.clone());
            let part = Part::of(plan, n);
            self.install(
                Who::Client(n),
                Rc::new(move || Box::pin(client.clone().be_client(part.clone()))),
            );
        }
        let next = Rc::new(Cell::new(1));
        for (n, visits) in plan.visitors.iter().enumerate() {
            let visitor = Visitor {
                who: Who::Visitor(n),
                visits: Rc::new(visits.clone()),
                quiet: plan.quiet(),
                last_visit: Duration::from_millis(plan.last_visit_ms),
                gives_up: plan.has_lost_service(),
                next: Rc::clone(&next),
                server: addresses[&Who::Server.to_string()],
                sockets: self.engine.transport(self.hosts[&Who::Visitor(n)]),
                oracle: self.oracle.clone(),
                browser: Rc::new(Browser {
                    address: addresses[&Who::Visitor(n).to_string()],
                    line: RefCell::default(),
                    trusted: plan.web.as_ref().is_some_and(|web| web.trusted.contains(&n)),
                    answer_idle: Duration::from_millis(plan.web.as_ref().map_or(0, |web| web.answer_idle_ms)),
                }),
            };
            let done = Rc::clone(&self.done);
            self.install(
                Who::Visitor(n),
                Rc::new(move || {
                    let (visitor, done) = (visitor.clone(), Rc::clone(&done));
                    Box::pin(async move {
                        visitor.run().await;
                        done.set(done.get() + 1);
                    })
                }),
            );
        }
        for (n, intrusion) in plan.strangers.iter().enumerate() {
            let who = Who::Stranger(n);
            let stranger = Stranger {
                node: node(self, who, &addresses),
                intrusion: intrusion.clone(),
                server: addresses[&Who::Server.to_string()],
                sockets: self.engine.transport(self.hosts[&who]),
                overheard: self.oracle.overheard(),
                oracle: self.oracle.clone(),
            };
            let done = Rc::clone(&self.done);
            self.install(
                who,
                Rc::new(move || {
                    let (stranger, done) = (stranger.clone(), Rc::clone(&done));
                    Box::pin(async move {
                        stranger.run().await;
                        done.set(done.get() + 1);
                    })
                }),
            );
        }
    }

    fn install(&mut self, who: Who, software: Software) {
        self.engine.install(self.hosts[&who], software);
    }

    /// Goes on until `at`, or to the next deed before it. Says what time it is then.
    pub fn run_until(&mut self, at: Duration) -> Duration {
        let next = self.deeds.last().map_or(at, |(deed, ..)| (*deed).min(at));
        self.engine.run_until(next);
        let now = self.engine.now();
        self.place_far(now);
        self.perform_until(now);
        now
    }

    fn perform_until(&mut self, now: Duration) {
        while let Some((_, nth, begins)) = self.deeds.pop_if(|(deed, ..)| *deed <= now) {
            self.perform(nth, begins);
        }
    }

    fn perform(&mut self, nth: usize, begins: bool) {
        let fault = self.faults[nth].clone();
        let act = fault.act.to_string();
        if !begins {
            if self.begun[nth] {
                fault.act.end(self);
                self.oracle.tell(Event::FaultEnds { nth, act });
            }
            return;
        }
        self.oracle.tell(Event::FaultBegins {
            nth,
            act: act.clone(),
            to_ms: fault.to_ms,
        });
        self.begun[nth] = fault.act.begin(self);
        if !self.begun[nth] {
            self.oracle.tell(Event::FaultMisses { nth, act });
        }
    }

    /// Does something to a host's process.
    pub fn process(&mut self, who: Who, deed: ProcessDeed) -> bool {
        self.hosts
            .get(&who)
            .is_some_and(|host| self.engine.process(*host, deed))
    }

    /// Takes a host down, for one more reason.
    pub fn take_down(&mut self, who: Who, deed: ProcessDeed) -> bool {
        let down = self.downs.get(&who).is_some_and(|reasons| *reasons > 0) || self.process(who, deed);
        if down {
            *self.downs.entry(who).or_default() += 1;
        }
        down
    }

    /// Takes one reason away, and boots the host when none is left.
    pub fn bring_up(&mut self, who: Who) {
        let reasons = self.downs.entry(who).or_default();
        *reasons = reasons.saturating_sub(1);
        if *reasons == 0 {
            // The life before this one may have ended of itself and not been reaped: this one must not be in its
            // place.
            if let Some(node) = self.nodes.get(&who) {
                node.bury();
            }
            self.process(who, ProcessDeed::Boot);
        }
    }

    /// Tells a node to stop.
    pub fn tell_to_stop(&mut self, who: Who) -> bool {
        if self.downs.get(&who).is_some_and(|reasons| *reasons > 0) {
            return false;
        }
        let Some((boot, life)) = self
            .nodes
            .get(&who)
            .and_then(|node| Some((node.boot()?, node.boots().len())))
        else {
            return false;
        };
        // A second time would be a second signal, which ends everything at once.
        let first = self.told.insert(who, life) != Some(life);
        if first {
            boot.stopper.advance();
        }
        first
    }

    /// Boots a node that was told to stop, unless something else has done so.
    pub fn begin_anew(&mut self, who: Who) {
        let life = self.nodes.get(&who).map(|node| node.boots().len());
        if life == self.told.get(&who).copied() {
            self.take_down(who, ProcessDeed::Crash);
            self.bring_up(who);
        }
    }

    /// Begins or ends a condition from the first to the second and, when `both`, back.
    pub fn way(&mut self, (one, other): (Who, Who), both: bool, condition: Condition, begins: bool) -> bool {
        let (Some(one), Some(other)) = (self.hosts.get(&one), self.hosts.get(&other)) else {
            return false;
        };
        let (one, other) = (*one, *other);
        let there = self.engine.path(one, other, condition, begins);
        there && (!both || self.engine.path(other, one, condition, begins))
    }

    /// Begins or ends a condition between two hosts.
    pub fn both_ways(&mut self, between: (Who, Who), condition: Condition, begins: bool) -> bool {
        self.way(between, true, condition, begins)
    }

    /// Begins or ends a condition between a host and all others.
    pub fn around(&mut self, who: Who, condition: Condition, begins: bool) -> bool {
        let others: Vec<_> = self.hosts.keys().copied().filter(|other| *other != who).collect();
        others
            .into_iter()
            .all(|other| self.both_ways((who, other), condition, begins))
    }

    /// Does something to a connection that the first host has made to a port of the second.
    pub fn flow(&mut self, (host, to): (Who, Who), port: u16, nth: usize, deed: FlowDeed) -> bool {
        let (Some(host), Some(to)) = (self.hosts.get(&host), self.hosts.get(&to)) else {
            return false;
        };
        let pick = FlowPick {
            host: *host,
            to: *to,
            port,
            nth,
        };
        self.engine.flow(pick, deed)
    }

    /// What may go wrong in a node's operating system.
    pub fn ailments(&self, who: Who) -> Option<Shared<Ailments>> {
        self.nodes.get(&who).map(|node| node.ailments.clone())
    }

    /// Changes how an upstream feels.
    pub fn set_mood(&mut self, upstream: usize, mood: Mood) -> bool {
        self.upstreams.get(upstream).is_some_and(|upstream| {
            upstream.set_mood(mood);
            true
        })
    }

    /// Shuts one of an upstream's doors, where its client knows the other.
    pub fn shut(&mut self, upstream: usize, door: usize) -> bool {
        let client = self.nodes.contains_key(&Who::Client(upstream));
        let shut = self
            .upstreams
            .get(upstream)
            .filter(|_| client && self.spare_doors);
        shut.is_some_and(|upstream| upstream.shut(door))
    }

    /// An upstream begins or ends to close what has waited for a while without a word.
    pub fn drop_idle(&mut self, upstream: usize, begins: bool) -> bool {
        self.upstreams.get(upstream).is_some_and(|upstream| {
            upstream.drop_idle(begins);
            true
        })
    }

    /// Opens it again.
    pub fn unshut(&mut self, upstream: usize, door: usize) {
        if let Some(upstream) = self.upstreams.get(upstream) {
            upstream.unshut(door);
        }
    }

    /// Changes the forwarder's list, if there is one.
    pub fn change_list(&mut self, change: impl Fn(&Forwarder)) -> bool {
        self.forwarder.as_ref().map(change).is_some()
    }

    /// A process that has come to its end takes everything with it.
    pub fn reap(&mut self) {
        let over: Vec<_> = self
            .nodes
            .values()
            .filter(|node| matches!(node.who, Who::Server | Who::SecondServer | Who::Client(_)))
            .filter_map(|node| node.boot().filter(|boot| boot.finished).map(|_| node.clone()))
            .collect();
        for node in over {
            node.bury();
            self.process(node.who, ProcessDeed::Crash);
        }
    }

    /// A node, all its lives.
    pub fn node(&self, who: Who) -> Option<&Node> {
        self.nodes.get(&who)
    }

    /// The upstreams, in order.
    pub fn upstreams(&self) -> &[Upstream] {
        &self.upstreams
    }

    /// Visitors and strangers that have done all they will.
    pub fn done(&self) -> usize {
        self.done.get()
    }

    /// What is open at every host, in words.
    pub fn sockets(&self) -> Vec<String> {
        let each = self.hosts.iter().flat_map(|(who, host)| {
            let sockets = self.engine.sockets(*host);
            sockets
                .into_iter()
                .map(move |socket| format!("{who:<11} {socket}"))
        });
        each.collect()
    }
}
