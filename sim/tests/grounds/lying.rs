//! A transport that lies in one way, over the operating system's sockets: what the cases must catch.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use adit::transport::{BoxFuture, Listener, Stream, Transport, tcp::Tcp};
use adit_sim::parity::Case;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{loopback, play};

/// Short: where a lie makes a case wait for ever, this is how long it takes to see it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a transport may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// It does not: what a lie is compared with.
    None,
    /// The last byte of every longer write is lost.
    LosesABytePerWrite,
    /// What does not fit is taken and thrown away.
    TakesWhatDoesNotFit,
    /// A write that had to wait waits for ever.
    NeverWakesWriters,
    /// An empty write ends the direction.
    EndsAtAnEmptyWrite,
    /// An empty read takes a byte.
    TakesAByteAtAnEmptyRead,
    /// A read that waits takes the bytes that come, even if it is given up.
    ForgetsWhatNobodyTookAtOnce,
    /// Resetting is dropping.
    EndsInsteadOfResetting,
    /// Dropping is resetting.
    ResetsInsteadOfEnding,
    /// A failure looks like a clean end.
    ShowsFailuresAsEnds,
    /// Dropping never resets, whatever is unread.
    ReadsAllBeforeDropping,
    /// Ending a direction does nothing.
    NeverEnds,
    /// Ending one direction ends both.
    EndsBothDirections,
    /// No stream looks broken.
    LooksSound,
    /// Every stream looks broken.
    LooksBroken,
    /// Nobody knows who the peer is.
    HidesThePeer,
    /// A connection that comes while accepting is given up is lost.
    LosesWhoIsAccepted,
    /// Of two that wait, the later is accepted first.
    AcceptsTheLaterFirst,
    /// A dropped listener goes on listening.
    ListensForEver,
}

/// Cases played at once. More wait at the same time; too many run out of descriptors.
const AT_ONCE: usize = 16;

/// Plays each case over a transport that lies. Returns those that hold all the same.
pub fn believed(plays: &[(Lie, Case)]) -> Vec<(Lie, Case)> {
    let begin = |&(lie, case): &(Lie, Case)| {
        let patience = if lie == Lie::None {
            loopback::PATIENCE
        } else {
            PATIENCE
        };
        let ground = move |case: &Case| loopback::ground_of(case, Arc::new(Liar(lie)), patience);
        ((lie, case), thread::spawn(move || play(case, ground)))
    };
    let mut held = Vec::new();
    for some in plays.chunks(AT_ONCE) {
        let begun: Vec<_> = some.iter().map(begin).collect();
        let ended = begun.into_iter().map(|(told, playing)| (told, playing.join()));
        held.extend(
            ended
                .filter(|(_, ending)| matches!(ending, Ok(Ok(()))))
                .map(|(told, _)| told),
        );
    }
    held
}

struct Liar(Lie);

impl Transport for Liar {
    fn connect(&self, peer: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let (connecting, lie) = (Tcp.connect(peer), self.0);
        Box::pin(async move { Ok(Told::over(connecting.await?, lie)) })
    }

    fn listen(&self, local: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let (listening, lie) = (Tcp.listen(local), self.0);
        Box::pin(async move {
            let door = Door {
                inner: Some(listening.await?),
                lie,
                earlier: None,
            };
            Ok(Box::new(door) as Box<dyn Listener>)
        })
    }
}

type Accepted = (Box<dyn Stream>, SocketAddr);

struct Door {
    inner: Option<Box<dyn Listener>>,
    lie: Lie,
    /// Who was overtaken.
    earlier: Option<Accepted>,
}

impl Listener for Door {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Accepted>> {
        Box::pin(async move {
            let inner = self.inner.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            let (mut stream, mut peer) = match self.earlier.take() {
                Some(earlier) => earlier,
                None => {
                    let mut first = inner.accept().await?;
                    if self.lie == Lie::AcceptsTheLaterFirst {
                        let mut next = inner.accept();
                        let polled = next.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                        if let Poll::Ready(Ok(later)) = polled {
                            self.earlier = Some(std::mem::replace(&mut first, later));
                        }
                    }
                    first
                }
            };
            if self.lie == Lie::LosesWhoIsAccepted {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            if self.lie == Lie::HidesThePeer {
                peer.set_port(0);
            }
            stream = Told::over(stream, self.lie);
            Ok((stream, peer))
        })
    }

