//! Connections to upstreams that are kept: for the requests that follow, whoever makes them, or for those of one visitor's
//! connection.
//!
//! HTTP/1 carries one request at a time, so those that are free wait in a stack; HTTP/2 is shared by many. Each has a task
//! that moves its bytes. What carries nothing for some seconds is closed.

mod audits;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderMap, Request, Response};
use hyper::{body::Incoming, client::conn::http2};

use super::{
    body::TryBody,
    connection::{Age, Alone, Connection, SendError, Sharer, Usage},
    login,
};
use crate::{
    probe::{measure, mutant, sometimes},
    session::{
        open::OpenError,
        tunnel_stream::{Progress, Stage},
    },
    target::{Reach, Tunnel},
    time::{self, Duration, Instant},
};

#[allow(
    clippy::disallowed_types,
    reason = "one lock per target or visitor, held for a push or a pop alone"
)]
type Lock<T> = std::sync::Mutex<T>;

/// How long a connection that carries nothing is kept. Below the 5 s after which many servers close theirs: whoever
/// writes as the other side closes may lose what it wrote.
pub const IDLE_MAX: Duration = Duration::from_secs(4);

/// Free HTTP/1 connections kept for each target. More hold sockets of its upstream; fewer are opened anew.
const FREE_MAX: usize = 128;

/// How long a request waits for its visitor's own connection to be done with the request before it. Over, it goes on
/// another one, and the visitor logs in again.
const OWN_READY_MAX: Duration = Duration::from_secs(1);

/// How long a visitor's own connection is kept on which nothing is asked: as long as its visitor may ask nothing.
const OWN_IDLE_MAX: Duration = Duration::from_secs(60);

/// Connections of its own that one visitor keeps for each target. More are sockets that it holds of its upstream.
const OWN_MAX: usize = 8;

/// What tells a target apart.
pub type Key = <Tunnel as Reach>::Key;

/// How a try ended without an answer.
#[derive(Debug)]
pub enum TryError {
    /// There is no connection.
    Open(OpenError),
    /// A connection that had carried others was closed before anything of this request was written.
    Stale,
    /// Its upstream says that it has not worked on it.
    NotProcessed,
    /// How far the request had come when it broke.
    Broken(Stage),
    /// No answer in time.
    Timeout,
    /// The visitor did not go on with the request's body in time.
    BodyTimeout,
}

/// The connections to one target.
#[derive(Default)]
pub struct Connections {
    free: Lock<Vec<Free>>,
    shared: Lock<Vec<Shared>>,
    /// Those that belong to one visitor's connection, by its number.
    own: Lock<BTreeMap<u64, Vec<Own>>>,
    /// One at a time opens a connection that many will share.
    pub opening: tokio::sync::Mutex<()>,
}

/// A connection that its upstream may know a visitor by.
enum Own {
    Free(Free),
    Shared(Shared),
}

struct Free {
    alone: Alone,
    age: Age,
    progress: Progress,
    since: Instant,
}

impl Free {
    fn takes_more(&self, now: Instant) -> bool {
        is_young(self.age, now) && !self.progress.is_retired() && !self.alone.sender.is_closed()
    }
}

#[derive(Clone)]
struct Shared {
    sender: http2::SendRequest<TryBody>,
    age: Age,
    progress: Progress,
    usage: Arc<Usage>,
}

impl Shared {
    fn takes_more(&self, now: Instant) -> bool {
        is_young(self.age, now) && !self.progress.is_retired() && !self.sender.is_closed()
    }
}

/// Whether a connection of that age may be used for one request more.
fn is_young(age: Age, now: Instant) -> bool {
    let over = age.is_over(now);
    sometimes!(over, "kept-connection-grew-old");
    !over || mutant!("kept-connection-of-any-age")
}

/// The right to use a connection for one request.
pub struct Lease {
    connection: Connection,
    age: Age,
    progress: Progress,
    /// It has carried others before.
    reused: bool,
    key: Key,
    home: Arc<Connections>,
    /// The visitor's connection that it belongs to.
    owner: Option<Arc<Owner>>,
}

/// What a lease is of: to which target, and for whom.
pub struct Place<'a> {
    /// The connections to the target.
    pub home: &'a Arc<Connections>,
    /// What tells the target apart.
    pub key: &'a Key,
    /// The visitor's connection that asks.
    pub owner: &'a Arc<Owner>,
    /// Whether the request says who its visitor is to the connection: nobody else may use it from then on.
    pub binds: bool,
}

