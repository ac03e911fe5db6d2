//! The server: entries, registry, pool, and the door.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, atomic::AtomicU64},
};

use actix::{Actor, Addr};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::{
    Local, StartError,
    gateway::{self, House},
    listen,
    operators::Operators,
    ready,
};
use crate::{
    config::ServerConfig,
    entry::{
        self, http,
        tcp::{self, Slots},
    },
    env::{Env, Stop, StopPhase, Stopper},
    id::GroupName,
    pool::{self, conn::ConnPool},
    probe::{audit, mutant, sometimes},
    registry::{
        actor::{FindGroup, Grant, Registry, UsePool},
        door::{Door, Waiting},
        draining::{Drain, EndAll},
        groups::Found,
    },
    selector::{
        group::Group,
        setup::{Alone, Setup},
        target::Tunnel,
    },
    session::{actor::Desk, first_bytes::ReplayBudget, tunnel_probe::of_tunnels, way::Ways},
    time::{self, Duration},
    wire::preamble::Purpose,
};

/// Between two looks at whether a draining server is idle.
const IDLE_POLL: Duration = Duration::from_millis(20);

/// How long sessions and links may take to hear that they are reset, at the very end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A server whose addresses are bound and which accepts already.
pub struct Server {
    env: Env,
    config: ServerConfig,
    registry: Addr<Registry>,
    slots: Slots,
    doors: Vec<Local>,
    entries: Vec<Local>,
    /// Tells the connections of HTTP entries that those are closed.
    closing: Stopper,
    addresses: Addresses,
    /// Open to the very end: a drain is watched.
    _operators: Operators,
}

/// Where a server listens, with the ports that were taken.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Control connections.
    pub control: SocketAddr,
    /// Proxy connections.
    pub proxy: SocketAddr,
    /// Visitors, in the order of the configuration's entries.
    pub entries: Vec<SocketAddr>,
    /// Operators, for everything.
    pub admin: Option<SocketAddr>,
    /// Operators, for metrics alone.
    pub metrics: Option<SocketAddr>,
}

/// Runs a server until it is told to stop.
///
/// # Errors
/// [`StartError`] when an address is not to be had.
pub async fn run(config: ServerConfig, env: Env) -> Result<(), StartError> {
    Server::bind(config, env).await?.run().await;
    Ok(())
}

