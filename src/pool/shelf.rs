//! What is parked where, who waits, what is on order. Pure: it is told the time and returns actions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::{Rng, RngExt};

use super::{
    Options,
    sizing::Caps,
    slot::{Mark, Slot},
};
use crate::{
    id::ConnId,
    probe::{AUDITS, audit, audit_eq, mutant, sometimes},
    time::{Duration, Instant},
};

/// How long an order may take. The ticket behind it is void after the same time.
pub const ORDER_TIMEOUT: Duration = Duration::from_secs(5);

/// Takers that may wait for one target. More would only reach their deadlines.
const WAITERS_MAX: usize = 1024;

/// The least part of the maximum age that a connection gets. Closer to the whole, and connections that were opened
/// together die together.
const AGE_LEAST: f64 = 0.8;

/// A taker, as the shell knows it.
pub type Ticket = u64;

/// What the shell does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<K> {
    /// Hand this connection to this taker.
    Give(Ticket, ConnId),
    /// Tell this taker that there will be none.
    Refuse(Ticket),
    /// Ask for so many connections to this target.
    Order(K, usize),
    /// Close this parked connection.
    Retire(ConnId),
}

/// A connection of a present target.
#[derive(Debug)]
pub(super) struct Held<K> {
    key: K,
    is_busy: bool,
    /// Parked since then; kept while it is busy, for it may be found dead when it is given.
    since: Instant,
    /// Too old from then on.
    pub until: Option<Instant>,
}

/// How one target stands, for status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Parked, ready.
    pub parked: usize,
    /// Ordered, not here yet.
    pub ordered: usize,
    /// How many are to be kept ready now.
    pub wanted: usize,
    /// How long a new one takes, nine times of ten; `None` where nobody asks.
    pub refill_time: Option<Duration>,
    /// Why none are kept.
    pub mark: Option<Mark>,
}

/// Commands: [`add`](Self::add), [`remove`](Self::remove). Inputs: `handle_*`. Outputs: `poll_*`.
#[derive(Debug)]
pub struct Shelf<K> {
    options: Options,
    caps: Caps,
    slots: BTreeMap<K, Slot>,
    /// Every connection of a present target, parked or busy.
    held: BTreeMap<ConnId, Held<K>>,
    /// When each slot wants to be looked at: the clock of 10,000 targets costs no more than that of one.
    due: BTreeSet<(Instant, K)>,
    parked: usize,
    actions: VecDeque<Action<K>>,
}

impl<K: Ord + Clone> Shelf<K> {
    /// An empty shelf for connections of one kind.
    pub fn new(options: Options, caps: Caps) -> Self {
        Self {
            options,
            caps,
            slots: BTreeMap::new(),
            held: BTreeMap::new(),
            due: BTreeSet::new(),
            parked: 0,
            actions: VecDeque::new(),
        }
    }

    /// Connections parked right now.
    pub fn parked(&self) -> usize {
        self.parked
    }

    /// How each target stands, in their order.
    pub fn standings(&self, now: Instant) -> impl Iterator<Item = (&K, Standing)> {
        self.slots.iter().map(move |(key, slot)| {
            let standing = Standing {
                parked: slot.idle.len(),
                ordered: slot.ordered(),
                wanted: slot.base(now, &self.options),
                refill_time: slot.refill_time(),
                mark: slot.mark(),
            };
            (key, standing)
        })
    }

    /// A target is there: fill up.
    pub fn add(&mut self, now: Instant, key: K) {
        let caps = &self.caps;
        self.slots
            .entry(key.clone())
            .or_insert_with(|| Slot::new(now, caps));
        self.refill(now, &key);
        self.check(now, &key);
    }

    /// A target has ended, or drains: nothing of it is handed out or parked again.
    pub fn remove(&mut self, key: &K) {
        if let Some(slot) = self.slots.remove(key) {
            self.parked -= slot.counted;
            if let Some(due) = slot.due {
                self.due.remove(&(due, key.clone()));
            }
            for conn in slot.idle.iter().chain(&slot.busy) {
                self.held.remove(conn);
            }
            self.actions.extend(slot.idle.into_iter().map(Action::Retire));
            self.actions
                .extend(slot.waiters.into_iter().map(|(ticket, _)| Action::Refuse(ticket)));
        }
        self.recount();
    }

    /// Someone wants a connection to `key`, and waits until `patience`, or not at all. Says whether one was parked.
    pub fn handle_take(&mut self, now: Instant, key: &K, ticket: Ticket, patience: Option<Instant>) -> bool {
        self.retire_aged(now, key);
        let Some(slot) = self.slots.get_mut(key) else {
            self.actions.push_back(Action::Refuse(ticket));
            return false;
        };
        let hit = !slot.idle.is_empty() && slot.waiters.is_empty();
        sometimes!(!hit, "pool-was-empty");
        slot.handle_take(now, &self.options, hit);
        let deadline = patience.or(hit.then_some(now));
        match deadline.filter(|_| slot.waiters.len() < WAITERS_MAX) {
            Some(deadline) => {
                slot.pay_for_one();
                slot.waiters.push_back((ticket, deadline));
            }
            None => self.actions.push_back(Action::Refuse(ticket)),
        }
        self.serve(now, key);
        self.refill(now, key);
        self.check_aged(now, key);
        self.check(now, key);
        hit
    }

