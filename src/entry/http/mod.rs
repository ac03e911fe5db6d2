//! A public HTTP address: HTTP/1.1 and HTTP/2, told apart by how a connection begins. Requests are balanced one by one.

pub mod access;
pub mod answer;
mod answer_body;
pub mod body;
mod claims;
mod connection;
mod errand;
pub mod forwarded;
pub mod gateway;
pub mod grpc;
pub mod headers;
mod heads;
mod interim;
mod kept;
mod login;
pub mod network;
pub mod open;
pub mod pages;
pub mod record;
pub mod retry;
pub mod stream;
mod turns;
pub mod upgrade;
pub mod upstream;

use std::{
    collections::BTreeMap,
    future::poll_fn,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::Poll,
};

use http::{Request, Version};
use hyper::{body::Incoming, service::service_fn, upgrade::OnUpgrade};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::AsyncWriteExt,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tracing::debug;

use self::{
    forwarded::Origin,
    gateway::{Gateway, Visitor},
    network::Network,
    open::OpenRequests,
    pages::Pages,
    stream::VisitorStream,
    upstream::Spawned,
};
use crate::{
    env::{Stop, StopPhase},
    id::GroupName,
    probe::{mutant, sometimes},
    session::{self, raw::RawStream},
    time::{self, Duration},
    transport::{Listener, Stream},
};

/// What is particular to an HTTP entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Whose word for whom they speak counts. Default nobody.
    pub trusted: Vec<Network>,
    /// How long an upstream may take to begin its answer.
    pub timeouts: Timeouts,
    /// Whether requests that no rule is for go to the entry's own group.
    pub falls_back: bool,
    /// The groups that its requests may go to, and how sessions with their upstreams behave.
    pub groups: BTreeMap<GroupName, session::Options>,
    /// A line for each request. Default none.
    pub access: Option<access::Options>,
    /// Whether answers say where the time went. Default no.
    pub server_timing: bool,
    /// Whether upstreams are told in `Via` which proxies a request has passed. Default no.
    pub via: bool,
    /// How it looks where the entry fails a request. Default in words.
    pub pages: Pages,
}

/// How long an upstream is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the client to connect its upstream; `None`, the default, is as long as in any session.
    pub connect: Option<Duration>,
    /// From the end of a request to the head of its answer, or while nothing of the request's body is taken. Default 60 s.
    pub first_byte: Duration,
    /// For a visitor to go on with the body of its request. Default 60 s.
    pub request_body: Duration,
    /// Within the body of an answer; `None`, the default, is for ever.
    pub idle: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: None,
            first_byte: Duration::from_secs(60),
            request_body: Duration::from_secs(60),
            idle: None,
        }
    }
}

/// How long the head of a request may take, from its first byte or from the connection's begin.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may wait for its next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How much longer one of HTTP/2 may wait on which something is written: an answer is over before all of it is taken, and
/// so is the answer to a PING.
const PINGING_MAX: Duration = Duration::from_secs(60);

/// Between two looks at whether it does.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The longest head of a request, in bytes.
const HEAD_LEN_MAX: usize = 16 * 1024;

/// Requests at once on one connection of HTTP/2.
const STREAMS_MAX: u32 = 100;

/// The windows of a visitor's HTTP/2 connection: of one stream and of all.
const WINDOWS: (u32, u32) = (1024 * 1024, 4 * 1024 * 1024);

/// Accepts visitors for ever.
pub async fn serve(
    mut listener: Box<dyn Listener>,
    name: &str,
    gateway: Arc<Gateway>,
    options: Options,
    slots: Arc<Semaphore>,
) {
    let proxies: Arc<[Network]> = options.trusted.into();
    loop {
        let (stream, peer) = gateway.env.accept(&mut *listener, name).await;
        gateway.env.metrics.visitors.inc();
        gateway.traffic.visitors.inc();
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            gateway.turned_away(peer, "too_many_sessions");
            gateway.traffic.outcomes.inc("too_many_sessions");
            // It has asked for nothing yet.
            RawStream::new(stream).close();
            continue;
        };
        let visitor = Visitor {
            peer,
            origin: Arc::new(Origin::new(peer.ip(), Arc::clone(&proxies), false)),
            open: Arc::new(OpenRequests::new(time::now())),
            owner: Arc::default(),
            slot: Arc::<OwnedSemaphorePermit>::new(slot),
        };
        let talk = talk(Arc::clone(&gateway), stream, visitor);
        gateway.env.spawn(talk).detach();
    }
}

