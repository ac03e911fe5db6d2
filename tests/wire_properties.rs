//! The wire under arbitrary input: round trips, hostile bytes, forged handshakes.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::fmt::Debug;

use adit::wire::{
    codec::{Decoder, Head, Piece, encode},
    frame::{PROXY_BODY_LEN_MAX, Prefix},
    message::{
        Challenge, Finished, GoAway, Heartbeat, HeartbeatAck, Message, NewProxyConn, Proof, ProxyConnFailed,
        ProxyConnReady, Refused, Register, RegisterResult, RequestNewProxyConn, Reset, Start, ToClient,
        ToServer, Upstream,
    },
};
use proptest::{collection::vec, prelude::*};
use serde_bytes::ByteBuf;

fn blob() -> impl Strategy<Value = ByteBuf> {
    vec(any::<u8>(), 0..80).prop_map(ByteBuf::from)
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,40}"
}

fn upstream() -> impl Strategy<Value = Upstream> {
    (text(), text()).prop_map(|(name, group)| Upstream { name, group })
}

fn go_away() -> impl Strategy<Value = GoAway> {
    (text(), any::<u32>(), vec(text(), 0..5)).prop_map(|(reason, retry_after_ms, servers)| GoAway {
        reason,
        retry_after_ms,
        servers,
    })
}

fn register() -> impl Strategy<Value = Register> {
    let parts = (
        text(),
        text(),
        vec(upstream(), 0..5),
        blob(),
        vec(text(), 0..5),
        blob(),
    );
    parts.prop_map(
        |(client_id, group, upstreams, instance, features, nonce)| Register {
            client_id,
            group,
            upstreams,
            instance,
            features,
            nonce,
        },
    )
}

fn start() -> impl Strategy<Value = Start> {
    let parts = (any::<u64>(), text(), text(), text(), text(), text());
    parts.prop_map(
        |(session_id, protocol, upstream, address, visitor, entry)| Start {
            session_id,
            protocol,
            upstream,
            address,
            visitor,
            entry,
        },
    )
}

fn new_proxy_conn() -> impl Strategy<Value = NewProxyConn> {
    (text(), any::<u64>(), any::<u64>(), blob(), blob()).prop_map(
        |(client_id, boot, counter, proxy_conn_id, mac)| NewProxyConn {
            client_id,
            boot,
            counter,
            proxy_conn_id,
            mac,
        },
    )
}

fn to_server() -> impl Strategy<Value = ToServer> {
    use ToServer as M;
    let beat = (any::<u64>(), any::<u64>(), any::<u32>(), any::<u64>())
        .prop_map(|(seq, at, load, rtt)| Heartbeat { seq, at, load, rtt });
    prop_oneof![
        register().prop_map(M::Register),
        (blob(), prop::option::of(blob())).prop_map(|(mac, previous)| M::Proof(Proof { mac, previous })),
        new_proxy_conn().prop_map(M::NewProxyConn),
        (blob(), any::<u16>()).prop_map(|(id, code)| M::ProxyConnFailed(ProxyConnFailed { id, code })),
        (any::<u16>(), text()).prop_map(|(code, message)| M::Refused(Refused { code, message })),
        (any::<u16>(), any::<u64>()).prop_map(|(outcome, bytes)| M::Finished(Finished { outcome, bytes })),
        any::<u16>().prop_map(|code| M::Reset(Reset { code })),
        beat.prop_map(M::Heartbeat),
        go_away().prop_map(M::GoAway),
        prop::sample::select(vec![
            M::Accepted,
            M::Started,
            M::Retire,
            M::Data,
            M::Fin,
            M::Ping,
            M::Pong,
            M::GoAwayAck
        ]),
    ]
}

