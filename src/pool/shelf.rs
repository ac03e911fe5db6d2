//! What is parked where, who waits, what is on order. Pure: it is told the time and returns actions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    Options,
    sizing::{Stock, to_order, to_retire},
};
use crate::{
    id::{ConnId, Epoch},
    probe::{mutant, sometimes},
    time::{Duration, Instant},
};

/// How long an order may take. The ticket behind it is void after the same time.
pub const ORDER_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two looks at the surplus.
const TRIM_INTERVAL: Duration = Duration::from_secs(5);

/// The pause after a failed order: doubles with each failure, up to the cap; one arrival forgives all.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Takers that may wait for one client. More would only reach their deadlines.
const WAITERS_MAX: usize = 1024;

/// A taker, as the shell knows it.
pub type Ticket = u64;

/// What the shell does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hand this connection to this taker.
    Give(Ticket, ConnId),
    /// Tell this taker that there will be none.
    Refuse(Ticket),
    /// Ask the client for so many connections.
    Order(Epoch, usize),
    /// Close this parked connection.
    Retire(ConnId),
}

#[derive(Debug)]
struct Slot {
    /// Last in, first out: the warmest is taken, the coldest retires.
    idle: Vec<ConnId>,
    busy: usize,
    /// When each order is given up, oldest first.
    orders: VecDeque<Instant>,
    waiters: VecDeque<(Ticket, Instant)>,
    /// The fewest idle since the last trim.
    low_water: usize,
    trim_at: Instant,
    failures: u32,
    order_after: Instant,
    /// As it stands in [`Shelf::due`].
    due: Option<Instant>,
    /// Idle connections as counted in [`Shelf::parked`].
    counted: usize,
}

/// Commands: [`add`](Self::add), [`remove`](Self::remove). Inputs: `handle_*`. Outputs: `poll_*`.
#[derive(Debug, Default)]
pub struct Shelf {
    options: Options,
    slots: BTreeMap<Epoch, Slot>,
    /// Every connection of a present target, parked or busy.
    conns: BTreeMap<ConnId, (Epoch, bool)>,
    /// When each slot wants to be looked at: the clock of 10,000 clients costs no more than that of one.
    due: BTreeSet<(Instant, Epoch)>,
    parked: usize,
    actions: VecDeque<Action>,
}

