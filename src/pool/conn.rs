//! One proxy connection at the server: parked and watched, or lent to a job, until it dies.

use std::{future::poll_fn, task::Poll};

use tokio::sync::mpsc;

use super::{
    actor::Pool,
    park::{Lent, Park, Report, Taker},
    sizing::{Caps, ORDERS_MAX},
};
use crate::{
    id::{ConnId, Epoch, Ordinal},
    link::{carrier::Carrier, framed::FramedError},
    time::Timer,
    transport::BoxFuture,
};

/// The pool of a server.
pub type ConnPool = Pool<Epoch, Conn>;

/// A proven proxy connection between two sessions.
pub struct Conn {
    /// What carries frames, standing between two of them.
    pub carrier: Carrier,
    /// The ordinal of the last session it carried; 0 before the first.
    pub last: Ordinal,
    /// The connection's one timer.
    pub timer: Timer,
}

impl Conn {
    /// A connection that has carried nothing yet.
    pub fn new(carrier: Carrier) -> Self {
        Self {
            carrier,
            last: Ordinal::CONNECTION,
            timer: Timer::default(),
        }
    }
}

/// Something to do with a connection: carry one session.
pub trait Job: Send {
    /// Uses the connection; gives it back if, and only if, it may carry the next session, or says why not.
    ///
    /// A job that is dropped without being run must make that known to whoever waits for it.
    fn run(self: Box<Self>, conn: Conn) -> BoxFuture<'static, Result<Conn, &'static str>>;
}

type Jobs = mpsc::Sender<Box<dyn Job>>;

/// The right to have one job done with a connection. Whoever goes away without a job gives the connection back.
#[derive(Debug)]
pub struct Lender(Option<Jobs>);

impl Lender {
    /// Has `job` done. A connection that died in this very moment drops it.
    pub fn run(mut self, job: Box<dyn Job>) {
        if let Some(jobs) = self.0.take() {
            drop(jobs.try_send(job));
        }
    }
}

impl Drop for Lender {
    fn drop(&mut self) {
        if let Some(jobs) = self.0.take() {
            drop(jobs.try_send(Box::new(Nothing)));
        }
    }
}

/// Nothing to do: the connection may carry the next session at once.
struct Nothing;

impl Job for Nothing {
    fn run(self: Box<Self>, conn: Conn) -> BoxFuture<'static, Result<Conn, &'static str>> {
        Box::pin(std::future::ready(Ok(conn)))
    }
}

impl Park for Conn {
    /// A client opens what it is asked for, in its own order; the link asks for many at once.
    const CAPS: Caps = Caps {
        per_event: ORDERS_MAX,
        outstanding: ORDERS_MAX,
        per_second: None,
        single_use: false,
    };

    type Loan = Lender;
    type Hold = Jobs;

    fn keep(
        self,
        id: ConnId,
        report: impl Fn(Report<Lender>) + Send + 'static,
    ) -> (Jobs, impl Future<Output = ()> + Send + 'static) {
        let (lender, jobs) = mpsc::channel(1);
        (lender, keep(id, self, jobs, report))
    }

    fn lend(jobs: &Jobs, taker: Taker<Lender>) -> Lent<Lender> {
        match taker.reply.send(Lender(Some(jobs.clone()))) {
            Ok(()) => Lent::Done,
            Err(mut lender) => {
                lender.0 = None;
                Lent::TakerGone
            }
        }
    }
}

/// Serves jobs until the connection dies or its pool lets go of it.
async fn keep(
    id: ConnId,
    mut conn: Conn,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
    report: impl Fn(Report<Lender>),
) {
    let cause = loop {
        let job = match parked(&mut conn, &mut jobs).await {
            Ok(Some(job)) => job,
            Ok(None) => break "retired",
            Err(error) => break error.label(),
        };
        match job.run(conn).await {
            Ok(back) => conn = back,
            Err(cause) => break cause,
        }
        report(Report::Parked(id));
    };
    report(Report::Gone {
        conn: id,
        cause,
        // A client's connections come and go with it: how it ends them says nothing about it.
        hung_up: false,
        taker: None,
    });
}

/// Watches a parked connection: anything but PING and PONG on it is a violation.
async fn parked(
    conn: &mut Conn,
    jobs: &mut mpsc::Receiver<Box<dyn Job>>,
) -> Result<Option<Box<dyn Job>>, FramedError> {
    poll_fn(|cx| {
        // The peer's word first: a job must not be given to a connection that is known to be dead.
        match conn.carrier.poll_idle(cx, &mut conn.timer) {
            Poll::Ready(Ok(_)) => return Poll::Ready(Err(FramedError::Unexpected)),
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => {}
        }
        jobs.poll_recv(cx).map(Ok)
    })
    .await
}
