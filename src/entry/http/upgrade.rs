//! Requests that become something else: WebSockets, and whatever HTTP/1 can be upgraded to. Once the upstream has said
//! yes, bytes pass as they stand.

use std::{
    future::poll_fn,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{Buf, Bytes};
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
};
use hyper::{
    body::Incoming,
    ext::Protocol,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    answer::{self, Body, Failure},
    errand::Errand,
    headers,
    record::{End, Record},
    upstream::Speech,
};
use crate::{
    metrics::Counted,
    probe::{mutant, sometimes},
    target::InFlight,
};

/// What is read at once, in bytes, and held where the other side takes nothing. More takes memory for each that is stuck;
/// less takes more turns.
const BUFFER_LEN: usize = 8 * 1024;

/// What a request wants to become.
pub struct Wanted {
    protocol: HeaderValue,
    /// It came over HTTP/2 (RFC 8441).
    extended: bool,
    visitor: OnUpgrade,
}

/// Whether it is a CONNECT that wants a WebSocket. Nothing else is known to be spoken so.
pub fn is_websocket<B>(request: &Request<B>) -> bool {
    let protocol = request.extensions().get::<Protocol>();
    request.method() == Method::CONNECT && protocol.is_some_and(|protocol| protocol.as_str() == "websocket")
}

impl Wanted {
    /// What `request` wants to become, if it wants that.
    pub fn of(request: &mut Request<Incoming>) -> Option<Self> {
        let extended = is_websocket(request);
        let protocol = match request.extensions().get::<Protocol>() {
            Some(protocol) if extended => HeaderValue::from_str(protocol.as_str()).ok()?,
            _ => headers::upgrade(request.version(), request.headers())?,
        };
        Some(Self {
            protocol,
            extended,
            visitor: hyper::upgrade::on(request),
        })
    }

    /// Whether an upstream that speaks so may be asked for it. Upgrades are HTTP/1's; one of HTTP/2 that serves WebSockets
    /// over HTTP/1 is common, and whoever asks for something else may be answered as if it had not.
    pub fn is_for(&self, speech: Option<Speech>) -> bool {
        let websocket = self.protocol.as_bytes().eq_ignore_ascii_case(b"websocket");
        websocket || speech != Some(Speech::Http2)
    }

    /// Whether it came over HTTP/2.
    pub fn is_extended(&self) -> bool {
        self.extended
    }
}

impl Errand<'_> {
    /// Asks the upstream, over HTTP/1; only when it has said yes does anything pass that came behind the request.
    pub(super) async fn upgrade(mut self, wanted: Wanted) -> Result<Response<Body>, Failure> {
        let headers = &mut self.parts.headers;
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, wanted.protocol.clone());
        if wanted.extended {
            self.parts.method = Method::GET;
            // HTTP/2 needs no key, HTTP/1 does.
            let key = BASE64_STANDARD.encode(self.gateway.env.entropy.bytes::<16>());
            if let Ok(key) = HeaderValue::from_str(&key)
                && !mutant!("websocket-asked-for-without-a-key")
            {
                headers.insert(SEC_WEBSOCKET_KEY, key);
            }
        }
        let (mut response, kept, in_flight) = self.ask(Speech::Http1).await?;
        // To a CONNECT it would mean that there is a WebSocket.
        if wanted.extended && response.status().is_success() {
            return Err(Failure::Broken);
        }
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(self.pass_on(response, kept, in_flight));
        }
        let upstream = hyper::upgrade::on(&mut response);
        sometimes!("request-upgraded");
        if !wanted.extended {
            self.record.upgrade();
        }
        let metrics = &self.gateway.env.metrics;
        let of_rule = &self.route.figures(metrics).upgrades;
        let held = Held {
            record: Arc::clone(self.record),
            _shown: [&metrics.http_upgrades, of_rule].map(Counted::new),
            _in_flight: Some(in_flight).filter(|_| !mutant!("upgraded-leaves-in-flight")),
        };
        // The task of the connection goes on without whoever asked.
        kept.leave();
        let join = join(wanted.visitor, upstream, held);
        self.gateway.env.spawn(join).detach();
        let (mut parts, _) = response.into_parts();
        if wanted.extended {
            sometimes!("websocket-asked-for-by-connect");
            headers::strip_hop_by_hop(&mut parts.headers);
            if !mutant!("accept-key-passed-on-with-streams") {
                parts.headers.remove(SEC_WEBSOCKET_ACCEPT);
            }
            parts.status = StatusCode::OK;
        }
        Ok(Response::from_parts(parts, answer::empty()))
    }
}

