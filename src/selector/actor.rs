//! Owns the membership of one group and publishes it. Never carries a session, never asks a client.

use std::{collections::BTreeMap, sync::Arc};

use actix::{Actor, Context, Handler, Message};
use tracing::info;

use super::{
    active_set::{ActiveSet, Target, TargetKey},
    group::Group,
};
use crate::{id::Epoch, probe::mutant};

/// The selector of one group.
pub struct Selector {
    group: Arc<Group>,
    members: BTreeMap<TargetKey, Arc<Target>>,
}

impl Selector {
    /// The selector that publishes to `group`.
    pub fn new(group: Arc<Group>) -> Self {
        Self {
            group,
            members: BTreeMap::new(),
        }
    }

    fn publish(&self) {
        self.group.publish(ActiveSet::new(&self.members));
    }
}

/// A client serves this group from now on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Joined(pub Arc<Target>);

/// A registration has ended, or takes nothing new.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Left(pub Epoch);

impl Actor for Selector {
    type Context = Context<Self>;
}

impl Handler<Joined> for Selector {
    type Result = ();

    fn handle(&mut self, Joined(target): Joined, _ctx: &mut Self::Context) {
        let (group, client, upstream) = (self.group.name(), &target.client, &target.upstream);
        info!(%group, %client, %upstream, targets = self.members.len() + 1, "target joined");
        self.members.insert(target.key(), target);
        self.publish();
    }
}

impl Handler<Left> for Selector {
    type Result = ();

    fn handle(&mut self, Left(epoch): Left, _ctx: &mut Self::Context) {
        let before = self.members.len();
        self.members
            .retain(|(member, _), _| *member != epoch || mutant!("group-keeps-dead-member"));
        if self.members.len() != before {
            info!(group = %self.group.name(), targets = self.members.len(), "target left");
            self.publish();
        }
    }
}
