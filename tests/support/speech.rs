//! Bytes that are checked one by one.

use std::{io, ops::Range};

use rand::{Rng, SeedableRng};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes whose place shows: no two positions less than 64 KiB apart look alike for long.
pub struct Speech {
    block: Vec<u8>,
}

impl Speech {
    pub fn new(seed: u64) -> Self {
        let mut block = vec![0; 65_521];
        rand_chacha::ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut block);
        Self { block }
    }

    /// The bytes from `at` on, at least one and at most `max`.
    pub fn from(&self, at: usize, max: usize) -> &[u8] {
        let rest = &self.block[at % self.block.len()..];
        &rest[..rest.len().min(max)]
    }

    /// Writes the first `len` bytes, then ends the direction.
    pub async fn say(&self, stream: &mut (impl AsyncWrite + Unpin), len: usize) -> io::Result<()> {
        self.write(stream, 0..len).await?;
        stream.shutdown().await
    }

    /// Writes a part.
    pub async fn write(&self, stream: &mut (impl AsyncWrite + Unpin), part: Range<usize>) -> io::Result<()> {
        let mut at = part.start;
        while at < part.end {
            let bytes = self.from(at, part.end - at);
            stream.write_all(bytes).await?;
            at += bytes.len();
        }
        Ok(())
    }

    /// Reads to the end, compares every byte, returns how many there were.
    pub async fn hear(&self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        let (at, end) = self.hear_some(stream, 0, usize::MAX).await;
        end.map(|()| at)
    }

    /// Reads from position `at` until `until` or the end, comparing every byte; says how far it came.
    pub async fn hear_some(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        mut at: usize,
        until: usize,
    ) -> (usize, io::Result<()>) {
        let mut buffer = vec![0; 64 * 1024];
        while at < until {
            let max = buffer.len().min(until - at);
            let n = match stream.read(&mut buffer[..max]).await {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) => return (at, Err(error)),
            };
            let mut seen = 0;
            while seen < n {
                let expected = self.from(at + seen, n - seen);
                assert!(
                    buffer[seen..].starts_with(expected),
                    "a wrong byte behind position {}",
                    at + seen
                );
                seen += expected.len();
            }
            at += n;
        }
        (at, Ok(()))
    }
}
