//! Why a visit that failed is nobody's fault, and how often each reason was given.

use std::collections::BTreeMap;

/// Why nothing that was built is to blame for a visit that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Excuse {
    /// Nobody listened, because the server was away.
    NobodyThere,
    /// The server, or the forwarder, was in trouble.
    Server,
    /// The visitor was.
    Visitor,
    /// It asked for what nobody serves while others are lost for good.
    Outside,
    /// Whoever could have served it was in trouble, all at once.
    NobodyLeft,
    /// The server had as many sessions as it may.
    TurnedAway,
    /// It came to a crowd where connections are few.
    Crowd,
    /// A door of its service was shut as it came.
    Door,
    /// The world is too slow for a start.
    Slow,
    /// It met who is lost for good, or an upstream that closes what is idle, and must not be said again.
    Lost,
    /// As many were in trouble as may be tried.
    Tries,
    /// It was silent for longer than its half-closed session, or a candidate that closes what waits, lets it be.
    Silence,
    /// It had come to one in trouble, or may have, and must not, or could not, be said again.
    Carried,
}

impl Excuse {
    /// Its name in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::NobodyThere => "nobody-there",
            Self::Server => "server",
            Self::Visitor => "visitor",
            Self::Outside => "outside",
            Self::NobodyLeft => "nobody-left",
            Self::TurnedAway => "turned-away",
            Self::Crowd => "crowd",
            Self::Door => "door",
            Self::Slow => "slow",
            Self::Lost => "lost",
            Self::Tries => "tries",
            Self::Silence => "silence",
            Self::Carried => "carried",
        }
    }
}

impl Excuse {
    /// Whether it is as it should be that a visit does not begin, or ends: no server listens, or it has no room, or all has
    /// been silent for too long.
    pub fn is_right(name: &str) -> bool {
        [
            Self::NobodyThere.name(),
            Self::TurnedAway.name(),
            Self::Silence.name(),
        ]
        .contains(&name)
    }
}

/// How often each was given.
pub type Excuses = BTreeMap<&'static str, u64>;

/// A visit that failed: excused, or for all the good reasons that it had to succeed.
pub type Judgement = Result<Excuse, &'static str>;
