//! The body of an answer: what an upstream says, or the entry itself.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    answer::{self, BodyError, Failure},
    body::{BadBody, RequestBody, WeakBody},
    record::{End, Record},
};
use crate::{
    probe::{mutant, sometimes},
    time::{self, Duration, Instant, Timer},
};

/// The body of an answer. What is held until its end is let go of there, or where it is dropped.
pub struct AnswerBody<H: Held> {
    /// Nothing when its caller's time is over.
    incoming: Option<Incoming>,
    idle: Option<Idle>,
    deadline: Option<Deadline>,
    record: Arc<Record>,
    breaking: Option<Breaking>,
    held: Option<H>,
}

/// An answer that has broken off, until what came of it is written: with an error hyper drops what it has not written.
struct Breaking {
    written: Pin<Box<dyn Future<Output = ()> + Send>>,
    error: Option<BodyError>,
}

/// What an answer holds until its end.
pub trait Held: Send + Unpin + 'static {
    /// It has been read to its end, or not.
    fn let_go(self, whole: bool);
}

/// When a caller gives up, and what it would still say.
struct Deadline {
    at: Instant,
    timer: Timer,
    /// Not held for the answer's sake: a body that nobody reads has to be known as such.
    body: WeakBody,
}

/// How long an answer may pause.
struct Idle {
    most: Duration,
    until: Instant,
    timer: Timer,
}

impl<H: Held> AnswerBody<H> {
    /// A body that may pause for `idle`.
    pub fn new(incoming: Incoming, idle: Option<Duration>, record: Arc<Record>, held: H) -> Self {
        let idle = idle.map(|most| Idle {
            most,
            until: time::now() + most,
            timer: Timer::default(),
        });
        Self {
            incoming: Some(incoming),
            idle,
            deadline: None,
            record,
            breaking: None,
            held: Some(held),
        }
    }

    /// The answer to a call of gRPC whose caller gives up then.
    pub fn until(mut self, deadline: Option<Instant>, body: &RequestBody) -> Self {
        self.deadline = deadline.map(|at| Deadline {
            at,
            timer: Timer::default(),
            body: body.weak(),
        });
        self
    }

    /// Whether its caller's time is over just now. Then the upstream need not go on, and the call has a status.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = &mut self.deadline else {
            return false;
        };
        if deadline.timer.poll(cx, Some(deadline.at)).is_pending() {
            return false;
        }
        if mutant!("deadline-ignored-within-the-answer") {
            self.deadline = None;
            return false;
        }
        sometimes!("deadline-over-within-the-answer");
        // Whatever its caller goes on to say resets the call at the upstream.
        deadline.body.break_off();
        self.deadline = None;
        self.incoming = None;
        self.record.ended(End::Deadline);
        self.let_go(false);
        true
    }

    /// Fails with `error` as soon as all that was passed on is written: whoever asks for more has taken it.
    fn break_off(
        &mut self,
        cx: &mut Context<'_>,
        end: End,
        error: BodyError,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.record.ended(end);
        self.breaking = Some(Breaking {
            written: Box::pin(self.record.written()),
            error: Some(error),
        });
        self.poll_breaking(cx)
    }

    fn poll_breaking(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(breaking) = &mut self.breaking else {
            return Poll::Pending;
        };
        if breaking.error.is_some() {
            ready!(breaking.written.as_mut().poll(cx));
        }
        Poll::Ready(breaking.error.take().map(Err))
    }

    fn let_go(&mut self, whole: bool) {
        let Some(held) = self.held.take() else {
            return;
        };
        if whole {
            self.record.ended(End::Whole);
        }
        held.let_go(whole);
    }
}

impl<H: Held> http_body::Body for AnswerBody<H> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.breaking.is_some() {
            return this.poll_breaking(cx);
        }
        if this.is_late(cx) {
            let trailers = answer::grpc_trailers(Failure::Timeout);
            this.record.heard(&trailers);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(incoming).poll_frame(cx);
        let polled = match polled {
            Poll::Ready(Some(Err(_))) if mutant!("broken-answer-looks-whole") => Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() && mutant!("trailers-not-passed-on") => {
                Poll::Ready(None)
            }
            polled => polled,
        };
        match (&polled, &mut this.idle) {
            (Poll::Ready(None), _) => this.let_go(true),
            (Poll::Ready(Some(_)), Some(idle)) if !mutant!("pauses-of-an-answer-added-up") => {
                idle.until = time::now() + idle.most;
            }
            _ => {}
        }
        match &polled {
            Poll::Ready(Some(Ok(frame))) => match (frame.data_ref(), frame.trailers_ref()) {
                (Some(bytes), _) => this.record.add_sent(bytes.len() as u64),
                (None, Some(trailers)) => this.record.heard(trailers),
                (None, None) => {}
            },
            Poll::Pending => {
                if let Some(idle) = &mut this.idle
                    && idle.timer.poll(cx, Some(idle.until)).is_ready()
                    && !mutant!("answer-may-pause-for-ever")
                {
                    sometimes!("answer-paused-too-long");
                    return this.break_off(cx, End::Idle, BadBody::Idle.into());
                }
            }
            Poll::Ready(None | Some(Err(_))) => {}
        }
        match polled {
            Poll::Ready(Some(Err(error))) => this.break_off(cx, End::Broke, error.into()),
            polled => polled.map_err(BodyError::from),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.incoming {
            Some(incoming) if self.deadline.is_none() => incoming.size_hint(),
            // It may have less.
            _ => SizeHint::new(),
        }
    }
}

impl<H: Held> Drop for AnswerBody<H> {
    fn drop(&mut self) {
        let whole = self.is_end_stream();
        self.let_go(whole || self.held.is_some() && mutant!("answer-left-early-taken-for-whole"));
    }
}

/// The body of an answer that the entry gives itself: all of it is there.
pub struct OwnBody {
    left: Bytes,
    record: Arc<Record>,
}

impl OwnBody {
    /// This text, as the answer to the request of `record`.
    pub fn new(text: Bytes, record: Arc<Record>) -> Self {
        Self { left: text, record }
    }
}

impl http_body::Body for OwnBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let text = std::mem::take(&mut self.left);
        self.record.add_sent(text.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(text))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

impl Drop for OwnBody {
    fn drop(&mut self) {
        // Nothing of it is sent where only its head was asked for.
        if self.left.is_empty() || self.record.is_head() {
            self.record.ended(End::Whole);
        }
    }
}
