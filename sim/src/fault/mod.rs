//! What is done to the world. One fault, one small struct, one section of a file of this folder:
//!
//! - its fields are its parameters, as a plan file spells them;
//! - [`Act::FAMILY`] is the switch it hangs on: each seed turns some families off;
//! - [`Act::draw`] makes one from a seed;
//! - [`Act::troubles`] tells the oracle whose sessions it may harm;
//! - [`Act::begin`] and [`Act::end`] do it to the world and take it back.
//!
//! A new one is a struct, its `impl Act`, and a line in the list below.

pub mod disk;
pub mod flow;
pub mod impostor;
pub mod path;
pub mod process;
pub mod seam;
pub mod upstream;

use std::{collections::BTreeSet, fmt, time::Duration};

use rand::{RngExt, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use self::{
    disk::FillDisk,
    flow::{BlackHole, CutOff, ResetFlow},
    impostor::Usurp,
    path::{Clog, Cut, Isolate, Lag, Loss, Narrow, Split},
    process::{Crash, Pause, PowerLoss, Sluggish, Stop},
    seam::{FailAccepts, FailNames, MoveNames, RefuseConnects, SlowConnects, TakePorts},
    upstream::{Ail, DropIdle, Flap, Reweigh, Shut, Unlist},
};
use crate::{
    plan::{Millis, who::Who},
    world::World,
};

/// One kind of fault.
pub trait Act: fmt::Debug {
    /// Its name, in plans and tables.
    const NAME: &'static str;
    /// The switch it hangs on.
    const FAMILY: Family;

    /// One of its kind.
    fn draw(dice: &mut Dice<'_>) -> Self
    where
        Self: Sized;

    /// Whom it may harm.
    fn troubles(&self) -> Trouble;

    /// Does it. `false` when there is nothing to do it to, or the engine cannot.
    fn begin(&self, world: &mut World) -> bool;

    /// Takes it back.
    fn end(&self, world: &mut World);

    /// How long it lasts, at least and at most.
    fn lasts_ms(&self) -> (Millis, Millis) {
        (200, 20_000)
    }

    /// Whether the world may be left like this: the liveness phase then goes on without those it harms.
    fn may_last(&self) -> bool {
        false
    }

    /// Whether a client that is left like this stays registered.
    fn leaves_registered(&self) -> bool {
        false
    }

    /// Whether what it did is found out only when silence is, however long ago it was.
    fn is_silent(&self) -> bool {
        false
    }

    /// Whether a process dies of it, and leaves it to its kernel to end connections.
    fn kills(&self) -> bool {
        false
    }

    /// The client that it has leave in good order, which harms nobody for as long as it may take.
    fn bids_farewell(&self) -> Option<usize> {
        None
    }

    /// Whether sessions that are served already go on as if it were not there: it touches nothing that they ride on.
    fn spares_served(&self) -> bool {
        false
    }
}

/// Declares the families.
macro_rules! families {
    ($($(#[doc = $doc:literal])+ $family:ident = $name:literal,)*) => {
        /// Faults that a seed turns on or off together.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Family { $($(#[doc = $doc])+ $family,)* }

        impl Family {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$family,)*];

            /// Its name in tables.
            pub fn name(self) -> &'static str {
                match self { $(Self::$family => $name,)* }
            }
        }
    };
}

families! {
    /// Latency, bandwidth, loss.
    Weather = "weather",
    /// Ways that are cut or clogged.
    Partition = "partition",
    /// Single connections that break or go silent.
    Flow = "flow",
    /// Crashes and graceful stops.
    Process = "process",
    /// Machines that lose power.
    Power = "power",
    /// Processes that stand still or crawl.
    Pause = "pause",
    /// Connecting, accepting, binding and resolving fail.
    Socket = "socket",
    /// Services that refuse, close, hang or answer by halves.
    Upstream = "upstream",
    /// What happens to the candidates of a forwarder alone.
    Candidates = "candidates",
    /// Somebody else in the server's place.
    Impostor = "impostor",
    /// Disks.
    Disk = "disk",
}

/// Declares the kinds of fault.
macro_rules! acts {
    ($($act:ident,)*) => {
        /// Any fault, as a plan holds it.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum AnyAct { $(#[allow(missing_docs)] $act($act),)* }

        impl AnyAct {
            /// Name and family of every kind.
            pub const KINDS: &'static [(&'static str, Family)] = &[$(($act::NAME, $act::FAMILY),)*];

            /// One of a family, of a kind that the dice choose.
            pub fn draw(family: Family, dice: &mut Dice<'_>) -> Self {
                let kinds: Vec<fn(&mut Dice<'_>) -> Self> = [
                    $(($act::FAMILY, (|dice| Self::$act($act::draw(dice))) as fn(&mut Dice<'_>) -> Self),)*
                ]
                .into_iter()
                .filter_map(|(of, draw)| (of == family).then_some(draw))
                .collect();
                let draw = kinds.choose(dice.rng).expect("every family has a kind");
                draw(dice)
            }

            /// Its name.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$act(_) => $act::NAME,)* }
            }

            /// The switch it hangs on.
            pub fn family(&self) -> Family {
                match self { $(Self::$act(_) => $act::FAMILY,)* }
            }

            fn act(&self) -> &dyn Deed {
                match self { $(Self::$act(act) => act,)* }
            }
        }
    };
}

acts! {
    Crash, Stop, PowerLoss, Pause, Sluggish,
    Lag, Loss, Narrow, Clog, Cut, Isolate, Split,
    BlackHole, ResetFlow, CutOff,
    RefuseConnects, SlowConnects, FailAccepts, TakePorts, FailNames, MoveNames,
    Ail, Flap, Shut, DropIdle, Unlist, Reweigh,
    Usurp, FillDisk,
}

/// The part of [`Act`] that an object has.
trait Deed {
    fn troubles(&self) -> Trouble;
    fn begin(&self, world: &mut World) -> bool;
    fn end(&self, world: &mut World);
    fn lasts_ms(&self) -> (Millis, Millis);
    fn may_last(&self) -> bool;
    fn leaves_registered(&self) -> bool;
    fn is_silent(&self) -> bool;
    fn kills(&self) -> bool;
    fn spares_served(&self) -> bool;
    fn bids_farewell(&self) -> Option<usize>;
}

impl<T: Act> Deed for T {
    fn troubles(&self) -> Trouble {
        Act::troubles(self)
    }
    fn begin(&self, world: &mut World) -> bool {
        Act::begin(self, world)
    }
    fn end(&self, world: &mut World) {
        Act::end(self, world);
    }
    fn lasts_ms(&self) -> (Millis, Millis) {
        Act::lasts_ms(self)
    }
    fn may_last(&self) -> bool {
        Act::may_last(self)
    }
    fn leaves_registered(&self) -> bool {
        Act::leaves_registered(self)
    }
    fn is_silent(&self) -> bool {
        Act::is_silent(self)
    }
    fn kills(&self) -> bool {
        Act::kills(self)
    }
    fn spares_served(&self) -> bool {
        Act::spares_served(self)
    }
    fn bids_farewell(&self) -> Option<usize> {
        Act::bids_farewell(self)
    }
}

impl AnyAct {
    /// Whom it may harm.
    pub fn troubles(&self) -> Trouble {
        self.act().troubles()
    }

    /// Does it.
    pub fn begin(&self, world: &mut World) -> bool {
        self.act().begin(world)
    }

    /// Takes it back.
    pub fn end(&self, world: &mut World) {
        self.act().end(world);
    }

    /// How long it lasts, at least and at most.
    pub fn lasts_ms(&self) -> (Millis, Millis) {
        self.act().lasts_ms()
    }

    /// Whether the world may be left like this.
    pub fn may_last(&self) -> bool {
        self.act().may_last()
    }

    /// Whether a client that is left like this stays registered.
    pub fn leaves_registered(&self) -> bool {
        self.act().leaves_registered()
    }

    /// Whether what it did is found out only when silence is.
    pub fn is_silent(&self) -> bool {
        self.act().is_silent()
    }

    /// Whether a process dies of it, and leaves it to its kernel to end connections.
    pub fn kills(&self) -> bool {
        self.act().kills()
    }

    /// The client that it has leave in good order.
    pub fn bids_farewell(&self) -> Option<usize> {
        self.act().bids_farewell()
    }

    /// Whether sessions that are served already go on as if it were not there.
    pub fn spares_served(&self) -> bool {
        self.act().spares_served()
    }
}

impl fmt::Display for AnyAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As a plan file spells it.
        let words = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(&words)
    }
}

