//! Where a request goes: which group, and what to say where nobody serves it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONNECTION, CONTENT_LENGTH},
    request,
};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::sync::OwnedSemaphorePermit;
use tracing::info;

use super::{
    Timeouts,
    answer::{self, Body, Failure},
    answer_body::OwnBody,
    body::RequestBody,
    errand::Errand,
    forwarded::Origin,
    grpc, headers,
    kept::Owner,
    login,
    open::OpenRequests,
    pages::Pages,
    record::{Books, End, Record},
    retry::RetryBudget,
    upgrade::{self, Wanted},
    upstream::{Speech, Upstreams},
};
use crate::{
    env::{Env, Stop, Task},
    id::GroupName,
    metrics::{BudgetSeries, Class, Metrics, RuleFigures, RuleSeries, TrafficSeries},
    notice::times,
    plugin::{Chain, Decision, Memo, Visit},
    probe::{mutant, sometimes},
    rules::{Matcher, Query},
    selector::{Strategy, group::Group},
    session::open::Opener,
    target::Tunnel,
    time,
};

/// Says where the time went (W3C, Server Timing).
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// What all requests of one entry share.
pub struct Gateway {
    /// The world.
    pub env: Env,
    /// Says when the entry accepts nobody any more: in a drain, after its delay.
    pub closed: Stop,
    /// Where visitors are counted, before they have asked for any group.
    pub traffic: TrafficSeries,
    /// Which requests go where.
    pub rules: Matcher<Arc<Route>>,
    /// Where requests go that no rule is for.
    pub fallback: Option<Arc<Route>>,
    /// The groups that requests may go to.
    pub services: BTreeMap<GroupName, Arc<Service>>,
    /// Where requests are told of.
    pub books: Arc<Books>,
    /// How it looks where the entry fails a request that no rule is for.
    pub pages: Pages,
    /// Whether answers say where the time went.
    pub server_timing: bool,
    /// Whether upstreams are told in `Via` which proxies a request has passed.
    pub via: bool,
}

/// Where a request goes, and how.
#[derive(Debug)]
pub struct Route {
    /// What the rule is called.
    pub name: String,
    /// The group.
    pub group: GroupName,
    /// What its upstreams speak; `None` is HTTP/2 for gRPC, and HTTP/1 for everything else.
    pub speech: Option<Speech>,
    /// How long its upstreams are waited for.
    pub timeouts: Timeouts,
    /// What is done on the way.
    pub plugins: Chain,
    /// How it looks where the entry fails a request.
    pub pages: Pages,
    /// What is shown of its requests, from the first one on.
    pub figures: OnceLock<RuleSeries>,
}

/// A group as requests use it.
pub struct Service {
    /// Who may be used.
    pub group: Arc<Group<Tunnel>>,
    /// How one is chosen.
    pub strategy: Strategy,
    /// How they are reached.
    pub opener: Opener,
    /// The connections to them.
    pub upstreams: Arc<Upstreams>,
    /// What may be tried again.
    pub budget: Arc<RetryBudget>,
    /// How many may wait while it is empty.
    pub waiting_max: usize,
    /// Closes what is idle, as long as it lives.
    pub retiring: Task,
    _shown: BudgetSeries,
}

/// One visitor's connection, as far as its requests need to know. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Its address.
    pub peer: SocketAddr,
    /// Whom its requests are from.
    pub origin: Arc<Origin>,
    /// Its requests that are not answered to their end.
    pub open: Arc<OpenRequests>,
    /// The connections to upstreams that it has to itself.
    pub owner: Arc<Owner>,
    /// Counts the connection against the limit.
    pub slot: Arc<OwnedSemaphorePermit>,
}

impl Route {
    /// What is shown of its requests.
    pub fn figures(&self, metrics: &Metrics) -> &RuleFigures {
        self.figures
            .get_or_init(|| metrics.http_rules.join(self.group.as_str(), &self.name))
    }
}

impl Service {
    /// A group that `opener` reaches; at most `waiting_max` requests may wait while it is empty.
    pub fn new(group: Arc<Group<Tunnel>>, strategy: Strategy, waiting_max: usize, opener: Opener) -> Self {
        let upstreams = Arc::<Upstreams>::default();
        let budget = Arc::<RetryBudget>::default();
        let left = {
            let budget = Arc::clone(&budget);
            move || budget.left(time::now())
        };
        let shown = &opener.env.metrics.http_retry_budgets;
        Self {
            _shown: shown.join(opener.entry.as_str(), group.name().as_str(), left),
            strategy,
            retiring: opener
                .env
                .spawn(Arc::clone(&upstreams).retire_for_ever(Arc::clone(&group))),
            group,
            upstreams,
            budget,
            waiting_max,
            opener,
        }
    }
}

