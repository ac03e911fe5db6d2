//! Handshakes, exchanged in memory and tampered with.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use adit::{
    id::{ClientId, Epoch, ProxyConnId},
    registry::{
        Options,
        table::{Action, Candidate, ClaimError, Table},
    },
    time::{self, Duration},
    wire::{
        codec::{Decoder, Head, Piece, encode},
        handshake::{Greeted, Greeting, HandshakeError, Proven, Registered},
        message::{Granted, Register, ToServer, Upstream},
        preamble::Purpose,
        proof::Token,
    },
};
use proptest::prelude::*;
use serde_bytes::ByteBuf;

const PREAMBLE_LEN: usize = adit::wire::preamble::LEN;

fn token() -> Token {
    Token::new("a token that is long enough").unwrap()
}

fn register() -> Register {
    Register {
        client_id: "a".to_owned(),
        group: "default".to_owned(),
        upstreams: vec![Upstream {
            name: "main".to_owned(),
            group: String::new(),
        }],
        instance: ByteBuf::from([1; 16]),
        features: Vec::new(),
        nonce: ByteBuf::from([2; 32]),
    }
}

fn granted() -> Granted {
    Granted {
        boot: 5,
        counter: 6,
        proxy_port: 7001,
        heartbeat_ms: 5_000,
        ..Granted::default()
    }
}

/// The one frame in `bytes`.
fn head(bytes: &[u8]) -> Result<Head, HandshakeError> {
    let (mut decoder, mut input) = (Decoder::new(0), bytes);
    match decoder.next(&mut input) {
        Ok(Piece::Head(head)) if input.is_empty() => Ok(head),
        // Too long, too short, or not a frame: a connection would wait in vain or close.
        _ => Err(HandshakeError::Verdict),
    }
}

/// Which of the four messages on the wire is tampered with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leg {
    Register,
    Challenge,
    Proof,
    Result,
}

/// A whole handshake in which `tamper` may change the bytes of each leg.
fn exchange(
    (client_token, server_token): (Token, Token),
    mut tamper: impl FnMut(Leg, &mut Vec<u8>),
) -> Result<(Registered, Proven), HandshakeError> {
    let (greeting, mut bytes) = Greeting::new(register());
    tamper(Leg::Register, &mut bytes);
    let preamble = bytes[..PREAMBLE_LEN]
        .try_into()
        .expect("a preamble has its length");
    if Purpose::parse(preamble) != Ok(Purpose::Control) {
        return Err(HandshakeError::Verdict);
    }
    let greeted = Greeted::handle_register(&head(&bytes[PREAMBLE_LEN..])?)?;
    let (challenging, mut bytes) = greeted.challenge([3; 32], &[]);
    tamper(Leg::Challenge, &mut bytes);
    let (challenged, proof) = greeting.handle_challenge(&head(&bytes)?, &[], client_token, None)?;
    let mut bytes = Vec::new();
    encode(&mut bytes, 0, &proof);
    tamper(Leg::Proof, &mut bytes);
    let (_, proven) = challenging.handle_proof(&head(&bytes)?, server_token)?;
    let mut bytes = Vec::new();
    encode(&mut bytes, 0, &proven.grant(granted()));
    tamper(Leg::Result, &mut bytes);
    Ok((challenged.handle_result(&head(&bytes)?)?, proven))
}

/// The lengths of the four legs.
fn lengths() -> Vec<(Leg, usize)> {
    let mut lengths = Vec::new();
    exchange((token(), token()), |leg, bytes| lengths.push((leg, bytes.len()))).unwrap();
    lengths
}

#[test]
fn both_sides_that_know_the_token_share_a_key() {
    let (registered, proven) = exchange((token(), token()), |_, _| {}).unwrap();
    assert_eq!(registered.epoch, Epoch::new(5, 6));
    assert_eq!(registered.granted, granted());
    let proof = |key: &adit::wire::proof::LinkKey| {
        key.conn_proof(Purpose::Proxy, registered.epoch, ProxyConnId::new([4; 16]))
    };
    assert_eq!(proof(&registered.key), proof(&proven.link_key()));
}

#[test]
fn a_wrong_token_proves_nothing() {
    let wrong = || Token::new("another token, also long enough").unwrap();
    let denied = exchange((wrong(), token()), |_, _| {});
    assert!(matches!(denied, Err(HandshakeError::Proof)));
}

/// Every single bit of every message. The frame's stream id and flags are not part of what is proved, but
/// everything that carries meaning is.
#[test]
fn a_flipped_bit_anywhere_fails_the_handshake() {
    for (leg, len) in lengths() {
        for bit in 0..len * 8 {
            let flip = |at: Leg, bytes: &mut Vec<u8>| {
                if at == leg {
                    bytes[bit / 8] ^= 1 << (bit % 8);
                }
            };
            if exchange((token(), token()), flip).is_ok() {
                let start = if leg == Leg::Register { PREAMBLE_LEN } else { 0 };
                let at = (bit / 8).checked_sub(start);
                let unproved = matches!(leg, Leg::Proof | Leg::Result) && matches!(at, Some(1 | 4..8));
                let field_name = leg_tolerates(leg, bit / 8);
                assert!(unproved || field_name, "bit {bit} of {leg:?} went unnoticed");
            }
        }
    }
}

