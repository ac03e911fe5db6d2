//! How well each target does: who is asked when, and what the answers come to.

pub mod actor;
pub mod ewma;
pub mod probe;
pub mod ratio;
pub mod schedule;
pub mod score;

use crate::time::Duration;

/// When and how targets are probed.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Between two probes of a member of the active set that carried nothing meanwhile. Default 5 s.
    pub interval: Duration,
    /// How long an answer may take. Default 2 s.
    pub timeout: Duration,
    /// How many of the others are probed in one interval, those first that waited longest.
    pub candidate_count: CandidateCount,
    /// What a probe is.
    pub kind: Kind,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            candidate_count: CandidateCount::default(),
            kind: Kind::default(),
        }
    }
}

/// How many targets outside the active set are probed in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CandidateCount {
    /// One in sixty of them, at least 16 and at most 256.
    #[default]
    Auto,
    /// So many.
    Fixed(usize),
}

impl CandidateCount {
    /// How many that is where there are `others`. At least 1.
    pub fn of(self, others: usize) -> usize {
        match self {
            Self::Auto => (others / 60).clamp(16, 256),
            Self::Fixed(count) => count.max(1),
        }
    }
}

/// What a probe is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Whoever accepts a connection is well. In a server's group: whose upstream accepts one, through the tunnel.
    #[default]
    Tcp,
    /// Whoever answers `GET path` with that status is well; in a server's group through the tunnel, as a session.
    Http {
        /// The path asked for.
        path: String,
        /// The status expected; `None` is any from 200 to 399.
        status: Option<u16>,
        /// The `Host` header; `None` is the target's address, in a server's group the upstream's name.
        host: Option<String>,
    },
    /// Nobody is probed; only sessions tell.
    Off,
}

/// What measurements count for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scoring {
    /// After so long an old measurement counts half. Default 10 s.
    pub half_life: Duration,
    /// What a failed attempt counts for at least. Default 2 s. Less, and who refuses quickly looks fast.
    pub failure_penalty: Duration,
    /// The cost that scores half of the best; `None` is the median of the group.
    pub reference: Option<Duration>,
}

impl Default for Scoring {
    fn default() -> Self {
        Self {
            half_life: Duration::from_secs(10),
            failure_penalty: Duration::from_secs(2),
            reference: None,
        }
    }
}
