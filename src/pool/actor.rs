//! Owns the warm connections to every target. Never reads a session's bytes, never dials.

use std::collections::{BTreeMap, BTreeSet};

use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult, Recipient, SpawnHandle};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::oneshot;

use super::{
    Options,
    park::{Lent, Park, Report, Taker},
    shelf::{Action, Shelf, Standing, Ticket},
};
use crate::{
    env::{Env, Task},
    id::ConnId,
    probe::{AUDITS, audit, audit_eq, mutant},
    time::{self, Instant},
};

/// Causes of a connection's end that are its peer's breach of the protocol.
const VIOLATIONS: [&str; 3] = ["violation", "unexpected", "malformed"];

/// Of so many connections and takers all are looked at by the audits; of more that would take too long.
const RECOUNTED_MAX: usize = 128;

/// What tells the targets of a pool apart: an `Epoch`, a `SocketAddr`.
pub trait Key: Ord + Clone + Send + Unpin + 'static {}

impl<K: Ord + Clone + Send + Unpin + 'static> Key for K {}

/// A pool of connections of one kind.
pub struct Pool<K: Key, C: Park> {
    env: Env,
    shelf: Shelf<K>,
    orders: Recipient<Order<K>>,
    takers: BTreeMap<Ticket, Taker<C::Loan>>,
    kept: BTreeMap<ConnId, Kept<K, C::Hold>>,
    next_ticket: Ticket,
    next_conn: u64,
    rng: ChaCha8Rng,
    /// As counted in the metric, which several pools of one node share.
    parked: i64,
    timer: Option<SpawnHandle>,
}

struct Kept<K, H> {
    key: K,
    /// Gone when the connection is to be closed.
    hold: Option<H>,
    task: Task,
}

impl<K: Key, C: Park> Pool<K, C> {
    /// An empty pool that asks for connections through `orders`.
    pub fn new(env: Env, options: Options, orders: Recipient<Order<K>>) -> Self {
        // Only ages are drawn. Where there are none, the pool takes no generator from the others of its node.
        let rng = match options.max_age {
            Some(_) => env.entropy.rng(),
            None => ChaCha8Rng::from_seed(Default::default()),
        };
        Self {
            env,
            shelf: Shelf::new(options, C::CAPS),
            orders,
            takers: BTreeMap::new(),
            kept: BTreeMap::new(),
            next_ticket: 0,
            next_conn: 0,
            rng,
            parked: 0,
            timer: None,
        }
    }
}

/// A target is there: keep connections to it.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Add<K>(pub K);

/// A target has ended or drains: let its parked connections go.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Remove<K>(pub K);

/// Lend a connection to `key`; `reply` is dropped when there is none.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Take<K, L> {
    /// The target to reach.
    pub key: K,
    /// Whether to wait when none is parked.
    pub wait: bool,
    /// When the taker stops waiting.
    pub deadline: Instant,
    /// Where the connection goes.
    pub reply: oneshot::Sender<L>,
}

/// A proven connection has come in.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Arrived<K, C> {
    /// The target it leads to.
    pub key: K,
    /// The connection, nothing carried yet.
    pub conn: C,
}

/// `count` of the connections ordered could not be opened.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct OrderFailed<K> {
    /// The target.
    pub key: K,
    /// How many.
    pub count: usize,
}

/// How every target stands. The answer is as long as there are targets: for status, not for sessions.
#[derive(Clone, Copy, Debug)]
pub struct FindStandings<K>(std::marker::PhantomData<K>);

impl<K> Default for FindStandings<K> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<K: 'static> Message for FindStandings<K> {
    type Result = Vec<(K, Standing)>;
}

/// What a connection's task reports.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Reported<L>(Report<L>);

/// Event: bring `count` connections to `key`.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Order<K> {
    /// The target.
    pub key: K,
    /// How many.
    pub count: usize,
}

impl<K: Key, C: Park> Actor for Pool<K, C> {
    type Context = Context<Self>;
}

