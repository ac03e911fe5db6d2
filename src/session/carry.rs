//! One try: a visitor on a proxy connection, carried until it is refused, ends or breaks.

use std::{future::poll_fn, sync::Arc};

use actix::Recipient;
use tokio::sync::oneshot;

use super::{
    core::{Core, Fate},
    first_bytes::FirstBytes,
    patience::{Backlog, Patience},
    raw::RawStream,
    relay::{Relay, Stopped},
    testimony::{testimony, words},
    visitor_side::{Cause, Outcome, VisitorSide},
};
use crate::{
    link::gauges::{LinkGauges, StartGuard},
    metrics::{Meter, Metrics},
    pool::conn::{Conn, Job},
    probe::{mutant, sometimes},
    selector::{actor::Reported, roster::Report},
    target::{Reach, TargetGauges, Tunnel},
    time::{self, Duration, Instant},
    transport::BoxFuture,
    wire::message::{ResetCode, Start},
};

/// What becomes of a try; said once. A try that is torn down half-way says nothing: its sender is dropped.
pub struct Carried {
    /// How it ended for the visitor.
    pub outcome: Outcome,
    /// Bytes from and to the visitor.
    pub bytes: (u64, u64),
    /// The visitor, unharmed, when the try did not start.
    pub visitor: Option<(RawStream, FirstBytes)>,
}

/// The job of carrying one visitor. Dropped without being run, it hands the visitor back.
pub struct Carry {
    load: Option<Box<Load>>,
    report: Option<oneshot::Sender<Carried>>,
}

/// What a try is made of.
pub struct Load {
    /// The visitor.
    pub visitor: RawStream,
    /// What the visitor said so far.
    pub first: FirstBytes,
    /// What the client is told.
    pub start: Start,
    /// The try's deadlines.
    pub patience: Patience,
    /// Counts the try as starting.
    pub starting: StartGuard,
    /// Figures of the client's registration.
    pub client: Arc<LinkGauges>,
    /// Ends the session from outside.
    pub abort: oneshot::Receiver<ResetCode>,
    /// When the visitor was accepted.
    pub accepted_at: Instant,
    /// Told how the target did.
    pub witness: Witness,
    /// Where the start is counted.
    pub metrics: Arc<Metrics>,
    /// Where the bytes are counted.
    pub meter: Meter,
}

/// Tells a selector how one of its targets did.
pub struct Witness {
    /// The target.
    pub key: <Tunnel as Reach>::Key,
    /// Where it is noted why it failed.
    pub gauges: Arc<TargetGauges>,
    /// Its selector.
    pub reports: Recipient<Reported<<Tunnel as Reach>::Key>>,
}

impl Witness {
    /// Tells what `outcome` and the client's `refusal` say of it, if they do.
    pub fn tell_end(&self, outcome: Outcome, side: &VisitorSide, waited: Duration) {
        if let Some(report) = testimony(outcome, side.come(), waited) {
            if !matches!(report, Report::Ended) {
                self.gauges.note_failure(&words(outcome, side.refusal(), waited));
            }
            self.tell(report);
        }
    }

    /// Tells it.
    pub fn tell(&self, report: Report) {
        if matches!(report, Report::Refused(_)) && mutant!("refused-session-not-reported") {
            return;
        }
        let key = self.key.clone();
        self.reports.do_send(Reported { key, report });
    }
}

impl Carry {
    /// A try that reports its end to `report`.
    pub fn new(load: Load, report: oneshot::Sender<Carried>) -> Self {
        Self {
            load: Some(Box::new(load)),
            report: Some(report),
        }
    }
}

impl Drop for Carry {
    fn drop(&mut self) {
        if let (Some(load), Some(report)) = (self.load.take(), self.report.take()) {
            sometimes!("lent-connection-was-dead");
            let outcome = Outcome::NotStarted {
                cause: Cause::Broken,
                ambiguous: false,
            };
            let visitor = Some((load.visitor, load.first));
            // A session that is no more has no use for its visitor.
            let _ = report.send(Carried {
                outcome,
                bytes: (0, 0),
                visitor,
            });
        }
    }
}

