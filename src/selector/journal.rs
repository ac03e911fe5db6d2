//! What was decided about an active set, on what grounds. Pure.

use std::{collections::VecDeque, fmt, sync::Arc};

use crate::{prober::score::Score, time::Instant};

/// How many decisions are remembered.
const DECISIONS_MAX: usize = 256;

/// What happened to the active set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A target may be used from now on.
    Added,
    /// A target may be used no more.
    Removed,
    /// Something about the whole group is seen differently.
    Noted,
}

/// Why it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is new.
    Joined,
    /// It is gone.
    Left,
    /// It takes no new sessions.
    Draining,
    /// It could not be reached, or broke what it carried, several times in a row.
    Failing,
    /// Too few attempts succeeded.
    RarelySucceeds,
    /// It scores too little, and others more.
    LowScore,
    /// There was room.
    Room,
    /// It recovered, and its hold-off is over.
    Recovered,
    /// It is better than the worst member.
    Better,
    /// Another is better.
    Worse,
    /// It was taken before it was measured, and another turned out to be better.
    Settled,
    /// Nobody is well: the least bad is used.
    LastResort,
    /// Somebody well is back: the last resort is over.
    ResortOver,
    /// Too many are out: those that merely do poorly are used all the same.
    Panic,
    /// Enough are well again.
    PanicOver,
    /// Nearly all probes fail at once, which is rather this node's own network: nothing is changed.
    Frozen,
    /// Probes are believed again.
    Thawed,
}

impl Reason {
    /// Whether a failure is what it rests on.
    pub fn has_cause(self) -> bool {
        matches!(self, Self::Failing | Self::RarelySucceeds | Self::LastResort)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Joined => "joined",
            Self::Left => "left",
            Self::Draining => "draining",
            Self::Failing => "failing",
            Self::RarelySucceeds => "rarely succeeds",
            Self::LowScore => "low score",
            Self::Room => "room",
            Self::Recovered => "recovered",
            Self::Better => "better",
            Self::Worse => "another is better",
            Self::Settled => "another measured better",
            Self::LastResort => "last resort",
            Self::ResortOver => "last resort is over",
            Self::Panic => "panic: too many are out",
            Self::PanicOver => "panic is over",
            Self::Frozen => "frozen: a local fault is suspected",
            Self::Thawed => "thawed",
        })
    }
}

/// One decision, with what it rested on.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// When.
    pub at: Instant,
    /// Of whom; `None` when it is about the group.
    pub target: Option<Arc<str>>,
    /// What.
    pub change: Change,
    /// Why.
    pub reason: Reason,
    /// What the target said when it failed, or what was said of it.
    pub cause: Option<Arc<str>>,
    /// What was known of the target.
    pub score: Option<Score>,
    /// How many members the active set has now.
    pub members: usize,
    /// How many targets the group has now.
    pub targets: usize,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(target) = &self.target {
            let change = match self.change {
                Change::Added => "added ",
                Change::Removed => "removed ",
                Change::Noted => "",
            };
            write!(f, "{change}{target}: ")?;
        }
        match (self.reason, &self.target) {
            (Reason::LastResort, None) => f.write_str("all targets fail: the least bad are used")?,
            (Reason::ResortOver, None) if self.targets == 0 => {
                f.write_str("the targets that failed are gone")?
            }
            (Reason::ResortOver, None) => f.write_str("not all targets fail any more")?,
            (reason, _) => write!(f, "{reason}")?,
        }
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        if let Some(score) = &self.score {
            write!(f, " ({score})")?;
        }
        write!(f, "; {} of {} used", self.members, self.targets)
    }
}

/// The last decisions of one group, oldest first.
#[derive(Debug, Default)]
pub struct Journal(VecDeque<Decision>);

impl Journal {
    /// Remembers `decision`, and forgets the oldest when there are too many.
    pub fn push(&mut self, decision: Decision) {
        if self.0.len() == DECISIONS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(decision);
    }

    /// What is remembered, oldest first.
    pub fn decisions(&self) -> impl Iterator<Item = &Decision> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        prober::{Scoring, score::Meter},
        time::Duration,
    };

    fn decision(members: usize) -> Decision {
        let now = crate::time::now();
        let mut meter = Meter::new(now, &Scoring::default(), Duration::from_secs(5));
        meter.handle_success(now, Duration::from_millis(10));
        Decision {
            at: now,
            target: Some("a/main".into()),
            change: Change::Added,
            reason: Reason::Better,
            cause: None,
            score: Some(meter.score(now, Duration::from_millis(20))),
            members,
            targets: 300,
        }
    }

    #[test]
    fn a_decision_is_one_line() {
        assert_eq!(
            decision(3).to_string(),
            "added a/main: better (score 50, latency 10.0 ms, jitter 5.0 ms); 3 of 300 used"
        );
    }

    #[test]
    fn a_failure_says_why() {
        let failing = Decision {
            change: Change::Removed,
            reason: Reason::Failing,
            cause: Some("GET /health answered 500, expected 200 to 399".into()),
            score: None,
            ..decision(2)
        };
        assert_eq!(
            failing.to_string(),
            "removed a/main: failing: GET /health answered 500, expected 200 to 399; 2 of 300 used"
        );
        let all = Decision {
            target: None,
            reason: Reason::LastResort,
            change: Change::Noted,
            cause: None,
            ..failing
        };
        assert_eq!(
            all.to_string(),
            "all targets fail: the least bad are used; 2 of 300 used"
        );
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut journal = Journal::default();
        (0..300).for_each(|n| journal.push(decision(n)));
        assert_eq!(journal.decisions().count(), DECISIONS_MAX);
        assert_eq!(journal.decisions().next().unwrap().members, 300 - DECISIONS_MAX);
    }
}
