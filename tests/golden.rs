//! The bytes of the protocol, pinned. A change that turns this file red breaks every deployed peer.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::{fmt::Debug, io::IoSlice};

use adit::link::mux::batch::Batch;
use adit::wire::{
    codec::{Decoder, Head, Piece, encode},
    frame::{IGNORABLE, PREFIX_LEN, Prefix, kind},
    message::{
        Challenge, DecodeError, Denied, FEATURE_MUX, Finished, GoAway, Granted, Heartbeat, HeartbeatAck,
        Message, NewProxyConn, Proof, ProxyConnFailed, ProxyConnReady, Refused, Register, RegisterResult,
        RequestNewProxyConn, Reset, Start, ToClient, ToServer, Upstream, Verdict, decode_map, encode_map,
    },
    preamble::{PreambleError, Purpose},
};
use serde_bytes::ByteBuf;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(fill: u8, len: usize) -> ByteBuf {
    ByteBuf::from(vec![fill; len])
}

fn head(frame: &[u8]) -> Head {
    let mut input = frame;
    match Decoder::new(0).next(&mut input) {
        Ok(Piece::Head(head)) => head,
        other => panic!("a whole frame is one head, not {other:?}"),
    }
}

/// The frame of `message` on `stream_id` is `golden`, byte for byte, and back.
fn check<M: Message + PartialEq + Debug>(message: &M, stream_id: u32, golden: &str) {
    let golden = unhex(golden);
    let mut frame = Vec::new();
    encode(&mut frame, stream_id, message);
    assert_eq!(hex(&frame), hex(&golden), "{message:?}");
    let head = head(&golden);
    assert_eq!(head.prefix.stream_id, stream_id);
    assert_eq!(head.message::<M>().unwrap().as_ref(), Some(message));
}

#[test]
fn preambles() {
    let check = |purpose: Purpose, golden: &[u8; 8]| {
        assert_eq!(&purpose.preamble(), golden);
        assert_eq!(Purpose::parse(golden), Ok(purpose));
    };
    check(Purpose::Control, b"ADIT\x01\x01\x00\x00");
    check(Purpose::Proxy, b"ADIT\x01\x02\x00\x00");
    check(Purpose::Link, b"ADIT\x01\x03\x00\x00");
    assert_eq!(Purpose::parse(b"GET / HT"), Err(PreambleError::Magic));
    assert_eq!(
        Purpose::parse(b"ADIT\x02\x01\x00\x00"),
        Err(PreambleError::Version(2))
    );
    assert_eq!(
        Purpose::parse(b"ADIT\x01\x04\x00\x00"),
        Err(PreambleError::Purpose(4))
    );
    assert_eq!(
        Purpose::parse(b"ADIT\x01\x01\x00\x01"),
        Err(PreambleError::Reserved)
    );
}

#[test]
fn frame_prefix() {
    let prefix = Prefix {
        kind: 0x20,
        flags: IGNORABLE,
        header_len: 0x0102,
        stream_id: 0x0304_0506,
        body_len: 0x0708_090a,
    };
    let golden = unhex("20 01 0201 06050403 0a090807");
    assert_eq!(prefix.encode().to_vec(), golden);
    assert_eq!(Prefix::decode(golden.as_slice().try_into().unwrap()), prefix);
}

#[test]
fn credit() {
    let mut batch = Batch::default();
    batch.push_credit(kind::WINDOW, 0x0102_0305, 0x000a_0b0c);
    batch.push_credit(kind::WINDOW_RETURN, 7, 1);
    let mut slices = [IoSlice::new(&[]); 1];
    assert_eq!(batch.slices(&mut slices), 1);
    let golden = "25000000 05030201 04000000 0c0b0a00  26000000 07000000 04000000 01000000";
    assert_eq!(hex(&slices[0]), hex(&unhex(golden)));
}

