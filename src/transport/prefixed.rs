//! A stream of which something was read already.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Stream;

/// A stream with bytes that were read ahead: they come first. In all else it is the stream.
pub struct Prefixed {
    prefix: Vec<u8>,
    /// How much of the prefix has been read again.
    given: usize,
    stream: Box<dyn Stream>,
}

impl Prefixed {
    /// `prefix` was read from `stream`, and nothing after it.
    pub fn new(prefix: Vec<u8>, stream: Box<dyn Stream>) -> Self {
        Self {
            prefix,
            given: 0,
            stream,
        }
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let left = &this.prefix[this.given..];
        if left.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let count = left.len().min(buf.remaining());
        buf.put_slice(&left[..count]);
        this.given += count;
        if this.given == this.prefix.len() {
            // The session may be long; what came before it is not kept.
            (this.prefix, this.given) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Stream for Prefixed {
    fn peer_addr(&self) -> Option<SocketAddr> {
        self.stream.peer_addr()
    }

    fn expect_prompt_reader(&self) {
        self.stream.expect_prompt_reader();
    }

    fn keep_queue_short(&self) {
        self.stream.keep_queue_short();
    }

    fn is_broken(&self) -> bool {
        self.stream.is_broken()
    }

    fn reset(self: Box<Self>) {
        self.stream.reset();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_was_read_ahead_comes_first(prefix: Vec<u8>, rest: Vec<u8>, room in 1usize..64) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (read, written) = runtime.block_on(async {
                let (near, mut far) = pair().await;
                let mut stream = Prefixed::new(prefix.clone(), Box::new(near));
                far.write_all(&rest).await.unwrap();
                stream.write_all(b"answer").await.unwrap();
                stream.shutdown().await.unwrap();
                let mut written = Vec::new();
                far.read_to_end(&mut written).await.unwrap();
                drop(far);
                let (mut read, mut part) = (Vec::new(), vec![0; room]);
                loop {
                    let count = stream.read(&mut part).await.unwrap();
                    if count == 0 {
                        break (read, written);
                    }
                    read.extend_from_slice(&part[..count]);
                }
            });
            prop_assert_eq!(read, [prefix, rest].concat());
            prop_assert_eq!(written, b"answer");
        }
    }

    #[tokio::test]
    async fn a_reset_is_the_streams_own() {
        let (near, mut far) = pair().await;
        let stream: Box<dyn Stream> = Box::new(Prefixed::new(b"hello".to_vec(), Box::new(near)));
        assert_eq!(stream.peer_addr(), far.local_addr().ok());
        assert!(!stream.is_broken());
        stream.reset();
        let error = far.read(&mut [0; 8]).await.expect_err("the peer sees a reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
