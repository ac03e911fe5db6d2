//! One end of the link: its books, its side of the wire, and those who hold its streams.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::IoSlice,
};

use adit::{
    id::StreamId,
    link::mux::{Event, Mux, Options, Side, Violation, batch::Batch},
    time::Instant,
    wire::{
        codec::{Decoder, FrameError, Piece},
        frame::LINK_BODY_LEN_MAX,
    },
};
use bytes::Bytes;

/// How far somebody who holds a stream has come with what he says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Saying {
    #[default]
    Unanswered,
    Open,
    Fin,
    Done,
}

/// Somebody who holds a stream, and does as a session does.
#[derive(Debug, Default)]
pub(super) struct Holder {
    pub(super) saying: Saying,
    /// The other side has ended its bytes.
    pub(super) heard_fin: bool,
    /// The other side's last message was heard.
    pub(super) heard_last: bool,
    /// The other side's RESET was heard.
    pub(super) heard_reset: bool,
    /// Was told that there was nothing to read, and not yet that there is.
    pub(super) waits_to_read: bool,
    /// Was told that there was no room, and not yet that there is.
    pub(super) waits_to_write: bool,
    /// Bytes read and not consumed.
    pub(super) unconsumed: usize,
}

impl Holder {
    pub(super) fn saying(saying: Saying) -> Self {
        Self {
            saying,
            ..Self::default()
        }
    }
}

/// Why a link is broken off.
pub(super) struct Bad(pub(super) String);

impl From<FrameError> for Bad {
    fn from(error: FrameError) -> Self {
        Self(error.to_string())
    }
}

impl From<Violation> for Bad {
    fn from(violation: Violation) -> Self {
        Self(violation.to_string())
    }
}

pub(super) struct End {
    pub(super) mux: Mux,
    decoder: Decoder,
    batch: Batch,
    /// What is under way to it.
    pub(super) incoming: VecDeque<u8>,
    pub(super) holders: BTreeMap<StreamId, Holder>,
    /// The streams that began here, by whichever side.
    pub(super) known: BTreeSet<StreamId>,
}

impl End {
    pub(super) fn new(now: Instant, side: Side, options: Options) -> Self {
        Self {
            mux: Mux::new(now, side, options),
            decoder: Decoder::new(LINK_BODY_LEN_MAX),
            batch: Batch::default(),
            incoming: VecDeque::new(),
            holders: BTreeMap::new(),
            known: BTreeSet::new(),
        }
    }

    /// A new stream, by its id.
    pub(super) fn hold(&mut self, id: StreamId, holder: Holder) {
        assert!(id.value() % 2 == 1, "{id} is odd");
        assert!(
            self.known.last().is_none_or(|last| id > *last),
            "{id} is used again"
        );
        self.known.insert(id);
        self.holders.insert(id, holder);
    }

    /// Lets up to `len` bytes arrive; returns whether any did.
    pub(super) fn receive(&mut self, now: Instant, len: usize) -> Result<bool, Bad> {
        let len = len.min(self.incoming.len());
        let arrived: Vec<u8> = self.incoming.drain(..len).collect();
        let mut input = &arrived[..];
        loop {
            match self.decoder.next(&mut input)? {
                Piece::Head(head) => self.mux.handle_head(now, head)?,
                Piece::Body(there) => {
                    let (body, rest) = input.split_at(there);
                    self.mux.handle_body(now, Bytes::copy_from_slice(body))?;
                    self.decoder.consume_body(there);
                    input = rest;
                }
                Piece::Incomplete => return Ok(len > 0),
            }
        }
    }

    /// What it writes when its socket takes `len` bytes.
    pub(super) fn transmit(&mut self, now: Instant, len: usize) -> Vec<u8> {
        let mut written = Vec::new();
        while written.len() < len {
            if self.batch.is_empty() {
                self.mux.poll_transmit(now, &mut self.batch);
            }
            let mut slices = [IoSlice::new(&[]); 2];
            let count = self.batch.slices(&mut slices);
            let there: usize = slices[..count].iter().map(|slice| slice.len()).sum();
            let taken = there.min(len - written.len());
            if taken == 0 {
                break;
            }
            let pieces = slices[..count].iter().flat_map(|slice| slice.iter());
            written.extend(pieces.take(taken));
            self.batch.advance(taken);
        }
        written
    }

    /// Tells those who wait, and finds somebody for streams that were opened.
    pub(super) fn tell(&mut self) {
        for id in self.mux.take_opened() {
            self.hold(id, Holder::default());
        }
        while let Some(event) = self.mux.poll_event() {
            match event {
                Event::Readable(id) => {
                    if let Some(holder) = self.holders.get_mut(&id) {
                        holder.waits_to_read = false;
                    }
                }
                Event::Writable(id) => {
                    if let Some(holder) = self.holders.get_mut(&id) {
                        holder.waits_to_write = false;
                    }
                }
            }
        }
        drop(self.mux.take_counts());
    }
}