#[test]
fn messages_to_the_server() {
    let register = Register {
        client_id: "a".to_owned(),
        group: "g".to_owned(),
        upstreams: vec![Upstream {
            name: "main".to_owned(),
            group: String::new(),
        }],
        instance: bytes(0x11, 16),
        features: vec![FEATURE_MUX.to_owned()],
        nonce: bytes(0x22, 32),
    };
    check(
        &ToServer::Register(register),
        0,
        "01 00 8300 00000000 00000000 \
         86a9636c69656e745f6964a161a567726f7570a167a9757073747265616d739182a46e616d65a46d61696ea5 \
         67726f7570a0a8696e7374616e6365c41011111111111111111111111111111111a8666561747572657391a3 \
         6d7578a56e6f6e6365c4202222222222222222222222222222222222222222222222222222222222222222",
    );
    let proof = Proof {
        mac: bytes(0x33, 32),
        previous: None,
    };
    check(
        &ToServer::Proof(proof.clone()),
        0,
        "03 00 3100 00000000 00000000 \
         82a36d6163c4203333333333333333333333333333333333333333333333333333333333333333a870726576 \
         696f7573c0",
    );
    let resumed = Proof {
        previous: Some(bytes(0x44, 32)),
        ..proof
    };
    check(
        &ToServer::Proof(resumed),
        0,
        "03 00 5200 00000000 00000000 \
         82a36d6163c4203333333333333333333333333333333333333333333333333333333333333333a870726576 \
         696f7573c4204444444444444444444444444444444444444444444444444444444444444444",
    );
    let new = NewProxyConn {
        client_id: "a".to_owned(),
        boot: 0x0102_0304_0506_0708,
        counter: 9,
        proxy_conn_id: bytes(0x55, 16),
        mac: bytes(0x66, 32),
    };
    check(
        &ToServer::NewProxyConn(new),
        0,
        "06 00 6a00 00000000 00000000 \
         85a9636c69656e745f6964a161a4626f6f74cf0102030405060708a7636f756e74657209ad70726f78795f63 \
         6f6e6e5f6964c41055555555555555555555555555555555a36d6163c4206666666666666666666666666666 \
         666666666666666666666666666666666666",
    );
    let failed = ProxyConnFailed {
        id: bytes(0x55, 16),
        code: 7,
    };
    check(
        &ToServer::ProxyConnFailed(failed),
        0,
        "08 00 1c00 00000000 00000000 \
         82a26964c41055555555555555555555555555555555a4636f646507",
    );
    check(&ToServer::Accepted, 1, "11 00 0000 01000000 00000000");
    check(&ToServer::Started, 1, "12 00 0000 01000000 00000000");
    let refused = Refused {
        code: 1,
        message: "no".to_owned(),
    };
    check(
        &ToServer::Refused(refused),
        2,
        "13 00 1200 02000000 00000000 82a4636f646501a76d657373616765a26e6f",
    );
    check(
        &ToServer::Finished(Finished {
            outcome: 0,
            bytes: 70_000,
        }),
        2,
        "14 00 1500 02000000 00000000 \
         82a76f7574636f6d6500a56279746573ce00011170",
    );
    check(&ToServer::Retire, 2, "15 01 0000 02000000 00000000");
    check(&ToServer::Data, 3, "20 00 0000 03000000 00000000");
    check(&ToServer::Fin, 3, "21 00 0000 03000000 00000000");
    check(
        &ToServer::Reset(Reset { code: 2 }),
        3,
        "22 00 0700 03000000 00000000 81a4636f646502",
    );
    check(&ToServer::Ping, 0xdead_beef, "23 00 0000 efbeadde 00000000");
    check(&ToServer::Pong, 0xdead_beef, "24 00 0000 efbeadde 00000000");
    let beat = Heartbeat {
        seq: 1,
        at: 5_000_000,
        load: 300,
        rtt: 20_000,
    };
    check(
        &ToServer::Heartbeat(beat),
        0,
        "30 00 1d00 00000000 00000000 \
         84a373657101a26174ce004c4b40a46c6f6164cd012ca3727474cd4e20",
    );
    let away = GoAway {
        reason: "bye".to_owned(),
        retry_after_ms: 1_000,
        servers: vec!["b:1".to_owned()],
    };
    check(
        &ToServer::GoAway(away),
        0,
        "35 00 2b00 00000000 00000000 \
         83a6726561736f6ea3627965ae72657472795f61667465725f6d73cd03e8a77365727665727391a3623a31",
    );
    check(&ToServer::GoAwayAck, 0, "36 00 0000 00000000 00000000");
}

