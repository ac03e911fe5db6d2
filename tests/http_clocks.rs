//! How long a request may take: as long as something moves.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{
    body::Frame,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{
    RunningServer,
    http::{configured, exchange, full, http_upstream, status},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

/// Longer than each of a request's own times.
const PAUSE: Duration = Duration::from_millis(150);

/// A server that waits for 400 ms, whomever it waits for.
async fn impatient(more: &str) -> RunningServer {
    let file = format!(
        "entries:\n  - name: web\n    kind: http\n    listen: 127.0.0.1:0\n    group: default\n    \
         timeouts: {{ first_byte: 400ms, request_body: 400ms }}\n{more}"
    );
    RunningServer::start(configured(&file)).await
}

/// A body in pieces, a pause before each: it takes longer than an answer may.
fn slow(pieces: usize) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static {
    let (say, said) = mpsc::channel(1);
    tokio::task::spawn_local(async move {
        for _ in 0..pieces {
            tokio::time::sleep(PAUSE).await;
            if say
                .send(Ok(Frame::data(Bytes::from_static(b"piece"))))
                .await
                .is_err()
            {
                return;
            }
        }
    });
    let said = futures_util::stream::unfold(said, |mut said| async move {
        let piece = said.recv().await?;
        Some((piece, said))
    });
    StreamBody::new(Box::pin(said))
}

/// An upstream that reads every request to its end and never answers.
async fn silent() -> std::net::SocketAddr {
    http_upstream(|request| async move {
        drop(request.into_body().collect().await);
        std::future::pending().await
    })
    .await
}

/// The beginning of the answer to a body in two halves, with `pause` between them.
async fn in_halves(server: &RunningServer, path: &str, pause: Duration) -> [u8; 12] {
    let mut stream = TcpStream::connect(server.public()).await.unwrap();
    let begun = format!("POST {path} HTTP/1.1\r\nhost: a.example\r\ncontent-length: 8\r\n\r\nhalf");
    stream.write_all(begun.as_bytes()).await.unwrap();
    tokio::time::sleep(pause).await;
    stream.write_all(b"half").await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    answer
}

/// Answers with the length of what it has read.
async fn count(request: Request<hyper::body::Incoming>) -> Response<support::http::Body> {
    let body = request.into_body().collect().await;
    let len = body.map_or(0, |body| body.to_bytes().len());
    Response::new(full(len.to_string()))
}

async fn upload(server: &RunningServer, version: Version, grpc: bool, pieces: usize) -> (u16, String) {
    let stream = TcpStream::connect(server.public()).await.unwrap();
    let mut request = Request::builder()
        .method("POST")
        .uri("http://a.example/")
        .header("host", "a.example");
    if grpc {
        request = request
            .header("content-type", "application/grpc")
            .header("te", "trailers");
    }
    let answer = if version == Version::HTTP_2 {
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::task::spawn_local(connection);
        sender.send_request(request.body(slow(pieces)).unwrap()).await
    } else {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        sender.send_request(request.body(slow(pieces)).unwrap()).await
    };
    let answer = answer.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[test]
fn an_upload_may_take_as_long_as_it_moves() {
    support::run(|| async {
        let server = impatient("").await;
        let _client = server.client("a", http_upstream(count).await);
        server.wait_for_clients(1).await;
        for (version, grpc) in [
            (Version::HTTP_11, false),
            (Version::HTTP_2, false),
            (Version::HTTP_2, true),
        ] {
            let answered = upload(&server, version, grpc, 8).await;
            assert_eq!(answered, (200, "40".to_owned()), "{version:?} {grpc}");
        }
    });
}

#[test]
fn who_does_not_go_on_with_a_body_is_told_so() {
    support::run(|| async {
        let server = impatient("").await;
        let _client = server.client("a", http_upstream(count).await);
        server.wait_for_clients(1).await;
        let begun = b"POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 10\r\n\r\nhalf";
        let answer = exchange(server.public(), begun).await;
        assert_eq!(status(&answer), Some(408), "{answer}");
        assert!(answer.contains("body_timeout"), "{answer}");
    });
}

#[test]
fn an_upstream_has_its_time_from_the_end_of_a_body() {
    support::run(|| async {
        let server = impatient("").await;
        let _client = server.client("a", silent().await);
        server.wait_for_clients(1).await;
        let began = adit::time::now();
        let (status, reason) = upload(&server, Version::HTTP_11, false, 4).await;
        assert_eq!(
            (status, reason.contains("upstream_timeout")),
            (504, true),
            "{reason}"
        );
        assert!(adit::time::now() - began > PAUSE * 4);
    });
}

#[test]
fn an_upstream_that_takes_nothing_of_a_body_has_its_time_too() {
    support::run(|| async {
        let server = impatient("").await;
        let deaf = support::upstream(|stream| async move {
            let _held = stream;
            std::future::pending::<()>().await;
        });
        let _client = server.client("a", deaf.await);
        server.wait_for_clients(1).await;
        let stream = TcpStream::connect(server.public()).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        let body = Full::new(Bytes::from(vec![0; 64 * 1024 * 1024]));
        let request = Request::post("/").header("host", "a.example").body(body).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), 504);
    });
}

#[test]
fn an_upstream_that_says_it_is_at_work_is_waited_for() {
    support::run(|| async {
        let server = impatient("").await;
        let busy = support::upstream(|mut stream| async move {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            for _ in 0..8 {
                tokio::time::sleep(PAUSE).await;
                let _ = stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await;
            }
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await;
        });
        let _client = server.client("a", busy.await);
        server.wait_for_clients(1).await;
        let ask = b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n";
        let answer = exchange(server.public(), ask).await;
        assert!(answer.contains("HTTP/1.1 200 OK"), "{answer}");
    });
}

#[test]
fn a_rule_has_times_of_its_own() {
    support::run(|| async {
        let rule = "rules:\n  - { path: /, group: default, timeouts: { request_body: 30s } }\n";
        let server = impatient(rule).await;
        let _client = server.client("a", http_upstream(count).await);
        server.wait_for_clients(1).await;
        let answer = in_halves(&server, "/", PAUSE * 4).await;
        assert_eq!(&answer, b"HTTP/1.1 200");
    });
}

/// Each side has its own time, also where the other has more.
#[test]
fn neither_side_has_the_time_of_the_other() {
    support::run(|| async {
        let rules = "rules:\n  \
             - { path: /visitor, group: default, timeouts: { request_body: 200ms, first_byte: 60s } }\n  \
             - { path: /upstream, group: default, timeouts: { request_body: 60s, first_byte: 200ms } }\n";
        let server = impatient(rules).await;
        let _client = server.client("a", silent().await);
        server.wait_for_clients(1).await;
        let began = adit::time::now();
        let begun = b"POST /visitor HTTP/1.1\r\nhost: a.example\r\ncontent-length: 10\r\n\r\nhalf";
        assert_eq!(status(&exchange(server.public(), begun).await), Some(408));
        let answer = in_halves(&server, "/upstream", PAUSE * 3).await;
        assert_eq!(&answer, b"HTTP/1.1 504");
        assert!(adit::time::now() - began < Duration::from_secs(30));
    });
}
