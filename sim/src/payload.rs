//! Bytes that prove where they belong: each is a function of connection, direction and offset.
//!
//! What crosses one session, besides the bodies:
//!
//! ```text
//! upstream -> visitor   greeting (16): "ADGR" | u8 upstream | 3 x 0 | u64 serial
//! visitor -> upstream   request  (40): "ADRQ" | u8 when | u8 hold | 2 x 0 | u64 connection | u64 length | u64 reply length | u64 delay
//! upstream -> visitor   reply    (32): "ADRP" | 4 x 0 | u64 serial | u64 connection | u64 length
//! ```
//!
//! Each says how long its body is, so that a cut stream never looks like a finished one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes of a greeting.
pub const GREETING_LEN: usize = 16;
/// Bytes of a request's header.
pub const REQUEST_LEN: usize = 40;
/// Bytes of a reply's header.
pub const REPLY_LEN: usize = 32;

/// Which way a body goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Visitor to upstream.
    Up,
    /// Upstream to visitor.
    Down,
}

/// The body of one connection in one direction.
#[derive(Clone, Copy, Debug)]
pub struct Body(u64);

impl Body {
    /// The body that `connection` carries in `direction`.
    pub fn new(connection: u64, direction: Direction) -> Self {
        Self(scramble(
            connection.wrapping_mul(2) + u64::from(direction == Direction::Down),
        ))
    }

    /// The bytes from `offset` on.
    pub fn fill(self, offset: u64, bytes: &mut [u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let (word, skip) = self.word(offset + done as u64);
            let n = (8 - skip).min(bytes.len() - done);
            bytes[done..done + n].copy_from_slice(&word[skip..skip + n]);
            done += n;
        }
    }

    /// The offset of the first byte that does not belong there.
    pub fn mismatch(self, offset: u64, bytes: &[u8]) -> Option<u64> {
        let mut done = 0;
        while done < bytes.len() {
            let (word, skip) = self.word(offset + done as u64);
            let n = (8 - skip).min(bytes.len() - done);
            if bytes[done..done + n] != word[skip..skip + n] {
                return Some(offset + done as u64);
            }
            done += n;
        }
        None
    }

    fn word(self, at: u64) -> ([u8; 8], usize) {
        (scramble(self.0 ^ (at / 8)).to_le_bytes(), (at % 8) as usize)
    }
}

/// The splitmix64 finaliser.
fn scramble(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// When an upstream begins to reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// As soon as it knows what is wanted.
    AfterHeader,
    /// When the request's body is complete.
    AfterRequest,
    /// When the visitor has ended its direction.
    AfterEof,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AfterHeader => "after the header",
            Self::AfterRequest => "after the request",
            Self::AfterEof => "after the end",
        })
    }
}

/// What an upstream says first, to everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Greeting {
    /// Which upstream.
    pub upstream: u8,
    /// Its connection, unique in the run.
    pub serial: u64,
}

impl Greeting {
    /// On the wire.
    pub fn encode(self) -> [u8; GREETING_LEN] {
        let mut bytes = [0; GREETING_LEN];
        bytes[..4].copy_from_slice(b"ADGR");
        bytes[4] = self.upstream;
        bytes[8..].copy_from_slice(&self.serial.to_le_bytes());
        bytes
    }

    /// From the wire; `None` when these bytes are no greeting.
    pub fn decode(bytes: &[u8; GREETING_LEN]) -> Option<Self> {
        (&bytes[..4] == b"ADGR").then(|| Self {
            upstream: bytes[4],
            serial: number(bytes, 8),
        })
    }
}

/// What a visitor wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    /// The visitor's connection, unique in the run.
    pub connection: u64,
    /// Bytes of body that follow.
    pub len: u64,
    /// Bytes of body wanted back.
    pub reply_len: u64,
    /// When to begin.
    pub when: When,
    /// Milliseconds to wait before that.
    pub delay_ms: u64,
    /// Milliseconds for which the upstream stops reading, half-way through the body: whole tenths of a second.
    pub hold_ms: u64,
}

impl Request {
    /// On the wire.
    pub fn encode(self) -> [u8; REQUEST_LEN] {
        let mut bytes = [0; REQUEST_LEN];
        bytes[..4].copy_from_slice(b"ADRQ");
        bytes[4] = self.when as u8;
        bytes[5] = u8::try_from(self.hold_ms / HOLD_UNIT_MS).unwrap_or(u8::MAX);
        bytes[8..16].copy_from_slice(&self.connection.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.len.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.reply_len.to_le_bytes());
        bytes[32..].copy_from_slice(&self.delay_ms.to_le_bytes());
        bytes
    }

    /// From the wire; `None` when these bytes are no request.
    pub fn decode(bytes: &[u8; REQUEST_LEN]) -> Option<Self> {
        let when = match bytes[4] {
            0 => When::AfterHeader,
            1 => When::AfterRequest,
            2 => When::AfterEof,
            _ => return None,
        };
        (&bytes[..4] == b"ADRQ").then(|| Self {
            connection: number(bytes, 8),
            len: number(bytes, 16),
            reply_len: number(bytes, 24),
            when,
            delay_ms: number(bytes, 32),
            hold_ms: u64::from(bytes[5]) * HOLD_UNIT_MS,
        })
    }
}

/// In such steps an upstream stops reading.
const HOLD_UNIT_MS: u64 = 100;

/// What stands before a reply's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The upstream's connection.
    pub serial: u64,
    /// The visitor's connection.
    pub connection: u64,
    /// Bytes of body that follow.
    pub len: u64,
}

impl Reply {
    /// On the wire.
    pub fn encode(self) -> [u8; REPLY_LEN] {
        let mut bytes = [0; REPLY_LEN];
        bytes[..4].copy_from_slice(b"ADRP");
        bytes[8..16].copy_from_slice(&self.serial.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.connection.to_le_bytes());
        bytes[24..].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    /// From the wire; `None` when these bytes are no reply.
    pub fn decode(bytes: &[u8; REPLY_LEN]) -> Option<Self> {
        (&bytes[..4] == b"ADRP").then(|| Self {
            serial: number(bytes, 8),
            connection: number(bytes, 16),
            len: number(bytes, 24),
        })
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_piece_fits_and_no_other_does() {
        let body = Body::new(7, Direction::Up);
        let mut whole = vec![0; 100];
        body.fill(0, &mut whole);
        for (from, to) in [(0, 100), (3, 50), (8, 16), (13, 14), (99, 100)] {
            assert_eq!(body.mismatch(from as u64, &whole[from..to]), None);
        }
        assert!(body.mismatch(1, &whole[..20]).is_some());
        assert!(Body::new(7, Direction::Down).mismatch(0, &whole).is_some());
        assert!(Body::new(8, Direction::Up).mismatch(0, &whole).is_some());
    }

    #[test]
    fn headers_come_back() {
        let request = Request {
            connection: 5,
            len: 6,
            reply_len: 7,
            when: When::AfterEof,
            delay_ms: 8,
            hold_ms: 900,
        };
        assert_eq!(Request::decode(&request.encode()), Some(request));
        let reply = Reply {
            serial: 1,
            connection: 2,
            len: 3,
        };
        assert_eq!(Reply::decode(&reply.encode()), Some(reply));
        let greeting = Greeting {
            upstream: 2,
            serial: 9,
        };
        assert_eq!(Greeting::decode(&greeting.encode()), Some(greeting));
        assert_eq!(Greeting::decode(&[0; GREETING_LEN]), None);
    }
}
