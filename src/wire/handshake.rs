//! The handshake as pure state machines: each step consumes one state and yields the next, so that no step
//! can be skipped, repeated or taken out of order.
//!
//! ```text
//!   client                                   server
//!   Greeting      -- preamble, Register -->  Greeted
//!   Challenged    <-- Challenge ----------   Challenging
//!                 -- Proof -------------->   (Proven | Denied)
//!   (Registered)  <-- RegisterResult -----
//! ```

use serde_bytes::ByteBuf;

use super::{
    codec::{Head, encode},
    message::{
        Challenge, DecodeError, Denied, DenyCode, Granted, Proof, Register, RegisterResult, ToClient,
        ToServer, Verdict, decode_map, encode_map,
    },
    preamble::Purpose,
    proof::{LinkKey, Token, Transcript, matches},
};
use crate::{
    id::Epoch,
    probe::{mutant, sometimes},
    time::Duration,
};

/// Length of `Register.nonce` and `Challenge.nonce`.
pub const NONCE_LEN: usize = 32;

/// The longest wait a server may impose before the next try. Longer would let a stranger park a client.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// Why a handshake ended without a proven peer.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// Not the message that belongs here.
    #[error("expected {expected}, got message kind {got}")]
    Unexpected {
        /// The message that belongs here.
        expected: &'static str,
        /// The kind that came.
        got: u8,
    },
    /// Not a message at all.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A nonce of the wrong length.
    #[error("a nonce has {NONCE_LEN} bytes, not {0}")]
    Nonce(usize),
    /// The peer does not know the secret.
    #[error("the peer's proof does not match the token")]
    Proof,
    /// Neither granted nor denied, or both.
    #[error("the verdict is neither an admission nor a denial")]
    Verdict,
    /// The server said no.
    #[error("{}: {message}", code.label())]
    Denied {
        /// Why.
        code: DenyCode,
        /// For people.
        message: String,
        /// When to try again, if the server said so.
        retry_after: Option<Duration>,
    },
}

impl HandshakeError {
    /// A short name for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Unexpected { .. } => "unexpected_message",
            Self::Decode(_) => "malformed",
            Self::Nonce(_) => "bad_nonce",
            Self::Proof => "bad_proof",
            Self::Verdict => "bad_verdict",
            Self::Denied { code, .. } => code.label(),
        }
    }
}

/// Client: `Register` is on its way.
pub struct Greeting {
    raw_register: Vec<u8>,
}

/// Client: the proof is on its way.
pub struct Challenged {
    token: Token,
    transcript: Transcript,
}

/// Client: admitted.
#[derive(Debug)]
pub struct Registered {
    /// This registration.
    pub epoch: Epoch,
    /// What the server granted.
    pub granted: Granted,
    /// Proves proxy connections and the next reconnect.
    pub key: LinkKey,
}

impl Greeting {
    /// Begins: returns the state and the bytes to send, preamble included.
    pub fn new(register: Register) -> (Self, Vec<u8>) {
        let mut bytes = Purpose::Control.preamble().to_vec();
        let start = bytes.len();
        encode(&mut bytes, 0, &ToServer::Register(register));
        (
            Self {
                raw_register: bytes[start..].to_vec(),
            },
            bytes,
        )
    }

    /// Takes the server's challenge; returns the proof to send.
    ///
    /// `previous` is the link key of this process's last registration.
    ///
    /// # Errors
    /// [`HandshakeError`]; a `RegisterResult` here is the server's early denial.
    pub fn handle_challenge(
        self,
        head: &Head,
        exporter: &[u8],
        token: Token,
        previous: Option<&LinkKey>,
    ) -> Result<(Challenged, ToServer), HandshakeError> {
        let challenge = match expect(head)? {
            ToClient::Challenge(challenge) => challenge,
            ToClient::RegisterResult(result) => return Err(denial(&verdict(&result)?)),
            _ => {
                return Err(HandshakeError::Unexpected {
                    expected: "Challenge",
                    got: head.prefix.kind,
                });
            }
        };
        if !mutant!("challenge-of-any-length-answered") {
            check_nonce(&challenge.nonce)?;
        }
        let transcript = Transcript::new(
            &Purpose::Control.preamble(),
            &self.raw_register,
            &head.raw(),
            exporter,
        );
        let proof = Proof {
            mac: ByteBuf::from(transcript.client_proof(&token)),
            previous: previous.map(|key| ByteBuf::from(key.resume_proof(&transcript))),
        };
        Ok((Challenged { token, transcript }, ToServer::Proof(proof)))
    }
}

