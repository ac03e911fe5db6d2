//! A request on its way: whom to try, what may be tried again, and how the answer goes back.

use std::{pin::pin, sync::Arc};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, Uri, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    request,
};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::{
    answer::{Body, Failure},
    answer_body::{AnswerBody, Held},
    body::{RequestBody, Side, TryBody},
    gateway::{Gateway, Route, Service},
    headers,
    interim::Asking,
    kept::{Kept, Lease, Place, TryError},
    login,
    record::{End, Record},
    upstream::{Asked, Speech},
};
use crate::{
    probe::{mutant, sometimes},
    selector::strategy::bound_to,
    session::{
        EMPTY_GROUP_TIMEOUT, Options as SessionOptions, Replay,
        attempts::{Attempts, Choice},
        open::OpenError,
        tunnel_stream::Stage,
        visitor_side::{Cause, Outcome},
    },
    target::{InFlight, Target, Tunnel},
    time::{self, Instant},
    wire::message::RefuseCode,
};

/// How often a request is sent to the same target again that it says it has not worked on. The last time it goes on a new
/// connection.
const AGAIN_MAX: usize = 3;

/// A request that is on its way.
pub(super) struct Errand<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) route: &'a Route,
    pub(super) service: &'a Service,
    pub(super) record: &'a Arc<Record>,
    pub(super) parts: request::Parts,
    pub(super) body: RequestBody,
    /// What the visitor speaks.
    pub(super) version: Version,
    pub(super) grpc: bool,
    /// Whether its visitor told who it is in a way that binds the connection, as the request came.
    pub(super) binds: bool,
    /// When its caller gives up.
    pub(super) deadline: Option<Instant>,
}

/// What an answer holds until its end.
struct Serving {
    kept: Kept,
    _in_flight: InFlight,
}

impl Held for Serving {
    fn let_go(self, whole: bool) {
        if whole {
            self.kept.give_back();
        } else {
            sometimes!("answer-was-not-read-to-its-end");
        }
    }
}

/// Whether a request may be made twice (RFC 9110, section 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    if mutant!("post-made-twice") {
        return true;
    }
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

