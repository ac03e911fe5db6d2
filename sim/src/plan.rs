//! One seed makes one plan: what happens to whom and when, as plain data. The plan runs, not the seed.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::payload::When;

/// How many clients, each with an upstream host of its own.
pub const CLIENTS: usize = 3;
/// How many visitor hosts.
pub const VISITORS: usize = 5;
/// How long a run takes, in simulated time.
pub const DURATION: Duration = Duration::from_secs(60);
/// When the last visitor operation may begin; what follows is the time to come to rest.
pub const LAST_VISIT: Duration = Duration::from_secs(53);

/// What a generator is for: each purpose has a stream of its own, so that more draws for one shift nothing
/// in another.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// Latencies and I/O habits.
    Network,
    /// Faults.
    Faults,
    /// The operations of one visitor.
    Visitor(usize),
    /// How one boot of one host chops its reads and writes.
    Chop(u64),
    /// The seed of the network engine.
    Engine,
    /// The seed of one boot of one host of the system under test.
    Node(u64),
}

impl Purpose {
    /// The generator of this purpose under `seed`.
    pub fn rng(self, seed: u64) -> ChaCha8Rng {
        let stream = match self {
            Self::Network => 1,
            Self::Faults => 2,
            Self::Engine => 3,
            Self::Visitor(n) => 0x100 + n as u64,
            Self::Chop(n) => 0x1_0000 + n,
            Self::Node(n) => 0x2_0000 + n,
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        rng
    }
}

/// Everything a run does.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Where it came from.
    pub seed: u64,
    /// Between two looks of the engine at the world.
    pub tick: Duration,
    /// One way, least and most.
    pub latency: (Duration, Duration),
    /// One in so many reads and writes of the system under test is cut short; 0 is none.
    pub chop: u32,
    /// What is done to the world, by time.
    pub faults: Vec<Fault>,
    /// What each visitor does, in order.
    pub visitors: Vec<Vec<Visit>>,
}

/// One thing done to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins.
    pub from: Duration,
    /// When it is over.
    pub to: Duration,
    /// What it is.
    pub kind: FaultKind,
}

/// Kinds of [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The client's process dies, and a new one starts at the end.
    CrashClient(usize),
    /// The server's process dies, and a new one starts at the end.
    CrashServer,
    /// The server drains and exits, and a new one starts at the end at the latest.
    DrainServer,
    /// Nothing passes between this client and the server; nothing is lost either.
    HoldLink(usize),
}

/// One visitor connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Pause before it.
    pub pause: Duration,
    /// Body bytes to send.
    pub len: u64,
    /// Body bytes to get.
    pub reply_len: u64,
    /// When the upstream replies.
    pub when: When,
    /// How long the upstream thinks before that.
    pub delay: Duration,
    /// Bytes per write, and the pause after each.
    pub pace: (usize, Duration),
    /// How it behaves.
    pub manner: Manner,
}

/// How a visitor behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Sends, and ends its direction when it has everything.
    Plain,
    /// Ends its direction as soon as it has sent everything.
    HalfClose,
    /// Sends nothing before the upstream's greeting.
    ReadFirst,
    /// Leaves after sending half.
    Leave,
}

impl Plan {
    /// The plan of the scenario `smoke`: one client crash and restart, one server restart, one held link.
    pub fn smoke(seed: u64) -> Self {
        let mut rng = Purpose::Network.rng(seed);
        let least = rng.random_range(1..=5);
        let most = least + rng.random_range(0..=40);
        let chop = if rng.random_bool(0.5) {
            rng.random_range(2..=20)
        } else {
            0
        };
        Self {
            seed,
            tick: Duration::from_millis(1 << rng.random_range(0..3)),
            latency: (Duration::from_millis(least), Duration::from_millis(most)),
            chop,
            faults: faults(&mut Purpose::Faults.rng(seed)),
            visitors: (0..VISITORS)
                .map(|visitor| visits(&mut Purpose::Visitor(visitor).rng(seed)))
                .collect(),
        }
    }

    /// When the last fault is over.
    pub fn faults_end(&self) -> Duration {
        self.faults.iter().map(|fault| fault.to).max().unwrap_or_default()
    }
}

fn faults(rng: &mut ChaCha8Rng) -> Vec<Fault> {
    let millis = Duration::from_millis;
    let mut fault = |kind, begins: std::ops::Range<u64>, lasts: std::ops::Range<u64>| {
        let from = millis(rng.random_range(begins));
        let to = (from + millis(rng.random_range(lasts))).min(millis(30_000));
        Fault { from, to, kind }
    };
    let crash = fault(FaultKind::CrashClient(0), 5_000..24_000, 200..5_000);
    let restart = fault(FaultKind::CrashServer, 5_000..24_000, 200..5_000);
    let hold = fault(FaultKind::HoldLink(0), 5_000..20_000, 300..20_000);
    let crashed = FaultKind::CrashClient(rng.random_range(0..CLIENTS));
    let held = FaultKind::HoldLink(rng.random_range(0..CLIENTS));
    let drained = rng.random_bool(0.4);
    let restarted = if drained {
        FaultKind::DrainServer
    } else {
        FaultKind::CrashServer
    };
    let mut faults = vec![
        Fault {
            kind: crashed,
            ..crash
        },
        Fault {
            kind: restarted,
            ..restart
        },
        Fault { kind: held, ..hold },
    ];
    faults.sort_by_key(|fault| fault.from);
    faults
}

fn visits(rng: &mut ChaCha8Rng) -> Vec<Visit> {
    // More than fit: a visitor does as many as it can before `LAST_VISIT`.
    (0..300).map(|_| visit(rng)).collect()
}

fn visit(rng: &mut ChaCha8Rng) -> Visit {
    let manner = match rng.random_range(0..20) {
        0..8 => Manner::Plain,
        8..14 => Manner::HalfClose,
        14..18 => Manner::ReadFirst,
        _ => Manner::Leave,
    };
    let when = match rng.random_range(0..4) {
        0 => When::AfterHeader,
        1 if manner == Manner::HalfClose => When::AfterEof,
        _ => When::AfterRequest,
    };
    let len = length(rng);
    let slow = rng.random_bool(0.1);
    let piece = if slow { (len / 10).max(1) } else { 16 * 1024 };
    let wait = if slow { rng.random_range(20..200) } else { 0 };
    let long = rng.random_bool(0.1);
    let delay = rng.random_range(0..if long { 3_000 } else { 60 });
    Visit {
        pause: Duration::from_millis(rng.random_range(1..400)),
        len,
        reply_len: length(rng),
        when,
        delay: Duration::from_millis(delay),
        pace: (
            usize::try_from(piece).unwrap_or(usize::MAX),
            Duration::from_millis(wait),
        ),
        manner,
    }
}

/// Mostly small, now and then beyond what is kept for replay.
fn length(rng: &mut ChaCha8Rng) -> u64 {
    match rng.random_range(0..20) {
        0..10 => rng.random_range(0..200),
        10..16 => rng.random_range(200..16_384),
        16..19 => rng.random_range(16_384..100_000),
        _ => rng.random_range(65_536..400_000),
    }
}
