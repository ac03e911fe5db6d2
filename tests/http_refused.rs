//! What an upstream of HTTP/2 has certainly not worked on is sent again, whatever it is (RFC 9113, sections 6.8 and 8.7).

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use support::{RunningServer, http::configured};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SETTINGS: u8 = 4;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// How an upstream turns streams away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Each fourth stream of a connection, by RST_STREAM.
    Stream,
    /// Each stream of all connections, by RST_STREAM.
    AllStreams,
    /// The connection, by a GOAWAY whose last stream is the one before; it stays open.
    Connection,
    /// The connection, by a GOAWAY, and it closes.
    AndCloses,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![len[1], len[2], len[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A stream is reset by REFUSED_STREAM.
fn refused(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &7_u32.to_be_bytes())
}

/// Speaks HTTP/2 as far as it has to: answers a request with 200, after its end, or turns it away. Counts whom it serves, or
/// all whom it turns away where it serves nobody.
async fn speak(mut stream: TcpStream, refusal: Refusal, served: Arc<AtomicUsize>) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let (mut seen, mut taken) = (0, BTreeSet::new());
    let (mut answered, mut closes) = (0, false);
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await?;
        let (kind, flags) = (head[3], head[4]);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if kind == SETTINGS && flags & ACK == 0 {
            stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await?;
        }
        if kind == HEADERS {
            seen += 1;
            match refusal {
                Refusal::Stream if seen % 4 == 0 => stream.write_all(&refused(id)).await?,
                Refusal::AllStreams => {
                    served.fetch_add(1, Ordering::Relaxed);
                    stream.write_all(&refused(id)).await?;
                }
                Refusal::Connection | Refusal::AndCloses if seen > 1 => {
                    let last: u32 = *taken.last().unwrap();
                    let no_error = [0; 4];
                    let goaway = [last.to_be_bytes(), no_error].concat();
                    stream.write_all(&frame(GOAWAY, 0, 0, &goaway)).await?;
                    closes = refusal == Refusal::AndCloses;
                }
                _ => drop(taken.insert(id)),
            }
        }
        if flags & END_STREAM != 0 && taken.contains(&id) {
            served.fetch_add(1, Ordering::Relaxed);
            // The number 8 of HPACK's static table: `:status: 200`.
            let answer = frame(HEADERS, END_HEADERS | END_STREAM, id, &[0x88]);
            stream.write_all(&answer).await?;
            answered += 1;
        }
        if closes && answered == taken.len() {
            stream.shutdown().await?;
            // Closed with bytes unread it would be reset, and the GOAWAY be lost.
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
            return Ok(());
        }
    }
}

async fn post(server: &RunningServer) -> u16 {
    let stream = TcpStream::connect(server.public()).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::task::spawn_local(connection);
    let body = Full::new(Bytes::from_static(b"once"));
    let request = Request::post("/").header("host", "a.example").body(body).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let status = answer.status().as_u16();
    drop(answer.into_body().collect().await);
    status
}

/// An upstream that turns streams away, and a server before it. With what the upstream counts.
async fn start(refusal: Refusal) -> (Arc<AtomicUsize>, RunningServer, support::RunningClient) {
    let served = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&served);
    let address = support::upstream(move |stream| {
        let served = Arc::clone(&counter);
        async move { drop(speak(stream, refusal, served).await) }
    })
    .await;
    let config = configured(
        "entries:\n  - name: web\n    kind: http\n    listen: 127.0.0.1:0\nrules:\n  \
         - { path: /, group: default, upstream_protocol: h2c }\n",
    );
    let server = RunningServer::start(config).await;
    let client = server.client("a", address);
    server.wait_for_clients(1).await;
    (served, server, client)
}

#[test]
fn who_turns_everything_away_is_asked_four_times() {
    support::run(|| async {
        let (turned_away, server, _client) = start(Refusal::AllStreams).await;
        assert_eq!(post(&server).await, 502);
        assert_eq!(turned_away.load(Ordering::Relaxed), 4);
    });
}

#[test]
fn what_was_turned_away_is_sent_again() {
    for refusal in [Refusal::Stream, Refusal::Connection, Refusal::AndCloses] {
        support::run(|| async move {
            let (served, server, _client) = start(refusal).await;
            for _ in 0..10 {
                assert_eq!(post(&server).await, 200, "{refusal:?}");
            }
            let many = (0..20).map(|_| post(&server));
            let answers = futures_util::future::join_all(many).await;
            assert_eq!(answers, [200; 20], "{refusal:?}");
            assert_eq!(
                served.load(Ordering::Relaxed),
                30,
                "{refusal:?}: each of them once"
            );
        });
    }
}