/// One thing done to the world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// When it begins.
    pub from_ms: Millis,
    /// When it is over; `null` is never.
    pub to_ms: Option<Millis>,
    /// What it is.
    pub act: AnyAct,
}

/// After so long a connection that silently died is found out: the keepalive of proxy connections (25 s), and a
/// margin.
const SILENCE_FOUND_MS: Millis = 30_000;

/// After so long a write on such a connection has failed: TCP_USER_TIMEOUT (20 s), and a margin.
pub const WRITE_FAILED_MS: Millis = 25_000;

impl Fault {
    /// When the silence it may have brought about has been found out; 0 when it brings about none.
    pub fn silence_found(&self) -> Duration {
        let found = if self.act.is_silent() {
            self.from_ms + SILENCE_FOUND_MS
        } else {
            0
        };
        Duration::from_millis(found)
    }
}

/// Whom a fault may harm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Everybody's sessions: the server.
    pub server: bool,
    /// Sessions that these clients serve.
    pub clients: BTreeSet<usize>,
    /// Of those, the ones whose service is hurt, or the way to it: a session may be started there and lost
    /// without a trace at the service.
    pub upstreams: BTreeSet<usize>,
    /// Sessions of these visitors.
    pub visitors: BTreeSet<usize>,
}

impl Trouble {
    /// Trouble at a host.
    pub fn at(who: Who) -> Self {
        let mut trouble = Self::default();
        match who {
            Who::Server => trouble.server = true,
            Who::Client(n) => drop(trouble.clients.insert(n)),
            Who::Upstream(n) => {
                trouble.clients.insert(n);
                trouble.upstreams.insert(n);
            }
            Who::Visitor(n) => drop(trouble.visitors.insert(n)),
            // No visitor comes by way of the second server.
            Who::Stranger(_) | Who::SecondServer => {}
        }
        trouble
    }

