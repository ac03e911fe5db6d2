//! The books of one target. Pure; [`Shelf`](super::shelf::Shelf) keeps one for each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    Mode, Options,
    demand::Demand,
    pace::Pace,
    shelf::{Held, ORDER_TIMEOUT, Ticket},
    sizing::{Caps, Stock, base_stock, to_order, to_retire},
};
use crate::{
    id::ConnId,
    probe::{AUDITS, History, audit, audit_eq, measure, mutant, sometimes},
    time::{Duration, Instant},
};

/// Between two looks at the surplus.
const TRIM_INTERVAL: Duration = Duration::from_secs(5);

/// The pause after a failed order: doubles with each failure, up to the cap; one arrival forgives all.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How long a mark lasts. Longer, and a target that was restarted twice stays cold; shorter tries in vain more often.
const MARK_LASTS: Duration = Duration::from_secs(600);

/// So many times a target closes early before its connections are not kept any more.
const HANG_UPS_MAX: u32 = 2;

/// Why no connections to a target are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It speaks before it is spoken to (SSH, SMTP, MySQL), and counts the time until it is answered.
    SpeaksFirst,
    /// It closed connections that waited, twice in a row.
    ShortIdle,
}

impl Mark {
    /// A short name, for status.
    pub fn label(self) -> &'static str {
        match self {
            Self::SpeaksFirst => "speaks_first",
            Self::ShortIdle => "short_idle",
        }
    }
}

/// How often a target closed connections that waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct HangUps {
    count: u32,
    last: Option<Instant>,
    /// How long the last one had waited. Who waits longer and lives clears the target.
    after: Duration,
}

/// What a slot hears of how long connections may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// One that was parked since then was closed by the target.
    HungUp { now: Instant, since: Instant },
    /// One had waited so long when it was given.
    Given(Duration),
    /// Nothing is held against the target any more.
    Forgiven,
}

#[derive(Debug)]
pub(super) struct Slot {
    /// Last in, first out: the warmest is taken, the coldest retires.
    pub idle: Vec<ConnId>,
    pub busy: BTreeSet<ConnId>,
    /// When each order was given, and when it is given up, oldest first.
    orders: VecDeque<(Instant, Instant)>,
    pub waiters: VecDeque<(Ticket, Instant)>,
    /// The fewest idle since the last trim.
    pub low_water: usize,
    trim_at: Instant,
    failures: u32,
    order_after: Instant,
    /// As it stands in `Shelf::due`.
    pub due: Option<Instant>,
    /// Idle connections as counted in `Shelf::parked`.
    pub counted: usize,
    /// Only where the stock follows it, and from the first connection or taker on.
    demand: Option<Box<Demand>>,
    pace: Pace,
    /// No parked connection is too old before that.
    pub ages_at: Option<Instant>,
    mark: Option<(Mark, Instant)>,
    hang_ups: HangUps,
    /// Of each event about orders, whether one arrived.
    orders_told: History<bool>,
    waits_told: History<Wait>,
}

impl Slot {
    pub(super) fn new(now: Instant, caps: &Caps) -> Self {
        Self {
            idle: Vec::new(),
            busy: BTreeSet::new(),
            orders: VecDeque::new(),
            waiters: VecDeque::new(),
            low_water: 0,
            trim_at: now + TRIM_INTERVAL,
            failures: 0,
            order_after: now,
            due: None,
            counted: 0,
            demand: None,
            pace: Pace::new(now, caps.per_second, caps.outstanding),
            ages_at: None,
            mark: None,
            hang_ups: HangUps::default(),
            orders_told: History::default(),
            waits_told: History::default(),
        }
    }

    pub(super) fn ordered(&self) -> usize {
        self.orders.len()
    }

    pub(super) fn mark(&self) -> Option<Mark> {
        self.mark.map(|(mark, _)| mark)
    }

    pub(super) fn refill_time(&self) -> Option<Duration> {
        self.demand.as_ref().map(|demand| demand.refill_time())
    }

