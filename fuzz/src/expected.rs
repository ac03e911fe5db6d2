//! What a stream of frames means, by the rules of `docs/protocol.md`, for a reader that has all of it at hand. Shares
//! the prefix with the decoder it judges, and nothing else.

use adit::wire::{
    codec::Head,
    frame::{PREFIX_LEN, Prefix},
};

const HEADER_LEN_MAX: u16 = 16 * 1024;
const SKIPPED_BODY_LEN_MAX: u32 = 64 * 1024;
const IGNORABLE: u8 = 0x01;
const DATA: u8 = 32;
/// WINDOW and WINDOW_RETURN, whose body is a number of four bytes.
const CREDIT: [u8; 2] = [37, 38];
/// Kinds without a header.
const BARE: [u8; 6] = [DATA, 33, 35, 36, 37, 38];

/// Why a frame is not one. A frame may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    HeaderTooLong,
    BodyTooLong,
    UnexpectedBody,
    UnexpectedHeader,
    CreditLen,
}

/// All that a stream says.
#[derive(Debug)]
pub(crate) struct Expected {
    /// Heads, and as much of their bodies as is there.
    pub(crate) frames: Vec<(Head, Vec<u8>)>,
    /// What is wrong with the first bad frame; nothing behind it counts.
    pub(crate) faults: Vec<Fault>,
    /// The stream ends exactly between two frames.
    pub(crate) between: bool,
}

/// Whether the protocol has a message of this kind in some direction.
fn is_known(kind: u8) -> bool {
    matches!(kind, 1..=8 | 16..=21 | 32..=38 | 48..=54)
}

fn faults(prefix: Prefix, skipped: bool, body_len_max: u32) -> Vec<Fault> {
    let body_len_max = if skipped {
        SKIPPED_BODY_LEN_MAX
    } else {
        body_len_max
    };
    let may_have_body = prefix.kind == DATA || CREDIT.contains(&prefix.kind) || skipped;
    let found = [
        (prefix.header_len > HEADER_LEN_MAX, Fault::HeaderTooLong),
        (prefix.body_len > body_len_max, Fault::BodyTooLong),
        (prefix.body_len > 0 && !may_have_body, Fault::UnexpectedBody),
        (
            prefix.header_len > 0 && BARE.contains(&prefix.kind),
            Fault::UnexpectedHeader,
        ),
        (
            CREDIT.contains(&prefix.kind) && prefix.body_len != 4,
            Fault::CreditLen,
        ),
    ];
    found
        .into_iter()
        .filter(|(wrong, _)| *wrong)
        .map(|(_, fault)| fault)
        .collect()
}

/// Reads the whole of `stream`, whose bodies have at most `body_len_max` bytes.
pub(crate) fn expected(stream: &[u8], body_len_max: u32) -> Expected {
    let mut read = Expected {
        frames: Vec::new(),
        faults: Vec::new(),
        between: true,
    };
    let mut left = stream;
    while let Some((prefix, rest)) = left.split_first_chunk::<PREFIX_LEN>() {
        let prefix = Prefix::decode(prefix);
        let skipped = prefix.flags & IGNORABLE != 0 && !is_known(prefix.kind);
        read.faults = faults(prefix, skipped, body_len_max);
        if !read.faults.is_empty() {
            return read;
        }
        let Some((header, rest)) = rest.split_at_checked(prefix.header_len.into()) else {
            read.between = false;
            return read;
        };
        let (body, rest) = rest.split_at(rest.len().min(prefix.body_len as usize));
        if !skipped {
            let header = header.to_vec();
            read.frames.push((Head { prefix, header }, body.to_vec()));
        }
        read.between = body.len() == prefix.body_len as usize;
        left = rest;
    }
    read.between = read.between && left.is_empty();
    read
}
