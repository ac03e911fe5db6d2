//! Owns who is registered and what their links carry. Never reads a frame, never carries a byte.

use std::{collections::BTreeMap, sync::Arc};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, MessageResult, SpawnHandle};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{
    Options,
    groups::{Found, Groups},
    table::{Action, Candidate, ClaimError, JoinId, Serves, Table},
    tunnels::TunnelConnectionManager,
};
use crate::{
    env::Env,
    id::{ClientId, Epoch, GroupName, ProxyConnId, SessionId},
    link::{
        self,
        framed::Framed,
        gauges::LinkGauges,
        server::{Close, LinkEvent, Probe, RequestConns, SayGoAway, SayGoAwayAck, ServerLink},
    },
    pool::{
        actor::{Add, Order, OrderFailed, Remove},
        conn::ConnPool,
    },
    selector::{setup::Setup, target::Tunnel},
    time::{self, Duration},
    wire::{
        handshake::Proven,
        message::{DenyCode, Granted, ResetCode},
    },
};

/// How often a draining client's last starts are looked at, until its `GoAway` can be acknowledged.
const ACK_POLL: Duration = Duration::from_millis(20);

/// When clients come back to a server that drains.
const DRAIN_RETRY: Duration = Duration::from_secs(1);

/// What every admission tells its client.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The port of the proxy listener.
    pub proxy_port: u16,
    /// `host:port` that overrides it; empty when not set.
    pub proxy_address: String,
}

/// The registry of one server.
pub struct Registry {
    env: Env,
    table: Table,
    tunnels: TunnelConnectionManager<oneshot::Sender<ResetCode>>,
    grant: Grant,
    link_options: link::Options,
    pool: Option<Addr<ConnPool>>,
    groups: Groups,
    joining: BTreeMap<JoinId, Join>,
    next_join: JoinId,
    links: BTreeMap<Epoch, Live>,
    timer: Option<SpawnHandle>,
}

struct Live {
    link: Addr<ServerLink>,
    gauges: Arc<LinkGauges>,
    client: ClientId,
    /// The group of each of its upstreams.
    groups: Vec<GroupName>,
}

impl Registry {
    /// The registry of the server process `boot`.
    pub fn new(env: Env, boot: u64, options: Options, link_options: link::Options, grant: Grant) -> Self {
        Self {
            groups: Groups::new(env.clone()),
            env,
            table: Table::new(boot, options),
            tunnels: TunnelConnectionManager::default(),
            grant,
            link_options,
            pool: None,
            joining: BTreeMap::new(),
            next_join: 0,
            links: BTreeMap::new(),
            timer: None,
        }
    }
}

/// Where connections are pooled; said once, before anything else.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct UsePool(pub Addr<ConnPool>);

/// The group of this name, made if need be, for visitors come to it.
#[derive(Message)]
#[rtype(result = "Found")]
pub struct FindGroup {
    /// Its name.
    pub name: GroupName,
    /// How it is judged, unless it is there already.
    pub setup: Setup<Tunnel>,
}

/// A client has proved who it is and wants in.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Join {
    /// The id it wants to hold.
    pub client: ClientId,
    /// What it serves.
    pub serves: Serves,
    /// Its proof.
    pub proven: Proven,
    /// Its control connection.
    pub framed: Framed,
}

/// A connection claims a ticket; the answer is the proof to send back.
#[derive(Debug, Message)]
#[rtype(result = "Result<[u8; 32], ClaimError>")]
pub struct Claim {
    /// Who claims to open it.
    pub client_id: String,
    /// For which registration.
    pub epoch: Epoch,
    /// The ticket.
    pub ticket: ProxyConnId,
    /// Proof with the link key.
    pub mac: Vec<u8>,
}

/// A session rides on a client's connection from now on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SessionDispatched {
    /// The session.
    pub session: SessionId,
    /// The registration that carries it.
    pub epoch: Epoch,
    /// What ends it.
    pub abort: oneshot::Sender<ResetCode>,
}

/// A session has ended.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct SessionEnded(pub SessionId);

/// Admit nobody, tell every client that the server drains.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Drain;

/// Reset every session that still runs, and end every link.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct EndAll;

impl Actor for Registry {
    type Context = Context<Self>;
}

impl Handler<UsePool> for Registry {
    type Result = ();

    fn handle(&mut self, UsePool(pool): UsePool, _ctx: &mut Self::Context) {
        self.pool = Some(pool);
    }
}

