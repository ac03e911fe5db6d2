//! Answers operators over HTTP/1.1: metrics and health. Knows no actor; what it tells, it reads.
//!
//! One request per connection, and each connection has one deadline: whoever is slow to ask, or to listen, is let
//! go. Everything runs on the workers, so that writing out thousands of series never delays a visitor's accept.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use super::{
    Readiness,
    routes::{Route, paths, route},
};
use crate::{
    env::{Env, Task},
    metrics,
    time::{self, Duration},
    transport::{Listener, Stream},
};

/// Connections at once; more are closed. An operator, a scraper and a few load balancers need a handful. More
/// takes descriptors from visitors; fewer lets a stuck one shut the others out.
const CONNECTIONS_MAX: usize = 64;

/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may take in all, from accept to the last byte of the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest head of a request, in bytes.
const HEAD_LEN_MAX: usize = 16 * 1024;

/// The most header fields of a request.
const HEADERS_MAX: usize = 64;

/// What all connections of one address share.
struct Api {
    env: Env,
    ready: Readiness,
    /// One scrape is written out at a time: many at once would take every worker from visitors.
    encoding: Semaphore,
}

/// Serves on `listener` until the task is dropped. `key` names the address in the log, as in the configuration.
pub fn start(env: &Env, key: &'static str, listener: Box<dyn Listener>, ready: Readiness) -> Task {
    let address = listener.local_addr();
    if !address.ip().is_loopback() {
        warn!(%address, "{key} is not loopback, and asks nobody who they are: whoever reaches it reads it");
    }
    let api = Api {
        env: env.clone(),
        ready,
        encoding: Semaphore::new(1),
    };
    env.spawn(serve(Arc::new(api), key, listener))
}

async fn serve(api: Arc<Api>, key: &'static str, mut listener: Box<dyn Listener>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let (stream, peer) = api.env.accept(&mut *listener, key).await;
        match Arc::clone(&places).try_acquire_owned() {
            Ok(place) => {
                let talk = talk(Arc::clone(&api), stream, peer, place);
                api.env.spawn(talk).detach();
            }
            Err(_) => api.env.metrics.connections_refused.inc("admin"),
        }
    }
}

/// One connection, from its request to the end of the answer.
async fn talk(api: Arc<Api>, stream: Box<dyn Stream>, peer: SocketAddr, _place: OwnedSemaphorePermit) {
    let service = service_fn(|request| answer(&api, request));
    let talking = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LEN_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .half_close(true)
        // The wall clock is not read.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    match time::within(CONNECTION_TIMEOUT, talking).await {
        Some(Ok(())) => {}
        Some(Err(error)) => debug!(%peer, %error, "admin connection failed"),
        None => debug!(%peer, "admin connection took too long"),
    }
}

async fn answer(api: &Api, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let response = match route(request.method().as_str(), request.uri().path()) {
        Route::Metrics => {
            // The semaphore is never closed.
            let _turn = api.encoding.acquire().await;
            let mut response = plain(StatusCode::OK, api.env.metrics.encode());
            let openmetrics = HeaderValue::from_static(metrics::CONTENT_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, openmetrics);
            response
        }
        Route::Health => plain(StatusCode::OK, "ok\n".to_owned()),
        Route::Ready => match api.ready.check() {
            Ok(()) => plain(StatusCode::OK, "ready\n".to_owned()),
            Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n")),
        },
        Route::Unknown => plain(
            StatusCode::NOT_FOUND,
            format!("nothing is here; there is: {}\n", paths()),
        ),
        Route::WrongMethod => {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            response
        }
    };
    Ok(response)
}

fn plain(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
