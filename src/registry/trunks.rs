//! How many data links each registration has, and when the next is ordered. Pure: it is told the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::tickets::TICKET_TIMEOUT;
use crate::{
    id::{Epoch, LinkId},
    probe::{audit, audit_eq, mutant},
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
        if now - self.pause_until >= FORGIVEN_AFTER {
            self.failures = 0;
        }
        let factor = 1u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.pause_until = now + PAUSE_MIN.saturating_mul(factor).min(PAUSE_MAX);
        self.failures += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time;

    fn epoch(counter: u64) -> Epoch {
        Epoch::new(1, counter)
    }

    /// Orders since the last look.
    fn orders(trunks: &mut Trunks) -> usize {
        std::iter::from_fn(|| trunks.poll_action()).count()
    }

    /// A registration whose first order is out.
    fn joined(links_max: usize) -> (Instant, Trunks) {
        let (now, mut trunks) = (time::now(), Trunks::new(links_max));
        trunks.handle_joined(now, epoch(1));
        assert_eq!(trunks.poll_action(), Some(Action::Order(epoch(1))));
        assert_eq!(orders(&mut trunks), 0);
        (now, trunks)
    }

    #[test]
    fn one_from_the_start_and_more_on_demand_one_at_a_time() {
        let (now, mut trunks) = joined(3);
        trunks.handle_demand(now, epoch(1));
        assert_eq!(orders(&mut trunks), 0, "the first is on its way");
        let first = trunks.handle_arrived(now, epoch(1)).unwrap();
        assert_eq!(orders(&mut trunks), 0);
        for open in 2..=3 {
            for _ in 0..100 {
                trunks.handle_demand(now, epoch(1));
            }
            assert_eq!(orders(&mut trunks), 1);
            assert_ne!(trunks.handle_arrived(now, epoch(1)), Some(first));
            assert_eq!(trunks.count(epoch(1)), open);
        }
        trunks.handle_demand(now, epoch(1));
        assert_eq!(orders(&mut trunks), 0, "there are as many as there may be");
        assert_eq!(
            trunks.handle_arrived(now, epoch(1)),
            None,
            "nobody ordered this one"
        );
        assert_eq!(trunks.poll_timeout(), None);
    }

    #[test]
    fn nothing_is_ordered_where_nothing_is_wanted() {
        let now = time::now();
        let mut none = Trunks::new(0);
        none.handle_joined(now, epoch(1));
        none.handle_demand(now, epoch(1));
        assert_eq!((orders(&mut none), none.handle_arrived(now, epoch(1))), (0, None));

        let (now, mut trunks) = joined(4);
        let link = trunks.handle_arrived(now, epoch(1)).unwrap();
        trunks.handle_left(epoch(1));
        trunks.handle_lost(now, epoch(1), link);
        trunks.handle_demand(now, epoch(1));
        trunks.handle_failed(now, epoch(1));
        assert_eq!(trunks.handle_arrived(now, epoch(1)), None);
        assert_eq!((orders(&mut trunks), trunks.poll_timeout()), (0, None));
    }

    /// Orders that fail at once, until `end`; the pauses between them in milliseconds.
    fn pauses(trunks: &mut Trunks, mut now: Instant, end: Instant) -> Vec<u128> {
        let mut pauses = Vec::new();
        while now < end {
            trunks.handle_failed(now, epoch(1));
            assert_eq!(orders(trunks), 0, "nothing is ordered in a pause");
            let due = trunks.poll_timeout().unwrap();
            pauses.push((due - now).as_millis());
            now = due;
            trunks.handle_timeout(now);
            assert_eq!(orders(trunks), 1);
        }
        pauses
    }

    #[test]
    fn pauses_grow_and_start_over_after_a_quiet_time() {
        let (now, mut trunks) = joined(1);
        let end = now + Duration::from_secs(15);
        let grown = [100, 200, 400, 800, 1600, 3200, 5000, 5000];
        assert_eq!(pauses(&mut trunks, now, end), grown);

        // A link that comes and goes has not made anything better.
        let now = end + Duration::from_secs(3);
        let link = trunks.handle_arrived(now, epoch(1)).unwrap();
        trunks.handle_lost(now, epoch(1), link);
        let due = trunks.poll_timeout().unwrap();
        assert_eq!(due - now, PAUSE_MAX);
        trunks.handle_timeout(due);
        let link = trunks.handle_arrived(due, epoch(1)).unwrap();
        let now = due + FORGIVEN_AFTER;
        trunks.handle_lost(now, epoch(1), link);
        assert_eq!(trunks.poll_timeout(), Some(now + PAUSE_MIN));
    }

    #[test]
    fn orders_that_fail_together_have_failed_once() {
        let (now, mut trunks) = joined(3);
        let links = std::iter::from_fn(|| {
            trunks.handle_demand(now, epoch(1));
            trunks.handle_arrived(now, epoch(1))
        });
        let links: Vec<_> = links.collect();
        orders(&mut trunks);
        for link in links {
            trunks.handle_lost(now, epoch(1), link);
        }
        assert_eq!(trunks.poll_timeout(), Some(now + PAUSE_MIN));
        trunks.handle_timeout(now + PAUSE_MIN);
        assert_eq!(orders(&mut trunks), 3, "all of them are wanted again");
    }

    #[test]
    fn an_order_that_is_given_up_may_still_be_filled() {
        let (now, mut trunks) = joined(1);
        let late = now + ORDER_TIMEOUT;
        assert_eq!(trunks.poll_timeout(), Some(late));
        trunks.handle_timeout(late);
        trunks.handle_failed(late, epoch(1));
        assert_eq!(trunks.poll_timeout(), Some(late + PAUSE_MIN), "it fails once");
        trunks.handle_timeout(late + PAUSE_MIN);
        assert_eq!(orders(&mut trunks), 1);
        assert!(trunks.handle_arrived(late + PAUSE_MIN, epoch(1)).is_some());
        assert_eq!(
            trunks.handle_arrived(late + PAUSE_MIN, epoch(1)),
            None,
            "the second is one too many"
        );
        assert_eq!(trunks.poll_timeout(), None);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Join,
        Leave,
        Demand,
        Arrive,
        Fail,
        Lose,
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Join),
            Just(Step::Leave),
            Just(Step::Demand),
            Just(Step::Arrive),
            Just(Step::Fail),
            Just(Step::Lose),
            (0u64..20_000).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// The books believe their own sentences, and a timer that is due leads somewhere.
        #[test]
        fn whatever_happens(links_max in 0usize..4, steps in proptest::collection::vec((step(), 0u64..3), 0..200)) {
            let (mut now, mut trunks) = (time::now(), Trunks::new(links_max));
            let mut open = Vec::new();
            for (step, counter) in steps {
                let epoch = epoch(counter);
                match step {
                    Step::Join => {
                        trunks.handle_left(epoch);
                        trunks.handle_joined(now, epoch);
                    }
                    Step::Leave => trunks.handle_left(epoch),
                    Step::Demand => trunks.handle_demand(now, epoch),
                    Step::Arrive => open.extend(trunks.handle_arrived(now, epoch).map(|link| (epoch, link))),
                    Step::Fail => trunks.handle_failed(now, epoch),
                    Step::Lose => {
                        if let Some((epoch, link)) = open.pop() {
                            trunks.handle_lost(now, epoch, link);
                        }
                    }
                    Step::Wait(ms) => {
                        now += Duration::from_millis(ms);
                        trunks.handle_timeout(now);
                    }
                }
                prop_assert!(trunks.poll_timeout().is_none_or(|due| due > now));
                prop_assert!(trunks.count(epoch) <= links_max);
            }
        }
    }
}
