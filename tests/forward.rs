//! A forwarder on real sockets: who gets the visitors, and what they notice when that changes.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use adit::{
    config::{ForwardConfig, ForwardFlags, Source, build_forward},
    env::{Env, Stop, Stopper},
    role::forward::Forwarder,
    selector::journal::Decision,
    time::{self, Duration},
    transport::{BoxFuture, Listener, Stream, Transport, tcp::Tcp},
};
use support::{Service, answer, any_port, ask, is_reset, run, until, upstream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// How connecting to an address goes.
#[derive(Clone, Copy)]
enum Way {
    /// So much later than it would.
    Slow(Duration),
    /// Every other time it fails.
    Lame,
    /// The first of them, so many, come to no end.
    Silent(usize),
}

/// The real network, with some ways spoilt.
struct Spoilt {
    ways: BTreeMap<SocketAddr, Way>,
    connects: AtomicUsize,
}

impl Transport for Spoilt {
    fn connect(&self, peer: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let connecting = Tcp.connect(peer);
        match self.ways.get(&peer) {
            Some(Way::Slow(more)) => {
                let more = *more;
                Box::pin(async move {
                    time::sleep(more).await;
                    connecting.await
                })
            }
            Some(Way::Lame) if self.connects.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) => {
                Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
            }
            Some(Way::Silent(first)) if self.connects.fetch_add(1, Ordering::Relaxed) < *first => {
                Box::pin(std::future::pending())
            }
            _ => connecting,
        }
    }

    fn listen(&self, local: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        Tcp.listen(local)
    }
}

struct Running {
    address: SocketAddr,
    stopper: Stopper,
    task: JoinHandle<()>,
    journal: Box<dyn Fn() -> BoxFuture<'static, Vec<Decision>>>,
}

fn config(candidates: &[SocketAddr], keys: &str) -> ForwardConfig {
    let list: Vec<_> = candidates.iter().map(|at| format!("\"{at}\"")).collect();
    let text = format!(
        "server: {{ listen_addr: \"127.0.0.1:0\" }}\nmetrics: {{ listen: off }}\ncandidates: {{ addresses: [{}] }}\n{keys}",
        list.join(", ")
    );
    let source = Source::parse_named(Path::new("forward.yaml"), &text).unwrap();
    let checked = build_forward(&source, &ForwardFlags::default(), &|_| None).unwrap();
    checked.config
}

async fn start(config: ForwardConfig, ways: &[(SocketAddr, Way)]) -> Running {
    let (stopper, stop) = Stop::channel();
    let env = Env {
        transport: Arc::new(Spoilt {
            ways: ways.iter().copied().collect(),
            connects: AtomicUsize::new(0),
        }),
        ..Env::production(stop)
    };
    let forwarder = Forwarder::bind(config, env).await.unwrap();
    let address = forwarder.address();
    let selector = forwarder.selector();
    Running {
        address,
        stopper,
        journal: Box::new(move || {
            let asked = selector.send(adit::selector::actor::ReadJournal);
            Box::pin(async move { asked.await.unwrap() })
        }),
        task: tokio::task::spawn_local(forwarder.run()),
    }
}

/// Times that pass in a test.
const QUICK: &str = "\
probing: { interval: 100ms, timeout: 500ms }
selector:
  active_set_size: 1
  evaluation_interval: 200ms
  slow_start: 500ms
  switching: { hysteresis: 20%, min_dwell: 300ms, cooldown: 100ms, hold_off: 2s }
";

#[test]
fn the_best_gets_the_visitors_and_the_next_best_when_it_dies() {
    run(|| async {
        let (slow, lame, good) = (
            Service::start(1, any_port()).await,
            Service::start(2, any_port()).await,
            Service::start(3, any_port()).await,
        );
        let ways = [
            (slow.address, Way::Slow(Duration::from_millis(50))),
            (lame.address, Way::Lame),
        ];
        let forwarder = start(config(&[slow.address, lame.address, good.address], QUICK), &ways).await;
        // No visitor fails while it is being found out.
        let mut in_a_row = 0;
        while in_a_row < 20 {
            let by = ask(forwarder.address, b"who is best?").await.unwrap();
            in_a_row = if by == 3 { in_a_row + 1 } else { 0 };
        }
        let good = good.kill().await;
        for n in 0..50 {
            let by = ask(forwarder.address, b"who is next?").await;
            assert_ne!(by.unwrap_or_else(|error| panic!("visitor {n}: {error}")), 3);
        }
        let back = Service::start(3, good).await;
        let mut by = 0;
        while by != 3 {
            by = ask(forwarder.address, b"are you back?").await.unwrap();
        }
        let journal = (forwarder.journal)().await;
        journal.iter().for_each(|decision| println!("{decision}"));
        let name = good.to_string();
        let of = |wanted: &str| {
            let hit = |decision: &&Decision| decision.to_string().starts_with(&format!("{wanted} {name}"));
            journal
                .iter()
                .rev()
                .find(hit)
                .unwrap_or_else(|| panic!("{wanted} {name} is in the journal"))
                .at
        };
        let out = of("added") - of("removed");
        assert!(out >= Duration::from_secs(2), "held off, and back after {out:?}");
        drop((slow, lame, back));
    });
}

