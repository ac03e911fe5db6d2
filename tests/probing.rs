//! A server's groups on real sockets: who is dead is left out before a visitor finds out, and comes back.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use adit::{
    config::{GroupConfig, ServerConfig},
    prober, selector,
    time::{self, Duration},
};
use support::{RunningServer, group, named, run, server_config, until, upstream, visit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Probes often, and lets who was out come back soon.
fn quick(kind: prober::Kind) -> GroupConfig {
    GroupConfig {
        probing: prober::Options {
            interval: Duration::from_millis(200),
            timeout: Duration::from_secs(10),
            kind,
            ..prober::Options::default()
        },
        selector: selector::Options {
            slow_start: Duration::ZERO,
            switching: selector::Switching {
                hold_off: Duration::ZERO,
                ..selector::Switching::default()
            },
            ..selector::Options::default()
        },
        ..GroupConfig::default()
    }
}

fn judging(kind: prober::Kind) -> ServerConfig {
    let mut config = server_config();
    config.groups.insert(group("default"), quick(kind));
    config
}

/// Whether the server shows this line.
fn shows(server: &RunningServer, line: &str) -> bool {
    server.metrics.encode().lines().any(|shown| shown == line)
}

/// How often probes of the group ended like this.
fn probes(server: &RunningServer, result: &str) -> u64 {
    let name = format!("adit_probes_total{{group=\"default\",result=\"{result}\"}} ");
    let text = server.metrics.encode();
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.parse().unwrap())
}

/// An upstream that says its name, on a listener that may be closed and opened again.
fn says(name: &'static str, listener: TcpListener) -> JoinHandle<()> {
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::task::spawn_local(async move {
                let _ = stream.write_all(name.as_bytes()).await;
                let _ = stream.shutdown().await;
                let _ = stream.read(&mut [0; 64]).await;
            });
        }
    })
}

/// Visits until `name` has answered.
async fn visit_until(server: &RunningServer, name: &str) {
    loop {
        let answer = visit(server.public(), b"?").await.unwrap();
        if answer == name.as_bytes() {
            return;
        }
    }
}

#[test]
fn an_upstream_that_dies_is_left_out_before_a_visitor_comes_and_is_used_again_when_it_is_back() {
    run(|| async {
        let server = RunningServer::start(judging(prober::Kind::Tcp)).await;
        let mortal = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = mortal.local_addr().unwrap();
        let life = says("mortal", mortal);
        let _clients = (
            server.client("a", address),
            server.client("b", named("other").await),
        );
        server.wait_for_clients(2).await;
        until(|| probes(&server, "ok") >= 2).await;
        visit_until(&server, "mortal").await;
        visit_until(&server, "other").await;

        life.abort();
        until(|| shows(&server, "adit_active_set_size{group=\"default\"} 1")).await;
        assert!(probes(&server, "refused") >= 1);
        assert_eq!(probes(&server, "timeout") + probes(&server, "failed"), 0);
        assert!(shows(
            &server,
            "adit_target_state{group=\"default\",target=\"a/main\"} 0.0"
        ));
        for _ in 0..20 {
            assert_eq!(visit(server.public(), b"?").await.unwrap(), b"other");
        }
        let refused = server.metrics.tries_failed.count("unreachable");
        assert_eq!(refused, 0, "no visitor was sent there");

        let _life = says("mortal", TcpListener::bind(address).await.unwrap());
        until(|| shows(&server, "adit_active_set_size{group=\"default\"} 2")).await;
        visit_until(&server, "mortal").await;
        let text = server.metrics.encode();
        for figure in ["score", "latency_seconds"] {
            let name = format!("adit_target_{figure}{{group=\"default\",target=\"a/main\"}} ");
            assert!(text.contains(&name), "{name}");
        }
    });
}

#[test]
fn visitors_alone_find_out_where_nobody_probes() {
    run(|| async {
        let server = RunningServer::start(judging(prober::Kind::Off)).await;
        let _clients = (
            server.client("a", support::nowhere().await),
            server.client("b", named("other").await),
        );
        server.wait_for_clients(2).await;
        let out = || shows(&server, "adit_active_set_size{group=\"default\"} 1");
        while !out() {
            assert_eq!(visit(server.public(), b"?").await.unwrap(), b"other");
        }
        assert_eq!(server.metrics.tries_failed.count("unreachable"), 3);
        assert_eq!(probes(&server, "ok") + probes(&server, "refused"), 0);
    });
}

/// An upstream that answers every request with this status.
async fn answers(status: &'static str) -> std::net::SocketAddr {
    upstream(move |mut stream| async move {
        let _ = stream.read(&mut [0; 512]).await;
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    })
    .await
}

