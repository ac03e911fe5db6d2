//! The connections to upstreams, through the tunnel: opened when needed, kept for the requests that follow.
//!
//! HTTP/1 carries one request at a time, so those that are free wait in a stack; HTTP/2 is shared by many. Each has a task
//! that moves its bytes. A client that leaves is not held up: what carries nothing for some seconds is closed.

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::body::TryBody;
use crate::{
    env::{Env, Task},
    probe::{mutant, sometimes},
    session::{
        open::{OpenError, Opener},
        tunnel_stream::{Progress, Stage, TunnelStream},
    },
    target::{Reach, Target, Tunnel},
    time::{self, Duration, Instant},
};

#[allow(
    clippy::disallowed_types,
    reason = "one lock per target, held for a push or a pop alone"
)]
type Lock<T> = std::sync::Mutex<T>;

/// How long a connection that carries nothing is kept. Below the 5 s after which many servers close theirs: whoever
/// writes as the other side closes may lose what it wrote.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// Looks in that time.
const LOOKS: usize = 4;

/// Free HTTP/1 connections kept for each target. More hold sockets of its upstream; fewer are opened anew.
const FREE_MAX: usize = 128;

/// Requests at once on one HTTP/2 connection. More share one window; fewer open more connections.
const SHARERS_MAX: usize = 100;

/// The age at which an HTTP/2 connection carries no new request, so that they spread again.
const SHARED_AGE_MAX: Duration = Duration::from_secs(300);

/// The windows of an HTTP/2 connection to an upstream: of one stream and of all. Those of the link below are narrower
/// until they have grown.
const WINDOWS: (u32, u32) = (1024 * 1024, 8 * 1024 * 1024);

type Key = <Tunnel as Reach>::Key;

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS and without a question (RFC 9113, section 3.3).
    Http2,
}

/// How a try ended without an answer.
#[derive(Debug)]
pub enum TryError {
    /// There is no connection.
    Open(OpenError),
    /// A connection that had carried others was closed before anything of this request was written.
    Stale,
    /// How far the request had come when it broke.
    Broken(Stage),
    /// No answer in time.
    Timeout,
}

/// The connections of one group.
#[derive(Default)]
pub struct Upstreams {
    targets: ArcSwap<BTreeMap<Key, Arc<Connections>>>,
}

/// The connections to one target.
#[derive(Default)]
pub struct Connections {
    free: Lock<Vec<Free>>,
    shared: Lock<Vec<Shared>>,
    /// One at a time opens a connection that many will share.
    opening: tokio::sync::Mutex<()>,
}

struct Free {
    alone: Alone,
    progress: Progress,
    since: Instant,
}

/// A connection that carries one request at a time, with the task that moves its bytes. Dropped while it is free, it
/// ends by itself; in the middle of something it is reset.
struct Alone {
    sender: http1::SendRequest<TryBody>,
    task: Option<Task>,
}

impl Alone {
    /// Whether the next request would be taken at once.
    fn is_free(&self) -> bool {
        self.sender.is_ready()
    }

    /// The task goes on for as long as it has something to do.
    fn leave(&mut self) {
        if let Some(task) = self.task.take() {
            task.detach();
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // A task that waits for what will not come would wait for ever.
        if self.is_free() {
            self.leave();
        }
    }
}

#[derive(Clone)]
struct Shared {
    sender: http2::SendRequest<TryBody>,
    progress: Progress,
    since: Instant,
    usage: Arc<Usage>,
}

/// How a shared connection is used.
#[derive(Default)]
struct Usage {
    sharers: AtomicUsize,
    /// Looks in a row at which there were none.
    quiet: AtomicUsize,
}

/// What a connection is wanted for.
pub struct Asked<'a> {
    /// Who opens new ones.
    pub opener: &'a Opener,
    /// Where to.
    pub target: &'a Arc<Target<Tunnel>>,
    /// What is spoken on it.
    pub speech: Speech,
    /// For whom.
    pub visitor: SocketAddr,
    /// Until when it has to be there.
    pub deadline: Instant,
    /// How long the client may take to connect its upstream, if not as long as sessions may.
    pub connect: Option<Duration>,
}

impl Asked<'_> {
    async fn open(&self) -> Result<TunnelStream, TryError> {
        let opened = self
            .opener
            .open(self.target, self.visitor, self.deadline, self.connect);
        opened.await.map_err(TryError::Open)
    }
}

