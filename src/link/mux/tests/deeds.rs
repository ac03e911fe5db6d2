//! Deeds in any order.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    super::{Options, stream::Progress},
    Pair,
};
use crate::{
    id::StreamId,
    time::Duration,
    wire::message::{ResetCode, ToServer},
};

/// Whatever is done in whatever order: bytes come in order and complete, and the books are right at every step.
#[test]
fn any_order_of_deeds_keeps_the_books_right() {
    for seed in 0..60 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut pair = Pair::new(Options {
            window: rng.random_range(1..100_000),
            streams_max: 6,
            ..Options::default()
        });
        // What was said on each stream, to the client and to the server, and how much of it was heard.
        let mut said: BTreeMap<StreamId, [Vec<u8>; 2]> = BTreeMap::new();
        let mut heard: BTreeMap<StreamId, [usize; 2]> = BTreeMap::new();
        let mut live: Vec<StreamId> = Vec::new();
        for _ in 0..400 {
            pair.now += Duration::from_millis(rng.random_range(0..20));
            let now = pair.now;
            let stream = (!live.is_empty()).then(|| live[rng.random_range(0..live.len())]);
            let way = rng.random_range(0..2usize);
            match (rng.random_range(0..12), stream) {
                (0, _) if pair.server.mux.reserve(now).is_ok() => {
                    pair.server.mux.cancel();
                    let id = pair.open();
                    live.push(id);
                    said.insert(id, Default::default());
                    heard.insert(id, [0, 0]);
                }
                (1..=4, Some(id)) => {
                    let end = if way == 0 {
                        &mut pair.server
                    } else {
                        &mut pair.client
                    };
                    let there = end
                        .mux
                        .streams
                        .get(&id)
                        .is_some_and(|stream| stream.saying == Progress::Open);
                    let room = end.mux.room(id).min(rng.random_range(1..50_000));
                    if there && room > 0 {
                        let seen = said.get_mut(&id).unwrap();
                        let from = seen[way].len();
                        let fresh: Vec<u8> = (from..from + room).map(|n| (n / 3) as u8).collect();
                        seen[way].extend(&fresh);
                        end.mux.queue_data(id, Bytes::from(fresh));
                    }
                }
                (5..=7, Some(id)) => {
                    let end = if way == 0 {
                        &mut pair.client
                    } else {
                        &mut pair.server
                    };
                    let (read, _) = end.read(id);
                    let at = &mut heard.get_mut(&id).unwrap()[way];
                    assert!(
                        said[&id][way][*at..].starts_with(&read),
                        "seed {seed}: {id} in order"
                    );
                    *at += read.len();
                    end.mux.handle_consumed(now, id, read.len());
                }
                (8, Some(id)) if rng.random_bool(0.3) => {
                    let end = if way == 0 {
                        &mut pair.server
                    } else {
                        &mut pair.client
                    };
                    end.mux.reset(now, id, ResetCode::Timeout);
                    pair.server.mux.release(now, id);
                    pair.client.mux.release(now, id);
                    live.retain(|other| *other != id);
                }
                (8, Some(id)) => {
                    if pair
                        .client
                        .mux
                        .streams
                        .get(&id)
                        .is_some_and(|stream| !stream.answered)
                    {
                        pair.client.mux.queue_message(now, id, &ToServer::Started);
                    }
                }
                (9, _) => {
                    let there = pair.server.speak(now);
                    pair.client.under_way.extend(there);
                    let back = pair.client.speak(now);
                    pair.server.under_way.extend(back);
                }
                _ => {
                    let len = rng.random_range(1..40_000);
                    let end = if way == 0 {
                        &mut pair.client
                    } else {
                        &mut pair.server
                    };
                    end.receive(now, len).unwrap();
                    if let Some(due) = end.mux.poll_timeout() {
                        end.mux.handle_timeout(due.min(now));
                    }
                }
            }
            pair.server.mux.check_all();
            pair.client.mux.check_all();
        }
        // In the end everything that was said is heard.
        let mut news = true;
        while std::mem::take(&mut news) {
            pair.settle();
            for id in &live {
                for (way, end) in [&mut pair.client, &mut pair.server].into_iter().enumerate() {
                    let (read, _) = end.read(*id);
                    let at = &mut heard.get_mut(id).unwrap()[way];
                    assert!(
                        said[id][way][*at..].starts_with(&read),
                        "seed {seed}: {id} in order"
                    );
                    *at += read.len();
                    news |= !read.is_empty();
                    end.mux.handle_consumed(pair.now, *id, read.len());
                }
            }
        }
        // One that was opened while the client still had another to forget was refused.
        live.retain(|id| pair.client.mux.streams.contains_key(id));
        for id in live {
            let lens = [said[&id][0].len(), said[&id][1].len()];
            assert_eq!(heard[&id], lens, "seed {seed}: {id} complete");
        }
    }
}
