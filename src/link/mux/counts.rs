//! What a link counts between two looks.

use super::lanes::Lane;

/// How often something had to wait, by what it waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stalls {
    /// A stream had bytes and no credit.
    pub credit: u64,
    /// A writer found its stream's queue full.
    pub queue: u64,
    /// The link's socket took no more.
    pub socket: u64,
}

/// Figures since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Streams opened, by either end.
    pub opened: u64,
    /// Resets sent and received, by the label of their code.
    pub resets: Vec<&'static str>,
    /// Bytes sent that belong to no stream: credit, PING and the like.
    pub control: u64,
    /// Bytes of data sent by young streams.
    pub young: u64,
    /// Bytes of data sent by the others.
    pub bulk: u64,
    /// What had to wait.
    pub stalls: Stalls,
}

impl Counts {
    /// So many bytes went out by this lane.
    pub fn sent(&mut self, lane: Lane, bytes: u64) {
        match lane {
            Lane::Young => self.young += bytes,
            Lane::Bulk => self.bulk += bytes,
        }
    }
}
