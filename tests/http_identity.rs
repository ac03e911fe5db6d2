//! Security: an upstream that authenticates its connection (NTLM, Negotiate) knows one visitor by it, and nobody else is
//! answered as that one.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use adit::config::ServerConfig;
use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    server::conn,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use support::{RunningServer, http::run_http_by_each, until};
use tokio::{net::TcpStream, sync::Mutex};

/// What an upstream knows of one of its connections.
#[derive(Default)]
struct Login {
    /// The number in the challenge that it has answered with, if any.
    challenge: Option<usize>,
    user: Option<String>,
}

/// An upstream that asks for a login by `scheme`, once for each connection.
struct Realm {
    scheme: &'static str,
    challenges: AtomicUsize,
    open: AtomicUsize,
}

/// Counts a connection while it lives.
struct Open(Arc<Realm>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Realm {
    async fn start(scheme: &'static str) -> (Arc<Self>, SocketAddr) {
        let realm = Arc::new(Self {
            scheme,
            challenges: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&realm);
        let address = support::upstream(move |stream| {
            let realm = Arc::clone(&serving);
            async move {
                realm.open.fetch_add(1, Ordering::Relaxed);
                let open = Open(realm);
                let login = Mutex::new(Login::default());
                let answer = service_fn(|request: Request<Incoming>| {
                    let (realm, login) = (&open.0, &login);
                    async move { Ok::<_, Infallible>(realm.answer(&request, &mut *login.lock().await)) }
                });
                let _ = conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
            }
        })
        .await;
        (realm, address)
    }

    /// First the name of the scheme, then a challenge, then whoever answers it on the same connection.
    fn answer<B>(&self, request: &Request<B>, login: &mut Login) -> Response<Full<Bytes>> {
        let asked = request.headers().get(header::AUTHORIZATION);
        let said = asked.and_then(|value| value.to_str().ok()?.split_once(' '));
        let said = said.map(|(scheme, said)| {
            assert!(scheme.eq_ignore_ascii_case(self.scheme));
            said.split_once(':').unwrap_or((said, ""))
        });
        let challenge = match said {
            Some(("hello", _)) => {
                let challenge = self.challenges.fetch_add(1, Ordering::Relaxed);
                (login.challenge, login.user) = (Some(challenge), None);
                format!("{} {challenge}", self.scheme)
            }
            Some((number, user)) => match login.challenge.take() {
                Some(challenge) if challenge.to_string() == number => {
                    login.user = Some(user.to_owned());
                    return Response::new(Full::from(user.to_owned()));
                }
                _ => self.scheme.to_owned(),
            },
            None => match &login.user {
                Some(user) => return Response::new(Full::from(user.clone())),
                None => self.scheme.to_owned(),
            },
        };
        Response::builder()
            .status(StatusCode::UNAUTHORIZED)
            .header(header::WWW_AUTHENTICATE, challenge)
            .body(Full::default())
            .unwrap()
    }
}

/// One visitor's connection.
struct Visitor(http1::SendRequest<Empty<Bytes>>);

impl Visitor {
    async fn come(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        Self(sender)
    }

    /// Status, challenge and body of the answer.
    async fn ask(&mut self, name: HeaderName, said: Option<String>) -> (u16, String, String) {
        let mut request = Request::builder().uri("/").header("host", "a.example");
        if let Some(said) = said {
            request = request.header(name, said);
        }
        self.0.ready().await.unwrap();
        let answer = self
            .0
            .send_request(request.body(Empty::new()).unwrap())
            .await
            .unwrap();
        let challenge = answer.headers().get(header::WWW_AUTHENTICATE);
        let challenge = challenge.map_or("", |value| value.to_str().unwrap()).to_owned();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, challenge, String::from_utf8_lossy(&body).into_owned())
    }

    async fn anonymous(&mut self) -> (u16, String) {
        let (status, _, body) = self.ask(header::AUTHORIZATION, None).await;
        (status, body)
    }

    /// Logs in as a browser does: it is asked to, says hello, and answers the challenge.
    async fn log_in(&mut self, scheme: &str, user: &str) -> (u16, String) {
        assert_eq!(self.anonymous().await.0, 401);
        let hello = Some(format!("{scheme} hello"));
        let (_, challenge, _) = self.ask(header::AUTHORIZATION, hello).await;
        let (_, number) = challenge.split_once(' ').unwrap_or_default();
        let said = Some(format!("{scheme} {number}:{user}"));
        let (status, _, body) = self.ask(header::AUTHORIZATION, said).await;
        (status, body)
    }
}

async fn nobody_is_answered_as_another(config: ServerConfig, scheme: &'static str) {
    let (realm, address) = Realm::start(scheme).await;
    let server = RunningServer::start(config).await;
    let _clients = [server.client("a", address), server.client("b", address)];
    server.wait_for_clients(2).await;

    let mut alice = Visitor::come(server.public()).await;
    // As clients spell it.
    let spelt = scheme.to_ascii_lowercase();
    assert_eq!(alice.log_in(&spelt, "alice").await, (200, "alice".to_owned()));
    let mut stranger = Visitor::come(server.public()).await;
    for _ in 0..8 {
        assert_eq!(
            stranger.anonymous().await.0,
            401,
            "a stranger is answered as somebody"
        );
        assert_eq!(alice.anonymous().await, (200, "alice".to_owned()));
    }
    // Its connection is hers alone, and ends with hers.
    drop((alice, stranger));
    until(|| realm.open.load(Ordering::Relaxed) == 0).await;
}

#[test]
fn who_has_logged_in_is_known_by_its_own_connection_alone() {
    for scheme in ["NTLM", "Negotiate"] {
        run_http_by_each(|config| nobody_is_answered_as_another(config, scheme));
    }
}

#[test]
fn many_log_in_at_once() {
    run_http_by_each(|config| async {
        let (_, address) = Realm::start("NTLM").await;
        let server = RunningServer::start(config).await;
        let _clients = [server.client("a", address), server.client("b", address)];
        server.wait_for_clients(2).await;
        for _ in 0..3 {
            let public = server.public();
            let logins = (0..8).map(|n| async move {
                let user = format!("user-{n}");
                let mut visitor = Visitor::come(public).await;
                assert_eq!(visitor.log_in("NTLM", &user).await, (200, user.clone()));
                assert_eq!(visitor.anonymous().await, (200, user));
            });
            futures_util::future::join_all(logins).await;
        }
    });
}

/// Whoever was asked to log in on a connection that many share has it to itself from then on.
#[test]
fn a_shared_connection_becomes_one_visitors_own() {
    support::run(|| async {
        let realm = Arc::new(Realm {
            scheme: "Negotiate",
            challenges: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let address = support::upstream(move |stream| {
            let realm = Arc::clone(&realm);
            async move {
                let login = Arc::new(Mutex::new(Login::default()));
                let answer = service_fn(move |request: Request<Incoming>| {
                    let (realm, login) = (Arc::clone(&realm), Arc::clone(&login));
                    async move { Ok::<_, Infallible>(realm.answer(&request, &mut *login.lock().await)) }
                });
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), answer).await;
            }
        })
        .await;
        let config = support::http::configured(
            "entries:\n  - name: web\n    kind: http\n    listen: 127.0.0.1:0\nrules:\n  \
             - path: /\n    group: default\n    upstream_protocol: h2c\n",
        );
        let server = RunningServer::start(config).await;
        let _client = server.client("a", address);
        server.wait_for_clients(1).await;
        let mut alice = Visitor::come(server.public()).await;
        let mut stranger = Visitor::come(server.public()).await;
        assert_eq!(stranger.anonymous().await.0, 401);
        assert_eq!(
            alice.log_in("Negotiate", "alice").await,
            (200, "alice".to_owned())
        );
        for _ in 0..4 {
            assert_eq!(stranger.anonymous().await.0, 401);
            assert_eq!(alice.anonymous().await, (200, "alice".to_owned()));
        }
    });
}

/// The same for visitors of HTTP/2.
#[test]
fn a_visitor_of_http2_has_connections_of_its_own_too() {
    run_http_by_each(|config| async {
        let (_, address) = Realm::start("NTLM").await;
        let server = RunningServer::start(config).await;
        let _client = server.client("a", address);
        server.wait_for_clients(1).await;
        let stream = TcpStream::connect(server.public()).await.unwrap();
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        tokio::task::spawn_local(connection);
        let mut challenge = String::from("hello");
        for expected in [401, 200] {
            let request = Request::builder()
                .uri("http://a.example/")
                .header(header::AUTHORIZATION, format!("NTLM {challenge}"));
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.status().as_u16(), expected);
            if let Some(value) = answer.headers().get(header::WWW_AUTHENTICATE) {
                let (_, number) = value.to_str().unwrap().split_once(' ').unwrap();
                challenge = format!("{number}:bob");
            }
            answer.into_body().collect().await.unwrap();
        }
        let mut stranger = Visitor::come(server.public()).await;
        assert_eq!(stranger.anonymous().await.0, 401);
    });
}
