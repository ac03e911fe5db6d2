//! Frames to bytes and back, incrementally, within limits, without ever holding a body.

use super::{
    frame::{
        CREDIT_LEN, HEADER_LEN_MAX, IGNORABLE, PREFIX_LEN, Prefix, SKIPPED_BODY_LEN_MAX, is_known, kind,
    },
    message::{DecodeError, Message},
};
use crate::probe::mutant;

/// Why bytes were not frames. The connection is closed; nothing after the error can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A header longer than any message has.
    #[error("frame header of {0} bytes, at most {HEADER_LEN_MAX} are allowed")]
    HeaderTooLong(u16),
    /// A body longer than this connection allows.
    #[error("frame body of {0} bytes, at most {1} are allowed")]
    BodyTooLong(u32, u32),
    /// A body on a kind that has none.
    #[error("frame of kind {0} has a body")]
    UnexpectedBody(u8),
    /// DATA, FIN, PING, PONG and credit have none.
    #[error("frame of kind {0} has a header")]
    UnexpectedHeader(u8),
    /// Credit is a number of four bytes.
    #[error("credit of {0} bytes, {CREDIT_LEN} are expected")]
    CreditLen(u32),
}

/// A frame without its body: prefix and raw header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The fixed part.
    pub prefix: Prefix,
    /// The rmp-serde map, not decoded yet. Empty for bare kinds.
    pub header: Vec<u8>,
}

impl Head {
    /// The bytes as they crossed the wire, for transcripts.
    pub fn raw(&self) -> Vec<u8> {
        let mut raw = self.prefix.encode().to_vec();
        raw.extend_from_slice(&self.header);
        raw
    }

    /// Decodes the message; `None` when its kind is unknown and may be skipped.
    ///
    /// # Errors
    /// [`DecodeError`] for a header that is not the message its kind names.
    pub fn message<M: Message>(&self) -> Result<Option<M>, DecodeError> {
        match M::decode(self.prefix.kind, &self.header) {
            Err(DecodeError::UnknownKind(_)) if self.prefix.flags & IGNORABLE != 0 => Ok(None),
            other => other.map(Some),
        }
    }
}

/// What the decoder found.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A whole head. If its `body_len` is not zero, the body follows as [`Piece::Body`].
    Head(Head),
    /// This many bytes at the front of the input belong to the body of the last head. They stay in the
    /// input until [`Decoder::consume_body`].
    Body(usize),
    /// Nothing more can be said without more input.
    Incomplete,
}

/// Cuts a byte stream into heads and bodies. Holds at most one prefix and one header.
#[derive(Debug)]
pub struct Decoder {
    body_len_max: u32,
    partial: Vec<u8>,
    body_left: u32,
    /// The body being passed belongs to a skipped frame.
    skipping: bool,
}

impl Decoder {
    /// A decoder for a connection whose DATA bodies are at most `body_len_max` bytes long.
    pub fn new(body_len_max: u32) -> Self {
        Self {
            body_len_max,
            partial: Vec::new(),
            body_left: 0,
            skipping: false,
        }
    }

    /// Whether it stands exactly between two frames.
    pub fn is_empty(&self) -> bool {
        self.partial.is_empty() && self.body_left == 0
    }

