//! What is noted of a request from its head to the end of its answer, and told when it is over, however it ends.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderMap, HeaderValue, Method, Request};

use super::{
    access::{AccessLog, Head, Line, Times},
    forwarded::Origin,
    gateway::{Route, Visitor},
    interim::Asking,
    kept::Owner,
    open::Received,
};
use crate::{
    env::Env,
    id::EntryName,
    metrics::{Class, Counted, Hop},
    probe::{audit, mutant, sometimes},
    session::tunnel_stream::Progress,
    target::{Reach, Target, Tunnel},
    time::{self, Instant},
};

#[allow(
    clippy::disallowed_types,
    reason = "one lock per request, which hardly ever two tasks want"
)]
type Lock<T> = std::sync::Mutex<T>;

/// Where the requests of one entry are told of.
pub struct Books {
    /// The world.
    pub env: Env,
    /// The entry.
    pub entry: EntryName,
    /// A line for each request, if anybody wants that.
    pub log: Option<AccessLog>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// The visitor left before it had everything.
    #[default]
    VisitorLeft,
    /// It was answered to its end.
    Whole,
    /// The answer broke off at its upstream; an upgraded connection, at either side.
    Broke,
    /// Nothing of the answer came for too long.
    Idle,
    /// The time that its caller gave was over.
    Deadline,
}

impl End {
    fn word(self) -> &'static str {
        match self {
            Self::VisitorLeft => "visitor_left",
            Self::Whole => "whole",
            Self::Broke => "broke",
            Self::Idle => "idle",
            Self::Deadline => "deadline",
        }
    }
}

/// One request. Whoever works on it holds it; when nobody does any more it is over.
pub struct Record {
    books: Arc<Books>,
    began: Instant,
    visitor: Visitor,
    client: IpAddr,
    is_head: bool,
    /// There if there is a log.
    head: Option<Box<Head>>,
    received: Arc<AtomicU64>,
    sent: AtomicU64,
    notes: Lock<Notes>,
    _shown: Counted,
}

/// What becomes known of a request on its way.
struct Notes {
    route: Option<Arc<Route>>,
    target: Option<Arc<Target<Tunnel>>>,
    tries: u32,
    /// It had to start a connection of its own.
    started: bool,
    status: Option<u16>,
    user: Option<String>,
    reason: Option<&'static str>,
    request_id: Option<String>,
    grpc_status: Option<HeaderValue>,
    end: End,
    times: Times,
    /// Tells when the connection that began with it was started.
    progress: Option<Progress>,
    /// Where its time goes now; nowhere once the head of the answer has gone out.
    at: Option<Hop>,
    /// Up to when its time is accounted for.
    accounted: Instant,
}

impl Notes {
    /// The time since the last time was spent at `hop`, and what comes goes to `next`.
    fn lap(&mut self, hop: Hop, next: Option<Hop>) {
        let now = time::now();
        self.times.add(hop, now - self.accounted);
        if !mutant!("time-counted-twice") {
            self.accounted = now;
        }
        self.at = next;
    }

    /// The time that is not accounted for yet goes where it was spent, and what comes goes to `next`. Of a connection that
    /// began with this request a part was its start.
    fn close(&mut self, next: Option<Hop>) {
        let Some(at) = self.at else {
            return;
        };
        let start = self.progress.take().and_then(|progress| progress.start());
        match start.filter(|_| at == Hop::Start) {
            None => self.lap(at, next),
            Some(start) => {
                let start = start.min(time::now() - self.accounted);
                self.times.add(Hop::Start, start);
                self.accounted += start;
                self.lap(Hop::FirstByte, next);
            }
        }
    }
}

impl Record {
    /// A request that has come just now.
    pub fn new<B>(books: &Arc<Books>, visitor: Visitor, request: &Request<B>) -> Self {
        visitor.open.begin();
        let shown = &books.env.metrics.http_open_requests;
        if mutant!("request-open-for-ever") {
            std::mem::forget(Counted::new(shown));
        }
        let now = time::now();
        Self {
            began: now,
            client: match mutant!("log-names-the-proxy") {
                false => visitor.origin.client(request.headers()),
                true => visitor.origin.peer(),
            },
            is_head: request.method() == Method::HEAD,
            head: books.log.as_ref().map(|log| Box::new(log.head(request))),
            received: Arc::default(),
            sent: AtomicU64::new(0),
            notes: Lock::new(Notes {
                route: None,
                target: None,
                tries: 0,
                started: false,
                status: None,
                user: None,
                reason: None,
                request_id: None,
                grpc_status: None,
                end: End::default(),
                times: Times::default(),
                progress: None,
                at: Some(Hop::Queue),
                accounted: now,
            }),
            _shown: Counted::new(shown),
            books: Arc::clone(books),
            visitor,
        }
    }

