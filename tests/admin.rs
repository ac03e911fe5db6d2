//! What operators ask a node over HTTP, on real sockets.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{net::SocketAddr, path::Path};

use adit::{
    admin::needs::Needs,
    config::{ForwardFlags, GroupConfig, ServerConfig, Source, build_forward},
    env::{Env, Stop},
    id::EntryName,
    metrics, prober,
    role::{client::Client, forward::Forwarder, server::Server},
    time::{self, Duration},
};
use support::{
    RunningClient, RunningServer, any_port, client_config, echo, group,
    http::hasty_upstream,
    nowhere, run, server_config, until, visit,
    web::{Answer, ask, say},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

fn watched(listen: SocketAddr) -> ServerConfig {
    ServerConfig {
        admin: Some(listen),
        ..server_config()
    }
}

async fn check(address: SocketAddr, request: (&str, &str), status: u16, body: &str) -> Answer {
    let (method, path) = request;
    let answer = ask(address, method, path).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (status, body),
        "{method} {path}"
    );
    answer
}

#[test]
fn each_path_answers_and_others_say_what_there_is() {
    run(|| async {
        let server = RunningServer::start(watched(any_port())).await;
        let admin = server.addresses.admin.unwrap();
        check(admin, ("GET", "/healthz"), 200, "ok\n").await;
        check(admin, ("GET", "/healthz?verbose=1"), 200, "ok\n").await;
        let missing = "nothing is here; there is: /metrics /healthz /readyz\n";
        check(admin, ("GET", "/"), 404, missing).await;
        check(admin, ("DELETE", "/elsewhere"), 404, missing).await;
        let denied = check(admin, ("POST", "/metrics"), 405, "only GET and HEAD\n").await;
        assert_eq!(denied.header("allow"), Some("GET, HEAD"));

        let scraped = ask(admin, "GET", "/metrics").await;
        assert_eq!(scraped.status, 200);
        assert_eq!(scraped.header("content-type"), Some(metrics::CONTENT_TYPE));
        assert!(scraped.body.ends_with("# EOF\n"));
        let head = check(admin, ("HEAD", "/healthz"), 200, "").await;
        assert_eq!(head.header("content-length"), Some("3"));
    });
}

#[test]
fn a_server_is_ready_while_it_has_a_target_and_does_not_drain() {
    run(|| async {
        let mut config = watched(any_port());
        config.drain.delay = Duration::from_secs(20);
        let server = RunningServer::start(config).await;
        let admin = server.addresses.admin.unwrap();
        let lonely = "not ready: entry public: group default has no target\n";
        check(admin, ("GET", "/readyz"), 503, lonely).await;
        let client = server.client("a", echo().await);
        while ask(admin, "GET", "/readyz").await.status != 200 {}
        check(admin, ("GET", "/readyz"), 200, "ready\n").await;
        client.stopper.advance();
        client.task.await.unwrap();
        while ask(admin, "GET", "/readyz").await.status != 503 {}

        let _client = server.client("b", echo().await);
        while ask(admin, "GET", "/readyz").await.status != 200 {}
        server.stopper.advance();
        check(admin, ("GET", "/readyz"), 503, "not ready: draining\n").await;
        check(admin, ("GET", "/healthz"), 200, "ok\n").await;
        server.stopper.advance();
        server.task.await.unwrap();
        // Its task ends on a worker, a moment after the server.
        while TcpStream::connect(admin).await.is_ok() {}
    });
}

/// Judges soon.
fn quick(config: &mut ServerConfig, names: &[&str]) {
    for name in names {
        let probing = prober::Options {
            interval: Duration::from_millis(100),
            ..prober::Options::default()
        };
        let options = GroupConfig {
            probing,
            ..GroupConfig::default()
        };
        config.groups.insert(group(name), options);
    }
}

