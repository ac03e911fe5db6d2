//! The relay over streams that fail in ways a real socket rarely shows on demand.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use adit::{
    id::Ordinal,
    link::{carrier::Carrier, framed::Framed},
    session::{
        Options,
        core::Fate,
        first_bytes::{FirstBytes, ReplayBudget},
        patience::Patience,
        raw::RawStream,
        relay::{Relay, Stopped},
        visitor_side::{Cause, Outcome, VisitorSide},
    },
    time::{self, Duration, Instant, Timer},
    transport::Stream,
    wire::{
        codec::encode,
        frame::PROXY_BODY_LEN_MAX,
        message::{Start, ToServer},
    },
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Says `says`, then nothing, or its end; takes `takes` bytes, then fails.
struct Scripted {
    says: Vec<u8>,
    ends: bool,
    takes: usize,
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n = self.says.len().min(buf.remaining());
        if n == 0 {
            return if self.ends {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            };
        }
        buf.put_slice(&self.says.drain(..n).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let n = self.takes.min(buf.len());
        self.takes -= n;
        if n == 0 {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        } else {
            Poll::Ready(Ok(n))
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Stream for Scripted {
    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }

    fn reset(self: Box<Self>) {}
}

fn scripted(says: &[u8], takes: usize) -> Box<dyn Stream> {
    Box::new(Scripted {
        says: says.to_vec(),
        ends: false,
        takes,
    })
}

/// A client that dies while the first bytes are being written to it: the visitor comes back unharmed, whether
/// the connection takes nothing at all, the `Start` alone, or a part of the bytes.
#[tokio::test]
async fn a_write_that_fails_before_started_hands_the_visitor_back() {
    for takes in [0, 5, 60, 200, 1000] {
        let now = time::now();
        let patience = Patience::new(
            &Options::default(),
            Duration::from_millis(1),
            now + Duration::from_secs(8),
        );
        let first = FirstBytes::new(ReplayBudget::new(1 << 20));
        let ordinal = Ordinal::CONNECTION.next().unwrap();
        let mut side = VisitorSide::new(now, ordinal, Start::default(), patience, first);
        let framed = Framed::new(scripted(&[], takes), PROXY_BODY_LEN_MAX);
        let mut carrier = Carrier::Dedicated(Box::new(framed));
        let mut timer = Timer::default();
        let visitor = RawStream::new(scripted(&[7; 4000], usize::MAX));
        let mut relay = Relay::new(&mut side, &mut carrier, Some(visitor), &mut timer, None);
        let stopped = poll_fn(|cx| relay.poll(cx)).await;
        assert!(
            matches!(stopped, Stopped::Released(_)),
            "the visitor is lost after {takes} bytes"
        );
        let Some(Outcome::NotStarted {
            cause: Cause::Broken,
            ambiguous,
        }) = side.outcome()
        else {
            panic!("the try did not start: {:?}", side.outcome())
        };
        let kept = side.take_first_bytes();
        assert_eq!(
            ambiguous,
            !kept.bytes().is_empty(),
            "bytes that were sent may have arrived"
        );
        let mut rest = Relay::new(&mut side, &mut carrier, None, &mut timer, None);
        let ended = poll_fn(|cx| rest.poll(cx)).await;
        assert!(matches!(ended, Stopped::Ended(Fate::Dead)));
    }
}

/// A peer that has said `Started` and its end, and takes so many bytes each [`TAKES_EVERY`].
struct Slow {
    says: Vec<u8>,
    takes: usize,
    next: Instant,
    timer: Timer,
    taken: Arc<AtomicUsize>,
}

const TAKES_EVERY: Duration = Duration::from_millis(100);

impl AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.says.is_empty() {
            return Poll::Pending;
        }
        buf.put_slice(&std::mem::take(&mut self.says));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Slow {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.timer.poll(cx, Some(this.next)));
        this.next = time::now() + TAKES_EVERY;
        let n = this.takes.min(buf.len());
        this.taken.fetch_add(n, Ordering::Relaxed);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Stream for Slow {
    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }

    fn reset(self: Box<Self>) {}
}

/// What is said to an upstream that has ended its own direction goes out at 10 kB/s: 2 s of it are more than the limit for
/// half a session without a byte, which begins when the last one has left.
#[tokio::test(start_paused = true)]
async fn bytes_that_wait_for_the_connection_keep_a_half_closed_session_alive() {
    let began = time::now();
    let options = Options {
        half_closed_timeout: Duration::from_millis(500),
        ..Options::default()
    };
    let patience = Patience::new(&options, Duration::from_millis(1), began + Duration::from_secs(8));
    let ordinal = Ordinal::CONNECTION.next().unwrap();
    let first = FirstBytes::new(ReplayBudget::new(0));
    let mut side = VisitorSide::new(began, ordinal, Start::default(), patience, first);
    let mut says = Vec::new();
    encode(&mut says, ordinal.value(), &ToServer::Started);
    encode(&mut says, ordinal.value(), &ToServer::Fin);
    let taken = Arc::default();
    let slow = Slow {
        says,
        takes: 1000,
        next: began,
        timer: Timer::default(),
        taken: Arc::clone(&taken),
    };
    let mut carrier = Carrier::Dedicated(Box::new(Framed::new(Box::new(slow), PROXY_BODY_LEN_MAX)));
    let mut timer = Timer::default();
    let visitor = Scripted {
        says: vec![7; 20_000],
        ends: true,
        takes: usize::MAX,
    };
    let visitor = RawStream::new(Box::new(visitor));
    let relay = Relay::new(&mut side, &mut carrier, Some(visitor), &mut timer, None);
    relay.finish().await;
    assert_eq!(side.outcome(), Some(Outcome::HalfClosed));
    assert!(
        taken.load(Ordering::Relaxed) > 20_000,
        "given up after {taken:?} bytes"
    );
    let took = time::now() - began;
    let expected = Duration::from_millis(2500)..Duration::from_millis(3000);
    assert!(expected.contains(&took), "given up after {took:?}");
}