    fn note<T>(&self, note: impl FnOnce(&mut Notes) -> T) -> T {
        note(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether only the head of its answer is asked for.
    pub fn is_head(&self) -> bool {
        self.is_head
    }

    /// When its head was there.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Who asks: the peer, or whom a trusted proxy names.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// Whether its body has both a length and an encoding.
    pub fn is_framed_twice(&self) -> bool {
        self.visitor.open.is_framed_twice()
    }

    /// Its connection becomes something else, unless it is one of HTTP/2.
    pub fn upgrade(&self) {
        self.visitor.open.upgrade();
    }

    /// Ends its connection behind its answer if the node drains. True if the answer has to say so: HTTP/2 has GOAWAY for
    /// that.
    pub fn ends_connection(&self) -> bool {
        let open = &self.visitor.open;
        let last = open.is_closing() && !open.is_http2();
        if last {
            open.say_last();
        }
        last
    }

    /// The connections to upstreams that its visitor's connection has to itself.
    pub fn owner(&self) -> &Arc<Owner> {
        &self.visitor.owner
    }

    /// Lets the upstream that is sent `request` speak to the visitor before it answers.
    pub fn asking<B>(&self, request: &mut Request<B>) -> Asking {
        Asking::begin(&self.visitor.open.interim, request)
    }

    /// Whom it is from, as its upstream is told.
    pub fn origin(&self) -> &Origin {
        &self.visitor.origin
    }

    /// Who the connection is from.
    pub fn peer(&self) -> SocketAddr {
        self.visitor.peer
    }

    /// The rule it falls under.
    pub fn fell_under(&self, route: &Arc<Route>) {
        route.figures(&self.books.env.metrics).open.inc();
        self.note(|notes| notes.route = Some(Arc::clone(route)));
    }

    /// There is a connection. A new one says how far it is.
    pub fn connected(&self, new: Option<Progress>) {
        self.note(|notes| {
            notes.started |= new.is_some();
            let next = if new.is_some() { Hop::Start } else { Hop::FirstByte };
            notes.progress = new;
            notes.lap(Hop::Pool, Some(next));
        });
    }

    /// The head of an answer is there, or the try has failed at whatever it waited for.
    pub fn heard_back(&self) {
        self.note(|notes| notes.close(Some(Hop::Queue)));
    }

    /// `target` is asked now; says how many were, with it.
    pub fn asks(&self, target: &Arc<Target<Tunnel>>) -> u32 {
        self.note(|notes| {
            let waited_at = match mutant!("queue-charged-to-pool") {
                true => Hop::Pool,
                false => Hop::Queue,
            };
            notes.lap(waited_at, Some(Hop::Pool));
            notes.target = Some(Arc::clone(target));
            notes.tries += 1;
            notes.tries
        })
    }

    /// A plugin has proved who asks.
    pub fn is_from(&self, user: &str) {
        if self.head.is_some() {
            self.note(|notes| notes.user = Some(super::access::shown(user)));
        }
    }

    /// The entry fails it, or a plugin refuses it, and why.
    pub fn failed(&self, reason: &'static str) {
        self.note(|notes| notes.reason = Some(reason));
    }

    /// A plugin gave it an id.
    pub fn named(&self, id: &str) {
        if self.head.is_some() {
            self.note(|notes| notes.request_id = Some(id.to_owned()));
        }
    }

    /// The head of the answer goes out.
    pub fn answered(&self, status: u16) {
        self.visitor.open.answer();
        self.note(|notes| {
            notes.status = Some(status);
            notes.close(None);
        });
    }

    /// Where the time has gone up to now.
    pub fn times(&self) -> Times {
        let so_far = time::now() - self.began;
        self.note(|notes| {
            let mut times = notes.times;
            times.add(Hop::Total, so_far);
            times
        })
    }

    /// The headers or trailers of an answer may say how a call of gRPC ended.
    pub fn heard(&self, headers: &HeaderMap) {
        if self.head.is_some()
            && let Some(status) = headers.get("grpc-status")
        {
            self.note(|notes| notes.grpc_status = Some(status.clone()));
        }
    }

    /// Counts the bytes of its body that come. That may take longer than the request.
    pub fn received(&self) -> Received {
        Received::new(Arc::clone(&self.received), Arc::clone(&self.visitor.open))
    }

    /// Waits until what was said on its connection is written, but not for long.
    pub fn written(&self) -> impl Future<Output = ()> + Send + 'static {
        Arc::clone(&self.visitor.open.turns).written()
    }

    /// Bytes of the answer's body have gone.
    pub fn add_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// It has ended, and how. What ended with its deadline has, whatever is said of it then.
    pub fn ended(&self, end: End) {
        self.note(|notes| {
            if notes.end != End::Deadline {
                notes.end = end;
            }
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.visitor.open.end();
        let Books { env, entry, log } = &*self.books;
        let total = time::now() - self.began;
        let notes = self.notes.get_mut().unwrap_or_else(PoisonError::into_inner);
        notes.close(None);
        notes.times.add(Hop::Total, total);
        sometimes!(notes.status.is_none(), "visitor-left-before-the-answer");
        if let Some(route) = &notes.route {
            let figures = route.figures(&env.metrics);
            if notes.status.is_some() || !mutant!("left-request-open-in-its-rule") {
                let before = figures.open.dec();
                audit!(before > 0, "a request that ends was open in its rule");
            }
            figures.answered(Class::of(notes.status));
            for hop in Hop::ALL {
                let passed = match hop {
                    Hop::Total => true,
                    Hop::Start => notes.started,
                    Hop::Queue | Hop::Pool | Hop::FirstByte => notes.tries > 0,
                };
                if passed {
                    figures.passed(hop, notes.times.of(hop));
                }
            }
        }
        let (Some(log), Some(head)) = (log, &self.head) else {
            return;
        };
        if mutant!("request-not-logged") && notes.tries > 1 || !log.wants(notes.status, env) {
            return;
        }
        let line = Line {
            time: env.wall.now() - total,
            entry: entry.as_str(),
            client: self.client,
            peer: self.visitor.peer,
            head,
            status: notes.status,
            end: notes.end.word(),
            received: self.received.load(Ordering::Relaxed),
            sent: *self.sent.get_mut(),
            rule: notes.route.as_ref().map(|route| route.name.as_str()),
            group: notes.route.as_ref().map(|route| route.group.as_str()),
            target: notes.target.as_ref().map(|target| target.reach.name()),
            tries: notes.tries,
            user: notes.user.as_deref(),
            reason: notes.reason,
            request_id: notes.request_id.as_deref(),
            grpc_status: notes.grpc_status.as_ref().and_then(|status| status.to_str().ok()),
            times: notes.times,
        };
        log.write(&line, env);
    }
}
