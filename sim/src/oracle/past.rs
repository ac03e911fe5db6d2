//! What the plan has done to whom, as far as a run has come.

use std::time::Duration;

use super::model::{Model, SETTLE};
use crate::{
    fault::{AnyAct, Trouble},
    plan::Deed,
};

impl Model {
    /// Whether such trouble was felt at any time from then on.
    pub fn was_troubled(&self, from: Duration, such: impl Fn(&Trouble) -> bool) -> bool {
        let at = Duration::from_millis;
        self.plan.faults.iter().any(|fault| {
            let over = fault.to_ms.is_some_and(|to| at(to) + SETTLE < from);
            at(fault.from_ms) <= self.now && !over && such(&fault.act.troubles())
        })
    }

    /// Whether a client's process died at any time from then on.
    pub fn was_killed(&self, client: usize, from: Duration) -> bool {
        let at = Duration::from_millis;
        self.plan.faults.iter().any(|fault| {
            let died = fault.act.kills() && fault.act.troubles().clients.contains(&client);
            let over = fault.to_ms.is_some_and(|to| at(to) < from);
            died && at(fault.from_ms) <= self.now && !over
        })
    }

    /// Whether a client could not do as it would at any time from then on: it stood still, crawled, was away,
    /// or found no name.
    pub fn was_hampered(&self, client: usize, from: Duration) -> bool {
        let at = Duration::from_millis;
        self.plan.faults.iter().any(|fault| {
            let hampers = matches!(
                fault.act,
                AnyAct::Pause(_)
                    | AnyAct::Sluggish(_)
                    | AnyAct::Crash(_)
                    | AnyAct::PowerLoss(_)
                    | AnyAct::Stop(_)
                    | AnyAct::FailNames(_)
                    | AnyAct::MoveNames(_)
                    | AnyAct::TakePorts(_)
            );
            let over = fault.to_ms.is_some_and(|to| at(to) + SETTLE < from);
            let trouble = fault.act.troubles();
            let his = trouble.clients.contains(&client) || trouble.server;
            hampers && his && at(fault.from_ms) <= self.now && !over
        })
    }

    /// Whether somebody may have taken the client's name, and the server have told it to come back later.
    pub fn may_have_been_told_to_wait(&self, client: usize) -> bool {
        let takes = |deed: &Deed| match deed {
            Deed::DuplicateId { client: whose, .. } | Deed::ReplayControl { client: whose } => {
                *whose == client
            }
            _ => false,
        };
        self.plan.strangers.iter().any(|one| takes(&one.deed))
    }
}
