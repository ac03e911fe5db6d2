//! Processes and machines.

use serde::{Deserialize, Serialize};

use super::{Act, Dice, Family, Trouble};
use crate::{
    engine::ProcessDeed,
    plan::{Millis, who::Who},
    world::World,
};
use rand::RngExt;

/// A process dies; a new one starts at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crash {
    /// Whose.
    pub who: Who,
}

impl Act for Crash {
    const NAME: &'static str = "crash";
    const FAMILY: Family = Family::Process;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self { who: dice.node() }
    }

    fn troubles(&self) -> Trouble {
        Trouble::at(self.who)
    }

    fn begin(&self, world: &mut World) -> bool {
        world.take_down(self.who, ProcessDeed::Crash)
    }

    fn end(&self, world: &mut World) {
        world.bring_up(self.who);
    }

    fn may_last(&self) -> bool {
        self.who != Who::Server
    }

    fn kills(&self) -> bool {
        true
    }
}

/// A node is told to stop: it drains and exits. A new one starts at the end, at the latest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    /// Whose.
    pub who: Who,
}

impl Act for Stop {
    const NAME: &'static str = "stop";
    const FAMILY: Family = Family::Process;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self { who: dice.node() }
    }

    fn troubles(&self) -> Trouble {
        Trouble::at(self.who)
    }

    fn begin(&self, world: &mut World) -> bool {
        world.tell_to_stop(self.who)
    }

    fn end(&self, world: &mut World) {
        world.begin_anew(self.who);
    }

    fn lasts_ms(&self) -> (Millis, Millis) {
        (1_000, 12_000)
    }

    fn kills(&self) -> bool {
        true
    }

    fn bids_farewell(&self) -> Option<usize> {
        match self.who {
            Who::Client(n) => Some(n),
            _ => None,
        }
    }
}

/// A machine loses power: nobody is told, nothing is remembered. It boots again at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PowerLoss {
    /// Whose.
    pub who: Who,
}

impl Act for PowerLoss {
    const NAME: &'static str = "power-loss";
    const FAMILY: Family = Family::Power;

    fn draw(dice: &mut Dice<'_>) -> Self {
        let upstream = dice.rng.random_ratio(1, 6);
        let who = dice.node();
        match who {
            Who::Client(n) if upstream => Self {
                who: Who::Upstream(n),
            },
            who => Self { who },
        }
    }

    fn troubles(&self) -> Trouble {
        Trouble::at(self.who)
    }

    fn begin(&self, world: &mut World) -> bool {
        world.take_down(self.who, ProcessDeed::PowerLoss)
    }

    fn end(&self, world: &mut World) {
        world.bring_up(self.who);
    }

    fn may_last(&self) -> bool {
        matches!(self.who, Who::Client(_))
    }
}

/// A process stands still, as under SIGSTOP; its kernel goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    /// Whose.
    pub who: Who,
}

impl Act for Pause {
    const NAME: &'static str = "pause";
    const FAMILY: Family = Family::Pause;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self { who: dice.node() }
    }

    fn troubles(&self) -> Trouble {
        Trouble::at(self.who)
    }

    fn begin(&self, world: &mut World) -> bool {
        world.process(self.who, ProcessDeed::Pause)
    }

    fn end(&self, world: &mut World) {
        world.process(self.who, ProcessDeed::Resume);
    }

    fn may_last(&self) -> bool {
        matches!(self.who, Who::Client(_))
    }
}

/// A host gets its turn only now and then: its timers are late, its answers slow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sluggish {
    /// Whose.
    pub who: Who,
    /// Once in so many milliseconds.
    pub every_ms: Millis,
}

impl Act for Sluggish {
    const NAME: &'static str = "sluggish";
    const FAMILY: Family = Family::Pause;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self {
            who: dice.node(),
            every_ms: 1 << dice.rng.random_range(2..10),
        }
    }

    fn troubles(&self) -> Trouble {
        Trouble::at(self.who)
    }

    fn begin(&self, world: &mut World) -> bool {
        world.process(self.who, ProcessDeed::Sluggish(self.every_ms))
    }

    fn end(&self, world: &mut World) {
        world.process(self.who, ProcessDeed::Sluggish(0));
    }
}
