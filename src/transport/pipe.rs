//! A stream in memory, for a session whose one side is in this process.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

use super::Stream;

/// What each direction holds, in bytes. More takes memory for each; less takes more turns.
const PIPE_LEN: usize = 4 * 1024;

/// One end of a pipe. The other sees its reset as an end.
#[derive(Debug)]
pub struct Pipe(DuplexStream);

/// A pipe: the end that a session holds, and the one that speaks to it.
pub fn pipe() -> (Pipe, DuplexStream) {
    let (near, far) = duplex(PIPE_LEN);
    (Pipe(near), far)
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Stream for Pipe {
    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }

    fn reset(self: Box<Self>) {}
}
