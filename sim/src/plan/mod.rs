//! One seed makes one plan: who lives in the world, what each does and what is done to it, as plain data.
//! The plan runs, not the seed: a plan can be printed, edited, compared, made smaller and kept in a file.

pub mod ailing;
pub mod asks;
pub mod check;
pub mod choice;
pub mod disk;
pub mod draw;
pub mod far;
pub mod file;
pub mod forward;
pub mod hosts;
pub mod impostor;
pub mod knobs;
pub mod lone;
pub mod offers;
pub mod patience;
pub mod purpose;
pub mod relapse;
mod second;
mod steady;
mod still;
mod strained;
mod strangers;
pub mod visits;
pub mod web;
pub mod who;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

pub use self::purpose::Purpose;
use self::{
    forward::Forward,
    knobs::Knobs,
    offers::Offer,
    web::{Call, Web},
    who::Who,
};
use crate::{
    fault::{AnyAct, Fault, WRITE_FAILED_MS},
    node::group_name,
    payload::When,
};

/// Milliseconds: of simulated time since the run began, or between two moments of it.
pub type Millis = u64;

/// Everything a run does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The scenario it was drawn for.
    pub scenario: String,
    /// Where it came from, and what the run draws its small choices from.
    pub seed: u64,
    /// When the run ends.
    pub duration_ms: Millis,
    /// When everything but the lasting faults is healed and the liveness phase begins.
    pub heal_ms: Millis,
    /// How long before and after the healing nobody begins a visit: what heals must heal by itself.
    #[serde(default)]
    pub quiet_ms: (Millis, Millis),
    /// When the last visit may begin; what follows is the time to come to rest.
    pub last_visit_ms: Millis,
    /// What is turned.
    #[serde(default)]
    pub knobs: Knobs,
    /// The group each client serves. Every client has an upstream host of its own.
    pub clients: Vec<usize>,
    /// What clients offer besides their first upstream.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offers: Vec<Offer>,
    /// Whether there is another server, with which all clients register as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub second_server: bool,
    /// In a world of the forwarder: it and its candidates. There are no clients then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<Forward>,
    /// In a world of an HTTP entry: what is behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<Web>,
    /// What is done to the world.
    pub faults: Vec<Fault>,
    /// What strangers do.
    #[serde(default)]
    pub strangers: Vec<Intrusion>,
    /// What each visitor does, in order.
    pub visitors: Vec<Vec<Visit>>,
    /// The planted bug that is switched on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<String>,
}

/// One visitor connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Visit {
    /// Pause before it.
    pub pause_ms: Millis,
    /// The group it asks for.
    #[serde(default)]
    pub group: usize,
    /// Body bytes to send.
    pub len: u64,
    /// Body bytes to get.
    pub reply_len: u64,
    /// When the upstream replies.
    pub when: When,
    /// How long the upstream thinks before that.
    pub delay_ms: Millis,
    /// Bytes per write.
    pub piece: usize,
    /// The pause after each write.
    pub piece_pause_ms: Millis,
    /// The pause after each read of 16 KiB.
    #[serde(default)]
    pub read_pause_ms: Millis,
    /// A pause in the middle of reading.
    #[serde(default)]
    pub stall_ms: Millis,
    /// How long the upstream stops reading, half-way through the body.
    #[serde(default)]
    pub hold_ms: Millis,
    /// How long it says nothing at first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mute_ms: Millis,
    /// How it behaves.
    pub manner: Manner,
    /// So many of its kind at once.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub at_once: usize,
    /// What it asks, in a world of an HTTP entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_zero(ms: &Millis) -> bool {
    *ms == 0
}

fn one() -> usize {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_one(n: &usize) -> bool {
    *n == 1
}

/// How a visitor behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manner {
    /// Sends, and ends its direction when it has everything.
    Plain,
    /// Ends its direction as soon as it has sent everything.
    HalfClose,
    /// Sends nothing before the upstream's greeting.
    ReadFirst,
    /// Leaves after sending half.
    Leave,
    /// Resets after sending half.
    Reset,
    /// Leaves when so much time is over, wherever it is.
    Quit {
        /// After this long.
        after_ms: Millis,
    },
}

impl fmt::Display for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::HalfClose => f.write_str("half-close"),
            Self::ReadFirst => f.write_str("read first"),
            Self::Leave => f.write_str("leave"),
            Self::Reset => f.write_str("reset"),
            Self::Quit { after_ms } => write!(f, "quit after {after_ms} ms"),
        }
    }
}

/// One deed of a stranger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intrusion {
    /// When.
    pub at_ms: Millis,
    /// What.
    pub deed: Deed,
}