/// Asks until the answer has this status; its body.
async fn ask_until(admin: SocketAddr, status: u16) -> String {
    loop {
        let answer = ask(admin, "GET", "/readyz").await;
        if answer.status == status {
            return answer.body;
        }
        time::sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn a_server_whose_only_service_is_down_is_not_ready_until_it_is_up_without_a_visitor() {
    run(|| async {
        let mut config = watched(any_port());
        quick(&mut config, &["default"]);
        let server = RunningServer::start(config).await;
        let admin = server.addresses.admin.unwrap();
        let service = TcpListener::bind(any_port()).await.unwrap();
        let address = service.local_addr().unwrap();
        let life = tokio::task::spawn_local(serve(service));
        let _client = server.client("a", address);
        ask_until(admin, 200).await;
        assert_eq!(visit(server.public(), b"").await.unwrap(), b"here");

        life.abort();
        let usable = |is: u8| {
            let line = format!("adit_group_usable{{group=\"default\"}} {is}");
            server.metrics.encode().lines().any(|shown| shown == line)
        };
        let reason = ask_until(admin, 503).await;
        let expected = "not ready: entry public: all targets of group default fail: Connection refused";
        assert!(reason.starts_with(expected), "{reason}");
        until(|| usable(0)).await;

        let _life = tokio::task::spawn_local(serve(TcpListener::bind(address).await.unwrap()));
        ask_until(admin, 200).await;
        until(|| usable(1)).await;
        assert_eq!(server.metrics.visitors.get(), 1, "nobody had to come");
    });
}

async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::task::spawn_local(async move {
            let _ = stream.write_all(b"here").await;
            let _ = stream.shutdown().await;
            let _ = stream.read(&mut [0; 64]).await;
        });
    }
}

#[test]
fn all_entries_must_be_served_or_one_of_them_as_configured() {
    run(|| async {
        for (needs, status) in [(Needs::All, 503), (Needs::Any, 200)] {
            let mut config = watched(any_port());
            config.ready = needs;
            let mut second = config.entries[0].clone();
            second.name = EntryName::new("second").unwrap();
            second.group = group("other");
            config.entries.push(second);
            // Nobody is sent there.
            quick(&mut config, &["unused"]);
            let server = RunningServer::start(config).await;
            let admin = server.addresses.admin.unwrap();
            let both = "not ready: entry public: group default has no target; entry second: group other has no target\n";
            check(admin, ("GET", "/readyz"), 503, both).await;
            let _client = server.client("a", echo().await);
            server.wait_for_clients(1).await;
            until(|| {
                server
                    .metrics
                    .encode()
                    .contains("adit_group_usable{group=\"default\"} 1")
            })
            .await;
            let lacking = "not ready: entry second: group other has no target\n";
            let expected = if status == 200 { "ready\n" } else { lacking };
            check(admin, ("GET", "/readyz"), status, expected).await;
            let mut config = client_config("b", server.addresses.control, echo().await);
            config.upstreams[0].group = group("other");
            let _other = RunningClient::start(config);
            ask_until(admin, 200).await;
        }
    });
}

#[test]
fn a_forwarder_whose_candidates_are_all_down_is_not_ready() {
    run(|| async {
        for candidates in [1, 7] {
            let mut listeners = Vec::new();
            for _ in 0..candidates {
                listeners.push(TcpListener::bind(any_port()).await.unwrap());
            }
            let addresses: Vec<_> = listeners.iter().map(|one| one.local_addr().unwrap()).collect();
            let list: Vec<_> = addresses.iter().map(|at| format!("\"{at}\"")).collect();
            let text = format!(
                "server: {{ listen_addr: \"127.0.0.1:0\" }}\nmetrics: {{ listen: \"127.0.0.1:0\" }}\n\
                 probing: {{ interval: 100ms }}\nselector: {{ evaluation_interval: 1s }}\n\
                 candidates: {{ addresses: [{}] }}\n",
                list.join(", ")
            );
            let source = Source::parse_named(Path::new("forward.yaml"), &text).unwrap();
            let checked = build_forward(&source, &ForwardFlags::default(), &|_| None).unwrap();
            let (stopper, stop) = Stop::channel();
            let forwarder = Forwarder::bind(checked.config, Env::production(stop))
                .await
                .unwrap();
            let address = forwarder.operators().metrics.unwrap();
            let task = tokio::task::spawn_local(forwarder.run());
            ask_until(address, 200).await;
            listeners.clear();
            let reason = ask_until(address, 503).await;
            let expected = "not ready: all candidates fail";
            assert!(reason.starts_with(expected), "{reason}");
            let _again = TcpListener::bind(addresses[0]).await.unwrap();
            ask_until(address, 200).await;
            stopper.advance();
            stopper.advance();
            task.await.unwrap();
        }
    });
}

