//! The pool of streams to addresses, with its dialler, over a transport that the test holds the other end of.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, RwLock},
};

use actix::{Actor, Addr, Handler};
use adit::{
    env::{Env, Stop},
    pool::{
        Mode, Options,
        actor::{Add, FindStandings, Remove, Take},
        address::AddressPool,
        dial::{Dialled, connect, open_pool},
        shelf::Standing,
        slot::Mark,
    },
    time::{self, Duration, Instant},
    transport::Stream,
};
use support::{
    memory::{ENDED, GREETING, Memory},
    run_on, until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
};

/// Hears of every dial.
#[derive(Default)]
struct Ear(Arc<RwLock<Vec<(Instant, Dialled)>>>);

impl Actor for Ear {
    type Context = actix::Context<Self>;
}

impl Handler<Dialled> for Ear {
    type Result = ();

    fn handle(&mut self, dialled: Dialled, _: &mut Self::Context) {
        self.0.write().unwrap().push((time::now(), dialled));
    }
}

/// A pool with the one target [`target`].
struct World {
    env: Env,
    memory: Memory,
    pool: Addr<AddressPool>,
    heard: Arc<RwLock<Vec<(Instant, Dialled)>>>,
    _ear: Addr<Ear>,
}

/// On one worker: streams are numbered as they are dialled and taken as they arrive, which must be the same order.
fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    run_on(1, test);
}

fn target() -> SocketAddr {
    "192.0.2.1:443".parse().unwrap()
}

fn fixed(count: usize) -> Options {
    Options {
        min: count,
        max: count,
        ..Options::default()
    }
}

impl World {
    fn new(options: Options, failures: &[io::ErrorKind]) -> Self {
        let world = Self::without_targets(options);
        world.memory.with(|state| state.failures.extend(failures));
        world.pool.do_send(Add(target()));
        world
    }

    fn without_targets(options: Options) -> Self {
        let memory = Memory::default();
        let mut env = Env::production(Stop::channel().1);
        env.transport = Arc::new(memory.clone());
        let ear = Ear::default();
        let heard = Arc::clone(&ear.0);
        let ear = ear.start();
        let dialled = ear.downgrade().recipient();
        let pool = open_pool(&env, options, Duration::from_secs(1), dialled);
        Self {
            env,
            memory,
            pool,
            heard,
            _ear: ear,
        }
    }

    async fn wait_for_parked(&self, count: i64) {
        until(|| self.env.metrics.pool_parked.get() == count).await;
    }

    fn ask(&self, wait: bool) -> oneshot::Receiver<Box<dyn Stream>> {
        let (reply, stream) = oneshot::channel();
        self.pool.do_send(Take {
            key: target(),
            wait,
            deadline: time::now() + Duration::from_secs(20),
            reply,
        });
        stream
    }

    async fn take(&self) -> Option<Box<dyn Stream>> {
        self.ask(false).await.ok()
    }

    async fn standing(&self) -> Option<Standing> {
        let standings = self.pool.send(FindStandings::default()).await.unwrap();
        standings
            .into_iter()
            .find(|(at, _)| *at == target())
            .map(|(_, standing)| standing)
    }

    /// Hits and misses.
    fn takes(&self) -> (u64, u64) {
        let metrics = &self.env.metrics;
        (metrics.pool_hits.get(), metrics.pool_misses.get())
    }

    fn discarded(&self, cause: &'static str) -> u64 {
        self.env.metrics.pool_discarded.count(cause)
    }
}

#[test]
fn a_parked_stream_is_given_once_and_replaced() {
    run(|| async {
        let world = World::new(fixed(2), &[]);
        world.wait_for_parked(2).await;
        let mut stream = world.take().await.expect("one was parked");
        until(|| world.takes() == (1, 0)).await;
        let mut far = world.memory.far(1);
        stream.write_all(b"to the warmest").await.unwrap();
        let mut heard = [0; 14];
        far.pipe.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"to the warmest");
        until(|| world.memory.dialled() == 3).await;
        world.wait_for_parked(2).await;
        drop(stream);
        assert_eq!(
            far.pipe.read(&mut heard).await.unwrap(),
            0,
            "it does not come back"
        );
        assert_eq!(world.memory.dialled(), 3);
    });
}