    /// How many to keep ready now.
    pub(super) fn base(&self, now: Instant, options: &Options) -> usize {
        match (&self.mark, &self.demand) {
            (Some(_), _) => 0,
            (None, None) => base_stock(options, 0.0),
            (None, Some(demand)) => base_stock(options, demand.outstanding(now))
                .saturating_add(demand.missed(now))
                .min(options.max),
        }
    }

    /// Someone wants a connection. What was marked long ago gets another chance.
    pub(super) fn handle_take(&mut self, now: Instant, options: &Options, hit: bool) {
        if let Some((_, since)) = self.mark
            && now.saturating_duration_since(since) >= MARK_LASTS
        {
            self.mark = None;
            self.waits_told.push(Wait::Forgiven);
            self.hang_ups = HangUps::default();
        }
        audit!(
            self.mark
                .is_none_or(|(_, since)| now.saturating_duration_since(since) < MARK_LASTS),
            "whoever comes finds no mark that is too old"
        );
        if let Some(demand) = self.demand(now, options) {
            demand.handle_take(now);
            if !hit {
                demand.handle_miss(now);
            }
        }
    }

    /// A parked connection that was there since then is given to someone.
    pub(super) fn handle_given(&mut self, now: Instant, since: Instant) {
        self.low_water = self.low_water.min(self.idle.len());
        self.waits_told
            .push(Wait::Given(now.saturating_duration_since(since)));
        measure!("parked-for-ms", now.saturating_duration_since(since));
        if now.saturating_duration_since(since) > self.hang_ups.after {
            self.hang_ups = HangUps::default();
        }
    }

    /// An order was carried out.
    pub(super) fn handle_arrived(&mut self, now: Instant, options: &Options) {
        self.orders_told.push(true);
        if let Some((ordered, _)) = self.orders.pop_front()
            && let Some(demand) = self.demand(now, options)
        {
            let took = now.saturating_duration_since(ordered);
            measure!("refill-took-ms", took);
            demand.handle_refill(took);
        }
        if self.failures > 0 && !mutant!("arrival-forgives-no-failure") {
            self.failures = 0;
        }
        self.order_after = now;
    }

    /// `count` orders failed.
    pub(super) fn handle_failed(&mut self, now: Instant, count: usize) {
        self.orders_told.push(false);
        self.orders.drain(..count.min(self.orders.len()));
        self.fail(now);
    }

    /// The target closed a connection that had waited since then. Those that were parked when it last did so, and
    /// went with it, count once.
    pub(super) fn handle_hung_up(&mut self, now: Instant, since: Instant) {
        self.waits_told.push(Wait::HungUp { now, since });
        if self.hang_ups.last.is_some_and(|last| since <= last) {
            return;
        }
        self.hang_ups = HangUps {
            count: self.hang_ups.count + 1,
            last: Some(now),
            after: now.saturating_duration_since(since),
        };
        if self.hang_ups.count >= HANG_UPS_MAX {
            self.set_mark(now, Mark::ShortIdle);
        }
    }

    pub(super) fn set_mark(&mut self, now: Instant, mark: Mark) {
        self.mark.get_or_insert((mark, now));
    }

    /// How many to order now; they count as ordered from here on.
    pub(super) fn order(&mut self, now: Instant, caps: &Caps, options: &Options) -> usize {
        if now < self.order_after {
            return 0;
        }
        let count = self.pace.allowed(now, self.lacking(now, caps, options));
        measure!("connections-wanted", self.base(now, options));
        if count > 0 {
            let mut due = now + ORDER_TIMEOUT;
            if mutant!("lost-order-never-expires") {
                due += ORDER_TIMEOUT * 1000;
            }
            self.orders.extend(std::iter::repeat_n((now, due), count));
            self.pace.handle_ordered(now, count);
        }
        count
    }

    /// The next taker's order is free: it replaces what it takes, or waits for.
    pub(super) fn pay_for_one(&mut self) {
        self.pace.handle_taken();
    }

