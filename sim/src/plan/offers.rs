//! Clients with several upstreams: besides its first one a client offers others, of another group or of the same.

use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Plan, Purpose};

/// In one seed of so many of chaos clients have several upstreams.
const ONE_IN: u32 = 8;

/// Of so many visits one goes to the group that is served by further upstreams only.
const VISITS_ONE_IN: u32 = 3;

/// A further upstream of a client. It runs on the machine of the first one, behind a door of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Whose.
    pub client: usize,
    /// The group it serves.
    pub group: usize,
}

impl Plan {
    /// The groups of a client's further upstreams, in order.
    pub fn offers_of(&self, client: usize) -> impl Iterator<Item = usize> + '_ {
        let his = self.offers.iter().filter(move |offer| offer.client == client);
        his.map(|offer| offer.group)
    }

    /// The group of the upstream behind a door of a client's machine.
    pub fn group_behind(&self, client: usize, door: usize) -> Option<usize> {
        match door.checked_sub(crate::upstream::DOORS.len()) {
            None => self.group_of(client),
            Some(nth) => self.offers_of(client).nth(nth),
        }
    }

    /// How many upstreams of a client serve that group.
    pub fn targets_in(&self, client: usize, group: usize) -> usize {
        let first = usize::from(self.group_of(client) == Some(group));
        first + self.offers_of(client).filter(|of| *of == group).count()
    }

    /// Whether an upstream of that client serves that group.
    pub fn serves(&self, client: usize, group: usize) -> bool {
        self.targets_in(client, group) > 0
    }

    /// How many upstreams those clients have together.
    pub fn targets(&self, clients: &[usize]) -> usize {
        let further = clients.iter().map(|client| self.offers_of(*client).count());
        clients.len() + further.sum::<usize>()
    }

    /// Whether a client has several upstreams in that group.
    pub fn has_twins(&self, group: usize) -> bool {
        (0..self.clients.len()).any(|client| self.targets_in(client, group) > 1)
    }
}

/// Gives some clients further upstreams, if the seed says so.
pub(super) fn offer(seed: u64, plan: &mut Plan) {
    let mut rng = Purpose::Offers.rng(seed);
    if !rng.random_ratio(1, ONE_IN) {
        return;
    }
    let which = rng.random_range(0..3);
    if which < 2 {
        another_group(&mut rng, plan);
    }
    if which > 0 {
        same_group(&mut rng, plan);
    }
}

/// Some clients serve a group that no first upstream serves, and some visits go there.
fn another_group(rng: &mut ChaCha8Rng, plan: &mut Plan) {
    let (mut core, group) = (plan.core(), plan.groups());
    if core.len() < 2 {
        return;
    }
    core.shuffle(rng);
    core.truncate(rng.random_range(2..=core.len()));
    core.sort_unstable();
    plan.offers
        .extend(core.into_iter().map(|client| Offer { client, group }));
    for visit in plan.visitors.iter_mut().flatten() {
        if rng.random_ratio(1, VISITS_ONE_IN) {
            visit.group = group;
        }
    }
}

/// One or two clients serve the group of their first upstream with a second one.
fn same_group(rng: &mut ChaCha8Rng, plan: &mut Plan) {
    let mut clients: Vec<_> = (0..plan.clients.len()).collect();
    clients.shuffle(rng);
    clients.truncate(rng.random_range(1..=2));
    for client in clients {
        let group = plan.clients[client];
        plan.offers.push(Offer { client, group });
    }
}
