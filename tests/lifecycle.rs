//! Clients that come, go, compete and come back; servers that stop and start again.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{collections::BTreeMap, io::ErrorKind, net::SocketAddr};

use adit::{
    backoff,
    config::ClientConfig,
    env::{Env, Stop},
    link::{
        self,
        connect::{Identity, register},
        framed::Framed,
    },
    role::server::Server,
    time::{self, Duration},
    wire::{
        handshake::Registered,
        message,
        proof::{LinkKey, Token},
    },
};
use support::{
    Mortal, RunningClient, RunningServer, TOKEN, client_config, echo, is_reset, named, read_until_broken,
    run, server_config, until, visit, with_pool,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A client that tries again at once.
fn eager(id: &str, control: SocketAddr, target: SocketAddr) -> ClientConfig {
    let (base, cap) = (Duration::from_millis(10), Duration::from_millis(50));
    ClientConfig {
        backoff: backoff::Options {
            base,
            cap,
            ..backoff::Options::default()
        },
        ..client_config(id, control, target)
    }
}

/// Who answered how often.
async fn census(public: SocketAddr, visitors: usize) -> BTreeMap<Vec<u8>, usize> {
    let mut counts = BTreeMap::new();
    let lanes: Vec<_> = (0..10)
        .map(|_| {
            tokio::task::spawn_local(async move {
                let mut names = Vec::new();
                for _ in 0..visitors / 10 {
                    names.push(visit(public, b"").await.unwrap());
                }
                names
            })
        })
        .collect();
    for lane in lanes {
        for name in lane.await.unwrap() {
            *counts.entry(name).or_default() += 1;
        }
    }
    counts
}

#[test]
fn a_client_that_joins_takes_its_share() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let _a = server.client("a", named("a").await);
        server.wait_for_clients(1).await;
        assert_eq!(census(server.public(), 20).await.len(), 1);
        let b = server.client("b", named("b").await);
        server.wait_for_clients(2).await;
        let counts = census(server.public(), 400).await;
        // 200 expected, standard deviation 10: 6 of them leave one failure in 10^9 runs.
        assert!((140..=260).contains(&counts[&b"b"[..]]), "{counts:?}");
        b.stopper.advance();
        b.task.await.unwrap();
        server.wait_for_clients(1).await;
        assert_eq!(
            census(server.public(), 20).await.len(),
            1,
            "one that left takes nothing"
        );
    });
}

#[test]
fn random_balancing_is_uniform() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let names = ["a", "b", "c"];
        let mut clients = Vec::new();
        for name in names {
            clients.push(server.client(name, named(name).await));
        }
        server.wait_for_clients(3).await;
        let counts = census(server.public(), 3_000).await;
        let deviation = |name: &&str| {
            let seen = counts.get(name.as_bytes()).copied().unwrap_or_default() as f64;
            (seen - 1_000.0).powi(2) / 1_000.0
        };
        let chi_square: f64 = names.iter().map(deviation).sum();
        // Two degrees of freedom: P(chi^2 > x) = exp(-x / 2), so 27.63 is one in a million.
        assert!(chi_square < 27.63, "{chi_square}: {counts:?}");
    });
}

#[test]
fn a_client_with_a_wrong_token_stays_out_and_keeps_trying() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let token = Token::new("not the token of this server").unwrap();
        let wrong = eager("a", server.addresses.control, echo().await);
        let _stranger = RunningClient::start(ClientConfig { token, ..wrong });
        until(|| server.metrics.handshake_failures.count("bad_proof") >= 3).await;
        assert_eq!(server.metrics.clients.get(), 0);
        assert_eq!(server.metrics.registrations.get(), 0);
        let _right = server.client("a", named("right").await);
        server.wait_for_clients(1).await;
        assert_eq!(visit(server.public(), b"").await.unwrap(), b"right");
    });
}

#[test]
fn a_second_client_of_the_same_id_is_refused_while_the_first_answers() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let _first = server.client("a", named("first").await);
        server.wait_for_clients(1).await;
        let _second = server.client("a", named("second").await);
        until(|| server.metrics.registrations_denied.count("duplicate_id") == 1).await;
        assert_eq!(server.metrics.clients.get(), 1);
        let counts = census(server.public(), 20).await;
        assert_eq!(counts.get(&b"first"[..]), Some(&20));
    });
}

