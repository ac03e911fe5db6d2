//! What `session/relay.rs` does, one choice at a time.

use std::collections::VecDeque;

use adit::{
    session::core::{Action, Core},
    time::Instant,
    wire::message::{Message, ToClient},
};

use super::wires::{Pipe, Raw};

/// A core with its raw side: what a `Relay` is.
pub struct Side<C: Core> {
    pub core: C,
    pub raw: Raw,
    /// The rest of the body of the last frame, and how long it claims to be.
    body: VecDeque<u8>,
    pub body_left: usize,
    pub shutting_down: bool,
    pub closed: bool,
}

impl<C: Core> Side<C> {
    pub fn new(core: C, raw: Raw) -> Self {
        Self {
            core,
            raw,
            body: VecDeque::new(),
            body_left: 0,
            shutting_down: false,
            closed: false,
        }
    }

    /// Nothing of the session is left in the relay's hands.
    pub fn is_clean(&self) -> bool {
        self.body_left == 0
    }

    pub fn perform(&mut self, out: &mut Pipe) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Send(message) => out.send(self.core.ordinal(), &message, Vec::new()),
                Action::SendKept(bytes) => out.send(self.core.ordinal(), &ToClient::Data, bytes),
                Action::ShutDownRaw => self.shutting_down = true,
                Action::CloseRaw => {
                    assert!(self.raw.saw_end, "a raw side is closed only after its end");
                    self.closed = true;
                    self.raw.gone = true;
                }
                Action::ResetRaw => {
                    assert!(!self.raw.released, "what was handed back is not reset");
                    self.raw.saw_reset = true;
                    self.raw.gone = true;
                }
                Action::ReleaseRaw => {
                    self.raw.released = true;
                    self.raw.gone = true;
                }
            }
        }
    }

    pub fn read(&mut self, now: Instant, n: usize, data: &C::Out, out: &mut Pipe) {
        let room = self.core.raw_room().min(64 * 1024);
        if room == 0 || self.raw.gone || self.core.fate().is_some() {
            return;
        }
        if self.raw.broken {
            return self.core.handle_raw_broken(now);
        }
        let left = &self.raw.says[self.raw.read..];
        let bytes = left[..n.min(room).min(left.len())].to_vec();
        if !bytes.is_empty() {
            self.raw.read += bytes.len();
            self.core.handle_raw_bytes(now, &bytes);
            out.send(self.core.ordinal(), data, bytes);
        } else if left.is_empty() && !self.raw.end_read {
            self.raw.end_read = true;
            if self.raw.deaf {
                self.core.handle_raw_broken(now);
            } else {
                self.core.handle_raw_fin(now);
            }
        }
    }

    fn lose_writing(&mut self, now: Instant) {
        self.raw.deaf = true;
        if self.core.raw_room() == 0 {
            self.core.handle_raw_broken(now);
        }
    }

    pub fn shut_down(&mut self, now: Instant) {
        if !self.shutting_down || self.raw.deaf {
            return;
        }
        self.shutting_down = false;
        if self.raw.broken {
            return self.lose_writing(now);
        }
        if !self.raw.gone {
            self.raw.saw_end = true;
        }
        self.core.handle_raw_shut_down(now);
    }

    pub fn deliver(&mut self, now: Instant, input: &mut Pipe) {
        if self.core.fate().is_some() {
            return;
        }
        if self.body_left > 0 && !self.body.is_empty() {
            let n = self.body.len().min(40_000);
            if self.raw.broken && !self.raw.deaf && !self.raw.gone {
                return self.lose_writing(now);
            }
            let bytes: Vec<u8> = self.body.drain(..n).collect();
            self.body_left -= n;
            if !self.raw.gone && !self.raw.deaf {
                assert!(!self.raw.saw_end, "no byte follows an end");
                self.raw.got.extend(bytes);
                self.core.handle_delivered(now, n);
            }
            return;
        }
        match input.frames.pop_front().filter(|_| self.body_left == 0) {
            Some(frame) => {
                let message = C::In::decode(frame.kind, &frame.header).unwrap();
                self.body = frame.body.into();
                self.body_left = frame.body_len;
                self.core
                    .handle_message(now, frame.stream_id, message, frame.body_len as u32);
            }
            None if input.broken => self.core.handle_stream_broken(now),
            None => {}
        }
    }

    pub fn time_out(&mut self, now: Instant) {
        if self.core.poll_timeout().is_some_and(|due| due <= now) {
            self.core.handle_timeout(now);
        }
    }
}
