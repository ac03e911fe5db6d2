//! The body of a request, which may have to be said again to somebody else.

use std::{
    pin::Pin,
    sync::{Arc, PoisonError, Weak},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::{answer::BodyError, open::Received};
use crate::{
    probe::{mutant, sometimes},
    time::{self, Instant},
};

#[allow(
    clippy::disallowed_types,
    reason = "one lock per request, which only the try that is under way takes"
)]
type Lock<T> = std::sync::Mutex<T>;

/// What of a body is kept to be said again. More holds memory for each request; less tries fewer again.
const KEPT_MAX: usize = 64 * 1024;

/// Why a body failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// It is longer than its rule allows.
    #[error("the body is larger than it may be")]
    TooLarge,
    /// Whoever said it broke off.
    #[error("the body has broken off")]
    Broken,
    /// Nothing has moved for too long.
    #[error("nothing has come for too long")]
    Idle,
}

/// A request's body, whoever it is said to. Cheap to clone.
#[derive(Clone)]
pub struct RequestBody(Option<Arc<Lock<Spoken>>>);

/// The same, held by somebody whom it need not live for.
#[derive(Default)]
pub struct WeakBody(Option<Weak<Lock<Spoken>>>);

impl WeakBody {
    /// Whoever says it need not go on: at the upstream it breaks off.
    pub fn break_off(&self) {
        RequestBody(self.0.as_ref().and_then(Weak::upgrade)).with(|spoken| spoken.broken = true);
    }
}

/// Who is waited for until a request has its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The visitor has to go on with the request's body.
    Visitor,
    /// The upstream has to take more of it, or to answer.
    Upstream,
}

struct Spoken {
    incoming: Incoming,
    /// When more of it came that was wanted, or was wanted and did not come.
    turned: Option<Instant>,
    /// More of it is wanted.
    wanted: bool,
    kept: Vec<Bytes>,
    kept_len: usize,
    /// What came is not kept any more, or not all of it was.
    forgotten: bool,
    /// All bytes that may come.
    left: u64,
    /// Counts those that have.
    received: Received,
    too_large: bool,
    /// The visitor did not say it to its end: there is no whole of it to be said to anybody.
    broken: bool,
}

impl RequestBody {
    /// A body of at most `max` bytes. What has come of it is counted in `received`.
    pub fn new(incoming: Incoming, max: Option<u64>, received: Received) -> Self {
        if incoming.is_end_stream() {
            return Self(None);
        }
        Self(Some(Arc::new(Lock::new(Spoken {
            incoming,
            turned: None,
            wanted: false,
            kept: Vec::new(),
            kept_len: 0,
            forgotten: false,
            left: max.unwrap_or(u64::MAX),
            received,
            too_large: false,
            broken: false,
        }))))
    }

    /// None at all.
    pub fn none() -> Self {
        Self(None)
    }