#[test]
fn a_slow_one_of_three_gets_no_visitors_and_keeps_no_streams() {
    run(|| async {
        let open = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&open);
        let slow = upstream(move |stream| {
            let open = Arc::clone(&counted);
            async move {
                open.fetch_add(1, Ordering::Relaxed);
                answer(stream, 1).await;
                open.fetch_sub(1, Ordering::Relaxed);
            }
        })
        .await;
        let (one, other) = (
            Service::start(2, any_port()).await,
            Service::start(3, any_port()).await,
        );
        // Members stay for a minute otherwise, and there is room for all.
        let keys = "probing: { interval: 100ms, timeout: 1s }\nselector: { active_set_size: all, evaluation_interval: 300ms }";
        let ways = [(slow, Way::Slow(Duration::from_millis(400)))];
        let forwarder = start(config(&[slow, one.address, other.address], keys), &ways).await;
        until(|| open.load(Ordering::Relaxed) > 0).await;
        let left_out = format!("removed {slow}: low score");
        let is_out =
            |journal: Vec<Decision>| journal.iter().any(|one| one.to_string().starts_with(&left_out));
        while !is_out((forwarder.journal)().await) {
            time::sleep(Duration::from_millis(2)).await;
        }
        // A probe opens one now and then, and closes it at once.
        until(|| open.load(Ordering::Relaxed) == 0).await;
        for _ in 0..50 {
            assert_ne!(ask(forwarder.address, b"who is there?").await.unwrap(), 1);
        }
        drop((one, other));
    });
}

/// Only sessions tell how candidates do, and none is dialled but for a visitor.
const UNPROBED: &str =
    "balance: round_robin\nprobing: { kind: off }\npools: { mode: fixed, min: 0, max: 1 }\n";

#[test]
fn who_never_answers_delays_nobody_for_long() {
    run(|| async {
        let (deaf, good) = (
            Service::start(1, any_port()).await,
            Service::start(2, any_port()).await,
        );
        let day = "session: { connect_timeout: 1day, start_timeout: 1day }";
        let config = config(&[deaf.address, good.address], &format!("{UNPROBED}{day}"));
        let forwarder = start(config, &[(deaf.address, Way::Silent(usize::MAX))]).await;
        for _ in 0..4 {
            assert_eq!(ask(forwarder.address, b"anybody?").await.unwrap(), 2);
        }
        drop((deaf, good));
    });
}

#[test]
fn many_that_never_answer_hide_nobody_who_does() {
    run(|| async {
        let (mut deaf, good) = (Vec::new(), Service::start(9, any_port()).await);
        for number in 0..5 {
            deaf.push(Service::start(number, any_port()).await);
        }
        let ways: Vec<_> = deaf
            .iter()
            .map(|one| (one.address, Way::Silent(usize::MAX)))
            .collect();
        let all: Vec<_> = ways
            .iter()
            .map(|(address, _)| *address)
            .chain([good.address])
            .collect();
        let day =
            "session: { connect_timeout: 1day, start_timeout: 1day }\nselector: { active_set_size: all }";
        let forwarder = start(config(&all, &format!("{UNPROBED}{day}")), &ways).await;
        for _ in 0..2 {
            assert_eq!(ask(forwarder.address, b"anybody?").await.unwrap(), 9);
        }
        drop((deaf, good));
    });
}

#[test]
fn who_is_always_overtaken_is_put_out() {
    run(|| async {
        let (deaf, good) = (
            Service::start(1, any_port()).await,
            Service::start(2, any_port()).await,
        );
        let quick = "session: { connect_timeout: 500ms }";
        let config = config(&[deaf.address, good.address], &format!("{UNPROBED}{quick}"));
        let forwarder = start(config, &[(deaf.address, Way::Silent(usize::MAX))]).await;
        let removed = format!("removed {}: failing", deaf.address);
        let is_out = |journal: Vec<Decision>| journal.iter().any(|one| one.to_string().starts_with(&removed));
        while !is_out((forwarder.journal)().await) {
            assert_eq!(ask(forwarder.address, b"anybody?").await.unwrap(), 2);
        }
        drop((deaf, good));
    });
}

