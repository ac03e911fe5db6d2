//! What operators ask a node over HTTP, on real sockets.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::net::SocketAddr;

use adit::{
    config::ServerConfig,
    env::{Env, Stop},
    metrics,
    role::{client::Client, server::Server},
    time::Duration,
};
use support::{
    RunningServer, any_port, client_config, echo, nowhere, run, server_config,
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
        let lonely = "not ready: no group that an entry leads to has a usable target\n";
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
