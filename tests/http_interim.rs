//! Interim answers: what an upstream says before it answers, and to whom that goes.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{net::SocketAddr, sync::Arc};

use adit::config::ServerConfig;
use http::{Request, Version};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use support::{
    RunningClient, RunningServer,
    http::{configured, exchange, full, run_http_by_each},
    run, upstream,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::{Mutex, mpsc},
};

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";

/// A request, and no other behind it.
const ONCE: &str = "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Says where it was asked.
fn answer_to(path: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len())
}

/// An upstream that says `interim` to each request, and answers when it is told to.
async fn hinting(interim: &'static str) -> (SocketAddr, mpsc::UnboundedSender<()>) {
    let (answer, told) = mpsc::unbounded_channel();
    let told = Arc::new(Mutex::new(told));
    let address = upstream(move |stream| {
        let told = Arc::clone(&told);
        async move {
            // Hint and answer are written apart.
            let _ = stream.set_nodelay(true);
            let mut stream = BufReader::new(stream);
            loop {
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let path = head.split(' ').nth(1).unwrap().to_owned();
                stream.write_all(interim.as_bytes()).await.unwrap();
                told.lock().await.recv().await;
                stream.write_all(answer_to(&path).as_bytes()).await.unwrap();
            }
        }
    });
    (address.await, answer)
}

/// A server with one client, before an upstream that says `interim` to each request; and what tells it to answer.
struct Hinted {
    server: RunningServer,
    _client: RunningClient,
    answer: mpsc::UnboundedSender<()>,
}

impl Hinted {
    async fn start(config: ServerConfig, interim: &'static str) -> Self {
        let (upstream, answer) = hinting(interim).await;
        let server = RunningServer::start(config).await;
        let client = server.client("a", upstream);
        server.wait_for_clients(1).await;
        Self {
            server,
            _client: client,
            answer,
        }
    }

    fn answer(&self) {
        self.answer.send(()).unwrap();
    }

    async fn visit(&self) -> TcpStream {
        TcpStream::connect(self.server.public()).await.unwrap()
    }

    /// What comes of one request, when it is answered.
    async fn exchange(&self, request: &str) -> String {
        self.answer();
        exchange(self.server.public(), request.as_bytes()).await
    }
}

/// Reads so many bytes.
async fn read(stream: &mut TcpStream, len: usize) -> String {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn they_are_said_before_the_answer() {
    run_http_by_each(|config| async {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n";
        let hinted = Hinted::start(config, interim).await;
        let mut visitor = hinted.visit().await;
        for path in ["/1", "/2", "/3"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            visitor.write_all(request.as_bytes()).await.unwrap();
            // The upstream does not answer before it was read.
            assert_eq!(read(&mut visitor, HINT.len()).await, HINT);
            hinted.answer();
            let expected = answer_to(path);
            assert_eq!(read(&mut visitor, expected.len()).await, expected);
        }
    });
}

#[test]
fn each_stands_before_its_own_answer() {
    run_http_by_each(|config| async {
        let hinted = Hinted::start(config, HINT).await;
        (0..50).for_each(|_| hinted.answer());
        let requests: String = (10..60)
            .map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .collect();
        let mut visitor = hinted.visit().await;
        visitor.write_all(requests.as_bytes()).await.unwrap();
        for n in 10..60 {
            let expected = format!("{HINT}{}", answer_to(&format!("/{n}")));
            assert_eq!(read(&mut visitor, expected.len()).await, expected);
        }
    });
}

#[test]
fn who_does_not_know_them_gets_the_answer_alone() {
    run_http_by_each(|config| async {
        let hinted = Hinted::start(config, HINT).await;
        let old = hinted.exchange("GET /1 HTTP/1.0\r\nHost: a\r\n\r\n").await;
        assert!(old.starts_with("HTTP/1.0 200 OK"), "{old}");
        hinted.answer();
        let client = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .build_http();
        let uri = format!("http://{}/2", hinted.server.public());
        let request = Request::get(uri).version(Version::HTTP_2).body(full(""));
        let answer = client.request(request.unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
    });
}

#[test]
fn where_plugins_would_not_see_them_they_stay() {
    run(|| async {
        let config = configured(
            "entries: [ { name: www, kind: http, listen: \"127.0.0.1:0\", group: default } ]
rules: [ { path: /1, plugins: [ { remove_response_header: link } ] } ]
",
        );
        let answer = Hinted::start(config, HINT).await.exchange(ONCE).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    });
}

/// What continues a body and what changes the protocol is not theirs to say.
#[test]
fn a_continue_of_the_upstream_is_not_passed_on() {
    run_http_by_each(|config| async {
        let hinted = Hinted::start(config, "HTTP/1.1 100 Continue\r\n\r\n").await;
        let answer = hinted.exchange(ONCE).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    });
}
