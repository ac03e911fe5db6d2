//! Somebody else in the server's place.

use super::World;
use crate::{engine::ProcessDeed, fault::impostor::Imposture, plan::who::Who};

impl World {
    /// Kills the server and runs an impostor in its place, unless its machine is down.
    pub fn usurp(&mut self, how: Imposture) -> bool {
        let is_down = self.downs.get(&Who::Server).is_some_and(|reasons| *reasons > 0);
        if is_down || !self.take_down(Who::Server, ProcessDeed::Crash) {
            return false;
        }
        self.set_usurped(Some(how));
        self.process(Who::Server, ProcessDeed::Boot)
    }

    /// Ends the impostor; the server comes back.
    pub fn depose(&mut self) {
        self.set_usurped(None);
        self.process(Who::Server, ProcessDeed::Crash);
        self.bring_up(Who::Server);
    }

    fn set_usurped(&self, how: Option<Imposture>) {
        if let Some(ailments) = self.ailments(Who::Server) {
            ailments.with(|ailments| ailments.usurped = how);
        }
    }
}
