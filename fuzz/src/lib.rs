//! What hostile bytes may not do to Adit, one function per fuzz target: each takes any bytes and panics when a
//! sentence that was believed about them is wrong.
//!
//! cargo-fuzz feeds them by the doors in `fuzz_targets/`, `cargo test` by `tests/`. See `docs/fuzzing.md`.

mod codec;
mod config;
mod expected;
mod handshake;
mod input;
mod mux;
mod requests;
mod rules;

pub use codec::codec;
pub use config::config;
pub use handshake::handshake;
pub use mux::mux;
pub use requests::requests;
pub use rules::rules;

/// A fuzz target: its name, which is also that of its door and of its corpus, and what it does with a file.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 6] = [
    ("codec", codec),
    ("config", config),
    ("handshake", handshake),
    ("mux", mux),
    ("requests", requests),
    ("rules", rules),
];
