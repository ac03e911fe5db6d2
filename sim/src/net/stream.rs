//! One stream of the system under test: traced, counted, and now and then cut short.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use adit::transport::Stream;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::TcpStream;

use super::Shared;
use crate::trace::Move;

/// Decides which reads and writes are cut short, and to what length.
#[derive(Debug)]
pub struct Chopper {
    one_in: u32,
    state: AtomicU64,
}

impl Chopper {
    /// Cuts one in `one_in` operations; 0 cuts none.
    pub fn new(one_in: u32, rng: &mut ChaCha8Rng) -> Self {
        let state = AtomicU64::new(rng.next_u64());
        Self { one_in, state }
    }

    /// How many of `wanted` bytes this operation may move: at least one.
    fn allow(&self, wanted: usize) -> usize {
        if self.one_in == 0 || wanted < 2 {
            return wanted;
        }
        // A linear congruence is random enough for lengths, and needs no lock.
        let step = |x: u64| {
            x.wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407)
        };
        let drawn = step(self.state.load(Ordering::Relaxed));
        self.state.store(drawn, Ordering::Relaxed);
        let drawn = drawn >> 33;
        if drawn % u64::from(self.one_in) != 0 {
            return wanted;
        }
        let most = wanted.min(100) as u64;
        usize::try_from(1 + (drawn / u64::from(self.one_in)) % most).unwrap_or(1)
    }
}

/// A stream of the simulated network.
#[derive(Debug)]
pub struct Wired {
    inner: TcpStream,
    ends: (u16, SocketAddr),
    shared: Arc<Shared>,
}

impl Wired {
    /// Counts and traces `inner` from now on.
    ///
    /// # Errors
    /// A stream without an address.
    pub fn new(inner: TcpStream, peer: SocketAddr, shared: Arc<Shared>, how: Move) -> io::Result<Self> {
        let ends = (inner.local_addr()?.port(), peer);
        shared.open.fetch_add(1, Ordering::Relaxed);
        shared.moved(how, ends, 0);
        Ok(Self { inner, ends, shared })
    }

    fn note<T>(&self, result: &io::Result<T>, what: Move, bytes: usize) {
        let what = if result.is_ok() { what } else { Move::Failed };
        self.shared.moved(what, self.ends, bytes);
    }
}

impl Drop for Wired {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        self.shared.moved(Move::Closed, self.ends, 0);
    }
}

impl Stream for Wired {
    fn peer_addr(&self) -> Option<SocketAddr> {
        Some(self.ends.1)
    }

    fn reset(self: Box<Self>) {
        self.shared.moved(Move::Reset, self.ends, 0);
    }
}

impl AsyncRead for Wired {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let allowed = self.shared.chopper.allow(buf.remaining());
        let mut piece = ReadBuf::new(buf.initialize_unfilled_to(allowed));
        let Poll::Ready(result) = Pin::new(&mut self.inner).poll_read(cx, &mut piece) else {
            return Poll::Pending;
        };
        let n = piece.filled().len();
        buf.advance(n);
        self.note(&result, if n == 0 { Move::Ended } else { Move::Read }, n);
        Poll::Ready(result)
    }
}

impl AsyncWrite for Wired {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let allowed = self.shared.chopper.allow(bytes.len());
        let Poll::Ready(result) = Pin::new(&mut self.inner).poll_write(cx, &bytes[..allowed]) else {
            return Poll::Pending;
        };
        self.note(&result, Move::Wrote, *result.as_ref().unwrap_or(&0));
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Poll::Ready(result) = Pin::new(&mut self.inner).poll_shutdown(cx) else {
            return Poll::Pending;
        };
        self.note(&result, Move::ShutDown, 0);
        Poll::Ready(result)
    }
}
