//! The seams of the system under test, filled from the stock network of `turmoil`.
//!
//! Every read and write of a node passes through [`stream::Wired`], which writes it into the trace and may
//! cut it short. The engine has no reset: resetting a stream is dropping it, and whether a session was
//! complete is judged by content.

pub mod stream;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use adit::{
    env::{Resolver, Spawner, Task},
    transport::{BoxFuture, Listener, Stream, Transport},
};
use turmoil::net::{TcpListener, TcpStream};

use self::stream::{Chopper, Wired};
use crate::trace::{Move, Recorder};

/// What all streams of one boot of one host share.
#[derive(Debug)]
pub struct Shared {
    host: u64,
    recorder: Recorder,
    chopper: Chopper,
    open: AtomicI64,
}

impl Shared {
    fn moved(&self, what: Move, ends: (u16, SocketAddr), bytes: usize) {
        self.recorder.moved(self.host, what, ends, bytes);
    }
}

/// The network as one boot of one host sees it.
#[derive(Clone, Debug)]
pub struct Net(Arc<Shared>);

impl Net {
    /// A host's network interface; `host` is its number in the trace.
    pub fn new(host: u64, recorder: Recorder, chopper: Chopper) -> Self {
        Self(Arc::new(Shared {
            host,
            recorder,
            chopper,
            open: AtomicI64::new(0),
        }))
    }

    /// Streams open right now.
    pub fn open(&self) -> i64 {
        self.0.open.load(Ordering::Relaxed)
    }
}

impl Transport for Net {
    fn connect(&self, peer: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let stream = TcpStream::connect(peer).await?;
            let stream = Wired::new(stream, peer, shared, Move::Connected)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn listen(&self, local: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let inner = TcpListener::bind((Ipv4Addr::UNSPECIFIED, local.port())).await?;
            let local = inner.local_addr()?;
            Ok(Box::new(Bound { inner, local, shared }) as Box<dyn Listener>)
        })
    }
}

struct Bound {
    inner: TcpListener,
    local: SocketAddr,
    shared: Arc<Shared>,
}

impl Listener for Bound {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = self.inner.accept().await?;
            let stream = Wired::new(stream, peer, Arc::clone(&self.shared), Move::Accepted)?;
            Ok((Box::new(stream) as Box<dyn Stream>, peer))
        })
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

/// Resolves the names of the simulated hosts.
#[derive(Clone, Copy, Debug)]
pub struct HostNames;

impl Resolver for HostNames {
    fn resolve(&self, authority: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move {
            let (host, port) = authority.rsplit_once(':').ok_or(io::ErrorKind::InvalidInput)?;
            let port = port.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
            Ok(vec![SocketAddr::new(turmoil::lookup(host), port)])
        })
    }
}

/// Runs tasks on the simulated host that spawns them.
#[derive(Clone, Copy, Debug)]
pub struct HostTasks;

impl Spawner for HostTasks {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task {
        Task::new(tokio::task::spawn_local(future).abort_handle())
    }
}
