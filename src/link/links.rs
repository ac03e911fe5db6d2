//! The data links of one registration: which of them opens the next stream.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;

use super::{data_link::DataLink, mux::OpenError, stream::LinkStream};
use crate::{id::LinkId, probe::sometimes, time};

/// Streams on the emptiest link from which on another link is wanted. More share one connection's losses and one
/// processor; fewer open links that nobody needs.
const CROWDED: usize = 64;

/// The data links of one registration. Shared by the registry, which keeps them, and by those who open streams.
#[derive(Debug)]
pub struct Links {
    open: ArcSwap<Vec<(LinkId, Arc<DataLink>)>>,
    links_max: usize,
    /// Another link was asked for, and has not come.
    asked: AtomicBool,
}

/// A place on a data link.
#[derive(Debug)]
pub struct Place {
    /// The link.
    pub link: LinkId,
    /// The stream, which its START begins.
    pub stream: LinkStream,
}

impl Links {
    /// None yet, and at most so many.
    pub fn new(links_max: usize) -> Self {
        Self {
            open: ArcSwap::default(),
            links_max,
            asked: AtomicBool::new(false),
        }
    }

    /// Takes in a link that has come.
    pub fn add(&self, id: LinkId, link: Arc<DataLink>) {
        self.asked.store(false, Ordering::Relaxed);
        let mut open = Vec::clone(&self.open.load());
        open.push((id, link));
        self.open.store(Arc::new(open));
    }

    /// Forgets a link that was lost.
    pub fn remove(&self, id: LinkId) {
        self.asked.store(false, Ordering::Relaxed);
        let mut open = Vec::clone(&self.open.load());
        open.retain(|(other, _)| *other != id);
        self.open.store(Arc::new(open));
    }

    /// Opens nothing more; each link ends when nothing is left on it.
    pub fn leave(&self) {
        for (_, link) in self.open.swap(Arc::default()).iter() {
            link.leave();
        }
    }

    /// Lets go of links that open no more, and says which those are. They end with the last of what they carry.
    pub fn take_retired(&self) -> Vec<LinkId> {
        let (open, retired): (Vec<_>, Vec<_>) = Vec::clone(&self.open.load())
            .into_iter()
            .partition(|(_, link)| link.is_open());
        self.open.store(Arc::new(open));
        retired.into_iter().map(|(id, _)| id).collect()
    }

    /// A place on the link that carries the fewest streams, if any has room. A link that has fallen silent comes last: those
    /// whom it failed leave it, so it would be the emptiest soon.
    pub fn open(&self) -> Option<Place> {
        let (open, now) = (self.open.load(), time::now());
        let rank = |(id, link): &(LinkId, Arc<DataLink>)| (link.is_silent(now), link.streams(), *id);
        let mut links: Vec<_> = open.iter().map(|one| (rank(one), one)).collect();
        links.sort_by_key(|(rank, _)| *rank);
        sometimes!(
            links.first().is_some_and(|((silent, ..), _)| !silent)
                && links.last().is_some_and(|((silent, ..), _)| *silent),
            "silent-link-passed-over"
        );
        for (_rank, (id, link)) in links {
            match link.open() {
                Ok(stream) => {
                    #[cfg(feature = "mutants")]
                    assert!(
                        open.iter().all(|(other, link)| other == id
                            || (_rank.0, _rank.1) <= (link.is_silent(now), link.streams())
                            || !link.has_room(now)),
                        "no link that speaks and has room carries fewer streams"
                    );
                    return Some(Place { link: *id, stream });
                }
                Err(OpenError::Leaving | OpenError::Full | OpenError::Busy) => {}
            }
        }
        None
    }

    /// Those that may be used.
    pub(crate) fn open_ids(&self) -> BTreeSet<LinkId> {
        self.open.load().iter().map(|(id, _)| *id).collect()
    }

    /// Whether there are links, and all of them have fallen silent.
    pub fn are_silent(&self) -> bool {
        let (open, now) = (self.open.load(), time::now());
        !open.is_empty() && open.iter().all(|(_, link)| link.is_silent(now))
    }

    /// Whether another link would help, and was not asked for yet. Says so once for each link that comes or goes.
    pub fn wants_another(&self) -> bool {
        let open = self.open.load();
        // A link that opens no more will be replaced: it does not count.
        let open: Vec<_> = open.iter().filter(|(_, link)| link.is_open()).collect();
        let crowded = open.iter().all(|(_, link)| link.is_crowded(CROWDED));
        let wanted = open.len() < self.links_max && crowded;
        sometimes!(wanted, "another-link-wanted");
        wanted && !self.asked.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        link::mux::{Options, Side},
        metrics::Metrics,
        time::Duration,
    };

    #[test]
    fn links_that_carry_as_many_streams_as_they_may_are_crowded() {
        let links = Links::new(2);
        let options = Options {
            streams_max: 1,
            ..Options::default()
        };
        let metrics = Arc::new(Metrics::new());
        links.add(LinkId::new(1), DataLink::new(Side::Opener, options, &metrics));
        assert!(!links.wants_another());
        let _place = links.open().unwrap();
        assert!(links.wants_another());
    }

    #[test]
    fn streams_are_spread_and_another_link_is_wanted_once() {
        let links = Links::new(2);
        assert!(links.open().is_none());
        assert!(links.wants_another());
        assert!(!links.wants_another(), "it was asked for already");
        let metrics = Arc::new(Metrics::new());
        let new = || DataLink::new(Side::Opener, Options::default(), &metrics);
        links.add(LinkId::new(1), new());
        assert!(!links.wants_another());
        let mut places: Vec<_> = (0..CROWDED).map(|_| links.open().unwrap()).collect();
        assert!(links.wants_another());
        links.add(LinkId::new(2), new());
        places.extend((0..CROWDED).map(|_| links.open().unwrap()));
        let on = |id| {
            places
                .iter()
                .filter(|place| place.link == LinkId::new(id))
                .count()
        };
        assert_eq!((on(1), on(2)), (CROWDED, CROWDED));
        assert!(!links.wants_another(), "there are as many as there may be");
        links.leave();
        assert!(links.open().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_has_fallen_silent_comes_last() {
        let links = Links::new(2);
        let metrics = Arc::new(Metrics::new());
        let both = [1, 2].map(|id| {
            let link = DataLink::new(Side::Opener, Options::default(), &metrics);
            links.add(LinkId::new(id), Arc::clone(&link));
            link
        });
        let next = || links.open().unwrap().link.value();
        // Each place is given up at once, so both are always empty.
        assert_eq!(next(), 1);
        time::sleep(Duration::from_secs(2)).await;
        assert!(!links.are_silent(), "nobody has asked the other");
        assert_eq!(next(), 2, "the first has not said a word for 2 s");
        time::sleep(Duration::from_secs(2)).await;
        assert!(links.are_silent());
        both[1].moved.note(time::now());
        time::sleep(Duration::from_secs(2)).await;
        assert_eq!(next(), 2);
        both[0].moved.note(time::now());
        assert_eq!(next(), 1, "it speaks again");
        // What is quiet because nobody asks it is not silent.
        time::sleep(Duration::from_secs(60)).await;
        both[0].moved.note(time::now());
        both[1].moved.note(time::now());
        time::sleep(Duration::from_secs(60)).await;
        assert_eq!(next(), 1);
    }
}
