//! Requests that offer to become something else, where nothing else comes of it: a connection that carried one is like any
//! other, to its end.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use http::Response;
use support::{
    RunningServer,
    http::{OFFER, full, http_upstream, run_http_by_each, status},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task,
};

/// Answers that fit into the buffers on the way, and that do not.
const LENS: [usize; 2] = [100_000, 8_000_000];

/// A visitor with little room.
async fn connect(server: &RunningServer) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(server.public()).await.unwrap()
}

/// Reads the answer to a request that ends its connection: slower than it is said.
async fn read_slowly(mut stream: TcpStream) -> Vec<u8> {
    let (mut answer, mut some) = (Vec::new(), vec![0; 2_048]);
    loop {
        task::yield_now().await;
        let read = stream.read(&mut some).await;
        let read = read.unwrap_or_else(|error| panic!("{error} after {} bytes", answer.len()));
        if read == 0 {
            return answer;
        }
        answer.extend_from_slice(&some[..read]);
    }
}

/// A server before an upstream whose answers are as long as their paths say.
async fn served(config: adit::config::ServerConfig) -> (RunningServer, support::RunningClient) {
    let server = RunningServer::start(config).await;
    let upstream = http_upstream(|request| async move {
        let len = request.uri().path()[1..].parse().unwrap();
        Response::new(full(vec![b'a'; len]))
    });
    let client = server.client("a", upstream.await);
    server.wait_for_clients(1).await;
    (server, client)
}

#[test]
fn the_last_answer_is_whole() {
    run_http_by_each(|config| async {
        let (server, _client) = served(config).await;
        for len in LENS {
            let mut stream = connect(&server).await;
            let request = format!("GET /{len} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{OFFER}\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let answer = read_slowly(stream).await;
            assert!(answer.len() > len, "{} of {len}", answer.len());
        }
    });
}

#[test]
fn the_last_answer_is_whole_behind_an_earlier_offer() {
    run_http_by_each(|config| async {
        let (server, _client) = served(config).await;
        for len in LENS {
            let mut stream = connect(&server).await;
            let offer = format!("GET /0 HTTP/1.1\r\nHost: a\r\n{OFFER}\r\n");
            stream.write_all(offer.as_bytes()).await.unwrap();
            let mut some = [0; 1024];
            let read = stream.read(&mut some).await.unwrap();
            assert_eq!(status(&String::from_utf8_lossy(&some[..read])), Some(200));
            let request = format!("GET /{len} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let answer = read_slowly(stream).await;
            assert!(answer.len() > len, "{} of {len}", answer.len());
        }
    });
}

#[test]
fn who_leaves_before_the_answer_is_forgotten() {
    run_http_by_each(|config| async {
        let server = RunningServer::start(config).await;
        // It says nothing.
        let upstream = support::upstream(|mut stream| async move {
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        });
        let _client = server.client("a", upstream.await);
        server.wait_for_clients(1).await;
        let mut stream = TcpStream::connect(server.public()).await.unwrap();
        let offer = format!("GET / HTTP/1.1\r\nHost: a\r\n{OFFER}\r\n");
        stream.write_all(offer.as_bytes()).await.unwrap();
        support::until(|| server.metrics.http_open_requests.get() == 1).await;
        support::reset(stream);
        support::until(|| server.metrics.http_open_requests.get() == 0).await;
    });
}

#[test]
fn a_head_that_is_none_is_told_why_behind_an_offer() {
    run_http_by_each(|config| async {
        let (server, _client) = served(config).await;
        let both = format!("GET /2 HTTP/1.1\r\nHost: a\r\n{OFFER}\r\nGET / HTTP/1.1\r\nHost : a\r\n\r\n");
        let mut stream = TcpStream::connect(server.public()).await.unwrap();
        stream.write_all(both.as_bytes()).await.unwrap();
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).await.unwrap();
        let answers = String::from_utf8_lossy(&answers);
        let (_, refusal) = answers.split_once("HTTP/1.1 400 ").expect(&answers);
        assert!(refusal.ends_with(": bad_head\n"), "{answers}");
    });
}