#[test]
fn who_does_not_wait_hears_at_once_that_there_is_none() {
    run(|| async {
        let options = Options {
            mode: Mode::Dynamic,
            min: 0,
            max: 8,
            ..Options::default()
        };
        let world = World::new(options, &[]);
        assert!(world.take().await.is_none());
        assert_eq!(world.takes(), (0, 1));
        // But the next one finds one.
        until(|| world.env.metrics.pool_parked.get() > 0).await;
        assert!(world.take().await.is_some());
        until(|| world.takes() == (1, 1)).await;
    });
}

#[test]
fn who_waits_gets_the_next_that_arrives() {
    run(|| async {
        let world = World::new(fixed(1), &[io::ErrorKind::ConnectionRefused]);
        let stream = world.ask(true).await;
        assert!(stream.is_ok());
        until(|| !world.heard.read().unwrap().is_empty()).await;
        assert_eq!(world.takes(), (0, 1), "a wait is no hit");
    });
}

#[test]
fn who_waits_is_refused_at_its_deadline() {
    run(|| async {
        let world = World::without_targets(fixed(1));
        world.memory.with(|state| state.is_silent = true);
        world.pool.do_send(Add(target()));
        let (reply, stream) = oneshot::channel();
        world.pool.do_send(Take {
            key: target(),
            wait: true,
            deadline: time::now() + Duration::from_millis(30),
            reply,
        });
        assert!(stream.await.is_err());
        until(|| !world.heard.read().unwrap().is_empty()).await;
        let result = world.heard.read().unwrap()[0].1.result;
        assert_eq!(result, Err(io::ErrorKind::TimedOut));
    });
}

#[test]
fn a_stream_that_died_is_never_given() {
    run(|| async {
        let world = World::new(fixed(3), &[]);
        world.wait_for_parked(3).await;
        world.memory.with(|state| state.is_silent = true);
        // Dead, and only the look in the moment of taking finds out: twice, then the third is given.
        world.memory.set(2, ENDED);
        world.memory.set(1, ENDED);
        let mut stream = world.take().await.expect("one was alive");
        stream.write_all(b"x").await.unwrap();
        let mut far = world.memory.far(0);
        far.pipe.read_exact(&mut [0]).await.unwrap();
        until(|| world.takes() == (1, 0) && world.discarded("closed") == 2).await;
    });
}

#[test]
fn who_finds_only_dead_streams_hears_that_there_is_none() {
    run(|| async {
        let world = World::new(fixed(3), &[]);
        world.wait_for_parked(3).await;
        world.memory.with(|state| state.is_silent = true);
        for number in 0..3 {
            world.memory.set(number, ENDED);
        }
        assert!(world.take().await.is_none());
        assert_eq!(world.takes(), (0, 1));
        assert_eq!(world.discarded("closed"), 3);
    });
}

#[test]
fn a_stream_whose_target_leaves_is_replaced() {
    run(|| async {
        let world = World::new(fixed(2), &[]);
        world.wait_for_parked(2).await;
        drop(world.memory.far(0));
        until(|| world.discarded("closed") == 1 && world.memory.dialled() == 3).await;
        world.wait_for_parked(2).await;
        assert_eq!(world.standing().await.unwrap().mark, None);
        // Again, and one that was opened since: it does not like to wait.
        drop(world.memory.far(2));
        until(|| world.discarded("closed") == 2).await;
        world.wait_for_parked(0).await;
        assert_eq!(world.standing().await.unwrap().mark, Some(Mark::ShortIdle));
        assert!(world.take().await.is_none());
        assert_eq!(world.memory.dialled(), 3);
    });
}

#[test]
fn nothing_is_kept_of_a_target_that_speaks_first() {
    run(|| async {
        let world = World::new(fixed(2), &[]);
        world.wait_for_parked(2).await;
        let mut far = world.memory.far(0);
        far.pipe.write_all(b"SSH-2.0-\r\n").await.unwrap();
        world.wait_for_parked(0).await;
        assert_eq!(world.standing().await.unwrap().mark, Some(Mark::SpeaksFirst));
        assert_eq!(world.standing().await.unwrap().wanted, 0);
        until(|| world.discarded("retired") == 2).await;
        assert!(world.take().await.is_none());
        assert_eq!(world.takes(), (0, 1));
        assert_eq!(world.memory.dialled(), 2);
    });
}

#[test]
fn a_greeting_that_is_found_in_the_last_moment_is_not_lost() {
    run(|| async {
        let world = World::new(fixed(1), &[]);
        world.wait_for_parked(1).await;
        world.memory.set(0, GREETING);
        let mut stream = world.take().await.expect("it is alive");
        let mut far = world.memory.far(0);
        far.pipe.write_all(b"world").await.unwrap();
        let mut said = [0; 11];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"hello world");
        assert_eq!(world.standing().await.unwrap().mark, Some(Mark::SpeaksFirst));
        until(|| world.takes() == (1, 0)).await;
    });
}

