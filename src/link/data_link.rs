//! One data link as all its users see it: its books under one short lock, and whom to wake.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, PoisonError},
    task::Waker,
};

use super::{
    framed::FramedError,
    gauges::LastMoved,
    mux::{Event, Mux, OpenError, Options, Side},
    stream::LinkStream,
    tally::Tally,
};
use crate::{
    id::StreamId,
    metrics::Metrics,
    probe::{History, audit, mutant},
    time::{self, Duration, Instant},
};

/// How long a link may leave those unanswered who open streams on it before others are preferred. Longer, and more visitors
/// meet one that is dead; shorter, and one on a slow path is taken for one.
const SILENT_AFTER: Duration = Duration::from_secs(1);

#[allow(
    clippy::disallowed_types,
    reason = "one lock per link, held for book-keeping alone: streams and the pump of a link live in different tasks"
)]
type Lock<T> = std::sync::Mutex<T>;

/// One multiplexed connection between a client and a server.
#[derive(Debug)]
pub struct DataLink {
    state: Lock<State>,
    /// When bytes moved last on this link.
    pub(super) moved: Arc<LastMoved>,
    /// When the first stream was opened of those since.
    asked: LastMoved,
}

/// Why a link carries nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was left: both ends had said that they would.
    Left,
    /// The peer closed it.
    Closed,
    /// The peer fell silent.
    Silent,
    /// The socket failed.
    Io(io::ErrorKind),
    /// The peer broke the protocol.
    Violated,
    /// Its task was stopped.
    Stopped,
}

impl Ended {
    /// A short name for logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Closed => "closed",
            Self::Silent => "silent",
            Self::Io(_) => "io",
            Self::Violated => "violation",
            Self::Stopped => "stopped",
        }
    }

    /// What a stream of the link says of it.
    pub(super) fn error(self) -> FramedError {
        match self {
            Self::Silent => FramedError::Silent,
            Self::Io(kind) => FramedError::Io(kind.into()),
            Self::Left | Self::Closed | Self::Violated | Self::Stopped => FramedError::Closed,
        }
    }
}

/// What is under the lock.
#[derive(Debug)]
pub(super) struct State {
    /// The books.
    pub mux: Mux,
    /// How they stand, for the metrics.
    tally: Tally,
    /// Why there is no pump any more.
    pub ended: Option<Ended>,
    /// The pump, where it waits for frames.
    pub pump: Option<Waker>,
    waiting: BTreeMap<StreamId, Waiting>,
    /// When streams were opened, for the audits.
    opened: History<Instant>,
}

/// Who waits for a stream.
#[derive(Debug, Default)]
struct Waiting {
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl State {
    /// Tells the metrics what is new.
    pub fn tell(&mut self) {
        self.tally.tell(&mut self.mux);
    }

    /// The reader of a stream waits.
    pub fn wait_to_read(&mut self, id: StreamId, waker: &Waker) {
        keep(&mut self.waiting.entry(id).or_default().reader, waker);
    }

    /// The writer of a stream waits.
    pub fn wait_to_write(&mut self, id: StreamId, waker: &Waker) {
        keep(&mut self.waiting.entry(id).or_default().writer, waker);
    }

    /// Nobody holds the stream any more.
    pub fn forget(&mut self, id: StreamId) {
        self.waiting.remove(&id);
    }

    fn collect(&mut self, wake: &mut Vec<Waker>) {
        while let Some(event) = self.mux.poll_event() {
            match event {
                Event::Readable(id) => wake.extend(self.waiting.get_mut(&id).and_then(|w| w.reader.take())),
                Event::Writable(id) => wake.extend(self.waiting.get_mut(&id).and_then(|w| w.writer.take())),
            }
        }
        if self.mux.has_frames() || self.mux.is_over() && !mutant!("leaving-link-sleeps-on") {
            wake.extend(self.pump.take());
        }
        #[cfg(feature = "mutants")]
        self.check();
    }

    /// Whom the books hold for waiting has left a waker, and nobody else has.
    #[cfg(feature = "mutants")]
    fn check(&self) {
        let mux = &self.mux;
        assert!(
            self.pump.is_none() || !(mux.has_frames() || mux.is_over()),
            "the pump does not sleep while there is something to do"
        );
        if self.ended.is_some() || !mux.is_time_to_check() {
            return;
        }
        for (id, waiting) in &self.waiting {
            let (reads, writes) = mux.who_waits(*id).unwrap_or_default();
            assert!(
                reads || waiting.reader.is_none(),
                "a reader who waits is told of what comes"
            );
            assert!(
                writes || waiting.writer.is_none(),
                "a writer who waits is told of room"
            );
        }
        for (id, reads, writes) in mux.all_who_wait() {
            let left = |of: fn(&Waiting) -> &Option<Waker>| {
                self.waiting.get(&id).is_some_and(|waiting| of(waiting).is_some())
            };
            assert!(
                (!reads || left(|waiting| &waiting.reader)) && (!writes || left(|waiting| &waiting.writer)),
                "who is to be told has left a waker"
            );
        }
    }
}

/// Remembers who waits; who waited before is forgotten.
fn keep(place: &mut Option<Waker>, waker: &Waker) {
    match place {
        Some(kept) if kept.will_wake(waker) => {}
        place => *place = Some(waker.clone()),
    }
}

impl DataLink {
    /// A link whose pump is about to run.
    pub fn new(side: Side, options: Options, metrics: &Arc<Metrics>) -> Arc<Self> {
        let state = State {
            mux: Mux::new(time::now(), side, options),
            tally: Tally::new(Arc::clone(metrics)),
            ended: None,
            pump: None,
            waiting: BTreeMap::new(),
            opened: History::default(),
        };
        Arc::new(Self {
            state: Lock::new(state),
            moved: Arc::default(),
            asked: LastMoved::default(),
        })
    }

