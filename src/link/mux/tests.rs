//! Two ends of one link, joined by two queues of bytes.

mod deeds;
mod leaving;

use std::io::IoSlice;

use bytes::Bytes;

use super::{batch::Batch, flow::WINDOW_MAX, lanes::YOUNG_LEN, *};
use crate::{
    time,
    wire::{
        codec::{Decoder, Head, Piece},
        frame::{LINK_BODY_LEN_MAX, Prefix},
        message::{Finished, Message, RefuseCode, Refused, ResetCode, Start, ToClient, ToServer},
    },
};

/// One end, and what is on its way to it.
struct End {
    mux: Mux,
    decoder: Decoder,
    under_way: VecDeque<u8>,
    pieces: VecDeque<Bytes>,
}

impl End {
    fn new(now: Instant, side: Side, options: Options) -> Self {
        Self {
            mux: Mux::new(now, side, options),
            decoder: Decoder::new(LINK_BODY_LEN_MAX),
            under_way: VecDeque::new(),
            pieces: VecDeque::new(),
        }
    }

    /// Receives up to `len` bytes of what is on its way.
    fn receive(&mut self, now: Instant, len: usize) -> Result<(), Violation> {
        let len = len.min(self.under_way.len());
        let bytes: Vec<u8> = self.under_way.drain(..len).collect();
        let mut input = &bytes[..];
        loop {
            match self.decoder.next(&mut input).unwrap() {
                Piece::Head(head) => self.mux.handle_head(now, head)?,
                Piece::Body(n) => {
                    self.mux.handle_body(now, Bytes::copy_from_slice(&input[..n]))?;
                    self.decoder.consume_body(n);
                    input = &input[n..];
                }
                Piece::Incomplete => return Ok(()),
            }
        }
    }

    /// What it says now.
    fn speak(&mut self, now: Instant) -> Vec<u8> {
        let (mut batch, mut said) = (Batch::default(), Vec::new());
        loop {
            self.mux.poll_transmit(now, &mut batch);
            if batch.is_empty() {
                return said;
            }
            while !batch.is_empty() {
                let mut slices = [IoSlice::new(&[]); 8];
                let count = batch.slices(&mut slices);
                let before = said.len();
                slices[..count]
                    .iter()
                    .for_each(|slice| said.extend_from_slice(slice));
                let written = said.len() - before;
                batch.advance(written);
            }
        }
    }

    /// Reads all that has come for a stream: its bytes, and the kinds of its messages. Nothing is consumed.
    fn read(&mut self, id: StreamId) -> (Vec<u8>, Vec<u8>) {
        let (mut bytes, mut kinds) = (Vec::new(), Vec::new());
        loop {
            match self.mux.take(id, &mut self.pieces) {
                Taken::Head(head) => kinds.push(head.prefix.kind),
                Taken::Data(_) => self
                    .pieces
                    .drain(..)
                    .for_each(|piece| bytes.extend_from_slice(&piece)),
                Taken::Nothing | Taken::Over { .. } => return (bytes, kinds),
            }
        }
    }
}

/// Both ends.
struct Pair {
    now: Instant,
    server: End,
    client: End,
}

impl Pair {
    fn new(options: Options) -> Self {
        let now = time::now();
        Self {
            now,
            server: End::new(now, Side::Opener, options),
            client: End::new(now, Side::Acceptor, options),
        }
    }

    fn open(&mut self) -> StreamId {
        self.server.mux.reserve(self.now).unwrap();
        let mut header = Vec::new();
        ToClient::Start(Start::default()).encode_header(&mut header);
        self.server.mux.start(self.now, header)
    }

    /// Lets everything arrive that either end has to say.
    fn settle(&mut self) {
        loop {
            let (there, back) = (self.server.speak(self.now), self.client.speak(self.now));
            self.client.under_way.extend(there);
            self.server.under_way.extend(back);
            if self.client.under_way.is_empty() && self.server.under_way.is_empty() {
                return;
            }
            self.client.receive(self.now, usize::MAX).unwrap();
            self.server.receive(self.now, usize::MAX).unwrap();
        }
    }

    fn say_to_server(&mut self, id: StreamId, message: &ToServer) {
        self.client.mux.queue_message(self.now, id, message);
    }

    fn end_well(&mut self, id: StreamId) {
        self.server.mux.queue_message(self.now, id, &ToClient::Fin);
        self.say_to_server(id, &ToServer::Started);
        self.say_to_server(id, &ToServer::Fin);
        self.say_to_server(id, &ToServer::Finished(Finished::default()));
        self.settle();
        self.server.mux.release(self.now, id);
        self.client.mux.release(self.now, id);
        self.settle();
    }
}