impl<K: Key, C: Park> Handler<Add<K>> for Pool<K, C> {
    type Result = ();

    fn handle(&mut self, Add(key): Add<K>, ctx: &mut Self::Context) {
        self.shelf.add(time::now(), key);
        self.drive(ctx);
    }
}

impl<K: Key, C: Park> Handler<Remove<K>> for Pool<K, C> {
    type Result = ();

    fn handle(&mut self, Remove(key): Remove<K>, ctx: &mut Self::Context) {
        self.shelf.remove(&key);
        self.drive(ctx);
    }
}

impl<K: Key, C: Park> Handler<Take<K, C::Loan>> for Pool<K, C> {
    type Result = ();

    fn handle(&mut self, take: Take<K, C::Loan>, ctx: &mut Self::Context) {
        let taker = Taker {
            reply: take.reply,
            patience: take.wait.then_some(take.deadline),
            hit: false,
        };
        self.take(&take.key, taker);
        self.drive(ctx);
    }
}

impl<K: Key, C: Park> Handler<Arrived<K, C>> for Pool<K, C> {
    type Result = ();

    fn handle(&mut self, Arrived { key, conn }: Arrived<K, C>, ctx: &mut Self::Context) {
        self.env.metrics.pool_dials.ok.inc();
        let id = ConnId::new(self.next_conn);
        self.next_conn += 1;
        let pool = ctx.address().downgrade();
        // A connection reports at most twice per session, and connections are bounded: the mailbox is too.
        let report = move |report| {
            if let Some(pool) = pool.upgrade() {
                pool.do_send(Reported(report));
            }
        };
        let (hold, watch) = conn.keep(id, report);
        let task = self.env.spawn(watch);
        let welcome = self.shelf.handle_arrived(time::now(), &key, id, &mut self.rng);
        let hold = welcome.then_some(hold);
        self.kept.insert(id, Kept { key, hold, task });
        self.drive(ctx);
    }
}

impl<K: Key, C: Park> Handler<OrderFailed<K>> for Pool<K, C> {
    type Result = ();

    fn handle(&mut self, OrderFailed { key, count }: OrderFailed<K>, ctx: &mut Self::Context) {
        self.env.metrics.pool_dials.failed.inc_by(count as u64);
        self.shelf.handle_order_failed(time::now(), &key, count);
        self.drive(ctx);
    }
}

impl<K: Key, C: Park> Handler<FindStandings<K>> for Pool<K, C> {
    type Result = MessageResult<FindStandings<K>>;

    fn handle(&mut self, _: FindStandings<K>, _ctx: &mut Self::Context) -> Self::Result {
        let standings = self.shelf.standings(time::now());
        MessageResult(standings.map(|(key, standing)| (key.clone(), standing)).collect())
    }
}

impl<K: Key, C: Park> Handler<Reported<C::Loan>> for Pool<K, C> {
    type Result = ();

    fn handle(&mut self, Reported(report): Reported<C::Loan>, ctx: &mut Self::Context) {
        let now = time::now();
        match report {
            Report::Parked(id) => self.shelf.handle_parked(now, id, &mut self.rng),
            Report::Spoke(id) => self.shelf.handle_spoke(now, id),
            Report::Given(id, hit) => {
                if hit {
                    self.env.metrics.pool_hits.inc();
                }
                self.forget(id);
                self.shelf.handle_gone(now, id);
            }
            Report::Gone {
                conn,
                cause,
                hung_up,
                taker,
            } => {
                self.env.metrics.pool_discarded.inc(cause);
                if VIOLATIONS.contains(&cause) {
                    self.env.metrics.violations.inc();
                }
                let key = self.forget(conn);
                if hung_up {
                    self.shelf.handle_hung_up(now, conn);
                } else {
                    self.shelf.handle_gone(now, conn);
                }
                if let (Some(key), Some(taker)) = (key, taker) {
                    self.take(&key, taker);
                }
            }
        }
        self.drive(ctx);
    }
}

impl<K: Key, C: Park> Drop for Pool<K, C> {
    fn drop(&mut self) {
        self.env.metrics.pool_parked.dec_by(self.parked);
    }
}