    /// Works on the books, then wakes whom that concerns.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut wake = Vec::new();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut state);
        state.collect(&mut wake);
        drop(state);
        for waker in wake {
            waker.wake();
        }
        done
    }

    /// Whether a sentence that the books believe was found wrong: nothing in them can be relied upon.
    pub(super) fn is_broken(&self) -> bool {
        self.state.is_poisoned()
    }

    /// A place for a stream that begins soon.
    ///
    /// # Errors
    /// [`OpenError`]: why this link opens none now.
    pub fn open(self: &Arc<Self>) -> Result<LinkStream, OpenError> {
        let now = time::now();
        let number = self.with(|state| {
            if state.ended.is_some() {
                return Err(OpenError::Leaving);
            }
            let number = state.mux.reserve(now)?;
            let moved = self.moved.get();
            if self.asked_behind(moved).is_none() || mutant!("silence-begins-anew-with-each-stream") {
                self.asked.note(now);
            }
            state.opened.push(now);
            let (opened, all) = state.opened.remembered();
            let is_later = |at: &Instant| moved.is_none_or(|moved| moved < *at);
            let known = all || opened.clone().next().is_some_and(|oldest| !is_later(oldest));
            let first = opened.copied().find(is_later);
            let known = known && self.asked.is_exact_at(now);
            audit!(
                !known || first == self.asked_behind(moved),
                "a link is silent since the first stream that nothing answers"
            );
            Ok(number)
        })?;
        Ok(LinkStream::reserved(Arc::clone(self), number))
    }

    /// Whether nothing has moved since a stream was opened on it, longer ago than that should take: it may be held up by
    /// losses, or dead.
    pub fn is_silent(&self, now: Instant) -> bool {
        self.unanswered_since()
            .is_some_and(|since| now >= since + SILENT_AFTER)
    }

    fn unanswered_since(&self) -> Option<Instant> {
        self.asked_behind(self.moved.get())
    }

    /// When a stream was opened that nothing has answered, where bytes moved last at that time.
    fn asked_behind(&self, moved: Option<Instant>) -> Option<Instant> {
        let asked = self.asked.get()?;
        moved.is_none_or(|moved| moved < asked).then_some(asked)
    }

    /// Whether a place would be given now.
    #[cfg(feature = "mutants")]
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.with(|state| state.ended.is_none() && state.mux.has_room(now))
    }

    /// Streams it carries.
    pub fn streams(&self) -> usize {
        self.with(|state| state.mux.streams())
    }

    /// Whether it carries so many streams, or as many as it may.
    pub fn is_crowded(&self, crowd: usize) -> bool {
        self.with(|state| state.mux.streams() >= crowd.min(state.mux.streams_max()))
    }

    /// Whether it may still open streams.
    pub fn is_open(&self) -> bool {
        self.with(|state| state.ended.is_none() && !state.mux.is_leaving())
    }

    /// Opens nothing more; it ends when nothing is left.
    pub fn leave(&self) {
        self.with(|state| state.mux.leave());
    }

    /// Its pump has ended: everybody is told.
    pub(super) fn end(&self, ended: Ended) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.ended.get_or_insert(ended);
        if !self.state.is_poisoned() {
            state.tell();
        }
        state.tally.close();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        if mutant!("streams-of-lost-link-not-told") {
            return;
        }
        for Waiting { reader, writer } in waiting.into_values() {
            reader.into_iter().chain(writer).for_each(Waker::wake);
        }
    }
}
