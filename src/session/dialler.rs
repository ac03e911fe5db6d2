//! Owns the proxy connections and data links of one registration at the client. Opens them when the server asks;
//! never closes one that carries a session, unless the server is dead.

use std::{collections::BTreeMap, sync::Arc};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, warn};

use super::{
    serve::{Registration, open, serve},
    trunk,
};
use crate::{
    env::Task,
    id::ProxyConnId,
    link::{
        LINKS_MAX,
        client::{ClientLink, LinkEvent, SayConnFailed},
    },
    metrics::Counted,
    notice::times,
    probe::{AUDITS, audit, mutant},
    time::Duration,
    wire::{message::ResetCode, preamble::Purpose},
};

/// Connections being opened at once. More trips the server's limit on unproven connections of one address;
/// fewer slows a burst.
const OPENING_MAX: usize = 16;

/// Data links at once: as many as there may be, and as many that were replaced and still carry something.
const OPEN_MAX: usize = 2 * LINKS_MAX;

/// How far a registration has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// In force.
    Up,
    /// The server drains: sessions end, then the link does.
    ServerDraining(Duration),
    /// The server has acknowledged this client's own drain.
    DrainAcknowledged,
    /// Over.
    Lost {
        /// Whether the server was declared dead.
        silent: bool,
        /// For logs.
        reason: &'static str,
    },
}

/// The proxy connections and data links of one registration.
pub struct Dialler {
    registration: Arc<Registration>,
    link: Option<Addr<ClientLink>>,
    phase: watch::Sender<Phase>,
    ended: watch::Sender<bool>,
    opening: Arc<Semaphore>,
    tasks: BTreeMap<ProxyConnId, (Purpose, Task)>,
}

impl Dialler {
    /// No connection yet. `ended` is the sending end of the registration's.
    pub fn new(
        registration: Arc<Registration>,
        phase: watch::Sender<Phase>,
        ended: watch::Sender<bool>,
    ) -> Self {
        let opening = Arc::new(Semaphore::new(OPENING_MAX));
        Self {
            registration,
            link: None,
            phase,
            ended,
            opening,
            tasks: BTreeMap::new(),
        }
    }
}

/// The link to report failures on; said once, before anything else.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct UseLink(pub Addr<ClientLink>);

/// A connection has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Gone(ProxyConnId);

impl Actor for Dialler {
    type Context = Context<Self>;
}

impl Handler<UseLink> for Dialler {
    type Result = ();

    fn handle(&mut self, UseLink(link): UseLink, _ctx: &mut Self::Context) {
        self.link = Some(link);
    }
}

impl Handler<LinkEvent> for Dialler {
    type Result = ();

    fn handle(&mut self, event: LinkEvent, ctx: &mut Self::Context) {
        match event {
            LinkEvent::ConnsRequested(purpose, tickets) => {
                for ticket in tickets {
                    self.open(ctx, purpose, ticket);
                }
            }
            LinkEvent::ServerDraining(retry_after) => self.enter(Phase::ServerDraining(retry_after)),
            LinkEvent::DrainAcknowledged => self.enter(Phase::DrainAcknowledged),
            LinkEvent::Lost { silent, reason } => {
                for (_, task) in std::mem::take(&mut self.tasks).into_values() {
                    // Aborting a task resets what it carries; sessions of a server that merely closed the
                    // link go on to their own end.
                    if silent || mutant!("sessions-end-with-control-connection") {
                        drop(task);
                    } else {
                        task.detach();
                    }
                }
                self.ended.send_replace(true);
                self.enter(Phase::Lost { silent, reason });
            }
        }
    }
}

impl Handler<Gone> for Dialler {
    type Result = ();

    fn handle(&mut self, Gone(ticket): Gone, _ctx: &mut Self::Context) {
        if let Some((_, task)) = self.tasks.remove(&ticket) {
            task.detach();
        }
        self.check();
    }
}

impl Dialler {
    fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    fn open(&mut self, ctx: &mut Context<Self>, purpose: Purpose, ticket: ProxyConnId) {
        if purpose == Purpose::Link && self.links() >= OPEN_MAX {
            if let Some(link) = &self.link {
                link.do_send(SayConnFailed(ticket, ResetCode::Overload));
            }
            return;
        }
        let (registration, opening) = (Arc::clone(&self.registration), Arc::clone(&self.opening));
        let (me, link) = (ctx.address(), self.link.clone());
        let task = self.registration.env.spawn(async move {
            let permit = opening.acquire_owned().await;
            let opened = open(&registration, purpose, ticket).await;
            match permit {
                Ok(permit) if mutant!("dialling-permit-never-given-back") => permit.forget(),
                permit => drop(permit),
            }
            let metrics = Arc::clone(&registration.env.metrics);
            let failed = opened.is_err();
            match opened {
                Ok(framed) if purpose == Purpose::Link => trunk::run(registration, framed).await,
                Ok(framed) => {
                    metrics.pool_dials.ok.inc();
                    let open = Counted::new(&metrics.proxy_connections);
                    serve(&registration, framed).await;
                    if mutant!("closed-proxy-connection-still-counted") {
                        std::mem::forget(open);
                    }
                }
                Err(error) => {
                    if purpose == Purpose::Proxy {
                        metrics.pool_dials.failed.inc();
                    }
                    debug!(%ticket, ?purpose, %error, "connection not opened");
                    let (server, reason) = (registration.proxy.clone(), error.to_string());
                    let subject = format!("{server} {reason}");
                    registration.env.notice("connection", subject, move |n| {
                        warn!(
                            server,
                            reason,
                            times = times(n),
                            "connection to the server not opened"
                        );
                    });
                }
            }
            me.do_send(Gone(ticket));
            // After that: a server that hears it may ask again, and finds the place free.
            if failed && let Some(link) = link {
                link.do_send(SayConnFailed(ticket, ResetCode::Unreachable));
            }
        });
        self.tasks.insert(ticket, (purpose, task));
        self.check();
    }

    fn check(&self) {
        if !AUDITS {
            return;
        }
        audit!(
            self.links() <= OPEN_MAX,
            "no more data links are open than may be"
        );
        let opening = OPENING_MAX - self.opening.available_permits();
        audit!(
            *self.ended.borrow() || opening <= self.tasks.len(),
            "only connections that are there are being opened"
        );
    }

    /// Data links that are open or being opened.
    fn links(&self) -> usize {
        let purposes = self.tasks.values().map(|(purpose, _)| *purpose);
        purposes.filter(|purpose| *purpose == Purpose::Link).count()
    }
}
