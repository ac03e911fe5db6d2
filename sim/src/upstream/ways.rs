//! What upstreams are like.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Site;
use crate::plan::Millis;

/// How an upstream feels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mood {
    /// As it should.
    Well,
    /// Nobody listens.
    Refuses,
    /// Accepts, and closes.
    ClosesAtOnce,
    /// Accepts, and never says a word.
    Hangs,
    /// Closes after half of the reply.
    AnswersHalf,
    /// Stops to read and to write in the middle of each session.
    Stalls,
    /// Accepts, and resets.
    Resets,
    /// Serves who comes, and answers an HTTP probe with 503.
    Unready,
    /// The same, but only each probe of so many.
    Hiccups {
        /// Of how many; never two in a row.
        one_in: u64,
    },
    /// Listens for a while, then does not, and so on.
    Flaps {
        /// So long each.
        half_period_ms: Millis,
    },
}

impl Mood {
    /// Whether sessions that are brought there come to nothing, and nobody can tell whether they did.
    pub fn loses(self) -> bool {
        matches!(self, Self::Hangs | Self::Stalls | Self::Resets)
    }

    /// Whether it leaves a connection open and says nothing on it.
    pub fn is_mute(self) -> bool {
        matches!(self, Self::Hangs | Self::Stalls)
    }
}

/// How an upstream always is.
#[derive(Clone, Copy, Debug)]
pub struct Ways {
    /// It greets everyone who comes; else who has said what it wants.
    pub speaks_first: bool,
    /// It closes connections that say nothing for so long; `None` is not even when it is told to.
    pub idle: Option<Duration>,
    /// It speaks HTTP.
    pub site: Option<Site>,
    /// Further upstreams that run on its machine, each behind a door of its own.
    pub further: usize,
}

impl Default for Ways {
    fn default() -> Self {
        Self {
            speaks_first: true,
            idle: None,
            site: None,
            further: 0,
        }
    }
}