impl Handler<FindGroup> for Registry {
    type Result = MessageResult<FindGroup>;

    fn handle(&mut self, FindGroup { name, setup }: FindGroup, _ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.groups.find(&name, setup))
    }
}

impl Handler<Join> for Registry {
    type Result = ();

    fn handle(&mut self, join: Join, ctx: &mut Self::Context) {
        let id = self.next_join;
        self.next_join += 1;
        let candidate = Candidate {
            join: id,
            client: join.client.clone(),
            proven: join.proven.clone(),
        };
        self.joining.insert(id, join);
        self.table.handle_join(time::now(), candidate);
        self.drive(ctx);
    }
}

impl Handler<Claim> for Registry {
    type Result = Result<[u8; 32], ClaimError>;

    fn handle(&mut self, claim: Claim, _ctx: &mut Self::Context) -> Self::Result {
        self.table.claim(
            time::now(),
            (&claim.client_id, claim.epoch),
            claim.ticket,
            &claim.mac,
        )
    }
}

impl Handler<SessionDispatched> for Registry {
    type Result = ();

    fn handle(&mut self, dispatched: SessionDispatched, _ctx: &mut Self::Context) {
        // Also when the registration has just ended: the session may go on, and the end of a drain reaches it.
        self.tunnels
            .insert(dispatched.session, dispatched.epoch, dispatched.abort);
    }
}

impl Handler<SessionEnded> for Registry {
    type Result = ();

    fn handle(&mut self, SessionEnded(session): SessionEnded, _ctx: &mut Self::Context) {
        self.tunnels.remove(session);
    }
}

impl Handler<Order<Epoch>> for Registry {
    type Result = ();

    fn handle(&mut self, Order { key: epoch, count }: Order<Epoch>, _ctx: &mut Self::Context) {
        let entropy = &self.env.entropy;
        let fresh = || ProxyConnId::new(entropy.bytes());
        let tickets = self.table.issue(time::now(), epoch, count, fresh);
        let short = count - tickets.len();
        if let Some(live) = self.links.get(&epoch)
            && !tickets.is_empty()
        {
            live.link.do_send(RequestConns(tickets));
        }
        if short > 0
            && let Some(pool) = &self.pool
        {
            pool.do_send(OrderFailed {
                key: epoch,
                count: short,
            });
        }
    }
}

impl Handler<LinkEvent> for Registry {
    type Result = ();

    fn handle(&mut self, event: LinkEvent, ctx: &mut Self::Context) {
        match event {
            LinkEvent::Lost {
                epoch,
                silent,
                reason,
            } => self.table.handle_lost(epoch, silent, reason),
            LinkEvent::Answered(epoch) => self.table.handle_answered(epoch),
            LinkEvent::ConnFailed(epoch, ticket) => {
                if self.table.handle_ticket_failed(epoch, ticket)
                    && let Some(pool) = &self.pool
                {
                    pool.do_send(OrderFailed { key: epoch, count: 1 });
                }
            }
            LinkEvent::Draining(epoch) => self.drain_client(ctx, epoch),
        }
        self.drive(ctx);
    }
}

impl Handler<Drain> for Registry {
    type Result = ();

    fn handle(&mut self, _: Drain, _ctx: &mut Self::Context) {
        self.table.close();
        for live in self.links.values() {
            live.link.do_send(SayGoAway {
                retry_after: DRAIN_RETRY,
            });
        }
    }
}

impl Handler<EndAll> for Registry {
    type Result = ();

    fn handle(&mut self, _: EndAll, ctx: &mut Self::Context) {
        for abort in self.tunnels.remove_all() {
            // A session that is ending by itself needs no push.
            let _ = abort.send(ResetCode::Shutdown);
        }
        let epochs: Vec<_> = self.links.keys().copied().collect();
        for epoch in epochs {
            self.table.handle_lost(epoch, false, "server_stopped");
        }
        self.drive(ctx);
    }
}

impl Registry {
    fn drive(&mut self, ctx: &mut Context<Self>) {
        while let Some(action) = self.table.poll_action() {
            match action {
                Action::Admit(join, epoch) => self.admit(ctx, join, epoch),
                Action::Deny(join, code, message, retry_after) => self.deny(join, code, message, retry_after),
                Action::Probe(epoch) => {
                    if let Some(live) = self.links.get(&epoch) {
                        live.link.do_send(Probe);
                    }
                }
                Action::Evict {
                    epoch,
                    silent,
                    reason,
                } => self.evict(epoch, silent, reason),
            }
        }
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.env.metrics.clients.set(count(self.table.len()));
        self.env.metrics.links.set(count(self.links.len()));
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(due) = self.table.poll_timeout() {
            let wait = due.saturating_duration_since(time::now());
            self.timer = Some(ctx.run_later(wait, |registry, ctx| {
                registry.timer = None;
                registry.table.handle_timeout(time::now());
                registry.drive(ctx);
            }));
        }
    }