/// Registers by hand: a client that does nothing unless told to.
async fn puppet(control: SocketAddr, previous: Option<&LinkKey>) -> (Framed, Registered) {
    let identity = Identity {
        client_id: "a".to_owned(),
        group: "default".to_owned(),
        upstreams: vec![message::Upstream {
            name: "main".to_owned(),
            group: String::new(),
        }],
        instance: [1; 16],
        token: Token::new(TOKEN).unwrap(),
    };
    let env = Env::production(Stop::channel().1);
    let options = link::Options::default();
    register(&env, &control.to_string(), &identity, previous, &options)
        .await
        .unwrap()
}

#[test]
fn a_client_that_stopped_answering_loses_its_id() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let stopped = puppet(server.addresses.control, None).await;
        server.wait_for_clients(1).await;
        let began = time::now();
        let _next = server.client("a", named("next").await);
        until(|| server.metrics.links_lost.count("taken_over") == 1).await;
        assert!(
            time::now() - began >= Duration::from_secs(1),
            "it had a second to answer"
        );
        assert_eq!(visit(server.public(), b"").await.unwrap(), b"next");
        assert_eq!(server.metrics.registrations_denied.count("duplicate_id"), 0);
        assert_eq!(server.metrics.clients.get(), 1);
        drop(stopped);
        assert_eq!(
            visit(server.public(), b"").await.unwrap(),
            b"next",
            "what it left behind ends nothing"
        );
        assert_eq!(server.metrics.clients.get(), 1);
    });
}

#[test]
fn the_same_process_always_comes_back() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let (_old, first) = puppet(server.addresses.control, None).await;
        let (_new, second) = puppet(server.addresses.control, Some(&first.key)).await;
        assert_eq!(first.epoch.boot(), second.epoch.boot());
        assert!(first.epoch < second.epoch);
        until(|| server.metrics.links_lost.count("replaced") == 1).await;
        assert_eq!(server.metrics.clients.get(), 1);
    });
}

/// A client that answers no heartbeat is dead after three intervals.
#[test]
fn a_silent_client_is_dropped() {
    run(|| async {
        let mut config = server_config();
        config.link.heartbeat = Duration::from_millis(100);
        let server = RunningServer::start(config).await;
        let _silent = puppet(server.addresses.control, None).await;
        server.wait_for_clients(1).await;
        until(|| server.metrics.links_lost.count("silent") == 1).await;
        server.wait_for_clients(0).await;
    });
}

#[test]
fn clients_come_back_to_a_server_that_was_killed() {
    run(|| async {
        let (victim, addresses) = Mortal::server(server_config()).await;
        let mut clients = Vec::new();
        for id in ["a", "b"] {
            clients.push(RunningClient::start(eager(
                id,
                addresses.control,
                named("back").await,
            )));
        }
        let public = addresses.entries[0];
        assert_eq!(visit(public, b"").await.unwrap(), b"back");
        victim.kill();
        let mut config = server_config();
        (config.control, config.proxy) = (addresses.control, addresses.proxy);
        config.entries[0].listen = public;
        let server = RunningServer::start(config).await;
        server.wait_for_clients(2).await;
        assert_eq!(visit(public, b"").await.unwrap(), b"back");
        assert_eq!(
            server.metrics.handshake_failures.count("claim"),
            0,
            "no ticket of the old one is used"
        );
    });
}

#[test]
fn a_draining_server_takes_nobody_new_and_finishes_what_runs() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let _client = server.client("a", echo().await);
        server.wait_for_clients(1).await;
        let mut visitor = TcpStream::connect(server.public()).await.unwrap();
        let mut buffer = [0; 5];
        visitor.write_all(b"hello").await.unwrap();
        visitor.read_exact(&mut buffer).await.unwrap();
        server.stopper.advance();
        // The entry closes when the drain begins, not in the same instant. Refused, not reset: the port is free.
        let mut attempts = 0;
        loop {
            match TcpStream::connect(server.public()).await {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => break,
                _ => attempts += 1,
            }
            assert!(attempts < 1_000, "a draining server takes no visitor");
            time::sleep(Duration::from_millis(2)).await;
        }
        for _ in 0..10 {
            visitor.write_all(b"still").await.unwrap();
            visitor.read_exact(&mut buffer).await.unwrap();
            assert_eq!(&buffer, b"still");
        }
        assert!(!server.task.is_finished(), "a session still runs");
        visitor.shutdown().await.unwrap();
        let mut rest = Vec::new();
        visitor.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
        server.task.await.unwrap();
        assert!(server.metrics.session_outcomes.count("completed") >= 1);
    });
}