impl Gateway {
    /// Answers one request. It has begun when this returns, before anything of its body is read.
    ///
    /// # Errors
    /// Never: what goes wrong is an answer.
    pub fn handle(
        self: Arc<Self>,
        visitor: Visitor,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> {
        let record = Arc::new(Record::new(&self.books, visitor, &request));
        async move { Ok(self.respond(request, &record).await) }
    }

    async fn respond(&self, request: Request<Incoming>, record: &Arc<Record>) -> Response<Body> {
        let grpc = grpc::is_grpc(request.headers());
        let response = match self.find(&request, record) {
            Ok((host, route)) => {
                record.fell_under(&route);
                let mut memo = Memo::default();
                let answered = self
                    .answer(request, (&host, &route), &mut memo, record, grpc)
                    .await;
                let unseen =
                    answered.is_err() && !route.plugins.is_empty() && mutant!("own-failures-bypass-plugins");
                let grpc = grpc && !mutant!("failed-call-answered-with-status");
                let response =
                    answered.unwrap_or_else(|failure| self.failed(failure, grpc, &route.pages, record));
                let (mut parts, body) = response.into_parts();
                if !unseen {
                    route.plugins.response(&memo, &mut parts);
                }
                Response::from_parts(parts, body)
            }
            Err(failure) => self.failed(failure, grpc, &self.pages, record),
        };
        self.sign(response, record)
    }

    /// Counts and logs a visitor whose connection is not taken.
    pub fn turned_away(&self, visitor: SocketAddr, reason: &'static str) {
        self.env.metrics.session_outcomes.inc(reason);
        let entry = self.books.entry.clone();
        self.env.notice("visitor", format!("{entry} {reason}"), move |n| {
            info!(%entry, %visitor, reason, times = times(n), "visitor turned away");
        });
    }

    /// The whole answer to what is no head of a request, as HTTP/1 has it: its reader refuses that with `status`, and says
    /// no more.
    pub fn refusal(&self, status: StatusCode) -> Bytes {
        let mut response = answer::failed(refusal(status), false);
        self.pages.dress(&mut response);
        let (parts, body) = response.into_parts();
        let words = status.canonical_reason().unwrap_or_default();
        let mut text = format!("HTTP/1.1 {} {words}\r\nconnection: close\r\n", status.as_u16()).into_bytes();
        for (name, value) in &parts.headers {
            if name != CONTENT_LENGTH {
                text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
            }
        }
        text.extend(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        text.extend(body);
        text.into()
    }

    /// Counts and logs a request whose head was refused with `status`. Nothing is known of it.
    pub fn refused(&self, visitor: Visitor, status: StatusCode) {
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(b"-").unwrap_or_default();
        let record = Record::new(&self.books, visitor, &request);
        let reason = refusal(status).reason();
        self.env.metrics.http_failures.inc(reason);
        self.env
            .metrics
            .http_answers
            .inc(Class::of(Some(status.as_u16())).label());
        record.failed(reason);
        record.answered(status.as_u16());
        record.ended(End::Whole);
    }

    /// What is noted of every answer, and said of it.
    fn sign(&self, mut response: Response<Body>, record: &Record) -> Response<Body> {
        let status = response.status().as_u16();
        record.answered(status);
        record.heard(response.headers());
        if response.status() != StatusCode::SWITCHING_PROTOCOLS && record.ends_connection() {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.env.metrics.http_answers.inc(Class::of(Some(status)).label());
        if self.server_timing
            && let Some(timing) = record.times().server_timing()
        {
            response.headers_mut().append(SERVER_TIMING, timing);
        }
        response
    }

    /// The answer to a request that failed.
    fn failed(&self, failure: Failure, grpc: bool, pages: &Pages, record: &Arc<Record>) -> Response<Body> {
        self.env.metrics.http_failures.inc(failure.reason());
        record.failed(failure.reason());
        let mut response = answer::failed(failure, grpc);
        if !grpc {
            pages.dress(&mut response);
        }
        own(response, record)
    }

    /// The host that a request names, and where it goes.
    fn find(&self, request: &Request<Incoming>, record: &Record) -> Result<(String, Arc<Route>), Failure> {
        if record.is_framed_twice() && !mutant!("body-framed-twice-served") {
            sometimes!("body-framed-twice");
            return Err(Failure::Bad(StatusCode::BAD_REQUEST, "framed_twice"));
        }
        if *request.method() == Method::CONNECT && !upgrade::is_websocket(request) {
            return Err(bad(headers::BadRequest::Connect));
        }
        if headers::is_encoded(request.headers()) {
            return Err(bad(headers::BadRequest::Encoding));
        }
        let host = headers::host(request.version(), request.uri(), request.headers()).map_err(bad)?;
        let found = match self.rules.is_empty() {
            true => None,
            false => {
                let refused = |_| Failure::Bad(StatusCode::BAD_REQUEST, "bad_path");
                // `OPTIONS *` asks about all of a server.
                let path = Some(request.uri().path())
                    .filter(|path| *path != "*")
                    .unwrap_or("/");
                let method = request.method();
                // Who names no host falls under no rule that asks for one.
                let named = host.as_deref().unwrap_or_default();
                let query = Query::new(named, path, method, request.headers()).map_err(refused)?;
                self.rules.find(&query).map(|found| Arc::clone(found.value))
            }
        };
        let route = found.or_else(|| self.fallback.clone()).ok_or(Failure::NoRule)?;
        Ok((host.unwrap_or_else(|| headers::NO_HOST.to_owned()), route))
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        (host, route): (&str, &Arc<Route>),
        memo: &mut Memo,
        record: &Arc<Record>,
        grpc: bool,
    ) -> Result<Response<Body>, Failure> {
        let timeout = grpc.then(|| grpc::timeout(request.headers())).flatten();
        let wanted = Wanted::of(&mut request);
        let version = request.version();
        let (mut parts, incoming) = request.into_parts();
        let binds = login::binds(&parts.headers);
        headers::to_origin_form(&mut parts).map_err(bad)?;
        headers::forward(&mut parts.headers, version, host, record.origin(), self.via).map_err(bad)?;
        if !route.plugins.is_empty() {
            let visit = Visit {
                now: time::now(),
                peer: record.client(),
                secure: record.origin().is_secure(),
                fresh: u128::from_le_bytes(self.env.entropy.bytes()),
            };
            let answered = self
                .pass_plugins(route, &mut parts, &visit, memo, record, grpc)
                .await;
            if let Some(id) = memo.request_id() {
                record.named(id);
            }
            if let Some(user) = memo.user() {
                record.is_from(user);
            }
            let answered = answered?;
            if let Some(response) = answered {
                return Ok(own(response, record));
            }
        }
        // How long it is, its body says; how it is framed is each connection's own business. That there is none it says
        // itself: without a word of it some servers answer 411.
        let said = parts.headers.contains_key(CONTENT_LENGTH);
        match incoming.is_end_stream() {
            true if said => drop(parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(0))),
            _ => drop(parts.headers.remove(CONTENT_LENGTH)),
        }
        let service = match mutant!("every-request-to-first-group") {
            false => self.services.get(&route.group),
            true => self.services.values().next(),
        };
        let service = service.ok_or(Failure::NoRule)?;
        let body_max = route.plugins.body_limit();
        let errand = Errand {
            gateway: self,
            route,
            service,
            record,
            parts,
            body: match &wanted {
                Some(wanted) if wanted.is_extended() => RequestBody::none(),
                _ => RequestBody::new(incoming, body_max, record.received()),
            },
            version,
            grpc,
            binds,
            deadline: timeout.map(|timeout| record.began() + timeout),
        };
        match wanted {
            Some(wanted) if wanted.is_for(route.speech) => errand.upgrade(wanted).await,
            _ => errand.run().await,
        }
    }

    /// Shows a request to the plugins of its rule; an answer is one that they give themselves.
    async fn pass_plugins(
        &self,
        route: &Route,
        parts: &mut request::Parts,
        visit: &Visit,
        memo: &mut Memo,
        record: &Record,
        grpc: bool,
    ) -> Result<Option<Response<Bytes>>, Failure> {
        loop {
            let refusal = match route.plugins.request(parts, visit, memo) {
                Decision::Pass => return Ok(None),
                Decision::Answer(response) => return Ok(Some(*response)),
                Decision::Refuse(refusal) => refusal,
                Decision::Verify(check) => match self.env.blocking(move || check.run()).await {
                    Some(Ok(proof)) => {
                        memo.verified(proof);
                        continue;
                    }
                    Some(Err(refusal)) => refusal,
                    None => return Err(Failure::Overload),
                },
            };
            self.env.metrics.http_refusals.inc(refusal.plugin);
            route.figures(&self.env.metrics).refused(refusal.plugin);
            record.failed(refusal.reason);
            let mut response = refusal.into_response();
            if !grpc {
                route.pages.dress(&mut response);
            }
            return Ok(Some(response));
        }
    }
}

fn bad(request: headers::BadRequest) -> Failure {
    let reason = match request {
        headers::BadRequest::Host => "bad_host",
        headers::BadRequest::HostsDiffer => "hosts_differ",
        headers::BadRequest::Path => "bad_path",
        headers::BadRequest::Connect => "connect",
        headers::BadRequest::Encoding => "transfer_encoding",
        headers::BadRequest::Loop => "loop",
    };
    Failure::Bad(request.status(), reason)
}

/// Why a head is refused that hyper answers with `status`.
fn refusal(status: StatusCode) -> Failure {
    let reason = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "head_too_large",
        _ => "bad_head",
    };
    Failure::Bad(status, reason)
}

/// An answer of the entry itself.
fn own(response: Response<Bytes>, record: &Arc<Record>) -> Response<Body> {
    response.map(|text| OwnBody::new(text, Arc::clone(record)).boxed_unsync())
}