fn bytes(len: usize) -> Bytes {
    Bytes::from((0..len).map(|n| n as u8).collect::<Vec<_>>())
}

#[test]
fn a_stream_goes_from_start_to_finished_and_is_forgotten() {
    let mut pair = Pair::new(Options::default());
    let id = pair.open();
    assert_eq!(pair.server.mux.queue_data(id, bytes(1000)), OUT_LEN_MAX - 1000);
    pair.settle();
    assert_eq!(pair.client.mux.take_opened(), [id]);
    let (read, kinds) = pair.client.read(id);
    assert_eq!((&read[..], &kinds[..]), (&bytes(1000)[..], &[kind::START][..]));
    pair.client.mux.handle_consumed(pair.now, id, 1000);
    assert_eq!(pair.server.mux.unanswered, 1);
    pair.end_well(id);
    assert_eq!((pair.server.mux.streams(), pair.client.mux.streams()), (0, 0));
    assert_eq!(pair.server.mux.unanswered, 0);
    assert_eq!(pair.open(), StreamId::new(3), "no id is used twice");
}

#[test]
fn who_reads_nothing_gets_no_more_than_its_window_and_delays_nobody() {
    let mut pair = Pair::new(Options::default());
    let (slow, quick) = (pair.open(), pair.open());
    let (mut room, mut queued) = (OUT_LEN_MAX, 0);
    for _ in 0..8 {
        room = pair.server.mux.queue_data(slow, bytes(OUT_LEN_MAX / 2));
        queued += OUT_LEN_MAX / 2;
        pair.settle();
        if room == 0 {
            break;
        }
    }
    assert_eq!(room, 0, "a writer without credit must wait");
    assert_eq!(queued, WINDOW as usize + OUT_LEN_MAX);
    assert_eq!(pair.server.mux.room(slow), 0);
    assert_eq!(pair.client.read(slow).0.len(), WINDOW as usize);
    for _ in 0..100 {
        pair.server.mux.queue_data(quick, bytes(OUT_LEN_MAX));
        pair.settle();
        let (read, _) = pair.client.read(quick);
        assert_eq!(read, bytes(OUT_LEN_MAX));
        pair.client.mux.handle_consumed(pair.now, quick, read.len());
    }
    let told = |pair: &mut Pair| std::iter::from_fn(|| pair.server.mux.poll_event()).collect::<Vec<_>>();
    told(&mut pair);
    pair.client.mux.handle_consumed(pair.now, slow, WINDOW as usize);
    pair.settle();
    assert_eq!(
        told(&mut pair),
        [Event::Writable(slow)],
        "and goes on when there is credit"
    );
}

#[test]
fn bytes_beyond_the_window_reset_their_stream_and_no_other() {
    let mut pair = Pair::new(Options::default());
    let (bad, good) = (pair.open(), pair.open());
    pair.settle();
    for len in [LINK_BODY_LEN_MAX, 1] {
        let mut raw = Prefix::data(bad.value(), len).encode().to_vec();
        raw.extend(bytes(len as usize));
        pair.client.under_way.extend(raw);
        pair.client.receive(pair.now, usize::MAX).unwrap();
    }
    assert_eq!(
        pair.client.mux.take(bad, &mut VecDeque::new()),
        Taken::Over { violated: true }
    );
    pair.server.mux.queue_data(good, bytes(10));
    pair.settle();
    assert_eq!(pair.client.read(good).0, bytes(10));
    assert_eq!(pair.server.read(bad).1, [kind::RESET]);
}

#[test]
fn a_reset_overtakes_what_has_no_credit_and_nothing_else() {
    let mut pair = Pair::new(Options::default());
    let id = pair.open();
    pair.settle();
    pair.say_to_server(id, &ToServer::Started);
    pair.client.mux.queue_data(id, bytes(OUT_LEN_MAX - 1));
    pair.settle();
    pair.client.mux.queue_data(id, bytes(1));
    pair.client.mux.queue_data(id, bytes(1000));
    pair.client.mux.reset(pair.now, id, ResetCode::UpstreamReset);
    pair.settle();
    let (read, kinds) = pair.server.read(id);
    assert_eq!(read.len(), OUT_LEN_MAX);
    assert_eq!(kinds, [kind::STARTED, kind::RESET]);
    pair.client.mux.release(pair.now, id);
    pair.server.mux.release(pair.now, id);
    pair.settle();
    assert_eq!((pair.server.mux.streams(), pair.client.mux.streams()), (0, 0));
    assert_eq!((pair.server.mux.queued(), pair.client.mux.queued()), (0, 0));
}

