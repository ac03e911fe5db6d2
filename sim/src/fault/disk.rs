//! Disks.

use serde::{Deserialize, Serialize};

use super::{Act, Dice, Family, Trouble};
use crate::{plan::who::Who, world::World};

/// The disk of the server is full: what it writes is lost, and nobody may notice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FillDisk {}

impl Act for FillDisk {
    const NAME: &'static str = "fill-disk";
    const FAMILY: Family = Family::Disk;

    fn draw(_dice: &mut Dice<'_>) -> Self {
        Self {}
    }

    fn troubles(&self) -> Trouble {
        Trouble::default()
    }

    fn begin(&self, world: &mut World) -> bool {
        let server = world.node(Who::Server);
        server.is_some_and(|node| node.files.fill(true))
    }

    fn end(&self, world: &mut World) {
        if let Some(node) = world.node(Who::Server) {
            node.files.fill(false);
        }
    }
}