/// What is held while an upgraded connection lives.
struct Held {
    record: Arc<Record>,
    _shown: [Counted; 2],
    _in_flight: Option<InFlight>,
}

/// Passes bytes both ways, until both directions have ended or either side breaks: then both are reset.
async fn join(visitor: OnUpgrade, upstream: OnUpgrade, held: Held) {
    let both = async { Ok::<(Upgraded, Upgraded), hyper::Error>((visitor.await?, upstream.await?)) };
    // A visitor that went away before it was told gets nothing more.
    let Ok((visitor, upstream)) = both.await else {
        return;
    };
    let (mut visitor, mut upstream) = (TokioIo::new(visitor), TokioIo::new(upstream));
    let (mut up, mut down) = (Direction::default(), Direction::default());
    let (record, received) = (&held.record, held.record.received());
    let joined = poll_fn(|cx| {
        let (up_is, down_is) = (
            up.poll(cx, &mut visitor, &mut upstream),
            down.poll(cx, &mut upstream, &mut visitor),
        );
        received.add(std::mem::take(&mut up.moved));
        record.add_sent(std::mem::take(&mut down.moved));
        let (up, down) = (up_is?, down_is?);
        if up.is_ready() && down.is_ready() {
            return Poll::Ready(Ok::<_, io::Error>(()));
        }
        // While the visitor takes nothing nobody reads, and what carries the upstream has to be answered for: it is
        // looked after by whoever flushes, too.
        if !mutant!("slow-upgraded-visitor-not-answered-for") {
            let _ = Pin::new(&mut upstream).poll_flush(cx)?;
        }
        Poll::Pending
    });
    match joined.await {
        Ok(()) => record.ended(End::Whole),
        Err(error) => {
            record.ended(End::Broke);
            tracing::debug!(%error, "upgraded connection broke");
        }
    }
}

/// One direction of an upgraded connection. It holds memory only for what was read and could not be written at once: most
/// connections are idle most of the time.
#[derive(Default)]
struct Direction {
    /// What was read and not written yet.
    left: Bytes,
    /// Bytes written that were not counted yet.
    moved: u64,
    unflushed: bool,
    ended: bool,
    done: bool,
}

impl Direction {
    /// Moves what there is; ready when the reader has ended, and the writer was told.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER_LEN];
        let (mut reader, mut writer) = (Pin::new(reader), Pin::new(writer));
        while !self.done {
            while !self.left.is_empty() {
                let written = ready!(writer.as_mut().poll_write(cx, &self.left))?;
                self.wrote(written)?;
                self.left.advance(written);
            }
            // What it was part of is not held for its end.
            self.left = Bytes::new();
            if self.ended {
                if !mutant!("end-of-upgraded-not-passed-on") {
                    ready!(writer.as_mut().poll_shutdown(cx))?;
                }
                self.done = true;
                break;
            }
            let mut into = ReadBuf::uninit(&mut buffer);
            if reader.as_mut().poll_read(cx, &mut into)?.is_pending() {
                if self.unflushed {
                    ready!(writer.as_mut().poll_flush(cx))?;
                    self.unflushed = false;
                }
                return Poll::Pending;
            }
            let mut read = into.filled();
            self.ended = read.is_empty();
            while !read.is_empty() {
                let Poll::Ready(written) = writer.as_mut().poll_write(cx, read)? else {
                    self.left = Bytes::copy_from_slice(read);
                    return Poll::Pending;
                };
                self.wrote(written)?;
                read = &read[written..];
            }
        }
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, bytes: usize) -> io::Result<()> {
        if bytes == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.moved += bytes as u64;
        self.unflushed = true;
        Ok(())
    }
}
