//! The habits of a host's sockets and tasks: short reads and writes, "not yet" for no reason, late turns.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use adit::{
    time::{self, Instant},
    transport::{BoxFuture, Stream},
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Life, ear::Ear};
use crate::{
    payload::{REQUEST_LEN, Request},
    trace::Move,
    upstream,
};

/// Says yes once in so many times.
#[derive(Debug)]
pub struct Chance {
    one_in: u32,
    state: AtomicU64,
}

impl Chance {
    /// Once in `one_in` times; 0 is never.
    pub fn new(one_in: u32, rng: &mut ChaCha8Rng) -> Self {
        Self {
            one_in,
            state: AtomicU64::new(rng.next_u64()),
        }
    }

    /// Yes with a random number, or no.
    fn strike(&self) -> Option<u64> {
        if self.one_in == 0 {
            return None;
        }
        // A linear congruence is random enough for this, and needs no lock.
        let step = |x: u64| {
            x.wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407)
        };
        let drawn = step(self.state.load(Ordering::Relaxed));
        self.state.store(drawn, Ordering::Relaxed);
        let drawn = drawn >> 33;
        (drawn % u64::from(self.one_in) == 0).then(|| drawn / u64::from(self.one_in))
    }
}

/// What a host's sockets do besides their duty.
#[derive(Debug)]
pub struct Habits {
    /// Cut a read or write short.
    pub chop: Chance,
    /// To at most so many bytes.
    pub chop_to: usize,
    /// Say "not yet" to a read or write.
    pub balk: Chance,
}

impl Habits {
    /// How many of `wanted` bytes this operation may move: at least one.
    fn allow(&self, wanted: usize) -> usize {
        match self.chop.strike() {
            Some(drawn) if wanted > 1 => {
                let most = wanted.min(self.chop_to.max(1)) as u64;
                usize::try_from(1 + drawn % most).unwrap_or(1)
            }
            _ => wanted,
        }
    }

    fn balks(&self, cx: &Context<'_>) -> bool {
        let balks = self.balk.strike().is_some();
        if balks {
            cx.waker().wake_by_ref();
        }
        balks
    }
}

/// How often a task may be woken in one simulated instant. A kernel's buffer read byte by byte takes fewer; a task that
/// wakes itself again and again in vain takes more, and the instant would never pass.
const WAKES_MAX: u32 = 200_000;

/// A task that now and then lets the others go first.
pub struct Dawdling {
    task: BoxFuture<'static, ()>,
    chance: Arc<Chance>,
    /// The instant in which it was woken last, and how often.
    woken: (Instant, u32),
}

impl Dawdling {
    /// Runs `task`, late when `chance` says so.
    pub fn new(task: BoxFuture<'static, ()>, chance: Arc<Chance>) -> Self {
        Self {
            task,
            chance,
            woken: (time::now(), 0),
        }
    }

    /// # Panics
    /// Time cannot go on, for this task never waits.
    fn count(&mut self) {
        let now = time::now();
        self.woken = match self.woken {
            (at, times) if at == now => (at, times + 1),
            _ => (now, 1),
        };
        assert!(
            self.woken.1 <= WAKES_MAX,
            "a task spins: it is woken again and again while no time passes"
        );
    }
}

impl Future for Dawdling {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.chance.strike().is_some() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.count();
        self.task.as_mut().poll(cx)
    }
}

/// A stream of the system under test: traced, counted, and of the host's habits.
pub struct Wired {
    inner: Option<Box<dyn Stream>>,
    /// It was made by connecting.
    dialled: bool,
    ends: (u64, SocketAddr),
    /// What a forwarder has said first on it; `None` when nobody listens, or enough was heard.
    said: Option<Vec<u8>>,
    /// Who else listens.
    ear: Ear,
    life: Arc<Life>,
}