impl Server {
    /// Binds every address and starts accepting. Must run inside a `LocalSet`.
    ///
    /// # Errors
    /// [`StartError`] when an address is not to be had.
    pub async fn bind(config: ServerConfig, env: Env) -> Result<Self, StartError> {
        let shared_port = config.control == config.proxy && config.control.port() != 0;
        let control = listen(&env, "control", config.control).await?;
        let proxy = if shared_port {
            None
        } else {
            Some(listen(&env, "proxy", config.proxy).await?)
        };
        let proxy_address = proxy.as_ref().unwrap_or(&control).local_addr();
        let mut listeners = Vec::new();
        for entry in &config.entries {
            listeners.push(listen(&env, entry.name.as_str(), entry.listen).await?);
        }
        let mut addresses = Addresses {
            control: control.local_addr(),
            proxy: proxy_address,
            entries: listeners.iter().map(|listener| listener.local_addr()).collect(),
            admin: None,
            metrics: None,
        };

        let grant = Grant {
            proxy_port: proxy_address.port(),
            proxy_address: config.proxy_advertise.clone().unwrap_or_default(),
        };
        let boot = u64::from_le_bytes(env.entropy.bytes());
        let (registry, pool) = start_actors(&env, &config, boot, grant);
        // Before any client may come: who joins a group finds it as it is configured.
        let found = find_groups(&env, &config, &registry, &pool).await?;
        let door = Arc::new(Door {
            env: env.clone(),
            auth: config.auth.clone(),
            options: config.registry,
            handshake_timeout: config.link.handshake_timeout,
            registry: registry.clone(),
            pool: pool.clone(),
            waiting: Waiting::new(config.limits.unproven, config.limits.unproven_per_address),
        });
        let waiting = door.waiting.clone();
        let mut doors = Vec::new();
        match proxy {
            Some(proxy) => {
                doors.push(local(Arc::clone(&door).serve(control, &[Purpose::Control])));
                doors.push(local(door.serve(proxy, &[Purpose::Proxy, Purpose::Link])));
            }
            None => {
                let all = &[Purpose::Control, Purpose::Proxy, Purpose::Link];
                doors.push(local(door.serve(control, all)));
            }
        }

        let sessions_max = config.limits.sessions + usize::from(mutant!("session-limit-one-too-high"));
        let slots = Slots {
            sessions: Arc::new(Semaphore::new(sessions_max)),
            upstream_connections: Arc::new(Semaphore::new(config.limits.upstream_connections)),
            next: Arc::new(AtomicU64::new(1)),
        };
        let budget = ReplayBudget::new(config.limits.replay_bytes);
        let (mut entries, mut groups) = (Vec::new(), Vec::new());
        let (closing, closed) = Stop::channel();
        let ready = ready::readiness(&env, &config, &found);
        let chains = gateway::chains(&env, &config.rules)?;
        for ((entry, listener), mut found) in config.entries.iter().zip(listeners).zip(found) {
            groups.extend(found.values().map(|found| Arc::clone(&found.group)));
            if let entry::Kind::Http(options) = &entry.kind {
                let house = House {
                    env: &env,
                    config: &config,
                    registry: &registry,
                    pool: &pool,
                    budget: &budget,
                    slots: &slots,
                    closed: &closed,
                };
                let gateway = house.gateway(entry, options, found, &chains)?;
                let (name, options) = (entry.name.clone(), options.clone());
                let sessions = Arc::clone(&slots.sessions);
                entries.push(local(async move {
                    http::serve(listener, name.as_str(), Arc::new(gateway), options, sessions).await;
                }));
                continue;
            }
            let Some(Found { group, selector }) = found.remove(&entry.group) else {
                continue;
            };
            let strategy = config.groups.get(&entry.group).map(|group| group.balance);
            let desk = Desk {
                env: env.clone(),
                entry: entry.name.clone(),
                traffic: (env.metrics.entry_traffic).join(entry.name.as_str(), entry.group.as_str()),
                group,
                strategy: strategy.unwrap_or_default(),
                reports: selector.recipient(),
                options: entry.session,
                budget: budget.clone(),
                waiting_max: config.limits.waiting,
                ways: Ways::new(&env, &pool, registry.clone().recipient(), &entry.session),
                registry: registry.clone(),
                rng: RefCell::new(env.entropy.rng()),
            };
            entries.push(local(tcp::serve(listener, Rc::new(desk), slots.clone())));
        }
        watch_limits(&env, &config, waiting, (budget, &slots), groups);
        let operators = Operators::open(&env, config.admin, config.metrics, &ready).await?;
        (addresses.admin, addresses.metrics) = (operators.admin, operators.metrics);
        Ok(Self {
            env,
            config,
            registry,
            slots,
            doors,
            entries,
            closing,
            addresses,
            _operators: operators,
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Serves until told to stop, then drains.
    pub async fn run(mut self) {
        let mut stop = self.env.stop.clone();
        stop.reached(StopPhase::Draining).await;
        let drain = self.config.drain;
        info!(timeout = ?drain.timeout, "draining");
        let mut ending = stop.clone();
        tokio::select! {
            biased;
            () = ending.reached(StopPhase::Ending) => warn!("second signal: ending at once"),
            () = self.drain(drain.delay, drain.timeout) => {}
        }
        // The second signal may have come within the delay.
        self.closing.advance();
        self.registry.do_send(EndAll);
        // Resets travel by the sessions' own tasks; give them a moment, not a promise.
        let _ = time::within(LAST_WORDS, self.idle()).await;
        info!("stopped");
    }

    async fn drain(&mut self, delay: Duration, timeout: Duration) {
        if !delay.is_zero() && mutant!("drain-stops-accepting-at-once") {
            self.entries.clear();
        }
        if !delay.is_zero() && mutant!("doors-close-before-the-delay") {
            self.doors.clear();
        }
        time::sleep(delay).await;
        if !mutant!("entries-stay-open-in-drain") {
            self.entries.clear();
        }
        self.closing.advance();
        self.registry.do_send(Drain);
        if mutant!("drain-ends-sessions-at-once") {
            return;
        }
        if mutant!("drain-deadline-ignored") {
            self.idle().await;
        }
        if time::within(timeout, self.idle()).await.is_none() {
            sometimes!("drain-deadline-hit");
            let (limits, slots) = (self.config.limits, &self.slots);
            let sessions = used(&slots.sessions, limits.sessions);
            let upstream_connections = used(&slots.upstream_connections, limits.upstream_connections);
            warn!(
                sessions,
                upstream_connections, "drain deadline: resetting what still runs"
            );
        }
        self.doors.clear();
    }

    /// Waits until no session runs, and no connection of an HTTP entry is left on either side.
    async fn idle(&self) {
        let (limits, slots) = (self.config.limits, &self.slots);
        all_of(&slots.sessions, limits.sessions).await;
        // Without visitors nobody opens another.
        all_of(&slots.upstream_connections, limits.upstream_connections).await;
    }
}

/// Waits until each of `max` permits is free. Whoever waits to acquire them all would hold those that are, and the metrics
/// would show the limit as reached.
async fn all_of(permits: &Semaphore, max: usize) {
    while used(permits, max) > 0 {
        time::sleep(IDLE_POLL).await;
    }
}

/// How many of `max` permits are in use.
fn used(permits: &Semaphore, max: usize) -> usize {
    let free = permits.available_permits();
    audit!(free <= max, "no more is given back than was taken");
    max.saturating_sub(free)
}

/// The registry asks the pool, and the pool the registry: one is told of the other after the start.
fn start_actors(
    env: &Env,
    config: &ServerConfig,
    boot: u64,
    grant: Grant,
) -> (Addr<Registry>, Addr<ConnPool>) {
    let mut link = config.link;
    let needs_links = |entry: &entry::Options| entry.leads_to().any(|(_, session)| session.needs_links());
    if !config.entries.iter().any(needs_links) {
        link.links = 0;
    }
    let registry = Registry::new(env.clone(), boot, config.registry, link, grant).start();
    // Connections are kept per client, and a client may serve several groups: the widest wish counts.
    let widest = config
        .groups
        .values()
        .map(|group| group.pool)
        .reduce(|a, b| pool::Options {
            min: a.min.max(b.min),
            max: a.max.max(b.max),
            ..a
        });
    let pool = ConnPool::new(
        env.clone(),
        widest.unwrap_or_default(),
        registry.clone().recipient(),
    );
    let pool = pool.start();
    registry.do_send(UsePool(pool.clone()));
    (registry, pool)
}

/// The groups that each entry leads to, in the order of entries.
async fn find_groups(
    env: &Env,
    config: &ServerConfig,
    registry: &Addr<Registry>,
    pool: &Addr<ConnPool>,
) -> Result<Vec<BTreeMap<GroupName, Found>>, StartError> {
    let mut all = Vec::new();
    for entry in &config.entries {
        let mut found = BTreeMap::new();
        for (name, session) in entry.leads_to() {
            let options = config.groups.get(name).cloned().unwrap_or_default();
            let setup = Setup {
                probe: of_tunnels(
                    &Ways::new(env, pool, registry.clone().recipient(), session),
                    &options.probing.kind,
                ),
                selector: options.selector,
                probing: options.probing,
                scoring: options.scoring,
                // Whether a visitor would be served is known before the first one comes.
                alone: Alone::Always,
                ..Setup::default()
            };
            let group = FindGroup {
                name: name.clone(),
                setup,
            };
            let group = registry.send(group).await.map_err(|_| StartError::Stopped)?;
            found.insert(name.clone(), group);
        }
        all.push(found);
    }
    Ok(all)
}

/// Shows how near the server's limits are.
fn watch_limits(
    env: &Env,
    config: &ServerConfig,
    door: Waiting,
    (budget, slots): (ReplayBudget, &Slots),
    groups: Vec<Arc<Group<Tunnel>>>,
) {
    let (metrics, max) = (&env.metrics, config.limits);
    let (clients, limits) = (metrics.clients.clone(), &metrics.limits);
    let held = [
        ("sessions", max.sessions, &slots.sessions),
        (
            "upstream_connections",
            max.upstream_connections,
            &slots.upstream_connections,
        ),
    ];
    for (limit, max, permits) in held {
        let permits = Arc::clone(permits);
        limits.watch(limit, max, move || used(&permits, max));
    }
    limits.watch("clients", config.registry.clients_max, move || {
        usize::try_from(clients.get()).unwrap_or_default()
    });
    limits.watch("unproven", max.unproven, move || door.count());
    limits.watch("replay_bytes", max.replay_bytes, move || budget.used());
    // The limit is each group's own: the one that is nearest to it is shown.
    let fullest = move || groups.iter().map(|group| group.waiting()).max();
    limits.watch("waiting", max.waiting, move || fullest().unwrap_or_default());
}

fn local(future: impl Future<Output = ()> + 'static) -> Local {
    Local(tokio::task::spawn_local(future))
}
