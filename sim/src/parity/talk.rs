//! One end of a connection that says and hears known bytes.
//!
//! Every byte is a function of connection, direction and offset, so whatever is heard is checked by hearing it.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    task::Poll,
};

use adit::{
    time::{self, Duration},
    transport::Stream,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::payload::{Body, Direction};

/// How long nothing must move before a writer counts as blocked. A machine that stalls for longer makes a case
/// weaker, never red: whatever was taken by then is what the case goes on with.
const QUIET: Duration = Duration::from_millis(250);

/// Fits into the buffers of every ground, so that it can be said while nobody reads.
pub const FITS: u64 = 3_000;

/// Does not fit.
pub const MUCH: u64 = 300_000;

/// More than any ground may take from a writer whose peer does not read.
pub const FLIGHT_MAX: u64 = 64 << 20;

/// Bytes of one write or read, where a case says nothing else.
const PIECE: usize = 16 << 10;

/// A conversation over one stream, or over one half of it.
#[derive(Debug)]
pub struct Talk<S = Box<dyn Stream>> {
    stream: S,
    says: Direction,
    /// Which connection the bytes belong to.
    number: u64,
    said: u64,
    heard: u64,
    patience: Duration,
}

/// The half that hears.
pub type Hearer = Talk<ReadHalf<Box<dyn Stream>>>;

/// The half that says.
pub type Sayer = Talk<WriteHalf<Box<dyn Stream>>>;

/// Polls `future` once. Says whether it waits.
pub async fn waits(future: &mut (impl Future + Unpin)) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_pending())).await
}

impl Talk {
    /// A conversation over `stream` in which this side's bytes go in the direction `says`.
    pub fn new(stream: Box<dyn Stream>, says: Direction, patience: Duration) -> Self {
        Self {
            stream,
            says,
            number: 0,
            said: 0,
            heard: 0,
            patience,
        }
    }

    /// The stream.
    pub fn stream(&mut self) -> &mut Box<dyn Stream> {
        &mut self.stream
    }

    /// Ends the stream with a reset.
    pub fn reset(self) {
        self.stream.reset();
    }

    /// One half that hears and one that says.
    pub fn split(self) -> (Hearer, Sayer) {
        let (read, write) = tokio::io::split(self.stream);
        let (says, number, said, heard, patience) =
            (self.says, self.number, self.said, self.heard, self.patience);
        let hearer = Talk {
            stream: read,
            says,
            number,
            said,
            heard,
            patience,
        };
        let sayer = Talk {
            stream: write,
            says,
            number,
            said,
            heard,
            patience,
        };
        (hearer, sayer)
    }

    /// Says `out` bytes and then the end, and meanwhile hears exactly `back` bytes and the end.
    ///
    /// # Errors
    /// Either direction failed.
    pub async fn exchange(self, out: u64, back: u64) -> Result<(), String> {
        let (mut hearer, mut sayer) = self.split();
        let say = async {
            sayer.say(out).await?;
            sayer.end().await
        };
        tokio::try_join!(say, hearer.hear_to_end(back)).map(|_| ())
    }

    /// Tells the peer which connection this is; from now on the bytes are those of that connection.
    ///
    /// # Errors
    /// Writing failed.
    pub async fn introduce(&mut self, number: u64) -> Result<(), String> {
        let bytes = number.to_le_bytes();
        let told = time::within(self.patience, self.stream.write_all(&bytes)).await;
        self.number = number;
        told.ok_or("an introduction cannot be written")?
            .map_err(|error| format!("introducing {number}: {error}"))
    }

    /// Hears which connection this is; from now on the bytes are those of that connection.
    ///
    /// # Errors
    /// Reading failed.
    pub async fn meet(&mut self) -> Result<u64, String> {
        let mut bytes = [0; 8];
        let told = time::within(self.patience, self.stream.read_exact(&mut bytes)).await;
        told.ok_or("an introduction does not arrive")?
            .map_err(|error| format!("hearing an introduction: {error}"))?;
        self.number = u64::from_le_bytes(bytes);
        Ok(self.number)
    }
}

impl<S: AsyncWrite + Unpin> Talk<S> {
    fn words(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        Body::new(self.number, self.says).fill(self.said, &mut bytes);
        bytes
    }

    /// One write of at most `length` bytes. Says how many were taken.
    ///
    /// # Errors
    /// What the stream says, or [`ErrorKind::TimedOut`] when patience ends.
    pub async fn say_once(&mut self, length: usize) -> io::Result<usize> {
        let words = self.words(length);
        let wrote = time::within(self.patience, self.stream.write(&words)).await;
        let taken = wrote.unwrap_or_else(|| Err(impatience()))?;
        self.said += taken as u64;
        Ok(taken)
    }

    /// Says `count` bytes.
    ///
    /// # Errors
    /// A write failed, took nothing, or took too long.
    pub async fn say(&mut self, count: u64) -> Result<(), String> {
        self.say_in_pieces(count, PIECE).await
    }

    /// Says `count` bytes, at most `piece` with each write.
    ///
    /// # Errors
    /// A write failed, took nothing, or took too long.
    pub async fn say_in_pieces(&mut self, count: u64, piece: usize) -> Result<(), String> {
        let until = self.said + count;
        while self.said < until {
            let length = piece.min(usize::try_from(until - self.said).unwrap_or(piece));
            match self.say_once(length).await {
                Ok(0) => return Err(format!("a write took nothing after {} bytes", self.said)),
                Ok(_) => {}
                Err(error) => return Err(format!("writing after {} bytes: {error}", self.said)),
            }
        }
        Ok(())
    }