impl Wired {
    /// Counts and traces `inner` from now on: who is at its other end, and the port that was connected to.
    pub fn new(inner: Box<dyn Stream>, (peer, port): (SocketAddr, u16), life: Arc<Life>, how: Move) -> Self {
        let ends = (life.streams.fetch_add(1, Ordering::Relaxed), peer);
        life.open.fetch_add(1, Ordering::Relaxed);
        let wired = Self {
            inner: Some(inner),
            dialled: how == Move::Connected,
            said: (how == Move::Connected && peer.port() == upstream::PORT).then(Vec::new),
            ends,
            ear: Ear::of(&life, how, port),
            life,
        };
        wired.moved(how, 0);
        wired
    }

    fn moved(&self, what: Move, bytes: usize) {
        self.life
            .oracle
            .recorder()
            .moved(self.life.host, what, self.ends, bytes);
    }

    fn note<T>(&self, result: &io::Result<T>, what: Move, bytes: usize) {
        self.moved(if result.is_ok() { what } else { Move::Failed }, bytes);
    }

    /// Tells which visitor's request went here, once it is whole.
    fn listen(&mut self, bytes: &[u8]) {
        let Some(said) = &mut self.said else {
            return;
        };
        said.extend_from_slice(&bytes[..bytes.len().min(REQUEST_LEN - said.len())]);
        let Ok(header) = <&[u8; REQUEST_LEN]>::try_from(&said[..]) else {
            return;
        };
        self.life.handle_sends(Request::decode(header), self.ends.1);
        self.said = None;
    }

    fn inner(&mut self) -> Pin<&mut Box<dyn Stream>> {
        Pin::new(
            self.inner
                .as_mut()
                .expect("only reset takes it, and that takes the whole"),
        )
    }
}

impl Drop for Wired {
    fn drop(&mut self) {
        self.life.open.fetch_sub(1, Ordering::Relaxed);
        self.ear.handle_gone(&self.life);
        if self.dialled {
            self.life.handle_over(self.ends.1.port());
        }
        self.moved(Move::Closed, 0);
    }
}

impl Stream for Wired {
    fn peer_addr(&self) -> Option<SocketAddr> {
        Some(self.ends.1)
    }

    fn expect_prompt_reader(&self) {
        if let Some(inner) = &self.inner {
            inner.expect_prompt_reader();
        }
    }

    fn is_broken(&self) -> bool {
        self.inner.as_ref().is_some_and(|inner| inner.is_broken())
    }

    fn reset(mut self: Box<Self>) {
        self.moved(Move::Reset, 0);
        if let Some(inner) = self.inner.take() {
            inner.reset();
        }
    }
}

impl AsyncRead for Wired {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.life.habits.balks(cx) {
            return Poll::Pending;
        }
        let allowed = self.life.habits.allow(buf.remaining());
        let mut piece = ReadBuf::new(buf.initialize_unfilled_to(allowed));
        let Poll::Ready(result) = self.inner().poll_read(cx, &mut piece) else {
            return Poll::Pending;
        };
        let n = piece.filled().len();
        let this = &mut *self;
        this.ear.handle(&this.life, false, piece.filled());
        buf.advance(n);
        self.note(&result, if n == 0 { Move::Ended } else { Move::Read }, n);
        Poll::Ready(result)
    }
}

impl AsyncWrite for Wired {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.life.habits.balks(cx) {
            return Poll::Pending;
        }
        let allowed = self.life.habits.allow(bytes.len());
        let Poll::Ready(result) = self.inner().poll_write(cx, &bytes[..allowed]) else {
            return Poll::Pending;
        };
        let n = *result.as_ref().unwrap_or(&0);
        let port = self.ends.1.port();
        let who = self.life.who;
        let heard = self.life.oracle.overheard();
        heard.with(|overheard| overheard.handle_said(who, port, &bytes[..n]));
        self.note(&result, Move::Wrote, n);
        self.listen(&bytes[..n]);
        let this = &mut *self;
        match &result {
            Ok(_) => this.ear.handle(&this.life, true, &bytes[..n]),
            Err(_) => this.ear.handle_gone(&this.life),
        }
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Poll::Ready(result) = self.inner().poll_shutdown(cx) else {
            return Poll::Pending;
        };
        self.note(&result, Move::ShutDown, 0);
        Poll::Ready(result)
    }
}