impl Challenged {
    /// Takes the server's result.
    ///
    /// # Errors
    /// [`HandshakeError::Proof`] when an admission is not proved; [`HandshakeError::Denied`] when not admitted.
    pub fn handle_result(self, head: &Head) -> Result<Registered, HandshakeError> {
        let ToClient::RegisterResult(result) = expect(head)? else {
            return Err(HandshakeError::Unexpected {
                expected: "RegisterResult",
                got: head.prefix.kind,
            });
        };
        let verdict = verdict(&result)?;
        let Some(granted) = verdict.granted.clone() else {
            return Err(denial(&verdict));
        };
        if !self.is_proved(&result) {
            sometimes!("false-admission-refused");
            return Err(HandshakeError::Proof);
        }
        let key = self.transcript.link_key(&self.token);
        Ok(Registered {
            epoch: Epoch::new(granted.boot, granted.counter),
            granted,
            key,
        })
    }

    /// Whether a result is from a server that knows the token.
    fn is_proved(&self, result: &RegisterResult) -> bool {
        if result.mac.is_empty() && mutant!("missing-server-proof-accepted") {
            return true;
        }
        // The planted bug comes first: what it asks for is not worked out where there is none.
        let own = || self.transcript.client_proof(&self.token);
        if mutant!("own-proof-taken-for-the-server-s") && matches(&own(), &result.mac) {
            return true;
        }
        let expected = self.transcript.server_proof(&self.token, &result.verdict);
        matches(&expected, &result.mac) || mutant!("server-proof-not-checked")
    }
}

/// Server: `Register` has come.
pub struct Greeted {
    /// What the client wants; claims, not facts, until it is proved.
    pub register: Register,
    raw_register: Vec<u8>,
}

/// Server: the challenge is on its way.
pub struct Challenging {
    /// What the client wants.
    pub register: Register,
    transcript: Transcript,
}

/// Server: the client knows the secret.
#[derive(Clone)]
pub struct Proven {
    token: Token,
    transcript: Transcript,
    previous: Option<Vec<u8>>,
}

impl Greeted {
    /// Takes the first frame of a control connection.
    ///
    /// # Errors
    /// [`HandshakeError`] when it is not a well-formed `Register`.
    pub fn handle_register(head: &Head) -> Result<Self, HandshakeError> {
        let ToServer::Register(register) = expect(head)? else {
            return Err(HandshakeError::Unexpected {
                expected: "Register",
                got: head.prefix.kind,
            });
        };
        check_nonce(&register.nonce)?;
        Ok(Self {
            register,
            raw_register: head.raw(),
        })
    }

    /// Challenges; returns the bytes to send.
    pub fn challenge(self, nonce: [u8; NONCE_LEN], exporter: &[u8]) -> (Challenging, Vec<u8>) {
        let mut bytes = Vec::new();
        encode(
            &mut bytes,
            0,
            &ToClient::Challenge(Challenge {
                nonce: ByteBuf::from(nonce),
            }),
        );
        let transcript = Transcript::new(&Purpose::Control.preamble(), &self.raw_register, &bytes, exporter);
        (
            Challenging {
                register: self.register,
                transcript,
            },
            bytes,
        )
    }
}

