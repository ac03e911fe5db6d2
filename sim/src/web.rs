//! What both ends of a request share in a world of an HTTP entry: the headers that say what is wanted and prove who
//! answers, and bodies that prove where they belong.
//!
//! ```text
//! GET /way/7?n=7                    the entry takes /way off
//! host: group-1.test                its rule says that it is for group-1, and sets x-way to that
//! x-ask: 41445251..                 payload::Request, in hexadecimal
//! x-told: {"extras": ..}             told::Told: what else the upstream has to see, and to do
//! x-from: 192.168.0.7               what x-forwarded-for and its like have to say in the end
//! connection: x-hop (HTTP/1)        names a header that nobody else may see
//! authorization: Negotiate 192..    some log in to the upstream's connection
//!
//! 200
//! x-greeting: 41444752..            payload::Greeting
//! x-session: 7
//! ```

pub mod chain;
pub mod examined;
pub mod told;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use hyper::rt::Executor;
use tokio::sync::watch;

use crate::{
    node::group_name,
    payload::{Body, Direction},
};

/// What is asked.
pub const ASK: HeaderName = HeaderName::from_static("x-ask");
/// Who asks.
pub const FROM: HeaderName = HeaderName::from_static("x-from");
/// Who answers.
pub const GREETING: HeaderName = HeaderName::from_static("x-greeting");
/// Whose answer it is.
pub const SESSION: HeaderName = HeaderName::from_static("x-session");
/// Belongs to one connection; on HTTP/1 alone, for HTTP/2 has no such headers.
pub const HOP: HeaderName = HeaderName::from_static("x-hop");
/// Set by the entry's rule: the group.
pub const WAY: HeaderName = HeaderName::from_static("x-way");
/// Why the entry has answered itself.
pub const REASON: HeaderName = HeaderName::from_static("x-adit-reason");
/// What a visitor forges about where it comes from, besides `x-forwarded-for`. CGI servers read `_` and `-` alike.
const FORGED: [(HeaderName, &str); 8] = [
    (HeaderName::from_static("x-real-ip"), "10.9.8.7"),
    (
        HeaderName::from_static("forwarded"),
        "for=10.9.8.7;proto=https;host=\"elsewhere.test\"",
    ),
    (HeaderName::from_static("x-forwarded-host"), "elsewhere.test"),
    (HeaderName::from_static("x-forwarded-proto"), "https"),
    (HeaderName::from_static("x-forwarded-port"), "4443"),
    (HeaderName::from_static("x_forwarded_for"), "10.9.8.7"),
    (HeaderName::from_static("x_real_ip"), "10.9.8.7"),
    (HeaderName::from_static("true-client-ip"), "10.9.8.7"),
];

/// How a call of gRPC ended.
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// What the path of a request begins with, until the entry takes it off.
pub const PREFIX: &str = "/way";

/// The host that stands for a group.
pub fn host_of(group: usize) -> String {
    format!("{}.test", group_name(group))
}

/// Logs the upstream's connection in: by it alone whoever asks is known from then on.
pub fn login(visitor: impl std::fmt::Display) -> HeaderValue {
    HeaderValue::from_str(&format!("Negotiate {visitor}")).expect("it is text")
}

/// Says that a request comes from elsewhere; `port` names the port with the host alone.
pub fn forge(headers: &mut HeaderMap, port: bool) {
    for (name, value) in FORGED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if port {
        headers.remove("x-forwarded-port");
        headers.insert("x-forwarded-host", HeaderValue::from_static(ELSEWHERE));
    }
}

/// Where a request says it went that names a port.
pub const ELSEWHERE: &str = "elsewhere.test:8443";

/// An error with its causes.
pub fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        words += &format!(": {inner}");
        cause = inner.source();
    }
    words
}

/// Bytes as a header.
pub fn hex(bytes: &[u8]) -> HeaderValue {
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&text).expect("digits are text")
}