impl Job for Carry {
    fn run(mut self: Box<Self>, mut conn: Conn) -> BoxFuture<'static, Result<Conn, &'static str>> {
        Box::pin(async move {
            // Out of ordinals: the connection is closed, and dropping `self` hands the visitor back.
            let ordinal = conn.last.next().ok_or("out_of_ordinals")?;
            let load = self.load.take().ok_or("no_load")?;
            let report = self.report.take().ok_or("no_report")?;
            conn.last = ordinal;
            sometimes!(ordinal.value() > 1, "proxy-connection-reused");
            match carry(&mut conn, load, report).await {
                // What came behind the session's last frame is looked at before the next one begins: a PING may
                // be there, anything else ends the connection.
                Ok(()) => Ok(conn),
                Err(cause) => Err(cause),
            }
        })
    }
}

/// Carries the visitor; on success the stream may carry the next one.
async fn carry(
    conn: &mut Conn,
    load: Box<Load>,
    report: oneshot::Sender<Carried>,
) -> Result<(), &'static str> {
    let Load {
        visitor,
        first,
        start,
        patience,
        starting,
        client,
        abort,
        accepted_at,
        witness,
        metrics,
        meter,
    } = *load;
    let asked_at = time::now();
    let mut starting = Some(starting);
    let backlog = Backlog::new(asked_at, &client, &conn.carrier);
    let mut side = VisitorSide::new(asked_at, conn.last, start, patience, first).behind(backlog);
    let stopped = relay(conn, &mut side, visitor, Some(abort), Some(meter), |side| {
        if starting.is_some() && side.has_started() {
            starting = None;
            // A visitor that left while it waited has not been served.
            if side.was_served() {
                let now = time::now();
                let from = match mutant!("start-counted-from-last-try") {
                    false => accepted_at,
                    true => asked_at,
                };
                metrics.start_seconds.observe(now - from);
                witness.tell(Report::Connected(now - asked_at));
            }
        }
    })
    .await;
    drop(starting);
    let tell = |side: &VisitorSide, visitor| {
        let outcome = side.outcome().unwrap_or(Outcome::Broken);
        witness.tell_end(outcome, side, time::now() - asked_at);
        // A session that is no more has no use for its visitor.
        let _ = report.send(Carried {
            outcome,
            bytes: side.bytes(),
            visitor,
        });
    };
    let fate = match stopped {
        Stopped::Ended(fate) => {
            tell(&side, None);
            fate
        }
        Stopped::Released(visitor) => {
            let first = side.take_first_bytes();
            tell(&side, Some((visitor, first)));
            tidy(conn, &mut side).await
        }
    };
    judge(&side, fate)
}

/// Moves `visitor` over `conn`, as `side` says, until its session is over or it is released. `look` sees the side after
/// each move.
pub(super) fn relay<'a>(
    conn: &'a mut Conn,
    side: &'a mut VisitorSide,
    visitor: RawStream,
    abort: Option<oneshot::Receiver<ResetCode>>,
    meter: Option<Meter>,
    mut look: impl FnMut(&VisitorSide) + 'a,
) -> impl Future<Output = Stopped> + 'a {
    let mut relay = Relay::new(side, &mut conn.carrier, Some(visitor), &mut conn.timer, abort);
    if let Some(meter) = meter {
        relay = relay.counting(meter);
    }
    poll_fn(move |cx| {
        let stopped = relay.poll(cx);
        look(relay.core());
        stopped
    })
}

/// Comes to an end with the client about a stream whose visitor was released.
pub(super) async fn tidy(conn: &mut Conn, side: &mut VisitorSide) -> Fate {
    let relay = Relay::new(side, &mut conn.carrier, None, &mut conn.timer, None);
    relay.finish().await
}

/// Whether the stream may carry the next session, or why not.
pub(super) fn judge(side: &VisitorSide, fate: Fate) -> Result<(), &'static str> {
    match fate {
        Fate::Reusable => Ok(()),
        Fate::Dead if side.is_violated() => Err("violation"),
        Fate::Dead => Err(side.outcome().unwrap_or(Outcome::Broken).label()),
    }
}
