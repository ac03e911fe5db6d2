//! The world of a plan: hosts, network, and the hand that does the faults.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, SystemTime},
};

use rand::Rng;
use turmoil::{Builder, Sim};

use crate::{
    node::Host,
    oracle::{Oracle, Sight, troubles},
    plan::{CLIENTS, DURATION, Fault, FaultKind, Plan, Purpose, VISITORS},
    trace::Recorder,
    upstream::Upstream,
    visitor::Visitor,
};

/// Segments in flight per direction, and connections a listener keeps waiting. The engine loses a FIN for good
/// when it arrives at a receiver that holds this many unread segments, so it must be more than any session's
/// burst; a session here is at most 400 kB, in pieces of 16 KiB or more with at most as many short ones between.
const SEGMENTS_MAX: usize = 512;

/// The hosts of one run.
pub struct World {
    sim: Sim<'static>,
    plan: Plan,
    recorder: Recorder,
    oracle: Oracle,
    server: Host,
    clients: Vec<Host>,
    upstreams: Vec<Upstream>,
    /// Visitor hosts that have done all they will.
    done: Rc<Cell<usize>>,
    /// What is still to be done, and by when, latest first.
    deeds: Vec<(Duration, Deed)>,
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Begin(Fault),
    End(Fault),
}

impl World {
    /// Builds every host of `plan`.
    pub fn new(plan: Plan, recorder: Recorder, oracle: Oracle) -> Self {
        let (least, most) = plan.latency;
        let mut sim = Builder::new()
            .rng_seed(Purpose::Engine.rng(plan.seed).next_u64())
            .epoch(SystemTime::UNIX_EPOCH)
            .tick_duration(plan.tick)
            .simulation_duration(DURATION * 2)
            .tcp_capacity(SEGMENTS_MAX)
            .min_message_latency(least)
            .max_message_latency(most)
            .enable_random_order()
            .build();
        let seeds = (plan.seed, plan.chop);
        let letter = |n: usize| char::from(b'a' + u8::try_from(n).unwrap_or(0));

        let mut upstreams = Vec::new();
        for index in 0..CLIENTS {
            let upstream = Upstream {
                index,
                name: format!("upstream-{}", letter(index)),
                open: Rc::default(),
                oracle: oracle.clone(),
                recorder: recorder.clone(),
            };
            upstreams.push(upstream.clone());
            sim.host(upstream.name.clone(), move || {
                let upstream = upstream.clone();
                async move { Ok(upstream.run().await?) }
            });
        }
        let server = Host::new("server".to_owned(), 0, seeds, recorder.clone());
        let host = server.clone();
        sim.host("server", move || {
            let host = host.clone();
            async move { Ok(host.serve().await?) }
        });
        let mut clients = Vec::new();
        for (index, upstream) in upstreams.iter().enumerate() {
            let name = format!("client-{}", letter(index));
            let host = Host::new(name.clone(), 1 + index as u64, seeds, recorder.clone());
            clients.push(host.clone());
            let upstream = upstream.name.clone();
            sim.host(name, move || {
                let (host, upstream) = (host.clone(), upstream.clone());
                async move { Ok(host.be_client(upstream).await?) }
            });
        }
        let (next, done) = (Rc::new(Cell::new(1)), Rc::new(Cell::new(0)));
        for index in 0..VISITORS {
            let visitor = Visitor {
                name: format!("visitor-{}", index + 1),
                visits: Rc::new(plan.visitors[index].clone()),
                next: Rc::clone(&next),
                oracle: oracle.clone(),
                recorder: recorder.clone(),
            };
            let done = Rc::clone(&done);
            sim.host(visitor.name.clone(), move || {
                let (visitor, done) = (visitor.clone(), Rc::clone(&done));
                async move {
                    visitor.run().await;
                    done.set(done.get() + 1);
                    // The host stays, so that what its peers still say is answered.
                    std::future::pending().await
                }
            });
        }
        let mut deeds: Vec<_> = plan
            .faults
            .iter()
            .flat_map(|fault| [(fault.from, Deed::Begin(*fault)), (fault.to, Deed::End(*fault))])
            .collect();
        deeds.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        Self {
            sim,
            plan,
            recorder,
            oracle,
            server,
            clients,
            upstreams,
            done,
            deeds,
        }
    }

    /// Goes one tick further. Says what time it is then.
    ///
    /// # Errors
    /// What a host's software failed with.
    pub fn step(&mut self) -> turmoil::Result<Duration> {
        let now = self.sim.elapsed();
        while let Some((_, deed)) = self.deeds.pop_if(|(at, _)| *at <= now) {
            self.perform(deed);
        }
        self.sim.step()?;
        let now = self.sim.elapsed();
        self.recorder.set_now(now);
        if self.server.boot().finished && self.sim.is_host_running("server") {
            self.sim.crash("server");
        }
        let sight = self.sight(now);
        self.oracle.handle_sight(now, sight);
        Ok(now)
    }

    fn perform(&mut self, deed: Deed) {
        self.recorder.event("fault", format_args!("{deed:?}"));
        let client = |n: usize| self.clients[n].name.clone();
        match deed {
            Deed::Begin(fault) => match fault.kind {
                FaultKind::CrashClient(n) => self.sim.crash(client(n)),
                FaultKind::CrashServer => self.sim.crash("server"),
                FaultKind::DrainServer => self.server.boot().stopper.advance(),
                FaultKind::HoldLink(n) => self.sim.hold(client(n), "server"),
            },
            Deed::End(fault) => match fault.kind {
                FaultKind::CrashClient(n) => self.sim.bounce(client(n)),
                FaultKind::CrashServer | FaultKind::DrainServer => {
                    if self.sim.is_host_running("server") {
                        self.sim.crash("server");
                    }
                    self.sim.bounce("server");
                }
                FaultKind::HoldLink(n) => self.sim.release(client(n), "server"),
            },
        }
    }

    /// The world at `now`.
    pub fn sight(&self, now: Duration) -> Sight {
        let mut sight = Sight {
            registered: self.registered(),
            ..Sight::default()
        };
        for fault in &self.plan.faults {
            let on = troubles(now, fault.from, fault.to);
            match fault.kind {
                FaultKind::CrashClient(n) | FaultKind::HoldLink(n) => sight.troubled[n] |= on,
                FaultKind::CrashServer | FaultKind::DrainServer => sight.server_troubled |= on,
            }
        }
        sight
    }

    /// How many clients the server counts.
    pub fn registered(&self) -> usize {
        usize::try_from(self.server.boot().metrics.clients.get()).unwrap_or(0)
    }

    /// The server, all its lives.
    pub fn server(&self) -> &Host {
        &self.server
    }

    /// The clients, in order.
    pub fn clients(&self) -> &[Host] {
        &self.clients
    }

    /// Connections open at the upstreams.
    pub fn open_at_upstreams(&self) -> usize {
        self.upstreams.iter().map(|upstream| upstream.open.get()).sum()
    }

    /// Visitors that have done all they will.
    pub fn visitors_done(&self) -> usize {
        self.done.get()
    }

    /// The plan it follows.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}
