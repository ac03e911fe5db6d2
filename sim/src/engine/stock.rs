//! The second engine: the stock network of `turmoil`. It cannot reset a connection, cut one for a while or
//! stop a process; what it can do it does by another model of TCP, which is why it is asked.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use adit::transport::{BoxFuture, Listener, Stream, Transport};
use rand::Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::{
    Builder, Sim,
    net::{TcpListener, TcpStream},
};

use super::{Condition, Engine, FlowDeed, FlowPick, ProcessDeed, Software};
use crate::{
    plan::{Millis, Purpose},
    trace::Recorder,
};

/// Segments in flight per direction, and connections a listener keeps waiting. The engine loses a FIN for good
/// when it arrives at a receiver that holds this many unread segments, so it must be more than any session's
/// burst.
const SEGMENTS_MAX: usize = 1_024;

/// Between two looks of the engine at the world.
const TICK: Duration = Duration::from_millis(2);

/// The second engine.
pub struct Stock {
    sim: Sim<'static>,
    names: Vec<String>,
    recorder: Recorder,
}

impl Stock {
    /// An engine for hosts of these names.
    pub fn new(seed: u64, (least, most): (Millis, Millis), names: &[String], recorder: Recorder) -> Self {
        let sim = Builder::new()
            .rng_seed(Purpose::Turns.rng(seed).next_u64())
            .epoch(SystemTime::UNIX_EPOCH)
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(3_600))
            .tcp_capacity(SEGMENTS_MAX)
            .min_message_latency(Duration::from_millis(least))
            .max_message_latency(Duration::from_millis(most.max(least)))
            .enable_random_order()
            .build();
        Self {
            sim,
            names: names.to_vec(),
            recorder,
        }
    }
}

impl Engine for Stock {
    fn install(&mut self, host: usize, software: Software) {
        self.sim.host(self.names[host].clone(), move || {
            let life = software();
            async move {
                life.await;
                // The host stays, so that what its peers still say is answered.
                std::future::pending().await
            }
        });
    }

    fn now(&self) -> Duration {
        self.sim.elapsed()
    }

    fn run_until(&mut self, at: Duration) {
        while self.sim.elapsed() < at {
            self.recorder.set_now(self.sim.elapsed());
            if let Err(error) = self.sim.step() {
                panic!("the engine gave up: {error}");
            }
        }
        self.recorder.set_now(self.sim.elapsed());
    }

    fn address(&self, host: usize) -> IpAddr {
        self.sim.lookup(self.names[host].as_str())
    }

    fn transport(&self, _: usize) -> Arc<dyn Transport> {
        Arc::new(Sockets)
    }

    fn process(&mut self, host: usize, deed: ProcessDeed) -> bool {
        let name = self.names[host].as_str();
        match deed {
            ProcessDeed::Boot => self.sim.bounce(name),
            ProcessDeed::Crash => self.sim.crash(name),
            _ => return false,
        }
        true
    }

    fn path(&mut self, from: usize, to: usize, condition: Condition, begins: bool) -> bool {
        // It holds both ways at once, so a clog one way is a clog.
        let (from, to) = (self.names[from].as_str(), self.names[to].as_str());
        match (condition, begins) {
            (Condition::Clog, true) => self.sim.hold(from, to),
            (Condition::Clog, false) => self.sim.release(from, to),
            _ => return false,
        }
        true
    }

    fn flow(&mut self, _: FlowPick, _: FlowDeed) -> bool {
        false
    }

    fn silenced(&self, _: u16) -> usize {
        0
    }

    fn sockets(&self, _: usize) -> Vec<String> {
        Vec::new()
    }
}

/// The sockets of whichever host runs.
struct Sockets;

impl Transport for Sockets {
    fn connect(&self, peer: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let inner = TcpStream::connect(peer).await?;
            Ok(Box::new(Socket { inner, peer }) as Box<dyn Stream>)
        })
    }

    fn listen(&self, local: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let inner = TcpListener::bind((Ipv4Addr::UNSPECIFIED, local.port())).await?;
            let local = inner.local_addr()?;
            Ok(Box::new(Bound { inner, local }) as Box<dyn Listener>)
        })
    }
}

struct Bound {
    inner: TcpListener,
    local: SocketAddr,
}

impl Listener for Bound {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(async move {
            let (inner, peer) = self.inner.accept().await?;
            Ok((Box::new(Socket { inner, peer }) as Box<dyn Stream>, peer))
        })
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

/// One connection's end. It cannot be reset on demand: whether a session was complete is judged by content.
struct Socket {
    inner: TcpStream,
    peer: SocketAddr,
}

impl Stream for Socket {
    fn peer_addr(&self) -> Option<SocketAddr> {
        Some(self.peer)
    }

    fn reset(self: Box<Self>) {}
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
