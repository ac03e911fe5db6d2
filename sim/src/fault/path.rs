//! The ways between hosts.

use rand::{RngExt, seq::SliceRandom};
use serde::{Deserialize, Serialize};

use super::{Act, Dice, Family, Trouble};
use crate::{
    engine::Condition,
    plan::{Millis, who::Who},
    world::World,
};

/// Everything takes longer, both ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lag {
    /// Between these two.
    pub between: (Who, Who),
    /// So much longer, one way.
    pub more_ms: Millis,
}

impl Act for Lag {
    const NAME: &'static str = "lag";
    const FAMILY: Family = Family::Weather;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self {
            between: dice.ways(),
            more_ms: 10 << dice.rng.random_range(0..8),
        }
    }

    fn troubles(&self) -> Trouble {
        Trouble::between(self.between.0, self.between.1)
    }

    fn begin(&self, world: &mut World) -> bool {
        world.both_ways(self.between, Condition::Lag(self.more_ms), true)
    }

    fn end(&self, world: &mut World) {
        world.both_ways(self.between, Condition::Lag(self.more_ms), false);
    }
}

/// Packets are lost and sent again, both ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// Between these two.
    pub between: (Who, Who),
    /// Of all packets.
    pub percent: u32,
}

impl Loss {
    fn condition(&self) -> Condition {
        Condition::Loss {
            percent: self.percent,
            longest_ms: self.lasts_ms().1,
        }
    }
}

impl Act for Loss {
    const NAME: &'static str = "loss";
    const FAMILY: Family = Family::Weather;

    fn draw(dice: &mut Dice<'_>) -> Self {
        // Mostly a little for long, now and then a burst.
        let percent = if dice.rng.random_ratio(1, 4) {
            80
        } else {
            dice.rng.random_range(1..15)
        };
        Self {
            between: dice.ways(),
            percent,
        }
    }

    fn troubles(&self) -> Trouble {
        Trouble::between(self.between.0, self.between.1)
    }

    fn begin(&self, world: &mut World) -> bool {
        world.both_ways(self.between, self.condition(), true)
    }

    fn end(&self, world: &mut World) {
        world.both_ways(self.between, self.condition(), false);
    }

    fn lasts_ms(&self) -> (Millis, Millis) {
        if self.percent > 50 {
            (50, 1_500)
        } else {
            (200, 20_000)
        }
    }
}

/// Bytes pass slowly, both ways.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Narrow {
    /// Between these two.
    pub between: (Who, Who),
    /// Bytes per millisecond.
    pub rate: u32,
}

impl Act for Narrow {
    const NAME: &'static str = "narrow";
    const FAMILY: Family = Family::Weather;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self {
            between: dice.ways(),
            rate: 8 << dice.rng.random_range(0..8),
        }
    }

    fn troubles(&self) -> Trouble {
        Trouble::between(self.between.0, self.between.1)
    }

    fn begin(&self, world: &mut World) -> bool {
        world.both_ways(self.between, Condition::Narrow(self.rate), true)
    }

    fn end(&self, world: &mut World) {
        world.both_ways(self.between, Condition::Narrow(self.rate), false);
    }
}

/// Nothing passes, one way or both; all of it arrives at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clog {
    /// From the first to the second.
    pub between: (Who, Who),
    /// And back.
    pub both: bool,
}

impl Act for Clog {
    const NAME: &'static str = "clog";
    const FAMILY: Family = Family::Partition;

    fn draw(dice: &mut Dice<'_>) -> Self {
        let (one, other) = dice.ways();
        let between = if dice.rng.random_bool(0.5) {
            (one, other)
        } else {
            (other, one)
        };
        Self {
            between,
            both: dice.rng.random_bool(0.7),
        }
    }

    fn troubles(&self) -> Trouble {
        Trouble::between(self.between.0, self.between.1)
    }

    fn begin(&self, world: &mut World) -> bool {
        world.way(self.between, self.both, Condition::Clog, true)
    }

    fn end(&self, world: &mut World) {
        world.way(self.between, self.both, Condition::Clog, false);
    }
}

/// A partition: nothing passes, one way or both, and resets are lost; the rest is sent again at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// From the first to the second.
    pub between: (Who, Who),
    /// And back.
    pub both: bool,
}

impl Act for Cut {
    const NAME: &'static str = "cut";
    const FAMILY: Family = Family::Partition;

    fn draw(dice: &mut Dice<'_>) -> Self {
        let Clog { between, both } = Clog::draw(dice);
        Self { between, both }
    }

    fn troubles(&self) -> Trouble {
        Trouble::between(self.between.0, self.between.1)
    }

    fn begin(&self, world: &mut World) -> bool {
        world.way(self.between, self.both, Condition::Cut, true)
    }

    fn end(&self, world: &mut World) {
        world.way(self.between, self.both, Condition::Cut, false);
    }

    fn lasts_ms(&self) -> (Millis, Millis) {
        (200, 35_000)
    }

    fn may_last(&self) -> bool {
        self.both
            && matches!(
                self.between,
                (Who::Client(_), Who::Server) | (Who::Server, Who::Client(_))
            )
    }
}

/// One node is cut off from everybody.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Isolate {
    /// Which.
    pub who: Who,
}

impl Act for Isolate {
    const NAME: &'static str = "isolate";
    const FAMILY: Family = Family::Partition;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self { who: dice.node() }
    }

    fn troubles(&self) -> Trouble {
        Trouble::at(self.who)
    }

    fn begin(&self, world: &mut World) -> bool {
        world.around(self.who, Condition::Cut, true)
    }

    fn end(&self, world: &mut World) {
        world.around(self.who, Condition::Cut, false);
    }

    fn lasts_ms(&self) -> (Millis, Millis) {
        (200, 35_000)
    }

    fn may_last(&self) -> bool {
        self.who != Who::Server
    }
}

/// Some of the clients, with their upstreams, are cut off from the rest of the world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Which.
    pub clients: Vec<Who>,
}

impl Act for Split {
    const NAME: &'static str = "split";
    const FAMILY: Family = Family::Partition;

    fn draw(dice: &mut Dice<'_>) -> Self {
        let mut clients: Vec<_> = (0..dice.clients).map(Who::Client).collect();
        clients.shuffle(dice.rng);
        clients.truncate(dice.rng.random_range(1..=dice.clients));
        clients.sort();
        Self { clients }
    }

    fn troubles(&self) -> Trouble {
        self.clients
            .iter()
            .map(|who| Trouble::at(*who))
            .fold(Trouble::default(), Trouble::and)
    }

    fn begin(&self, world: &mut World) -> bool {
        self.clients
            .iter()
            .all(|who| world.both_ways((*who, Who::Server), Condition::Cut, true))
    }

    fn end(&self, world: &mut World) {
        for who in &self.clients {
            world.both_ways((*who, Who::Server), Condition::Cut, false);
        }
    }

    fn lasts_ms(&self) -> (Millis, Millis) {
        (200, 35_000)
    }
}
