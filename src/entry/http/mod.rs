//! A public HTTP address: HTTP/1.1 and HTTP/2, told apart by how a connection begins. Requests are balanced one by one.

pub mod access;
pub mod answer;
pub mod body;
mod errand;
pub mod gateway;
pub mod headers;
pub mod network;
pub mod pages;
pub mod record;
pub mod retry;
pub mod upgrade;
pub mod upstream;

use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tracing::debug;

use self::{
    gateway::{Gateway, Visitor},
    network::Network,
    pages::Pages,
    record::OpenRequests,
    upstream::Spawned,
};
use crate::{
    env::StopPhase,
    id::GroupName,
    probe::mutant,
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
    /// How it looks where the entry fails a request. Default in words.
    pub pages: Pages,
}

/// How long an upstream is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the client to connect its upstream; `None`, the default, is as long as in any session.
    pub connect: Option<Duration>,
    /// From a request to the head of its answer. Default 60 s.
    pub first_byte: Duration,
    /// Within the body of an answer; `None`, the default, is for ever.
    pub idle: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: None,
            first_byte: Duration::from_secs(60),
            idle: None,
        }
    }
}

/// How long the head of a request may take, from its first byte or from the connection's begin.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may wait for its next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Between two looks at whether it does.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The longest head of a request, in bytes.
const HEAD_LEN_MAX: usize = 16 * 1024;

/// The most headers of a request.
const HEADERS_MAX: usize = 100;

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
    loop {
        let (stream, peer) = gateway.env.accept(&mut *listener, name).await;
        gateway.env.metrics.visitors.inc();
        let stream = VisitorStream::new(stream);
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            gateway.env.metrics.session_outcomes.inc("too_many_sessions");
            continue;
        };
        let visitor = Visitor {
            peer,
            trusted: options.trusted.iter().any(|network| network.contains(peer.ip())),
            open: Arc::default(),
            slot: Arc::<OwnedSemaphorePermit>::new(slot),
        };
        let talk = talk(Arc::clone(&gateway), stream, visitor);
        gateway.env.spawn(talk).detach();
    }
}

/// One connection, to its end.
async fn talk(gateway: Arc<Gateway>, stream: VisitorStream, visitor: Visitor) {
    let env = gateway.env.clone();
    let (peer, open, idle) = (visitor.peer, Arc::clone(&visitor.open), stream.idle());
    let service = service_fn(move |request| Arc::clone(&gateway).handle(visitor.clone(), request));
    let mut server = auto::Builder::new(Spawned(env.clone()));
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LEN_MAX)
        .max_headers(HEADERS_MAX)
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
    let mut talking = pin!(server.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let mut leaving = pin!(leave(env.stop.clone(), open));
    let ended = tokio::select! {
        biased;
        ended = &mut talking => Some(ended),
        () = &mut leaving => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        // What is under way is answered; what follows is not.
        None => {
            talking.as_mut().graceful_shutdown();
            talking.await
        }
    };
    if let Err(error) = ended {
        let timed_out = error.downcast_ref().is_some_and(hyper::Error::is_timeout);
        idle.store(timed_out, Ordering::Relaxed);
        debug!(%peer, %error, "visitor's connection failed");
    }
}

/// Waits until a connection should take no more requests: the node drains, or none has come for too long.
async fn leave(mut stop: crate::env::Stop, open: Arc<OpenRequests>) {
    let idle = async {
        let (mut quiet, mut before) = (Duration::ZERO, 0);
        loop {
            time::sleep(LOOK_INTERVAL).await;
            let (now_open, begun) = open.count();
            quiet = match now_open == 0 && begun == before {
                true => quiet + LOOK_INTERVAL,
                false => Duration::ZERO,
            };
            before = begun;
            let most = if begun == 0 { HEAD_TIMEOUT } else { IDLE_TIMEOUT };
            if quiet >= most {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.reached(StopPhase::Draining) => {}
        () = idle => {}
    }
}

/// A visitor's stream as hyper wants it. One that has said something and that hyper has not ended is reset: it must not
/// look finished.
pub struct VisitorStream {
    raw: Option<RawStream>,
    /// It has said something, and may wait for an answer.
    asked: bool,
    /// All that will be said to it has been.
    ended: bool,
    /// It was waited for in vain: nothing is owed to it.
    idle: Arc<AtomicBool>,
}

impl VisitorStream {
    /// Takes charge of `stream`.
    pub fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            raw: Some(RawStream::new(stream)),
            asked: false,
            ended: false,
            idle: Arc::default(),
        }
    }

    /// Where to say that it was waited for in vain.
    fn idle(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.idle)
    }

    fn pin(&mut self) -> Pin<&mut dyn Stream> {
        let raw = self.raw.as_mut();
        raw.expect("a stream is there until it is dropped").pin()
    }
}

impl Drop for VisitorStream {
    fn drop(&mut self) {
        let owed = self.asked && !self.ended && !self.idle.load(Ordering::Relaxed);
        if let Some(raw) = self.raw.take().filter(|_| !owed) {
            raw.close();
        }
    }
}

impl AsyncRead for VisitorStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = self.pin().poll_read(cx, into);
        let came = into.filled().len() > before;
        self.asked |= came;
        if came && mutant!("visitor-reset-for-late-bytes") {
            self.ended = false;
        }
        read
    }
}

impl AsyncWrite for VisitorStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.pin().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pin().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pin().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = self.pin().poll_shutdown(cx);
        if shut.is_ready() {
            self.ended = true;
        }
        shut
    }
}