#[test]
fn a_visitor_outlives_a_lost_packet() {
    run(|| async {
        let only = Service::start(1, any_port()).await;
        let quick = "session: { connect_timeout: 50ms }";
        let config = config(&[only.address], &format!("{UNPROBED}{quick}"));
        let forwarder = start(config, &[(only.address, Way::Silent(2))]).await;
        assert_eq!(ask(forwarder.address, b"there?").await.unwrap(), 1);
        drop(only);
    });
}

#[test]
fn a_stream_that_died_while_it_waited_costs_no_visitor() {
    run(|| async {
        let service = Service::start(1, any_port()).await;
        let keys = "pools: { mode: fixed, min: 8 }\nprobing: { kind: off }";
        let forwarder = start(config(&[service.address], keys), &[]).await;
        assert_eq!(ask(forwarder.address, b"still there?").await.unwrap(), 1);
        let at = service.kill().await;
        let again = Service::start(2, at).await;
        for _ in 0..20 {
            assert_eq!(ask(forwarder.address, b"and now?").await.unwrap(), 2);
        }
        drop(again);
    });
}

#[test]
fn what_was_said_on_a_stream_that_had_waited_too_long_is_said_again() {
    run(|| async {
        let listener = TcpListener::bind(any_port()).await.unwrap();
        let keys = "pools: { mode: fixed, min: 1 }\nprobing: { kind: off }";
        let forwarder = start(config(&[listener.local_addr().unwrap()], keys), &[]).await;
        let (mut waited, _) = listener.accept().await.unwrap();
        let visitor = tokio::task::spawn_local(ask(forwarder.address, b"anybody?"));
        let mut fresh = tokio::task::JoinSet::new();
        let leaving = async {
            // It leaves in the moment it is spoken to, as one does whose patience has just ended.
            let _ = waited.read_exact(&mut [0]).await;
            drop(waited);
        };
        let answering = async {
            loop {
                fresh.spawn_local(answer(listener.accept().await.unwrap().0, 7));
            }
        };
        tokio::select! {
            by = visitor => assert_eq!(by.unwrap().unwrap(), 7),
            // Who comes before the stream is known to be warm is answered on another.
            () = async { tokio::join!(leaving, answering); } => {}
        }
    });
}

#[test]
fn a_reset_reaches_the_other_side() {
    run(|| async {
        let listener = TcpListener::bind(any_port()).await.unwrap();
        let keys = "pools: { mode: fixed, min: 0 }\nprobing: { kind: off }";
        let forwarder = start(config(&[listener.local_addr().unwrap()], keys), &[]).await;
        let mut visitor = TcpStream::connect(forwarder.address).await.unwrap();
        visitor.write_all(b"hello").await.unwrap();
        let (mut upstream, _) = listener.accept().await.unwrap();
        upstream.read_exact(&mut [0; 5]).await.unwrap();
        upstream.write_all(b"hi").await.unwrap();
        visitor.read_exact(&mut [0; 2]).await.unwrap();
        support::reset(upstream);
        let error = support::read_until_broken(&mut visitor).await;
        assert!(is_reset(&error), "{error}");

        let visitor = TcpStream::connect(forwarder.address).await.unwrap();
        let (mut upstream, _) = listener.accept().await.unwrap();
        support::reset(visitor);
        let error = support::read_until_broken(&mut upstream).await;
        assert!(is_reset(&error), "{error}");
    });
}

#[test]
fn nobody_to_reach_is_a_reset_and_never_an_empty_answer() {
    run(|| async {
        let nowhere = support::nowhere().await;
        let forwarder = start(config(&[nowhere], ""), &[]).await;
        // The reset may be there before connecting is over.
        let error = match TcpStream::connect(forwarder.address).await {
            Ok(mut visitor) => support::read_until_broken(&mut visitor).await,
            Err(error) => error,
        };
        assert!(is_reset(&error), "{error}");
    });
}

#[test]
fn a_drain_lets_sessions_finish_and_takes_no_more() {
    run(|| async {
        let service = Service::start(1, any_port()).await;
        let forwarder = start(config(&[service.address], ""), &[]).await;
        let mut visitor = TcpStream::connect(forwarder.address).await.unwrap();
        visitor.write_all(b"slowly").await.unwrap();
        assert_eq!(ask(forwarder.address, b"another").await.unwrap(), 1);
        forwarder.stopper.advance();
        let address = forwarder.address;
        let refused = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&refused);
        let knocking = tokio::task::spawn_local(async move {
            while TcpStream::connect(address).await.is_ok() {
                time::sleep(Duration::from_millis(2)).await;
            }
            seen.store(1, Ordering::Relaxed);
        });
        until(|| refused.load(Ordering::Relaxed) == 1).await;
        assert!(!forwarder.task.is_finished(), "a session still runs");
        visitor.shutdown().await.unwrap();
        let mut answer = Vec::new();
        visitor.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"\x01slowly");
        forwarder.task.await.unwrap();
        knocking.await.unwrap();
    });
}
