//! The sockets of one host: the kernel's, with what the product's transport promises beyond them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use adit::transport::{BoxFuture, Listener, Stream, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil_net::shim::tokio::net::{TcpListener, TcpStream};

use super::book::{Book, Ends, Wish};
use crate::lock::Shared;

/// The sockets of the host at an address.
#[derive(Clone, Debug)]
pub struct Sockets {
    ip: IpAddr,
    book: Shared<Book>,
}

impl Sockets {
    /// The sockets of the host at `ip`.
    pub fn new(ip: IpAddr, book: Shared<Book>) -> Self {
        Self { ip, book }
    }
}

impl Transport for Sockets {
    fn connect(&self, peer: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let book = self.book.clone();
        Box::pin(async move {
            let inner = TcpStream::connect(peer).await?;
            Ok(Box::new(Socket::new(inner, book)?) as Box<dyn Stream>)
        })
    }

    fn listen(&self, local: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let (ip, book) = (self.ip, self.book.clone());
        Box::pin(async move {
            let parked = book.with(|book| book.parked.remove(&SocketAddr::new(ip, local.port())));
            let inner = match parked {
                Some(inner) => inner,
                None => TcpListener::bind((Ipv4Addr::UNSPECIFIED, local.port())).await?,
            };
            let local = inner.local_addr()?;
            let bound = Bound {
                inner: Some(inner),
                ip,
                local,
                book,
            };
            // What came to the port while nobody listened has been told so.
            bound.turn_away(false);
            Ok(Box::new(bound) as Box<dyn Listener>)
        })
    }
}

/// A listener. Its kernel would not give its port to another while a connection that came in by it is left, so
/// it is never closed: it is parked, and the next who listens there takes it over.
struct Bound {
    inner: Option<TcpListener>,
    ip: IpAddr,
    local: SocketAddr,
    book: Shared<Book>,
}

impl Bound {
    fn inner(&self) -> &TcpListener {
        self.inner.as_ref().expect("only dropping it takes the listener")
    }

    /// Lets go of everybody who waits to be accepted, with a reset for each who does not know yet.
    fn turn_away(&self, reset: bool) {
        let cx = &mut Context::from_waker(Waker::noop());
        while let Poll::Ready(Ok((stream, _))) = self.inner().poll_accept(cx) {
            if let (true, Ok(ends)) = (reset, ends(&stream)) {
                self.book.with(|book| book.wishes.push(Wish::Reset(ends)));
            }
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.turn_away(true);
        if let Some(inner) = self.inner.take() {
            let at = SocketAddr::new(self.ip, self.local.port());
            self.book.with(|book| book.parked.insert(at, inner));
        }
    }
}

fn ends(stream: &TcpStream) -> io::Result<Ends> {
    Ok(Ends {
        local: stream.local_addr()?,
        peer: stream.peer_addr()?,
    })
}

impl Listener for Bound {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(async move {
            let (inner, peer) = self.inner().accept().await?;
            let socket = Socket::new(inner, self.book.clone())?;
            Ok((Box::new(socket) as Box<dyn Stream>, peer))
        })
    }

    fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

/// One connection's end.
#[derive(Debug)]
struct Socket {
    inner: TcpStream,
    ends: Ends,
    book: Shared<Book>,
}

impl Socket {
    fn new(inner: TcpStream, book: Shared<Book>) -> io::Result<Self> {
        let ends = ends(&inner)?;
        book.with(|book| book.hold(ends));
        Ok(Self { inner, ends, book })
    }

    /// The kernel knows one way to fail; the book knows why.
    fn explain(&self, error: io::Error) -> io::Error {
        match self.book.with(|book| book.failed(self.ends)) {
            Some(kind) if error.kind() == io::ErrorKind::ConnectionReset => kind.into(),
            _ => error,
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.book.with(|book| book.let_go(self.ends));
    }
}

impl Stream for Socket {
    fn peer_addr(&self) -> Option<SocketAddr> {
        Some(self.ends.peer)
    }

    fn expect_prompt_reader(&self) {
        self.book.with(|book| {
            if let Some(socket) = book.sockets.get_mut(&self.ends) {
                socket.prompt_reader = true;
            }
        });
    }

    fn is_broken(&self) -> bool {
        self.book.with(|book| book.failed(self.ends)).is_some()
    }

    fn reset(self: Box<Self>) {
        self.book.with(|book| book.wish_reset(self.ends));
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let Poll::Ready(result) = Pin::new(&mut self.inner).poll_read(cx, buf) else {
            return Poll::Pending;
        };
        let read = buf.filled().len() - before;
        if read > 0 {
            self.book.with(|book| book.note_read(self.ends, read));
        }
        Poll::Ready(result.map_err(|error| self.explain(error)))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let Poll::Ready(result) = Pin::new(&mut self.inner).poll_write(cx, bytes) else {
            return Poll::Pending;
        };
        Poll::Ready(result.map_err(|error| self.explain(error)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Poll::Ready(result) = Pin::new(&mut self.inner).poll_shutdown(cx) else {
            return Poll::Pending;
        };
        Poll::Ready(result.map_err(|error| self.explain(error)))
    }
}