impl Challenging {
    /// Takes the proof.
    ///
    /// # Errors
    /// [`HandshakeError::Proof`] when it does not match `token`.
    pub fn handle_proof(self, head: &Head, token: Token) -> Result<(Register, Proven), HandshakeError> {
        let ToServer::Proof(proof) = expect(head)? else {
            return Err(HandshakeError::Unexpected {
                expected: "Proof",
                got: head.prefix.kind,
            });
        };
        if !matches(&self.transcript.client_proof(&token), &proof.mac) && !mutant!("wrong-token-accepted") {
            sometimes!("wrong-proof-refused");
            return Err(HandshakeError::Proof);
        }
        let previous = proof.previous.map(ByteBuf::into_vec);
        Ok((
            self.register,
            Proven {
                token,
                transcript: self.transcript,
                previous,
            },
        ))
    }
}

impl Proven {
    /// The key of the registration that follows.
    pub fn link_key(&self) -> LinkKey {
        self.transcript.link_key(&self.token)
    }

    /// Whether the peer is the process that holds `key`.
    pub fn resumes(&self, key: &LinkKey) -> bool {
        self.previous
            .as_ref()
            .is_some_and(|mac| matches(&key.resume_proof(&self.transcript), mac))
    }

    /// The admission, proved.
    pub fn grant(&self, granted: Granted) -> ToClient {
        self.seal(Verdict {
            granted: Some(granted),
            denied: None,
        })
    }

    /// The denial, proved.
    pub fn deny(&self, code: DenyCode, message: &str, retry_after: Option<Duration>) -> ToClient {
        self.seal(denied(code, message, retry_after))
    }

    fn seal(&self, verdict: Verdict) -> ToClient {
        let mut raw = Vec::new();
        encode_map(&verdict, &mut raw);
        let mac = ByteBuf::from(self.transcript.server_proof(&self.token, &raw));
        ToClient::RegisterResult(RegisterResult {
            verdict: ByteBuf::from(raw),
            mac,
        })
    }
}

impl std::fmt::Debug for Proven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proven(***)")
    }
}

/// A denial to a peer that proved nothing; it carries no mac.
pub fn deny_stranger(code: DenyCode, message: &str) -> ToClient {
    let mut raw = Vec::new();
    encode_map(&denied(code, message, None), &mut raw);
    ToClient::RegisterResult(RegisterResult {
        verdict: ByteBuf::from(raw),
        mac: ByteBuf::new(),
    })
}

fn denied(code: DenyCode, message: &str, retry_after: Option<Duration>) -> Verdict {
    let retry_after_ms = retry_after.map_or(0, |d| u32::try_from(d.as_millis()).unwrap_or(u32::MAX));
    let denied = Denied {
        code: code.code(),
        message: message.to_owned(),
        retry_after_ms,
    };
    Verdict {
        granted: None,
        denied: Some(denied),
    }
}

fn verdict(result: &RegisterResult) -> Result<Verdict, HandshakeError> {
    let verdict: Verdict = decode_map(super::frame::kind::REGISTER_RESULT, &result.verdict)?;
    if verdict.granted.is_some() == verdict.denied.is_some() {
        return Err(HandshakeError::Verdict);
    }
    Ok(verdict)
}

fn denial(verdict: &Verdict) -> HandshakeError {
    let Some(denied) = &verdict.denied else {
        return HandshakeError::Verdict;
    };
    HandshakeError::Denied {
        code: DenyCode::from(denied.code),
        message: denied
            .message
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect(),
        retry_after: (denied.retry_after_ms > 0)
            .then(|| Duration::from_millis(denied.retry_after_ms.into()).min(RETRY_AFTER_MAX)),
    }
}

fn check_nonce(nonce: &[u8]) -> Result<(), HandshakeError> {
    if nonce.len() == NONCE_LEN {
        Ok(())
    } else {
        Err(HandshakeError::Nonce(nonce.len()))
    }
}

fn expect<M: super::message::Message>(head: &Head) -> Result<M, HandshakeError> {
    head.message()?
        .ok_or(HandshakeError::Decode(DecodeError::UnknownKind(head.prefix.kind)))
}
