//! The model of one direction of one stream: what was said is a number of bytes that everybody can tell, and messages
//! between them.

use std::collections::VecDeque;

use adit::id::StreamId;
use bytes::Bytes;

/// What was said in one direction, and how much of it was heard.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Bytes said.
    pub(super) bytes: u64,
    /// Bytes heard.
    pub(super) heard: u64,
    /// Kinds of messages said and not heard, and how many bytes come before each.
    messages: VecDeque<(u64, u8)>,
    /// This direction was reset by whoever speaks.
    pub(super) reset: bool,
    /// Whoever listens said its last before it had heard the end: what waits for it then may be thrown away.
    pub(super) unwanted: bool,
}

impl Said {
    pub(super) fn say_message(&mut self, kind: u8) {
        self.messages.push_back((self.bytes, kind));
    }

    /// The next `len` bytes. No two streams, directions or places look alike for long.
    pub(super) fn say_bytes(&mut self, id: StreamId, way: usize, len: usize) -> Bytes {
        let from = self.bytes;
        self.bytes += len as u64;
        (from..self.bytes).map(|at| byte(id, way, at)).collect()
    }

    pub(super) fn hear_message(&mut self, kind: u8) {
        let (before, next) = self.messages.pop_front().unzip();
        assert_eq!(next, Some(kind), "messages are heard in order");
        let between = before == Some(self.heard) || self.unwanted && before > Some(self.heard);
        assert!(between, "a message is heard between the bytes around it");
    }

    pub(super) fn hear_bytes(&mut self, id: StreamId, way: usize, bytes: &[u8]) {
        for heard in bytes {
            assert_eq!(*heard, byte(id, way, self.heard), "byte {} of {id}", self.heard);
            self.heard += 1;
        }
        let before = self.messages.front().map_or(self.bytes, |(before, _)| *before);
        assert!(self.heard <= before, "bytes of {id} overtook a message");
    }

    pub(super) fn is_heard(&self) -> bool {
        (self.heard == self.bytes || self.unwanted) && self.messages.is_empty()
    }
}

fn byte(id: StreamId, way: usize, at: u64) -> u8 {
    let mixed =
        (u64::from(id.value()) * 2 + way as u64 + 1).wrapping_mul(0x9e37_79b9) ^ at.wrapping_mul(0x85eb_ca6b);
    (mixed >> 8) as u8
}
