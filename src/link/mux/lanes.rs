//! Who may send next: control frames, then streams in their first bytes, then bulk; within a lane one after the
//! other, each as much as the others (deficit round robin: M. Shreedhar and G. Varghese, 1995).

use std::collections::VecDeque;

use crate::{id::StreamId, probe::mutant};

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
    /// How many turns of others each stream has seen since it stands here, and how many it may see.
    #[cfg(feature = "mutants")]
    turns: std::collections::BTreeMap<StreamId, (usize, usize)>,
}

impl Lanes {
    /// A stream that did not wait does so now, behind all others of its lane.
    pub fn push(&mut self, lane: Lane, stream: StreamId) {
        #[cfg(feature = "mutants")]
        self.expect_turn(lane, stream);
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
                if self.run < YOUNG_RUN || !mutant!("run-of-the-young-never-over") {
                    self.run = 0;
                }
                self.bulk.pop_front()
            }
        };
        #[cfg(feature = "mutants")]
        self.count_turn(stream);
        Some((stream?, quantum))
    }

    /// Takes a stream that is no more out of its lane.
    pub fn remove(&mut self, stream: StreamId) {
        for lane in [&mut self.young, &mut self.bulk] {
            lane.retain(|waiting| *waiting != stream);
        }
        #[cfg(feature = "mutants")]
        self.turns.remove(&stream);
    }

    /// Who stands where.
    #[cfg(any(test, fuzzing, feature = "mutants"))]
    pub fn standing(&self) -> impl Iterator<Item = (Lane, StreamId)> {
        let young = self.young.iter().map(|stream| (Lane::Young, *stream));
        young.chain(self.bulk.iter().map(|stream| (Lane::Bulk, *stream)))
    }

    /// A stream begins to wait: of its lane it lets those go first who stand there, of the other no more than its share.
    #[cfg(feature = "mutants")]
    fn expect_turn(&mut self, lane: Lane, stream: StreamId) {
        let (young, bulk) = (self.young.len(), self.bulk.len());
        let turns_max = match lane {
            Lane::Young => young + young / YOUNG_RUN as usize + 1,
            Lane::Bulk => bulk + (bulk + 1) * YOUNG_RUN as usize,
        };
        let stood = self.turns.insert(stream, (0, turns_max));
        assert!(stood.is_none(), "a stream stands in one lane, once");
    }

    /// It is the turn of a stream: all others wait for one turn more.
    #[cfg(feature = "mutants")]
    fn count_turn(&mut self, stream: Option<StreamId>) {
        let stood = stream.and_then(|stream| self.turns.remove(&stream));
        assert!(stood.is_some(), "whose turn it is has waited for it");
        for (turns, turns_max) in self.turns.values_mut() {
            *turns += 1;
            assert!(
                *turns <= *turns_max,
                "nobody waits for more turns than those who stood before it have"
            );
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
