//! A handshake with somebody in between who changes, cuts, replaces and replays what both sides say, without knowing the
//! secret. Whoever accepts in spite of that, accepts what the other side really said.

use std::sync::LazyLock;

use adit::{
    id::{Epoch, ProxyConnId},
    time::Duration,
    wire::{
        codec::{Decoder, Head, Piece, encode},
        handshake::{
            Challenged, Challenging, Greeted, Greeting, HandshakeError, NONCE_LEN, Proven, RETRY_AFTER_MAX,
            Registered, deny_stranger,
        },
        message::{DenyCode, Granted, Message, Register, Upstream},
        preamble::{self, Purpose},
        proof::{LinkKey, Token},
    },
};
use serde_bytes::ByteBuf;

use crate::input::Input;

/// The most things that are done to one handshake.
const DEEDS_MAX: usize = 16;
/// The longest message of a denial that a client shows.
const DENIAL_LEN_MAX: usize = 200;

/// The bits of the first byte.
const WRONG_TOKEN: u8 = 0x01;
const DENIED: u8 = 0x02;
const RESUMES: u8 = 0x04;

/// The four messages, in their order.
const LEGS: usize = 4;
type Legs = [Vec<u8>; LEGS];

/// What is done to one leg.
#[derive(Clone, Copy, Debug)]
enum Deed<'a> {
    /// Changes a byte.
    Flip { at: usize, bits: u8 },
    /// Cuts the end off.
    Cut { len: usize },
    /// Puts bytes between.
    Insert { at: usize, bytes: &'a [u8] },
    /// Says something else.
    Say(&'a [u8]),
    /// Says what was said in an earlier handshake with the same secret.
    Replay { leg: usize },
}

/// Takes a byte of circumstances, and then the deeds.
pub fn handshake(data: &[u8]) {
    let mut input = Input::new(data);
    let circumstances = input.byte();
    let mut deeds: [Vec<Deed<'_>>; LEGS] = Default::default();
    let mut count = 0;
    while !input.is_empty() && count < DEEDS_MAX {
        let leg = usize::from(input.byte()) % LEGS;
        deeds[leg].push(deed(&mut input));
        count += 1;
    }
    let is = |bit: u8| circumstances & bit != 0;
    let meeting = Meeting::hold(
        [4, 5],
        if is(WRONG_TOKEN) { other_token() } else { token() },
        is(RESUMES).then_some(&EARLIER.key),
        is(DENIED),
        |leg, bytes| deeds[leg].iter().for_each(|deed| deed.do_to(bytes)),
    );
    meeting.check(circumstances);
    if count == 0 {
        let undisturbed = !is(WRONG_TOKEN) && !is(DENIED);
        assert_eq!(
            meeting.proven.is_some(),
            !is(WRONG_TOKEN),
            "the server knows who knows"
        );
        assert_eq!(
            meeting.registered.is_ok(),
            undisturbed,
            "the client is registered if it may be"
        );
    }
}

fn deed<'a>(input: &mut Input<'a>) -> Deed<'a> {
    match input.byte() % 5 {
        0 => Deed::Flip {
            at: input.number(),
            bits: input.byte(),
        },
        1 => Deed::Cut { len: input.number() },
        2 => {
            let (at, len) = (input.number(), input.byte().into());
            Deed::Insert {
                at,
                bytes: input.take(len),
            }
        }
        3 => {
            let len = input.number();
            Deed::Say(input.take(len))
        }
        _ => Deed::Replay {
            leg: usize::from(input.byte()) % LEGS,
        },
    }
}

impl Deed<'_> {
    fn do_to(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Flip { at, bits } => {
                let len = bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at % len) {
                    *byte ^= bits;
                }
            }
            Self::Cut { len } => bytes.truncate(len),
            Self::Insert { at, bytes: new } => {
                let at = at % (bytes.len() + 1);
                bytes.splice(at..at, new.iter().copied());
            }
            Self::Say(new) => *bytes = new.to_vec(),
            Self::Replay { leg } => bytes.clone_from(&EARLIER.said[leg]),
        }
    }
}

/// An earlier handshake between the same two, undisturbed, that somebody has recorded.
struct Earlier {
    said: Legs,
    key: LinkKey,
}

static EARLIER: LazyLock<Earlier> = LazyLock::new(|| {
    let meeting = Meeting::hold([2, 3], token(), None, false, |_, _| {});
    Earlier {
        key: meeting.registered.expect("nothing disturbs it").key,
        said: meeting.said,
    }
});

fn token() -> Token {
    Token::new("a token that is long enough").expect("it is long enough")
}

fn other_token() -> Token {
    Token::new("another token, also long enough").expect("it is long enough")
}

fn register(nonce: u8) -> Register {
    Register {
        client_id: "a".to_owned(),
        group: "default".to_owned(),
        upstreams: vec![Upstream {
            name: "main".to_owned(),
            group: String::new(),
        }],
        instance: ByteBuf::from([1; 16]),
        features: Vec::new(),
        nonce: ByteBuf::from([nonce; NONCE_LEN]),
    }
}

fn granted() -> Granted {
    Granted {
        boot: 5,
        counter: 6,
        proxy_port: 7001,
        heartbeat_ms: 5_000,
        window: 65_536,
        ..Granted::default()
    }
}

