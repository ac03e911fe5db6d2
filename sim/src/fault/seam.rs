//! Connecting, accepting, binding and resolving: what an operating system may answer.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{Act, Dice, Family, Trouble};
use crate::{
    net::Ailments,
    plan::{Millis, who::Who},
    world::World,
};

/// Adds or takes away one of a host's ailments.
fn ail(world: &mut World, who: Who, change: impl FnOnce(&mut Ailments)) -> bool {
    world.ailments(who).is_some_and(|ailments| {
        ailments.with(change);
        true
    })
}

/// Every connect of a host is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefuseConnects {
    /// Whose.
    pub who: Who,
}

impl Act for RefuseConnects {
    const NAME: &'static str = "refuse-connects";
    const FAMILY: Family = Family::Socket;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self { who: dice.client() }
    }

    fn troubles(&self) -> Trouble {
        Trouble::at(self.who)
    }

    fn begin(&self, world: &mut World) -> bool {
        ail(world, self.who, |ailments| ailments.refuse_connects += 1)
    }

    fn end(&self, world: &mut World) {
        ail(world, self.who, |ailments| ailments.refuse_connects -= 1);
    }

    fn spares_served(&self) -> bool {
        true
    }
}

/// The first SYN of every connect of a host is lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlowConnects {
    /// Whose.
    pub who: Who,
}

impl Act for SlowConnects {
    const NAME: &'static str = "slow-connects";
    const FAMILY: Family = Family::Socket;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self { who: dice.client() }
    }

    fn troubles(&self) -> Trouble {
        Trouble::at(self.who)
    }

    fn begin(&self, world: &mut World) -> bool {
        ail(world, self.who, |ailments| ailments.slow_connects += 1)
    }

    fn end(&self, world: &mut World) {
        ail(world, self.who, |ailments| ailments.slow_connects -= 1);
    }

    fn spares_served(&self) -> bool {
        true
    }
}

/// Accepting fails at the server, as it does when descriptors run out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailAccepts {}

impl Act for FailAccepts {
    const NAME: &'static str = "fail-accepts";
    const FAMILY: Family = Family::Socket;

    fn draw(_: &mut Dice<'_>) -> Self {
        Self {}
    }

    fn troubles(&self) -> Trouble {
        Trouble::at(Who::Server)
    }

    fn begin(&self, world: &mut World) -> bool {
        ail(world, Who::Server, |ailments| ailments.fail_accepts += 1)
    }

    fn end(&self, world: &mut World) {
        ail(world, Who::Server, |ailments| ailments.fail_accepts -= 1);
    }

    fn lasts_ms(&self) -> (Millis, Millis) {
        (100, 4_000)
    }

    fn spares_served(&self) -> bool {
        true
    }
}

/// The server crashes, and its ports are taken by somebody else until the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TakePorts {}

impl Act for TakePorts {
    const NAME: &'static str = "take-ports";
    const FAMILY: Family = Family::Socket;

    fn draw(_: &mut Dice<'_>) -> Self {
        Self {}
    }

    fn troubles(&self) -> Trouble {
        Trouble::at(Who::Server)
    }

    fn begin(&self, world: &mut World) -> bool {
        world.take_down(Who::Server, crate::engine::ProcessDeed::Crash)
            && ail(world, Who::Server, |ailments| ailments.ports_taken += 1)
            && {
                world.bring_up(Who::Server);
                true
            }
    }

    fn end(&self, world: &mut World) {
        ail(world, Who::Server, |ailments| ailments.ports_taken -= 1);
    }

    fn lasts_ms(&self) -> (Millis, Millis) {
        (500, 5_000)
    }

    fn kills(&self) -> bool {
        true
    }
}

/// Names do not resolve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailNames {
    /// For whom.
    pub who: Who,
}

impl Act for FailNames {
    const NAME: &'static str = "fail-names";
    const FAMILY: Family = Family::Socket;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self { who: dice.client() }
    }

    fn troubles(&self) -> Trouble {
        Trouble::at(self.who)
    }

    fn begin(&self, world: &mut World) -> bool {
        ail(world, self.who, |ailments| ailments.names_fail += 1)
    }

    fn end(&self, world: &mut World) {
        ail(world, self.who, |ailments| ailments.names_fail -= 1);
    }

    fn lasts_ms(&self) -> (Millis, Millis) {
        // For longer than what was resolved is believed.
        (200, 80_000)
    }

    fn spares_served(&self) -> bool {
        true
    }
}

/// Names resolve to an address where nobody is, before the right one or instead of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MoveNames {
    /// For whom.
    pub who: Who,
    /// The right address is not among them.
    pub lost: bool,
}

impl Act for MoveNames {
    const NAME: &'static str = "move-names";
    const FAMILY: Family = Family::Socket;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self {
            who: dice.client(),
            lost: dice.rng.random_bool(0.5),
        }
    }

    fn troubles(&self) -> Trouble {
        Trouble::at(self.who)
    }

    fn begin(&self, world: &mut World) -> bool {
        let lost = self.lost;
        ail(world, self.who, |ailments| ailments.names_move(lost, 1))
    }

    fn end(&self, world: &mut World) {
        let lost = self.lost;
        ail(world, self.who, |ailments| ailments.names_move(lost, -1));
    }

    fn spares_served(&self) -> bool {
        true
    }
}
