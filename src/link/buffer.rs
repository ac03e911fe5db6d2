//! Buffers that exist only while bytes flow.
//!
//! An idle session holds none. Each worker thread keeps a few for reuse; what is in a buffer is never read
//! beyond what its present user filled, so sharing them cannot carry a byte from one session to another.

use std::{cell::RefCell, collections::VecDeque};

use bytes::BytesMut;

use crate::wire::frame::PREFIX_LEN;

/// Bytes moved at once in one direction. Larger gains nothing on a copying path; smaller costs system calls.
pub const CHUNK_LEN: usize = 64 * 1024;

/// Buffers kept per thread. More holds memory after a peak; fewer allocates at each burst.
const SPARE_MAX: usize = 16;

/// How many chunks are looked at for one that nobody uses any more. More searches longer; fewer allocates more.
const CHUNK_TRIES: usize = 4;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static CHUNKS: RefCell<VecDeque<BytesMut>> = const { RefCell::new(VecDeque::new()) };
}

/// An empty chunk with room for [`CHUNK_LEN`] bytes, from this thread's spares, or a new one. How much is read at once
/// must not depend on what else this thread has done, or a run would not replay.
///
/// Unlike a [`Buffer`], what is read into it can be handed out in pieces that live as long as they are needed; its
/// memory is used again when the last of them is gone.
pub fn take_chunk() -> BytesMut {
    let spare = CHUNKS.with_borrow_mut(|chunks| {
        for _ in 0..CHUNK_TRIES.min(chunks.len()) {
            let mut chunk = chunks.pop_front()?;
            if chunk.capacity() >= CHUNK_LEN || chunk.try_reclaim(CHUNK_LEN) {
                return Some(chunk);
            }
            chunks.push_back(chunk);
        }
        None
    });
    spare.unwrap_or_else(|| BytesMut::with_capacity(CHUNK_LEN))
}

/// Gives what is left of a chunk back.
pub fn give_chunk(mut chunk: BytesMut) {
    chunk.clear();
    CHUNKS.with_borrow_mut(|chunks| {
        if chunks.len() < SPARE_MAX {
            chunks.push_back(chunk);
        }
    });
}

/// A chunk with room for a frame prefix in front; `start..end` is what is filled and not yet used.
#[derive(Debug)]
pub struct Buffer {
    bytes: Box<[u8]>,
    /// The first byte not yet used.
    pub start: usize,
    /// Behind the last byte filled.
    pub end: usize,
}

impl Buffer {
    /// An empty buffer from this thread's spares, or a new one.
    pub fn take() -> Self {
        let bytes = SPARE.with_borrow_mut(Vec::pop);
        let bytes = bytes.unwrap_or_else(|| vec![0; PREFIX_LEN + CHUNK_LEN].into_boxed_slice());
        Self {
            bytes,
            start: 0,
            end: 0,
        }
    }

    /// Gives the memory back.
    pub fn give(self) {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARE_MAX {
                spare.push(self.bytes);
            }
        });
    }

    /// All of it, to fill.
    pub fn whole(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// What is filled and not yet used.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Whether everything filled was used.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }
}
