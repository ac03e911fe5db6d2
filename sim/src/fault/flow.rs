//! Single connections.

use rand::{RngExt, seq::IndexedRandom};
use serde::{Deserialize, Serialize};

use super::{Act, Dice, Family, Trouble};
use crate::{
    engine::FlowDeed,
    node,
    plan::{Millis, who::Who},
    upstream,
    world::World,
};

/// Which connection: the `nth` that `who` has made to that port, at the moment the fault strikes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pick {
    /// Who connected.
    pub who: Who,
    /// To which port of the server, or of its upstream.
    pub port: u16,
    /// Counted round.
    pub nth: usize,
    /// To whom, where the port does not tell: a forwarder has many upstreams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Who>,
}

impl Pick {
    fn draw(dice: &mut Dice<'_>) -> Self {
        let client = dice.client();
        let visitor = Who::Visitor(dice.rng.random_range(0..dice.visitors));
        let ways = [
            (client, node::CONTROL_PORT),
            (client, node::PROXY_PORT),
            (client, node::PROXY_PORT),
            (client, upstream::PORT),
            (visitor, node::PUBLIC_PORT),
        ];
        let (who, port) = *ways.choose(dice.rng).expect("there are ways");
        let nth = dice.rng.random_range(0..32);
        // The first that a client makes to the proxy port is its data link, where it has one.
        let nth = if dice.rng.random_bool(0.4) { 0 } else { nth };
        Self {
            who,
            port,
            nth,
            to: None,
        }
    }

    /// The first that `who` has made to that port of another.
    pub fn to(who: Who, to: Who, port: u16) -> Self {
        Self {
            who,
            port,
            nth: 0,
            to: Some(to),
        }
    }

    fn peer(&self) -> Who {
        if let Some(to) = self.to {
            return to;
        }
        match self.who {
            Who::Client(n) if self.port == upstream::PORT => Who::Upstream(n),
            _ => Who::Server,
        }
    }
}

/// A connection goes silent for good, as when a NAT forgets it. Nobody is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlackHole {
    /// Which.
    pub flow: Pick,
}

impl Act for BlackHole {
    const NAME: &'static str = "black-hole";
    const FAMILY: Family = Family::Flow;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self {
            flow: Pick::draw(dice),
        }
    }

    fn troubles(&self) -> Trouble {
        Trouble::between(self.flow.who, self.flow.peer())
    }

    fn begin(&self, world: &mut World) -> bool {
        let Pick { who, port, nth, .. } = self.flow;
        world.flow((who, self.flow.peer()), port, nth, FlowDeed::BlackHole)
    }

    fn end(&self, _: &mut World) {}

    /// The connection stays dead; this is how long others may suffer from it before it is noticed.
    fn lasts_ms(&self) -> (Millis, Millis) {
        (30_000, 40_000)
    }

    fn is_silent(&self) -> bool {
        true
    }
}

/// A connection is reset in the middle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResetFlow {
    /// Which.
    pub flow: Pick,
    /// Both ends see it; else only the one that connected, and the other when it speaks.
    pub both: bool,
    /// The other never hears of it: whatever it says is lost, as behind a NAT that has forgotten the connection.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost: bool,
}

impl Act for ResetFlow {
    const NAME: &'static str = "reset-flow";
    const FAMILY: Family = Family::Flow;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self {
            flow: Pick::draw(dice),
            both: dice.rng.random_bool(0.5),
            lost: false,
        }
    }

    fn troubles(&self) -> Trouble {
        Trouble::between(self.flow.who, self.flow.peer())
    }

    fn begin(&self, world: &mut World) -> bool {
        let Pick { who, port, nth, .. } = self.flow;
        let deed = match (self.both, self.lost) {
            (true, _) => FlowDeed::Reset,
            (false, false) => FlowDeed::ResetNear,
            (false, true) => FlowDeed::ResetLost,
        };
        world.flow((who, self.flow.peer()), port, nth, deed)
    }

    fn is_silent(&self) -> bool {
        !self.both
    }

    fn end(&self, _: &mut World) {}

    /// A client whose control connection closes goes on with what it serves.
    fn spares_served(&self) -> bool {
        self.flow.port == node::CONTROL_PORT
    }
}

/// Both ends of a connection see a reset after so many more bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CutOff {
    /// Which.
    pub flow: Pick,
    /// So many more.
    pub after: u64,
    /// Of those that come back; else of those that go out.
    pub reply: bool,
}

impl Act for CutOff {
    const NAME: &'static str = "cut-off";
    const FAMILY: Family = Family::Flow;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self {
            flow: Pick::draw(dice),
            after: 1 << dice.rng.random_range(0..17),
            reply: dice.rng.random_bool(0.5),
        }
    }

    fn troubles(&self) -> Trouble {
        Trouble::between(self.flow.who, self.flow.peer())
    }

    fn begin(&self, world: &mut World) -> bool {
        let Pick { who, port, nth, .. } = self.flow;
        let deed = if self.reply {
            FlowDeed::ResetAfterReply(self.after)
        } else {
            FlowDeed::ResetAfter(self.after)
        };
        world.flow((who, self.flow.peer()), port, nth, deed)
    }

    fn end(&self, world: &mut World) {
        let Pick { who, port, nth, .. } = self.flow;
        world.flow((who, self.flow.peer()), port, nth, FlowDeed::Spare);
    }

    /// A client whose control connection closes goes on with what it serves.
    fn spares_served(&self) -> bool {
        self.flow.port == node::CONTROL_PORT
    }
}
