//! Owns the warm proxy connections of every client. Never reads a session's bytes, never dials.

use std::collections::BTreeMap;

use actix::{Actor, AsyncContext, Context, Handler, Message, Recipient, SpawnHandle};
use tokio::sync::{mpsc, oneshot};

use super::{
    Options,
    conn::{Conn, Lender, Report, keep},
    shelf::{Action, Shelf, Ticket},
};
use crate::{
    env::{Env, Task},
    id::{ConnId, Epoch},
    link::framed::Framed,
    probe::mutant,
    time::{self, Instant},
};

/// Causes of a connection's end that are its peer's breach of the protocol.
const VIOLATIONS: [&str; 3] = ["violation", "unexpected", "malformed"];

/// The pool of one server.
pub struct Pool {
    env: Env,
    shelf: Shelf,
    orders: Recipient<Order>,
    takers: BTreeMap<Ticket, oneshot::Sender<Lender>>,
    /// The lending side of each connection; dropping it closes the connection once it is parked.
    lenders: BTreeMap<ConnId, Lender>,
    tasks: BTreeMap<ConnId, Task>,
    next_ticket: Ticket,
    next_conn: u64,
    timer: Option<SpawnHandle>,
}

impl Pool {
    /// An empty pool that asks for connections through `orders`.
    pub fn new(env: Env, options: Options, orders: Recipient<Order>) -> Self {
        Self {
            env,
            shelf: Shelf::new(options),
            orders,
            takers: BTreeMap::new(),
            lenders: BTreeMap::new(),
            tasks: BTreeMap::new(),
            next_ticket: 0,
            next_conn: 0,
            timer: None,
        }
    }
}

/// A client has registered: keep connections to it.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Add(pub Epoch);

/// A registration has ended or drains: let its parked connections go.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Remove(pub Epoch);

/// Lend a connection to `epoch`; `reply` is dropped when there is none before `deadline`.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Take {
    /// The registration to reach.
    pub epoch: Epoch,
    /// When the taker stops waiting.
    pub deadline: Instant,
    /// Where the connection goes.
    pub reply: oneshot::Sender<Lender>,
}

/// A proven connection has come in.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Arrived {
    /// The registration it belongs to.
    pub epoch: Epoch,
    /// The connection, nothing carried yet.
    pub framed: Framed,
}

/// The client failed to open `count` of the connections ordered.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct OrderFailed {
    /// The registration.
    pub epoch: Epoch,
    /// How many.
    pub count: usize,
}

/// What a connection's task reports.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Reported(Report);

/// Event: ask the client of `epoch` for `count` connections.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Order {
    /// The registration.
    pub epoch: Epoch,
    /// How many.
    pub count: usize,
}

impl Actor for Pool {
    type Context = Context<Self>;
}

impl Handler<Add> for Pool {
    type Result = ();

    fn handle(&mut self, Add(epoch): Add, ctx: &mut Self::Context) {
        self.shelf.add(time::now(), epoch);
        self.drive(ctx);
    }
}

impl Handler<Remove> for Pool {
    type Result = ();

    fn handle(&mut self, Remove(epoch): Remove, ctx: &mut Self::Context) {
        self.shelf.remove(epoch);
        self.drive(ctx);
    }
}

impl Handler<Take> for Pool {
    type Result = ();

    fn handle(&mut self, take: Take, ctx: &mut Self::Context) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.takers.insert(ticket, take.reply);
        let hit = self
            .shelf
            .handle_take(time::now(), take.epoch, ticket, take.deadline);
        let metrics = &self.env.metrics;
        if hit {
            metrics.pool_hits.inc()
        } else {
            metrics.pool_misses.inc()
        };
        self.drive(ctx);
    }
}

impl Handler<Arrived> for Pool {
    type Result = ();

    fn handle(&mut self, arrived: Arrived, ctx: &mut Self::Context) {
        let id = ConnId::new(self.next_conn);
        self.next_conn += 1;
        let (lender, jobs) = mpsc::channel(1);
        self.lenders.insert(id, lender);
        let pool = ctx.address();
        // A connection reports at most once per session, and connections are bounded: the mailbox is too.
        let report = move |report| pool.do_send(Reported(report));
        let conn = Conn::new(arrived.framed);
        self.tasks
            .insert(id, self.env.spawn(keep(id, conn, jobs, report)));
        if !self.shelf.handle_arrived(time::now(), arrived.epoch, id) {
            self.lenders.remove(&id);
        }
        self.drive(ctx);
    }
}

impl Handler<OrderFailed> for Pool {
    type Result = ();

    fn handle(&mut self, failed: OrderFailed, ctx: &mut Self::Context) {
        self.shelf
            .handle_order_failed(time::now(), failed.epoch, failed.count);
        self.drive(ctx);
    }
}

impl Handler<Reported> for Pool {
    type Result = ();

    fn handle(&mut self, Reported(report): Reported, ctx: &mut Self::Context) {
        match report {
            Report::Parked(id) => self.shelf.handle_parked(time::now(), id),
            Report::Gone(id, cause) => {
                self.env.metrics.pool_discarded.inc(cause);
                if VIOLATIONS.contains(&cause) {
                    self.env.metrics.violations.inc();
                }
                self.lenders.remove(&id);
                if let Some(task) = self.tasks.remove(&id) {
                    task.detach();
                }
                self.shelf.handle_gone(time::now(), id);
            }
        }
        self.drive(ctx);
    }
}

impl Pool {
    fn drive(&mut self, ctx: &mut Context<Self>) {
        while let Some(action) = self.shelf.poll_action() {
            match action {
                Action::Give(ticket, conn) => self.give(ticket, conn),
                Action::Refuse(_) if mutant!("refused-taker-never-told") => {}
                Action::Refuse(ticket) => drop(self.takers.remove(&ticket)),
                Action::Order(epoch, count) => self.orders.do_send(Order { epoch, count }),
                Action::Retire(conn) => drop(self.lenders.remove(&conn)),
            }
        }
        self.env
            .metrics
            .pool_parked
            .set(i64::try_from(self.shelf.parked()).unwrap_or(i64::MAX));
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
    }

    fn give(&mut self, ticket: Ticket, conn: ConnId) {
        let taker = self.takers.remove(&ticket);
        let lender = self.lenders.get(&conn).cloned();
        match (taker, lender) {
            (Some(taker), Some(lender)) => {
                if taker.send(lender).is_err() {
                    // The taker left while it waited: the connection was not used.
                    self.shelf.handle_parked(time::now(), conn);
                }
            }
            (None, Some(_)) => self.shelf.handle_parked(time::now(), conn),
            (_, None) => self.shelf.handle_gone(time::now(), conn),
        }
    }
}