    /// Orders and takers that are too late; the takers are returned.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Ticket> {
        if self.orders.front().is_some_and(|(_, due)| *due <= now) {
            self.orders_told.push(false);
            self.orders.retain(|(_, due)| *due > now);
            self.fail(now);
        }
        let (late, waiting) = self.waiters.drain(..).partition(|(_, deadline)| *deadline <= now);
        self.waiters = waiting;
        let late: VecDeque<(Ticket, Instant)> = late;
        sometimes!(!late.is_empty(), "waiter-gave-up");
        late.into_iter().map(|(ticket, _)| ticket).collect()
    }

    /// Takes out the parked connections that are too old.
    pub(super) fn take_aged<K>(&mut self, now: Instant, held: &BTreeMap<ConnId, Held<K>>) -> Vec<ConnId> {
        if self.ages_at.is_none_or(|at| now < at) {
            return Vec::new();
        }
        let until = |conn: &ConnId| held.get(conn).and_then(|held| held.until);
        let aged: Vec<_> = self
            .idle
            .extract_if(.., |conn| until(conn).is_some_and(|until| until <= now))
            .collect();
        self.ages_at = self.idle.iter().filter_map(until).min();
        if self.ages_at.is_some() && mutant!("age-of-the-rest-forgotten") {
            self.ages_at = None;
        }
        self.low_water = self.low_water.min(self.idle.len());
        if !aged.is_empty() {
            // They waited as long as any may, and lived.
            self.waits_told.push(Wait::Forgiven);
            self.hang_ups = HangUps::default();
        }
        aged
    }

    /// Takes out half of what nobody used lately.
    pub(super) fn trim(&mut self, now: Instant, options: &Options) -> Vec<ConnId> {
        if now < self.trim_at {
            return Vec::new();
        }
        let surplus = to_retire(self.base(now, options), self.low_water.min(self.idle.len()));
        sometimes!(surplus > 0, "proxy-connection-retired");
        let retired = self.idle.drain(..surplus).collect();
        self.trim_at = now + TRIM_INTERVAL;
        self.low_water = self.idle.len();
        retired
    }

    /// Takes out what may not be parked: everything of a target that is marked, and the coldest beyond `max` where
    /// arrivals are all that counts against it.
    pub(super) fn take_unwanted(&mut self, caps: &Caps, options: &Options) -> Vec<ConnId> {
        let wanted = match self.mark {
            Some(_) if !mutant!("speaks-first-stock-kept") => 0,
            _ if caps.single_use => options.max,
            _ => return Vec::new(),
        };
        let unwanted = self
            .idle
            .drain(..self.idle.len().saturating_sub(wanted))
            .collect();
        self.low_water = self.low_water.min(self.idle.len());
        unwanted
    }

    /// When it wants to be looked at again.
    pub(super) fn next_due(&self, now: Instant, caps: &Caps, options: &Options) -> Option<Instant> {
        let wanting = self.lacking(now, caps, options) > 0;
        // Where an order may be given now, those that were given bring the next look.
        let paused = wanting && self.failures > 0 && now < self.order_after;
        let retry = (paused && !mutant!("refill-stops-after-failure")).then_some(self.order_after);
        let paced = wanting && !paused && self.pace.allowed(now, 1) == 0;
        let pace = paced.then(|| self.pace.next()).flatten();
        let order = self.orders.front().map(|(_, due)| *due);
        let waiter = self.waiters.iter().map(|(_, deadline)| *deadline).min();
        let trim = (self.idle.len() > options.min).then_some(self.trim_at);
        let age = self.ages_at.filter(|_| !self.idle.is_empty());
        [retry, pace, order, waiter, trim, age]
            .into_iter()
            .flatten()
            .min()
    }

    fn demand(&mut self, now: Instant, options: &Options) -> Option<&mut Demand> {
        let follows = options.mode == Mode::Dynamic;
        follows.then(|| {
            &mut **self
                .demand
                .get_or_insert_with(|| Box::new(Demand::new(now, options.scaling_window)))
        })
    }

    fn stock(&self) -> Stock {
        Stock {
            idle: self.idle.len(),
            busy: self.busy.len(),
            ordered: self.orders.len(),
            waiting: self.waiters.len(),
        }
    }

    fn lacking(&self, now: Instant, caps: &Caps, options: &Options) -> usize {
        to_order(caps, options.max, self.base(now, options), self.stock())
    }

    fn fail(&mut self, now: Instant) {
        let (base, cap) = RETRY_PAUSE;
        let pause = base.saturating_mul(1 << self.failures.min(10)).min(cap);
        measure!("pause-of-orders-ms", pause);
        self.order_after = now + pause;
        self.failures = self.failures.saturating_add(1);
    }

    /// What it believes at the end of every input, counted anew from what it was told and what it holds.
    pub(super) fn check(&self, now: Instant, caps: &Caps, options: &Options) {
        if !AUDITS {
            return;
        }
        if let Some(failures) = self.orders_told.in_a_row(|arrived| !arrived, |arrived| *arrived) {
            audit_eq!(self.failures, failures, "orders that failed in a row are counted");
        }
        if let Some(hang_ups) = self.hang_ups_anew() {
            audit_eq!(self.hang_ups, hang_ups, "hang-ups in a row are counted");
        }
        audit!(
            self.hang_ups.count < HANG_UPS_MAX || self.mark.is_some(),
            "a target that hangs up again and again is marked"
        );
        audit!(
            self.mark.is_none() || self.idle.is_empty(),
            "nothing is kept of a target that is marked"
        );
        audit!(
            self.low_water <= self.idle.len(),
            "there were never fewer than are now"
        );
        audit!(
            self.orders.iter().is_sorted() && self.orders.iter().all(|(_, due)| *due <= now + ORDER_TIMEOUT),
            "an order is void after its time"
        );
        self.check_due(now, caps, options);
        if let Some(demand) = &self.demand {
            demand.check(now);
        }
    }

    /// It is looked at again before anything that it waits for is over.
    fn check_due(&self, now: Instant, caps: &Caps, options: &Options) {
        let by = |at: Instant| self.due.is_some_and(|due| due <= at);
        audit!(
            self.waiters.iter().all(|(_, deadline)| by(*deadline)),
            "who waits is told when its time is over"
        );
        audit!(
            self.orders.iter().all(|(_, due)| by(*due)),
            "an order that is lost is noticed"
        );
        audit!(
            self.idle.len() <= options.min || by(self.trim_at),
            "what nobody uses is retired"
        );
        let (first, longest) = RETRY_PAUSE;
        let pause = (1..self.failures.min(64)).fold(first, |pause, _| pause.saturating_mul(2));
        let pause = if self.failures > 0 {
            pause.min(longest)
        } else {
            Duration::ZERO
        };
        audit!(
            self.order_after <= now + pause,
            "a pause is no longer than failures in a row make it"
        );
        if self.lacking(now, caps, options) == 0 {
            return;
        }
        audit!(
            now >= self.order_after || by(self.order_after),
            "what is lacking is ordered after the pause"
        );
        let has_ordered = || self.orders.back().is_some_and(|(at, _)| *at == now);
        audit!(
            now < self.order_after
                || has_ordered()
                || self.pace.next().is_some_and(|next| next > now && by(next)),
            "what is lacking is ordered as soon as it may be"
        );
    }

    /// What the target's hang-ups come to. `None` where that is not remembered.
    fn hang_ups_anew(&self) -> Option<HangUps> {
        let (told, whole) = self.waits_told.remembered();
        let told: Vec<_> = told.collect();
        let forgiven = told.iter().rposition(|wait| **wait == Wait::Forgiven);
        if forgiven.is_none() && !whole {
            return None;
        }
        let mut hang_ups = HangUps::default();
        for wait in &told[forgiven.map_or(0, |forgiven| forgiven + 1)..] {
            match **wait {
                Wait::HungUp { now, since } if hang_ups.last.is_none_or(|last| since > last) => {
                    hang_ups.count += 1;
                    hang_ups.last = Some(now);
                    hang_ups.after = now.saturating_duration_since(since);
                }
                Wait::Given(waited) if waited > hang_ups.after => hang_ups = HangUps::default(),
                _ => {}
            }
        }
        Some(hang_ups)
    }
}
