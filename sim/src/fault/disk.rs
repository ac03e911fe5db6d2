//! Disks.

use serde::{Deserialize, Serialize};

use super::{Act, Dice, Family, Trouble};
use crate::{plan::who::Who, world::World};

/// A disk is full: what is written to it is lost, and nobody may notice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FillDisk {
    /// Whose.
    pub who: Who,
}

impl Act for FillDisk {
    const NAME: &'static str = "fill-disk";
    const FAMILY: Family = Family::Disk;

    fn draw(_dice: &mut Dice<'_>) -> Self {
        Self { who: Who::Server }
    }

    fn troubles(&self) -> Trouble {
        Trouble::default()
    }

    fn begin(&self, world: &mut World) -> bool {
        let node = world.node(self.who);
        node.is_some_and(|node| node.files.fill(true))
    }

    fn end(&self, world: &mut World) {
        if let Some(node) = world.node(self.who) {
            node.files.fill(false);
        }
    }
}
