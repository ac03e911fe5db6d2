//! What each client's links carry. Pure: the means to end a session is only kept and handed back.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use crate::{
    id::{Epoch, LinkId, SessionId},
    probe::{audit, audit_eq},
};

/// What a session rides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ride {
    /// The registration.
    pub epoch: Epoch,
    /// Which of its connections.
    pub on: Carrier,
}

/// The kinds of connection that carry sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A proxy connection, which it has to itself.
    Proxy,
    /// A stream of a data link.
    Link(LinkId, u32),
}

impl Ride {
    /// On a proxy connection of this registration.
    pub fn on_proxy(epoch: Epoch) -> Self {
        Self {
            epoch,
            on: Carrier::Proxy,
        }
    }

    /// On this stream of a data link of this registration.
    pub fn on_link(epoch: Epoch, link: LinkId, stream: u32) -> Self {
        Self {
            epoch,
            on: Carrier::Link(link, stream),
        }
    }
}

/// Client (by its registration) -> links -> streams -> sessions, and back. `A` is what ends a session.
#[derive(Debug)]
pub struct TunnelConnectionManager<A> {
    sessions: BTreeMap<SessionId, (Ride, A)>,
    clients: BTreeMap<Epoch, Carried>,
}

/// What the connections of one registration carry.
#[derive(Debug, Default)]
struct Carried {
    /// On proxy connections.
    proxied: BTreeSet<SessionId>,
    /// On data links, by stream.
    links: BTreeMap<LinkId, BTreeMap<u32, SessionId>>,
}

impl Carried {
    fn len(&self) -> usize {
        self.proxied.len() + self.links.values().map(BTreeMap::len).sum::<usize>()
    }

    fn sessions(&self) -> impl Iterator<Item = SessionId> {
        let streams = self.links.values().flat_map(BTreeMap::values);
        self.proxied.iter().chain(streams).copied()
    }
}

impl<A> Default for TunnelConnectionManager<A> {
    fn default() -> Self {
        Self {
            sessions: BTreeMap::new(),
            clients: BTreeMap::new(),
        }
    }
}

impl<A> TunnelConnectionManager<A> {
    /// A data link of a registration carries sessions from now on.
    pub fn insert_link(&mut self, epoch: Epoch, link: LinkId) {
        self.clients
            .entry(epoch)
            .or_default()
            .links
            .entry(link)
            .or_default();
    }

    /// Forgets a data link and everything it carried, and hands back what ends that.
    pub fn remove_link(&mut self, epoch: Epoch, link: LinkId) -> Vec<A> {
        let Some(client) = self.clients.get_mut(&epoch) else {
            return Vec::new();
        };
        let streams = client.links.remove(&link).unwrap_or_default();
        let aborts = self.forget(streams.into_values());
        self.tidy(epoch);
        aborts
    }

    /// A session rides on a registration's connection from now on. A later try replaces an earlier one.
    ///
    /// # Errors
    /// Hands back what ends it: the data link is not there any more, or its stream carries another.
    pub fn insert(&mut self, session: SessionId, ride: Ride, abort: A) -> Result<(), A> {
        self.remove(session);
        match ride.on {
            // A registration that has just ended may carry it still.
            Carrier::Proxy => {
                let client = self.clients.entry(ride.epoch).or_default();
                client.proxied.insert(session);
            }
            Carrier::Link(link, stream) => {
                let client = self.clients.get_mut(&ride.epoch);
                let streams = client.and_then(|client| client.links.get_mut(&link));
                match streams.map(|streams| streams.entry(stream)) {
                    Some(Entry::Vacant(vacant)) => vacant.insert(session),
                    Some(Entry::Occupied(_)) | None => return Err(abort),
                };
            }
        }
        self.sessions.insert(session, (ride, abort));
        self.check();
        Ok(())
    }

    /// A session has ended.
    pub fn remove(&mut self, session: SessionId) -> Option<A> {
        let (ride, abort) = self.sessions.remove(&session)?;
        if let Some(client) = self.clients.get_mut(&ride.epoch) {
            match ride.on {
                Carrier::Proxy => drop(client.proxied.remove(&session)),
                Carrier::Link(link, stream) => {
                    if let Some(streams) = client.links.get_mut(&link) {
                        streams.remove(&stream);
                    }
                }
            }
        }
        self.tidy(ride.epoch);
        Some(abort)
    }

    /// Forgets everything a registration carried, its data links too, and hands back what ends it.
    pub fn remove_epoch(&mut self, epoch: Epoch) -> Vec<A> {
        let client = self.clients.remove(&epoch).unwrap_or_default();
        let aborts = self.forget(client.sessions());
        self.check();
        aborts
    }

    /// Forgets everything, and hands back what ends it.
    pub fn remove_all(&mut self) -> Vec<A> {
        self.clients.clear();
        std::mem::take(&mut self.sessions)
            .into_values()
            .map(|(_, abort)| abort)
            .collect()
    }

