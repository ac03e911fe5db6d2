//! What crosses a connection: preamble, frames, messages, proofs. No socket, no clock.
//!
//! `docs/protocol.md` is the reference; `tests/golden.rs` pins the bytes.

pub mod code;
pub mod codec;
pub mod frame;
pub mod handshake;
pub mod message;
pub mod preamble;
pub mod proof;
