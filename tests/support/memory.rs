//! A transport in memory, whose other end the test holds.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
};

use adit::transport::{BoxFuture, Listener, Stream, Transport};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// What the next look at a stream finds, although nobody was woken for it: nothing, its end, a greeting.
pub const QUIET: u8 = 0;
pub const ENDED: u8 = 1;
pub const GREETING: u8 = 2;

/// The pool's end of a connection in memory.
struct Near {
    pipe: DuplexStream,
    finds: Arc<AtomicU8>,
}

impl AsyncRead for Near {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.finds.swap(QUIET, Ordering::SeqCst) {
            ENDED => Poll::Ready(Ok(())),
            GREETING => {
                buf.put_slice(b"hello ");
                Poll::Ready(Ok(()))
            }
            _ => Pin::new(&mut self.pipe).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Near {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

impl Stream for Near {
    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }

    fn reset(self: Box<Self>) {}
}

/// The target's end.
pub struct Far {
    pub pipe: DuplexStream,
    finds: Arc<AtomicU8>,
}

/// Connects to nothing but memory.
#[derive(Clone, Default)]
pub struct Memory(Arc<RwLock<State>>);

#[derive(Default)]
pub struct State {
    /// The next dials fail so.
    pub failures: VecDeque<io::ErrorKind>,
    /// No dial is answered.
    pub is_silent: bool,
    /// The other ends, in the order they were dialled.
    pub far: Vec<Option<Far>>,
}

impl Memory {
    pub fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn dialled(&self) -> usize {
        self.with(|state| state.far.len())
    }

    /// The other end of that dial.
    pub fn far(&self, number: usize) -> Far {
        self.with(|state| state.far[number].take()).unwrap()
    }

    pub fn set(&self, number: usize, finds: u8) {
        let set = |state: &mut State| {
            state.far[number]
                .as_ref()
                .unwrap()
                .finds
                .store(finds, Ordering::SeqCst)
        };
        self.with(set);
    }
}

impl Transport for Memory {
    fn connect(&self, _: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let answer = self.with(|state| {
            if state.is_silent {
                return None;
            }
            if let Some(kind) = state.failures.pop_front() {
                return Some(Err(kind.into()));
            }
            let (near, far) = tokio::io::duplex(1024);
            let finds = Arc::new(AtomicU8::new(QUIET));
            state.far.push(Some(Far {
                pipe: far,
                finds: Arc::clone(&finds),
            }));
            Some(Ok(Box::new(Near { pipe: near, finds }) as Box<dyn Stream>))
        });
        Box::pin(async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }

    fn listen(&self, _: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}