    /// What a session rides on.
    pub fn ride(&self, session: SessionId) -> Option<Ride> {
        self.sessions.get(&session).map(|(ride, _)| *ride)
    }

    /// The sessions that a registration carries.
    pub fn sessions(&self, epoch: Epoch) -> impl Iterator<Item = SessionId> {
        self.clients.get(&epoch).into_iter().flat_map(Carried::sessions)
    }

    /// The data links of a registration, and how many sessions each carries.
    pub fn links(&self, epoch: Epoch) -> impl Iterator<Item = (LinkId, usize)> {
        let links = self
            .clients
            .get(&epoch)
            .into_iter()
            .flat_map(|client| &client.links);
        links.map(|(link, streams)| (*link, streams.len()))
    }

    /// How many sessions a registration carries.
    pub fn count(&self, epoch: Epoch) -> usize {
        self.clients.get(&epoch).map_or(0, Carried::len)
    }

    /// How many sessions are carried in all.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether nothing is carried.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn forget(&mut self, sessions: impl Iterator<Item = SessionId>) -> Vec<A> {
        let carried = sessions.filter_map(|session| self.sessions.remove(&session));
        carried.map(|(_, abort)| abort).collect()
    }

    /// Forgets a registration that carries nothing and has no data link.
    fn tidy(&mut self, epoch: Epoch) {
        let idle = |client: &Carried| client.proxied.is_empty() && client.links.is_empty();
        if self.clients.get(&epoch).is_some_and(idle) {
            self.clients.remove(&epoch);
        }
        self.check();
    }

    fn check(&self) {
        audit_eq!(
            self.clients.values().map(Carried::len).sum::<usize>(),
            self.sessions.len(),
            "every session is carried by exactly one connection"
        );
        audit!(
            self.sessions
                .iter()
                .all(|(session, (ride, _))| self.carries(*session, *ride)),
            "what a session rides on knows it"
        );
        audit!(
            self.clients
                .values()
                .all(|client| !client.proxied.is_empty() || !client.links.is_empty()),
            "a registration that carries nothing is forgotten"
        );
    }

    fn carries(&self, session: SessionId, ride: Ride) -> bool {
        self.clients.get(&ride.epoch).is_some_and(|client| match ride.on {
            Carrier::Proxy => client.proxied.contains(&session),
            Carrier::Link(link, stream) => client
                .links
                .get(&link)
                .is_some_and(|streams| streams.get(&stream) == Some(&session)),
        })
    }

    /// The data links of all registrations.
    pub(super) fn all_links(&self) -> impl Iterator<Item = (Epoch, LinkId)> {
        let clients = self.clients.iter();
        clients.flat_map(|(epoch, client)| client.links.keys().map(|link| (*epoch, *link)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Tunnels = TunnelConnectionManager<u64>;

    fn epoch(counter: u64) -> Epoch {
        Epoch::new(1, counter)
    }

    fn link(number: u64) -> LinkId {
        LinkId::new(number)
    }

    fn session(number: u64) -> SessionId {
        SessionId::new(number)
    }

    #[test]
    fn a_lost_registration_takes_its_sessions_and_no_others() {
        let mut tunnels = Tunnels::default();
        for n in 0..6 {
            tunnels
                .insert(session(n), Ride::on_proxy(epoch(n % 2)), n)
                .unwrap();
        }
        tunnels.insert(session(0), Ride::on_proxy(epoch(1)), 100).unwrap();
        assert_eq!(tunnels.remove_epoch(epoch(0)), [2, 4]);
        assert_eq!(tunnels.count(epoch(1)), 4);
        assert_eq!(tunnels.remove(session(0)), Some(100));
        assert_eq!(tunnels.remove(session(2)), None);
        assert_eq!(tunnels.len(), 3);
    }

    #[test]
    fn a_lost_link_takes_what_it_carried_and_nothing_else() {
        let mut tunnels = Tunnels::default();
        for number in 1..=2 {
            tunnels.insert_link(epoch(1), link(number));
        }
        let mut insert = |n, ride| tunnels.insert(session(n), ride, n);
        assert_eq!(insert(1, Ride::on_link(epoch(1), link(1), 1)), Ok(()));
        assert_eq!(insert(2, Ride::on_link(epoch(1), link(1), 3)), Ok(()));
        assert_eq!(insert(3, Ride::on_link(epoch(1), link(2), 1)), Ok(()));
        assert_eq!(insert(4, Ride::on_proxy(epoch(1))), Ok(()));
        assert_eq!(
            tunnels.links(epoch(1)).collect::<Vec<_>>(),
            [(link(1), 2), (link(2), 1)]
        );
        assert_eq!(
            tunnels.sessions(epoch(1)).collect::<Vec<_>>(),
            [4, 1, 2, 3].map(session)
        );

        assert_eq!(tunnels.remove_link(epoch(1), link(1)), [1, 2]);
        assert_eq!(tunnels.remove_link(epoch(1), link(1)), [0; 0]);
        assert_eq!(tunnels.ride(session(1)), None);
        assert_eq!(
            tunnels.ride(session(3)),
            Some(Ride::on_link(epoch(1), link(2), 1))
        );
        assert_eq!((tunnels.count(epoch(1)), tunnels.len()), (2, 2));
        assert_eq!(tunnels.remove_epoch(epoch(1)), [4, 3]);
        assert_eq!(tunnels.links(epoch(1)).count(), 0);
    }

    #[test]
    fn nothing_rides_on_a_link_that_is_not_there_nor_two_on_one_stream() {
        let mut tunnels = Tunnels::default();
        let ride = Ride::on_link(epoch(1), link(1), 1);
        assert_eq!(tunnels.insert(session(1), ride, 1), Err(1));
        tunnels.insert_link(epoch(1), link(1));
        assert_eq!(tunnels.insert(session(1), ride, 2), Ok(()));
        assert_eq!(tunnels.insert(session(2), ride, 3), Err(3));
        assert_eq!(tunnels.insert(session(1), Ride::on_proxy(epoch(1)), 4), Ok(()));
        assert_eq!(
            tunnels.insert(session(2), ride, 5),
            Ok(()),
            "the stream is free again"
        );
        assert_eq!(tunnels.remove_link(epoch(1), link(1)), [5]);
        assert_eq!(tunnels.insert(session(3), ride, 6), Err(6), "it came too late");
        assert_eq!(tunnels.remove_all(), [4]);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert(u64, Ride),
        Remove(u64),
        InsertLink(u64, u64),
        RemoveLink(u64, u64),
        RemoveEpoch(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let place = || (0u64..2, 0u64..3);
        prop_oneof![
            4 => (0u64..12, place(), 0u32..4).prop_map(|(n, (counter, number), stream)| {
                let ride = match stream {
                    0 => Ride::on_proxy(epoch(counter)),
                    stream => Ride::on_link(epoch(counter), link(number), stream),
                };
                Step::Insert(n, ride)
            }),
            2 => (0u64..12).prop_map(Step::Remove),
            2 => place().prop_map(|(counter, number)| Step::InsertLink(counter, number)),
            1 => place().prop_map(|(counter, number)| Step::RemoveLink(counter, number)),
            1 => (0u64..2).prop_map(Step::RemoveEpoch),
        ]
    }

    proptest! {
        /// The books agree with a plain list of who rides where.
        #[test]
        fn the_books_agree_with_a_plain_list(steps in proptest::collection::vec(step(), 0..100)) {
            let mut tunnels = Tunnels::default();
            let mut plain: BTreeMap<SessionId, Ride> = BTreeMap::new();
            let mut links = BTreeSet::new();
            for step in steps {
                // What was handed back is what the list loses.
                match step {
                    Step::Insert(n, ride) => {
                        plain.remove(&session(n));
                        let there = match ride.on {
                            Carrier::Proxy => true,
                            Carrier::Link(link, _) => {
                                links.contains(&(ride.epoch, link)) && plain.values().all(|other| *other != ride)
                            }
                        };
                        prop_assert_eq!(tunnels.insert(session(n), ride, n).is_ok(), there);
                        if there {
                            plain.insert(session(n), ride);
                        }
                    }
                    Step::Remove(n) => {
                        let there = plain.remove(&session(n)).is_some();
                        prop_assert_eq!(tunnels.remove(session(n)), there.then_some(n));
                    }
                    Step::InsertLink(counter, number) => {
                        tunnels.insert_link(epoch(counter), link(number));
                        links.insert((epoch(counter), link(number)));
                    }
                    Step::RemoveLink(counter, number) => {
                        let gone = tunnels.remove_link(epoch(counter), link(number));
                        links.remove(&(epoch(counter), link(number)));
                        let before = plain.len();
                        plain.retain(|_, ride| {
                            let on = matches!(ride.on, Carrier::Link(of, _) if of == link(number));
                            ride.epoch != epoch(counter) || !on
                        });
                        prop_assert_eq!(gone.len(), before - plain.len());
                    }
                    Step::RemoveEpoch(counter) => {
                        let gone = tunnels.remove_epoch(epoch(counter));
                        links.retain(|(of, _)| *of != epoch(counter));
                        let before = plain.len();
                        plain.retain(|_, ride| ride.epoch != epoch(counter));
                        prop_assert_eq!(gone.len(), before - plain.len());
                    }
                }
                let rides: BTreeMap<_, _> = (0..12)
                    .filter_map(|n| Some((session(n), tunnels.ride(session(n))?)))
                    .collect();
                prop_assert_eq!(&rides, &plain);
                for counter in 0..2 {
                    let carried: BTreeSet<_> = tunnels.sessions(epoch(counter)).collect();
                    let expected = plain.iter().filter(|(_, ride)| ride.epoch == epoch(counter));
                    prop_assert_eq!(carried, expected.map(|(session, _)| *session).collect());
                    let there = links.iter().filter(|(of, _)| *of == epoch(counter));
                    prop_assert_eq!(tunnels.links(epoch(counter)).count(), there.count());
                }
            }
        }
    }
}