/// What a stranger does at the server's control or proxy port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Random bytes.
    Garbage {
        /// How many.
        len: usize,
    },
    /// A right preamble, then a frame that claims a huge header.
    HugeHeader,
    /// A right preamble, then a frame that claims a huge body.
    HugeBody,
    /// A right preamble, then a frame of a kind nobody knows and nobody may skip.
    UnknownFrame,
    /// A right preamble of a version nobody speaks.
    WrongVersion,
    /// One byte of a right preamble per second.
    Slowloris,
    /// Connects and says nothing.
    Silence,
    /// A real client with a wrong token.
    WrongToken,
    /// The first bytes of a client's latest control connection, again.
    ReplayControl {
        /// Whose.
        client: usize,
    },
    /// The first bytes of a client's latest proxy connection, again.
    ReplayProxy {
        /// Whose.
        client: usize,
    },
    /// A real client with the id of another.
    DuplicateId {
        /// Whose.
        client: usize,
        /// How long it lives.
        for_ms: Millis,
    },
    /// A real client that registers for a while and whose upstream is never there.
    NeverServes {
        /// The group it claims to serve.
        group: usize,
        /// How long it lives.
        for_ms: Millis,
    },
    /// A real client that registers, leaves without a word and comes back, again and again.
    Flaps {
        /// The group it serves.
        group: usize,
        /// How often.
        times: u32,
    },
    /// A real client whose id may serve one group, and that registers for another.
    OverReaches {
        /// The one it registers for.
        group: usize,
    },
    /// A visitor of HTTP that goes on holding its connection.
    Lingers {
        /// Whether it has asked for something before; for what nobody has.
        asks: bool,
    },
    /// Somebody who asks the server, and a client, now and then whether they are ready.
    Watches {
        /// Which client.
        client: usize,
        /// For how long.
        for_ms: Millis,
    },
    /// A visitor of HTTP that asks what rules and plugins have to answer.
    Examines {
        /// How many questions.
        questions: u32,
    },
}

impl Deed {
    /// The name of every kind, as plans spell it.
    pub const NAMES: [&'static str; 17] = [
        "garbage",
        "huge-header",
        "huge-body",
        "unknown-frame",
        "wrong-version",
        "slowloris",
        "silence",
        "wrong-token",
        "replay-control",
        "replay-proxy",
        "duplicate-id",
        "never-serves",
        "flaps",
        "lingers",
        "examines",
        "over-reaches",
        "watches",
    ];

    /// Its name, without its parameters.
    pub fn name(self) -> &'static str {
        let nth = match self {
            Self::Garbage { .. } => 0,
            Self::HugeHeader => 1,
            Self::HugeBody => 2,
            Self::UnknownFrame => 3,
            Self::WrongVersion => 4,
            Self::Slowloris => 5,
            Self::Silence => 6,
            Self::WrongToken => 7,
            Self::ReplayControl { .. } => 8,
            Self::ReplayProxy { .. } => 9,
            Self::DuplicateId { .. } => 10,
            Self::NeverServes { .. } => 11,
            Self::Flaps { .. } => 12,
            Self::Lingers { .. } => 13,
            Self::Examines { .. } => 14,
            Self::OverReaches { .. } => 15,
            Self::Watches { .. } => 16,
        };
        Self::NAMES[nth]
    }

    /// Whether whoever does it asks for no more than anybody may.
    pub fn is_harmless(self) -> bool {
        matches!(
            self,
            Self::Lingers { .. } | Self::Examines { .. } | Self::Watches { .. }
        )
    }

    /// The client it is done to.
    pub fn client_mut(&mut self) -> Option<&mut usize> {
        match self {
            Self::ReplayControl { client }
            | Self::ReplayProxy { client }
            | Self::DuplicateId { client, .. }
            | Self::Watches { client, .. } => Some(client),
            _ => None,
        }
    }

    /// The group it is done to.
    pub fn group_mut(&mut self) -> Option<&mut usize> {
        match self {
            Self::NeverServes { group, .. } | Self::Flaps { group, .. } | Self::OverReaches { group } => {
                Some(group)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name().replace('-', " "))?;
        match self {
            Self::Garbage { len } => write!(f, ", {len} bytes"),
            Self::ReplayControl { client } | Self::ReplayProxy { client } => {
                write!(f, ", of {}", Who::Client(*client))
            }
            Self::DuplicateId { client, for_ms } => {
                write!(f, ", of {}, for {for_ms} ms", Who::Client(*client))
            }
            Self::NeverServes { group, for_ms } => {
                write!(f, ", {}, for {for_ms} ms", group_name(*group))
            }
            Self::Flaps { group, times } => write!(f, ", {}, {times} times", group_name(*group)),
            _ => Ok(()),
        }
    }
}

impl Plan {
    /// Adds a fault; all stand in the order in which they begin.
    fn add_fault(&mut self, fault: Fault) {
        self.faults.push(fault);
        self.faults.sort_by_key(|fault| fault.from_ms);
    }

