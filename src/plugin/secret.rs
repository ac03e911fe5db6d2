//! What nobody may read in a log, and how it is compared.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A secret of a configuration. Prints as a mask, compares in constant time.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes it as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// The key by which a chain remembers what it must not keep. Prints as a mask.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct Key([u8; 32]);

/// What stands for a secret. Without the key nothing can be told from it, not even from where it sorts.
pub(super) type Digest = [u8; 32];

impl Key {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Stands for these parts, for this purpose.
    pub fn digest(&self, purpose: &str, parts: &[&[u8]]) -> Digest {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        for part in [purpose.as_bytes()].iter().chain(parts) {
            // The length keeps the end of one part from being the beginning of the next.
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_a_mask() {
        let secret = Secret::new("swordfish");
        assert_eq!(format!("{secret:?}"), "Secret(***)");
        assert_eq!(format!("{:?}", Key::new([7; 32])), "Key(***)");
        assert!(secret == Secret::new("swordfish") && secret != Secret::new("swordfisH"));
    }

    #[test]
    fn a_digest_depends_on_all_there_is() {
        let key = Key::new([1; 32]);
        let digest = key.digest("a", &[b"bc", b"d"]);
        assert_eq!(digest, key.digest("a", &[b"bc", b"d"]));
        assert_ne!(digest, key.digest("a", &[b"b", b"cd"]));
        assert_ne!(digest, key.digest("ab", &[b"c", b"d"]));
        assert_ne!(digest, Key::new([2; 32]).digest("a", &[b"bc", b"d"]));
    }
}
