//! Upstreams and visitors that speak HTTP.

use std::{convert::Infallible, net::SocketAddr};

use adit::{
    config::{ServerConfig, ServerFlags, Source, build_server},
    entry::{self, http::Options},
    session::{Carriage, Overflow, Replay},
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The body of an upstream's answer.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A body that is there.
pub fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed_unsync()
}

/// A server whose one entry speaks HTTP.
pub fn http_config() -> ServerConfig {
    let mut config = super::server_config();
    let public = &mut config.entries[0];
    public.session.carry = Carriage::Mux;
    public.session.replay = Replay::RefusedOnly;
    public.kind = entry::Kind::Http(Options {
        falls_back: true,
        groups: [(public.group.clone(), public.session)].into(),
        ..Options::default()
    });
    config
}

/// A server of the entries and rules of this file, patient as tests are.
pub fn configured(file: &str) -> ServerConfig {
    let source = Source::parse_named(std::path::Path::new("server.yaml"), file).unwrap();
    let read = build_server(&source, &ServerFlags::default(), &|_| None);
    let read = read.unwrap_or_else(|error| panic!("{error}")).config;
    let mut config = http_config();
    config.entries = read.entries;
    config.rules = read.rules;
    let patient = super::patient();
    for entry in &mut config.entries {
        if let entry::Kind::Http(options) = &mut entry.kind {
            for session in options.groups.values_mut() {
                session.answer_timeout = patient.answer_timeout;
                session.start_timeout = patient.start_timeout;
            }
        }
    }
    config
}

/// Runs a test once for each kind of connection that may carry requests.
pub fn run_http_by_each<F: Future<Output = ()>>(test: impl Fn(ServerConfig) -> F) {
    for carry in [Carriage::Mux, Carriage::Dedicated] {
        let mut config = http_config();
        let public = &mut config.entries[0];
        public.session.carry = carry;
        public.session.overflow = Overflow::Wait;
        let session = public.session;
        if let entry::Kind::Http(options) = &mut public.kind {
            options.groups.values_mut().for_each(|each| *each = session);
        }
        eprintln!("carried: {carry:?}");
        super::run(|| test(config));
    }
}

/// An upstream of HTTP/1 and HTTP/2 that answers each request with `answer`.
pub async fn http_upstream<F, Fut>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    super::upstream(move |stream| {
        let answer = answer.clone();
        async move {
            // Head and body are written apart.
            let _ = stream.set_nodelay(true);
            let answer = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let mut server = auto::Builder::new(TokioExecutor::new());
            server.http2().enable_connect_protocol();
            let talk = server.serve_connection_with_upgrades(TokioIo::new(stream), answer);
            // Visitors go as they like.
            let _ = talk.await;
        }
    })
    .await
}

/// An upstream that says its name.
pub async fn named_upstream(name: &'static str) -> SocketAddr {
    http_upstream(move |_| async move { Response::new(full(name)) }).await
}

/// What HTTP/1 clients say that would rather speak HTTP/2 (RFC 7540, section 3.2).
pub const OFFER: &str =
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n";

/// An upstream that gives this answer as soon as it hears anything, and takes the rest as servers do that close: it is not gone
/// before whoever speaks has come to its end.
pub async fn hasty_upstream(answer: &'static [u8]) -> SocketAddr {
    super::upstream(move |mut stream| async move {
        let mut some = [0; 1024];
        let _ = stream.read(&mut some).await;
        let _ = stream.write_all(answer).await;
        let _ = stream.shutdown().await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await
}

/// Sends `bytes` and reads what comes until the other side closes, or falls silent for a while.
pub async fn exchange(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    // It may be refused half-way.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read) = stream.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of the first answer in what came; `None` where there is none.
pub fn status(answer: &str) -> Option<u16> {
    answer
        .strip_prefix("HTTP/1.1 ")
        .or(answer.strip_prefix("HTTP/1.0 "))?
        .get(..3)?
        .parse()
        .ok()
}

/// Says what it got, as text.
pub async fn mirror(request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut headers: Vec<_> = parts
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    let said = format!(
        "{} {} {:?}\n{}\n\n{}",
        parts.method,
        parts.uri,
        parts.version,
        headers.join("\n"),
        String::from_utf8_lossy(&body)
    );
    Response::new(full(said))
}