impl<K: Key, C: Park> Pool<K, C> {
    fn drive(&mut self, ctx: &mut Context<Self>) {
        while let Some(action) = self.shelf.poll_action() {
            match action {
                Action::Give(ticket, conn) => self.give(ticket, conn),
                Action::Refuse(_) if mutant!("refused-taker-never-told") => {}
                Action::Refuse(ticket) => drop(self.takers.remove(&ticket)),
                Action::Order(key, count) => self.orders.do_send(Order { key, count }),
                Action::Retire(conn) => {
                    if let Some(kept) = self.kept.get_mut(&conn) {
                        kept.hold = None;
                    }
                }
            }
        }
        self.measure();
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(due) = self.shelf.poll_timeout() {
            let wait = due.saturating_duration_since(time::now());
            self.timer = Some(ctx.run_later(wait, |pool, ctx| {
                pool.timer = None;
                pool.shelf.handle_timeout(time::now());
                pool.drive(ctx);
            }));
        }
        self.check();
    }

    /// What the shelf knows of, its shell has, and nobody else waits.
    fn check(&self) {
        if !AUDITS || self.kept.len() + self.takers.len() > RECOUNTED_MAX {
            return;
        }
        let tickets: BTreeSet<_> = self.shelf.tickets().collect();
        audit!(
            self.takers.keys().eq(&tickets),
            "whoever waits is known, and nobody else is kept waiting"
        );
        for (conn, key) in self.shelf.held() {
            let kept = self.kept.get(conn);
            audit!(
                kept.is_some_and(|kept| kept.key == *key && kept.hold.is_some()),
                "what the shelf holds is kept for the same target"
            );
        }
        audit_eq!(
            self.timer.is_some(),
            self.shelf.poll_timeout().is_some(),
            "a pool is woken when there is something to do"
        );
    }

    /// Tells the metrics how the shelf stands; what is counted as it happens is counted where it happens.
    fn measure(&mut self) {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let parked = count(self.shelf.parked());
        let metrics = &self.env.metrics;
        metrics.pool_parked.inc_by(parked - self.parked);
        self.parked = parked;
        if !C::CAPS.single_use {
            metrics.proxy_connections.set(count(self.kept.len()));
        }
    }

    fn take(&mut self, key: &K, mut taker: Taker<C::Loan>) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let hit = self.shelf.handle_take(time::now(), key, ticket, taker.patience);
        let metrics = &self.env.metrics;
        match hit {
            // Counted when it is given: it may be found dead in that moment.
            true if C::CAPS.single_use => {}
            true => drop(metrics.pool_hits.inc()),
            false => drop(metrics.pool_misses.inc()),
        }
        taker.hit = hit;
        self.takers.insert(ticket, taker);
    }

    fn give(&mut self, ticket: Ticket, conn: ConnId) {
        let now = time::now();
        let taker = self.takers.remove(&ticket);
        let kept = self.kept.get(&conn);
        let hold = kept.and_then(|kept| Some((&kept.key, kept.hold.as_ref()?)));
        match (taker, hold) {
            (Some(taker), Some((key, hold))) => match C::lend(hold, taker) {
                Lent::Done => {}
                Lent::TakerGone if mutant!("gone-taker-keeps-connection") => {}
                Lent::TakerGone => self.shelf.handle_parked(now, conn, &mut self.rng),
                Lent::ConnGone(taker) => {
                    let key = key.clone();
                    self.shelf.handle_gone(now, conn);
                    self.take(&key, taker);
                }
            },
            (None, Some(_)) => self.shelf.handle_parked(now, conn, &mut self.rng),
            (_, None) => self.shelf.handle_gone(now, conn),
        }
    }

    /// Lets a task that has ended go, and says to which target it belonged.
    fn forget(&mut self, conn: ConnId) -> Option<K> {
        let Kept { key, task, .. } = self.kept.remove(&conn)?;
        task.detach();
        Some(key)
    }
}