    fn admit(&mut self, ctx: &mut Context<Self>, join: JoinId, epoch: Epoch) {
        let Some(join) = self.joining.remove(&join) else {
            return;
        };
        let granted = Granted {
            boot: epoch.boot(),
            counter: epoch.counter(),
            proxy_port: self.grant.proxy_port,
            proxy_address: self.grant.proxy_address.clone(),
            heartbeat_ms: u32::try_from(self.link_options.heartbeat.as_millis()).unwrap_or(u32::MAX),
            config_version: 0,
            window: self.link_options.window,
            max_streams: self.link_options.max_streams,
        };
        let gauges = Arc::<LinkGauges>::default();
        let first = join.proven.grant(granted);
        let events = ctx.address().recipient();
        let shared = (epoch, Arc::clone(&gauges));
        let link = ServerLink::open(&self.env, join.framed, first, shared, &self.link_options, events);
        info!(client = %join.client, %epoch, upstreams = join.serves.len(), "client registered");
        self.env.metrics.registrations.inc();
        let groups = join.serves.iter().map(|(group, _)| group.clone()).collect();
        let client = join.client.clone();
        self.links.insert(
            epoch,
            Live {
                link,
                gauges: Arc::clone(&gauges),
                client,
                groups,
            },
        );
        if let Some(pool) = &self.pool {
            pool.do_send(Add(epoch));
        }
        for (group, upstream) in join.serves {
            let tunnel = Tunnel {
                client: join.client.clone(),
                epoch,
                upstream,
                link: Arc::clone(&gauges),
            };
            self.groups.join(&group, tunnel);
        }
    }

    fn deny(&mut self, join: JoinId, code: DenyCode, message: &'static str, retry_after: Option<Duration>) {
        let Some(mut join) = self.joining.remove(&join) else {
            return;
        };
        warn!(client = %join.client, reason = code.label(), "registration denied");
        self.env.metrics.registrations_denied.inc(code.label());
        join.framed
            .queue(0, &join.proven.deny(code, message, retry_after));
        let deadline = self.link_options.handshake_timeout;
        let say = async move {
            // A client that does not listen to its denial is closed all the same.
            let _ = time::within(deadline, join.framed.flush()).await;
        };
        self.env.spawn(say).detach();
    }

    fn evict(&mut self, epoch: Epoch, silent: bool, reason: &'static str) {
        let Some(live) = self.links.remove(&epoch) else {
            return;
        };
        let sessions = self.tunnels.count(epoch);
        info!(client = %live.client, %epoch, reason, sessions, "client left");
        self.env.metrics.links_lost.inc(reason);
        live.link.do_send(Close);
        self.withdraw(epoch, &live.groups);
        if silent {
            // The sessions of a link that merely closed go on until they end.
            for abort in self.tunnels.remove_epoch(epoch) {
                let _ = abort.send(ResetCode::LinkSilent);
            }
        }
        self.groups.leave(&live.groups);
    }

    /// Takes a registration out of every active set and out of the pool.
    fn withdraw(&self, epoch: Epoch, groups: &[GroupName]) {
        self.groups.withdraw(epoch, groups);
        if let Some(pool) = &self.pool {
            pool.do_send(Remove(epoch));
        }
    }

    fn drain_client(&mut self, ctx: &mut Context<Self>, epoch: Epoch) {
        if let Some(live) = self.links.get(&epoch) {
            info!(client = %live.client, "client drains");
            self.table.handle_draining(epoch);
            self.withdraw(epoch, &live.groups);
            self.acknowledge(ctx, epoch);
        }
    }

    /// Acknowledges a client's drain once nothing that picked it is still starting.
    fn acknowledge(&mut self, ctx: &mut Context<Self>, epoch: Epoch) {
        let Some(live) = self.links.get(&epoch) else {
            return;
        };
        if live.gauges.starting() == 0 {
            live.link.do_send(SayGoAwayAck);
        } else {
            ctx.run_later(ACK_POLL, move |registry, ctx| registry.acknowledge(ctx, epoch));
        }
    }
}
