//! What is asked on one visitor's connection, as far as those need to know who wait for it to end.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering},
};

use arc_swap::ArcSwapOption;
use http::StatusCode;
use hyper::upgrade::OnUpgrade;

use super::{interim::Interim, turns::Turns};
use crate::{
    probe::{audit, mutant},
    time::{Duration, Instant},
};

/// The requests of one connection.
#[derive(Debug)]
pub struct OpenRequests {
    /// When the connection was made.
    since: Instant,
    open: AtomicUsize,
    begun: AtomicUsize,
    /// Bodies of requests that may still come, also behind an answer that is over.
    bodies: AtomicUsize,
    /// Times that something was written.
    written: AtomicUsize,
    /// When the head of a request has begun that is not whole: milliseconds, and one more; 0 if there is none.
    head: AtomicU64,
    /// The number of a request whose body has both a length and an encoding; 0 if there is none.
    framed_twice: AtomicUsize,
    http2: AtomicBool,
    upgraded: AtomicBool,
    closing: AtomicBool,
    said_last: AtomicBool,
    /// An answer was given that is not written to its end.
    answering: AtomicBool,
    /// The way to the connection for whom a request asked to become something else, until it does.
    offer: ArcSwapOption<OnUpgrade>,
    /// The status that the head of a request was refused with before it was whole; 0 if none was.
    refused: AtomicU16,
    /// What its upstreams say before they answer.
    pub(super) interim: Arc<Interim>,
    /// Who waits until what was said is written.
    pub(super) turns: Arc<Turns>,
}

/// What is counted on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Requests that are not answered to their end.
    pub open: usize,
    /// Those that have begun.
    pub begun: usize,
    /// Times that something was written.
    pub written: usize,
}

impl OpenRequests {
    /// None, on a connection made `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            open: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            bodies: AtomicUsize::new(0),
            written: AtomicUsize::new(0),
            head: AtomicU64::new(0),
            framed_twice: AtomicUsize::new(0),
            http2: AtomicBool::new(false),
            upgraded: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            said_last: AtomicBool::new(false),
            answering: AtomicBool::new(false),
            offer: ArcSwapOption::empty(),
            refused: AtomicU16::new(0),
            interim: Arc::default(),
            turns: Arc::default(),
        }
    }

    /// Whether nothing is asked: what comes next is the head of a request.
    pub fn is_none(&self) -> bool {
        let none = |count: &AtomicUsize| count.load(Ordering::Relaxed) == 0;
        none(&self.open) && none(&self.bodies)
    }

    /// Bytes of the head of a request have come: nothing is asked before it.
    pub fn heard(&self, now: Instant) {
        if self.head.load(Ordering::Relaxed) == 0 || mutant!("head-clock-begins-anew-with-every-piece") {
            let millis = u64::try_from((now - self.since).as_millis()).unwrap_or(u64::MAX - 1);
            self.head.store(millis + 1, Ordering::Relaxed);
        }
    }

    /// What came was no head.
    pub fn no_head(&self) {
        self.head.store(0, Ordering::Relaxed);
    }

    /// The body of this request has both a length and an encoding. The first has the number 1.
    pub fn framed_twice(&self, request: usize) {
        // What comes behind the first is not served any more.
        let first = &self.framed_twice;
        let _ = first.compare_exchange(0, request, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether that of the request has that began last.
    pub fn is_framed_twice(&self) -> bool {
        let begun = self.begun.load(Ordering::Relaxed);
        begun > 0 && begun == self.framed_twice.load(Ordering::Relaxed)
    }

    /// The head of a request was refused with `status` before it was one.
    pub fn refuse(&self, status: StatusCode) {
        self.refused.store(status.as_u16(), Ordering::Relaxed);
    }

    /// The status that one was refused with.
    pub fn refused(&self) -> Option<StatusCode> {
        StatusCode::from_u16(self.refused.load(Ordering::Relaxed)).ok()
    }

    /// A request is answered: what is written next is that.
    pub fn answer(&self) {
        self.answering.store(true, Ordering::Relaxed);
    }

    /// All that hyper had to write is written.
    pub fn flushed(&self) {
        if self.open.load(Ordering::Relaxed) == 0 {
            self.answering.store(false, Ordering::Relaxed);
        }
    }

    /// Whether what hyper writes are its own words: no request has been answered that it could answer.
    pub fn is_unanswered(&self) -> bool {
        let of_ours = self.answering.load(Ordering::Relaxed) || self.is_upgraded() || self.is_http2();
        !of_ours
    }

    /// A request asks the connection to become something else.
    pub fn offer(&self, to_become: OnUpgrade) {
        self.offer.store(Some(Arc::new(to_become)));
    }

    /// Whether one has, and it has not.
    pub fn has_offer(&self) -> bool {
        !self.is_upgraded() && self.offer.load().is_some()
    }

    /// The way to a connection that has not become what it was asked to, once hyper has left it.
    pub fn take_offer(&self) -> Option<OnUpgrade> {
        let offer = self.offer.swap(None).filter(|_| !self.is_upgraded())?;
        Arc::into_inner(offer)
    }

    /// It becomes something else: what comes next is no request.
    pub fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    pub fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Relaxed)
    }

    /// It is one of HTTP/2.
    pub fn speaks_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
        self.no_head();
    }

    /// Whether it is.
    pub fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    /// The node drains: the connection is to end behind an answer.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Whether it is.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// An answer says that no request is served after it.
    pub fn say_last(&self) {
        self.said_last.store(true, Ordering::Relaxed);
    }

    /// Whether one does.
    pub fn has_said_last(&self) -> bool {
        self.said_last.load(Ordering::Relaxed)
    }

    /// Something was written.
    pub fn wrote(&self) {
        self.written.fetch_add(1, Ordering::Relaxed);
    }

    /// When the head of a request has begun that is not whole yet.
    pub fn head_began(&self) -> Option<Instant> {
        let millis = self.head.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.since + Duration::from_millis(millis))
    }

    /// The head of a request is whole.
    pub fn begin(&self) {
        self.no_head();
        self.open.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// A request is answered to its end.
    pub fn end(&self) {
        let before = self.open.fetch_sub(1, Ordering::Relaxed);
        audit!(before > 0, "only a request that has begun ends");
    }

    /// What there is now.
    pub fn count(&self) -> Count {
        Count {
            open: self.open.load(Ordering::Relaxed),
            begun: self.begun.load(Ordering::Relaxed),
            written: self.written.load(Ordering::Relaxed),
        }
    }
}

/// Counts the bytes of a request's body. As long as it lives the body may come.
pub struct Received {
    bytes: Arc<AtomicU64>,
    of: Arc<OpenRequests>,
}

impl Received {
    /// The body of a request on the connection `of`.
    pub fn new(bytes: Arc<AtomicU64>, of: Arc<OpenRequests>) -> Self {
        of.bodies.fetch_add(1, Ordering::Relaxed);
        Self { bytes, of }
    }

    /// So many more.
    pub fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        let before = self.of.bodies.fetch_sub(1, Ordering::Relaxed);
        audit!(before > 0, "only a body that may come comes no more");
    }
}