/// So many bytes of a header; `None` where it holds something else.
pub fn unhex<const N: usize>(headers: &HeaderMap, name: &HeaderName) -> Option<[u8; N]> {
    let text = headers.get(name)?.to_str().ok()?;
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Runs what hyper does beside its requests where the tasks of a host run.
#[derive(Clone, Copy, Debug)]
pub struct HostTasks;

impl<F: Future<Output = ()> + 'static> Executor<F> for HostTasks {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Where a body stops before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It says no more.
    Silent,
    /// It breaks.
    Broken,
}

/// A body as it is said: in pieces, with pauses, whole or not.
pub struct Spoken {
    body: Body,
    at: u64,
    len: u64,
    piece: usize,
    pause: Duration,
    stop: Option<(u64, Stop)>,
    /// The pause after the first and the second third.
    rests: Option<Duration>,
    says_length: bool,
    trailers: Option<HeaderMap>,
    /// Turns true when all that will be said has been.
    said: watch::Sender<bool>,
    /// Words, which are said at once instead.
    words: Option<Bytes>,
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Spoken {
    /// The whole of `body`, in pieces of `piece` bytes.
    pub fn new(body: Body, len: u64, piece: usize) -> Self {
        Self {
            body,
            at: 0,
            len,
            piece: piece.max(1),
            pause: Duration::ZERO,
            stop: None,
            rests: None,
            says_length: true,
            trailers: None,
            said: watch::channel(false).0,
            words: None,
            waiting: None,
        }
    }

    /// Words, instead of what proves where it belongs.
    pub fn text(words: String) -> Self {
        let len = words.len();
        Self {
            words: Some(words.into()),
            ..Self::new(Body::new(0, Direction::Down), len as u64, len)
        }
    }

    /// With a pause after each piece.
    pub fn paced(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// With a pause after the first and the second third.
    pub fn resting(mut self, pause: Duration) -> Self {
        self.rests = (!pause.is_zero()).then_some(pause);
        self
    }

    /// Up to `at`, and no further.
    pub fn stopped(mut self, at: u64, stop: Stop) -> Self {
        self.stop = Some((at, stop));
        self
    }

    /// Without a word about its length.
    pub fn chunked(mut self) -> Self {
        self.says_length = false;
        self
    }

    /// With trailers.
    pub fn followed_by(mut self, trailers: HeaderMap) -> Self {
        self.trailers = Some(trailers);
        self.says_length = false;
        self
    }

    /// Turns true when all that will be said has been.
    pub fn said(&self) -> watch::Receiver<bool> {
        self.tell_said();
        self.said.subscribe()
    }

    fn tell_said(&self) {
        let over = match self.stop {
            Some((at, _)) => self.at >= at.min(self.len),
            None => self.at == self.len,
        };
        if over {
            self.said.send_replace(true);
        }
    }
}

impl http_body::Body for Spoken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(waiting) = &mut self.waiting {
            std::task::ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
        }
        if let Some(words) = self.words.take() {
            self.at = self.len;
            self.tell_said();
            return Poll::Ready(Some(Ok(Frame::data(words))));
        }
        let end = self.stop.map_or(self.len, |(at, _)| at.min(self.len));
        if self.at < end {
            let thirds = [self.len / 3, self.len * 2 / 3];
            let third = thirds.into_iter().find(|third| *third > self.at);
            let rest = self.rests.zip(third);
            let until = rest.map_or(end, |(_, third)| end.min(third));
            let left = usize::try_from(until - self.at).unwrap_or(usize::MAX);
            let mut bytes = vec![0; left.min(self.piece)];
            self.body.fill(self.at, &mut bytes);
            self.at += bytes.len() as u64;
            self.tell_said();
            if !self.pause.is_zero() && self.at < end {
                self.waiting = Some(Box::pin(adit::time::sleep(self.pause)));
            }
            if let Some((pause, _)) = rest.filter(|(_, third)| *third == self.at) {
                self.waiting = Some(Box::pin(adit::time::sleep(pause)));
            }
            return Poll::Ready(Some(Ok(Frame::data(bytes.into()))));
        }
        match self.stop {
            Some((_, Stop::Silent)) => return Poll::Pending,
            Some((_, Stop::Broken)) => return Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into()))),
            None => {}
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.at == self.len && self.stop.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.says_length {
            true => SizeHint::with_exact(self.len - self.at),
            false => SizeHint::new(),
        }
    }
}