impl Place<'_> {
    fn lend(&self, connection: Connection, age: Age, progress: Progress, reused: bool) -> Lease {
        Lease {
            connection,
            age,
            progress,
            reused,
            key: self.key.clone(),
            home: Arc::clone(self.home),
            owner: self.binds.then(|| Arc::clone(self.owner)),
        }
    }

    fn lend_shared(&self, shared: &Shared, reused: bool) -> Lease {
        let connection = Connection::Shared(shared.sender.clone(), Sharer::new(&shared.usage));
        self.lend(connection, shared.age, shared.progress.clone(), reused)
    }

    /// A new connection that carries one request at a time.
    pub fn lend_new(&self, alone: Alone, age: Age, progress: Progress) -> Lease {
        self.lend(Connection::Alone(alone), age, progress, false)
    }

    /// A new connection that many share, unless the request binds it.
    pub fn share_new(&self, sender: http2::SendRequest<TryBody>, age: Age, progress: Progress) -> Lease {
        let shared = Shared {
            sender,
            age,
            progress,
            usage: Arc::default(),
        };
        let lease = self.lend_shared(&shared, false);
        match self.binds {
            true => self.home.own(self.owner, self.key, Own::Shared(shared)),
            false => with(&self.home.shared, |all| all.push(shared)),
        }
        self.home.check();
        lease
    }

    /// The visitor's own connection that carries one request at a time, if there is one.
    pub async fn own_free(&self) -> Option<Lease> {
        let until = time::now() + OWN_READY_MAX;
        while let Some(mut free) = self.take_own() {
            let left = until.saturating_duration_since(time::now());
            let ready = time::within(left, free.alone.sender.ready()).await;
            if matches!(ready, Some(Ok(()))) {
                return Some(self.own(self.lend(
                    Connection::Alone(free.alone),
                    free.age,
                    free.progress,
                    true,
                )));
            }
        }
        None
    }

    /// The visitor's own connection of HTTP/2, if there is one.
    pub fn own_shared(&self) -> Option<Lease> {
        let shared = with(&self.home.own, |own| {
            let all = own.get_mut(&self.owner.number)?;
            all.retain(|one| !one.is_closed());
            all.iter().rev().find_map(|one| match one {
                Own::Shared(shared) => Some(shared.clone()),
                Own::Free(_) => None,
            })
        })?;
        Some(self.own(self.lend_shared(&shared, true)))
    }

    fn take_own(&self) -> Option<Free> {
        with(&self.home.own, |own| {
            let all = own.get_mut(&self.owner.number)?;
            all.retain(|one| !one.is_closed());
            let last = all.iter().rposition(|one| matches!(one, Own::Free(_)))?;
            match all.remove(last) {
                Own::Free(free) => Some(free),
                Own::Shared(_) => None,
            }
        })
    }

    fn own(&self, lease: Lease) -> Lease {
        sometimes!("visitor-used-its-own-connection");
        if !self.binds && mutant!("login-lost-with-second-request") {
            return lease;
        }
        let owner = Some(Arc::clone(self.owner));
        Lease { owner, ..lease }
    }

    /// The one that was used last. An answer may be over before its request is: such a one is not free yet, and hyper 1.12
    /// may forget to say when it is.
    pub fn free(&self) -> Option<Lease> {
        let now = time::now();
        let free = with(&self.home.free, |free| {
            let fits = |one: &Free| now - one.since < IDLE_MAX && one.takes_more(now) && one.alone.is_free();
            let last = free.iter().rposition(fits);
            let busy = |one: &Free| !one.alone.is_free() && !one.alone.sender.is_closed();
            sometimes!(
                last.is_none() && free.iter().any(busy),
                "kept-connection-was-busy"
            );
            Some(free.remove(last?))
        })?;
        measure!(
            "connection-kept-for-ms",
            now.saturating_duration_since(free.since)
        );
        Some(self.lend(Connection::Alone(free.alone), free.age, free.progress, true))
    }

    /// One that others use as well. A request that binds its connection gets none.
    pub fn shared(&self) -> Option<Lease> {
        if self.binds {
            return None;
        }
        let now = time::now();
        let shared = with(&self.home.shared, |all| {
            all.retain(|one| one.takes_more(now));
            all.iter().find(|one| one.usage.has_room()).cloned()
        })?;
        sometimes!(shared.usage.is_used(), "upstream-connection-shared");
        Some(self.lend_shared(&shared, true))
    }
}

impl Own {
    /// Whether it ends with what it carries. It may be older than others: its visitor would have to log in again.
    fn is_closed(&self) -> bool {
        match self {
            Self::Free(free) => free.alone.sender.is_closed() || free.progress.is_retired(),
            Self::Shared(shared) => shared.sender.is_closed() || shared.progress.is_retired(),
        }
    }
}

impl Connections {
    /// Closes what has carried nothing for too long.
    pub fn retire(&self) {
        let now = time::now();
        if mutant!("idle-connections-kept-for-ever") {
            return;
        }
        with(&self.free, |free| {
            free.retain(|one| now - one.since < IDLE_MAX && one.takes_more(now));
        });
        with(&self.shared, |all| {
            all.retain(|one| !one.usage.is_idle() && !one.progress.is_retired());
        });
        let is_used = |one: &Own| match one {
            Own::Free(free) => now - free.since < OWN_IDLE_MAX,
            Own::Shared(_) => true,
        };
        with(&self.own, |own| {
            own.values_mut()
                .for_each(|all| all.retain(|one| !one.is_closed() && is_used(one)));
        });
    }