#[test]
fn messages_to_the_client() {
    check(
        &ToClient::Challenge(Challenge {
            nonce: bytes(0x77, 32),
        }),
        0,
        "02 00 2900 00000000 00000000 \
         81a56e6f6e6365c4207777777777777777777777777777777777777777777777777777777777777777",
    );
    let result = RegisterResult {
        verdict: bytes(0x80, 1),
        mac: bytes(0x88, 32),
    };
    check(
        &ToClient::RegisterResult(result),
        0,
        "04 00 3200 00000000 00000000 \
         82a776657264696374c40180a36d6163c4208888888888888888888888888888888888888888888888888888 \
         888888888888",
    );
    let request = RequestNewProxyConn {
        ids: vec![bytes(0x55, 16), bytes(0x56, 16)],
        purpose: 2,
    };
    check(
        &ToClient::RequestNewProxyConn(request),
        0,
        "05 00 3300 00000000 00000000 \
         82a369647392c41055555555555555555555555555555555c41056565656565656565656565656565656a770 \
         7572706f736502",
    );
    check(
        &ToClient::ProxyConnReady(ProxyConnReady { mac: bytes(0x99, 32) }),
        0,
        "07 00 2700 00000000 00000000 \
         81a36d6163c4209999999999999999999999999999999999999999999999999999999999999999",
    );
    let start = Start {
        session_id: 42,
        protocol: "tcp".to_owned(),
        upstream: "main".to_owned(),
        address: String::new(),
        visitor: "192.0.2.1:5000".to_owned(),
        entry: "public".to_owned(),
    };
    check(
        &ToClient::Start(start),
        1,
        "10 00 5500 01000000 00000000 \
         86aa73657373696f6e5f69642aa870726f746f636f6ca3746370a8757073747265616da46d61696ea7616464 \
         72657373a0a776697369746f72ae3139322e302e322e313a35303030a5656e747279a67075626c6963",
    );
    check(&ToClient::Data, 1, "20 00 0000 01000000 00000000");
    check(&ToClient::Fin, 1, "21 00 0000 01000000 00000000");
    check(
        &ToClient::Reset(Reset { code: 1 }),
        1,
        "22 00 0700 01000000 00000000 81a4636f646501",
    );
    check(&ToClient::Ping, 7, "23 00 0000 07000000 00000000");
    check(&ToClient::Pong, 7, "24 00 0000 07000000 00000000");
    check(
        &ToClient::HeartbeatAck(HeartbeatAck {
            seq: 1,
            at: 5_000_000,
        }),
        0,
        "31 00 0e00 00000000 00000000 82a373657101a26174ce004c4b40",
    );
    let away = GoAway {
        reason: "bye".to_owned(),
        retry_after_ms: 1_000,
        servers: Vec::new(),
    };
    check(
        &ToClient::GoAway(away),
        0,
        "35 00 2700 00000000 00000000 \
         83a6726561736f6ea3627965ae72657472795f61667465725f6d73cd03e8a77365727665727390",
    );
    check(&ToClient::GoAwayAck, 0, "36 00 0000 00000000 00000000");
}

#[test]
fn verdicts() {
    let check = |verdict: Verdict, golden: &str| {
        let mut raw = Vec::new();
        encode_map(&verdict, &mut raw);
        assert_eq!(hex(&raw), hex(&unhex(golden)), "{verdict:?}");
        assert_eq!(decode_map::<Verdict>(4, &unhex(golden)).unwrap(), verdict);
    };
    let granted = Granted {
        boot: 1,
        counter: 2,
        proxy_port: 7001,
        proxy_address: String::new(),
        heartbeat_ms: 5_000,
        window: 65_536,
        max_streams: 1_024,
        half_closed_ms: 300_000,
        ..Granted::default()
    };
    check(
        Verdict {
            granted: Some(granted),
            denied: None,
        },
        "82a76772616e74656489a4626f6f7401a7636f756e74657202aa70726f78795f706f7274cd1b59ad70726f78 \
         795f61646472657373a0ac6865617274626561745f6d73cd1388ae636f6e6669675f76657273696f6e00a677 \
         696e646f77ce00010000ab6d61785f73747265616d73cd0400ae68616c665f636c6f7365645f6d73ce000493e0a664656e696564c0",
    );
    let denied = Denied {
        code: 2,
        message: "taken".to_owned(),
        retry_after_ms: 5_000,
    };
    check(
        Verdict {
            granted: None,
            denied: Some(denied),
        },
        "82a76772616e746564c0a664656e69656483a4636f646502a76d657373616765a574616b656eae7265747279 \
         5f61667465725f6d73cd1388",
    );
}

/// An admission by a server that knows no data links.
#[test]
fn an_absent_field_is_its_default() {
    let verdict = unhex(
        "82a76772616e74656486a4626f6f7401a7636f756e74657202aa70726f78795f706f7274cd1b59ad70726f78 \
         795f61646472657373a0ac6865617274626561745f6d73cd1388ae636f6e6669675f76657273696f6e00a664 \
         656e696564c0",
    );
    let granted = decode_map::<Verdict>(4, &verdict).unwrap().granted.unwrap();
    assert_eq!((granted.boot, granted.heartbeat_ms), (1, 5_000));
    assert_eq!((granted.window, granted.max_streams), (0, 0));
}

