//! The connections to upstreams, through the tunnel: opened when needed, kept for the requests that follow.

use std::{collections::BTreeMap, future::Future, net::SocketAddr, pin::Pin, sync::Arc};

use arc_swap::ArcSwap;
use hyper::{
    client::conn::{http1, http2},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::{
    connection::{Age, Alone, LOOKS},
    kept::{Connections, IDLE_MAX, Key, Lease, Place, TryError},
};
use crate::{
    env::Env,
    probe::{mutant, sometimes},
    selector::group::Group,
    session::{
        open::{OpenError, Opener},
        tunnel_stream::TunnelStream,
    },
    target::{Target, Tunnel},
    time::{self, Duration, Instant},
};

/// The windows of an HTTP/2 connection to an upstream: of one stream and of all. Those of the link below are narrower
/// until they have grown.
const WINDOWS: (u32, u32) = (1024 * 1024, 8 * 1024 * 1024);

/// The most headers of an answer over HTTP/1.
const HEADERS_MAX: usize = 256;

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS and without a question (RFC 9113, section 3.3).
    Http2,
}

/// The connections of one group.
#[derive(Default)]
pub struct Upstreams {
    targets: ArcSwap<BTreeMap<Key, Arc<Connections>>>,
}

/// What a connection is wanted for.
pub struct Asked<'a> {
    /// Who opens new ones.
    pub opener: &'a Opener,
    /// Where to.
    pub target: &'a Arc<Target<Tunnel>>,
    /// Where the connections to it are kept, and who asks.
    pub place: Place<'a>,
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
    async fn open(&self) -> Result<(TunnelStream, Age), TryError> {
        let opened = self
            .opener
            .open(self.target, self.visitor, self.deadline, self.connect);
        let stream = opened.await.map_err(TryError::Open)?;
        let random = u32::from_le_bytes(self.opener.env.entropy.bytes());
        Ok((stream, Age::new(time::now(), random)))
    }

    /// A connection for one request: one that is there, unless it has to be `fresh`, or a new one.
    pub async fn lease(&self, fresh: bool) -> Result<Lease, TryError> {
        let (env, place) = (&self.opener.env, &self.place);
        match self.speech {
            Speech::Http1 => {
                if !fresh && let Some(lease) = place.own_free().await.or_else(|| place.free()) {
                    return Ok(lease);
                }
                let (stream, age) = self.open().await?;
                let progress = stream.progress();
                let (sender, connection) = lenient()
                    .handshake(TokioIo::new(stream))
                    .await
                    .map_err(|_| TryError::Broken(progress.stage()))?;
                // Whoever waits for an answer hears of what went wrong.
                let run = async move { drop(connection.with_upgrades().await) };
                Ok(place.lend_new(Alone::new(sender, env.spawn(run)), age, progress))
            }
            Speech::Http2 => {
                let there = || place.own_shared().or_else(|| place.shared());
                if !fresh && let Some(lease) = there() {
                    return Ok(lease);
                }
                let left = self.deadline.saturating_duration_since(time::now());
                let turn = time::within(left, place.home.opening.lock()).await;
                let _turn = turn.ok_or(TryError::Open(OpenError::NoWay))?;
                if !fresh && let Some(lease) = there() {
                    return Ok(lease);
                }
                let (stream, age) = self.open().await?;
                let progress = stream.progress();
                let (sender, connection) = http2::Builder::new(Spawned(env.clone()))
                    .timer(TokioTimer::new())
                    .initial_stream_window_size(WINDOWS.0)
                    .initial_connection_window_size(WINDOWS.1)
                    .handshake(TokioIo::new(stream))
                    .await
                    .map_err(|_| TryError::Broken(progress.stage()))?;
                env.spawn(async move { drop(connection.await) }).detach();
                Ok(place.share_new(sender, age, progress))
            }
        }
    }
}

impl Upstreams {
    /// The connections to `target`.
    pub fn of(&self, target: &Target<Tunnel>) -> Arc<Connections> {
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
            targets.entry(key.clone()).or_insert_with(|| Arc::clone(&new));
            targets
        });
        self.targets.load().get(&key).map_or(new, Arc::clone)
    }

    /// Again and again closes what has carried nothing for too long, and all connections to targets that are not in the
    /// active set of `group` any more: those in the middle of an answer end with it.
    pub async fn retire_for_ever(self: Arc<Self>, group: Arc<Group<Tunnel>>) {
        loop {
            time::sleep(IDLE_MAX / LOOKS as u32).await;
            let active = group.active();
            let is_here = |key: &Key| active.member(key).is_some();
            let has_left = self.targets.load().keys().any(|key| !is_here(key));
            if has_left && !mutant!("connections-kept-to-those-who-left") {
                sometimes!("connections-closed-as-their-target-left");
                self.targets.rcu(|targets| {
                    let mut targets = BTreeMap::clone(targets);
                    targets.retain(|key, _| is_here(key));
                    targets
                });
            }
            for connections in self.targets.load().values() {
                connections.retire();
            }
        }
    }
}

/// Reads what is often said, if not as it should be (RFC 9112, sections 5.1 and 5.2), and passes names on as they are
/// written. More headers take a little memory for each answer.
fn lenient() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .preserve_header_case(true)
        .max_headers(HEADERS_MAX)
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .ignore_invalid_headers_in_responses(true);
    builder
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