    fn own(self: &Arc<Self>, owner: &Arc<Owner>, key: &Key, connection: Own) {
        owner.note(key, self);
        with(&self.own, |own| {
            let all = own.entry(owner.number).or_default();
            if all.len() == OWN_MAX {
                // The oldest: its visitor would have to log in again.
                all.remove(0);
            }
            all.push(connection);
        });
        self.check();
    }

    fn keep(&self, free: Free) {
        with(&self.free, |all| {
            if all.len() == FREE_MAX {
                let now = free.since;
                all.retain(|one| one.takes_more(now));
            }
            if all.len() < FREE_MAX {
                all.push(free);
            }
        });
        self.check();
    }
}

/// The connections to upstreams that belong to one visitor's connection, and end with it: whoever logs in to a connection
/// (NTLM, Negotiate) is known by it.
pub struct Owner {
    /// Tells it apart from all others. They are gone through in this order, which must not be that of addresses in memory: it
    /// would be another in each run of one seed.
    number: u64,
    homes: Lock<Vec<(Key, Weak<Connections>)>>,
}

impl Default for Owner {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            homes: Lock::default(),
        }
    }
}

impl Owner {
    fn note(&self, key: &Key, home: &Arc<Connections>) {
        with(&self.homes, |homes| {
            homes.retain(|(_, home)| home.strong_count() > 0);
            if !homes.iter().any(|(_, known)| known.as_ptr() == Arc::as_ptr(home)) {
                homes.push((key.clone(), Arc::downgrade(home)));
            }
        });
    }

    /// The target that it was bound to last, of those that `is_here` knows.
    pub fn bound_to(&self, is_here: impl Fn(&Key) -> bool) -> Option<Key> {
        with(&self.homes, |homes| {
            let here = |(key, home): &&(Key, Weak<Connections>)| home.strong_count() > 0 && is_here(key);
            homes.iter().rev().find(here).map(|(key, _)| key.clone())
        })
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if mutant!("login-outlives-its-visitor") {
            return;
        }
        for (_, home) in with(&self.homes, std::mem::take) {
            if let Some(home) = home.upgrade() {
                with(&home.own, |own| own.remove(&self.number));
            }
        }
    }
}

impl std::fmt::Debug for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Owner")
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
    /// [`TryError`]; a connection that takes no more requests gets none any more.
    pub async fn send(mut self, request: Request<TryBody>) -> Result<(Response<Incoming>, Kept), TryError> {
        let error = match self.connection.send(request).await {
            Ok(response) => return Ok((response, Kept(self))),
            Err(error) => error,
        };
        if let Connection::Shared(_, sharer) = &self.connection
            && matches!(error, SendError::Unwritten | SendError::GoingAway)
        {
            with(&self.home.shared, |all| {
                all.retain(|one| !sharer.is_of(&one.usage))
            });
        }
        Err(match error {
            SendError::Unwritten if self.reused => TryError::Stale,
            SendError::Refused | SendError::GoingAway => TryError::NotProcessed,
            SendError::Unwritten | SendError::Broken => TryError::Broken(self.progress.stage()),
        })
    }
}

/// A connection whose answer is being read.
pub struct Kept(Lease);

impl Kept {
    /// The same, of `owner` alone if the answer asks for a login that its connection will be known by.
    pub fn bound_by(mut self, answer: &HeaderMap, owner: &Arc<Owner>) -> Self {
        let lease = &mut self.0;
        if lease.owner.is_some() || !login::is_asked_for(answer) {
            return self;
        }
        lease.owner = Some(Arc::clone(owner));
        if let Connection::Shared(_, sharer) = &lease.connection {
            let mine = |one: &mut Shared| sharer.is_of(&one.usage);
            let taken = with(&lease.home.shared, |all| all.extract_if(.., mine).next());
            if let Some(shared) = taken {
                lease.home.own(owner, &lease.key, Own::Shared(shared));
            }
        }
        self
    }

    /// It has become something else, and is nobody's to give back.
    pub fn leave(mut self) {
        if let Connection::Alone(alone) = &mut self.0.connection {
            alone.leave();
        }
    }

    /// The answer has been read to its end: the requests that follow may use the connection.
    pub fn give_back(self) {
        let Lease {
            connection,
            age,
            progress,
            key,
            home,
            owner,
            ..
        } = self.0;
        let Connection::Alone(alone) = connection else {
            return;
        };
        if alone.sender.is_closed() || progress.is_retired() {
            return;
        }
        let since = time::now();
        let free = Free {
            alone,
            age,
            progress,
            since,
        };
        match owner {
            Some(owner) => home.own(&owner, &key, Own::Free(free)),
            None => home.keep(free),
        }
    }
}

fn with<T, R>(lock: &Lock<T>, work: impl FnOnce(&mut T) -> R) -> R {
    work(&mut lock.lock().unwrap_or_else(PoisonError::into_inner))
}
