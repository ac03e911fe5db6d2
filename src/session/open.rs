//! Opens streams to upstreams behind clients, for an entry that speaks with them itself.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use actix::{Addr, Recipient};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::{debug, info};

use super::{
    Options, TAKE_TIMEOUT_MIN,
    carry::{Witness, judge, tidy},
    core::Core,
    first_bytes::{FirstBytes, ReplayBudget},
    patience::{Backlog, Patience},
    tunnel_stream::{OnStart, Rest, TunnelStream},
    visitor_side::{Outcome, VisitorSide},
    way::Ways,
};
use crate::{
    env::Env,
    id::{EntryName, SessionId},
    link::gauges::LinkGauges,
    metrics::{Counted, Metrics, TrafficSeries},
    notice::times,
    pool::conn::{Conn, Job},
    probe::mutant,
    registry::actor::{Registry, SessionDispatched, SessionEnded},
    selector::{actor::Reported, group::Group, roster::Report},
    target::{Reach, Target, Tunnel},
    time::{self, Duration, Instant},
    transport::BoxFuture,
    wire::message::{PROTOCOL_HTTP, ResetCode, Start},
};

/// How long a stream that was ended may take to be ended by its upstream too. Longer holds what carries it.
const AGREE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The server has as many connections to upstreams as it may.
    #[error("the server has as many connections to upstreams as it may")]
    TooMany,
    /// The client has brought no connection in time, or is on its way out.
    #[error("no connection to the client in time")]
    NoWay,
}

/// Opens the streams of one entry to the targets of one group.
pub struct Opener {
    /// The world.
    pub env: Env,
    /// The entry.
    pub entry: EntryName,
    /// How its sessions behave.
    pub options: Options,
    /// How they reach clients.
    pub ways: Ways,
    /// Who is told which session rides where.
    pub registry: Addr<Registry>,
    /// Who is told how targets did.
    pub reports: Recipient<Reported<<Tunnel as Reach>::Key>>,
    /// The memory for first bytes.
    pub budget: ReplayBudget,
    /// Where what visitors of the entry want of the group is counted.
    pub traffic: TrafficSeries,
    /// One permit per connection to an upstream.
    pub slots: Arc<Semaphore>,
    /// The number of the next session.
    pub next: Arc<AtomicU64>,
}

impl Opener {
    /// Says that no target of `group` serves a request of `visitor`, and why.
    pub fn turned_away(&self, group: &Group<Tunnel>, visitor: SocketAddr, reason: &'static str) {
        say_turned_away(&self.env, (&self.entry, group), visitor, reason, group.failure());
    }

    /// A stream to `target`, for `visitor` and perhaps for others after. It is there before the client has answered:
    /// what is written goes out behind Start, and its progress says what became of it. The client may take `connect` to
    /// connect its upstream, if not as long as the options say.
    ///
    /// # Errors
    /// [`OpenError`]; nobody was asked.
    pub async fn open(
        &self,
        target: &Arc<Target<Tunnel>>,
        visitor: SocketAddr,
        deadline: Instant,
        connect: Option<Duration>,
    ) -> Result<TunnelStream, OpenError> {
        let slot = Arc::clone(&self.slots);
        let slot = slot.try_acquire_owned().map_err(|_| OpenError::TooMany)?;
        let rtt = target.reach.link.rtt();
        let starting = target.reach.link.begin_start();
        let patience = TAKE_TIMEOUT_MIN.max(rtt * 4);
        let way = self
            .ways
            .find(&target.reach, (time::now() + patience).min(deadline));
        let way = way.await.ok_or(OpenError::NoWay)?;
        let id = SessionId::new(self.next.fetch_add(1, Ordering::Relaxed));
        let start = Start {
            session_id: id.value(),
            protocol: PROTOCOL_HTTP.to_owned(),
            upstream: target.reach.upstream.to_string(),
            address: String::new(),
            visitor: visitor.to_string(),
            entry: self.entry.to_string(),
        };
        let (abort_sender, abort) = oneshot::channel();
        self.registry.do_send(SessionDispatched {
            session: id,
            ride: way.ride(),
            abort: abort_sender,
        });
        let (give, given) = oneshot::channel();
        let options = Options {
            connect_timeout: connect.unwrap_or(self.options.connect_timeout),
            ..self.options
        };
        let now = time::now();
        let lend = Lend {
            give,
            start,
            patience: Patience::new(&options, rtt, deadline),
            first: FirstBytes::new(self.budget.clone()),
            client: Arc::clone(&target.reach.link),
            abort,
            on_start: Box::new({
                let witness = Witness {
                    key: target.key(),
                    gauges: Arc::clone(&target.gauges),
                    reports: self.reports.clone(),
                };
                let metrics = Arc::clone(&self.env.metrics);
                move || {
                    drop(starting);
                    let took = time::now() - now;
                    metrics.start_seconds.observe(took);
                    witness.tell(Report::Connected(took));
                    took
                }
            }),
            account: Account {
                traffic: (self.traffic.clone(), target.gauges.traffic().cloned()),
                id,
                asked_at: now,
                registry: self.registry.clone(),
                witness: Witness {
                    key: target.key(),
                    gauges: Arc::clone(&target.gauges),
                    reports: self.reports.clone(),
                },
                _running: Counted::new(&self.env.metrics.sessions),
                metrics: Arc::clone(&self.env.metrics),
                outcome: None,
                began: true,
                _slot: slot,
            },
        };
        way.run(&self.env, Box::new(lend));
        // A connection that died in this very moment drops the job.
        given.await.map_err(|_| OpenError::NoWay)
    }
}

