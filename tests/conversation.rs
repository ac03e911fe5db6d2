//! Whole conversations of the first version of the protocol, with a peer that is no Adit but the bytes of one: what a deployed
//! peer says, an Adit of today understands, and what it is told, it knows. A peer of the first version has no features.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use support::{
    RunningClient, RunningServer, TOKEN, any_port, client_config, echo, run, server_config, with_pool,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const CONTROL: &[u8; 8] = b"ADIT\x01\x01\x00\x00";
const PROXY: &[u8; 8] = b"ADIT\x01\x02\x00\x00";
const PURPOSE_PROXY: u8 = 2;

const REGISTER: u8 = 1;
const CHALLENGE: u8 = 2;
const PROOF: u8 = 3;
const RESULT: u8 = 4;
const REQUEST: u8 = 5;
const NEW: u8 = 6;
const READY: u8 = 7;
const START: u8 = 16;
const ACCEPTED: u8 = 17;
const STARTED: u8 = 18;
const FINISHED: u8 = 20;
const DATA: u8 = 32;
const FIN: u8 = 33;
const HEARTBEAT: u8 = 48;
const HEARTBEAT_ACK: u8 = 49;
const GO_AWAY: u8 = 53;
const GO_AWAY_ACK: u8 = 54;
/// A kind that nobody knows yet, of which the sender says that it may be ignored.
const LATER: u8 = 99;
const IGNORABLE: u8 = 1;

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn derive(salt: Option<&[u8]>, info: &str) -> [u8; 32] {
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(salt, TOKEN.as_bytes())
        .expand(info.as_bytes(), &mut key)
        .unwrap();
    key
}

