//! What can be seen of a world at any moment: the gauges of its nodes.

use super::World;
use crate::{
    event::Event,
    node::{Node, PROXY_PORT, UPSTREAM_GROUP, group_name},
    oracle::{Sight, group_bit},
    plan::who::Who,
};

impl World {
    /// The world as it stands.
    pub fn sight(&self) -> Sight {
        let Some(boot) = self.nodes[&Who::Server].boot() else {
            return Sight::default();
        };
        let metrics = &boot.metrics;
        let somebody_is_out = |group: &usize| {
            let figures = metrics.groups.join(&group_name(*group));
            figures.active.get() < figures.targets.get()
        };
        let uneven = (0..self.groups).filter(somebody_is_out).map(group_bit);
        let is_usable = |group: &usize| metrics.groups.join(&group_name(*group)).usable.get() > 0;
        let usable = (0..self.groups).filter(is_usable).map(group_bit);
        let upstreams = self.upstreams.iter().enumerate();
        let connected = upstreams.filter(|(_, upstream)| upstream.open() > 0);
        let connected = connected.map(|(n, _)| group_bit(n));
        let one_door = (0..self.upstreams.len()).filter(|client| self.leaves_out_a_door(*client));
        let is_linked = |client: &usize| {
            let boot = self.node(Who::Client(*client)).and_then(Node::boot);
            boot.is_some_and(|boot| boot.metrics.links.get() > 0)
        };
        let linked = (0..self.upstreams.len()).filter(is_linked).map(group_bit);
        Sight {
            linked: linked.fold(0, |all, client| all | client),
            registered: usize::try_from(metrics.clients.get()).unwrap_or(0),
            parked: metrics.pool_parked.get(),
            streams: boot.net.open(),
            sessions: metrics.sessions.get(),
            unproven: metrics.connections_unproven.get(),
            replay_bytes: metrics.replay_bytes.get(),
            links: metrics.data_links.get(),
            carried: metrics.streams.get(),
            queued: metrics.stream_queued_bytes.get(),
            promised: metrics.stream_window_bytes.get(),
            uneven: uneven.fold(0, |all, group| all | group),
            usable: usable.fold(0, |all, group| all | group),
            connected: connected.fold(0, |all, upstream| all | upstream),
            one_door: one_door.map(group_bit).fold(0, |all, client| all | client),
            silenced: self.engine.silenced(PROXY_PORT),
            uneven_figures: None,
        }
    }

    /// Whether a client chooses among fewer doors of its service than it has.
    fn leaves_out_a_door(&self, client: usize) -> bool {
        let boot = self.node(Who::Client(client)).and_then(Node::boot);
        boot.is_some_and(|boot| {
            let figures = boot.metrics.groups.join(UPSTREAM_GROUP);
            figures.active.get() < figures.targets.get()
        })
    }

    /// Says which clients have turned somebody away since the last look.
    pub fn look_at_refusals(&mut self) {
        for node in self
            .nodes
            .values()
            .filter(|node| matches!(node.who, Who::Client(_)))
        {
            let Some(boot) = node.boot() else { continue };
            let outcomes = &boot.metrics.session_outcomes;
            let count = ["unreachable", "timeout"].map(|reason| outcomes.count(reason));
            let life = (node.boots().len(), count);
            let before = self.refusals.insert(node.who, life);
            let before = before
                .filter(|(boots, _)| *boots == life.0)
                .map_or([0; 2], |(_, count)| count);
            if count != before {
                self.oracle.tell(Event::TurnsAway {
                    client: node.who,
                    refused: count[0] - before[0],
                    in_vain: count[1] - before[1],
                });
            }
        }
    }
}
