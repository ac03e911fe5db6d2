//! How long a visitor's connection is kept, on a clock that the test moves.

use std::{collections::BTreeMap, net::SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::{stream::PREFACE, *};
use crate::{
    env::{Env, Stop, Stopper},
    id::EntryName,
    rules::Matcher,
    time::Instant,
    transport::pipe::pipe,
};

/// A connection to an entry that answers everything with 404, and what tells it to drain without a delay.
fn visit() -> (DuplexStream, Stopper) {
    let (stopper, stop) = Stop::channel();
    (visit_until(stop.clone(), stop), stopper)
}

/// A connection to an entry that answers everything with 404, of a node that is told to `stop`; in the end it is `closed`.
fn visit_until(stop: Stop, closed: Stop) -> DuplexStream {
    let env = Env::production(stop);
    let books = record::Books {
        env: env.clone(),
        entry: EntryName::new("www").unwrap(),
        log: None,
    };
    let gateway = Gateway {
        env: env.clone(),
        closed,
        traffic: env.metrics.entry_traffic.join("www", ""),
        rules: Matcher::new(Vec::new()),
        fallback: None,
        services: BTreeMap::new(),
        books: Arc::new(books),
        pages: Pages::default(),
        server_timing: false,
        via: false,
    };
    let peer = "192.0.2.1:1".parse::<SocketAddr>().unwrap();
    let visitor = Visitor {
        peer,
        origin: Arc::new(Origin::new(peer.ip(), Arc::default(), false)),
        open: Arc::new(OpenRequests::new(time::now())),
        owner: Arc::default(),
        slot: Arc::new(Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap()),
    };
    let (near, far) = pipe();
    env.spawn(talk(Arc::new(gateway), Box::new(near), visitor))
        .detach();
    far
}

/// Asks once, and reads the answer.
async fn ask(visitor: &mut DuplexStream) {
    visitor
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 4096];
    let len = visitor.read(&mut answer).await.unwrap();
    assert!(answer[..len].starts_with(b"HTTP/1.1 404"));
}

/// How many seconds it is until the connection is closed, with nothing more said.
async fn closed(visitor: &mut DuplexStream, since: Instant) -> u64 {
    let mut rest = Vec::new();
    let read = time::within(Duration::from_secs(600), visitor.read_to_end(&mut rest)).await;
    read.expect("it is closed at all").unwrap();
    assert_eq!(rest, b"");
    (time::now() - since).as_secs()
}

