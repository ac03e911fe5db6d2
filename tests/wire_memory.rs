//! Hostile bytes cost bounded memory. A binary with a single test: its allocator counts for the whole process.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use adit::wire::{
    codec::{Decoder, Piece},
    frame::{PROXY_BODY_LEN_MAX, Prefix},
    message::{Message, ToClient, ToServer},
};
use peak_alloc::PeakAlloc;
use proptest::{collection::vec, prelude::*, test_runner::TestRunner};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What a whole decode may hold: a header of 16 KiB, its message, and lists of 256 strings.
const PEAK_MAX: usize = 96 * 1024;

/// The most bytes that `work` held at once.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = work();
    (result, MEMORY.peak_usage().saturating_sub(before))
}

#[test]
fn hostile_bytes_cost_bounded_memory() {
    any_header();
    any_stream();
    headers_that_claim_more_than_they_have();
    prefixes_are_judged_before_anything_is_allocated();
}

/// A header of any bytes, in either direction: no panic, and no more memory than its length explains.
fn any_header() {
    let check = |(kind, header): (u8, Vec<u8>)| {
        let (_, peak) = peak_of(|| {
            (
                ToServer::decode(kind, &header).is_ok(),
                ToClient::decode(kind, &header).is_ok(),
            )
        });
        prop_assert!(
            peak < PEAK_MAX,
            "{peak} bytes held for a header of {}",
            header.len()
        );
        Ok(())
    };
    TestRunner::default()
        .run(&(0u8..60, vec(any::<u8>(), 0..16_384)), check)
        .unwrap();
}

fn any_stream() {
    let check = |(input, chunk): (Vec<u8>, usize)| {
        let (_, peak) = peak_of(|| decode(&input, chunk));
        prop_assert!(peak < PEAK_MAX, "{peak} bytes held");
        Ok(())
    };
    TestRunner::default()
        .run(&(vec(any::<u8>(), 0..40_000), 1usize..5_000), check)
        .unwrap();
}

fn decode(input: &[u8], chunk: usize) {
    let mut decoder = Decoder::new(PROXY_BODY_LEN_MAX);
    for mut chunk in input.chunks(chunk) {
        loop {
            match decoder.next(&mut chunk) {
                Err(_) => return,
                Ok(Piece::Incomplete) => break,
                Ok(Piece::Head(head)) => drop(head.message::<ToServer>()),
                Ok(Piece::Body(n)) => {
                    decoder.consume_body(n);
                    chunk = &chunk[n..];
                }
            }
        }
    }
}

/// Lists of 4 billion strings, strings of 4 GiB, deep nests.
fn headers_that_claim_more_than_they_have() {
    let claims: [&[u8]; 6] = [
        b"\x81\xa9upstreams\xdd\xff\xff\xff\xff",
        b"\x81\xa8features\xdc\xff\xff",
        b"\x81\xa5nonce\xc6\xff\xff\xff\xff",
        b"\x81\xa5group\xdb\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        &[0x91; 16_384],
    ];
    for claim in claims {
        let (result, peak) = peak_of(|| ToServer::decode(1, claim).is_err());
        assert!(result, "{:02x?} is no Register", &claim[..4]);
        assert!(peak < 16 * 1024, "{peak} bytes held for {} bytes", claim.len());
    }
    // As many elements as the bytes allow: 16 KiB of empty maps.
    let mut many = b"\x81\xa9upstreams\xdc\x3f\x00".to_vec();
    many.resize(16_384, 0x80);
    let (result, peak) = peak_of(|| ToServer::decode(1, &many).is_err());
    assert!(result && peak < PEAK_MAX, "{peak} bytes held");
}

fn prefixes_are_judged_before_anything_is_allocated() {
    let claims = [
        (1, u16::MAX, 0),
        (1, 16 * 1024 + 1, 0),
        (32, 0, PROXY_BODY_LEN_MAX + 1),
        (32, 0, u32::MAX),
        (1, 10, 1),
        (33, 1, 0),
    ];
    for (kind, header_len, body_len) in claims {
        let prefix = Prefix {
            header_len,
            body_len,
            ..Prefix::bare(kind, 1)
        };
        let bytes = prefix.encode();
        let (result, peak) = peak_of(|| {
            Decoder::new(PROXY_BODY_LEN_MAX)
                .next(&mut bytes.as_slice())
                .is_err()
        });
        assert!(result && peak < 1024, "{prefix:?}: {peak} bytes held");
    }
}