#[test]
fn a_drain_has_a_deadline() {
    run(|| async {
        let mut config = server_config();
        config.drain.timeout = Duration::from_millis(200);
        let server = RunningServer::start(config).await;
        let _client = server.client("a", echo().await);
        server.wait_for_clients(1).await;
        let mut visitor = TcpStream::connect(server.public()).await.unwrap();
        visitor.write_all(b"hello").await.unwrap();
        visitor.read_exact(&mut [0; 5]).await.unwrap();
        server.stopper.advance();
        let error = read_until_broken(&mut visitor).await;
        assert!(is_reset(&error), "{error}");
        server.task.await.unwrap();
        assert_eq!(server.metrics.session_outcomes.count("shutdown"), 1);
    });
}

#[test]
fn a_second_signal_ends_at_once() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let _client = server.client("a", echo().await);
        server.wait_for_clients(1).await;
        let mut visitor = TcpStream::connect(server.public()).await.unwrap();
        visitor.write_all(b"hello").await.unwrap();
        visitor.read_exact(&mut [0; 5]).await.unwrap();
        server.stopper.advance();
        server.stopper.advance();
        assert!(is_reset(&read_until_broken(&mut visitor).await));
        server.task.await.unwrap();
    });
}

#[test]
fn a_draining_client_finishes_its_sessions_and_leaves_the_rest_to_others() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let leaving = server.client("a", echo().await);
        server.wait_for_clients(1).await;
        let mut visitor = TcpStream::connect(server.public()).await.unwrap();
        visitor.write_all(b"hello").await.unwrap();
        visitor.read_exact(&mut [0; 5]).await.unwrap();
        let _staying = server.client("b", named("b").await);
        server.wait_for_clients(2).await;
        leaving.stopper.advance();
        // Its drain has reached the server when its parked connections are gone.
        until(|| server.metrics.pool_discarded.count("retired") > 0).await;
        assert_eq!(census(server.public(), 20).await.get(&b"b"[..]), Some(&20));
        visitor.write_all(b"still").await.unwrap();
        let mut buffer = [0; 5];
        visitor.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"still");
        assert!(!leaving.task.is_finished());
        visitor.shutdown().await.unwrap();
        assert_eq!(visitor.read(&mut buffer).await.unwrap(), 0);
        leaving.task.await.unwrap();
    });
}

#[test]
fn a_client_serves_everybody_until_the_delay_of_its_drain_is_over() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let mut config = eager("a", server.addresses.control, named("a").await);
        config.drain.delay = Duration::from_secs(2);
        let leaving = RunningClient::start(config);
        server.wait_for_clients(1).await;
        leaving.stopper.advance();
        let began = time::now();
        let mut served = 0;
        while server.metrics.clients.get() > 0 && !leaving.task.is_finished() {
            if time::now() - began < Duration::from_millis(200) {
                assert_eq!(visit(server.public(), b"").await.unwrap(), b"a");
                served += 1;
            }
            time::sleep(Duration::from_millis(5)).await;
        }
        assert!(served > 0 && time::now() - began >= Duration::from_secs(2));
        leaving.task.await.unwrap();
    });
}

#[test]
fn a_second_signal_ends_a_client_within_the_delay_of_its_drain() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let mut config = eager("a", server.addresses.control, named("a").await);
        config.drain.delay = Duration::from_secs(3_600);
        let leaving = RunningClient::start(config);
        server.wait_for_clients(1).await;
        leaving.stopper.advance();
        leaving.stopper.advance();
        leaving.task.await.unwrap();
        until(|| server.metrics.clients.get() == 0).await;
    });
}

#[test]
fn a_stopped_server_gives_its_ports_back() {
    run(|| async {
        let server = RunningServer::start(with_pool(server_config(), 2, 8)).await;
        let addresses = server.addresses.clone();
        let _client = RunningClient::start(eager("a", addresses.control, named("a").await));
        server.wait_for_clients(1).await;
        assert_eq!(visit(server.public(), b"").await.unwrap(), b"a");
        server.stopper.advance();
        server.task.await.unwrap();
        let mut config = server_config();
        (config.control, config.proxy) = (addresses.control, addresses.proxy);
        config.entries[0].listen = addresses.entries[0];
        // The old listeners close when their tasks are dropped, a turn of the scheduler later.
        let next = loop {
            let (_, stop) = Stop::channel();
            match Server::bind(config.clone(), Env::production(stop)).await {
                Ok(server) => break server,
                Err(_) => time::sleep(Duration::from_millis(2)).await,
            }
        };
        tokio::task::spawn_local(next.run());
        assert_eq!(visit(addresses.entries[0], b"").await.unwrap(), b"a");
    });
}
