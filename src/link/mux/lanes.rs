//! Who may send next: control frames, then streams in their first bytes, then bulk; within a lane one after the
//! other, each as much as the others (deficit round robin: M. Shreedhar and G. Varghese, 1995).

use std::collections::VecDeque;

use crate::id::StreamId;

/// What a stream may send in one turn. Larger makes the others wait longer; smaller costs more frames.
pub const QUANTUM: u64 = 16 * 1024;

/// What it may send in one turn while nobody else wants to: a whole frame.
pub const QUANTUM_ALONE: u64 = 64 * 1024;

/// A stream that has sent so much is bulk. Larger lets short transfers delay each other; smaller makes the
/// answers of ordinary requests wait behind downloads.
pub const YOUNG_LEN: u64 = 64 * 1024;

/// Turns that young streams get before a bulk stream has one, or bulk would starve in a storm of visitors.
const YOUNG_RUN: u32 = 16;

/// Where a stream waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Has something to say for the first time, or nearly.
    Young,
    /// Moves a lot.
    Bulk,
}

impl Lane {
    /// The lane of a stream that has sent so many bytes.
    pub fn of(sent: u64) -> Self {
        if sent < YOUNG_LEN { Self::Young } else { Self::Bulk }
    }
}

/// The streams that could send now. Each stands in at most one lane, once.
#[derive(Debug, Default)]
pub struct Lanes {
    young: VecDeque<StreamId>,
    bulk: VecDeque<StreamId>,
    /// Turns of young streams since the last of a bulk stream.
    run: u32,
}

impl Lanes {
    /// A stream that did not wait does so now, behind all others of its lane.
    pub fn push(&mut self, lane: Lane, stream: StreamId) {
        match lane {
            Lane::Young => self.young.push_back(stream),
            Lane::Bulk => self.bulk.push_back(stream),
        }
    }

    /// Whose turn it is, and how much it may send.
    pub fn pop(&mut self) -> Option<(StreamId, u64)> {
        let lane = match (self.young.is_empty(), self.bulk.is_empty()) {
            (true, true) => return None,
            (false, true) => Lane::Young,
            (true, false) => Lane::Bulk,
            (false, false) if self.run >= YOUNG_RUN => Lane::Bulk,
            (false, false) => Lane::Young,
        };
        let quantum = match self.len() {
            1 => QUANTUM_ALONE,
            _ => QUANTUM,
        };
        let stream = match lane {
            Lane::Young => {
                self.run += 1;
                self.young.pop_front()
            }
            Lane::Bulk => {
                self.run = 0;
                self.bulk.pop_front()
            }
        };
        Some((stream?, quantum))
    }

    /// Takes a stream that is no more out of its lane.
    pub fn remove(&mut self, stream: StreamId) {
        for lane in [&mut self.young, &mut self.bulk] {
            lane.retain(|waiting| *waiting != stream);
        }
    }

    /// Streams that wait for their turn.
    pub fn len(&self) -> usize {
        self.young.len() + self.bulk.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(lanes: &mut Lanes, count: usize) -> Vec<u32> {
        let mut turn = |_| {
            let (stream, _) = lanes.pop()?;
            // Even streams are bulk here.
            let lane = if stream.value() % 2 == 0 {
                Lane::Bulk
            } else {
                Lane::Young
            };
            lanes.push(lane, stream);
            Some(stream.value())
        };
        (0..count).filter_map(&mut turn).collect()
    }

    #[test]
    fn young_streams_go_first_and_bulk_does_not_starve() {
        let mut lanes = Lanes::default();
        for stream in [2, 4, 1, 3] {
            let lane = if stream % 2 == 0 { Lane::Bulk } else { Lane::Young };
            lanes.push(lane, StreamId::new(stream));
        }
        let seen = turns(&mut lanes, 51);
        assert_eq!(seen[..4], [1, 3, 1, 3]);
        let bulk: Vec<_> = seen.iter().filter(|stream| **stream % 2 == 0).collect();
        assert_eq!(bulk, [&2, &4, &2], "one turn in seventeen, in order");
    }

    #[test]
    fn who_is_alone_sends_whole_frames() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.pop(), None);
        lanes.push(Lane::Bulk, StreamId::new(1));
        lanes.push(Lane::Young, StreamId::new(3));
        assert_eq!(lanes.pop(), Some((StreamId::new(3), QUANTUM)));
        assert_eq!(lanes.pop(), Some((StreamId::new(1), QUANTUM_ALONE)));
    }
}