fn to_client() -> impl Strategy<Value = ToClient> {
    use ToClient as M;
    prop_oneof![
        blob().prop_map(|nonce| M::Challenge(Challenge { nonce })),
        (blob(), blob()).prop_map(|(verdict, mac)| M::RegisterResult(RegisterResult { verdict, mac })),
        (vec(blob(), 0..5), any::<u8>())
            .prop_map(|(ids, purpose)| M::RequestNewProxyConn(RequestNewProxyConn { ids, purpose })),
        blob().prop_map(|mac| M::ProxyConnReady(ProxyConnReady { mac })),
        start().prop_map(M::Start),
        any::<u16>().prop_map(|code| M::Reset(Reset { code })),
        (any::<u64>(), any::<u64>()).prop_map(|(seq, at)| M::HeartbeatAck(HeartbeatAck { seq, at })),
        go_away().prop_map(M::GoAway),
        prop::sample::select(vec![M::Data, M::Fin, M::Ping, M::Pong, M::GoAwayAck]),
    ]
}

fn round_trip<M: Message + PartialEq + Debug>(message: &M, stream_id: u32) {
    let mut frame = Vec::new();
    encode(&mut frame, stream_id, message);
    let (mut decoder, mut input) = (Decoder::new(0), frame.as_slice());
    let Ok(Piece::Head(head)) = decoder.next(&mut input) else {
        panic!("a frame begins with its head")
    };
    assert!(input.is_empty() && decoder.is_empty());
    assert_eq!(head.prefix.stream_id, stream_id);
    assert_eq!(head.message::<M>().unwrap().as_ref(), Some(message));
}

type Frames = Vec<(Head, Vec<u8>)>;

/// Everything a decoder says about `input` cut into `chunks`: heads, bodies put together, how it ended.
fn decode(input: &[u8], chunks: &[usize]) -> (Frames, Option<String>, bool) {
    let mut decoder = Decoder::new(PROXY_BODY_LEN_MAX);
    let mut frames = Frames::new();
    let mut left = input;
    let mut sizes = chunks.iter().copied().chain(std::iter::repeat(usize::MAX));
    while !left.is_empty() {
        let (chunk, rest) = left.split_at(sizes.next().expect("sizes never end").clamp(1, left.len()));
        left = rest;
        let mut chunk = chunk;
        loop {
            match decoder.next(&mut chunk) {
                Ok(Piece::Incomplete) => break,
                Ok(Piece::Head(head)) => frames.push((head, Vec::new())),
                Ok(Piece::Body(n)) => {
                    frames
                        .last_mut()
                        .expect("a body has a head")
                        .1
                        .extend_from_slice(&chunk[..n]);
                    chunk = &chunk[n..];
                    decoder.consume_body(n);
                }
                Err(error) => return (frames, Some(error.to_string()), decoder.is_empty()),
            }
        }
        assert!(chunk.is_empty(), "an incomplete frame has taken all there was");
    }
    (frames, None, decoder.is_empty())
}

/// Bytes that look like frames often enough to get past the first check.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![0u8..60, Just(32u8), any::<u8>()];
    let frame = (
        kind,
        0u8..3,
        0u16..300,
        any::<u32>(),
        prop_oneof![Just(0u32), 0u32..500],
        vec(any::<u8>(), 0..700),
    );
    let frame = frame.prop_map(|(kind, flags, header_len, stream_id, body_len, rest)| {
        let header_len = if (32..37).contains(&kind) { 0 } else { header_len };
        let prefix = Prefix {
            kind,
            flags,
            header_len,
            stream_id,
            body_len,
        };
        let len = usize::from(header_len) + body_len as usize;
        let rest = rest.into_iter().chain(std::iter::repeat(0x81)).take(len);
        prefix.encode().into_iter().chain(rest).collect::<Vec<u8>>()
    });
    vec(frame, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn every_message_to_the_server_survives_the_wire(message in to_server(), stream_id: u32) {
        round_trip(&message, stream_id);
    }

    #[test]
    fn every_message_to_the_client_survives_the_wire(message in to_client(), stream_id: u32) {
        round_trip(&message, stream_id);
    }

    #[test]
    fn a_stream_means_the_same_however_it_is_cut(
        input in prop_oneof![frames(), vec(any::<u8>(), 0..2_000)],
        chunks in vec(1usize..400, 0..50),
    ) {
        let whole = decode(&input, &[]);
        prop_assert_eq!(&decode(&input, &chunks), &whole);
        prop_assert_eq!(&decode(&input, &vec![1; input.len()]), &whole);
    }
}
