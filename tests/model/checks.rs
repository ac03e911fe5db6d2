//! What must hold at every moment of a session, whatever was done to it.

use adit::session::{
    core::{Core, Fate},
    upstream_side::{self, UpstreamSide},
    visitor_side::{Cause, Outcome},
};

use super::{Side, Try};

impl Try {
    /// What the other end said, as far as it can have come.
    fn upstream_says(&self) -> &[u8] {
        self.upstream.as_ref().map_or(&[], |side| &side.raw.says)
    }

    /// What holds at every moment.
    pub fn check(&self) {
        let visitor = &self.visitor.raw;
        assert!(
            self.upstream_says().starts_with(&visitor.got),
            "a visitor gets what the upstream said, in order"
        );
        if visitor.saw_end {
            assert!(
                self.upstream.as_ref().is_some_and(|side| side.raw.is_read())
                    && visitor.got == self.upstream_says(),
                "a visitor sees a clean end only behind the upstream's last byte"
            );
        }
        if let Some(upstream) = &self.upstream {
            let got = &upstream.raw.got;
            assert!(
                visitor.says.starts_with(got),
                "an upstream gets what the visitor said, in order"
            );
            assert!(
                self.connected || got.is_empty(),
                "nothing is written before the upstream is connected"
            );
            if upstream.raw.saw_end {
                assert!(
                    visitor.is_read() && *got == visitor.says,
                    "an upstream sees a clean end only behind the visitor's last byte"
                );
            }
            self.check_upstream_outcome(upstream);
        }
        self.check_visitor_outcome();
        self.check_reusable();
    }

    fn check_visitor_outcome(&self) {
        let visitor = &self.visitor.raw;
        let arrived = self.upstream.as_ref().map_or(0, |side| side.raw.got.len());
        match self.visitor.core.outcome() {
            None => assert!(!visitor.saw_reset && !visitor.released),
            Some(Outcome::Completed) => {
                let upstream = self
                    .upstream
                    .as_ref()
                    .expect("a completed session has an upstream");
                assert!(
                    visitor.saw_end && upstream.raw.saw_end && !visitor.saw_reset && !upstream.raw.saw_reset,
                    "both ends of a completed session saw a clean end"
                );
                assert!(self.visitor.closed && upstream.closed);
            }
            Some(Outcome::NotStarted { cause, ambiguous }) => {
                assert!(visitor.released && !visitor.saw_reset && visitor.got.is_empty());
                let safe = !ambiguous || matches!(cause, Cause::Refused(_));
                assert!(
                    !safe || arrived == 0,
                    "a try that is safe to repeat left no byte behind"
                );
                assert!(!matches!(cause, Cause::Refused(_)) || !self.connected);
            }
            Some(_) => assert!(
                visitor.saw_reset && !visitor.released && !self.visitor.closed,
                "a broken session never looks finished"
            ),
        }
    }

    fn check_upstream_outcome(&self, side: &Side<UpstreamSide>) {
        use upstream_side::Outcome;
        let raw = &side.raw;
        match side.core.outcome() {
            None => assert!(!raw.saw_reset && !side.closed),
            Some(Outcome::Completed) => assert!(
                raw.saw_end && raw.is_read() && side.closed && !raw.saw_reset,
                "a completed upstream got everything, and everything it said is on its way"
            ),
            Some(Outcome::Refused(_)) => assert!(!self.connected && raw.got.is_empty()),
            Some(_) => assert!(
                raw.saw_reset && !side.closed,
                "a broken session never looks finished"
            ),
        }
    }

    fn check_reusable(&self) {
        if self.visitor.core.fate() != Some(Fate::Reusable) {
            return;
        }
        let upstream = self.upstream.as_ref().expect("a reusable stream had a client");
        assert_eq!(
            upstream.core.fate(),
            Some(Fate::Reusable),
            "the server reuses a stream only when the client does"
        );
        assert!(
            self.to_client.is_empty()
                && self.to_server.is_empty()
                && upstream.is_clean()
                && self.visitor.is_clean(),
            "nothing of a session is left in a stream that is reused"
        );
    }
}
