//! Who comes in, and who is turned away.

use super::*;
use crate::{
    time,
    wire::{
        codec::{Decoder, Head, Piece, encode},
        handshake::{Greeted, Greeting},
        message::Register,
        proof::Token,
    },
};

fn head(bytes: &[u8]) -> Head {
    let mut input = bytes;
    match Decoder::new(0).next(&mut input) {
        Ok(Piece::Head(head)) => head,
        other => panic!("a head was expected, not {other:?}"),
    }
}

/// A candidate for the id `a`, which proves to hold `previous` too.
fn candidate(join: JoinId, previous: Option<&LinkKey>) -> Candidate {
    let token = || Token::new("a token that is long enough").unwrap();
    let nonce = serde_bytes::ByteBuf::from(vec![join as u8; 32]);
    let (greeting, register) = Greeting::new(Register {
        nonce,
        ..Register::default()
    });
    let greeted = Greeted::handle_register(&head(&register[8..])).unwrap();
    let (challenging, challenge) = greeted.challenge([7; 32], &[]);
    let (_, proof) = greeting
        .handle_challenge(&head(&challenge), &[], token(), previous)
        .unwrap();
    let mut bytes = Vec::new();
    encode(&mut bytes, 0, &proof);
    let (_, proven) = challenging.handle_proof(&head(&bytes), token()).unwrap();
    Candidate {
        join,
        client: ClientId::new("a").unwrap(),
        proven,
    }
}

fn drain(table: &mut Table) -> Vec<Action> {
    std::iter::from_fn(|| table.poll_action()).collect()
}

fn denied(actions: &[Action]) -> Vec<JoinId> {
    let denied = |action: &Action| match action {
        Action::Deny(join, ..) => Some(*join),
        _ => None,
    };
    actions.iter().filter_map(denied).collect()
}

#[test]
fn the_holder_keeps_its_id_while_it_answers_and_loses_it_when_it_does_not() {
    let now = time::now();
    let mut table = Table::new(9, Options::default());
    table.handle_join(now, candidate(1, None));
    let first = Epoch::new(9, 1);
    assert_eq!(drain(&mut table), [Action::Admit(1, first)]);

    table.handle_join(now, candidate(2, None));
    assert_eq!(drain(&mut table), [Action::Probe(first)]);
    table.handle_join(now, candidate(3, None));
    assert_eq!(denied(&drain(&mut table)), [3], "one contest at a time");
    table.handle_answered(first);
    assert_eq!(denied(&drain(&mut table)), [2]);

    table.handle_join(now, candidate(4, None));
    drain(&mut table);
    table.handle_timeout(table.poll_timeout().unwrap());
    let evicted = Action::Evict {
        epoch: first,
        silent: true,
        reason: "taken_over",
    };
    assert_eq!(drain(&mut table), [evicted, Action::Admit(4, Epoch::new(9, 2))]);
    table.handle_lost(first, false, "closed");
    assert_eq!(
        drain(&mut table),
        [],
        "what the old one left behind cannot unregister the new one"
    );
}

#[test]
fn the_same_process_takes_over_at_once_and_its_contender_is_answered() {
    let now = time::now();
    let mut table = Table::new(9, Options::default());
    let holder = candidate(1, None);
    let key = holder.proven.link_key();
    table.handle_join(now, holder);
    table.handle_join(now, candidate(2, None));
    drain(&mut table);
    table.handle_join(now, candidate(3, Some(&key)));
    let actions = drain(&mut table);
    assert_eq!(denied(&actions), [2]);
    assert!(actions.contains(&Action::Admit(3, Epoch::new(9, 2))));
}

#[test]
fn a_connection_is_claimed_for_the_purpose_of_its_ticket() {
    let now = time::now();
    let mut table = Table::new(9, Options::default());
    let first = candidate(1, None);
    let key = first.proven.link_key();
    table.handle_join(now, first);
    let epoch = Epoch::new(9, 1);
    let ticket = ProxyConnId::new([1; 16]);
    assert_eq!(table.issue(now, epoch, (Purpose::Link, 1), || ticket), [ticket]);
    let mut claim = |purpose, proved| {
        let mac = key.conn_proof(proved, epoch, ticket);
        table.claim(now, ("a", epoch), (purpose, ticket), &mac)
    };
    let (link, proxy) = (Purpose::Link, Purpose::Proxy);
    assert_eq!(claim(proxy, proxy), Err(ClaimError::Ticket));
    assert_eq!(claim(proxy, link), Err(ClaimError::Ticket));
    assert_eq!(claim(link, proxy), Err(ClaimError::Proof));
    assert_eq!(claim(link, link), Ok(key.ready_proof(link, epoch, ticket)));
    assert_eq!(
        claim(link, link),
        Err(ClaimError::Ticket),
        "it is good for one connection"
    );
    assert_eq!(table.issue(now, epoch, (link, 1), || ticket), [ticket]);
    assert_eq!(table.handle_ticket_failed(epoch, ticket), Some(link));
    assert_eq!(table.handle_ticket_failed(epoch, ticket), None);
}

#[test]
fn nobody_is_admitted_to_a_server_that_drains() {
    let now = time::now();
    let mut table = Table::new(9, Options::default());
    table.handle_join(now, candidate(1, None));
    table.handle_join(now, candidate(2, None));
    drain(&mut table);
    table.close();
    table.handle_join(now, candidate(3, None));
    table.handle_lost(Epoch::new(9, 1), false, "closed");
    assert_eq!(denied(&drain(&mut table)), [3, 2]);
    assert!(table.is_empty());
}
