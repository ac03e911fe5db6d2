//! A client's upstreams on real sockets: which of their addresses get the visitors, and what these notice when one dies
//! or moves.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use adit::{
    candidates::Candidate,
    config::{ClientConfig, GroupConfig, UpstreamConfig},
    env::{Env, Resolver, Stop, Stopper},
    id::UpstreamName,
    metrics::{Metrics, TargetState},
    pool, prober,
    role::client,
    selector,
    time::{self, Duration},
    transport::{BoxFuture, Listener, Stream, Transport, tcp::Tcp},
};
use support::{
    RunningServer, Service, any_port, ask, client_config, echo, group, nowhere, run, server_config, until,
    visit,
};
use tokio::task::JoinHandle;

/// A world of names, where some addresses swallow every packet.
#[derive(Clone, Default)]
struct World(Arc<RwLock<State>>);

#[derive(Default)]
struct State {
    names: BTreeMap<String, Vec<SocketAddr>>,
    questions: usize,
    silent: Vec<SocketAddr>,
}

impl World {
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn name(&self, name: &str, addresses: &[SocketAddr]) {
        self.with(|state| state.names.insert(name.to_owned(), addresses.to_vec()));
    }
}

impl Resolver for World {
    fn resolve(&self, authority: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let answer = self.with(|state| {
            state.questions += 1;
            state.names.get(&authority).cloned()
        });
        Box::pin(async move { answer.ok_or_else(|| io::Error::other("no such host")) })
    }
}

impl Transport for World {
    fn connect(&self, peer: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        if self.with(|state| state.silent.contains(&peer)) {
            return Box::pin(std::future::pending());
        }
        Tcp.connect(peer)
    }

    fn listen(&self, local: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        Tcp.listen(local)
    }
}

/// A running client.
struct Running {
    metrics: Arc<Metrics>,
    _stopper: Stopper,
    _task: JoinHandle<()>,
}

/// Starts a client in `world` whose upstream has those targets, and waits until `server` has it.
async fn start(
    server: &RunningServer,
    world: &World,
    targets: &[&str],
    change: impl FnOnce(&mut ClientConfig),
) -> Running {
    let (stopper, stop) = Stop::channel();
    let env = Env {
        resolver: Arc::new(world.clone()),
        transport: Arc::new(world.clone()),
        ..Env::production(stop)
    };
    let mut config = client_config("a", server.addresses.control, any_port());
    config.upstreams[0].targets = targets.iter().map(|target| Candidate::at(target)).collect();
    change(&mut config);
    let metrics = Arc::clone(&env.metrics);
    let task = tokio::task::spawn_local(async { client::run(config, env).await.unwrap() });
    server.wait_for_clients(1).await;
    Running {
        metrics,
        _stopper: stopper,
        _task: task,
    }
}

impl Running {
    /// The sample that begins with `head`.
    fn sample(&self, head: &str) -> Option<f64> {
        let text = self.metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(head));
        line.map(|value| value.trim().parse().unwrap())
    }

    fn is(&self, target: SocketAddr, state: TargetState) -> bool {
        let head = format!("adit_target_state{{group=\"upstream/main\",target=\"{target}\"}}");
        self.sample(&head) == Some(f64::from(state as u8))
    }
}

/// Times that pass in a test.
fn quick() -> GroupConfig {
    GroupConfig {
        selector: selector::Options {
            evaluation_interval: Duration::from_millis(200),
            slow_start: Duration::from_millis(500),
            switching: selector::Switching {
                min_dwell: Duration::from_millis(300),
                cooldown: Duration::from_millis(100),
                hold_off: HOLD_OFF,
                ..selector::Switching::default()
            },
            ..selector::Options::default()
        },
        probing: prober::Options {
            interval: Duration::from_millis(100),
            ..prober::Options::default()
        },
        pool: pool::Options::none(),
        ..GroupConfig::default()
    }
}

const HOLD_OFF: Duration = Duration::from_secs(2);

/// Tries that the server had to repeat elsewhere, or could not.
fn refused(server: &RunningServer) -> u64 {
    let metrics = &server.metrics;
    ["unreachable", "timeout"]
        .map(|reason| metrics.tries_failed.count(reason))
        .iter()
        .sum()
}

#[test]
fn an_address_that_dies_is_left_out_and_nobody_notices() {
    run(|| async {
        let services = [
            Service::start(1, any_port()).await,
            Service::start(2, any_port()).await,
            Service::start(3, any_port()).await,
        ];
        let targets = services.each_ref().map(|service| service.address.to_string());
        let server = RunningServer::start(server_config()).await;
        let targets: Vec<_> = targets.iter().map(String::as_str).collect();
        let client = start(&server, &World::default(), &targets, |config| {
            config.upstreams[0].choice = quick();
        })
        .await;
        let mut seen = [false; 3];
        while seen != [true; 3] {
            seen[usize::from(ask(server.public(), b"who?").await.unwrap()) - 1] = true;
        }
        let [mortal, second, third] = services;
        let alive = time::now();
        let died = mortal.kill().await;
        let mut visits = 0;
        while visits < 50 || !client.is(died, TargetState::Down) {
            let by = ask(server.public(), b"who is left?").await;
            assert_ne!(by.unwrap_or_else(|error| panic!("visitor {visits}: {error}")), 1);
            visits += 1;
        }
        let back = Service::start(1, died).await;
        while ask(server.public(), b"are you back?").await.unwrap() != 1 {}
        let out = time::now() - alive;
        assert!(out >= HOLD_OFF, "held off, and back after {out:?}");
        assert!(client.is(died, TargetState::Active));
        assert_eq!(refused(&server), 0, "the client found another address by itself");
        drop((back, second, third));
    });
}