#[test]
fn a_stream_that_is_dropped_is_reset_unless_it_never_began() {
    let mut pair = Pair::new(Options::default());
    let id = pair.open();
    pair.server.mux.release(pair.now, id);
    pair.settle();
    assert_eq!((pair.server.mux.streams(), pair.client.mux.streams()), (0, 0));
    assert_eq!(pair.client.mux.take_opened(), [], "nobody hears of it");
    let id = pair.open();
    pair.settle();
    pair.client.mux.release(pair.now, id);
    pair.settle();
    assert_eq!(pair.server.read(id).1, [kind::RESET]);
}

#[test]
fn streams_beyond_the_limit_are_refused_and_tried_elsewhere() {
    let options = Options {
        streams_max: 2,
        window: 1000,
        ..Options::default()
    };
    let mut pair = Pair::new(options);
    pair.server.mux.options.streams_max = 3;
    let ids = [pair.open(), pair.open(), pair.open()];
    // More than the client will ever grant credit for.
    pair.server.mux.queue_data(ids[2], bytes(3000));
    assert_eq!(pair.server.mux.reserve(pair.now), Err(OpenError::Full));
    pair.settle();
    let (_, kinds) = pair.server.read(ids[2]);
    assert_eq!(kinds, [kind::REFUSED, kind::FINISHED]);
    pair.server.mux.queue_message(pair.now, ids[2], &ToClient::Fin);
    pair.server.mux.release(pair.now, ids[2]);
    pair.settle();
    assert_eq!((pair.server.mux.streams(), pair.client.mux.streams()), (2, 2));
    assert_eq!(pair.server.mux.queued(), 0);
}

#[test]
fn the_place_of_a_stream_that_is_over_is_free_before_its_holder_has_heard() {
    let mut pair = Pair::new(Options {
        streams_max: 1,
        ..Options::default()
    });
    for _ in 0..2 {
        let id = pair.open();
        pair.settle();
        pair.server.mux.release(pair.now, id);
        pair.settle();
    }
    let third = pair.open();
    pair.settle();
    assert_eq!(
        pair.server.read(third).1,
        [kind::REFUSED, kind::FINISHED],
        "but no more than two"
    );
}

#[test]
fn a_burst_is_limited_by_answers_and_a_link_by_its_ids() {
    let mut pair = Pair::new(Options {
        ids_max: 1 + 2 * UNANSWERED_MAX as u32,
        ..Options::default()
    });
    let ids: Vec<_> = (0..UNANSWERED_MAX).map(|_| pair.open()).collect();
    assert_eq!(pair.server.mux.reserve(pair.now), Err(OpenError::Busy));
    pair.settle();
    pair.end_well(ids[0]);
    assert_eq!(pair.open().value(), 1 + 2 * UNANSWERED_MAX as u32);
    pair.end_well(ids[1]);
    assert_eq!(pair.server.mux.reserve(pair.now), Err(OpenError::Leaving));
    pair.settle();
    assert!(pair.client.mux.is_leaving(), "the client knows");
    assert!(!pair.server.mux.is_over(), "what is there goes on");
}

#[test]
fn idle_credit_goes_back_to_the_budget() {
    let mut pair = Pair::new(Options::default());
    let id = pair.open();
    for _ in 0..40 {
        pair.server.mux.queue_data(id, bytes(OUT_LEN_MAX));
        pair.settle();
        let (read, _) = pair.client.read(id);
        pair.client.mux.handle_consumed(pair.now, id, read.len());
        pair.settle();
    }
    let promised = pair.client.mux.promised();
    assert!(promised > 0 && promised < WINDOW_MAX, "{promised}");
    while let Some(due) = pair.server.mux.poll_timeout() {
        pair.now = due;
        pair.server.mux.handle_timeout(due);
        pair.settle();
    }
    // What was consumed and not yet granted anew is less than half a window.
    assert!(
        pair.client.mux.promised() < WINDOW,
        "{}",
        pair.client.mux.promised()
    );
}

