//! The 12-byte prefix of every frame, and the kinds of frames.
//!
//! Little endian: `u8 kind | u8 flags | u16 header_len | u32 stream_id | u32 body_len`.

/// Length of a frame prefix in bytes.
pub const PREFIX_LEN: usize = 12;

/// The longest header. Larger lets a peer make us hold more; smaller forbids long lists of upstreams.
pub const HEADER_LEN_MAX: u16 = 16 * 1024;

/// The longest body on a connection that carries one session, where bodies are passed on as they come and
/// never held whole.
pub const PROXY_BODY_LEN_MAX: u32 = 1024 * 1024;

/// The longest body on a data link, whose streams take turns frame by frame.
pub const LINK_BODY_LEN_MAX: u32 = 64 * 1024;

/// The body of a WINDOW or WINDOW_RETURN: so many bytes of credit, as a little endian u32.
pub const CREDIT_LEN: u32 = 4;

/// A receiver that does not know the frame's kind may skip it.
pub const IGNORABLE: u8 = 0x01;

/// The numeric kinds. Numbers are never reused.
pub mod kind {
    #![allow(missing_docs, reason = "each kind is documented at its message in message.rs")]
    pub const REGISTER: u8 = 1;
    pub const CHALLENGE: u8 = 2;
    pub const PROOF: u8 = 3;
    pub const REGISTER_RESULT: u8 = 4;
    pub const REQUEST_NEW_PROXY_CONN: u8 = 5;
    pub const NEW_PROXY_CONN: u8 = 6;
    pub const PROXY_CONN_READY: u8 = 7;
    pub const PROXY_CONN_FAILED: u8 = 8;
    pub const START: u8 = 16;
    pub const ACCEPTED: u8 = 17;
    pub const STARTED: u8 = 18;
    pub const REFUSED: u8 = 19;
    pub const FINISHED: u8 = 20;
    pub const RETIRE: u8 = 21;
    pub const DATA: u8 = 32;
    pub const FIN: u8 = 33;
    pub const RESET: u8 = 34;
    pub const PING: u8 = 35;
    pub const PONG: u8 = 36;
    pub const WINDOW: u8 = 37;
    pub const WINDOW_RETURN: u8 = 38;
    pub const HEARTBEAT: u8 = 48;
    pub const HEARTBEAT_ACK: u8 = 49;
    pub const CONFIG_PUSH: u8 = 50;
    pub const CONFIG_APPLIED: u8 = 51;
    pub const CONFIG_REJECTED: u8 = 52;
    pub const GO_AWAY: u8 = 53;
    pub const GO_AWAY_ACK: u8 = 54;
}

/// Whether this build knows the kind, in some direction.
pub fn is_known(kind: u8) -> bool {
    matches!(
        kind,
        kind::REGISTER..=kind::PROXY_CONN_FAILED
            | kind::START..=kind::RETIRE
            | kind::DATA..=kind::WINDOW_RETURN
            | kind::HEARTBEAT..=kind::GO_AWAY_ACK
    )
}

/// The longest body of a frame that is skipped because its kind is unknown.
pub const SKIPPED_BODY_LEN_MAX: u32 = 64 * 1024;

/// The fixed part of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// One of [`kind`].
    pub kind: u8,
    /// A set of flags; only [`IGNORABLE`] is defined.
    pub flags: u8,
    /// Bytes of header that follow the prefix.
    pub header_len: u16,
    /// The session (ordinal) the frame belongs to; 0 is the connection; for PING and PONG an echoed token.
    pub stream_id: u32,
    /// Bytes of body that follow the header.
    pub body_len: u32,
}

impl Prefix {
    /// The prefix of a frame with neither header nor body. Kinds that older peers do not know, and need not, are
    /// [`IGNORABLE`].
    pub fn bare(kind: u8, stream_id: u32) -> Self {
        Self {
            kind,
            flags: if kind == kind::RETIRE { IGNORABLE } else { 0 },
            header_len: 0,
            stream_id,
            body_len: 0,
        }
    }

    /// The prefix of a DATA frame.
    pub fn data(stream_id: u32, body_len: u32) -> Self {
        Self {
            body_len,
            ..Self::bare(kind::DATA, stream_id)
        }
    }

    /// The prefix of a WINDOW or WINDOW_RETURN, whose body is the credit.
    pub fn credit(kind: u8, stream_id: u32) -> Self {
        Self {
            body_len: CREDIT_LEN,
            ..Self::bare(kind, stream_id)
        }
    }

    /// As it stands on the wire.
    pub fn encode(self) -> [u8; PREFIX_LEN] {
        let mut bytes = [0; PREFIX_LEN];
        bytes[0] = self.kind;
        bytes[1] = self.flags;
        bytes[2..4].copy_from_slice(&self.header_len.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.stream_id.to_le_bytes());
        bytes[8..].copy_from_slice(&self.body_len.to_le_bytes());
        bytes
    }

    /// Reads a prefix; every bit pattern is one, limits are checked by the decoder.
    pub fn decode(bytes: &[u8; PREFIX_LEN]) -> Self {
        let [kind, flags, h0, h1, s0, s1, s2, s3, b0, b1, b2, b3] = *bytes;
        Self {
            kind,
            flags,
            header_len: u16::from_le_bytes([h0, h1]),
            stream_id: u32::from_le_bytes([s0, s1, s2, s3]),
            body_len: u32::from_le_bytes([b0, b1, b2, b3]),
        }
    }
}