    /// A new connection has come in for `key`. Says whether it is welcome.
    pub fn handle_arrived(&mut self, now: Instant, key: &K, conn: ConnId, rng: &mut impl Rng) -> bool {
        let wrong = self.slots.keys().next();
        let wrong = wrong.filter(|_| mutant!("arrived-connection-shelved-under-wrong-client"));
        let key = wrong.unwrap_or(key).clone();
        let Some(slot) = self.slots.get_mut(&key) else {
            return false;
        };
        slot.handle_arrived(now, &self.options);
        slot.busy.insert(conn);
        let held = Held {
            key,
            is_busy: true,
            since: now,
            until: None,
        };
        self.held.insert(conn, held);
        self.handle_parked(now, conn, rng);
        true
    }

    /// A connection is ready for its next session, or was not used after all.
    pub fn handle_parked(&mut self, now: Instant, conn: ConnId, rng: &mut impl Rng) {
        let Some(held) = self.held.get_mut(&conn) else {
            self.actions.push_back(Action::Retire(conn));
            return;
        };
        if !std::mem::replace(&mut held.is_busy, false) {
            return;
        }
        held.since = now;
        let age = |max: Duration| now + max.mul_f64(rng.random_range(AGE_LEAST..=1.0));
        held.until = self
            .options
            .max_age
            .filter(|_| !mutant!("old-streams-stay"))
            .map(age);
        let (key, until) = (held.key.clone(), held.until);
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.busy.remove(&conn);
            slot.idle.push(conn);
            slot.ages_at = slot.ages_at.into_iter().chain(until).min();
        }
        self.serve(now, &key);
        self.refill(now, &key);
        self.check(now, &key);
    }

    /// A connection is no more.
    pub fn handle_gone(&mut self, now: Instant, conn: ConnId) {
        if matches!(self.held.get(&conn), Some(held) if !held.is_busy)
            && mutant!("pool-keeps-dead-connection")
        {
            return;
        }
        let Some(Held { key, is_busy, .. }) = self.held.remove(&conn) else {
            return;
        };
        if let Some(slot) = self.slots.get_mut(&key) {
            if is_busy {
                slot.busy.remove(&conn);
            } else {
                sometimes!("parked-connection-died");
                slot.idle.retain(|idle| *idle != conn);
                slot.low_water = slot.low_water.min(slot.idle.len());
            }
        }
        self.refill(now, &key);
        self.check(now, &key);
    }

    /// The target closed a connection that nobody used: it is no more, and who does so twice gets none to keep.
    pub fn handle_hung_up(&mut self, now: Instant, conn: ConnId) {
        if let Some(held) = self.held.get(&conn)
            && let Some(slot) = self.slots.get_mut(&held.key)
        {
            slot.handle_hung_up(now, held.since);
        }
        self.handle_gone(now, conn);
    }

    /// The target spoke on a connection that nobody used: none are kept from now on.
    pub fn handle_spoke(&mut self, now: Instant, conn: ConnId) {
        let Some(held) = self.held.get(&conn) else {
            return;
        };
        let key = held.key.clone();
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.set_mark(now, Mark::SpeaksFirst);
        }
        self.refill(now, &key);
        self.check(now, &key);
    }

    /// `count` of the connections ordered could not be opened.
    pub fn handle_order_failed(&mut self, now: Instant, key: &K, count: usize) {
        if let Some(slot) = self.slots.get_mut(key) {
            sometimes!("order-failed");
            slot.handle_failed(now, count);
        }
        self.refill(now, key);
        self.check(now, key);
    }

    /// A deadline may have come.
    pub fn handle_timeout(&mut self, now: Instant) {
        let keys: Vec<_> = self
            .due
            .iter()
            .take_while(|(due, _)| *due <= now)
            .map(|(_, key)| key.clone())
            .collect();
        for key in keys {
            self.retire_aged(now, &key);
            if let Some(slot) = self.slots.get_mut(&key) {
                self.actions
                    .extend(slot.expire(now).into_iter().map(Action::Refuse));
                let trimmed = slot.trim(now, &self.options);
                self.retire(trimmed);
            }
            self.refill(now, &key);
            self.check_aged(now, &key);
            self.check(now, &key);
        }
        audit!(
            self.due.first().is_none_or(|(due, _)| *due > now),
            "nothing that is due is left behind"
        );
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action<K>> {
        self.actions.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    fn serve(&mut self, now: Instant, key: &K) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        while !slot.waiters.is_empty()
            && let Some(conn) = slot.idle.pop()
        {
            let next = match slot.waiters.len() > 1 && mutant!("last-waiter-served-first") {
                false => slot.waiters.pop_front(),
                true => slot.waiters.pop_back(),
            };
            let (ticket, _) = next.expect("a waiter was seen");
            slot.busy.insert(conn);
            let held = self.held.get_mut(&conn).expect("what is parked is held");
            held.is_busy = true;
            slot.handle_given(now, held.since);
            self.actions.push_back(Action::Give(ticket, conn));
        }
    }

    /// Orders what is missing, and notes when this slot wants to be looked at again. Ends every change.
    fn refill(&mut self, now: Instant, key: &K) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let unwanted = slot.take_unwanted(&self.caps, &self.options);
        let count = slot.order(now, &self.caps, &self.options);
        if count > 0 {
            self.actions.push_back(Action::Order(key.clone(), count));
        }
        self.parked = self.parked - slot.counted + slot.idle.len();
        slot.counted = slot.idle.len();
        let due = slot.next_due(now, &self.caps, &self.options);
        if slot.due != due {
            if let Some(old) = std::mem::replace(&mut slot.due, due) {
                self.due.remove(&(old, key.clone()));
            }
            self.due.extend(due.map(|due| (due, key.clone())));
        }
        self.retire(unwanted);
    }

    fn retire_aged(&mut self, now: Instant, key: &K) {
        if let Some(slot) = self.slots.get_mut(key) {
            let aged = slot.take_aged(now, &self.held);
            self.retire(aged);
        }
    }

    fn retire(&mut self, conns: Vec<ConnId>) {
        for conn in conns {
            self.held.remove(&conn);
            self.actions.push_back(Action::Retire(conn));
        }
    }

    /// Whom the shell owes an answer.
    pub(super) fn tickets(&self) -> impl Iterator<Item = Ticket> {
        self.slots
            .values()
            .flat_map(|slot| slot.waiters.iter().map(|(ticket, _)| *ticket))
    }

    /// Which connections of present targets there are, and whose.
    pub(super) fn held(&self) -> impl Iterator<Item = (&ConnId, &K)> {
        self.held.iter().map(|(conn, held)| (conn, &held.key))
    }

    /// The sentences this core believes at every moment, as far as they concern this target.
    fn check(&self, now: Instant, key: &K) {
        if !AUDITS {
            return;
        }
        self.recount();
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        let holds = |conn: &ConnId, busy| {
            let held = self.held.get(conn);
            held.is_some_and(|held| held.key == *key && held.is_busy == busy)
        };
        audit!(
            slot.idle.iter().all(|conn| holds(conn, false)) && slot.busy.iter().all(|conn| holds(conn, true)),
            "every connection is parked or busy"
        );
        audit_eq!(
            slot.counted,
            slot.idle.len(),
            "the count of parked connections is right"
        );
        audit!(
            slot.idle.is_empty() || slot.waiters.is_empty(),
            "nobody waits while a connection is parked"
        );
        audit!(
            slot.ordered() <= self.caps.outstanding,
            "no more is ordered than may be"
        );
        audit!(
            !self.caps.single_use || slot.idle.len() <= self.options.max,
            "no more is parked than may be"
        );
        audit!(
            slot.idle
                .iter()
                .filter_map(|conn| self.held.get(conn))
                .all(|held| self.ages_in_time(held, slot)),
            "what is parked is not kept for longer than it may be"
        );
        slot.check(now, &self.caps, &self.options);
    }

    /// Behind a look at what is too old nothing that is stays.
    fn check_aged(&self, now: Instant, key: &K) {
        if !AUDITS {
            return;
        }
        let idle = self.slots.get(key).into_iter().flat_map(|slot| &slot.idle);
        let until = |conn| self.held.get(conn).and_then(|held| held.until);
        audit!(
            idle.filter_map(until).all(|until| until > now),
            "nothing is parked or given that is too old"
        );
    }

    /// Whether a parked connection has an age where there are ages, and its slot is looked at by then.
    fn ages_in_time(&self, held: &Held<K>, slot: &Slot) -> bool {
        let by = |at: Option<Instant>, until| at.is_some_and(|at| at <= until);
        match (held.until, self.options.max_age) {
            (None, None) => true,
            (Some(until), Some(max)) => {
                until <= held.since + max && by(slot.ages_at, until) && by(slot.due, until)
            }
            _ => false,
        }
    }

    /// What it knows of all targets together, counted anew.
    fn recount(&self) {
        if !AUDITS || self.held.len() + self.slots.len() > RECOUNTED_MAX {
            return;
        }
        let slots = || self.slots.values();
        audit_eq!(
            self.parked,
            slots().map(|slot| slot.idle.len()).sum::<usize>(),
            "what is parked is counted"
        );
        audit_eq!(
            self.held.len(),
            slots()
                .map(|slot| slot.idle.len() + slot.busy.len())
                .sum::<usize>(),
            "what is held stands in one slot, once"
        );
        let due = self
            .slots
            .iter()
            .filter_map(|(key, slot)| Some((slot.due?, key.clone())));
        audit!(
            due.collect::<BTreeSet<_>>() == self.due,
            "each slot is looked at when it wants to be"
        );
        let tickets: BTreeSet<_> = self.tickets().collect();
        audit_eq!(tickets.len(), self.tickets().count(), "nobody waits twice");
    }
}

/// Of so many connections and targets all are counted by the audits; of more that would take too long.
const RECOUNTED_MAX: usize = 128;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod model;