/// `{"code": 1, "hue": [1, {"a": nil}], "message": "no"}`: a newer peer says more.
#[test]
fn an_unknown_field_is_skipped() {
    let header = unhex("83 a4636f6465 01 a3687565 92 01 81 a161 c0 a76d657373616765 a26e6f");
    let expected = Refused {
        code: 1,
        message: "no".to_owned(),
    };
    assert_eq!(
        ToServer::decode(19, &header).unwrap(),
        ToServer::Refused(expected)
    );
}

/// `{"message": "no"}` and `{}`: an older peer says less.
#[test]
fn a_missing_field_has_its_default() {
    let expected = Refused {
        code: 0,
        message: "no".to_owned(),
    };
    let header = unhex("81 a76d657373616765 a26e6f");
    assert_eq!(
        ToServer::decode(19, &header).unwrap(),
        ToServer::Refused(expected)
    );
    assert_eq!(
        ToServer::decode(1, &[0x80]).unwrap(),
        ToServer::Register(Register::default())
    );
    assert_eq!(
        ToClient::decode(16, &[0x80]).unwrap(),
        ToClient::Start(Start::default())
    );
}

#[test]
fn trailing_bytes_are_rejected() {
    let behind_a_map = ToServer::decode(19, &unhex("81 a76d657373616765 a26e6f c0"));
    assert!(matches!(
        behind_a_map,
        Err(DecodeError::Trailing { kind: 19, left: 1 })
    ));
    let on_a_bare_kind = ToServer::decode(18, &[0x80]);
    assert!(matches!(
        on_a_bare_kind,
        Err(DecodeError::Trailing { kind: 18, left: 1 })
    ));
    assert!(matches!(
        ToServer::decode(19, &[]),
        Err(DecodeError::Malformed { kind: 19, .. })
    ));
    assert!(matches!(
        ToServer::decode(19, &[0x81]),
        Err(DecodeError::Malformed { kind: 19, .. })
    ));
}

#[test]
fn a_list_is_bounded() {
    let list = |len: usize| {
        let servers = vec![String::new(); len];
        let mut header = Vec::new();
        encode_map(
            &GoAway {
                servers,
                ..GoAway::default()
            },
            &mut header,
        );
        ToClient::decode(53, &header)
    };
    assert!(list(256).is_ok());
    assert!(matches!(list(257), Err(DecodeError::Malformed { kind: 53, .. })));
}

/// A frame of kind 200 with a header and a body, then FIN.
#[test]
fn an_unknown_kind_is_an_error_unless_it_may_be_skipped() {
    let unknown = |flags: u8, body_len: u32| {
        let prefix = Prefix {
            kind: 200,
            flags,
            header_len: 3,
            stream_id: 1,
            body_len,
        };
        let mut input = prefix.encode().to_vec();
        input.extend_from_slice(&[0xc1; 3]);
        input.extend(std::iter::repeat_n(0xff, body_len as usize));
        input.extend_from_slice(&Prefix::bare(33, 1).encode());
        input
    };
    let input = unknown(0, 0);
    let first = head(&input[..PREFIX_LEN + 3]);
    assert!(matches!(
        first.message::<ToServer>(),
        Err(DecodeError::UnknownKind(200))
    ));

    // Also where no body is allowed otherwise, as on a control connection.
    for body_len in [0, 100] {
        let input = unknown(IGNORABLE, body_len);
        let (mut decoder, mut rest) = (Decoder::new(0), input.as_slice());
        let Ok(Piece::Head(second)) = decoder.next(&mut rest) else {
            panic!("the known frame follows")
        };
        assert_eq!(second.message::<ToServer>().unwrap(), Some(ToServer::Fin));
        assert!(rest.is_empty() && decoder.is_empty());
    }
    let too_long = unknown(IGNORABLE, 64 * 1024 + 1);
    assert!(Decoder::new(0).next(&mut too_long.as_slice()).is_err());
    let with_a_body = unknown(0, 100);
    assert!(Decoder::new(100).next(&mut with_a_body.as_slice()).is_err());
}

#[test]
fn a_message_of_the_other_direction_is_rejected() {
    assert!(matches!(
        ToServer::decode(16, &[0x80]),
        Err(DecodeError::UnknownKind(16))
    ));
    assert!(matches!(
        ToServer::decode(2, &[0x80]),
        Err(DecodeError::UnknownKind(2))
    ));
    assert!(matches!(
        ToClient::decode(1, &[0x80]),
        Err(DecodeError::UnknownKind(1))
    ));
    assert!(matches!(
        ToClient::decode(18, &[]),
        Err(DecodeError::UnknownKind(18))
    ));
}
