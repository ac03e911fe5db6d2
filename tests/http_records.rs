//! What an HTTP entry tells of its requests: access logs, metrics by rule, `Server-Timing`, error pages.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{fs, path::Path};

use http::Response;
use serde_json::Value;
use support::{
    RunningServer, client_config,
    http::{configured, exchange, full, http_upstream, mirror, named_upstream, status},
    nowhere, run, until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The lines of a log, once there are so many.
async fn lines(path: &Path, count: usize) -> Vec<String> {
    let read = || fs::read_to_string(path).unwrap_or_default();
    until(|| read().lines().count() >= count).await;
    let lines: Vec<_> = read().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

async fn ask(server: &RunningServer, request: &str) -> String {
    let request = request.replace("\n", "\r\n");
    exchange(server.public(), request.as_bytes()).await
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

/// The times of a line: what they are called, in milliseconds.
fn times(line: &Value) -> [f64; 5] {
    ["queue_ms", "pool_ms", "start_ms", "first_byte_ms", "total_ms"].map(|key| line[key].as_f64().unwrap())
}

#[test]
fn each_request_is_one_line_however_it_ends() {
    run(|| async {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("access.log");
        let file = format!(
            "entries:
  - name: www
    kind: http
    listen: \"127.0.0.1:0\"
    group: default
    access_log: {{ output: file, file: {} }}
rules:
  - {{ name: mirror, path: /mirror, plugins: [ {{ request_id: {{}} }} ] }}
  - {{ path: /closed, plugins: [ {{ bearer: {{ tokens: 0123456789abcdef0 }} }} ] }}
",
            log.display()
        );
        let server = RunningServer::start(configured(&file)).await;
        let _client = server.client("a", http_upstream(mirror).await);
        server.wait_for_clients(1).await;

        let post = "POST /mirror?a=b HTTP/1.1\nHost: example.com:80\nUser-Agent: me\nContent-Length: 5\n\
                    Connection: close\n\nhello";
        let answer = ask(&server, post).await;
        assert_eq!(status(&answer), Some(200), "{answer}");
        let line = parsed(&lines(&log, 1).await[0]);
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        for (key, expected) in [
            ("entry", "www".into()),
            ("client", "127.0.0.1".into()),
            ("method", "POST".into()),
            ("host", "example.com:80".into()),
            ("path", "/mirror?a=b".into()),
            ("protocol", "HTTP/1.1".into()),
            ("user_agent", "me".into()),
            ("status", Value::from(200)),
            ("end", "whole".into()),
            ("received", Value::from(5)),
            ("sent", Value::from(body.len())),
            ("rule", "mirror".into()),
            ("group", "default".into()),
            ("target", "a/main".into()),
            ("tries", Value::from(1)),
            ("reason", Value::Null),
        ] {
            assert_eq!(line[key], expected, "{key}: {line}");
        }
        assert!(
            answer.contains(&format!("x-request-id: {}", line["request_id"].as_str().unwrap())),
            "{line}"
        );
        let [queue, pool, start, first_byte, total] = times(&line);
        assert!(start > 0.0, "its connection began with it: {line}");
        assert!(queue + pool + start + first_byte <= total + 0.01, "{line}");

        ask(&server, "GET / HTTP/1.1\nHost: a\nConnection: close\n\n").await;
        ask(&server, "GET /closed HTTP/1.1\nHost: a\nConnection: close\n\n").await;
        ask(&server, "GET / HTTP/1.1\nHost: a b\nConnection: close\n\n").await;
        let answer = ask(&server, "HEAD / HTTP/1.1\nHost: a b\nConnection: close\n\n").await;
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
        let all = lines(&log, 5).await;
        let head = parsed(&all[4]);
        assert_eq!(
            (&head["sent"], &head["end"]),
            (&0.into(), &"whole".into()),
            "{head}"
        );
        let [again, closed, bad] = [&all[1], &all[2], &all[3]].map(|line| parsed(line));
        assert_eq!((&again["rule"], &again["tries"]), (&"none".into(), &1.into()));
        assert_eq!(times(&again)[2], 0.0, "its connection was there: {again}");
        assert_eq!(
            (&closed["rule"], &closed["status"]),
            (&"/closed".into(), &401.into())
        );
        assert_eq!((&closed["target"], &closed["tries"]), (&Value::Null, &0.into()));
        assert_eq!(
            (&bad["reason"], &bad["status"]),
            (&"bad_host".into(), &400.into())
        );
        assert_eq!(bad["rule"], Value::Null);

        let metrics = server.metrics.encode();
        let check = |line: &str| assert!(metrics.lines().any(|it| it == line), "{line}\n{metrics}");
        check("adit_http_rule_requests_total{group=\"default\",rule=\"mirror\",status=\"2xx\"} 1");
        check("adit_http_rule_requests_total{group=\"default\",rule=\"none\",status=\"2xx\"} 1");
        check("adit_http_rule_requests_total{group=\"default\",rule=\"/closed\",status=\"4xx\"} 1");
        check("adit_http_rule_refusals_total{group=\"default\",rule=\"/closed\",plugin=\"bearer\"} 1");
        check("adit_http_rule_open_requests{group=\"default\",rule=\"mirror\"} 0");
        for (hop, count) in [("start", 1), ("first_byte", 1), ("total", 1)] {
            check(&format!(
                "adit_http_rule_seconds_count{{group=\"default\",rule=\"mirror\",hop=\"{hop}\"}} {count}"
            ));
        }
        check("adit_http_rule_seconds_count{group=\"default\",rule=\"none\",hop=\"start\"} 0");
        check("adit_http_rule_seconds_count{group=\"default\",rule=\"/closed\",hop=\"first_byte\"} 0");
        assert!(
            metrics.contains("adit_http_retry_budget{entry=\"www\",group=\"default\"} 10."),
            "{metrics}"
        );
    });
}

#[test]
fn who_leaves_and_what_becomes_a_websocket_are_lines_too() {
    run(|| async {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("access.log");
        let file = format!(
            "entries: [ {{ name: www, kind: http, listen: \"127.0.0.1:0\", access_log: {{ file: {} }} }} ]",
            log.display()
        );
        let server = RunningServer::start(configured(&file)).await;
        let _client = server.client(
            "a",
            http_upstream(|mut request| async move {
                if request.uri().path() == "/never" {
                    std::future::pending::<()>().await;
                }
                let upgraded = hyper::upgrade::on(&mut request);
                tokio::task::spawn_local(async move {
                    let mut stream = hyper_util::rt::TokioIo::new(upgraded.await.unwrap());
                    let mut word = [0; 5];
                    stream.read_exact(&mut word).await.unwrap();
                    stream.write_all(b"one two").await.unwrap();
                });
                let response = Response::builder().status(101).header("upgrade", "chat");
                response.header("connection", "upgrade").body(full("")).unwrap()
            })
            .await,
        );
        server.wait_for_clients(1).await;

        let mut leaver = TcpStream::connect(server.public()).await.unwrap();
        leaver
            .write_all(b"GET /never HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .unwrap();
        until(|| server.metrics.http_open_requests.get() == 1).await;
        // It waits for a while before it goes.
        adit::time::sleep(adit::time::Duration::from_millis(50)).await;
        drop(leaver);
        let left = parsed(&lines(&log, 1).await[0]);
        let waited = times(&left);
        assert!(
            waited[3] >= 45.0 && waited[..4].iter().sum::<f64>() > waited[4] - 5.0,
            "{left}"
        );
        assert_eq!(
            (&left["status"], &left["end"]),
            (&Value::Null, &"visitor_left".into())
        );
        let metrics = server.metrics.encode();
        let line = "adit_http_rule_requests_total{group=\"default\",rule=\"none\",status=\"left\"} 1";
        assert!(metrics.lines().any(|it| it == line), "{metrics}");

        let request = "GET /chat HTTP/1.1\nHost: a\nConnection: upgrade\nUpgrade: chat\n\nhello";
        let answer = ask(&server, request).await;
        assert!(answer.ends_with("one two"), "{answer}");
        let chat = parsed(&lines(&log, 2).await[1]);
        assert_eq!((&chat["status"], &chat["end"]), (&101.into(), &"whole".into()));
        assert_eq!((&chat["received"], &chat["sent"]), (&5.into(), &7.into()));
    });
}

#[test]
fn lines_are_combined_or_sampled_where_that_is_asked_for() {
    run(|| async {
        let folder = tempfile::tempdir().unwrap();
        let (combined, sampled) = (folder.path().join("combined"), folder.path().join("sampled"));
        let file = format!(
            "entries:
  - {{ name: one, kind: http, listen: \"127.0.0.1:0\", access_log: {{ format: combined, file: {} }} }}
  - {{ name: two, kind: http, listen: \"127.0.0.1:0\", access_log: {{ sample: 0%, file: {} }} }}
",
            combined.display(),
            sampled.display()
        );
        let server = RunningServer::start(configured(&file)).await;
        let _client = server.client("a", named_upstream("a").await);
        server.wait_for_clients(1).await;
        let asked = "GET /x HTTP/1.1\nHost: a\nReferer: http://b/\nConnection: close\n\n";
        ask(&server, asked).await;
        let line = &lines(&combined, 1).await[0];
        assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
        assert!(
            line.ends_with("+0000] \"GET /x HTTP/1.1\" 200 1 \"http://b/\" \"-\""),
            "{line}"
        );

        let two = server.addresses.entries[1];
        let request = asked.replace("\n", "\r\n");
        let answer = exchange(two, request.as_bytes()).await;
        assert_eq!(status(&answer), Some(200));
        let answer = exchange(
            two,
            b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nConnection: close\r\n\r\n",
        )
        .await;
        assert_eq!(status(&answer), Some(501));
        let line = parsed(&lines(&sampled, 1).await[0]);
        assert_eq!(line["status"], 501, "what fails is logged in any case");
        assert_eq!(line["reason"], "connect");
    });
}

#[test]
fn answers_say_where_the_time_went_if_asked_to() {
    run(|| async {
        let file = "entries: [ { name: www, kind: http, listen: \"127.0.0.1:0\", server_timing: true } ]";
        let server = RunningServer::start(configured(file)).await;
        let _client = server.client(
            "a",
            http_upstream(|_| async {
                let response = Response::builder().header("server-timing", "db;dur=1");
                response.body(full("x")).unwrap()
            })
            .await,
        );
        server.wait_for_clients(1).await;
        let answer = ask(&server, "GET / HTTP/1.1\nHost: a\nConnection: close\n\n").await;
        assert!(answer.contains("\r\nserver-timing: db;dur=1\r\n"), "{answer}");
        assert!(answer.contains("\r\nserver-timing: adit-queue;dur="), "{answer}");
        let bad = ask(&server, "GET / HTTP/1.1\nHost: a b\nConnection: close\n\n").await;
        assert!(bad.contains("adit-total;dur="), "{bad}");
    });
}

#[test]
fn where_the_entry_fails_a_request_it_looks_as_its_owner_wants() {
    run(|| async {
        let folder = tempfile::tempdir().unwrap();
        let page = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let file = format!(
            "entries:
  - name: www
    kind: http
    listen: \"127.0.0.1:0\"
    error_pages: {{ 5xx: {}, 404: {} }}
rules:
  - {{ host: a }}
  - {{ host: b, error_pages: {{ 502: {} }} }}
  - {{ host: closed, error_pages: {{ 401: {} }}, plugins: [ {{ bearer: {{ tokens: 0123456789abcdef0 }} }} ] }}
",
            page("5xx.html", "<p>sorry</p>"),
            page("404.txt", "not here"),
            page("502.json", "{}"),
            page("401.html", "<p>who?</p>"),
        );
        let server = RunningServer::start(configured(&file)).await;
        let client = client_config("a", server.addresses.control, nowhere().await);
        let _client = support::RunningClient::start(client);
        server.wait_for_clients(1).await;
        let check = async |host: &str, expected: (u16, &str, &str)| {
            let answer = ask(
                &server,
                &format!("GET / HTTP/1.1\nHost: {host}\nConnection: close\n\n"),
            )
            .await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let kind = head
                .split("content-type: ")
                .nth(1)
                .unwrap()
                .lines()
                .next()
                .unwrap();
            assert_eq!((status(&answer).unwrap(), kind, body), expected, "{answer}");
            answer
        };
        let html = "text/html; charset=utf-8";
        let answer = check("a", (502, html, "<p>sorry</p>")).await;
        assert!(answer.contains("x-adit-reason: unreachable"), "{answer}");
        check("b", (502, "application/json", "{}")).await;
        check("nobody", (404, "text/plain; charset=utf-8", "not here")).await;
        let answer = check("closed", (401, html, "<p>who?</p>")).await;
        assert!(answer.contains("\r\nwww-authenticate: "), "{answer}");
        let call = "POST / HTTP/1.1\nHost: a\nContent-Type: application/grpc\nConnection: close\n\n";
        let answer = ask(&server, call).await;
        assert!(
            answer.contains("grpc-status: 14") && !answer.contains("sorry"),
            "{answer}"
        );
        let answer = ask(&server, &call.replace("Host: a", "Host: closed")).await;
        assert!(!answer.contains("<p>"), "{answer}");
    });
}

#[test]
fn an_access_log_that_cannot_be_opened_stops_the_start() {
    run(|| async {
        let file = "entries:
  - { name: www, kind: http, listen: \"127.0.0.1:0\", access_log: { file: /nowhere/at/all } }";
        let (_stopper, stop) = adit::env::Stop::channel();
        let env = adit::env::Env::production(stop);
        let started = adit::role::server::Server::bind(configured(file), env).await;
        let error = started.err().unwrap().to_string();
        assert!(
            error.starts_with("cannot open the access log of entry www, /nowhere/at/all: No such file"),
            "{error}"
        );
    });
}

#[cfg(target_os = "linux")]
#[test]
fn lines_that_cannot_be_written_are_counted_as_lost() {
    run(|| async {
        let file = "entries:
  - name: www
    kind: http
    listen: \"127.0.0.1:0\"
    group: default
    access_log: { output: file, file: /dev/full }
";
        let server = RunningServer::start(configured(file)).await;
        let _client = server.client("a", http_upstream(mirror).await);
        server.wait_for_clients(1).await;
        // A thread of its own writes, and who writes next sees what it could not.
        while server.metrics.access_lines_lost.get() == 0 {
            let answer = ask(&server, "GET / HTTP/1.1\nHost: a\nConnection: close\n\n").await;
            assert_eq!(status(&answer), Some(200), "{answer}");
        }
    });
}

#[test]
fn a_line_names_the_user_and_why_others_were_refused() {
    run(|| async {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("access.log");
        let hash = adit::plugin::hash_password(b"secret", [7; 16]).unwrap();
        let file = format!(
            "entries:
  - name: www
    kind: http
    listen: \"127.0.0.1:0\"
    access_log: {{ output: file, file: {}, query: false }}
rules:
  - {{ host: [one.test, two.test], plugins: [ {{ use: closed }} ] }}
plugins:
  closed: [ {{ basic_auth: {{ users: {{ ann: \"{hash}\" }} }} }} ]
",
            log.display()
        );
        let server = RunningServer::start(configured(&file)).await;
        let _client = server.client("a", http_upstream(mirror).await);
        server.wait_for_clients(1).await;
        // ann:secret, the same once it is verified, ann:wrong, and nobody.
        let right = "Authorization: Basic YW5uOnNlY3JldA==\n";
        for (host, credentials) in [
            ("one.test", right),
            ("two.test", right),
            ("one.test", "Authorization: Basic YW5uOndyb25n\n"),
            ("two.test", ""),
        ] {
            ask(
                &server,
                &format!("GET /a?key=1 HTTP/1.1\nHost: {host}\n{credentials}Connection: close\n\n"),
            )
            .await;
        }
        let all: Vec<_> = lines(&log, 4).await.iter().map(|line| parsed(line)).collect();
        let told: Vec<_> = all
            .iter()
            .map(|line| (&line["status"], &line["user"], &line["reason"]))
            .collect();
        let (ann, none) = (Value::from("ann"), Value::Null);
        let (ok, refused) = (Value::from(200), Value::from(401));
        let (wrong, missing) = (Value::from("wrong_credentials"), Value::from("no_credentials"));
        assert_eq!(
            told,
            [
                (&ok, &ann, &none),
                (&ok, &ann, &none),
                (&refused, &none, &wrong),
                (&refused, &none, &missing),
            ]
        );
        assert!(all.iter().all(|line| line["path"] == "/a"), "{all:#?}");
    });
}