/// The names of optional fields: renamed, they are unknown, and their default stands. Only `previous` of a
/// proof is one, and it was nil.
fn leg_tolerates(leg: Leg, byte: usize) -> bool {
    let mut bytes = Vec::new();
    let proof = adit::wire::message::Proof {
        mac: ByteBuf::from([0; 32]),
        previous: None,
    };
    encode(&mut bytes, 0, &ToServer::Proof(proof));
    let name = bytes.windows(8).position(|window| window == b"previous").unwrap();
    // The name, and the nil behind it, whose neighbours mean "false" or nothing.
    leg == Leg::Proof && (name..=name + 8).contains(&byte)
}

proptest! {
    /// A proof recorded in one handshake is worth nothing in another: the server's nonce is new.
    #[test]
    fn a_replayed_proof_fails(nonce: [u8; 32], other: [u8; 32]) {
        prop_assume!(nonce != other);
        let (greeting, bytes) = Greeting::new(register());
        let register = head(&bytes[PREAMBLE_LEN..]).unwrap();
        let (_, challenge) = Greeted::handle_register(&register).unwrap().challenge(nonce, &[]);
        let (_, proof) = greeting.handle_challenge(&head(&challenge).unwrap(), &[], token(), None).unwrap();
        let mut bytes = Vec::new();
        encode(&mut bytes, 0, &proof);
        let proof = head(&bytes).unwrap();
        let (replayed, _) = Greeted::handle_register(&register).unwrap().challenge(other, &[]);
        prop_assert!(matches!(replayed.handle_proof(&proof, token()), Err(HandshakeError::Proof)));
        let (original, _) = Greeted::handle_register(&register).unwrap().challenge(nonce, &[]);
        prop_assert!(original.handle_proof(&proof, token()).is_ok());
    }
}

#[test]
fn only_the_holder_of_the_link_key_resumes() {
    let (first, _) = exchange((token(), token()), |_, _| {}).unwrap();
    let (greeting, bytes) = Greeting::new(register());
    let greeted = Greeted::handle_register(&head(&bytes[PREAMBLE_LEN..]).unwrap()).unwrap();
    let (challenging, bytes) = greeted.challenge([9; 32], &[]);
    let challenge = head(&bytes).unwrap();
    let (_, proof) = greeting
        .handle_challenge(&challenge, &[], token(), Some(&first.key))
        .unwrap();
    let mut bytes = Vec::new();
    encode(&mut bytes, 0, &proof);
    let (_, proven) = challenging.handle_proof(&head(&bytes).unwrap(), token()).unwrap();
    assert!(proven.resumes(&first.key));
    assert!(
        !proven.resumes(&proven.link_key()),
        "another registration's key is not resumed"
    );
}

/// A table with one registered client, and that client's key.
fn table() -> (Table, Epoch, Proven) {
    let (_, proven) = exchange((token(), token()), |_, _| {}).unwrap();
    let mut table = Table::new(1, Options::default());
    table.handle_join(
        time::now(),
        Candidate {
            join: 0,
            client: ClientId::new("a").unwrap(),
            proven: proven.clone(),
        },
    );
    let Some(Action::Admit(0, epoch)) = table.poll_action() else {
        panic!("the only client is admitted")
    };
    (table, epoch, proven)
}

#[test]
fn a_ticket_is_good_once_and_only_with_its_proof() {
    let (mut table, epoch, proven) = table();
    let (now, ticket) = (time::now(), ProxyConnId::new([7; 16]));
    assert_eq!(table.issue(now, epoch, (Purpose::Proxy, 1), || ticket), [ticket]);
    let mac = proven.link_key().conn_proof(Purpose::Proxy, epoch, ticket);
    let mut claim = |client: &str, epoch, ticket, mac: &[u8]| {
        table.claim(now, (client, epoch), (Purpose::Proxy, ticket), mac)
    };
    let other = ProxyConnId::new([8; 16]);
    assert_eq!(claim("b", epoch, ticket, &mac), Err(ClaimError::Epoch));
    assert_eq!(
        claim("a", Epoch::new(1, 99), ticket, &mac),
        Err(ClaimError::Epoch)
    );
    assert_eq!(claim("a", epoch, other, &mac), Err(ClaimError::Ticket));
    assert_eq!(claim("a", epoch, ticket, &[0; 32]), Err(ClaimError::Proof));
    assert_eq!(claim("a", epoch, ticket, &mac[..31]), Err(ClaimError::Proof));
    let ready = proven.link_key().ready_proof(Purpose::Proxy, epoch, ticket);
    assert_eq!(
        claim("a", epoch, ticket, &mac),
        Ok(ready),
        "a wrong proof does not burn a ticket"
    );
    assert_eq!(
        claim("a", epoch, ticket, &mac),
        Err(ClaimError::Ticket),
        "a ticket is used once"
    );
}

#[test]
fn a_ticket_expires_and_leaves_the_count() {
    let (mut table, epoch, proven) = table();
    let now = time::now();
    let mut next = 0;
    let mut fresh = || {
        next += 1;
        ProxyConnId::new([next; 16])
    };
    let tickets = table.issue(now, epoch, (Purpose::Proxy, 100), &mut fresh);
    assert_eq!(tickets.len(), 64, "at most 64 tickets are out per client");
    assert!(
        table
            .issue(now, epoch, (Purpose::Proxy, 1), &mut fresh)
            .is_empty()
    );
    let late = now + Duration::from_secs(5);
    let mac = proven.link_key().conn_proof(Purpose::Proxy, epoch, tickets[0]);
    assert_eq!(
        table.claim(late, ("a", epoch), (Purpose::Proxy, tickets[0]), &mac),
        Err(ClaimError::Ticket)
    );
    assert_eq!(table.issue(late, epoch, (Purpose::Proxy, 1), &mut fresh).len(), 1);
}