#[test]
fn a_stream_that_waited_too_long_is_replaced() {
    run(|| async {
        let options = Options {
            max_age: Some(Duration::from_millis(50)),
            ..fixed(2)
        };
        let world = World::new(options, &[]);
        let begin = time::now();
        until(|| world.discarded("retired") >= 4).await;
        assert!(
            time::now() - begin >= Duration::from_millis(80),
            "two lives of at least 40 ms"
        );
        let mut first = world.memory.far(0);
        assert_eq!(first.pipe.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(
            world.standing().await.unwrap().mark,
            None,
            "that was the pool's own doing"
        );
        world.wait_for_parked(2).await;
    });
}

#[test]
fn a_target_that_is_removed_keeps_nothing() {
    run(|| async {
        let world = World::new(fixed(3), &[]);
        world.wait_for_parked(3).await;
        world.pool.do_send(Remove(target()));
        world.wait_for_parked(0).await;
        for number in 0..3 {
            assert_eq!(world.memory.far(number).pipe.read(&mut [0]).await.unwrap(), 0);
        }
        assert!(world.take().await.is_none());
        assert_eq!(world.standing().await, None);
        assert_eq!(world.memory.dialled(), 3);
        // It may come back.
        world.pool.do_send(Add(target()));
        world.wait_for_parked(3).await;
    });
}

#[test]
fn a_target_that_cannot_be_reached_is_dialled_less_and_less_often() {
    run(|| async {
        let refused = io::ErrorKind::ConnectionRefused;
        let world = World::new(fixed(1), &[refused; 3]);
        world.wait_for_parked(1).await;
        until(|| world.heard.read().unwrap().len() == 4).await;
        let heard = world.heard.read().unwrap();
        let results: Vec<_> = heard.iter().map(|(_, dialled)| dialled.result.err()).collect();
        assert_eq!(results, [Some(refused), Some(refused), Some(refused), None]);
        assert!(heard.iter().all(|(_, dialled)| dialled.addr == target()));
        for (n, least) in [200, 400, 800].into_iter().enumerate() {
            let pause = heard[n + 1].0 - heard[n].0;
            // The clock of the actor's timer counts in milliseconds.
            assert!(
                pause >= Duration::from_millis(least - 5),
                "{pause:?} after {n} failures"
            );
        }
    });
}

#[test]
fn a_pool_that_nobody_uses_any_more_ends() {
    run(|| async {
        let world = World::new(fixed(3), &[]);
        world.wait_for_parked(3).await;
        let World {
            memory, env, pool, ..
        } = world;
        let (metrics, weak) = (Arc::clone(&env.metrics), pool.downgrade());
        drop(pool);
        until(|| weak.upgrade().is_none()).await;
        for number in 0..3 {
            assert_eq!(memory.far(number).pipe.read(&mut [0]).await.unwrap(), 0);
        }
        assert_eq!(metrics.pool_parked.get(), 0);
    });
}

#[test]
fn ten_thousand_targets_that_nobody_visits_cost_nothing() {
    run(|| async {
        let options = Options {
            mode: Mode::Dynamic,
            min: 0,
            max: 8,
            ..Options::default()
        };
        let world = World::without_targets(options);
        for n in 0..10_000u16 {
            world.pool.do_send(Add(SocketAddr::from(([192, 0, 2, 1], n))));
        }
        let standings = world.pool.send(FindStandings::default()).await.unwrap();
        assert_eq!(standings.len(), 10_000);
        assert_eq!(world.memory.dialled(), 0);
        assert!(world.take().await.is_none());
        until(|| world.memory.dialled() > 0).await;
    });
}

#[test]
fn a_direct_dial_has_its_deadline() {
    run(|| async {
        let world = World::without_targets(fixed(1));
        let patience = Duration::from_millis(20);
        let (_, took) = connect(&world.env, target(), Duration::from_secs(1))
            .await
            .unwrap();
        assert!(took < Duration::from_secs(1));
        let refused = io::ErrorKind::ConnectionRefused;
        world.memory.with(|state| state.failures.push_back(refused));
        let failed = connect(&world.env, target(), patience).await.err().unwrap();
        assert_eq!(failed.kind(), refused);
        world.memory.with(|state| state.is_silent = true);
        let failed = connect(&world.env, target(), patience).await.err().unwrap();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
    });
}