/// Says that a visitor of an entry was not served, why, and what the last target had said.
pub(super) fn say_turned_away(
    env: &Env,
    (entry, group): (&EntryName, &Group<Tunnel>),
    visitor: SocketAddr,
    reason: &'static str,
    last: Option<Arc<str>>,
) {
    group.count_turned_away();
    let (entry, group) = (entry.clone(), group.name().clone());
    env.notice("visitor", format!("{entry} {group} {reason}"), move |n| {
        let (last, times) = (last.as_deref(), times(n));
        info!(%entry, %group, %visitor, reason, last, times, "visitor turned away");
    });
}

/// The job of lending a connection to whoever holds a stream.
struct Lend {
    give: oneshot::Sender<TunnelStream>,
    start: Start,
    patience: Patience,
    first: FirstBytes,
    client: Arc<LinkGauges>,
    abort: oneshot::Receiver<ResetCode>,
    on_start: OnStart,
    account: Account,
}

impl Job for Lend {
    fn run(self: Box<Self>, mut conn: Conn) -> BoxFuture<'static, Result<Conn, &'static str>> {
        Box::pin(async move {
            let Self {
                give,
                start,
                patience,
                first,
                client,
                abort,
                on_start,
                mut account,
            } = *self;
            conn.last = conn.last.next().ok_or("out_of_ordinals")?;
            let now = time::now();
            let backlog = Backlog::new(now, &client, &conn.carrier);
            let side = VisitorSide::new(now, conn.last, start, patience, first).behind(backlog);
            let (back, rest) = oneshot::channel();
            let (entry, client) = &account.traffic;
            let meter = account.metrics.bytes.at_visitor().also(entry, client.as_ref());
            let stream = TunnelStream::new(Rest { conn, side }, abort, meter, back, on_start);
            // Whoever has given up waiting drops it at once, and it comes back.
            drop(give.send(stream));
            let Rest { mut conn, mut side } = rest.await.map_err(|_| "torn_down")?;
            account.close(&side);
            let fate = time::within(AGREE_TIMEOUT, tidy(&mut conn, &mut side)).await;
            fate.map_or(Err("not_ended"), |fate| judge(&side, fate))
                .map(|()| conn)
        })
    }
}

/// Says what became of a session, once, however it ends.
struct Account {
    /// Of the entry and group, and of the client.
    traffic: (TrafficSeries, Option<TrafficSeries>),
    id: SessionId,
    asked_at: Instant,
    registry: Addr<Registry>,
    witness: Witness,
    metrics: Arc<Metrics>,
    outcome: Option<&'static str>,
    /// Its upstream was connected, as far as known.
    began: bool,
    _running: Counted,
    _slot: OwnedSemaphorePermit,
}

impl Account {
    /// The stream is held by nobody any more.
    fn close(&mut self, side: &VisitorSide) {
        if mutant!("upstream-connection-counted-for-ever") {
            std::mem::forget(Counted::new(&self.metrics.sessions));
        }
        // Whoever has ended its direction and goes away before the upstream has ended the other has had all it wants.
        let outcome = side.outcome().unwrap_or(Outcome::Completed);
        self.witness.tell_end(outcome, side, time::now() - self.asked_at);
        if let Outcome::NotStarted { .. } = outcome {
            self.metrics.tries_failed.inc(outcome.label());
        }
        let (up, down) = side.bytes();
        debug!(session = %self.id, outcome = outcome.label(), up, down, "upstream connection ended");
        self.outcome = Some(outcome.label());
        self.began = side.was_served();
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let outcome = self.outcome.unwrap_or(Outcome::Broken.label());
        self.metrics.session_outcomes.inc(outcome);
        let (entry, client) = &self.traffic;
        entry.outcomes.inc(outcome);
        // What the client refused, or never answered, is no session of it.
        if self.began {
            client.iter().for_each(|client| client.outcomes.inc(outcome));
        }
        self.registry.do_send(SessionEnded(self.id));
    }
}
