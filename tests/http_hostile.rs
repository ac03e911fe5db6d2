//! Requests that are malformed, or that two parsers would read in two ways: what each is answered with, and that nothing
//! of it gets through as something else.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use http::Response;
use http_body_util::BodyExt;
use support::{
    RunningServer,
    http::{exchange, full, http_config, http_upstream, status},
    run,
};

/// What the entry answers with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    /// This status, and the upstream never heard of it.
    Refused(u16),
    /// The upstream heard one request of so many bytes, and no other.
    Served(usize),
    /// It heard two, of so many bytes.
    ServedBoth(usize, usize),
}
use Answer::{Refused, Served, ServedBoth};

const GET: &str = "GET / HTTP/1.1\r\n";
const POST: &str = "POST / HTTP/1.1\r\n";
const HOST: &str = "Host: a\r\n";
const CLOSE: &str = "Connection: close\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
/// A request that must not be heard, in the place of a body.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Each request, and its answer.
fn cases() -> Vec<(String, Answer)> {
    let long = "a".repeat(20_000);
    let many = "X: y\r\n".repeat(200);
    let all = |parts: &[&str]| parts.concat();
    vec![
        // What is right, to begin with.
        (all(&[GET, HOST, CLOSE, "\r\n"]), Served(0)),
        (
            all(&[POST, HOST, CLOSE, "Content-Length: 5\r\n\r\nhello"]),
            Served(5),
        ),
        (
            all(&[POST, HOST, CLOSE, CHUNKED, "\r\n5\r\nhello\r\n0\r\n\r\n"]),
            Served(5),
        ),
        (
            all(&["GET http://a/ HTTP/1.1\r\n", HOST, CLOSE, "\r\n"]),
            Served(0),
        ),
        (all(&["GET / HTTP/1.0\r\n", HOST, "\r\n"]), Served(0)),
        (
            all(&[
                POST,
                HOST,
                CLOSE,
                "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            ]),
            Served(5),
        ),
        // Hosts.
        (all(&[GET, CLOSE, "\r\n"]), Refused(400)),
        (all(&[GET, HOST, "Host: b\r\n", CLOSE, "\r\n"]), Refused(400)),
        (all(&[GET, HOST, HOST, CLOSE, "\r\n"]), Refused(400)),
        (all(&[GET, "Host: \r\n", CLOSE, "\r\n"]), Refused(400)),
        (all(&[GET, "Host: a b\r\n", CLOSE, "\r\n"]), Refused(400)),
        (all(&[GET, "Host: a/b\r\n", CLOSE, "\r\n"]), Refused(400)),
        (all(&[GET, "Host: user@a\r\n", CLOSE, "\r\n"]), Refused(400)),
        (all(&[GET, "Host: a,b\r\n", CLOSE, "\r\n"]), Refused(400)),
        (
            all(&["GET http://b/ HTTP/1.1\r\n", HOST, CLOSE, "\r\n"]),
            Refused(400),
        ),
        (all(&["GET / HTTP/1.0\r\n\r\n"]), Served(0)),
        (all(&[GET, "Host : a\r\n", CLOSE, "\r\n"]), Refused(400)),
        // Lengths.
        (
            all(&[POST, HOST, "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"]),
            Refused(400),
        ),
        (
            all(&[POST, HOST, "Content-Length: -5\r\n\r\nhello"]),
            Refused(400),
        ),
        (
            all(&[POST, HOST, "Content-Length: +5\r\n\r\nhello"]),
            Refused(400),
        ),
        (
            all(&[POST, HOST, "Content-Length: 5, 6\r\n\r\nhello"]),
            Refused(400),
        ),
        (
            all(&[POST, HOST, "Content-Length: 0x5\r\n\r\nhello"]),
            Refused(400),
        ),
        (
            all(&[POST, HOST, "Content-Length: 5 5\r\n\r\nhello"]),
            Refused(400),
        ),
        (all(&[POST, HOST, "Content-Length: \r\n\r\nhello"]), Refused(400)),
        (
            all(&[POST, HOST, "Content-Length: 99999999999999999999\r\n\r\n"]),
            Refused(400),
        ),
        (
            all(&[POST, HOST, "Content-Length : 5\r\n\r\nhello"]),
            Refused(400),
        ),
        // Encodings.
        (
            all(&[POST, HOST, "Transfer-Encoding: gzip\r\n\r\n", SMUGGLED]),
            Refused(400),
        ),
        (
            all(&[POST, HOST, "Transfer-Encoding: chunked, gzip\r\n\r\n", SMUGGLED]),
            Refused(400),
        ),
        (
            all(&[POST, HOST, "Transfer-Encoding: xchunked\r\n\r\n", SMUGGLED]),
            Refused(400),
        ),
        (
            all(&[POST, HOST, "Transfer-Encoding: \"chunked\"\r\n\r\n", SMUGGLED]),
            Refused(400),
        ),
        (
            all(&[POST, HOST, "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"]),
            Refused(400),
        ),
        (
            all(&["POST / HTTP/1.0\r\n", HOST, CHUNKED, "\r\n0\r\n\r\n"]),
            Refused(400),
        ),
        (
            all(&[POST, HOST, CHUNKED, "Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n"]),
            Refused(400),
        ),
        // Both, in either order and however it is written; also behind a request that is none of that.
        (
            all(&[
                POST,
                HOST,
                "Content-Length: 4\r\n",
                CHUNKED,
                "\r\n0\r\n\r\n",
                SMUGGLED,
            ]),
            Refused(400),
        ),
        (
            all(&[
                POST,
                HOST,
                CHUNKED,
                "Content-Length: 40\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                SMUGGLED,
            ]),
            Refused(400),
        ),
        (
            all(&[
                POST,
                "content-LENGTH:0\n",
                HOST,
                CHUNKED,
                "\r\n0\r\n\r\n",
                SMUGGLED,
            ]),
            Refused(400),
        ),
        (
            all(&[
                "\r\n",
                POST,
                HOST,
                "transfer-encoding:chunked\r\n",
                "Content-Length: 5\r\n\r\n0\r\n\r\n",
            ]),
            Refused(400),
        ),
        (
            all(&[
                GET,
                HOST,
                "\r\n",
                POST,
                HOST,
                CHUNKED,
                "Content-Length: 5\r\n\r\n0\r\n\r\n",
                SMUGGLED,
            ]),
            Served(0),
        ),
        (
            all(&[
                POST,
                HOST,
                CHUNKED,
                "\r\n5\r\nhello\r\n0\r\n\r\n",
                POST,
                HOST,
                CHUNKED,
                "Content-Length: 4\r\n\r\n0\r\n\r\n",
                SMUGGLED,
            ]),
            Served(5),
        ),
        // What looks like it in a body is none, and nobody else's either.
        (
            all(&[
                POST,
                HOST,
                CHUNKED,
                "\r\n42\r\n",
                POST,
                CHUNKED,
                "Content-Length: 5\r\n\r\n",
                "\r\n0\r\n\r\n",
                GET,
                HOST,
                CLOSE,
                "\r\n",
            ]),
            ServedBoth(0x42, 0),
        ),
        // Chunks.
        (
            all(&[POST, HOST, CLOSE, CHUNKED, "\r\nxyz\r\nhello\r\n0\r\n\r\n"]),
            Refused(400),
        ),
        (
            all(&[POST, HOST, CLOSE, CHUNKED, "\r\n-5\r\nhello\r\n0\r\n\r\n"]),
            Refused(400),
        ),
        (
            all(&[POST, HOST, CLOSE, CHUNKED, "\r\nffffffffffffffffff\r\n"]),
            Refused(400),
        ),
        (
            all(&[POST, HOST, CLOSE, CHUNKED, "\r\n5\rhello\r\n0\r\n\r\n"]),
            Refused(400),
        ),
        (
            all(&[POST, HOST, CLOSE, CHUNKED, "\r\n5\r\nhelloworld\r\n0\r\n\r\n"]),
            Refused(400),
        ),
        // Heads.
        (
            all(&[GET, HOST, "Foo: bar\r\n baz\r\n", CLOSE, "\r\n"]),
            Refused(400),
        ),
        (all(&[GET, HOST, "Foo: a\0b\r\n", CLOSE, "\r\n"]), Refused(400)),
        (all(&[GET, HOST, "Fo o: b\r\n", CLOSE, "\r\n"]), Refused(400)),
        (all(&[GET, HOST, ": b\r\n", CLOSE, "\r\n"]), Refused(400)),
        (all(&[GET, HOST, "Foo\r\n", CLOSE, "\r\n"]), Refused(400)),
        (all(&[GET, HOST, "Foo: a\rb\r\n", CLOSE, "\r\n"]), Refused(400)),
        (
            all(&[GET, HOST, "Foo: ", &long, "\r\n", CLOSE, "\r\n"]),
            Refused(431),
        ),
        (
            all(&["GET /", &long, " HTTP/1.1\r\n", HOST, CLOSE, "\r\n"]),
            Refused(431),
        ),
        (all(&[GET, HOST, &many, CLOSE, "\r\n"]), Refused(431)),
        // Request lines.
        (all(&["GET  / HTTP/1.1\r\n", HOST, CLOSE, "\r\n"]), Refused(400)),
        (all(&["GET / HTTP/1.2\r\n", HOST, CLOSE, "\r\n"]), Refused(400)),
        (all(&["GET / HTTP/2.0\r\n", HOST, CLOSE, "\r\n"]), Refused(400)),
        (all(&["GET /\r\n", HOST, CLOSE, "\r\n"]), Refused(400)),
        (all(&["GE T / HTTP/1.1\r\n", HOST, CLOSE, "\r\n"]), Refused(400)),
        (all(&["GET /a b HTTP/1.1\r\n", HOST, CLOSE, "\r\n"]), Refused(400)),
        (
            all(&["CONNECT a:80 HTTP/1.1\r\n", "Host: a:80\r\n", CLOSE, "\r\n"]),
            Refused(501),
        ),
        (
            "\x16\x03\x01\x02\0\x01\0\x01\u{1}\u{1}\r\n\r\n".to_owned(),
            Refused(400),
        ),
    ]
}

#[test]
fn every_hostile_request_has_its_answer() {
    run(|| async {
        let server = RunningServer::start(http_config()).await;
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let upstream = http_upstream(move |request| {
            let tell = tell.clone();
            async move {
                let path = request.uri().path().to_owned();
                let body = request.into_body().collect().await;
                tell.send((path, body.map(|body| body.to_bytes().len()).ok()))
                    .unwrap();
                Response::new(full("served"))
            }
        });
        let _client = server.client("a", upstream.await);
        server.wait_for_clients(1).await;
        let cases = cases();
        assert!(cases.len() >= 40);
        let mut wrong = Vec::new();
        for (request, expected) in cases {
            let answer = exchange(server.public(), request.as_bytes()).await;
            let heard: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).collect();
            // A request whose body turns out to be bad may have been begun; it never looks whole.
            let whole = heard.iter().any(|(_, len)| len.is_some());
            let smuggled = heard.iter().any(|(path, _)| path != "/");
            let right = match expected {
                Refused(code) => status(&answer) == Some(code) && !whole,
                Served(len) => status(&answer) == Some(200) && heard == [("/".to_owned(), Some(len))],
                ServedBoth(first, second) => {
                    let heard = heard.iter().map(|(_, len)| *len).collect::<Vec<_>>();
                    answer.matches(" 200 OK").count() == 2 && heard == [Some(first), Some(second)]
                }
            };
            if !right || smuggled {
                let shown = request.chars().take(120).collect::<String>();
                wrong.push(format!(
                    "{shown:?} is to be {expected:?}: {heard:?}, {answer:?}\n"
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.concat());
    });
}