/// A header: its parts, one behind the other.
fn header(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A short text: a key of a map, or what stands behind one.
fn text(text: &str) -> Vec<u8> {
    [&[0xa0 | u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

/// A short byte string.
fn bin(bytes: &[u8]) -> Vec<u8> {
    [&[0xc4, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// A number in its longest form.
fn number(value: u64) -> Vec<u8> {
    [&[0xcf][..], &value.to_be_bytes()].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, header: &[u8], body: &[u8]) -> Vec<u8> {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
    let header_len = u16::try_from(header.len()).unwrap();
    [
        &[kind, flags][..],
        &header_len.to_le_bytes(),
        &stream.to_le_bytes(),
        &len(body).to_le_bytes(),
        header,
        body,
    ]
    .concat()
}

/// A frame that has come.
struct Frame {
    kind: u8,
    stream: u32,
    /// Prefix and header.
    raw: Vec<u8>,
    body: Vec<u8>,
}

impl Frame {
    /// What stands behind a key of its header.
    fn behind(&self, name: &str) -> &[u8] {
        let key = text(name);
        let at = self.raw.windows(key.len()).position(|here| here == key);
        &self.raw[at.unwrap_or_else(|| panic!("no {name} in kind {}", self.kind)) + key.len()..]
    }

    fn bin(&self, name: &str) -> &[u8] {
        let behind = self.behind(name);
        assert_eq!(behind[0], 0xc4, "{name} is a short byte string");
        &behind[2..2 + usize::from(behind[1])]
    }

    fn number(&self, name: &str) -> u64 {
        let behind = self.behind(name);
        let len = match behind[0] {
            0..0x80 => return behind[0].into(),
            0xcc => 1,
            0xcd => 2,
            0xce => 4,
            0xcf => 8,
            other => panic!("{name} is no number: {other:#x}"),
        };
        behind[1..=len]
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

/// One end of a connection.
struct Peer(TcpStream);

impl Peer {
    async fn connect(at: std::net::SocketAddr, preamble: &[u8; 8]) -> Self {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(preamble).await.unwrap();
        Self(stream)
    }

    async fn accept(listener: &TcpListener, preamble: &[u8; 8]) -> Self {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut said = [0; 8];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, preamble);
        Self(stream)
    }

    async fn say(&mut self, kind: u8, stream: u32, header: &[u8], body: &[u8]) -> Vec<u8> {
        let frame = frame(kind, 0, stream, header, body);
        self.0.write_all(&frame).await.unwrap();
        frame
    }

    async fn hear(&mut self) -> Frame {
        let mut raw = vec![0; 12];
        self.0.read_exact(&mut raw).await.unwrap();
        let word = |at: usize| u32::from_le_bytes(raw[at..at + 4].try_into().unwrap());
        let (kind, stream, body_len) = (raw[0], word(4), word(8));
        let header_len = usize::from(u16::from_le_bytes([raw[2], raw[3]]));
        let mut body = vec![0; header_len + body_len as usize];
        self.0.read_exact(&mut body).await.unwrap();
        raw.extend(body.drain(..header_len));
        Frame {
            kind,
            stream,
            raw,
            body,
        }
    }

    /// The next frame of that kind; heartbeats and requests for connections may come before it.
    async fn hear_kind(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.hear().await;
            if frame.kind == kind {
                return frame;
            }
            assert!(
                [HEARTBEAT, HEARTBEAT_ACK, REQUEST, ACCEPTED].contains(&frame.kind),
                "kind {} instead of {kind}",
                frame.kind
            );
        }
    }

    /// Bytes of a session until they are all there, and what else it hears meanwhile is a fault.
    async fn hear_data(&mut self, stream: u32, expected: &[u8]) {
        let mut all = Vec::new();
        while all.len() < expected.len() {
            let frame = self.hear_kind(DATA).await;
            assert_eq!(frame.stream, stream);
            all.extend(frame.body);
        }
        assert_eq!(all, expected);
    }
}

/// What both ends of a registration know.
struct Link {
    key: [u8; 32],
    boot: u64,
    counter: u64,
}

impl Link {
    fn proof(&self, label: &[u8], ticket: &[u8]) -> [u8; 32] {
        let (boot, counter) = (self.boot.to_le_bytes(), self.counter.to_le_bytes());
        mac(&self.key, &[label, &[PURPOSE_PROXY], &boot, &counter, ticket])
    }
}

fn transcript(register: &[u8], challenge: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    [CONTROL, register, challenge]
        .iter()
        .for_each(|part| hash.update(part));
    hash.finalize().into()
}

/// Registers the client `a` with the upstream `main` in the group `default`.
async fn register(server: &RunningServer) -> (Peer, Link) {
    let mut control = Peer::connect(server.addresses.control, CONTROL).await;
    let register = header(&[
        &[0x86],
        &text("client_id"),
        &text("a"),
        &text("group"),
        &text("default"),
        &text("upstreams"),
        &[0x91, 0x82],
        &text("name"),
        &text("main"),
        &text("group"),
        &text(""),
        &text("instance"),
        &bin(&[0x11; 16]),
        &text("features"),
        &[0x90],
        &text("nonce"),
        &bin(&[0x22; 32]),
    ]);
    let register = control.say(REGISTER, 0, &register, &[]).await;
    let challenge = control.hear().await;
    assert_eq!((challenge.kind, challenge.bin("nonce").len()), (CHALLENGE, 32));
    let transcript = transcript(&register, &challenge.raw);
    let proof = mac(&derive(None, "adit1 client"), &[&transcript]);
    let proof = header(&[&[0x82], &text("mac"), &bin(&proof), &text("previous"), &[0xc0]]);
    control.say(PROOF, 0, &proof, &[]).await;
    let result = control.hear().await;
    assert_eq!(result.kind, RESULT);
    let verdict = result.bin("verdict");
    let expected = mac(&derive(None, "adit1 server"), &[&transcript, verdict]);
    assert_eq!(result.bin("mac"), expected, "the server proves itself");
    assert_eq!(
        result.number("proxy_port"),
        u64::from(server.addresses.proxy.port())
    );
    let link = Link {
        key: derive(Some(&transcript), "adit1 link"),
        boot: result.number("boot"),
        counter: result.number("counter"),
    };
    (control, link)
}

/// Opens the first connection that the server asks for.
async fn open(server: &RunningServer, control: &mut Peer, link: &Link) -> Peer {
    let request = control.hear_kind(REQUEST).await;
    assert_eq!(
        request.number("purpose"),
        u64::from(PURPOSE_PROXY),
        "it knows no data links"
    );
    // The list has one element or more; the first is behind its length.
    let ticket = request.behind("ids")[3..19].to_vec();
    let mut proxy = Peer::connect(server.addresses.proxy, PROXY).await;
    let claim = header(&[
        &[0x85],
        &text("client_id"),
        &text("a"),
        &text("boot"),
        &number(link.boot),
        &text("counter"),
        &number(link.counter),
        &text("proxy_conn_id"),
        &bin(&ticket),
        &text("mac"),
        &bin(&link.proof(b"adit1 conn", &ticket)),
    ]);
    proxy.say(NEW, 0, &claim, &[]).await;
    let ready = proxy.hear().await;
    assert_eq!(ready.kind, READY);
    assert_eq!(ready.bin("mac"), link.proof(b"adit1 ready", &ticket));
    proxy
}

#[test]
fn a_client_of_the_first_version_serves_visitors() {
    run(|| async {
        let server = RunningServer::start(with_pool(server_config(), 1, 1)).await;
        let (mut control, link) = register(&server).await;
        let beat = header(&[
            &[0x84],
            &text("seq"),
            &[1],
            &text("at"),
            &[2],
            &text("load"),
            &[0],
            &text("rtt"),
            &[0],
        ]);
        let mut proxy = open(&server, &mut control, &link).await;
        control.say(HEARTBEAT, 0, &beat, &[]).await;
        let answer = control.hear_kind(HEARTBEAT_ACK).await;
        assert_eq!((answer.number("seq"), answer.number("at")), (1, 2));

        // One session after another on the same connection, each with its ordinal.
        for ordinal in 1..=3 {
            let mut visitor = TcpStream::connect(server.public()).await.unwrap();
            visitor.write_all(b"hello").await.unwrap();
            let start = proxy.hear().await;
            assert_eq!((start.kind, start.stream), (START, ordinal));
            assert_eq!(&start.behind("protocol")[..4], text("tcp"));
            assert_eq!(&start.behind("upstream")[..5], text("main"));
            proxy.say(ACCEPTED, ordinal, &[], &[]).await;
            proxy.say(STARTED, ordinal, &[], &[]).await;
            proxy.hear_data(ordinal, b"hello").await;
            // What a later version may say.
            let later = frame(LATER, IGNORABLE, ordinal, &[0x80], b"later");
            proxy.0.write_all(&later).await.unwrap();
            proxy.say(DATA, ordinal, &[], b"world").await;
            proxy.say(FIN, ordinal, &[], &[]).await;
            let mut answer = Vec::new();
            visitor.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"world");
            drop(visitor);
            assert_eq!(proxy.hear().await.kind, FIN);
            let finished = header(&[&[0x82], &text("outcome"), &[0], &text("bytes"), &[5]]);
            proxy.say(FINISHED, ordinal, &finished, &[]).await;
        }

        let away = header(&[
            &[0x83],
            &text("reason"),
            &text("bye"),
            &text("retry_after_ms"),
            &[0],
            &text("servers"),
            &[0x90],
        ]);
        control.say(GO_AWAY, 0, &away, &[]).await;
        control.hear_kind(GO_AWAY_ACK).await;
        assert_eq!(server.metrics.violations.get(), 0);
    });
}

/// A server that is bytes: admits whoever registers, and returns what both know.
async fn admit(control: &mut Peer, proxy_port: u16) -> Link {
    let register = control.hear().await;
    assert_eq!(register.kind, REGISTER);
    // A later version may say more.
    let challenge = header(&[
        &[0x82],
        &text("nonce"),
        &bin(&[0x77; 32]),
        &text("later"),
        &text("on"),
    ]);
    let challenge = control.say(CHALLENGE, 0, &challenge, &[]).await;
    let transcript = transcript(&register.raw, &challenge);
    let proof = control.hear().await;
    assert_eq!(proof.kind, PROOF);
    let expected = mac(&derive(None, "adit1 client"), &[&transcript]);
    assert_eq!(proof.bin("mac"), expected, "the client proves itself");
    let link = Link {
        key: derive(Some(&transcript), "adit1 link"),
        boot: 5,
        counter: 6,
    };
    // What the first version granted: nothing of data links.
    let verdict = header(&[
        &[0x81],
        &text("granted"),
        &[0x84],
        &text("boot"),
        &number(link.boot),
        &text("counter"),
        &number(link.counter),
        &text("proxy_port"),
        &number(proxy_port.into()),
        &text("heartbeat_ms"),
        &number(60_000),
    ]);
    let proof = mac(&derive(None, "adit1 server"), &[&transcript, &verdict]);
    let result = header(&[
        &[0x82],
        &text("verdict"),
        &bin(&verdict),
        &text("mac"),
        &bin(&proof),
    ]);
    control.say(RESULT, 0, &result, &[]).await;
    link
}

#[test]
fn a_server_of_the_first_version_is_served() {
    run(|| async {
        let [control, proxy] = [any_port(); 2].map(|at| async move { TcpListener::bind(at).await.unwrap() });
        let (listener, proxies) = (control.await, proxy.await);
        let at = listener.local_addr().unwrap();
        let client = RunningClient::start(client_config("a", at, echo().await));

        let mut control = Peer::accept(&listener, CONTROL).await;
        let link = admit(&mut control, proxies.local_addr().unwrap().port()).await;
        let beat = control.hear_kind(HEARTBEAT).await;
        let (seq, at) = (number(beat.number("seq")), number(beat.number("at")));
        let answer = header(&[&[0x82], &text("seq"), &seq, &text("at"), &at]);
        control.say(HEARTBEAT_ACK, 0, &answer, &[]).await;

        let ticket = [0x55; 16];
        let request = header(&[
            &[0x82],
            &text("ids"),
            &[0x91],
            &bin(&ticket),
            &text("purpose"),
            &[PURPOSE_PROXY],
        ]);
        control.say(REQUEST, 0, &request, &[]).await;
        let mut proxy = Peer::accept(&proxies, PROXY).await;
        let claim = proxy.hear().await;
        assert_eq!((claim.kind, claim.bin("proxy_conn_id")), (NEW, &ticket[..]));
        assert_eq!((claim.number("boot"), claim.number("counter")), (5, 6));
        assert_eq!(claim.bin("mac"), link.proof(b"adit1 conn", &ticket));
        let ready = header(&[&[0x81], &text("mac"), &bin(&link.proof(b"adit1 ready", &ticket))]);
        proxy.say(READY, 0, &ready, &[]).await;

        for ordinal in 1..=3 {
            let start = header(&[
                &[0x87],
                &text("session_id"),
                &[42],
                &text("protocol"),
                &text("tcp"),
                &text("upstream"),
                &text("main"),
                &text("address"),
                &text(""),
                &text("visitor"),
                &text("192.0.2.1:5000"),
                &text("entry"),
                &text("public"),
                &text("later"),
                &[0x92, 1, 2],
            ]);
            proxy.say(START, ordinal, &start, &[]).await;
            proxy.say(DATA, ordinal, &[], b"hello").await;
            let started = proxy.hear_kind(STARTED).await;
            assert_eq!(started.stream, ordinal);
            proxy.hear_data(ordinal, b"hello").await;
            proxy.say(FIN, ordinal, &[], &[]).await;
            assert_eq!(proxy.hear().await.kind, FIN);
            let finished = proxy.hear().await;
            assert_eq!((finished.kind, finished.number("outcome")), (FINISHED, 0));
        }

        client.stopper.advance();
        control.hear_kind(GO_AWAY).await;
        control.say(GO_AWAY_ACK, 0, &[], &[]).await;
        drop(proxy);
        client.task.await.unwrap();
        assert_eq!(client.metrics.violations.get(), 0);
    });
}
