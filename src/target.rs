//! One thing a group may choose, and how it is reached.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use crate::{
    id::{ClientId, Epoch, UpstreamName},
    link::{gauges::LinkGauges, links::Links},
    metrics::TrafficSeries,
    probe::audit,
    time::Duration,
};

/// How a kind of target is reached. Selectors, probers and strategies know no more of it than this.
pub trait Reach: fmt::Debug + Send + Sync + 'static {
    /// What tells two targets apart.
    type Key: Ord + Clone + fmt::Debug + Send + Sync + Unpin + 'static;

    /// What tells this one apart from others.
    fn key(&self) -> Self::Key;

    /// What people call it, in logs, metrics and the journal.
    fn name(&self) -> String;

    /// The same in parts, for logs.
    fn place(&self) -> Place;
}

/// Where a target is, for logs: as much of it as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The client that serves it.
    pub client: Option<ClientId>,
    /// Which of the client's upstreams.
    pub upstream: Option<UpstreamName>,
    /// Its address.
    pub address: Option<SocketAddr>,
}

/// An upstream behind a registered client.
#[derive(Debug)]
pub struct Tunnel {
    /// The client that serves it.
    pub client: ClientId,
    /// The client's registration; a later one is another target.
    pub epoch: Epoch,
    /// Which of the client's upstreams.
    pub upstream: UpstreamName,
    /// The client's link.
    pub link: Arc<LinkGauges>,
    /// The client's data links.
    pub links: Arc<Links>,
}

impl Reach for Tunnel {
    type Key = (Epoch, UpstreamName);

    fn key(&self) -> Self::Key {
        (self.epoch, self.upstream.clone())
    }

    fn name(&self) -> String {
        format!("{}/{}", self.client, self.upstream)
    }

    fn place(&self) -> Place {
        Place {
            client: Some(self.client.clone()),
            upstream: Some(self.upstream.clone()),
            address: None,
        }
    }
}

impl Reach for SocketAddr {
    type Key = Self;

    fn key(&self) -> Self::Key {
        *self
    }

    fn name(&self) -> String {
        self.to_string()
    }

    fn place(&self) -> Place {
        Place {
            address: Some(*self),
            ..Place::default()
        }
    }
}

/// One thing a group may choose.
#[derive(Debug)]
pub struct Target<R> {
    /// How it is reached.
    pub reach: R,
    /// Its share of the sessions beside the others'. At least 1.
    pub weight: u32,
    /// Its live figures; they live as long as it is a member, in or out of the active set.
    pub gauges: Arc<TargetGauges>,
}

impl<R: Reach> Target<R> {
    /// A target of weight 1 with figures of its own.
    pub fn new(reach: R) -> Self {
        Self {
            reach,
            weight: 1,
            gauges: Arc::default(),
        }
    }

    /// What tells it apart.
    pub fn key(&self) -> R::Key {
        self.reach.key()
    }
}

/// The longest explanation of a failure that is kept, in characters.
const WORDS_LEN_MAX: usize = 200;

/// The whole share, of [`TargetGauges::share`].
pub const SHARE_WHOLE: u32 = 1000;

/// Live figures of one target: sessions count themselves, the selector writes the rest, strategies read.
#[derive(Debug)]
pub struct TargetGauges {
    in_flight: AtomicUsize,
    cost_us: AtomicU64,
    share: AtomicU32,
    /// The last session to end broke.
    broke: AtomicBool,
    /// Why it failed last.
    failure: RwLock<Option<Arc<str>>>,
    /// Where what its client carries is counted.
    traffic: OnceLock<TrafficSeries>,
}

impl Default for TargetGauges {
    fn default() -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            cost_us: AtomicU64::new(0),
            share: AtomicU32::new(SHARE_WHOLE),
            broke: AtomicBool::new(false),
            failure: RwLock::new(None),
            traffic: OnceLock::new(),
        }
    }
}

impl TargetGauges {
    /// Sessions that this node has on it.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts one more session while the guard lives.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// A session has ended, `well` or broken: whether that is news. One that ended well is, after one that broke.
    pub fn end(&self, well: bool) -> bool {
        let broke_before = self.broke.swap(!well, Ordering::Relaxed);
        !well || broke_before
    }

    /// It failed, because of `words`. Called before its selector is told that it failed. A peer may have said them: what is
    /// too long or would break a line of the log is left out.
    pub fn note_failure(&self, words: &str) {
        let words: String = words
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(WORDS_LEN_MAX)
            .collect();
        *self.failure.write().unwrap_or_else(PoisonError::into_inner) = Some(words.into());
    }

    /// Why it failed last, if it did.
    pub fn failure(&self) -> Option<Arc<str>> {
        self.failure
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What its client carries is counted there from now on. Said once, before anybody uses it.
    pub fn count_traffic(&self, traffic: TrafficSeries) {
        // A target joins one group, once.
        let _ = self.traffic.set(traffic);
    }

    /// Where what its client carries is counted; `None` where no client carries it.
    pub fn traffic(&self) -> Option<&TrafficSeries> {
        self.traffic.get()
    }

    /// What one session costs on it when it is idle; `None` before the first measurement.
    pub fn cost(&self) -> Option<Duration> {
        match self.cost_us.load(Ordering::Relaxed) {
            0 => None,
            us => Some(Duration::from_micros(us)),
        }
    }

    /// The selector has computed the cost anew.
    pub fn set_cost(&self, cost: Duration) {
        let us = u64::try_from(cost.as_micros()).unwrap_or(u64::MAX).max(1);
        self.cost_us.store(us, Ordering::Relaxed);
    }

    /// How much of its weight counts, in thousandths: less than the whole while it starts slowly.
    pub fn share(&self) -> u32 {
        self.share.load(Ordering::Relaxed)
    }

    /// Slow start has come so far.
    pub fn set_share(&self, thousandths: u32) {
        self.share
            .store(thousandths.clamp(1, SHARE_WHOLE), Ordering::Relaxed);
    }
}

/// Counts one session on a target while it lives.
#[derive(Debug)]
pub struct InFlight(Arc<TargetGauges>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let before = self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        audit!(before > 0, "a session that ends on a target was counted there");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_end_is_news_only_after_a_bad_one() {
        let gauges = TargetGauges::default();
        let ends = [true, false, false, true, true];
        assert_eq!(
            ends.map(|well| gauges.end(well)),
            [false, true, true, true, false]
        );
    }
}
