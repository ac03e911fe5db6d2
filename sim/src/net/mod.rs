//! The seams of the system under test: a host's sockets, names and tasks, with what may go wrong in them.
//!
//! Every read and write of a node passes through [`habits::Wired`], which writes it into the trace, and may
//! cut it short or put it off.

mod ear;
pub mod habits;
pub mod hands;

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use adit::{
    env::{Resolver, Spawner, Task},
    time::{self, Duration},
    transport::{BoxFuture, Listener, Stream, Transport},
};

use self::habits::{Chance, Dawdling, Habits, Wired};
use crate::{
    event::Event,
    fault::impostor::Imposture,
    lock::Shared,
    node::{CONTROL_PORT, PROXY_PORT},
    oracle::{
        Oracle,
        wire::{Holdings, Terms},
    },
    payload::Request,
    plan::who::Who,
    trace::Move,
};

/// How long a SYN that was lost takes to be sent again.
const SYN_AGAIN: Duration = Duration::from_secs(1);
/// Where nobody is. (TEST-NET-1, RFC 5737.)
const NOWHERE: [u8; 4] = [192, 0, 2, 1];

/// What an operating system does to the host it runs, each counted by the faults that want it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ailments {
    /// Connecting is refused.
    pub refuse_connects: u32,
    /// Connecting loses its first SYN.
    pub slow_connects: u32,
    /// Accepting fails.
    pub fail_accepts: u32,
    /// Ports are taken.
    pub ports_taken: u32,
    /// Somebody else is run in the place of what belongs here.
    pub usurped: Option<Imposture>,
    /// Names do not resolve.
    pub names_fail: u32,
    /// Names resolve to nowhere first.
    names_stale: i32,
    /// Names resolve to nowhere only.
    names_lost: i32,
}

impl Ailments {
    /// Names resolve to nowhere, before the right address or, when it is `lost`, instead of it.
    pub fn names_move(&mut self, lost: bool, by: i32) {
        if lost {
            self.names_lost += by;
        } else {
            self.names_stale += by;
        }
    }
}

/// Bytes of one connection that an eavesdropper keeps: a whole handshake.
const OVERHEARD_MAX: usize = 4 * 1024;

/// What an eavesdropper has of the connections that hosts make: what each said first on its latest to a port.
#[derive(Clone, Debug, Default)]
pub struct Overheard(BTreeMap<(Who, u16), Vec<u8>>);

impl Overheard {
    /// What `who` said first on its latest connection to `port`.
    pub fn words(&mut self, who: Who, port: u16) -> &mut Vec<u8> {
        self.0.entry((who, port)).or_default()
    }

