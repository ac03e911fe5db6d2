//! A hash that is the same wherever and whenever it is reckoned (FNV-1a), for what is written down.

use std::fmt;

/// What was added so far, in its order.
#[derive(Clone, Copy, Debug)]
pub struct Fnv(pub u64);

impl Fnv {
    /// Adds bytes. Where one piece ends and the next begins makes no difference.
    pub fn add(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl fmt::Write for Fnv {
    fn write_str(&mut self, words: &str) -> fmt::Result {
        self.add(words);
        Ok(())
    }
}