    /// Trouble on the way between a host and the one it talks to.
    pub fn between(one: Who, other: Who) -> Self {
        match (one, other) {
            (Who::SecondServer, _) | (_, Who::SecondServer) => Self::default(),
            (Who::Server, who) | (who, Who::Server) => Self::at(who),
            (upstream @ Who::Upstream(_), _) | (_, upstream) => Self::at(upstream),
        }
    }

    /// Both.
    pub fn and(mut self, other: Self) -> Self {
        self.server |= other.server;
        self.clients.extend(other.clients);
        self.upstreams.extend(other.upstreams);
        self.visitors.extend(other.visitors);
        self
    }
}

/// Draws parameters.
pub struct Dice<'a> {
    /// Where randomness comes from.
    pub rng: &'a mut ChaCha8Rng,
    /// How many clients there are.
    pub clients: usize,
    /// How many visitors there are.
    pub visitors: usize,
}

impl Dice<'_> {
    /// A client.
    pub fn client(&mut self) -> Who {
        Who::Client(self.rng.random_range(0..self.clients))
    }

    /// The server now and then, a client mostly.
    pub fn node(&mut self) -> Who {
        if self.rng.random_ratio(1, 4) {
            Who::Server
        } else {
            self.client()
        }
    }

    /// Two hosts that talk: a client and the server mostly, or a visitor and the server, or a client and its
    /// upstream.
    pub fn ways(&mut self) -> (Who, Who) {
        match self.rng.random_range(0..10) {
            0..6 => (self.client(), Who::Server),
            6..8 => (Who::Visitor(self.rng.random_range(0..self.visitors)), Who::Server),
            _ => {
                let n = self.rng.random_range(0..self.clients);
                (Who::Client(n), Who::Upstream(n))
            }
        }
    }
}