    /// How long a node that is told to stop serves everybody as before.
    pub fn drain_delay(&self, act: &AnyAct) -> Duration {
        match act {
            AnyAct::Stop(_) => Duration::from_millis(self.knobs.drain_delay_ms),
            _ => Duration::ZERO,
        }
    }

    /// How long a fault that has begun does no harm. A server that is told to stop twice ends at once.
    pub fn harmless_for(&self, fault: &Fault) -> Duration {
        let delay = self.drain_delay(&fault.act);
        let meets = |other: &&Fault| {
            let begins = fault.to_ms.is_none_or(|to| other.from_ms <= to);
            begins && other.to_ms.is_none_or(|to| fault.from_ms <= to)
        };
        let delayed = |other: &&Fault| !self.drain_delay(&other.act).is_zero();
        match self.faults.iter().filter(meets).filter(delayed).count() {
            1 => delay.saturating_sub(Duration::from_millis(1)),
            _ => Duration::ZERO,
        }
    }

    /// How many groups there are.
    pub fn groups(&self) -> usize {
        let offered = self.offers.iter().map(|offer| offer.group);
        let all = self.clients.iter().copied().chain(offered);
        all.max().map_or(1, |last| last + 1)
    }

    /// How many stranger hosts there are: one for each deed, so that none waits for another.
    pub fn strangers(&self) -> usize {
        self.strangers.len()
    }

    /// Every host, in the order of their numbers.
    pub fn hosts(&self) -> Vec<Who> {
        let clients = 0..self.clients.len();
        let mut hosts = vec![Who::Server];
        hosts.extend(clients.map(Who::Client));
        hosts.extend((0..self.upstreams()).map(Who::Upstream));
        hosts.extend((0..self.visitors.len()).map(Who::Visitor));
        hosts.extend((0..self.strangers()).map(Who::Stranger));
        hosts.extend(self.second_server.then_some(Who::SecondServer));
        hosts
    }

    /// The faults of the time between two moments.
    pub fn faults_between(&self, from: Duration, to: Duration) -> impl Iterator<Item = &Fault> {
        let at = Duration::from_millis;
        let faults = self.faults.iter();
        faults.filter(move |fault| at(fault.from_ms) <= to && fault.to_ms.is_none_or(|end| at(end) >= from))
    }

    /// Whether anything befalls the second server between two moments.
    pub fn harms_second_server(&self, from: Duration, to: Duration) -> bool {
        let harms = |fault: &Fault| hosts::named(&fault.act).contains(&Who::SecondServer);
        self.second_server && self.faults_between(from, to).any(harms)
    }

    /// The clients, or candidates, that serve once the run is healed.
    pub fn core(&self) -> Vec<usize> {
        self.spared_by(|_| true)
    }

    /// The clients that are registered once the run is healed, whether they serve or not.
    pub fn registered(&self) -> Vec<usize> {
        if self.forward.is_some() {
            return Vec::new();
        }
        self.spared_by(|fault| !fault.act.leaves_registered())
    }

    /// The clients that none of those lasting faults harms.
    fn spared_by(&self, which: impl Fn(&Fault) -> bool) -> Vec<usize> {
        let lasting = self
            .faults
            .iter()
            .filter(|fault| fault.to_ms.is_none() && which(fault));
        let lost: Vec<_> = lasting
            .flat_map(|fault| self.troubles(&fault.act).clients)
            .collect();
        (0..self.upstreams())
            .filter(|client| !lost.contains(client))
            .collect()
    }

    /// When nobody begins a visit.
    pub fn quiet(&self) -> (Duration, Duration) {
        let (before, after) = self.quiet_ms;
        let at = |ms| Duration::from_millis(ms);
        (at(self.heal_ms.saturating_sub(before)), at(self.heal_ms + after))
    }

    /// How long anybody was in trouble that ended, all troubles after one another.
    pub fn troubled_ms(&self) -> Millis {
        let lasted = |fault: &Fault| fault.to_ms.map(|to| to - fault.from_ms.min(to));
        self.faults.iter().filter_map(lasted).sum()
    }

    /// When every connection that a fault has silently killed has been found out. Whoever another fault held up may
    /// write on one only when that fault is over, and keepalive rests while a write waits for its acknowledgement.
    pub fn silence_found(&self) -> Duration {
        let silent = || self.faults.iter().filter(|fault| fault.act.is_silent());
        let Some(first) = silent().map(|fault| fault.from_ms).min() else {
            return Duration::ZERO;
        };
        let held_up = self.faults.iter().filter(|fault| !fault.act.is_silent());
        let late = held_up.filter_map(|fault| fault.to_ms).filter(|end| *end > first);
        let failed = late.map(|end| Duration::from_millis(end + WRITE_FAILED_MS));
        let found = silent().map(Fault::silence_found).chain(failed).max();
        found.unwrap_or_default()
    }

    /// When the run ends.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.duration_ms)
    }
}

#[cfg(test)]
mod tests;