    fn local_addr(&self) -> SocketAddr {
        match &self.inner {
            Some(inner) => inner.local_addr(),
            None => SocketAddr::from(([0; 4], 0)),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if self.lie == Lie::ListensForEver {
            std::mem::forget(self.inner.take());
        }
    }
}

struct Told {
    /// There until it is dropped.
    inner: Option<Box<dyn Stream>>,
    lie: Lie,
    ended: bool,
    stuck: bool,
}

impl Told {
    fn over(inner: Box<dyn Stream>, lie: Lie) -> Box<dyn Stream> {
        Box::new(Self {
            inner: Some(inner),
            lie,
            ended: false,
            stuck: false,
        })
    }

    fn inner(&mut self) -> Pin<&mut Box<dyn Stream>> {
        Pin::new(self.inner.as_mut().expect("it is there until it is dropped"))
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        match (self.lie, self.inner.take()) {
            (Lie::ResetsInsteadOfEnding, Some(inner)) => inner.reset(),
            (Lie::ReadsAllBeforeDropping, Some(mut inner)) => {
                let (mut bytes, mut cx) = ([0; 4096], Context::from_waker(Waker::noop()));
                loop {
                    let mut piece = ReadBuf::new(&mut bytes);
                    let read = Pin::new(&mut inner).poll_read(&mut cx, &mut piece);
                    if !matches!(read, Poll::Ready(Ok(()))) || piece.filled().is_empty() {
                        break;
                    }
                }
            }
            _ => {}
        }
    }
}

impl Stream for Told {
    fn peer_addr(&self) -> Option<SocketAddr> {
        let known = self.lie != Lie::HidesThePeer;
        known.then(|| self.inner.as_ref()?.peer_addr())?
    }

    fn is_broken(&self) -> bool {
        match self.lie {
            Lie::LooksSound => false,
            Lie::LooksBroken => true,
            _ => self.inner.as_ref().is_some_and(|inner| inner.is_broken()),
        }
    }

    fn reset(mut self: Box<Self>) {
        match self.inner.take() {
            Some(inner) if self.lie != Lie::EndsInsteadOfResetting => inner.reset(),
            inner => drop(inner),
        }
    }
}

impl AsyncRead for Told {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.lie == Lie::EndsBothDirections && self.ended {
            return Poll::Ready(Ok(()));
        }
        let mut taken = [0; 1];
        if self.lie == Lie::TakesAByteAtAnEmptyRead && buf.remaining() == 0 {
            let mut taken = ReadBuf::new(&mut taken);
            return self.inner().poll_read(cx, &mut taken);
        }
        let read = self.inner().poll_read(cx, buf);
        if self.lie == Lie::ForgetsWhatNobodyTookAtOnce && self.stuck && read.is_ready() {
            // What came while the read waited is gone.
            buf.clear();
            self.stuck = false;
            return self.inner().poll_read(cx, buf);
        }
        self.stuck = read.is_pending() && self.lie == Lie::ForgetsWhatNobodyTookAtOnce;
        match read {
            Poll::Ready(Err(_)) if self.lie == Lie::ShowsFailuresAsEnds => Poll::Ready(Ok(())),
            read => read,
        }
    }
}

impl AsyncWrite for Told {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.stuck && self.lie == Lie::NeverWakesWriters {
            return Poll::Pending;
        }
        if self.lie == Lie::EndsAtAnEmptyWrite && bytes.is_empty() {
            return self.inner().poll_shutdown(cx).map_ok(|()| 0);
        }
        let lost = usize::from(self.lie == Lie::LosesABytePerWrite && bytes.len() > 1);
        match self.inner().poll_write(cx, &bytes[..bytes.len() - lost]) {
            Poll::Ready(Ok(taken)) if taken + lost == bytes.len() => Poll::Ready(Ok(bytes.len())),
            Poll::Ready(Ok(_)) | Poll::Pending if self.lie == Lie::TakesWhatDoesNotFit => {
                Poll::Ready(Ok(bytes.len()))
            }
            Poll::Pending => {
                self.stuck = self.lie == Lie::NeverWakesWriters;
                Poll::Pending
            }
            ready => ready,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended = true;
        match self.lie {
            Lie::NeverEnds => Poll::Ready(Ok(())),
            _ => self.inner().poll_shutdown(cx),
        }
    }
}
