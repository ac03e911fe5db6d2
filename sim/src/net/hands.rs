//! A stream in several hands of one host.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use adit::transport::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::lock::Shared;

/// A hand on a stream: some read, some write, any may reset it. It closes when the last one lets go.
#[derive(Clone)]
pub struct Hand(Shared<Option<Box<dyn Stream>>>);

impl Hand {
    /// The first hand on `stream`.
    pub fn new(stream: Box<dyn Stream>) -> Self {
        Self(Shared::new(Some(stream)))
    }

    /// Resets the stream; the other hands see it fail.
    pub fn reset(&self) {
        if let Some(stream) = self.0.with(Option::take) {
            stream.reset();
        }
    }

    /// Closes the stream; the other hands see it fail.
    pub fn close(&self) {
        drop(self.0.with(Option::take));
    }

    fn with<T>(
        &self,
        act: impl FnOnce(Pin<&mut Box<dyn Stream>>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        self.0.with(|stream| match stream {
            Some(stream) => act(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        })
    }
}

impl AsyncRead for Hand {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Hand {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(cx))
    }
}
