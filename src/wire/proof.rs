//! Secrets and the proofs made with them.
//!
//! `T = SHA-256(preamble || raw Register || raw Challenge || TLS exporter or empty)`. The token never crosses
//! the wire; keys for each purpose are derived from it with HKDF-SHA256 (RFC 5869).

use std::fmt;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::preamble::Purpose;
use crate::id::{Epoch, ProxyConnId};

/// The shortest token. Shorter ones can be guessed from one recorded handshake.
pub const TOKEN_LEN_MIN: usize = 16;

/// Why a token is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Too easy to guess.
    #[error("the token has {0} bytes, at least {TOKEN_LEN_MIN} are needed")]
    TooShort(usize),
}

/// The secret that a client and the server share. Prints as a mask, compares in constant time.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Token(Vec<u8>);

impl Token {
    /// Takes a token, without surrounding white space.
    ///
    /// # Errors
    /// [`TokenError::TooShort`].
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.len() < TOKEN_LEN_MIN {
            return Err(TokenError::TooShort(text.len()));
        }
        Ok(Self(text.as_bytes().to_vec()))
    }

    /// No secret at all: for loopback, and for those who ask for `--insecure`.
    pub fn anonymous() -> Self {
        Self(Vec::new())
    }

    /// Whether it is no secret at all.
    pub fn is_anonymous(&self) -> bool {
        self.0.is_empty()
    }

    fn derive(&self, salt: Option<&[u8]>, info: &str) -> [u8; 32] {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(salt, &self.0)
            .expand(info.as_bytes(), &mut key)
            .expect("32 bytes are a legal output length");
        key
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_anonymous() {
            "Token(none)"
        } else {
            "Token(***)"
        })
    }
}

/// The hash of everything both sides said before the proof.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Transcript([u8; 32]);

impl Transcript {
    /// Hashes the parts in order. Frames carry their own lengths, so no part can be moved into the next.
    pub fn new(preamble: &[u8], register: &[u8], challenge: &[u8], exporter: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in [preamble, register, challenge, exporter] {
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// What the client sends to prove that it knows `token`.
    pub fn client_proof(&self, token: &Token) -> [u8; 32] {
        mac(&token.derive(None, "adit1 client"), &[&self.0])
    }

    /// What the server sends with the raw verdict to prove that it knows `token`.
    pub fn server_proof(&self, token: &Token, verdict: &[u8]) -> [u8; 32] {
        mac(&token.derive(None, "adit1 server"), &[&self.0, verdict])
    }

    /// The key that proves proxy connections and reconnects of this registration.
    pub fn link_key(&self, token: &Token) -> LinkKey {
        LinkKey(token.derive(Some(&self.0), "adit1 link"))
    }
}

/// The secret of one registration. Prints as a mask.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct LinkKey([u8; 32]);

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey(***)")
    }
}

impl LinkKey {
    /// Proves, in a later handshake, to be the process that holds this key.
    pub fn resume_proof(&self, transcript: &Transcript) -> [u8; 32] {
        mac(&self.0, &[b"adit1 resume", &transcript.0])
    }

    /// Proves, to the server, a connection opened for `ticket`.
    pub fn conn_proof(&self, purpose: Purpose, epoch: Epoch, ticket: ProxyConnId) -> [u8; 32] {
        self.conn_mac(b"adit1 conn", purpose, epoch, ticket)
    }

    /// Proves, to the client, that the server accepted the connection opened for `ticket`.
    pub fn ready_proof(&self, purpose: Purpose, epoch: Epoch, ticket: ProxyConnId) -> [u8; 32] {
        self.conn_mac(b"adit1 ready", purpose, epoch, ticket)
    }

    fn conn_mac(&self, label: &[u8], purpose: Purpose, epoch: Epoch, ticket: ProxyConnId) -> [u8; 32] {
        mac(
            &self.0,
            &[
                label,
                &[purpose as u8],
                &epoch.boot().to_le_bytes(),
                &epoch.counter().to_le_bytes(),
                ticket.bytes(),
            ],
        )
    }
}

/// Whether a received mac is the expected one, in constant time.
pub fn matches(expected: &[u8; 32], received: &[u8]) -> bool {
    expected.ct_eq(received).into()
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
