//! How many data links each registration has, and when the next is ordered. Pure: it is told the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::tickets::TICKET_TIMEOUT;
use crate::{
    id::{Epoch, LinkId},
    probe::{History, audit, audit_eq, mutant},
    time::{Duration, Instant},
};

/// How long an order may take: its ticket is void afterwards.
const ORDER_TIMEOUT: Duration = TICKET_TIMEOUT;

/// The pause after the first failure. Shorter hammers a client that cannot; longer leaves visitors without a link.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause. Longer leaves a client that has recovered without a link; shorter asks the dead too often.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A failure this long after the last pause is the first again. Longer than an order may take: orders that expire one
/// after the other are one row of failures.
const FORGIVEN_AFTER: Duration = Duration::from_secs(10);

/// What the shell does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask this registration's client for one more data link.
    Order(Epoch),
}

/// The data links of all registrations: one from the start, more when sessions find no room on those that are open,
/// and another for each that is lost.
///
/// Inputs: `handle_*`. Outputs: [`poll_action`](Self::poll_action), [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Trunks {
    links_max: usize,
    next: u64,
    fleets: BTreeMap<Epoch, Fleet>,
    /// When something is due at a registration: as [`Fleet::due`] says of each.
    due: BTreeSet<(Instant, Epoch)>,
    actions: VecDeque<Action>,
}

/// The data links of one registration.
#[derive(Debug)]
struct Fleet {
    wanted: usize,
    /// When each order is given up; the oldest first.
    ordered: VecDeque<Instant>,
    open: BTreeSet<LinkId>,
    failures: u32,
    /// Nothing is ordered before.
    pause_until: Instant,
    /// How long after the last pause each failure came, for its audits.
    gaps: History<Duration>,
}

impl Trunks {
    /// No registration yet; each has at most `links_max` data links, which may be 0.
    pub fn new(links_max: usize) -> Self {
        Self {
            links_max,
            next: 1,
            fleets: BTreeMap::new(),
            due: BTreeSet::new(),
            actions: VecDeque::new(),
        }
    }

    /// Data links of a registration that are open.
    pub fn count(&self, epoch: Epoch) -> usize {
        self.fleets.get(&epoch).map_or(0, |fleet| fleet.open.len())
    }

