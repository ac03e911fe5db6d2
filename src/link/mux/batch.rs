//! Frames on their way out: many small ones as one piece of memory, large bodies as they are.

use std::{collections::VecDeque, io::IoSlice};

use bytes::Bytes;

use crate::{probe::mutant, wire::frame::Prefix};

/// Bytes that leave the core at once. Larger makes urgent frames wait behind them; smaller costs system calls.
pub const BATCH_LEN: usize = 64 * 1024;

/// Bodies up to this length are copied behind their prefix: a write of one piece is cheaper than one of two.
const COPY_LEN_MAX: usize = 1024;

/// Memory for small frames, and places for pieces, that are kept while none are there.
const SPARE_LEN: usize = 4 * 1024;
const SPARE_PIECES: usize = 32;

#[derive(Debug)]
enum Piece {
    /// So many bytes of `small`.
    Small(usize),
    Large(Bytes),
}

/// Frames to be written, in order.
#[derive(Debug, Default)]
pub struct Batch {
    small: Vec<u8>,
    /// How much of `small` is written.
    small_written: usize,
    pieces: VecDeque<Piece>,
    len: usize,
}

impl Batch {
    /// Bytes not yet written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether no more should be added before it is written.
    pub fn is_full(&self) -> bool {
        self.len >= BATCH_LEN
    }

    /// Adds a prefix; its header or body is to follow.
    pub fn push_prefix(&mut self, prefix: Prefix) {
        self.push_small(&prefix.encode());
    }

    /// Adds a frame without a body.
    pub fn push_message(&mut self, kind: u8, stream_id: u32, header: &[u8]) {
        let header_len = u16::try_from(header.len()).expect("our own headers fit a frame");
        self.push_prefix(Prefix {
            header_len,
            ..Prefix::bare(kind, stream_id)
        });
        self.push_small(header);
    }

    /// Adds a frame of credit.
    pub fn push_credit(&mut self, kind: u8, stream_id: u32, credit: u32) {
        self.push_prefix(Prefix::credit(kind, stream_id));
        self.push_small(&credit.to_le_bytes());
    }

    /// Adds a piece of a body.
    pub fn push_body(&mut self, body: Bytes) {
        if body.len() <= COPY_LEN_MAX {
            self.push_small(&body);
        } else {
            self.len += body.len();
            self.pieces.push_back(Piece::Large(body));
        }
    }

    fn push_small(&mut self, bytes: &[u8]) {
        self.small.extend_from_slice(bytes);
        self.len += bytes.len();
        match self.pieces.back_mut() {
            Some(Piece::Small(len)) => *len += bytes.len(),
            _ => self.pieces.push_back(Piece::Small(bytes.len())),
        }
    }

    /// Points `slices` at what is to be written next; returns how many were set.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut small = &self.small[self.small_written..];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = match piece {
                Piece::Small(len) => {
                    let (bytes, rest) = small.split_at(*len);
                    small = rest;
                    IoSlice::new(bytes)
                }
                Piece::Large(bytes) => IoSlice::new(bytes),
            };
            count += 1;
        }
        count
    }

    /// So many bytes were written.
    ///
    /// # Panics
    /// When there were not so many.
    pub fn advance(&mut self, mut written: usize) {
        self.len = self
            .len
            .checked_sub(written)
            .expect("no more is written than was there");
        while written > 0 {
            let piece = self.pieces.front_mut().expect("what was written stands in front");
            let (taken, emptied) = match piece {
                Piece::Small(len) => {
                    let taken = written.min(*len);
                    *len -= taken;
                    if *len == 0 || !mutant!("partial-write-forgotten") {
                        self.small_written += taken;
                    }
                    (taken, *len == 0)
                }
                Piece::Large(bytes) => {
                    let taken = written.min(bytes.len());
                    bytes::Buf::advance(bytes, taken);
                    (taken, bytes.is_empty())
                }
            };
            written -= taken;
            if emptied {
                self.pieces.pop_front();
            }
        }
        if self.is_empty() {
            self.small_written = 0;
            self.small.clear();
            self.small.shrink_to(SPARE_LEN);
            self.pieces.shrink_to(SPARE_PIECES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::kind;

    #[test]
    fn what_is_written_in_steps_is_what_was_added() {
        for step in [1, 7, 4096, 100_000] {
            let mut batch = Batch::default();
            let (small, large) = (Bytes::from(vec![1; 10]), Bytes::from(vec![2; 5000]));
            batch.push_prefix(Prefix::data(1, 5010));
            batch.push_body(small);
            batch.push_body(large);
            batch.push_message(kind::FIN, 1, &[]);
            batch.push_credit(kind::WINDOW, 3, 70_000);
            let mut seen = Vec::new();
            while !batch.is_empty() {
                let mut slices = [IoSlice::new(&[]); 4];
                let count = batch.slices(&mut slices);
                let there: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
                let written = there.len().min(step);
                seen.extend_from_slice(&there[..written]);
                batch.advance(written);
            }
            let mut expected = Prefix::data(1, 5010).encode().to_vec();
            expected.extend([1; 10]);
            expected.extend([2; 5000]);
            expected.extend(Prefix::bare(kind::FIN, 1).encode());
            expected.extend(Prefix::credit(kind::WINDOW, 3).encode());
            expected.extend(70_000u32.to_le_bytes());
            assert!(seen == expected, "step {step}");
        }
    }
}