#[test]
fn a_client_is_ready_while_it_is_registered() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let mut config = client_config("a", server.addresses.control, echo().await);
        config.metrics = Some(any_port());
        let (stopper, stop) = Stop::channel();
        let client = Client::bind(config, Env::production(stop)).await.unwrap();
        let address = client.operators().metrics.unwrap();
        check(
            address,
            ("GET", "/readyz"),
            503,
            "not ready: not registered with any server\n",
        )
        .await;
        let task = tokio::task::spawn_local(client.run());
        while ask(address, "GET", "/readyz").await.status != 200 {}
        server.stopper.advance();
        server.stopper.advance();
        server.task.await.unwrap();
        while ask(address, "GET", "/readyz").await.status != 503 {}
        stopper.advance();
        task.await.unwrap();
    });
}

#[test]
fn a_client_that_asks_for_answers_finds_out_that_its_only_service_gives_wrong_ones_without_a_visitor() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let wrong = hasty_upstream(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
        let mut config = client_config("a", server.addresses.control, wrong.await);
        config.upstreams[0].choice.probing = prober::Options {
            interval: Duration::from_millis(100),
            kind: prober::Kind::Http {
                path: "/".to_owned(),
                status: None,
                host: None,
            },
            ..prober::Options::default()
        };
        let client = RunningClient::start(config);
        let unusable = |line: &str| line.starts_with("adit_group_usable") && line.ends_with(" 0");
        until(|| client.metrics.encode().lines().any(unusable)).await;
        assert_eq!(server.metrics.visitors.get(), 0, "nobody had to come");
    });
}

#[test]
fn an_address_that_is_taken_names_its_key() {
    run(|| async {
        let taken = TcpListener::bind(any_port()).await.unwrap();
        let listen = taken.local_addr().unwrap();
        let failed = |error: adit::role::StartError, key: &str| {
            let expected = format!("cannot listen on {listen} ({key}): ");
            assert!(error.to_string().starts_with(&expected), "{error}");
        };
        let env = || Env::production(Stop::channel().1);
        let error = Server::bind(watched(listen), env()).await.err().unwrap();
        failed(error, "admin.listen");

        let mut config = client_config("a", nowhere().await, nowhere().await);
        config.metrics = Some(listen);
        let error = Client::bind(config, env()).await.err().unwrap();
        failed(error, "metrics.listen");
    });
}

#[test]
fn whoever_asks_too_much_is_turned_away() {
    run(|| async {
        let server = RunningServer::start(watched(any_port())).await;
        let admin = server.addresses.admin.unwrap();
        let long = format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
        // What it had still to say when it was turned away may have reset the connection.
        if let Ok(answer) = say(admin, long.as_bytes()).await {
            assert_eq!(answer.status, 431);
        }
        let answer = say(admin, b"no HTTP\r\n\r\n").await.unwrap();
        assert_eq!(answer.status, 400);

        let mut idle = Vec::new();
        while server.metrics.connections_refused.count("admin") == 0 {
            assert!(idle.len() < 1000, "somebody must be refused in the end");
            idle.push(TcpStream::connect(admin).await.unwrap());
            tokio::task::yield_now().await;
        }
        assert!(idle.len() > 64, "{} were let in", idle.len());
        idle.clear();
        while say(admin, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            .await
            .is_err()
        {}
    });
}

#[test]
fn a_request_may_come_in_pieces_and_one_answer_ends_the_connection() {
    run(|| async {
        let server = RunningServer::start(watched(any_port())).await;
        let mut stream = TcpStream::connect(server.addresses.admin.unwrap()).await.unwrap();
        for piece in [
            "GET /hea",
            "lthz HTTP/1.1\r\nHo",
            "st: a\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
        ] {
            stream.write_all(piece.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut answer = Vec::new();
        // The second request is not read, which may reset the connection behind the first answer.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    });
}