#[tokio::test(start_paused = true)]
async fn who_asks_nothing_is_left_after_a_while() {
    let (mut visitor, _stopper) = visit();
    assert_eq!(closed(&mut visitor, time::now()).await, 10);

    let (mut visitor, _stopper) = visit();
    for _ in 0..3 {
        ask(&mut visitor).await;
        time::sleep(Duration::from_secs(50)).await;
    }
    ask(&mut visitor).await;
    let waited = closed(&mut visitor, time::now()).await;
    assert!((60..=66).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn the_head_of_a_request_has_ten_seconds() {
    let since = time::now();
    let (mut visitor, _stopper) = visit();
    visitor.write_all(b"GET / HTTP/1.1\r\nHost").await.unwrap();
    assert_eq!(closed(&mut visitor, since).await, 10);

    // An empty line is none, and a method may begin as HTTP/2 does.
    let (mut visitor, _stopper) = visit();
    ask(&mut visitor).await;
    visitor.write_all(b"\r\n").await.unwrap();
    assert!(closed(&mut visitor, time::now()).await >= 60);
    let since = time::now();
    let (mut visitor, _stopper) = visit();
    visitor.write_all(b"PRIX / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(closed(&mut visitor, since).await, 10);

    // However often it goes on.
    let (mut visitor, _stopper) = visit();
    ask(&mut visitor).await;
    time::sleep(Duration::from_secs(33)).await;
    let since = time::now();
    for byte in b"GET / HTT" {
        visitor.write_all(&[*byte]).await.unwrap();
        time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(closed(&mut visitor, since).await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_request_has_a_hundred_headers_at_most() {
    for (headers, status) in [(99, "404"), (100, "431")] {
        let (mut visitor, _stopper) = visit();
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(headers));
        visitor.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        visitor.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, format!("HTTP/1.1 {status}").as_bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_the_head_of_a_request() {
    let (mut visitor, stopper) = visit();
    ask(&mut visitor).await;
    let since = time::now();
    stopper.advance();
    assert_eq!(closed(&mut visitor, since).await, 0);

    let (mut visitor, stopper) = visit();
    let since = time::now();
    visitor.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    time::sleep(Duration::from_secs(1)).await;
    stopper.advance();
    assert_eq!(closed(&mut visitor, since).await, 10);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_a_goaway_is_left_in_the_end() {
    let (mut visitor, _stopper) = visit();
    let since = time::now();
    // In two pieces, and no settings are acknowledged.
    visitor.write_all(&PREFACE[..2]).await.unwrap();
    time::sleep(Duration::from_secs(1)).await;
    visitor.write_all(&PREFACE[2..]).await.unwrap();
    visitor.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut rest = Vec::new();
    let read = time::within(Duration::from_secs(600), visitor.read_to_end(&mut rest)).await;
    read.expect("it is closed at all").unwrap();
    let waited = (time::now() - since).as_secs();
    assert!((70..=85).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn who_only_pings_is_left_in_the_end() {
    let (mut visitor, _stopper) = visit();
    let since = time::now();
    visitor.write_all(PREFACE).await.unwrap();
    visitor.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[7; 8]].concat();
    let mut answers = [0; 4096];
    while (time::now() - since).as_secs() < 600 {
        // It does not care for what is answered, nor that it is to leave.
        if visitor.write_all(&ping).await.is_err() || visitor.read(&mut answers).await.unwrap_or(0) == 0 {
            break;
        }
        time::sleep(Duration::from_secs(1)).await;
    }
    let waited = (time::now() - since).as_secs();
    assert!((70..=200).contains(&waited), "{waited} s");
}

/// The kinds of the frames that `bytes` hold.
fn kinds(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [a, b, c, kind, ..] = *bytes {
        kinds.push(kind);
        let len = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
        bytes = &bytes[len.min(bytes.len())..];
    }
    kinds
}

/// Reads what has come after a second.
async fn after_a_second(visitor: &mut DuplexStream) -> Vec<u8> {
    time::sleep(Duration::from_secs(1)).await;
    let mut came = vec![0; 4096];
    let len = time::within(Duration::ZERO, visitor.read(&mut came)).await;
    came.truncate(len.map_or(0, Result::unwrap));
    came
}

#[tokio::test(start_paused = true)]
async fn until_the_delay_of_a_drain_is_over_every_request_is_answered() {
    let ((stopper, stop), (closing, entry_closed)) = (Stop::channel(), Stop::channel());
    let visit = || visit_until(stop.clone(), entry_closed.clone());
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (mut kept, mut unused, mut idle) = (visit(), visit(), visit());
    ask(&mut kept).await;
    ask(&mut idle).await;
    stopper.advance();
    let since = time::now();
    time::sleep(Duration::from_secs(5)).await;
    for visitor in [&mut kept, &mut unused, &mut visit()] {
        visitor.write_all(get).await.unwrap();
        let mut answer = String::new();
        visitor.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        // What was under way is read: on a socket a reset would overtake the answer.
        visitor.write_all(get).await.unwrap();
    }
    // Nothing else ends a connection that is idle.
    time::sleep(Duration::from_secs(5)).await;
    closing.advance();
    assert_eq!(closed(&mut idle, since).await, 10);
}

#[tokio::test(start_paused = true)]
async fn within_the_delay_of_a_drain_http2_gets_a_goaway_behind_its_first_request() {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const HEADERS: u8 = 1;
    const GOAWAY: u8 = 7;
    // A GET of `/` at the authority `a`, in HPACK's static table and one literal.
    let get = |stream: u8| [0, 0, 6, 1, 5, 0, 0, 0, stream, 0x82, 0x86, 0x84, 0x41, 1, b'a'];
    let ((stopper, stop), (_closing, closed)) = (Stop::channel(), Stop::channel());
    let begin = [PREFACE, &SETTINGS].concat();
    let mut kept = visit_until(stop.clone(), closed.clone());
    kept.write_all(&[&begin[..], &get(1)].concat()).await.unwrap();
    assert!(!kinds(&after_a_second(&mut kept).await).contains(&GOAWAY));
    stopper.advance();
    assert!(kinds(&after_a_second(&mut kept).await).contains(&GOAWAY));
    // Its visitor has not seen it yet.
    kept.write_all(&get(3)).await.unwrap();
    assert!(kinds(&after_a_second(&mut kept).await).contains(&HEADERS));

    let mut new = visit_until(stop, closed);
    new.write_all(&begin).await.unwrap();
    assert!(!kinds(&after_a_second(&mut new).await).contains(&GOAWAY));
    new.write_all(&get(1)).await.unwrap();
    let came = kinds(&after_a_second(&mut new).await);
    assert!(came.contains(&GOAWAY) && came.contains(&HEADERS), "{came:?}");
}
