//! One stream to an address that nobody uses yet: watched until someone takes it, once and for good.

use std::{
    future::poll_fn,
    mem::MaybeUninit,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::mpsc,
};

use super::{
    actor::Pool,
    park::{Lent, Park, Report, Taker},
    sizing::Caps,
};
use crate::{
    id::ConnId,
    probe::{mutant, sometimes},
    transport::{Stream, prefixed::Prefixed},
};

/// The most that is read of what a target says before it is spoken to. More is memory for nobody; the rest stays
/// in the kernel.
const READ_AHEAD_MAX: usize = 4096;

/// The pool of a group whose targets are addresses.
pub type AddressPool = Pool<SocketAddr, Raw>;

/// A connected stream that has carried nothing.
pub struct Raw {
    stream: Box<dyn Stream>,
    /// What the target said already; nothing is read behind it.
    read_ahead: Vec<u8>,
}

/// What a parked stream is found to be.
enum News {
    /// Its target speaks first.
    Spoke,
    /// It is dead.
    Dead(&'static str),
}

impl Raw {
    /// A stream that has just been connected.
    pub fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream,
            read_ahead: Vec::new(),
        }
    }

    fn poll_parked(&mut self, cx: &mut Context<'_>) -> Poll<News> {
        if !self.read_ahead.is_empty() {
            return Poll::Pending;
        }
        let mut room = [MaybeUninit::uninit(); READ_AHEAD_MAX];
        let mut room = ReadBuf::uninit(&mut room);
        Pin::new(&mut self.stream)
            .poll_read(cx, &mut room)
            .map(|read| match read {
                Err(_) => News::Dead("io"),
                Ok(()) if room.filled().is_empty() => News::Dead("closed"),
                Ok(()) => {
                    self.read_ahead = room.filled().to_vec();
                    News::Spoke
                }
            })
    }

    /// The stream as its taker wants it.
    fn into_stream(self) -> Box<dyn Stream> {
        if self.read_ahead.is_empty() {
            return self.stream;
        }
        Box::new(Prefixed::new(self.read_ahead, self.stream))
    }
}

impl Park for Raw {
    /// Three dials for an event as in Envoy's preconnecting; eight at once, and 50 a second after a failover.
    const CAPS: Caps = Caps {
        per_event: 3,
        outstanding: 8,
        per_second: Some(50),
        single_use: true,
    };

    type Loan = Box<dyn Stream>;
    type Hold = mpsc::Sender<Taker<Self::Loan>>;

    fn keep(
        self,
        id: ConnId,
        report: impl Fn(Report<Self::Loan>) + Send + 'static,
    ) -> (Self::Hold, impl Future<Output = ()> + Send + 'static) {
        let (hold, takers) = mpsc::channel(1);
        (hold, keep(id, self, takers, report))
    }

    fn lend(hold: &Self::Hold, taker: Taker<Self::Loan>) -> Lent<Self::Loan> {
        if taker.reply.is_closed() {
            return Lent::TakerGone;
        }
        match hold.try_send(taker) {
            Ok(()) => Lent::Done,
            Err(error) => Lent::ConnGone(error.into_inner()),
        }
    }
}

/// Watches until the stream dies, is given, or its pool lets go of it.
async fn keep(
    id: ConnId,
    mut raw: Raw,
    mut takers: mpsc::Receiver<Taker<Box<dyn Stream>>>,
    report: impl Fn(Report<Box<dyn Stream>>),
) {
    let (cause, hung_up, taker) = loop {
        // The target's word first, also in the moment of being taken: what is known to be dead is not given.
        let taken = poll_fn(|cx| match raw.poll_parked(cx) {
            Poll::Ready(news) => Poll::Ready(Err(news)),
            Poll::Pending => takers.poll_recv(cx).map(Ok),
        });
        match taken.await {
            Err(News::Spoke) => {
                sometimes!("target-speaks-first");
                report(Report::Spoke(id));
            }
            Err(News::Dead(_)) if mutant!("dead-stream-kept") => match takers.recv().await {
                Some(taker) => {
                    let _ = taker.reply.send(raw.into_stream());
                    return report(Report::Given(id, taker.hit));
                }
                None => break ("retired", false, None),
            },
            Err(News::Dead(cause)) => {
                sometimes!("stale-stream-discarded");
                break (cause, true, None);
            }
            Ok(None) => break ("retired", false, None),
            Ok(Some(taker)) if raw.stream.is_broken() => break ("io", true, Some(taker)),
            Ok(Some(taker)) => match taker.reply.send(raw.into_stream()) {
                Ok(()) => return report(Report::Given(id, taker.hit)),
                Err(back) => {
                    // The taker left meanwhile. What was read ahead is read again.
                    raw = Raw::new(back);
                    report(Report::Parked(id));
                }
            },
        }
    };
    drop(raw);
    // One may have come in the moment of death.
    takers.close();
    report(Report::Gone {
        conn: id,
        cause,
        hung_up,
        taker: taker.or_else(|| takers.try_recv().ok()),
    });
}