/// One connection, to its end.
async fn talk(gateway: Arc<Gateway>, stream: Box<dyn Stream>, visitor: Visitor) {
    let env = gateway.env.clone();
    let refusing = Arc::clone(&gateway);
    let refusal = Box::new(move |status| refusing.refusal(status));
    let stream = VisitorStream::new(stream, Arc::clone(&visitor.open), refusal);
    let (refusing, refused) = (Arc::clone(&gateway), visitor.clone());
    let (peer, open, idle) = (visitor.peer, Arc::clone(&visitor.open), stream.idle());
    let service = service_fn(move |request: Request<Incoming>| {
        if let Some(offer) = request.extensions().get::<OnUpgrade>()
            && request.version() < Version::HTTP_2
        {
            visitor.open.offer(offer.clone());
        }
        Arc::clone(&gateway).handle(visitor.clone(), request)
    });
    let mut server = auto::Builder::new(Spawned(env.clone()));
    server
        .http1()
        // Hyper's would count while nothing is asked, too.
        .header_read_timeout(None)
        .preserve_header_case(true)
        // Headers are a hundred at most by hyper's own bound: to set the same costs every request.
        .max_buf_size(HEAD_LEN_MAX)
        // The wall clock is not read: an upstream says when it has answered.
        .auto_date_header(false);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_LEN_MAX as u32)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .enable_connect_protocol()
        .auto_date_header(false);
    let ended = {
        let mut talking = pin!(server.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let (mut stop, mut leaving) = (env.stop.clone(), false);
        loop {
            let why = tokio::select! {
                biased;
                // Before an answer is written, which says so.
                () = stop.reached(StopPhase::Draining), if !open.is_closing() => {
                    open.close();
                    continue;
                }
                ended = poll_fn(|cx| open.turns.take(|| talking.as_mut().poll(cx))) => break ended,
                () = open.turns.wanted() => continue,
                why = leave(refusing.closed.clone(), &open, leaving) => why,
            };
            match why {
                // What is under way is answered; what follows is not.
                Leave::AfterThis => {
                    talking.as_mut().graceful_shutdown();
                    leaving = true;
                }
                Leave::Unasked => {
                    idle.store(true, Ordering::Relaxed);
                    return;
                }
                Leave::Stuck => return,
            }
        }
    };
    if let Some(offer) = open.take_offer() {
        tokio::select! {
            biased;
            () = end(offer) => {}
            _ = leave(refusing.closed.clone(), &open, true) => {}
        }
    }
    if let Some(status) = open.refused() {
        refusing.refused(refused, status);
    }
    if let Err(error) = ended {
        debug!(%peer, %error, "visitor's connection failed");
    }
}

/// Ends a connection that hyper has left to whom it would have become something else, as it would have ended it itself.
async fn end(offer: OnUpgrade) {
    if let Ok(left) = offer.await {
        // Whoever is gone needs no end.
        let _ = TokioIo::new(left).shutdown().await;
    }
}

/// How a connection is left.
enum Leave {
    /// It takes no more requests.
    AfterThis,
    /// The head of a request does not come to its end: nothing is owed.
    Unasked,
    /// It takes no more requests, and does not end: its visitor takes nothing, or does not answer a GOAWAY.
    Stuck,
}

/// Waits until a connection is to be left: the node drains and its entries are `closed`, no request has come for too long,
/// or the head of one takes too long. Of one that is being `left` already it waits until that takes too long.
///
/// While a node that drains still accepts, HTTP/1 is not left but ends behind its next answer, which says so: a request may
/// be under way. HTTP/2 is left as soon as it has brought a request, for until its visitor has seen the GOAWAY all are served.
/// Before that it would be of no use.
async fn leave(mut closed: Stop, open: &OpenRequests, left: bool) -> Leave {
    // What brings a request wakes the task that polls this, and is polled before.
    let asked = poll_fn(|_| match open.is_http2() && open.count().begun > 0 {
        true if !mutant!("goaway-after-drain-delay-only") => Poll::Ready(()),
        _ => Poll::Pending,
    });
    let quiet = async {
        let (mut quiet, mut unasked, mut before) = (Duration::ZERO, Duration::ZERO, open.count());
        loop {
            let head = open.head_began().map(|began| began + HEAD_TIMEOUT);
            let head = head.filter(|late| time::now() < *late || !mutant!("late-head-waited-for"));
            let until_head = head.map(|late| late.saturating_duration_since(time::now()));
            if until_head.is_some_and(|left| left.is_zero()) {
                sometimes!("head-came-too-late");
                return Leave::Unasked;
            }
            let look = until_head.map_or(LOOK_INTERVAL, |left| left.min(LOOK_INTERVAL));
            time::sleep(look).await;
            let now = open.count();
            let again = |still: bool, been: Duration| if still { been + look } else { Duration::ZERO };
            unasked = again(now.open == 0 && now.begun == before.begun, unasked);
            quiet = again(now.open == 0 && now == before, quiet);
            if now == before || !mutant!("visitor-that-asked-is-never-quiet") {
                before = now;
            }
            let most = match now.begun {
                0 if !left => HEAD_TIMEOUT,
                _ => IDLE_TIMEOUT,
            };
            let pinging = open.is_http2() && unasked >= most + PINGING_MAX;
            if quiet >= most || pinging {
                return if left { Leave::Stuck } else { Leave::AfterThis };
            }
        }
    };
    let closed = async {
        if closed.phase() == StopPhase::Running && mutant!("drain-delay-closes-kept-connections") {
            return;
        }
        closed.reached(StopPhase::Draining).await;
    };
    tokio::select! {
        biased;
        () = closed, if !left && open.is_closing() => Leave::AfterThis,
        () = asked, if !left && open.is_closing() => Leave::AfterThis,
        why = quiet => why,
    }
}

#[cfg(test)]
mod tests;