    /// Data links that are open in all.
    pub fn len(&self) -> usize {
        self.fleets.values().map(|fleet| fleet.open.len()).sum()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A client that knows data links was admitted.
    pub fn handle_joined(&mut self, now: Instant, epoch: Epoch) {
        if self.links_max == 0 {
            return;
        }
        let fleet = Fleet {
            wanted: 1,
            ordered: VecDeque::new(),
            open: BTreeSet::new(),
            failures: 0,
            pause_until: now,
            gaps: History::default(),
        };
        self.fleets.insert(epoch, fleet);
        self.due.insert((now, epoch));
        self.handle_timeout(now);
    }

    /// A registration drains or is over: nothing more is opened for it. What is open is no concern of these books any
    /// more.
    pub fn handle_left(&mut self, epoch: Epoch) {
        if let Some(fleet) = self.fleets.remove(&epoch)
            && let Some(due) = fleet.due()
        {
            self.due.remove(&(due, epoch));
        }
        self.actions.retain(|Action::Order(of)| *of != epoch);
        self.check();
    }

    /// A session found no room on the data links of this registration. Where one is on its way, it waits for that.
    pub fn handle_demand(&mut self, now: Instant, epoch: Epoch) {
        let links_max = self.links_max;
        self.change(now, epoch, |fleet| {
            if fleet.missing() == 0 && fleet.ordered.is_empty() {
                fleet.wanted = (fleet.open.len() + 1).min(links_max);
            }
        });
    }

    /// A data link has come; its name, or `None` when there is no use for it.
    pub fn handle_arrived(&mut self, now: Instant, epoch: Epoch) -> Option<LinkId> {
        let (link, links_max) = (LinkId::new(self.next), self.links_max);
        let welcome = self.change(now, epoch, |fleet| {
            // Also one whose order was given up a moment ago: it is here now.
            fleet.ordered.pop_front();
            fleet.open.len() < links_max && fleet.open.insert(link)
        });
        let welcome = welcome.unwrap_or_default();
        self.next += u64::from(welcome);
        welcome.then_some(link)
    }

    /// An order came to nothing.
    pub fn handle_failed(&mut self, now: Instant, epoch: Epoch) {
        self.change(now, epoch, |fleet| {
            // An order that was given up has failed already.
            if fleet.ordered.pop_front().is_some() {
                fleet.fail(now);
            }
        });
    }

    /// A data link is no more, or takes nothing new.
    pub fn handle_lost(&mut self, now: Instant, epoch: Epoch, link: LinkId) {
        self.change(now, epoch, |fleet| {
            if fleet.open.remove(&link) {
                fleet.fail(now);
                if mutant!("lost-link-not-replaced") {
                    fleet.wanted = fleet.open.len();
                }
            }
        });
    }

    /// A data link opens no more streams. What it carries goes on, and another may take its place.
    pub fn handle_retired(&mut self, now: Instant, epoch: Epoch, link: LinkId) {
        self.change(now, epoch, |fleet| fleet.open.remove(&link));
    }

    /// A pause may be over, an order may have taken too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, epoch)) = self.due.first().copied()
            && at <= now
        {
            self.change(now, epoch, |fleet| fleet.expire(now));
        }
        audit!(
            self.poll_timeout().is_none_or(|due| due > now),
            "what is due is done"
        );
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Changes the books of a registration, if it has any, and orders what is missing then.
    fn change<R>(&mut self, now: Instant, epoch: Epoch, change: impl FnOnce(&mut Fleet) -> R) -> Option<R> {
        let links_max = self.links_max;
        let fleet = self.fleets.get_mut(&epoch)?;
        if let Some(due) = fleet.due() {
            self.due.remove(&(due, epoch));
        }
        let result = change(fleet);
        if fleet.pause_until <= now {
            for _ in 0..fleet.missing() {
                fleet.ordered.push_back(now + ORDER_TIMEOUT);
                self.actions.push_back(Action::Order(epoch));
            }
        }
        fleet.check(now, links_max);
        if let Some(due) = fleet.due() {
            self.due.insert((due, epoch));
        }
        self.check();
        Some(result)
    }

    /// The sentences this core believes at every moment.
    fn check(&self) {
        audit!(
            self.fleets
                .values()
                .all(|fleet| fleet.open.len() + fleet.ordered.len() <= self.links_max),
            "no registration has more data links, with those on their way, than it may"
        );
        audit_eq!(
            self.fleets
                .iter()
                .filter_map(|(epoch, fleet)| Some((fleet.due()?, *epoch)))
                .collect::<BTreeSet<_>>(),
            self.due,
            "what is due at a registration is known, and nothing else is"
        );
        let open = || self.fleets.values().flat_map(|fleet| &fleet.open);
        audit!(
            open().collect::<BTreeSet<_>>().len() == open().count()
                && open().all(|link| link.value() <= self.next),
            "no two data links have the same name"
        );
    }

    /// The registrations that have data links, and those that are open.
    pub(super) fn fleets(&self) -> impl Iterator<Item = (&Epoch, &BTreeSet<LinkId>)> {
        self.fleets.iter().map(|(epoch, fleet)| (epoch, &fleet.open))
    }
}

impl Fleet {
    fn missing(&self) -> usize {
        self.wanted.saturating_sub(self.open.len() + self.ordered.len())
    }

    /// When something is to be done here.
    fn due(&self) -> Option<Instant> {
        let resumes = (self.missing() > 0).then_some(self.pause_until);
        let expires = self.ordered.front().copied();
        resumes.into_iter().chain(expires).min()
    }

    fn expire(&mut self, now: Instant) {
        while self.ordered.front().is_some_and(|expires| *expires <= now) {
            self.ordered.pop_front();
            self.fail(now);
        }
    }

    /// Pauses, longer each time. Several that fail together have failed once.
    fn fail(&mut self, now: Instant) {
        if now < self.pause_until {
            return;
        }
        let gap = now - self.pause_until;
        self.gaps.push(gap);
        if gap >= FORGIVEN_AFTER {
            self.failures = 0;
        }
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.pause_until = now + PAUSE_MIN.saturating_mul(factor).min(PAUSE_MAX);
        self.failures += 1;
    }

    /// The sentences that hold when its books were changed.
    fn check(&self, now: Instant, links_max: usize) {
        audit!(
            (1..=links_max).contains(&self.wanted),
            "at least one data link is wanted, and no more than may be"
        );
        audit!(
            self.missing() == 0 || now < self.pause_until,
            "what is missing is ordered, unless there is a pause"
        );
        audit!(
            self.pause_until <= now + PAUSE_MAX,
            "a pause is no longer than the longest"
        );
        audit!(
            self.ordered.iter().is_sorted()
                && self
                    .ordered
                    .back()
                    .is_none_or(|last| *last <= now + ORDER_TIMEOUT),
            "the oldest order is given up first, none later than it may take"
        );
        let (all, row) = (
            self.gaps.in_a_row(|_| true, |_| false),
            self.gaps.in_a_row(|_| true, |gap| *gap >= FORGIVEN_AFTER),
        );
        if let (Some(all), Some(row)) = (all, row) {
            audit_eq!(
                self.failures,
                row + u32::from(row < all),
                "failures in a row are counted, from the first behind a quiet time"
            );
        }
    }
}

#[cfg(test)]
mod tests;
