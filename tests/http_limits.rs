//! The limits of HTTP entries: on what visitors hold, and on connections to upstreams.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use support::{
    RunningServer,
    http::{full, http_config, http_upstream, named_upstream},
    until,
};
use tokio::{io::AsyncReadExt, net::TcpStream, sync::Semaphore};

type Sender = http1::SendRequest<Empty<Bytes>>;

async fn visitor(server: &RunningServer) -> Sender {
    let stream = TcpStream::connect(server.public()).await.unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::task::spawn_local(connection);
    sender
}

/// The status of an answer, and its body.
async fn get(visitor: &mut Sender) -> (u16, String) {
    visitor.ready().await.unwrap();
    let request = Request::get("/").header("host", "a.example");
    let answer = visitor
        .send_request(request.body(Empty::new()).unwrap())
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

fn shows(server: &RunningServer, line: &str) -> bool {
    server.metrics.encode().lines().any(|it| it == line)
}

#[test]
fn as_many_visitors_as_the_limit_allows_are_answered() {
    support::run(|| async {
        let mut config = http_config();
        config.limits.sessions = 10;
        let server = RunningServer::start(config).await;
        let _client = server.client("a", named_upstream("served").await);
        server.wait_for_clients(1).await;
        let mut visitors = Vec::new();
        for _ in 0..10 {
            visitors.push(visitor(&server).await);
        }
        until(|| server.metrics.visitors.get() == 10).await;
        for _ in 0..3 {
            let answers = futures_util::future::join_all(visitors.iter_mut().map(get)).await;
            assert_eq!(answers, vec![(200, "served".to_owned()); 10]);
        }
        assert!(shows(&server, "adit_limit_used{limit=\"sessions\"} 10"));
        // The next is turned away before it has asked.
        let mut one_more = TcpStream::connect(server.public()).await.unwrap();
        assert_eq!(one_more.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(server.metrics.session_outcomes.count("too_many_sessions"), 1);
    });
}

#[test]
fn a_request_beyond_the_limit_of_upstream_connections_is_told_so() {
    support::run(|| async {
        let mut config = http_config();
        config.limits.upstream_connections = 2;
        let server = RunningServer::start(config).await;
        let turns = Arc::new(Semaphore::new(0));
        let upstream = http_upstream({
            let turns = Arc::clone(&turns);
            move |_| {
                let turns = Arc::clone(&turns);
                async move {
                    turns.acquire().await.unwrap().forget();
                    Response::new(full("served"))
                }
            }
        });
        let _client = server.client("a", upstream.await);
        server.wait_for_clients(1).await;
        let (mut one, mut two, mut three) = (
            visitor(&server).await,
            visitor(&server).await,
            visitor(&server).await,
        );
        let third = async {
            until(|| shows(&server, "adit_limit_used{limit=\"upstream_connections\"} 2")).await;
            let (status, body) = get(&mut three).await;
            turns.add_permits(2);
            (status, body)
        };
        let (one, two, third) = tokio::join!(get(&mut one), get(&mut two), third);
        let served = (200, "served".to_owned());
        assert_eq!((one, two), (served.clone(), served.clone()));
        let reason = "too_many_upstream_connections";
        assert_eq!(third, (503, format!("503 Service Unavailable: {reason}\n")));
        assert_eq!(server.metrics.http_failures.count(reason), 1);
        assert!(shows(&server, "adit_limit_max{limit=\"upstream_connections\"} 2"));
        // What the others have left is used again.
        turns.add_permits(1);
        // The connection may not be known to be free yet.
        while get(&mut three).await != served {}
    });
}
