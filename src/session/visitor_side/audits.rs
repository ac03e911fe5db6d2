//! What the server's side of a session believes at every moment.

use super::{Cause, Outcome, State, VisitorSide};
use crate::{
    probe::{audit, audit_eq},
    session::core::Fate,
};

impl VisitorSide {
    /// The sentences this core believes at every moment.
    pub(super) fn check(&self) {
        self.flow.check();
        assert!(
            !self.finished || (self.flow.fin_sent && self.flow.fin_received),
            "Finished counts only after both FINs"
        );
        assert!(
            self.state != State::Ended(Fate::Reusable) || self.outcome.is_some(),
            "a stream is free again only when the visitor's fate is known"
        );
        assert!(
            self.outcome != Some(Outcome::Completed) || (self.flow.shut_down && self.finished),
            "a session is complete only when the visitor has everything and the client says it is finished"
        );
        self.check_state();
    }

    /// Asserts it.
    fn check_state(&self) {
        let (first, flow) = (&self.first, &self.flow);
        let refused = |outcome| {
            matches!(
                outcome,
                Outcome::NotStarted {
                    cause: Cause::Refused(_),
                    ..
                }
            )
        };
        match self.state {
            State::Starting(due) | State::Working(due) => {
                audit!(
                    due <= self.patience.start_deadline,
                    "no try takes longer than the start"
                );
                audit!(
                    flow.raw_in == first.bytes().len() as u64 && self.sent != first.bytes().is_empty(),
                    "what was sent before the start is kept"
                );
                audit_eq!(flow.fin_sent, first.fin(), "an end before the start is kept");
                audit!(
                    self.outcome.is_none() && !self.served,
                    "a session that starts has not ended"
                );
            }
            State::Open => {
                audit!(first.is_cleared(), "what a client serves is not kept");
                audit!(
                    self.outcome.is_none() && self.served,
                    "a session that is open is served"
                );
            }
            State::Refused(_) => audit!(
                self.outcome.is_some_and(refused),
                "who is refused knows it, and the stream waits for the client"
            ),
            State::Ended(_) => audit!(self.outcome.is_some(), "a session that is over has an outcome"),
        }
        audit!(
            !(self.served && matches!(self.outcome, Some(Outcome::NotStarted { .. }))),
            "who was served has been started"
        );
        audit!(
            self.parted
                .in_a_row(|()| true, |()| false)
                .is_none_or(|times| times == u32::from(self.outcome.is_some())),
            "the visitor is parted with once, as its outcome is known"
        );
    }
}