    /// Says as much as the stream takes while nobody reads. Says how much that was.
    ///
    /// # Errors
    /// A write failed, or there seems to be no bound.
    pub async fn fill(&mut self) -> Result<u64, String> {
        let before = self.said;
        loop {
            let words = self.words(PIECE);
            match time::within(QUIET, self.stream.write(&words)).await {
                None => return Ok(self.said - before),
                Some(Ok(taken)) => self.said += taken as u64,
                Some(Err(error)) => return Err(format!("writing after {} bytes: {error}", self.said)),
            }
            if self.said - before > FLIGHT_MAX {
                return Err(format!(
                    "{} bytes were taken though nobody reads",
                    self.said - before
                ));
            }
        }
    }

    /// Says more and more until it fails, and then fails once more.
    ///
    /// # Errors
    /// Writing goes on, waits for ever, or fails in a way that does not mean a dead connection.
    pub async fn say_to_failure(&mut self) -> Result<(), String> {
        let until = self.said + FLIGHT_MAX;
        loop {
            match self.say_once(PIECE).await {
                Ok(_) if self.said < until => {}
                Ok(_) => return Err(format!("{FLIGHT_MAX} bytes were taken by a dead connection")),
                Err(error) => {
                    dead("writing", &error)?;
                    break;
                }
            }
        }
        match self.say_once(PIECE).await {
            Ok(taken) => Err(format!("{taken} bytes were taken after a write had failed")),
            Err(error) => dead("writing again", &error),
        }
    }

    /// Ends this side's direction.
    ///
    /// # Errors
    /// Shutting down failed.
    pub async fn end(&mut self) -> Result<(), String> {
        let ended = time::within(self.patience, self.stream.shutdown()).await;
        ended
            .ok_or("shutting down takes for ever")?
            .map_err(|error| format!("shutting down: {error}"))
    }
}

impl<S: AsyncRead + Unpin> Talk<S> {
    /// One read of at most `length` bytes, which must be the right ones; 0 is the end.
    ///
    /// # Errors
    /// What the stream says; [`ErrorKind::TimedOut`] when patience ends, [`ErrorKind::InvalidData`] for a wrong
    /// byte.
    pub async fn hear_once(&mut self, length: usize) -> io::Result<usize> {
        let theirs = match self.says {
            Direction::Up => Direction::Down,
            Direction::Down => Direction::Up,
        };
        let mut bytes = vec![0; length];
        let read = time::within(self.patience, self.stream.read(&mut bytes)).await;
        let n = read.unwrap_or_else(|| Err(impatience()))?;
        if let Some(at) = Body::new(self.number, theirs).mismatch(self.heard, &bytes[..n]) {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("byte {at} is wrong"),
            ));
        }
        self.heard += n as u64;
        Ok(n)
    }

    /// Hears exactly `count` bytes.
    ///
    /// # Errors
    /// An early end, a wrong byte, a failure, or silence.
    pub async fn hear(&mut self, count: u64) -> Result<(), String> {
        self.hear_in_pieces(count, PIECE).await
    }

    /// Hears exactly `count` bytes, at most `piece` with each read.
    ///
    /// # Errors
    /// An early end, a wrong byte, a failure, or silence.
    pub async fn hear_in_pieces(&mut self, count: u64, piece: usize) -> Result<(), String> {
        let until = self.heard + count;
        while self.heard < until {
            let length = piece.min(usize::try_from(until - self.heard).unwrap_or(piece));
            match self.hear_once(length).await {
                Ok(0) => return Err(format!("the end came after {} of {until} bytes", self.heard)),
                Ok(_) => {}
                Err(error) => return Err(format!("reading after {} of {until} bytes: {error}", self.heard)),
            }
        }
        Ok(())
    }

    /// Hears the end, and nothing before it.
    ///
    /// # Errors
    /// More bytes, a failure, or silence.
    pub async fn hear_end(&mut self) -> Result<(), String> {
        match self.hear_once(PIECE).await {
            Ok(0) => Ok(()),
            Ok(n) => Err(format!("{n} bytes came where the end was due")),
            Err(error) => Err(format!("instead of the end after {} bytes: {error}", self.heard)),
        }
    }

    /// Hears exactly `count` bytes and then the end.
    ///
    /// # Errors
    /// As [`Talk::hear`] and [`Talk::hear_end`].
    pub async fn hear_to_end(&mut self, count: u64) -> Result<(), String> {
        self.hear(count).await?;
        self.hear_end().await
    }

    /// Hears any beginning of what was said and then that the connection is dead: never a clean end.
    ///
    /// # Errors
    /// An end, silence, a wrong byte, or a failure that does not mean a dead connection.
    pub async fn hear_failure(&mut self) -> Result<(), String> {
        loop {
            match self.hear_once(PIECE).await {
                Ok(0) => {
                    return Err(format!(
                        "a clean end after {} bytes, where a reset was due",
                        self.heard
                    ));
                }
                Ok(_) => {}
                Err(error) => return dead("reading", &error),
            }
        }
    }
}

fn impatience() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "nothing happened")
}

/// Whether `error` is what a dead connection says.
fn dead(what: &str, error: &io::Error) -> Result<(), String> {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(()),
        ErrorKind::TimedOut => Err(format!("{what} took too long, where a reset was due: {error}")),
        kind => Err(format!("{what} failed with {kind:?}: {error}")),
    }
}