    /// Without holding it.
    pub fn weak(&self) -> WeakBody {
        WeakBody(self.0.as_ref().map(Arc::downgrade))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Spoken) -> T) -> Option<T> {
        let spoken = self.0.as_ref()?;
        Some(work(&mut spoken.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Who is waited for, and since when: not before `moved`.
    pub fn waited_for(&self, moved: Instant) -> (Side, Instant) {
        let waited_for = self.with(|spoken| {
            if spoken.turned.is_some_and(|turned| turned > moved)
                && mutant!("answer-clock-runs-during-upload")
            {
                return (Side::Upstream, moved);
            }
            let side = match spoken.wanted && !spoken.incoming.is_end_stream() {
                true => Side::Visitor,
                false => Side::Upstream,
            };
            (side, spoken.turned.map_or(moved, |turned| turned.max(moved)))
        });
        waited_for.unwrap_or((Side::Upstream, moved))
    }

    /// Whether all that was said of it can be said again.
    pub fn is_whole(&self) -> bool {
        self.with(|spoken| !spoken.forgotten).unwrap_or(true)
    }

    /// Whether it was longer than it may be.
    pub fn is_too_large(&self) -> bool {
        self.with(|spoken| spoken.too_large).unwrap_or(false)
    }

    /// Whether the visitor broke off, or said what is no body.
    pub fn is_broken(&self) -> bool {
        self.with(|spoken| spoken.broken).unwrap_or(false)
    }

    /// Somebody answers: it will not be said again.
    pub fn forget(&self) {
        self.with(|spoken| {
            spoken.forgotten = true;
            spoken.kept = Vec::new();
        });
    }

    /// The body from its start, for one try.
    pub fn for_try(&self) -> TryBody {
        let said = self.with(|spoken| {
            // What the last one wanted, this one may not have asked for yet.
            (spoken.wanted, spoken.turned) = (false, None);
            !spoken.kept.is_empty()
        });
        let said = said.unwrap_or(false);
        sometimes!(said, "request-body-said-again");
        TryBody {
            body: self.clone(),
            next: usize::from(said && mutant!("repeated-request-loses-its-first-piece")),
        }
    }
}

impl Spoken {
    fn keep(&mut self, bytes: &Bytes) {
        if self.forgotten {
            return;
        }
        if self.kept_len + bytes.len() > KEPT_MAX {
            self.forgotten = true;
            self.kept = Vec::new();
            return;
        }
        self.kept_len += bytes.len();
        self.kept.push(bytes.clone());
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.broken {
            // An end would make what was said look whole.
            return Poll::Ready(Some(Err(BadBody::Broken.into())));
        }
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if !(self.wanted && polled.is_pending()) {
            self.turned = Some(time::now());
            self.wanted = polled.is_pending();
        }
        let Poll::Ready(Some(Ok(frame))) = &polled else {
            self.broken = matches!(&polled, Poll::Ready(Some(Err(_))));
            if self.broken {
                sometimes!("request-broke-off");
                if mutant!("broken-request-looks-whole") {
                    return Poll::Ready(None);
                }
            }
            return polled.map_err(BodyError::from);
        };
        match frame.data_ref() {
            Some(bytes) => {
                let len = bytes.len() as u64;
                if len > self.left {
                    self.too_large = true;
                    return Poll::Ready(Some(Err(BadBody::TooLarge.into())));
                }
                let is_limited = self.left < u64::MAX / 2;
                if !(is_limited && mutant!("body-limit-for-each-piece")) {
                    self.left -= len;
                }
                self.received.add(len);
                let bytes = bytes.clone();
                self.keep(&bytes);
            }
            // Trailers are not kept.
            None => {
                sometimes!("request-with-trailers");
                if mutant!("trailers-of-a-request-dropped") {
                    return Poll::Ready(None);
                }
                self.forgotten = !mutant!("trailers-taken-for-kept");
            }
        }
        polled.map_err(BodyError::from)
    }
}

/// The body as one try says it: what was kept, and then what comes.
pub struct TryBody {
    body: RequestBody,
    /// Of what was kept, the next to be said.
    next: usize,
}

impl http_body::Body for TryBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = self.next;
        let said = self.body.with(|spoken| match spoken.kept.get(next) {
            Some(kept) => Poll::Ready(Some(Ok(Frame::data(kept.clone())))),
            None => spoken.poll(cx),
        });
        let said = said.unwrap_or(Poll::Ready(None));
        if let Poll::Ready(Some(Ok(_))) = said {
            self.next += 1;
        }
        said
    }

    fn is_end_stream(&self) -> bool {
        let next = self.next;
        let ended = |spoken: &mut Spoken| spoken.kept.len() <= next && spoken.incoming.is_end_stream();
        self.body.with(ended).unwrap_or(true)
    }

    fn size_hint(&self) -> SizeHint {
        let next = self.next;
        let hint = self.body.with(|spoken| {
            let mut kept: usize = spoken.kept.iter().skip(next).map(Bytes::len).sum();
            if kept > 0 && mutant!("repeated-body-announced-without-what-is-kept") {
                kept = 0;
            }
            match spoken.incoming.size_hint().exact() {
                Some(coming) => SizeHint::with_exact(coming + kept as u64),
                None => SizeHint::new(),
            }
        });
        hint.unwrap_or(SizeHint::with_exact(0))
    }
}
