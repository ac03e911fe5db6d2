//! Rules and plugins on real sockets, from a configuration file to the answer.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use support::{
    RunningServer, client_config,
    http::{configured, exchange, http_upstream, mirror, named_upstream, status},
    run,
};

/// A server of these rules, and a client for the groups `default`, `api` and `mirror`.
async fn start(rules: &str) -> (RunningServer, support::RunningClient) {
    let file = format!("entries: [{{ name: www, kind: http, listen: \"127.0.0.1:0\" }}]\nrules:\n{rules}");
    let server = RunningServer::start(configured(&file)).await;
    let mut config = client_config("a", server.addresses.control, named_upstream("default").await);
    for (name, target) in [
        ("api", named_upstream("api").await),
        ("mirror", http_upstream(mirror).await),
    ] {
        config.upstreams.push(adit::config::UpstreamConfig::new(
            adit::id::UpstreamName::new(name).unwrap(),
            support::group(name),
            vec![adit::candidates::Candidate::at(&target.to_string())],
        ));
    }
    let client = support::RunningClient::start(config);
    server.wait_for_clients(1).await;
    (server, client)
}

async fn ask(server: &RunningServer, request: &str, headers: &str) -> String {
    let request = format!("{request} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    exchange(server.public(), request.as_bytes()).await
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[test]
fn requests_go_where_their_rule_says_and_nowhere_without_one() {
    run(|| async {
        let (server, _client) = start(
            "  - { host: api.example.com, path: /v1, group: api }\n  - { host: \"*.example.com\", method: [GET, HEAD] }\n  \
             - { host: localhost, group: api }\n",
        )
        .await;
        let check = async |request: &str, host: &str, expected: (u16, &str)| {
            let answer = ask(&server, request, &format!("Host: {host}\r\n")).await;
            assert_eq!(
                (status(&answer), body(&answer)),
                (Some(expected.0), expected.1),
                "{request} {host}"
            );
        };
        check("GET /v1/x", "api.example.com", (200, "api")).await;
        check("GET /v1/x", "API.Example.com:80", (200, "api")).await;
        check("GET /v10", "api.example.com", (200, "default")).await;
        check("GET /v1/x", "www.example.com", (200, "default")).await;
        check("POST /", "www.example.com", (404, "404 Not Found: no_rule\n")).await;
        check("GET /", "example.org", (404, "404 Not Found: no_rule\n")).await;
        let nameless = exchange(server.public(), b"GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!(
            (status(&nameless), body(&nameless)),
            (Some(404), "404 Not Found: no_rule\n")
        );
        check(
            "GET /v1/%2e%2e/x",
            "api.example.com",
            (400, "400 Bad Request: bad_path\n"),
        )
        .await;
    });
}

#[test]
fn plugins_change_requests_and_responses_and_turn_some_away() {
    run(|| async {
        let (server, _client) = start(
            "  - host: a
    group: mirror
    plugins:
      - request_id: {}
      - set_header: { X-From: adit }
      - strip_prefix: /app
      - rewrite_host: inner.example.com
      - set_response_header: { X-Served-By: adit }
  - host: closed
    plugins: [ { bearer: { tokens: 0123456789abcdef0 } } ]
  - host: small
    group: mirror
    plugins: [ { body_limit: 10B } ]
  - host: slow
    plugins: [ { rate_limit: { rate: 2, per: hour, by: address } } ]
  - host: old
    plugins: [ { redirect: { to: \"https://new.example.com{path}{query}\", status: 301 } } ]
",
        )
        .await;
        let answer = ask(&server, "GET /app/x?y", "Host: a\r\nX-From: me\r\n").await;
        assert_eq!(status(&answer), Some(200), "{answer}");
        assert!(
            answer.contains("\r\nx-served-by: adit\r\n") && answer.contains("\r\nx-request-id: "),
            "{answer}"
        );
        let said = body(&answer);
        assert!(said.starts_with("GET /x?y HTTP/1.1\n"), "{said}");
        for header in [
            "host: inner.example.com\n",
            "x-from: adit\n",
            "x-forwarded-host: a\n",
            "x-request-id: ",
        ] {
            assert!(said.contains(header), "{said}");
        }

        let answer = ask(&server, "GET /", "Host: closed\r\n").await;
        assert_eq!(status(&answer), Some(401), "{answer}");
        let token = "Authorization: Bearer 0123456789abcdef0\r\n";
        let answer = ask(&server, "GET /", &format!("Host: closed\r\n{token}")).await;
        assert_eq!((status(&answer), body(&answer)), (Some(200), "default"));

        let declared = ask(&server, "POST /", "Host: small\r\nContent-Length: 11\r\n").await;
        assert_eq!(status(&declared), Some(413), "{declared}");
        let chunked = "POST / HTTP/1.1\r\nHost: small\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                       8\r\n12345678\r\n8\r\n12345678\r\n0\r\n\r\n";
        let chunked = exchange(server.public(), chunked.as_bytes()).await;
        assert_eq!(status(&chunked), Some(413), "{chunked}");

        let mut statuses = Vec::new();
        for _ in 0..3 {
            statuses.push(status(&ask(&server, "GET /", "Host: slow\r\n").await));
        }
        assert_eq!(statuses, [Some(200), Some(200), Some(429)]);

        let answer = ask(&server, "GET /x?y", "Host: old\r\n").await;
        assert_eq!(status(&answer), Some(301));
        assert!(
            answer.contains("\r\nlocation: https://new.example.com/x?y\r\n"),
            "{answer}"
        );
        assert_eq!(server.metrics.http_refusals.count("bearer"), 1);
        assert_eq!(server.metrics.http_refusals.count("rate_limit"), 1);
    });
}

/// Without the rule's own patience it would be that of sessions, which in tests is longer than a test may last.
#[cfg(target_os = "linux")]
#[test]
fn a_rule_says_how_long_an_upstream_may_take_to_be_connected() {
    run(|| async {
        let mut config = configured(
            "entries: [{ name: www, kind: http, listen: \"127.0.0.1:0\" }]\n\
             rules: [{ timeouts: { connect: 200ms } }]",
        );
        for entry in &mut config.entries {
            if let adit::entry::Kind::Http(options) = &mut entry.kind {
                for session in options.groups.values_mut() {
                    session.answer_timeout = adit::time::Duration::from_secs(1);
                    session.connect_timeout = adit::time::Duration::from_secs(300);
                    session.start_timeout = adit::time::Duration::from_secs(300);
                }
            }
        }
        let server = RunningServer::start(config).await;
        let mut silent = client_config("silent", server.addresses.control, support::any_port());
        let (target, _full) = support::full_queue().await;
        silent.upstreams[0].targets = vec![adit::candidates::Candidate::at(&target.to_string())];
        silent.upstreams[0].connect_timeout = adit::time::Duration::from_secs(300);
        let _silent = support::RunningClient::start(silent);
        let _good = server.client("good", named_upstream("good").await);
        server.wait_for_clients(2).await;
        while server.metrics.http_retries.get() == 0 {
            let answer = ask(&server, "GET /", "Host: a\r\n").await;
            assert_eq!((status(&answer), body(&answer)), (Some(200), "good"), "{answer}");
        }
    });
}
