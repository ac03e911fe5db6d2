//! A drain of an HTTP entry: within its delay everything is served, then it accepts nobody.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{cell::Cell, error::Error, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{
    RunningServer,
    http::{full, http_config, http_upstream, run_http_by_each},
    until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// So long that a test ends before it.
const FOREVER: Duration = Duration::from_secs(600);

/// The requests of each visitor before the drain and after.
const ROUNDS: usize = 40;

/// A visitor's connection.
enum Connection {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Connection {
    async fn new(server: &RunningServer, version: Version) -> Self {
        let stream = TcpStream::connect(server.public()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        if version == Version::HTTP_2 {
            let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
            let (sender, connection) = handshake.await.unwrap();
            tokio::task::spawn_local(connection);
            return Self::Http2(sender);
        }
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        Self::Http1(sender)
    }

    /// The answer; `None` where the connection had been ended before the request: nothing of it was sent, or the server
    /// says in its GOAWAY that it has not heard it.
    async fn get(&mut self) -> Option<Response<Incoming>> {
        let request = Request::get("http://a.example/").header("host", "a.example");
        let request = request.body(Empty::new()).unwrap();
        let sent = match self {
            Self::Http1(sender) => {
                sender.ready().await.ok()?;
                sender.try_send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await.ok()?;
                sender.try_send_request(request).await
            }
        };
        let unheard = |mut error: TrySendError<_>| {
            let unheard = error.take_message().is_some() || is_go_away(error.error());
            assert!(unheard, "a request was lost: {:?}", error.into_error());
        };
        sent.map_err(unheard).ok()
    }
}

/// Whether a stream was opened after the last that a GOAWAY names (RFC 9113, section 6.8).
fn is_go_away(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|error| error.is_go_away() && error.is_remote())
}

/// Asks again and again, on a connection that is kept or on new ones, until it has asked `ROUNDS` times since `draining`.
/// Returns how many connections that took, and how many answers said that theirs was the last.
async fn visit(
    server: &RunningServer,
    version: Version,
    keep: bool,
    draining: &Cell<bool>,
    asked: &Cell<usize>,
) -> (usize, usize) {
    let (mut kept, mut connections, mut last) = (None, 0, 0);
    let mut left = ROUNDS;
    while left > 0 {
        left -= usize::from(draining.get());
        let answer = loop {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => {
                    connections += 1;
                    Connection::new(server, version).await
                }
            };
            if let Some(answer) = connection.get().await {
                kept = keep.then_some(connection);
                break answer;
            }
        };
        assert_eq!(answer.status(), 200);
        let closes = answer.headers().get("connection").is_some_and(|it| it == "close");
        last += usize::from(closes);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "served");
        asked.set(asked.get() + 1);
    }
    (connections, last)
}

#[test]
fn no_request_fails_until_the_delay_is_over() {
    run_http_by_each(|mut config| async move {
        config.drain.delay = FOREVER;
        let server = RunningServer::start(config).await;
        let upstream = http_upstream(|_| async { Response::new(full("served")) });
        let _client = server.client("a", upstream.await);
        server.wait_for_clients(1).await;
        let (draining, asked) = (Cell::new(false), Cell::new(0));
        let (http1, http2) = (Version::HTTP_11, Version::HTTP_2);
        let kinds = [(http1, true), (http1, false), (http2, true), (http2, false)];
        let visitors = kinds
            .iter()
            .cycle()
            .take(3 * kinds.len())
            .map(|(version, keep)| visit(&server, *version, *keep, &draining, &asked));
        let begin = async {
            until(|| asked.get() >= 10 * kinds.len()).await;
            server.stopper.advance();
            draining.set(true);
        };
        let (visited, ()) = tokio::join!(futures_util::future::join_all(visitors), begin);
        for ((connections, last), (version, keep)) in visited.into_iter().zip(kinds.iter().cycle()) {
            let what = format!("{version:?}, kept: {keep}, connections: {connections}");
            match *version {
                // One answer may have been on its way already.
                Version::HTTP_11 => {
                    assert!(last >= ROUNDS - 1, "{what}, {last} said that they were the last")
                }
                _ => assert_eq!(last, 0, "{what}"),
            }
            assert!(connections > 1, "{what}: it is told to go elsewhere");
        }
        server.stopper.advance();
        server.task.await.unwrap();
    });
}

#[test]
fn what_is_open_goes_on_beyond_the_delay() {
    support::run(|| async {
        let mut config = http_config();
        config.drain.delay = Duration::from_millis(100);
        let server = RunningServer::start(config).await;
        // Becomes something else, and sends back what it gets.
        let upstream = support::upstream(|mut stream| async move {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let yes =
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
            let _ = stream.write_all(yes).await;
            support::send_back(stream).await;
        });
        let _client = server.client("a", upstream.await);
        server.wait_for_clients(1).await;
        server.stopper.advance();
        let mut upgraded = TcpStream::connect(server.public()).await.unwrap();
        let ask = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        upgraded.write_all(ask).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(upgraded.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        assert!(head.contains("connection: upgrade"), "{head}");
        // Accepting ends, at last.
        while TcpStream::connect(server.public()).await.is_ok() {
            adit::time::sleep(Duration::from_millis(2)).await;
        }
        upgraded.write_all(b"more").await.unwrap();
        let mut back = [0; 4];
        upgraded.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"more");
        assert!(!server.task.is_finished());
        upgraded.shutdown().await.unwrap();
        assert_eq!(upgraded.read(&mut back).await.unwrap(), 0);
        server.task.await.unwrap();
    });
}