#[test]
fn an_upstream_that_accepts_and_answers_wrongly_is_left_out() {
    run(|| async {
        let kind = prober::Kind::Http {
            path: "/health".to_owned(),
            status: None,
            host: None,
        };
        let server = RunningServer::start(judging(kind)).await;
        let _clients = (
            server.client("a", answers("503 Service Unavailable").await),
            server.client("b", answers("200 OK").await),
        );
        server.wait_for_clients(2).await;
        until(|| shows(&server, "adit_active_set_size{group=\"default\"} 1")).await;
        assert!(probes(&server, "failed") >= 3);
        until(|| probes(&server, "ok") >= 3).await;
        assert_eq!(probes(&server, "refused") + probes(&server, "timeout"), 0);
        assert!(shows(
            &server,
            "adit_target_state{group=\"default\",target=\"b/main\"} 5.0"
        ));
        // Both speak to their end, so their connections are whole.
        assert_eq!(server.metrics.pool_discarded.count("broken"), 0);
        assert_eq!(server.metrics.sessions.get(), 0);
    });
}

#[test]
fn who_is_alone_is_probed_while_it_fails_and_serves_whatever_is_known_of_it() {
    run(|| async {
        let server = RunningServer::start(judging(prober::Kind::Tcp)).await;
        let mortal = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = mortal.local_addr().unwrap();
        let life = says("here", mortal);
        let _client = server.client("a", address);
        server.wait_for_clients(1).await;
        let all = || ["ok", "refused", "timeout", "failed"].map(|result| probes(&server, result));
        until(|| all() == [1, 0, 0, 0]).await;
        // Several intervals long.
        let began = time::now();
        while time::now() - began < Duration::from_secs(1) {
            assert_eq!(visit(server.public(), b"?").await.unwrap(), b"here");
        }
        assert_eq!(all(), [1, 0, 0, 0], "one that is well is not probed again");

        life.abort();
        assert!(visit(server.public(), b"?").await.is_err());
        until(|| shows(&server, "adit_group_usable{group=\"default\"} 0")).await;
        assert!(probes(&server, "refused") >= 2);
        let _life = says("here", TcpListener::bind(address).await.unwrap());
        assert_eq!(visit(server.public(), b"?").await.unwrap(), b"here");
        until(|| shows(&server, "adit_group_usable{group=\"default\"} 1")).await;
    });
}

#[test]
fn who_is_alone_and_down_from_the_start_is_found_out_before_a_visitor_comes() {
    run(|| async {
        let kind = prober::Kind::Http {
            path: "/health".to_owned(),
            status: None,
            host: None,
        };
        for kind in [prober::Kind::Tcp, kind] {
            let server = RunningServer::start(judging(kind)).await;
            let _client = server.client("a", support::nowhere().await);
            server.wait_for_clients(1).await;
            until(|| shows(&server, "adit_group_usable{group=\"default\"} 0")).await;
            assert_eq!(server.metrics.visitors.get(), 0);
        }
    });
}

/// Whoever ends its answer and resets the connection wants to hear no more.
#[test]
fn an_upstream_that_resets_what_it_has_answered_to_the_end_is_well() {
    run(|| async {
        let server = RunningServer::start(judging(prober::Kind::Off)).await;
        let service = upstream(|mut stream| async move {
            let _ = stream.read(&mut [0; 1]).await;
            let _ = stream.write_all(b"all of it").await;
            let _ = stream.shutdown().await;
            // The visitor has heard the end, and says more.
            let _ = stream.read(&mut [0; 1]).await;
            support::reset(stream);
        })
        .await;
        let _client = server.client("a", service);
        server.wait_for_clients(1).await;
        for _ in 0..5 {
            let mut visitor = TcpStream::connect(server.public()).await.unwrap();
            visitor.write_all(b"?").await.unwrap();
            let mut answer = Vec::new();
            visitor.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"all of it");
            let before = server.metrics.session_outcomes.count("upstream_reset");
            // It goes on until the reset arrives.
            while server.metrics.session_outcomes.count("upstream_reset") == before {
                let _ = visitor.write_all(b"!").await;
                time::sleep(Duration::from_millis(1)).await;
            }
        }
        let began = time::now();
        while time::now() - began < Duration::from_millis(200) {
            assert!(shows(&server, "adit_group_usable{group=\"default\"} 1"));
            time::sleep(Duration::from_millis(2)).await;
        }
    });
}

#[test]
fn an_upstream_that_breaks_its_answers_is_not() {
    run(|| async {
        let server = RunningServer::start(judging(prober::Kind::Off)).await;
        let service = upstream(|mut stream| async move {
            let _ = stream.read(&mut [0; 1]).await;
            let _ = stream.write_all(b"half of").await;
            support::reset(stream);
        })
        .await;
        let _client = server.client("a", service);
        server.wait_for_clients(1).await;
        let usable = |is: u8| shows(&server, &format!("adit_group_usable{{group=\"default\"}} {is}"));
        for _ in 0..5 {
            assert!(usable(1));
            assert!(visit(server.public(), b"?").await.is_err());
        }
        until(|| usable(0)).await;
    });
}