impl Errand<'_> {
    /// Tries targets until one answers.
    pub(super) async fn run(&self) -> Result<Response<Body>, Failure> {
        let speech = self.route.speech.unwrap_or(match self.grpc {
            true => Speech::Http2,
            false => Speech::Http1,
        });
        let asked = self.ask(speech);
        let (response, kept, in_flight) = match self.deadline {
            None => asked.await?,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(time::now());
                let asked = time::within(left, asked).await;
                asked.ok_or_else(|| {
                    sometimes!("deadline-over-before-the-answer");
                    self.record.ended(End::Deadline);
                    Failure::Timeout
                })??
            }
        };
        Ok(self.pass_on(response, kept, in_flight))
    }

    /// The answer as the visitor gets it.
    pub(super) fn pass_on(
        &self,
        response: Response<Incoming>,
        kept: Kept,
        in_flight: InFlight,
    ) -> Response<Body> {
        let serving = Serving {
            kept: kept.bound_by(response.headers(), self.record.owner()),
            _in_flight: in_flight,
        };
        let (mut parts, incoming) = response.into_parts();
        // Each connection has a version of its own.
        parts.version = Version::HTTP_11;
        self.tidy(&mut parts.headers, &incoming);
        let body = AnswerBody::new(
            incoming,
            self.route.timeouts.idle,
            Arc::clone(self.record),
            serving,
        )
        .until(self.deadline, &self.body);
        Response::from_parts(parts, body.boxed_unsync())
    }

    /// What of an answer's head goes on. An answer to HEAD has a length and no body.
    fn tidy(&self, headers: &mut HeaderMap, incoming: &Incoming) {
        use http_body::Body as _;
        if !mutant!("answer-keeps-what-is-hop-by-hop") {
            headers::strip_hop_by_hop(headers);
        }
        let head = self.parts.method == Method::HEAD;
        sometimes!(head, "only-the-head-was-asked-for");
        if (!head || mutant!("length-left-out-of-a-bare-head")) && (head || !incoming.is_end_stream()) {
            headers.remove(CONTENT_LENGTH);
        }
    }

    /// The head of the answer, with what holds the connection it comes on.
    pub(super) async fn ask(&self, speech: Speech) -> Result<(Response<Incoming>, Kept, InFlight), Failure> {
        let service = self.service;
        service.budget.deposit(time::now());
        let replay = match is_idempotent(&self.parts.method) {
            true => Replay::Unacknowledged,
            false => Replay::RefusedOnly,
        };
        let options = SessionOptions {
            replay,
            ..service.opener.options
        };
        let is_here = |key: &_| service.group.active().member(key).is_some();
        let mut attempts = Attempts::new(time::now(), &options)
            .bound_to(bound_to(self.record.peer()))
            .preferring(self.record.owner().bound_to(is_here));
        let mut rng = self.gateway.env.entropy.rng();
        let mut last = Failure::NoTarget;
        loop {
            let active = service.group.active();
            match attempts.choose(time::now(), &active, service.strategy, &mut rng) {
                Choice::Try(target) => {
                    if self.record.asks(&target) > 1 {
                        sometimes!("request-tried-elsewhere");
                        let metrics = &self.gateway.env.metrics;
                        metrics.http_retries.inc();
                        self.route.figures(metrics).retries.inc();
                    }
                    let in_flight = target.gauges.begin();
                    let error = match self.try_on(&target, speech, &attempts).await {
                        Ok((response, _)) if headers::is_encoded(response.headers()) => {
                            return Err(Failure::Broken);
                        }
                        Ok((response, kept)) => return Ok((response, kept, in_flight)),
                        Err(error) => error,
                    };
                    last = self.judge(&error)?;
                    let outcome = outcome(&error);
                    if attempts.handle_failed(target.key(), outcome) && !service.budget.withdraw(time::now())
                    {
                        return Err(last);
                    }
                }
                Choice::Pause(pause) => time::sleep(pause).await,
                Choice::Empty => {
                    let left = attempts.deadline().saturating_duration_since(time::now());
                    let came = service.group.wait_for_target(service.waiting_max);
                    let came = time::within(EMPTY_GROUP_TIMEOUT.min(left), came).await;
                    came.flatten().ok_or_else(|| self.given_up(Failure::NoTarget))?;
                }
                Choice::GiveUp(_) => return Err(self.given_up(last)),
            }
        }
    }

    /// Says in the log that no target serves the request, and why.
    fn given_up(&self, failure: Failure) -> Failure {
        let service = self.service;
        (service.opener).turned_away(&service.group, self.record.peer(), failure.reason());
        failure
    }

    /// One target; on another connection where one that was kept turns out to be closed.
    async fn try_on(
        &self,
        target: &Arc<Target<Tunnel>>,
        speech: Speech,
        attempts: &Attempts,
    ) -> Result<(Response<Incoming>, Kept), TryError> {
        let connections = self.service.upstreams.of(target);
        let (mut fresh, mut left) = (false, AGAIN_MAX);
        loop {
            let asked = Asked {
                opener: &self.service.opener,
                target,
                place: Place {
                    home: &connections,
                    key: &target.key(),
                    owner: self.record.owner(),
                    binds: self.binds || login::binds(&self.parts.headers),
                },
                speech,
                visitor: self.record.peer(),
                deadline: attempts.deadline(),
                connect: self.route.timeouts.connect,
            };
            let lease = asked.lease(fresh).await;
            let lease = lease.inspect_err(|_| self.record.heard_back())?;
            let new = (!lease.is_reused()).then(|| lease.progress());
            self.record.connected(new);
            let sent = self.send(lease, speech).await;
            self.record.heard_back();
            match sent {
                Err(TryError::Stale) if !fresh && self.body.is_whole() => {
                    sometimes!("kept-connection-was-closed");
                    left = left.saturating_sub(1);
                    // Of those that many share it was the only one.
                    fresh = speech == Speech::Http1 || left == 0;
                }
                Err(TryError::NotProcessed) if left > 0 && self.body.is_whole() => {
                    sometimes!("request-not-processed");
                    left -= 1;
                    fresh = left == 0;
                }
                sent => return sent,
            }
        }
    }

    async fn send(&self, lease: Lease, speech: Speech) -> Result<(Response<Incoming>, Kept), TryError> {
        let mut request = Request::new(self.body.for_try());
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = self.parts.uri.clone();
        *request.headers_mut() = self.parts.headers.clone();
        match speech {
            Speech::Http1 => self.to_http1(&mut request),
            Speech::Http2 => to_http2(&mut request),
        }
        // HTTP/1.0 knows no interim answers; hyper says none over HTTP/2, and hears none. Plugins would not see them.
        let interim =
            self.version == Version::HTTP_11 && speech == Speech::Http1 && self.route.plugins.is_empty();
        let asking = interim.then(|| self.record.asking(&mut request));
        let sent = self.wait(lease.send(request), asking).await.and_then(|sent| sent);
        if sent.is_ok() {
            self.body.forget();
        }
        sent
    }

    /// Between HTTP/1 and HTTP/1 names keep their case, which hyper remembers besides. A body whose length is not known has
    /// to be asked for where such a method has none most of the time: hyper would leave it out.
    fn to_http1(&self, request: &mut Request<TryBody>) {
        use http_body::Body as _;
        if self.version != Version::HTTP_2 {
            *request.extensions_mut() = self.parts.extensions.clone();
        }
        let rarely = matches!(*request.method(), Method::GET | Method::HEAD);
        if rarely && !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
            let chunked = HeaderValue::from_static("chunked");
            request.headers_mut().insert(TRANSFER_ENCODING, chunked);
        }
    }

    /// Waits for an answer as long as something moves: the request's body, or what an upstream says before it answers. It
    /// does so in the task that writes to the visitor, which looks whenever an upstream has said something.
    ///
    /// # Errors
    /// Whoever did not move in time.
    async fn wait<T>(&self, answer: impl Future<Output = T>, asking: Option<Asking>) -> Result<T, TryError> {
        let timeouts = &self.route.timeouts;
        let mut answer = pin!(answer);
        let mut moved = time::now();
        loop {
            let came = async {
                match &asking {
                    Some(asking) => asking.came().await,
                    None => std::future::pending().await,
                }
            };
            let (whose, since) = self.body.waited_for(moved);
            let most = match whose {
                Side::Visitor => timeouts.request_body,
                Side::Upstream => timeouts.first_byte,
            };
            // Nobody says when the other side's turn comes: it may have less time.
            let look = time::now() + timeouts.first_byte.min(timeouts.request_body);
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer),
                () = came => {
                    if !mutant!("interim-answer-is-no-sign-of-life") {
                        moved = time::now();
                    }
                }
                () = time::sleep_until(look.min(since + most)) => {
                    let is_over = time::now() >= since + most;
                    if is_over && self.body.waited_for(moved) == (whose, since) {
                        if mutant!("answer-clock-begins-anew") {
                            moved = time::now();
                            continue;
                        }
                        return Err(match whose {
                            Side::Visitor => TryError::BodyTimeout,
                            Side::Upstream => TryError::Timeout,
                        });
                    }
                }
            }
        }
    }

    /// What a failed try means for the visitor, unless somebody else serves it.
    ///
    /// # Errors
    /// The same, where nobody else may be tried.
    fn judge(&self, error: &TryError) -> Result<Failure, Failure> {
        if self.body.is_too_large() {
            return Err(Failure::TooLarge);
        }
        if self.body.is_broken() {
            return Err(Failure::Bad(http::StatusCode::BAD_REQUEST, "bad_body"));
        }
        let failure = match error {
            TryError::Open(OpenError::TooMany) => {
                return Err(self.given_up(Failure::TooManyUpstreamConnections));
            }
            TryError::Open(OpenError::NoWay) => Failure::Unreachable,
            TryError::Broken(Stage::Refused | Stage::Gone) => Failure::Unreachable,
            TryError::Broken(_) | TryError::Stale | TryError::NotProcessed => Failure::Broken,
            // Whoever works on it may be at it still.
            TryError::Timeout => return Err(Failure::Timeout),
            TryError::BodyTimeout => return Err(Failure::BodyTimeout),
        };
        match self.body.is_whole() || mutant!("body-that-was-not-kept-said-again") {
            true => Ok(failure),
            false => Err(failure),
        }
    }
}

/// A try that failed, as a session that did not start.
fn outcome(error: &TryError) -> Outcome {
    let (cause, ambiguous) = match error {
        TryError::Open(_) | TryError::Broken(Stage::Gone) => (Cause::Broken, false),
        // Who has refused it again and again is not asked once more.
        TryError::Broken(Stage::Refused) | TryError::NotProcessed => {
            (Cause::Refused(RefuseCode::Unreachable), false)
        }
        TryError::Stale => (Cause::Broken, false),
        TryError::Broken(_) | TryError::Timeout | TryError::BodyTimeout => (Cause::Broken, true),
    };
    Outcome::NotStarted { cause, ambiguous }
}

/// The authority takes the place of the host, and everything says its scheme.
fn to_http2(request: &mut Request<TryBody>) {
    let host = request.headers_mut().remove(http::header::HOST);
    let authority = host
        .as_ref()
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    let path = if path == "*" { "/" } else { path };
    let uri = Uri::builder()
        .scheme("http")
        .authority(authority)
        .path_and_query(path);
    if let Ok(uri) = uri.build() {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = Version::HTTP_2;
}