impl Shelf {
    /// An empty shelf.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            ..Self::default()
        }
    }

    /// Connections parked right now.
    pub fn parked(&self) -> usize {
        self.parked
    }

    /// A client has registered: fill up.
    pub fn add(&mut self, now: Instant, epoch: Epoch) {
        self.slots.entry(epoch).or_insert_with(|| Slot {
            idle: Vec::new(),
            busy: 0,
            orders: VecDeque::new(),
            waiters: VecDeque::new(),
            low_water: 0,
            trim_at: now + TRIM_INTERVAL,
            failures: 0,
            order_after: now,
            due: None,
            counted: 0,
        });
        self.refill(now, epoch);
        self.check();
    }

    /// A registration has ended, or drains: nothing of it is handed out or parked again.
    pub fn remove(&mut self, epoch: Epoch) {
        if let Some(slot) = self.slots.remove(&epoch) {
            self.parked -= slot.counted;
            self.due.retain(|(_, owner)| *owner != epoch);
            self.actions.extend(slot.idle.into_iter().map(Action::Retire));
            self.actions
                .extend(slot.waiters.into_iter().map(|(ticket, _)| Action::Refuse(ticket)));
        }
        self.conns.retain(|_, (owner, _)| *owner != epoch);
        self.check();
    }

    /// Someone wants a connection to `epoch` before `deadline`. Says whether one was parked.
    pub fn handle_take(&mut self, now: Instant, epoch: Epoch, ticket: Ticket, deadline: Instant) -> bool {
        let Some(slot) = self.slots.get_mut(&epoch) else {
            self.actions.push_back(Action::Refuse(ticket));
            return false;
        };
        let hit = !slot.idle.is_empty() && slot.waiters.is_empty();
        sometimes!(!hit, "pool-was-empty");
        if slot.waiters.len() >= WAITERS_MAX {
            self.actions.push_back(Action::Refuse(ticket));
        } else {
            slot.waiters.push_back((ticket, deadline));
        }
        self.serve(epoch);
        self.refill(now, epoch);
        self.check();
        hit
    }

    /// A new connection has come in for `epoch`. Says whether it is welcome.
    pub fn handle_arrived(&mut self, now: Instant, epoch: Epoch, conn: ConnId) -> bool {
        let wrong = self.slots.keys().next();
        let wrong = wrong.filter(|_| mutant!("arrived-connection-shelved-under-wrong-client"));
        let epoch = wrong.copied().unwrap_or(epoch);
        let Some(slot) = self.slots.get_mut(&epoch) else {
            return false;
        };
        slot.orders.pop_front();
        slot.failures = 0;
        slot.order_after = now;
        slot.busy += 1;
        self.conns.insert(conn, (epoch, true));
        self.handle_parked(now, conn);
        true
    }

    /// A connection is ready for its next session, or was not used after all.
    pub fn handle_parked(&mut self, now: Instant, conn: ConnId) {
        match self.conns.get_mut(&conn) {
            Some((epoch, busy @ true)) => {
                *busy = false;
                let epoch = *epoch;
                if let Some(slot) = self.slots.get_mut(&epoch) {
                    slot.busy -= 1;
                    slot.idle.push(conn);
                }
                self.serve(epoch);
                self.refill(now, epoch);
            }
            Some(_) => {}
            None => self.actions.push_back(Action::Retire(conn)),
        }
        self.check();
    }

    /// A connection is no more.
    pub fn handle_gone(&mut self, now: Instant, conn: ConnId) {
        if matches!(self.conns.get(&conn), Some((_, false))) && mutant!("pool-keeps-dead-connection") {
            return;
        }
        let Some((epoch, busy)) = self.conns.remove(&conn) else {
            return;
        };
        if let Some(slot) = self.slots.get_mut(&epoch) {
            if busy {
                slot.busy -= 1;
            } else {
                sometimes!("parked-connection-died");
                slot.idle.retain(|idle| *idle != conn);
                slot.low_water = slot.low_water.min(slot.idle.len());
            }
        }
        self.refill(now, epoch);
        self.check();
    }

    /// The client could not open `count` of the connections it was asked for.
    pub fn handle_order_failed(&mut self, now: Instant, epoch: Epoch, count: usize) {
        if let Some(slot) = self.slots.get_mut(&epoch) {
            sometimes!("order-failed");
            slot.orders.drain(..count.min(slot.orders.len()));
            slot.fail(now);
        }
        self.refill(now, epoch);
        self.check();
    }

    /// A deadline may have come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let epochs: Vec<_> = self
            .due
            .iter()
            .take_while(|(due, _)| *due <= now)
            .map(|(_, epoch)| *epoch)
            .collect();
        for epoch in epochs {
            if let Some(slot) = self.slots.get_mut(&epoch) {
                self.actions.extend(slot.expire(now));
                self.actions
                    .extend(slot.trim(now, &self.options).into_iter().inspect(|action| {
                        if let Action::Retire(conn) = action {
                            self.conns.remove(conn);
                        }
                    }));
            }
            self.refill(now, epoch);
        }
        self.check();
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    fn serve(&mut self, epoch: Epoch) {
        let Some(slot) = self.slots.get_mut(&epoch) else {
            return;
        };
        while !slot.waiters.is_empty()
            && let Some(conn) = slot.idle.pop()
        {
            let (ticket, _) = slot.waiters.pop_front().expect("a waiter was seen");
            slot.busy += 1;
            slot.low_water = slot.low_water.min(slot.idle.len());
            self.conns.insert(conn, (epoch, true));
            self.actions.push_back(Action::Give(ticket, conn));
        }
    }

    /// Orders what is missing, and notes when this slot wants to be looked at again. Ends every change.
    fn refill(&mut self, now: Instant, epoch: Epoch) {
        let Some(slot) = self.slots.get_mut(&epoch) else {
            return;
        };
        let count = if now < slot.order_after {
            0
        } else {
            to_order(&self.options, slot.stock())
        };
        if count > 0 {
            let mut due = now + ORDER_TIMEOUT;
            if mutant!("lost-order-never-expires") {
                due += ORDER_TIMEOUT * 1000;
            }
            slot.orders.extend(std::iter::repeat_n(due, count));
            self.actions.push_back(Action::Order(epoch, count));
        }
        self.parked = self.parked - slot.counted + slot.idle.len();
        slot.counted = slot.idle.len();
        let due = slot.due(&self.options);
        if slot.due != due {
            if let Some(old) = std::mem::replace(&mut slot.due, due) {
                self.due.remove(&(old, epoch));
            }
            self.due.extend(due.map(|due| (due, epoch)));
        }
    }

    /// The sentences this core believes at every moment.
    fn check(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let parked: usize = self.slots.values().map(|slot| slot.idle.len()).sum();
        debug_assert_eq!(parked, self.parked, "the count of parked connections is right");
        for (epoch, slot) in &self.slots {
            let owned = self.conns.values().filter(|(owner, _)| owner == epoch);
            debug_assert_eq!(
                owned.count(),
                slot.idle.len() + slot.busy,
                "every connection is parked or busy"
            );
            debug_assert!(
                slot.idle.is_empty() || slot.waiters.is_empty(),
                "nobody waits while a connection is parked"
            );
        }
    }
}