#[test]
fn what_has_no_place_on_a_link_ends_it() {
    let check = |side: Side, prefix: Prefix, header: &[u8], expected: Violation| {
        let mut pair = Pair::new(Options::default());
        pair.open();
        pair.settle();
        let end = if side == Side::Opener {
            &mut pair.server
        } else {
            &mut pair.client
        };
        let header = header.to_vec();
        assert_eq!(
            end.mux.handle_head(pair.now, Head { prefix, header }),
            Err(expected)
        );
    };
    let bare = Prefix::bare;
    let start = |id| bare(kind::START, id);
    check(Side::Acceptor, start(1), &[], Violation::Id(1));
    check(Side::Acceptor, start(4), &[], Violation::Id(4));
    check(Side::Opener, start(5), &[], Violation::Id(5));
    check(Side::Acceptor, bare(kind::FIN, 3), &[], Violation::Unopened(3));
    check(Side::Opener, Prefix::data(2, 1), &[], Violation::Unopened(2));
    check(
        Side::Opener,
        Prefix::credit(kind::WINDOW, 3),
        &[],
        Violation::Unopened(3),
    );
    check(
        Side::Acceptor,
        bare(kind::REGISTER, 0),
        &[],
        Violation::Kind(kind::REGISTER),
    );
    check(
        Side::Opener,
        bare(kind::RESET, 1),
        &[0xc1],
        Violation::Header(kind::RESET),
    );
    check(
        Side::Opener,
        bare(kind::GO_AWAY, 0),
        &[0xc1],
        Violation::Header(kind::GO_AWAY),
    );
}

#[test]
fn a_peer_that_floods_is_cut_off() {
    let flood = |prefix: Prefix| {
        let mut pair = Pair::new(Options::default());
        pair.open();
        pair.settle();
        let head = || Head {
            prefix,
            header: Vec::new(),
        };
        let mut received = (0..10_000).map(|_| pair.client.mux.handle_head(pair.now, head()));
        let violation = received.find_map(Result::err);
        (violation, pair.client.mux.urgent.len())
    };
    let empties = Some(Violation::TooMany("empty frames"));
    assert_eq!(flood(Prefix::data(1, 0)).0, empties);
    let (violation, waiting) = flood(Prefix::bare(kind::PING, 7));
    assert!(violation.is_none() && waiting <= PONGS_MAX);
    let mut pair = Pair::new(Options::default());
    let starts = (0..).map(|n| Head {
        prefix: Prefix::bare(kind::START, 2 * n + 1),
        header: Vec::new(),
    });
    let mut received = starts.map(|head| pair.client.mux.handle_head(pair.now, head));
    assert_eq!(
        received.find_map(Result::err),
        Some(Violation::TooMany("unanswered streams"))
    );
    assert_eq!(pair.client.mux.streams(), UNANSWERED_MAX);
}

#[test]
fn young_streams_overtake_bulk_and_bulk_is_shared_fairly() {
    let mut pair = Pair::new(Options {
        window: 1 << 20,
        ..Options::default()
    });
    let bulk = [pair.open(), pair.open()];
    for _ in 0..YOUNG_LEN as usize / OUT_LEN_MAX {
        for id in bulk {
            pair.server.mux.queue_data(id, bytes(OUT_LEN_MAX));
        }
        pair.server.speak(pair.now);
    }
    for id in bulk {
        pair.server.mux.queue_data(id, bytes(OUT_LEN_MAX));
    }
    let young = pair.open();
    pair.server.mux.queue_data(young, bytes(100));
    let said = pair.server.speak(pair.now);
    let (mut decoder, mut input, mut order) = (Decoder::new(LINK_BODY_LEN_MAX), &said[..], Vec::new());
    loop {
        match decoder.next(&mut input).unwrap() {
            Piece::Head(head) => order.push((head.prefix.stream_id, head.prefix.body_len)),
            Piece::Body(n) => {
                decoder.consume_body(n);
                input = &input[n..];
            }
            Piece::Incomplete => break,
        }
    }
    let (first, rest) = order.split_at(2);
    assert_eq!(first, [(young.value(), 0), (young.value(), 100)]);
    let quantum = lanes::QUANTUM as u32;
    let turns: Vec<_> = (0..4)
        .flat_map(|_| bulk.map(|id| (id.value(), quantum)))
        .collect();
    // Who is alone at the end sends what is left at once.
    assert_eq!(rest[..6], turns[..6]);
}

#[test]
fn a_refusal_by_the_client_leaves_nothing_behind() {
    let mut pair = Pair::new(Options::default());
    let id = pair.open();
    pair.server.mux.queue_data(id, bytes(500));
    pair.settle();
    let refused = Refused {
        code: RefuseCode::Unreachable.code(),
        message: String::new(),
    };
    pair.say_to_server(id, &ToServer::Refused(refused));
    pair.settle();
    pair.server.mux.queue_message(pair.now, id, &ToClient::Fin);
    pair.settle();
    pair.say_to_server(id, &ToServer::Finished(Finished::default()));
    pair.client.mux.release(pair.now, id);
    pair.settle();
    assert_eq!(pair.server.read(id).1, [kind::REFUSED, kind::FINISHED]);
    pair.server.mux.release(pair.now, id);
    assert_eq!((pair.server.mux.streams(), pair.client.mux.streams()), (0, 0));
}
