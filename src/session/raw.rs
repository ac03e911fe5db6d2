//! A stream that must be ended on purpose.

use std::pin::Pin;

use crate::{probe::mutant, transport::Stream};

/// The side of a session without frames. Dropping it resets it: whatever forgets a session, a crash in a
/// task or the end of the process, must not make it look finished.
pub struct RawStream(Option<Box<dyn Stream>>);

impl RawStream {
    /// Takes charge of `stream`.
    pub fn new(stream: Box<dyn Stream>) -> Self {
        Self(Some(stream))
    }

    /// The stream, to read and write.
    pub fn pin(&mut self) -> Pin<&mut dyn Stream> {
        let stream = self
            .0
            .as_mut()
            .expect("a raw stream is there until it is closed or dropped");
        Pin::new(&mut **stream)
    }

    /// See [`Stream::is_broken`].
    pub fn is_broken(&self) -> bool {
        self.0.as_ref().is_some_and(|stream| stream.is_broken())
    }

    /// Closes it: both directions have ended as they should.
    pub fn close(mut self) {
        self.0 = None;
    }
}

impl Drop for RawStream {
    fn drop(&mut self) {
        if let Some(stream) = self.0.take()
            && !mutant!("dropped-session-looks-finished")
        {
            stream.reset();
        }
    }
}