impl Slot {
    fn stock(&self) -> Stock {
        Stock {
            idle: self.idle.len(),
            busy: self.busy,
            ordered: self.orders.len(),
            waiting: self.waiters.len(),
        }
    }

    fn fail(&mut self, now: Instant) {
        let (base, cap) = RETRY_PAUSE;
        self.order_after = now + base.saturating_mul(1 << self.failures.min(10)).min(cap);
        self.failures += 1;
    }

    fn expire(&mut self, now: Instant) -> Vec<Action> {
        if self.orders.front().is_some_and(|due| *due <= now) {
            self.orders.retain(|due| *due > now);
            self.fail(now);
        }
        let (late, waiting) = self.waiters.drain(..).partition(|(_, deadline)| *deadline <= now);
        self.waiters = waiting;
        let late: VecDeque<(Ticket, Instant)> = late;
        sometimes!(!late.is_empty(), "waiter-gave-up");
        late.into_iter()
            .map(|(ticket, _)| Action::Refuse(ticket))
            .collect()
    }

    fn trim(&mut self, now: Instant, options: &Options) -> Vec<Action> {
        if now < self.trim_at {
            return Vec::new();
        }
        let surplus = to_retire(options, self.low_water.min(self.idle.len()));
        sometimes!(surplus > 0, "proxy-connection-retired");
        let retired = self.idle.drain(..surplus).map(Action::Retire).collect();
        self.trim_at = now + TRIM_INTERVAL;
        self.low_water = self.idle.len();
        retired
    }

