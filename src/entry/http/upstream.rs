//! The connections to upstreams, through the tunnel: opened when needed, kept for the requests that follow.
//!
//! HTTP/1 carries one request at a time, so those that are free wait in a stack, and whoever uses one moves its bytes in
//! its own task. HTTP/2 is shared by many, and has a task. A client that leaves is not held up: what carries nothing for
//! some seconds is closed.

use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
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
    env::Env,
    session::{
        open::{OpenError, Opener},
        tunnel_stream::{Progress, Stage},
    },
    target::{Reach, Target, Tunnel},
    time::{self, Duration, Instant},
    transport::BoxFuture,
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
    alone: Box<Alone>,
    progress: Progress,
    since: Instant,
}

/// A connection of HTTP/1, and what moves its bytes.
struct Alone {
    sender: http1::SendRequest<TryBody>,
    /// `None` where a task moves them, or where there are none to come.
    driver: Option<BoxFuture<'static, ()>>,
}

impl Alone {
    /// Moves what can be moved.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(cx).is_ready()
        {
            self.driver = None;
        }
    }

    /// Whether it can carry another request.
    fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Ends it as is proper, in a task of its own.
    fn close(self, env: &Env) {
        drop(self.sender);
        if let Some(driver) = self.driver {
            env.spawn(driver).detach();
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

/// The right to use a connection for one request.
pub struct Lease {
    connection: Connection,
    progress: Progress,
    /// It has carried others before.
    reused: bool,
    home: Arc<Connections>,
}

enum Connection {
    Alone(Box<Alone>),
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
    pub async fn lease(
        self: &Arc<Self>,
        opener: &Opener,
        target: &Arc<Target<Tunnel>>,
        speech: Speech,
        visitor: SocketAddr,
        deadline: Instant,
        fresh: bool,
    ) -> Result<Lease, TryError> {
        match speech {
            Speech::Http1 => {
                if let Some(free) = if fresh { None } else { self.take_free(&opener.env) } {
                    return Ok(self.lend(Connection::Alone(free.alone), free.progress, true));
                }
                let stream = opener
                    .open(target, visitor, deadline)
                    .await
                    .map_err(TryError::Open)?;
                let progress = stream.progress();
                let left_alone = stream.may_be_left_alone();
                let (sender, connection) = http1::handshake(TokioIo::new(stream))
                    .await
                    .map_err(|_| TryError::Broken(progress.stage()))?;
                // Whoever waits for an answer hears of what went wrong.
                let driver = Box::pin(async { drop(connection.with_upgrades().await) });
                let mut alone = Alone {
                    sender,
                    driver: Some(driver),
                };
                if !left_alone && let Some(driver) = alone.driver.take() {
                    // While a visitor takes nothing, nobody else would answer for a connection of its own.
                    opener.env.spawn(driver).detach();
                }
                let alone = Box::new(alone);
                Ok(self.lend(Connection::Alone(alone), progress, false))
            }
            Speech::Http2 => {
                if let Some(lease) = self.share().filter(|_| !fresh) {
                    return Ok(lease);
                }
                let left = deadline.saturating_duration_since(time::now());
                let turn = time::within(left, self.opening.lock()).await;
                let _turn = turn.ok_or(TryError::Open(OpenError::NoWay))?;
                if let Some(lease) = self.share().filter(|_| !fresh) {
                    return Ok(lease);
                }
                let stream = opener
                    .open(target, visitor, deadline)
                    .await
                    .map_err(TryError::Open)?;
                let progress = stream.progress();
                let (sender, connection) = http2::Builder::new(Spawned(opener.env.clone()))
                    .timer(TokioTimer::new())
                    .initial_stream_window_size(WINDOWS.0)
                    .initial_connection_window_size(WINDOWS.1)
                    .handshake(TokioIo::new(stream))
                    .await
                    .map_err(|_| TryError::Broken(progress.stage()))?;
                opener.env.spawn(async move { drop(connection.await) }).detach();
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

    /// The one that was used last, if it is still open.
    fn take_free(&self, env: &Env) -> Option<Free> {
        let now = time::now();
        loop {
            let mut free = with(&self.free, Vec::pop)?;
            // Whether its other side has closed it is seen when it is read.
            free.alone.drive(&mut Context::from_waker(Waker::noop()));
            if free.alone.is_open() && now - free.since < IDLE_MAX {
                return Some(free);
            }
            free.alone.close(env);
        }
    }

    fn share(self: &Arc<Self>) -> Option<Lease> {
        let now = time::now();
        let shared = with(&self.shared, |all| {
            all.retain(|one| !one.sender.is_closed() && now - one.since < SHARED_AGE_MAX);
            let room = |one: &&Shared| one.usage.sharers.load(Ordering::Relaxed) < SHARERS_MAX;
            all.iter().find(room).cloned()
        })?;
        Some(self.lend_shared(&shared, true))
    }

    /// Closes what has carried nothing for too long.
    fn retire(&self, env: &Env) {
        let now = time::now();
        // The last is the one that was used last.
        let young = |free: &mut Vec<Free>| free.iter().position(|one| now - one.since < IDLE_MAX);
        let old: Vec<_> = with(&self.free, |free| {
            let count = young(free).unwrap_or(free.len());
            free.drain(..count).collect()
        });
        old.into_iter().for_each(|one| one.alone.close(env));
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
    pub async fn retire_for_ever(self: Arc<Self>, env: Env) {
        loop {
            time::sleep(IDLE_MAX / LOOKS as u32).await;
            for connections in self.targets.load().values() {
                connections.retire(&env);
            }
        }
    }
}

impl Lease {
    /// Whether others have used the connection before.
    pub fn is_reused(&self) -> bool {
        self.reused
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
        let mut request = Some(request);
        match self {
            Self::Alone(alone) => {
                let mut waiting = None;
                poll_fn(|cx| {
                    alone.drive(cx);
                    if waiting.is_none() {
                        match alone.sender.poll_ready(cx) {
                            Poll::Ready(Ok(())) => {}
                            Poll::Ready(Err(_)) => return Poll::Ready(Err(true)),
                            Poll::Pending => return Poll::Pending,
                        }
                    }
                    let request = &mut request;
                    let waiting = waiting.get_or_insert_with(|| {
                        let request = request.take().expect("a request is sent once");
                        Box::pin(alone.sender.try_send_request(request))
                    });
                    alone.drive(cx);
                    let sent = waiting.as_mut().poll(cx);
                    sent.map_err(|mut error| error.take_message().is_some())
                })
                .await
            }
            Self::Shared(sender, _) => {
                sender.ready().await.map_err(|_| true)?;
                let request = request.take().expect("a request is sent once");
                let sent = sender.try_send_request(request).await;
                sent.map_err(|mut error| error.take_message().is_some())
            }
        }
    }
}

/// A connection whose answer is being read.
pub struct Kept(Lease);

impl Kept {
    /// Moves what can be moved, where the connection has no task of its own.
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if let Connection::Alone(alone) = &mut self.0.connection {
            alone.drive(cx);
        }
    }

    /// Moves everything to the end of the connection's time as one of HTTP: it was upgraded.
    pub async fn drive_to_end(mut self) {
        if let Connection::Alone(alone) = &mut self.0.connection {
            poll_fn(|cx| {
                alone.drive(cx);
                if alone.driver.is_none() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }
    }

    /// The answer has been read to its end: others may use the connection.
    pub fn give_back(self, env: &Env) {
        let Lease {
            connection,
            progress,
            home,
            ..
        } = self.0;
        let Connection::Alone(alone) = connection else {
            return;
        };
        if !alone.is_open() {
            return;
        }
        let since = time::now();
        let one = Free {
            alone,
            progress,
            since,
        };
        let surplus = with(&home.free, |free| {
            if free.len() < FREE_MAX {
                free.push(one);
                return None;
            }
            Some(one)
        });
        if let Some(surplus) = surplus {
            surplus.alone.close(env);
        }
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
