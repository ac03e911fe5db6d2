//! Requests leave an address of a client's upstream as soon as it is no longer one that is chosen, also on connections that
//! were kept.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use adit::{
    candidates::Candidate,
    config::ServerConfig,
    metrics::TargetState,
    prober,
    time::{self, Duration},
};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{
    RunningClient, RunningServer, client_config,
    http::{Body, full, http_upstream, run_http_by_each},
};
use tokio::net::TcpStream;

/// A service whose health may be switched off while it goes on to answer.
#[derive(Clone, Default)]
struct Site(Arc<State>);

#[derive(Default)]
struct State {
    ails: AtomicBool,
    served: AtomicUsize,
}

impl Site {
    async fn start(name: &'static str) -> (Self, SocketAddr) {
        let site = Self::default();
        let serving = site.clone();
        let address = http_upstream(move |request| {
            let site = serving.clone();
            async move { site.answer(&request, name) }
        })
        .await;
        (site, address)
    }

    fn answer(&self, request: &Request<Incoming>, name: &'static str) -> Response<Body> {
        let mut answer = Response::new(full(name));
        if request.uri().path() == "/health" {
            if self.0.ails.load(Ordering::Relaxed) {
                *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            }
            return answer;
        }
        self.0.served.fetch_add(1, Ordering::Relaxed);
        answer
    }

    fn served(&self) -> usize {
        self.0.served.load(Ordering::Relaxed)
    }
}

/// Within it each connection carries many requests.
const QUIET: Duration = Duration::from_millis(500);

/// One visitor's connection.
enum Visitor {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Visitor {
    async fn come(to: SocketAddr, version: Version) -> Self {
        let stream = TokioIo::new(TcpStream::connect(to).await.unwrap());
        if version == Version::HTTP_2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::task::spawn_local(connection);
            return Self::Http2(sender);
        }
        let (sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::task::spawn_local(connection);
        Self::Http1(sender)
    }

    async fn ask(&mut self) -> String {
        let request = Request::builder()
            .uri("http://a.example/")
            .header("host", "a.example")
            .header("content-type", "application/grpc")
            .body(Empty::new())
            .unwrap();
        let answer = match self {
            Self::Http1(sender) => {
                sender.ready().await.unwrap();
                let mut request = request;
                request.headers_mut().remove("content-type");
                *request.uri_mut() = "/".parse().unwrap();
                sender.send_request(request).await
            }
            Self::Http2(sender) => sender.send_request(request).await,
        };
        let body = answer.unwrap().into_body().collect().await.unwrap().to_bytes();
        String::from_utf8_lossy(&body).into_owned()
    }
}

/// All ask at once, so that each needs a connection of its own, or a stream.
async fn ask_all(visitors: &mut [Visitor]) {
    futures_util::future::join_all(visitors.iter_mut().map(Visitor::ask)).await;
}

async fn requests_leave(config: ServerConfig, version: Version) {
    let sites = [Site::start("one").await, Site::start("two").await];
    let server = RunningServer::start(config).await;
    let mut config = client_config("a", server.addresses.control, sites[0].1);
    let upstream = &mut config.upstreams[0];
    let targets = sites
        .each_ref()
        .map(|(_, address)| Candidate::at(&address.to_string()));
    upstream.targets = targets.to_vec();
    upstream.choice.probing.interval = Duration::from_millis(50);
    upstream.choice.probing.kind = prober::Kind::Http {
        path: "/health".to_owned(),
        status: None,
        host: None,
    };
    let client = RunningClient::start(config);
    server.wait_for_clients(1).await;

    // Connections to one are kept, and busy.
    let mut visitors = Vec::new();
    for _ in 0..8 {
        visitors.push(Visitor::come(server.public(), version).await);
    }
    let (ailing, address) = loop {
        ask_all(&mut visitors).await;
        if let Some(one) = sites.iter().find(|(site, _)| site.served() >= 16) {
            break one;
        }
    };
    ailing.0.ails.store(true, Ordering::Relaxed);
    let active = format!(
        "adit_target_state{{group=\"upstream/main\",target=\"{address}\"}} {}",
        TargetState::Active as u8
    );
    while client.metrics.encode().contains(&active) {
        ask_all(&mut visitors).await;
    }
    // News of it is under way for a moment; then it gets nothing, however busy the connections are that it was kept on.
    let mut quiet_since = time::now();
    while time::now() - quiet_since < QUIET {
        let before = ailing.served();
        ask_all(&mut visitors).await;
        if ailing.served() > before {
            quiet_since = time::now();
        }
    }
}

#[test]
fn an_address_that_is_left_out_gets_no_more_requests() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        run_http_by_each(|config| requests_leave(config, version));
    }
}