    fn due(&self, options: &Options) -> Option<Instant> {
        let wanting = self.failures > 0 && to_order(options, self.stock()) > 0;
        let retry = (wanting && !mutant!("refill-stops-after-failure")).then_some(self.order_after);
        let order = self.orders.front().copied();
        let waiter = self.waiters.iter().map(|(_, deadline)| *deadline).min();
        let trim = (self.idle.len() > options.min).then_some(self.trim_at);
        [retry, order, waiter, trim].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    const EPOCH: fn() -> Epoch = || Epoch::new(1, 1);

    fn drain(shelf: &mut Shelf) -> Vec<Action> {
        std::iter::from_fn(|| shelf.poll_action()).collect()
    }

    fn filled(min: usize) -> (Shelf, Instant) {
        let now = time::now();
        let mut shelf = Shelf::new(Options { min, max: 100 });
        shelf.add(now, EPOCH());
        let ordered: Vec<_> = (min > 0)
            .then_some(Action::Order(EPOCH(), min))
            .into_iter()
            .collect();
        assert_eq!(drain(&mut shelf), ordered);
        for n in 0..min {
            assert!(shelf.handle_arrived(now, EPOCH(), ConnId::new(n as u64)));
        }
        assert_eq!(drain(&mut shelf), []);
        (shelf, now)
    }

    #[test]
    fn the_warmest_is_taken_and_the_spare_ordered_again() {
        let (mut shelf, now) = filled(2);
        assert!(shelf.handle_take(now, EPOCH(), 7, now));
        assert_eq!(
            drain(&mut shelf),
            [Action::Give(7, ConnId::new(1)), Action::Order(EPOCH(), 1)]
        );
    }

    #[test]
    fn a_miss_waits_for_an_arrival_until_its_deadline() {
        let (mut shelf, now) = filled(0);
        let deadline = now + Duration::from_secs(1);
        assert!(!shelf.handle_take(now, EPOCH(), 1, deadline));
        assert!(!shelf.handle_take(now, EPOCH(), 2, deadline));
        assert_eq!(
            drain(&mut shelf),
            [Action::Order(EPOCH(), 1), Action::Order(EPOCH(), 1)]
        );
        shelf.handle_arrived(now, EPOCH(), ConnId::new(5));
        assert_eq!(drain(&mut shelf), [Action::Give(1, ConnId::new(5))]);
        assert_eq!(shelf.poll_timeout(), Some(deadline));
        shelf.handle_timeout(deadline);
        assert_eq!(drain(&mut shelf), [Action::Refuse(2)]);
    }

    #[test]
    fn refilling_goes_on_after_failures() {
        let (mut shelf, mut now) = filled(0);
        shelf.handle_take(now, EPOCH(), 1, now + Duration::from_secs(60));
        drain(&mut shelf);
        for _ in 0..8 {
            shelf.handle_order_failed(now, EPOCH(), 1);
            assert_eq!(drain(&mut shelf), [], "no order right after a failure");
            now = shelf.poll_timeout().expect("a retry is due");
            shelf.handle_timeout(now);
            assert_eq!(drain(&mut shelf), [Action::Order(EPOCH(), 1)]);
        }
    }

    #[test]
    fn a_removed_target_keeps_nothing() {
        let (mut shelf, now) = filled(1);
        shelf.handle_take(now, EPOCH(), 1, now);
        drain(&mut shelf);
        shelf.remove(EPOCH());
        shelf.handle_parked(now, ConnId::new(0));
        assert_eq!(drain(&mut shelf), [Action::Retire(ConnId::new(0))]);
        assert!(!shelf.handle_arrived(now, EPOCH(), ConnId::new(9)));
        assert_eq!(shelf.poll_timeout(), None);
    }

    #[test]
    fn what_nobody_used_for_a_while_is_retired_by_halves() {
        let (mut shelf, mut now) = filled(0);
        for n in 0..8 {
            shelf.handle_take(now, EPOCH(), n, now + ORDER_TIMEOUT);
        }
        for n in 0..8 {
            shelf.handle_arrived(now, EPOCH(), ConnId::new(n));
        }
        for n in 0..8 {
            shelf.handle_parked(now, ConnId::new(n));
        }
        drain(&mut shelf);
        let mut left = Vec::new();
        while shelf.parked() > 0 {
            now = shelf.poll_timeout().expect("a surplus is trimmed");
            shelf.handle_timeout(now);
            left.push(shelf.parked());
        }
        assert_eq!(left, [8, 4, 2, 1, 0]);
    }
}