/// What both sides of one handshake said, heard, and came to.
struct Meeting {
    said: Legs,
    heard: Legs,
    /// The client has answered a challenge.
    answered: bool,
    proven: Option<(Register, Proven)>,
    registered: Result<Registered, Option<HandshakeError>>,
}

impl Meeting {
    /// Holds a handshake in which `between` may change each leg. Whoever hears nonsense says no more, and the other
    /// side hears what is put in its place.
    fn hold(
        [client_nonce, server_nonce]: [u8; 2],
        client_token: Token,
        previous: Option<&LinkKey>,
        denied: bool,
        between: impl Fn(usize, &mut Vec<u8>),
    ) -> Self {
        let mut said = Legs::default();
        let mut heard = Legs::default();
        let mut pass = |leg: usize, bytes: Vec<u8>| {
            said[leg] = bytes;
            heard[leg].clone_from(&said[leg]);
            between(leg, &mut heard[leg]);
            head(&heard[leg])
        };

        let (greeting, bytes) = Greeting::new(register(client_nonce));
        let greeted =
            pass(0, bytes[preamble::LEN..].to_vec()).and_then(|head| Greeted::handle_register(&head).ok());
        let (challenging, bytes) =
            match greeted.map(|greeted| greeted.challenge([server_nonce; NONCE_LEN], &[])) {
                Some((challenging, bytes)) => (Some(challenging), bytes),
                None => (None, Vec::new()),
            };
        let answer = pass(1, bytes).map(|head| greeting.handle_challenge(&head, &[], client_token, previous));
        let (challenged, bytes, refusal) = match answer {
            Some(Ok((challenged, proof))) => (Some(challenged), frame(&proof), None),
            Some(Err(error)) => (None, Vec::new(), Some(error)),
            None => (None, Vec::new(), None),
        };
        let answered = challenged.is_some();
        let proven = pass(2, bytes)
            .zip(challenging)
            .and_then(|(head, challenging): (Head, Challenging)| {
                challenging.handle_proof(&head, token()).ok()
            });
        let result = match &proven {
            Some((_, proven)) if denied => {
                frame(&proven.deny(DenyCode::DuplicateId, "taken\n", Some(Duration::from_secs(3_600))))
            }
            Some((_, proven)) => frame(&proven.grant(granted())),
            None => frame(&deny_stranger(DenyCode::Unauthorized, "no")),
        };
        let registered = match pass(3, result).zip(challenged) {
            Some((head, challenged)) => Challenged::handle_result(challenged, &head).map_err(Some),
            None => Err(refusal),
        };
        Self {
            said,
            heard,
            answered,
            proven,
            registered,
        }
    }

    fn check(&self, circumstances: u8) {
        let is = |bit: u8| circumstances & bit != 0;
        if let Some((register_heard, proven)) = &self.proven {
            assert!(!is(WRONG_TOKEN), "the server takes nobody without the secret");
            assert!(
                self.answered,
                "the server takes nobody who has not answered its challenge"
            );
            self.unchanged(0);
            self.unchanged(1);
            assert_eq!(
                *register_heard,
                register(4),
                "the server knows what the client asked for"
            );
            if proven.resumes(&EARLIER.key) {
                assert!(is(RESUMES), "only who holds the earlier key resumes");
            }
            assert!(
                !proven.resumes(&proven.link_key()),
                "nobody resumes by a key that is not made yet"
            );
        }
        match &self.registered {
            Ok(registered) => {
                let (_, proven) = self
                    .proven
                    .as_ref()
                    .expect("a client believes only who was convinced");
                assert!(!is(DENIED), "a client that was denied is not registered");
                assert_eq!(
                    registered.granted,
                    granted(),
                    "the client knows what it was granted"
                );
                assert_eq!(registered.epoch, Epoch::new(granted().boot, granted().counter));
                let says = |key: &LinkKey| {
                    key.conn_proof(Purpose::Proxy, registered.epoch, ProxyConnId::new([4; 16]))
                };
                assert_eq!(
                    says(&registered.key),
                    says(&proven.link_key()),
                    "both have one key"
                );
            }
            Err(Some(HandshakeError::Denied {
                message, retry_after, ..
            })) => {
                assert!(!message.chars().any(char::is_control), "{message:?}");
                assert!(message.chars().count() <= DENIAL_LEN_MAX, "{message:?}");
                assert!(
                    retry_after.is_none_or(|pause| pause <= RETRY_AFTER_MAX),
                    "{retry_after:?}"
                );
            }
            Err(_) => {}
        }
    }

    /// What one side said in this leg is what the other heard, byte for byte, as far as it listened.
    fn unchanged(&self, leg: usize) {
        assert_eq!(
            head(&self.heard[leg]),
            head(&self.said[leg]),
            "leg {leg} was changed, and accepted"
        );
    }
}

/// The first frame, as on a control connection. What is behind it is heard later, or never.
fn head(bytes: &[u8]) -> Option<Head> {
    match Decoder::new(0).next(&mut &*bytes) {
        Ok(Piece::Head(head)) => Some(head),
        _ => None,
    }
}

fn frame<M: Message>(message: &M) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes, 0, message);
    bytes
}
