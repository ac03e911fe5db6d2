//! Answers that are given before a request has been read: they reach the visitor, and say why.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use support::{
    RunningServer,
    http::{OFFER, configured, exchange, hasty_upstream, run_http_by_each, status},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// More than all buffers on the way hold.
const LEN: usize = 16 * 1024 * 1024;

/// Says all of a body, and only then reads the answer, as simple programs do. The head has `more` lines.
async fn upload(server: &RunningServer, more: &str) -> String {
    let mut stream = TcpStream::connect(server.public()).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{more}Content-Length: {LEN}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![0; LEN]).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn an_upstream_that_does_not_want_a_body_is_heard() {
    run_http_by_each(|config| async {
        let server = RunningServer::start(config).await;
        let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
        let _client = server.client("a", hasty_upstream(answer).await);
        server.wait_for_clients(1).await;
        for more in ["", OFFER] {
            let answer = upload(&server, more).await;
            assert_eq!(status(&answer), Some(403), "{answer}");
            assert!(answer.ends_with("no"), "{answer}");
        }
    });
}

#[test]
fn an_entry_that_does_not_want_a_body_is_heard() {
    support::run(|| async {
        let server = RunningServer::start(configured(
            "entries:\n  - name: web\n    kind: http\n    listen: 127.0.0.1:0\nrules:\n  \
             - { host: b, group: default }\n",
        ))
        .await;
        let answer = upload(&server, "").await;
        assert_eq!(status(&answer), Some(404), "{answer}");
        assert!(answer.ends_with("no_rule\n"), "{answer}");
    });
}

#[test]
fn a_head_that_is_none_is_told_why_and_logged() {
    support::run(|| async {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("access.log");
        let server = RunningServer::start(configured(&format!(
            "entries:\n  - name: web\n    kind: http\n    listen: 127.0.0.1:0\n    group: default\n    \
             access_log: {{ file: {:?} }}\n",
            log.display().to_string()
        )))
        .await;
        let long = "a".repeat(20_000);
        let many = "X-A: 1\r\n".repeat(101);
        for (head, expected, reason) in [
            ("NO HEAD\r\n\r\n".to_owned(), 400, "bad_head"),
            ("GET /<a> HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400, "bad_head"),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n".to_owned(), 400, "bad_head"),
            (
                format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {long}\r\n\r\n"),
                431,
                "head_too_large",
            ),
            (
                format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
                431,
                "head_too_large",
            ),
        ] {
            let answer = exchange(server.public(), head.as_bytes()).await;
            assert_eq!(status(&answer), Some(expected), "{answer}");
            assert!(
                answer.contains(&format!("x-adit-reason: {reason}\r\n")),
                "{answer}"
            );
            assert!(answer.contains("connection: close\r\n"), "{answer}");
            assert!(answer.ends_with(&format!(": {reason}\n")), "{answer}");
            let logged = || std::fs::read_to_string(&log).unwrap_or_default();
            support::until(|| logged().contains(reason)).await;
            std::fs::write(&log, "").unwrap();
        }
    });
}

#[test]
fn a_head_that_is_none_is_told_why_behind_a_request_as_well() {
    run_http_by_each(|config| async {
        let server = RunningServer::start(config).await;
        let _client = server.client("a", support::http::named_upstream("a").await);
        server.wait_for_clients(1).await;
        let both = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost : a\r\n\r\n";
        let answers = exchange(server.public(), both).await;
        assert_eq!(status(&answers), Some(200), "{answers}");
        let (_, refusal) = answers.split_once("HTTP/1.1 400 ").expect(&answers);
        assert!(refusal.contains("x-adit-reason: bad_head\r\n"), "{answers}");
        assert!(refusal.ends_with(": bad_head\n"), "{answers}");
    });
}

#[test]
fn an_upstream_s_own_short_refusal_stays_what_it_is() {
    run_http_by_each(|config| async {
        let server = RunningServer::start(config).await;
        let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let _client = server.client("a", hasty_upstream(answer).await);
        server.wait_for_clients(1).await;
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let answer = exchange(server.public(), request).await;
        assert_eq!(status(&answer), Some(400), "{answer}");
        assert!(!answer.contains("x-adit-reason"), "{answer}");
    });
}