/// The right to use a connection for one request.
pub struct Lease {
    connection: Connection,
    progress: Progress,
    /// It has carried others before.
    reused: bool,
    home: Arc<Connections>,
}

enum Connection {
    Alone(Alone),
    Shared(
        http2::SendRequest<TryBody>,
        #[allow(dead_code, reason = "counts while it lives")] Sharer,
    ),
}

/// Counts a request on a shared connection while it lives.
struct Sharer(Arc<Usage>);

impl Drop for Sharer {
    fn drop(&mut self) {
        self.0.sharers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Upstreams {
    /// The connections to `target`. Those of targets that are no more go when a new one comes.
    pub fn of(&self, target: &Target<Tunnel>, is_here: impl Fn(&Key) -> bool) -> Arc<Connections> {
        let key = target.key();
        if mutant!("all-targets-share-connections")
            && let Some(connections) = self.targets.load().values().next()
        {
            return Arc::clone(connections);
        }
        if let Some(connections) = self.targets.load().get(&key) {
            return Arc::clone(connections);
        }
        let new = Arc::<Connections>::default();
        self.targets.rcu(|targets| {
            let mut targets = BTreeMap::clone(targets);
            targets.retain(|key, _| is_here(key));
            targets.entry(key.clone()).or_insert_with(|| Arc::clone(&new));
            targets
        });
        self.targets.load().get(&key).map_or(new, Arc::clone)
    }
}

impl Connections {
    /// A connection for one request: one that is there, unless it has to be `fresh`, or a new one.
    pub async fn lease(self: &Arc<Self>, asked: &Asked<'_>, fresh: bool) -> Result<Lease, TryError> {
        let env = &asked.opener.env;
        match asked.speech {
            Speech::Http1 => {
                if !fresh && let Some(free) = self.take_free() {
                    return Ok(self.lend(Connection::Alone(free.alone), free.progress, true));
                }
                let stream = asked.open().await?;
                let progress = stream.progress();
                let (sender, connection) = http1::handshake(TokioIo::new(stream))
                    .await
                    .map_err(|_| TryError::Broken(progress.stage()))?;
                // Whoever waits for an answer hears of what went wrong.
                let run = async move { drop(connection.with_upgrades().await) };
                let task = Some(env.spawn(run));
                Ok(self.lend(Connection::Alone(Alone { sender, task }), progress, false))
            }
            Speech::Http2 => {
                if !fresh && let Some(lease) = self.share() {
                    return Ok(lease);
                }
                let left = asked.deadline.saturating_duration_since(time::now());
                let turn = time::within(left, self.opening.lock()).await;
                let _turn = turn.ok_or(TryError::Open(OpenError::NoWay))?;
                if !fresh && let Some(lease) = self.share() {
                    return Ok(lease);
                }
                let stream = asked.open().await?;
                let progress = stream.progress();
                let (sender, connection) = http2::Builder::new(Spawned(env.clone()))
                    .timer(TokioTimer::new())
                    .initial_stream_window_size(WINDOWS.0)
                    .initial_connection_window_size(WINDOWS.1)
                    .handshake(TokioIo::new(stream))
                    .await
                    .map_err(|_| TryError::Broken(progress.stage()))?;
                env.spawn(async move { drop(connection.await) }).detach();
                let shared = Shared {
                    sender,
                    progress,
                    since: time::now(),
                    usage: Arc::default(),
                };
                let lease = self.lend_shared(&shared, false);
                with(&self.shared, |all| all.push(shared));
                Ok(lease)
            }
        }
    }

    fn lend(self: &Arc<Self>, connection: Connection, progress: Progress, reused: bool) -> Lease {
        Lease {
            connection,
            progress,
            reused,
            home: Arc::clone(self),
        }
    }

    fn lend_shared(self: &Arc<Self>, shared: &Shared, reused: bool) -> Lease {
        shared.usage.sharers.fetch_add(1, Ordering::Relaxed);
        shared.usage.quiet.store(0, Ordering::Relaxed);
        let sharer = Sharer(Arc::clone(&shared.usage));
        let connection = Connection::Shared(shared.sender.clone(), sharer);
        self.lend(connection, shared.progress.clone(), reused)
    }

    /// The one that was used last. An answer may be over before its request is: such a one is not free yet, and hyper 1.12
    /// may forget to say when it is.
    fn take_free(&self) -> Option<Free> {
        let now = time::now();
        with(&self.free, |free| {
            let fits = |one: &Free| now - one.since < IDLE_MAX && one.alone.is_free();
            let last = free.iter().rposition(fits);
            let busy = |one: &Free| !one.alone.is_free() && !one.alone.sender.is_closed();
            sometimes!(
                last.is_none() && free.iter().any(busy),
                "kept-connection-was-busy"
            );
            Some(free.remove(last?))
        })
    }

    fn share(self: &Arc<Self>) -> Option<Lease> {
        let now = time::now();
        let shared = with(&self.shared, |all| {
            all.retain(|one| !one.sender.is_closed() && now - one.since < SHARED_AGE_MAX);
            let room = |one: &&Shared| one.usage.sharers.load(Ordering::Relaxed) < SHARERS_MAX;
            all.iter().find(room).cloned()
        })?;
        sometimes!(
            shared.usage.sharers.load(Ordering::Relaxed) > 0,
            "upstream-connection-shared"
        );
        Some(self.lend_shared(&shared, true))
    }

    /// Closes what has carried nothing for too long.
    fn retire(&self) {
        let now = time::now();
        if mutant!("idle-connections-kept-for-ever") {
            return;
        }
        with(&self.free, |free| {
            free.retain(|one| now - one.since < IDLE_MAX && !one.alone.sender.is_closed());
        });
        with(&self.shared, |all| {
            all.retain(|one| {
                let usage = &one.usage;
                let used = usage.sharers.load(Ordering::Relaxed) > 0;
                used || usage.quiet.fetch_add(1, Ordering::Relaxed) < LOOKS
            });
        });
    }
}

impl Upstreams {
    /// Closes what has carried nothing for too long, again and again.
    pub async fn retire_for_ever(self: Arc<Self>) {
        loop {
            time::sleep(IDLE_MAX / LOOKS as u32).await;
            for connections in self.targets.load().values() {
                connections.retire();
            }
        }
    }
}

impl Lease {
    /// Whether others have used the connection before.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// How far the connection has come.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Sends the request, and waits for the head of its answer.
    ///
    /// # Errors
    /// [`TryError`]; and whether nothing of the request was written.
    pub async fn send(
        mut self,
        request: Request<TryBody>,
        patience: Duration,
    ) -> Result<(Response<Incoming>, Kept), TryError> {
        let sent = time::within(patience, self.connection.send(request)).await;
        match sent {
            None => Err(TryError::Timeout),
            Some(Ok(response)) => Ok((response, Kept(self))),
            Some(Err(unwritten)) if unwritten && self.reused => Err(TryError::Stale),
            Some(Err(_)) => Err(TryError::Broken(self.progress.stage())),
        }
    }
}

impl Connection {
    /// # Errors
    /// Whether the request was not written at all.
    async fn send(&mut self, request: Request<TryBody>) -> Result<Response<Incoming>, bool> {
        let sent = match self {
            Self::Alone(Alone { sender, .. }) => {
                sender.ready().await.map_err(|_| true)?;
                sender.try_send_request(request).await
            }
            Self::Shared(sender, _) => {
                sender.ready().await.map_err(|_| true)?;
                sender.try_send_request(request).await
            }
        };
        sent.map_err(|mut error| error.take_message().is_some())
    }
}

/// A connection whose answer is being read.
pub struct Kept(Lease);

impl Kept {
    /// It has become something else, and is nobody's to give back.
    pub fn leave(mut self) {
        if let Connection::Alone(alone) = &mut self.0.connection {
            alone.leave();
        }
    }

    /// The answer has been read to its end: others may use the connection.
    pub fn give_back(self) {
        let Lease {
            connection,
            progress,
            home,
            ..
        } = self.0;
        let Connection::Alone(alone) = connection else {
            return;
        };
        if alone.sender.is_closed() {
            return;
        }
        let since = time::now();
        with(&home.free, |free| {
            if free.len() == FREE_MAX {
                free.retain(|one| !one.alone.sender.is_closed());
            }
            if free.len() < FREE_MAX {
                free.push(Free {
                    alone,
                    progress,
                    since,
                });
            }
        });
    }
}

fn with<T, R>(lock: &Lock<T>, work: impl FnOnce(&mut T) -> R) -> R {
    work(&mut lock.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Runs what HTTP/2 does beside its requests where the node's tasks run.
#[derive(Clone)]
pub struct Spawned(pub Env);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Spawned {
    fn execute(&self, future: F) {
        let future: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(future);
        self.0.spawn(future).detach();
    }
}
