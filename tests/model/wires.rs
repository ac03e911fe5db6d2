//! The sockets at the ends of a session, and the stream between its two sides.

use std::collections::VecDeque;

use adit::{
    id::Ordinal,
    wire::{codec::encode, frame::PREFIX_LEN, message::Message},
};

/// The socket of a visitor or an upstream.
#[derive(Debug, Default)]
pub struct Raw {
    /// All it will ever say.
    pub says: Vec<u8>,
    /// How much of it the relay has read.
    pub read: usize,
    /// The relay has read its end.
    pub end_read: bool,
    /// All it got.
    pub got: Vec<u8>,
    /// It saw a clean end.
    pub saw_end: bool,
    /// It saw a reset.
    pub saw_reset: bool,
    /// Its owner has reset it.
    pub broken: bool,
    /// The relay handed it back.
    pub released: bool,
    /// The relay cannot write to it any more.
    pub deaf: bool,
    /// The relay has let go of it.
    pub gone: bool,
}

impl Raw {
    pub fn new(says: Vec<u8>) -> Self {
        Self {
            says,
            ..Self::default()
        }
    }

    /// As the next try finds it.
    pub fn handed_back(self) -> Self {
        assert!(self.released, "only a released visitor is tried again");
        Self {
            released: false,
            gone: false,
            ..self
        }
    }

    /// Everything was said and the end of it was read.
    pub fn is_read(&self) -> bool {
        self.end_read && self.read == self.says.len()
    }
}

/// A frame under way.
pub struct Frame {
    bytes_before_body: usize,
    pub stream_id: u32,
    pub kind: u8,
    pub header: Vec<u8>,
    pub body_len: usize,
    /// Shorter than `body_len` when the stream broke within it.
    pub body: Vec<u8>,
}

/// One direction of the stream.
#[derive(Default)]
pub struct Pipe {
    pub frames: VecDeque<Frame>,
    pub broken: bool,
}

impl Pipe {
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub fn send<M: Message>(&mut self, ordinal: Ordinal, message: &M, body: Vec<u8>) {
        let mut bytes = Vec::new();
        encode(&mut bytes, ordinal.value(), message);
        let header = bytes[PREFIX_LEN..].to_vec();
        if !self.broken {
            self.frames.push_back(Frame {
                bytes_before_body: bytes.len(),
                stream_id: ordinal.value(),
                kind: message.kind(),
                header,
                body_len: body.len(),
                body,
            });
        }
    }

    /// Only the first `bytes` of what is under way arrive.
    pub fn cut(&mut self, mut bytes: usize) {
        self.broken = true;
        let mut kept = VecDeque::new();
        for mut frame in self.frames.drain(..) {
            let Some(left) = bytes.checked_sub(frame.bytes_before_body) else {
                break;
            };
            let whole = frame.body.len() <= left;
            frame.body.truncate(left);
            bytes = left - frame.body.len();
            kept.push_back(frame);
            if !whole {
                break;
            }
        }
        self.frames = kept;
    }
}
