//! Owns the groups that registrations serve, and starts the selector of each. Never chooses.

use std::{collections::BTreeMap, sync::Arc};

use actix::{Actor, Addr};

use crate::{
    env::Env,
    id::{Epoch, GroupName},
    probe::{audit, mutant},
    selector::{
        actor::{Joined, Left, Selector},
        group::Group,
        setup::Setup,
        target::{Target, Tunnel},
    },
};

/// The groups of one server.
pub struct Groups {
    env: Env,
    all: BTreeMap<GroupName, Membership>,
}

/// A group, and who judges its targets.
pub struct Found {
    /// Where its targets are to be seen.
    pub group: Arc<Group<Tunnel>>,
    /// Its selector.
    pub selector: Addr<Selector<Tunnel>>,
}

struct Membership {
    group: Arc<Group<Tunnel>>,
    selector: Addr<Selector<Tunnel>>,
    /// Registered upstreams that serve it.
    members: usize,
    /// An entry sends visitors here: it stays when it is empty.
    pinned: bool,
}

impl Groups {
    /// No group yet.
    pub fn new(env: Env) -> Self {
        Self {
            env,
            all: BTreeMap::new(),
        }
    }

    /// The group that visitors come to, judged as `setup` says unless it is there already.
    pub fn find(&mut self, name: &GroupName, setup: Setup<Tunnel>) -> Found {
        let membership = self.open(name, || setup);
        membership.pinned = true;
        Found {
            group: Arc::clone(&membership.group),
            selector: membership.selector.clone(),
        }
    }

    /// An upstream of a registration serves this group from now on.
    pub fn join(&mut self, name: &GroupName, tunnel: Tunnel) {
        // A group that no visitor comes to is not probed.
        let membership = self.open(name, Setup::default);
        membership.members += 1;
        membership.selector.do_send(Joined(Arc::new(Target::new(tunnel))));
        self.check();
    }

    /// Registered upstreams that serve a group, of all groups.
    pub(super) fn members(&self) -> usize {
        self.all.values().map(|membership| membership.members).sum()
    }

    fn check(&self) {
        audit!(
            self.all
                .values()
                .all(|membership| membership.members > 0 || membership.pinned),
            "a group that nobody serves or visits is forgotten"
        );
    }

    /// Whether visitors come to this group.
    pub fn is_visited(&self, name: &GroupName) -> bool {
        self.all.get(name).is_some_and(|membership| membership.pinned)
    }

    /// Takes a registration out of every active set.
    pub fn withdraw(&self, epoch: Epoch, names: &[GroupName]) {
        let count = match names.len() > 1 && mutant!("lost-client-stays-in-further-groups") {
            true => 1,
            false => names.len(),
        };
        let names = names.iter().take(count);
        for membership in names.filter_map(|name| self.all.get(name)) {
            membership.selector.do_send(Left(epoch));
        }
    }

    /// Forgets groups that nobody serves and no entry names: a client may name any group, for a while. `names` has one
    /// name for each upstream that leaves.
    pub fn leave(&mut self, names: &[GroupName]) {
        for name in names {
            if let Some(membership) = self.all.get_mut(name) {
                audit!(membership.members > 0, "only who serves a group leaves it");
                membership.members -= 1;
                if membership.members == 0 && !membership.pinned {
                    self.all.remove(name);
                }
            }
        }
        self.check();
    }

    fn open(&mut self, name: &GroupName, setup: impl FnOnce() -> Setup<Tunnel>) -> &mut Membership {
        self.all.entry(name.clone()).or_insert_with(|| {
            let group = Group::new(name.clone());
            let selector = Selector::new(&self.env, Arc::clone(&group), setup()).start();
            Membership {
                group,
                selector,
                members: 0,
                pinned: false,
            }
        })
    }
}