    /// `who` says something there.
    fn handle_said(&mut self, who: Who, port: u16, bytes: &[u8]) {
        let words = self.words(who, port);
        let room = OVERHEARD_MAX.saturating_sub(words.len());
        words.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// Connections to the control port that this life of a host has made.
#[derive(Clone, Copy, Debug, Default)]
struct Dialled {
    /// Since when the latest has been there.
    since: Option<Duration>,
    /// How long the last one lived, if it came to be, and when it or the attempt ended.
    last: Option<(Option<Duration>, Duration)>,
}

/// What all streams of one life of one host share.
pub struct Life {
    who: Who,
    host: usize,
    oracle: Oracle,
    habits: Habits,
    ailments: Shared<Ailments>,
    dialled: Shared<Dialled>,
    open: AtomicI64,
    streams: AtomicU64,
    proxies: AtomicU64,
    /// Who lives where.
    hosts: BTreeMap<IpAddr, Who>,
    /// What the windows of data links are like, where there are any, and what is held of sessions on them.
    terms: Option<Terms>,
    holdings: Shared<Holdings>,
}

/// The network as one life of one host sees it.
#[derive(Clone)]
pub struct Net {
    inner: Arc<dyn Transport>,
    life: Arc<Life>,
}

impl Net {
    /// A host's network interface over an engine's sockets; `host` is its number in the trace.
    pub fn new(
        inner: Arc<dyn Transport>,
        (who, host): (Who, usize),
        oracle: Oracle,
        habits: Habits,
        ailments: Shared<Ailments>,
    ) -> Self {
        let life = Life {
            who,
            host,
            oracle,
            habits,
            ailments,
            dialled: Shared::default(),
            open: AtomicI64::new(0),
            streams: AtomicU64::new(0),
            proxies: AtomicU64::new(0),
            hosts: BTreeMap::new(),
            terms: None,
            holdings: Shared::default(),
        };
        Self {
            inner,
            life: Arc::new(life),
        }
    }

    /// The same, which knows who lives where.
    pub fn knowing(mut self, hosts: &BTreeMap<String, IpAddr>) -> Self {
        let life = Arc::get_mut(&mut self.life).expect("it has just been made");
        life.hosts = hosts
            .iter()
            .filter_map(|(name, ip)| Some((*ip, name.parse().ok()?)))
            .collect();
        self
    }

    /// The same, whose data links are judged by these terms.
    pub fn judged(mut self, terms: Option<Terms>) -> Self {
        Arc::get_mut(&mut self.life).expect("it has just been made").terms = terms;
        self
    }

    /// Streams open right now.
    pub fn open(&self) -> i64 {
        self.life.open.load(Ordering::Relaxed)
    }

    /// Proxy connections that were made.
    pub fn proxies(&self) -> u64 {
        self.life.proxies.load(Ordering::Relaxed)
    }
}

impl Life {
    /// The host connects to a port of the server.
    fn handle_dials(&self, port: u16) {
        let now = self.oracle.now();
        match port {
            PROXY_PORT => drop(self.proxies.fetch_add(1, Ordering::Relaxed)),
            CONTROL_PORT => {
                let last = self.dialled.with(|dialled| dialled.last);
                let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                self.oracle.tell(Event::Dials {
                    client: self.who,
                    lived_ms: last.and_then(|(lived, _)| lived.map(ms)),
                    waited_ms: last.map(|(_, ended)| ms(now - ended)),
                });
                self.dialled.with(|dialled| dialled.last = Some((None, now)));
            }
            _ => {}
        }
    }

    /// The host has said a request to an upstream. A client relays it; a forwarder has chosen whom to say it to.
    fn handle_sends(&self, request: Option<Request>, to: SocketAddr) {
        if let (Who::Server, Some(request), Some(upstream)) = (self.who, request, self.hosts.get(&to.ip())) {
            self.oracle.tell(Event::Sends {
                session: request.connection,
                upstream: *upstream,
            });
        }
    }

    /// The host has connected to an upstream: of interest when it is a forwarder.
    fn handle_reached(&self, peer: SocketAddr) {
        if let (Who::Server, Some(upstream)) = (self.who, self.hosts.get(&peer.ip())) {
            self.oracle.tell(Event::Connects { upstream: *upstream });
        }
    }

    /// The connection is there.
    fn handle_connected(&self, port: u16) {
        let now = self.oracle.now();
        if port == CONTROL_PORT {
            self.dialled.with(|dialled| dialled.since = Some(now));
        }
        self.oracle
            .overheard()
            .with(|overheard| overheard.words(self.who, port).clear());
    }

    /// A connection to that port is over, or did not come to be.
    fn handle_over(&self, port: u16) {
        let now = self.oracle.now();
        if port == CONTROL_PORT {
            self.dialled
                .with(|dialled| dialled.last = Some((dialled.since.take().map(|since| now - since), now)));
        }
    }
}

impl Transport for Net {
    fn connect(&self, peer: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let Self { inner, life } = self.clone();
        Box::pin(async move {
            life.handle_dials(peer.port());
            let ails = life.ailments.with(|ailments| *ailments);
            if ails.refuse_connects > 0 {
                life.handle_over(peer.port());
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            if ails.slow_connects > 0 {
                time::sleep(SYN_AGAIN).await;
            }
            let stream = match inner.connect(peer).await {
                Ok(stream) => stream,
                Err(error) => {
                    life.handle_over(peer.port());
                    return Err(error);
                }
            };
            life.handle_connected(peer.port());
            life.handle_reached(peer);
            let ends = (peer, peer.port());
            Ok(Box::new(Wired::new(stream, ends, life, Move::Connected)) as Box<dyn Stream>)
        })
    }

    fn listen(&self, local: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let Self { inner, life } = self.clone();
        Box::pin(async move {
            if life.ailments.with(|ailments| ailments.ports_taken) > 0 {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            let inner = inner.listen(local).await?;
            Ok(Box::new(Bound { inner, life }) as Box<dyn Listener>)
        })
    }
}

struct Bound {
    inner: Box<dyn Listener>,
    life: Arc<Life>,
}

impl Listener for Bound {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(async move {
            // Who waits in the backlog goes on waiting.
            let failing = || self.life.ailments.with(|ailments| ailments.fail_accepts) > 0;
            if failing() {
                return Err(io::Error::other("too many open files"));
            }
            let (stream, peer) = self.inner.accept().await?;
            let ends = (peer, self.inner.local_addr().port());
            let stream = Wired::new(stream, ends, Arc::clone(&self.life), Move::Accepted);
            Ok((Box::new(stream) as Box<dyn Stream>, peer))
        })
    }

    fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr()
    }
}

/// Resolves the names of the simulated hosts.
#[derive(Clone, Debug)]
pub struct HostNames {
    /// Where each host is.
    pub addresses: Arc<BTreeMap<String, IpAddr>>,
    /// What may go wrong.
    pub ailments: Shared<Ailments>,
}

impl Resolver for HostNames {
    fn resolve(&self, authority: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let this = self.clone();
        Box::pin(async move {
            let (host, port) = authority.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
            let port = port.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
            let ails = this.ailments.with(|ailments| *ailments);
            let known = this.addresses.get(host).copied();
            let Some(address) = known.filter(|_| ails.names_fail == 0) else {
                return Err(io::ErrorKind::NotFound.into());
            };
            let (right, nowhere) = (SocketAddr::new(address, port), SocketAddr::from((NOWHERE, port)));
            Ok(match (ails.names_stale > 0, ails.names_lost > 0) {
                (_, true) => vec![nowhere],
                (true, false) => vec![nowhere, right],
                (false, false) => vec![right],
            })
        })
    }
}

/// Runs tasks on the simulated host that spawns them, and now and then puts a turn off.
#[derive(Clone, Debug)]
pub struct HostTasks(pub Arc<Chance>);

impl Spawner for HostTasks {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task {
        let dawdling = Dawdling::new(future, Arc::clone(&self.0));
        Task::new(tokio::task::spawn_local(dawdling).abort_handle())
    }

    fn blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        // A thread of its own would be outside of simulated time.
        Box::pin(async move { work() })
    }
}
