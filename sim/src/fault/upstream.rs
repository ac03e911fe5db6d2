//! The services behind the clients.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{Act, Dice, Family, Trouble};
use crate::{
    plan::{Millis, who::Who},
    upstream::Mood,
    world::World,
};

/// A service is not itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ail {
    /// Which.
    pub upstream: usize,
    /// How.
    pub mood: Mood,
}

impl Act for Ail {
    const NAME: &'static str = "ail";
    const FAMILY: Family = Family::Upstream;

    fn draw(dice: &mut Dice<'_>) -> Self {
        let upstream = dice.rng.random_range(0..dice.clients);
        let mood = match dice.rng.random_range(0..4) {
            0 => Mood::Refuses,
            1 => Mood::ClosesAtOnce,
            2 => Mood::Hangs,
            _ => Mood::AnswersHalf,
        };
        Self { upstream, mood }
    }

    fn troubles(&self) -> Trouble {
        Trouble::at(Who::Upstream(self.upstream))
    }

    fn begin(&self, world: &mut World) -> bool {
        world.set_mood(self.upstream, self.mood)
    }

    fn end(&self, world: &mut World) {
        world.set_mood(self.upstream, Mood::Well);
    }

    fn may_last(&self) -> bool {
        // Whom a service closes at once, or answers by halves, it seems to have meant to.
        matches!(self.mood, Mood::Refuses | Mood::Unready) || self.mood.loses()
    }

    fn leaves_registered(&self) -> bool {
        true
    }
}

/// One of the two doors of a service is shut, the other one is open, and nobody may notice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shut {
    /// Whose.
    pub upstream: usize,
    /// Whether it is the spare one.
    pub spare: bool,
}

impl Act for Shut {
    const NAME: &'static str = "shut";
    const FAMILY: Family = Family::Upstream;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self {
            upstream: dice.rng.random_range(0..dice.clients),
            spare: dice.rng.random_bool(0.5),
        }
    }

    fn troubles(&self) -> Trouble {
        Trouble::default()
    }

    fn begin(&self, world: &mut World) -> bool {
        world.shut(self.upstream, usize::from(self.spare))
    }

    fn end(&self, world: &mut World) {
        world.unshut(self.upstream, usize::from(self.spare));
    }
}

/// A service comes and goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flap {
    /// Which.
    pub upstream: usize,
    /// So long it is there, and so long it is not.
    pub half_period_ms: Millis,
}

impl Act for Flap {
    const NAME: &'static str = "flap";
    const FAMILY: Family = Family::Upstream;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self {
            upstream: dice.rng.random_range(0..dice.clients),
            half_period_ms: dice.rng.random_range(50..2_000),
        }
    }

    fn troubles(&self) -> Trouble {
        Trouble::at(Who::Upstream(self.upstream))
    }

    fn begin(&self, world: &mut World) -> bool {
        world.set_mood(
            self.upstream,
            Mood::Flaps {
                half_period_ms: self.half_period_ms,
            },
        )
    }

    fn end(&self, world: &mut World) {
        world.set_mood(self.upstream, Mood::Well);
    }
}

/// A candidate closes every connection that has waited for a while without a word, as an idle timeout would; and while
/// it lasts, those that speak up after such a wait. It is well otherwise, and nobody may notice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropIdle {
    /// Which.
    pub upstream: usize,
}

impl Act for DropIdle {
    const NAME: &'static str = "drop-idle";
    const FAMILY: Family = Family::Candidates;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self {
            upstream: dice.rng.random_range(0..dice.clients),
        }
    }

    fn troubles(&self) -> Trouble {
        Trouble::default()
    }

    fn begin(&self, world: &mut World) -> bool {
        world.drop_idle(self.upstream, true)
    }

    fn end(&self, world: &mut World) {
        world.drop_idle(self.upstream, false);
    }
}

/// A candidate is taken from the list while the forwarder runs; it is listed again at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unlist {
    /// Which.
    pub upstream: usize,
}

impl Act for Unlist {
    const NAME: &'static str = "unlist";
    const FAMILY: Family = Family::Candidates;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self {
            upstream: dice.rng.random_range(0..dice.clients),
        }
    }

    /// Its sessions go on; it gets no new ones.
    fn troubles(&self) -> Trouble {
        Trouble::default()
    }

    fn begin(&self, world: &mut World) -> bool {
        world.change_list(|list| list.unlist(self.upstream, 1))
    }

    fn end(&self, world: &mut World) {
        world.change_list(|list| list.unlist(self.upstream, -1));
    }

    fn lasts_ms(&self) -> (Millis, Millis) {
        (200, 30_000)
    }

    fn may_last(&self) -> bool {
        true
    }
}

/// A candidate gets another weight while the forwarder runs, and its old one again at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reweigh {
    /// Which.
    pub upstream: usize,
    /// How much more: where none was said it is 1, so less than 2 may change nothing.
    pub more: i32,
}

impl Act for Reweigh {
    const NAME: &'static str = "reweigh";
    const FAMILY: Family = Family::Candidates;

    fn draw(dice: &mut Dice<'_>) -> Self {
        Self {
            upstream: dice.rng.random_range(0..dice.clients),
            more: dice.rng.random_range(2..6),
        }
    }

    /// Its sessions go on.
    fn troubles(&self) -> Trouble {
        Trouble::default()
    }

    fn begin(&self, world: &mut World) -> bool {
        world.change_list(|list| list.reweigh(self.upstream, self.more))
    }

    fn end(&self, world: &mut World) {
        world.change_list(|list| list.reweigh(self.upstream, -self.more));
    }
}