#[test]
fn who_was_down_is_tried_when_all_others_are_in_vain() {
    run(|| async {
        let (one, other) = (
            Service::start(1, any_port()).await,
            Service::start(2, any_port()).await,
        );
        let server = RunningServer::start(server_config()).await;
        let targets = [&one, &other].map(|service| service.address.to_string());
        let client = start(
            &server,
            &World::default(),
            &[&targets[0], &targets[1]],
            |config| {
                config.upstreams[0].choice = quick();
            },
        )
        .await;
        until(|| client.is(one.address, TargetState::Active)).await;
        let one = one.kill().await;
        until(|| client.is(one, TargetState::Down)).await;
        // Nobody has asked yet whether it is back.
        let back = Service::start(1, one).await;
        let _ = other.kill().await;
        assert_eq!(ask(server.public(), b"anybody?").await.unwrap(), 1);
        assert_eq!(refused(&server), 0);
        drop(back);
    });
}

#[test]
fn a_service_that_moves_is_found_by_the_very_visitor_who_misses_it() {
    run(|| async {
        let (old, new) = (
            Service::start(1, any_port()).await,
            Service::start(2, any_port()).await,
        );
        let (world, server) = (World::default(), RunningServer::start(server_config()).await);
        world.name("service:1", &[old.address]);
        let client = start(&server, &world, &["service:1"], |_| {}).await;
        assert_eq!(ask(server.public(), b"where?").await.unwrap(), 1);
        world.name("service:1", &[new.address]);
        // Nobody asks while all is well.
        assert_eq!(ask(server.public(), b"where?").await.unwrap(), 1);
        assert_eq!(world.with(|state| state.questions), 1);
        let gone = old.kill().await;
        assert_eq!(ask(server.public(), b"and now?").await.unwrap(), 2);
        assert_eq!(world.with(|state| state.questions), 2);
        // It moves again, and where it was nothing answers any more, not even to refuse.
        let third = Service::start(3, any_port()).await;
        world.name("service:1", &[third.address]);
        world.with(|state| state.silent.push(new.address));
        assert_eq!(ask(server.public(), b"and then?").await.unwrap(), 3);
        assert_eq!(refused(&server), 0);
        assert!(!client.is(gone, TargetState::Active));
        drop((new, third));
    });
}

#[test]
fn visitors_are_refused_until_a_name_resolves() {
    run(|| async {
        let (world, server) = (World::default(), RunningServer::start(server_config()).await);
        let _client = start(&server, &world, &["service:1"], |_| {}).await;
        assert!(ask(server.public(), b"anybody?").await.is_err());
        assert!(server.metrics.tries_failed.count("unreachable") > 0);
        let service = Service::start(1, any_port()).await;
        world.name("service:1", &[service.address]);
        assert_eq!(ask(server.public(), b"and now?").await.unwrap(), 1);
        // What it was stays, when nobody can tell any more.
        world.with(|state| state.names.clear());
        assert_eq!(ask(server.public(), b"still there?").await.unwrap(), 1);
    });
}

#[test]
fn of_a_name_with_two_addresses_the_dead_one_costs_no_visitor() {
    run(|| async {
        let (world, server) = (World::default(), RunningServer::start(server_config()).await);
        let (dead, service) = (nowhere().await, Service::start(1, any_port()).await);
        world.name("localhost:1", &[dead, service.address]);
        let client = start(&server, &world, &["localhost:1"], |config| {
            config.upstreams[0].choice = quick();
        })
        .await;
        let mut visits = 0;
        while visits < 20 || !client.is(dead, TargetState::Down) {
            assert_eq!(ask(server.public(), b"hello").await.unwrap(), 1);
            visits += 1;
        }
        assert_eq!(refused(&server), 0);
    });
}

#[test]
fn a_lone_address_sees_its_visitors_and_nobody_else() {
    run(|| async {
        let accepted = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&accepted);
        let lone = support::upstream(move |stream| {
            seen.fetch_add(1, Ordering::Relaxed);
            support::answer(stream, 1)
        })
        .await;
        let server = RunningServer::start(server_config()).await;
        let rivals = [echo().await, echo().await];
        let client = start(&server, &World::default(), &[&lone.to_string()], |config| {
            config.upstreams[0].choice = quick();
            let targets = rivals.map(|rival| Candidate::at(&rival.to_string()));
            config.upstreams.push(UpstreamConfig {
                choice: quick(),
                ..UpstreamConfig::new(
                    UpstreamName::new("other").unwrap(),
                    group("other"),
                    targets.to_vec(),
                )
            });
        })
        .await;
        // The probes of others tell the time.
        let probes = |name: &str| {
            let head = format!("adit_probes_total{{group=\"upstream/{name}\",result=\"ok\"}}");
            client.sample(&head).unwrap_or_default()
        };
        until(|| probes("other") >= 10.0).await;
        for _ in 0..3 {
            assert_eq!(visit(server.public(), b"hi").await.unwrap(), b"\x01hi");
        }
        assert_eq!(probes("main"), 0.0);
        assert_eq!(accepted.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn connections_are_kept_ready_only_where_they_are_asked_for() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let service = Service::start(1, any_port()).await;
        let client = start(
            &server,
            &World::default(),
            &[&service.address.to_string()],
            |config| {
                config.upstreams[0].choice.pool.min = 2;
            },
        )
        .await;
        until(|| client.metrics.pool_parked.get() == 2).await;
        assert_eq!(ask(server.public(), b"at once").await.unwrap(), 1);
        assert_eq!(client.metrics.pool_hits.get(), 1);
    });
}