    /// The beginning of a frame that has not come whole, or is none.
    pub fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Looks at `input`, takes heads from its front, and says what is there.
    ///
    /// # Errors
    /// [`FrameError`] before anything the frame claims is allocated.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Piece, FrameError> {
        loop {
            if self.body_left > 0 {
                let there = input.len().min(self.body_left as usize);
                if there == 0 {
                    return Ok(Piece::Incomplete);
                }
                if !self.skipping {
                    return Ok(Piece::Body(there));
                }
                *input = &input[there..];
                self.consume_body(there);
                continue;
            }
            if !self.fill(input, PREFIX_LEN) {
                return Ok(Piece::Incomplete);
            }
            let prefix = Prefix::decode(
                self.partial[..PREFIX_LEN]
                    .try_into()
                    .expect("a prefix was filled"),
            );
            self.admit(prefix)?;
            if !self.fill(input, PREFIX_LEN + usize::from(prefix.header_len)) {
                return Ok(Piece::Incomplete);
            }
            let header = self.partial.split_off(PREFIX_LEN);
            self.partial.clear();
            self.body_left = prefix.body_len;
            self.skipping = !has_body(prefix.kind);
            if is_skippable(prefix) {
                continue;
            }
            return Ok(Piece::Head(Head { prefix, header }));
        }
    }

    /// Tells that `n` bytes of the body were taken from the front of the input.
    ///
    /// # Panics
    /// When more is taken than [`Piece::Body`] offered.
    pub fn consume_body(&mut self, n: usize) {
        let n = u32::try_from(n).expect("a body piece fits a u32");
        self.body_left = self
            .body_left
            .checked_sub(n)
            .expect("no more is consumed than the body has");
    }

    /// Moves bytes from `input` until `partial` has `len`.
    fn fill(&mut self, input: &mut &[u8], len: usize) -> bool {
        let missing = len.saturating_sub(self.partial.len());
        let split = (1..PREFIX_LEN).contains(&self.partial.len());
        let missing = missing + usize::from(split && mutant!("split-prefix-takes-a-byte-too-many"));
        let (taken, rest) = input.split_at(missing.min(input.len()));
        self.partial.extend_from_slice(taken);
        *input = rest;
        self.partial.len() >= len
    }

    fn admit(&self, prefix: Prefix) -> Result<(), FrameError> {
        if prefix.header_len > HEADER_LEN_MAX && !mutant!("oversized-header-accepted") {
            return Err(FrameError::HeaderTooLong(prefix.header_len));
        }
        let skippable = is_skippable(prefix);
        let body_len_max = if skippable {
            SKIPPED_BODY_LEN_MAX
        } else {
            self.body_len_max
        };
        if prefix.body_len > body_len_max {
            return Err(FrameError::BodyTooLong(prefix.body_len, body_len_max));
        }
        let bare = has_body(prefix.kind) || matches!(prefix.kind, kind::FIN | kind::PING | kind::PONG);
        if bare && prefix.header_len > 0 {
            return Err(FrameError::UnexpectedHeader(prefix.kind));
        }
        if prefix.body_len > 0 && !has_body(prefix.kind) && !skippable {
            return Err(FrameError::UnexpectedBody(prefix.kind));
        }
        let is_credit = matches!(prefix.kind, kind::WINDOW | kind::WINDOW_RETURN);
        if is_credit && prefix.body_len != CREDIT_LEN {
            return Err(FrameError::CreditLen(prefix.body_len));
        }
        Ok(())
    }
}

fn has_body(kind: u8) -> bool {
    matches!(kind, kind::DATA | kind::WINDOW | kind::WINDOW_RETURN)
}

/// A frame of a newer peer that says of itself that it may be skipped.
fn is_skippable(prefix: Prefix) -> bool {
    prefix.flags & IGNORABLE != 0 && !is_known(prefix.kind)
}

/// Appends the frame of `message` on `stream_id` to `out`.
///
/// # Panics
/// When the message's header is longer than [`HEADER_LEN_MAX`]: what we send is bounded before it gets here.
pub fn encode<M: Message>(out: &mut Vec<u8>, stream_id: u32, message: &M) {
    let start = out.len();
    let mut prefix = Prefix::bare(message.kind(), stream_id);
    out.extend_from_slice(&prefix.encode());
    message.encode_header(out);
    let header_len = out.len() - start - PREFIX_LEN;
    assert!(
        header_len <= usize::from(HEADER_LEN_MAX),
        "our own messages fit a frame header"
    );
    prefix.header_len = header_len as u16;
    out[start..start + PREFIX_LEN].copy_from_slice(&prefix.encode());
}
