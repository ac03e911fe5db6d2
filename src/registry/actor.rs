//! Owns who is registered and what their links carry. Never reads a frame, never carries a byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, MessageResult, SpawnHandle};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::{
    Options,
    groups::{Found, Groups},
    table::{Action, Candidate, ClaimError, JoinId, Serves, Table},
    trunks::{self, Trunks},
    tunnels::{Ride, TunnelConnectionManager},
};
use crate::{
    env::{Env, Task},
    id::{ClientId, Epoch, GroupName, LinkId, ProxyConnId, SessionId},
    link::{
        self,
        framed::Framed,
        gauges::LinkGauges,
        links::Links,
        server::{Close, LinkEvent, Probe, RequestConns, ServerLink},
    },
    notice::times,
    pool::{
        actor::{Add, Order, OrderFailed, Remove},
        conn::ConnPool,
    },
    probe::{AUDITS, mutant},
    selector::{setup::Setup, target::Tunnel},
    time::{self, Duration},
    wire::{
        handshake::Proven,
        message::{DenyCode, Granted, ResetCode},
        preamble::Purpose,
    },
};

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
    pub(super) env: Env,
    pub(super) table: Table,
    pub(super) trunks: Trunks,
    pub(super) tunnels: TunnelConnectionManager<oneshot::Sender<ResetCode>>,
    grant: Grant,
    pub(super) link_options: link::Options,
    pool: Option<Addr<ConnPool>>,
    pub(super) groups: Groups,
    pub(super) joining: BTreeMap<JoinId, Join>,
    next_join: JoinId,
    pub(super) links: BTreeMap<Epoch, Live>,
    /// The tasks of data links; also of those whose registration has ended.
    pub(super) pumps: BTreeMap<LinkId, (Epoch, Task)>,
    timer: Option<SpawnHandle>,
}

/// A registration in force.
pub(super) struct Live {
    pub(super) link: Addr<ServerLink>,
    pub(super) gauges: Arc<LinkGauges>,
    pub(super) links: Arc<Links>,
    pub(super) client: ClientId,
    pub(super) peer: Option<SocketAddr>,
    /// The group of each of its upstreams.
    pub(super) groups: Vec<GroupName>,
}

impl Registry {
    /// The registry of the server process `boot`. Clients are asked for data links as far as `link_options` says.
    pub fn new(env: Env, boot: u64, options: Options, link_options: link::Options, grant: Grant) -> Self {
        Self {
            groups: Groups::new(env.clone()),
            env,
            table: Table::new(boot, options),
            trunks: Trunks::new(link_options.links),
            tunnels: TunnelConnectionManager::default(),
            grant,
            link_options,
            pool: None,
            joining: BTreeMap::new(),
            next_join: 0,
            links: BTreeMap::new(),
            pumps: BTreeMap::new(),
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
    /// Whether it opens data links when it is asked to.
    pub knows_links: bool,
    /// Its proof.
    pub proven: Proven,
    /// How long that was in coming.
    pub rtt: Duration,
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
    /// What it is for.
    pub purpose: Purpose,
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
    /// What carries it.
    pub ride: Ride,
    /// What ends it.
    pub abort: oneshot::Sender<ResetCode>,
}

/// A session has ended.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct SessionEnded(pub SessionId);

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
            (claim.purpose, claim.ticket),
            &claim.mac,
        )
    }
}

impl Handler<SessionDispatched> for Registry {
    type Result = ();

    fn handle(&mut self, dispatched: SessionDispatched, _ctx: &mut Self::Context) {
        // Also when the registration has just ended: the session may go on, and the end of a drain reaches it.
        if let Err(abort) = self
            .tunnels
            .insert(dispatched.session, dispatched.ride, dispatched.abort)
        {
            // What it rides on was lost a moment ago, and it may not have noticed yet.
            let _ = abort.send(ResetCode::LinkSilent);
        }
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
        let asked = self.request(epoch, Purpose::Proxy, count);
        if asked < count {
            self.fail_orders(epoch, count - asked);
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
            LinkEvent::ConnFailed(epoch, ticket) => match self.table.handle_ticket_failed(epoch, ticket) {
                Some(Purpose::Link) => self.trunks.handle_failed(time::now(), epoch),
                Some(_) => self.fail_orders(epoch, 1),
                None => {}
            },
            LinkEvent::Draining(epoch) => self.drain_client(ctx, epoch),
        }
        self.drive(ctx);
    }
}

/// How many groups that nobody visits a client is told of.
const UNVISITED_MAX: usize = 16;

impl Registry {
    /// Does what the cores say, and arms the timer for what they say next.
    pub(super) fn drive(&mut self, ctx: &mut Context<Self>) {
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
        while let Some(trunks::Action::Order(epoch)) = self.trunks.poll_action() {
            self.order_link(epoch);
        }
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.env.metrics.clients.set(count(self.table.len()));
        self.env.metrics.links.set(count(self.links.len()));
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        let due = self.table.poll_timeout().into_iter();
        if let Some(due) = due.chain(self.trunks.poll_timeout()).min() {
            let wait = due.saturating_duration_since(time::now());
            self.timer = Some(ctx.run_later(wait, |registry, ctx| {
                registry.timer = None;
                registry.table.handle_timeout(time::now());
                registry.trunks.handle_timeout(time::now());
                registry.drive(ctx);
            }));
        }
        if AUDITS {
            self.check();
        }
    }

    fn admit(&mut self, ctx: &mut Context<Self>, join: JoinId, epoch: Epoch) {
        let Some(join) = self.joining.remove(&join) else {
            return;
        };
        let served = join.serves.iter().map(|(group, _)| group);
        let unvisited: BTreeSet<_> = served.filter(|group| !self.groups.is_visited(group)).collect();
        for group in &unvisited {
            warn!(client = %join.client, %group, "no entry or rule leads to this group: its upstreams get no visitors");
        }
        let unvisited = unvisited.into_iter().take(UNVISITED_MAX).map(ToString::to_string);
        let granted = Granted {
            boot: epoch.boot(),
            counter: epoch.counter(),
            proxy_port: self.grant.proxy_port,
            proxy_address: self.grant.proxy_address.clone(),
            heartbeat_ms: u32::try_from(self.link_options.heartbeat.as_millis()).unwrap_or(u32::MAX),
            config_version: 0,
            window: self.link_options.window,
            max_streams: self.link_options.max_streams,
            half_closed_ms: u32::try_from(self.link_options.half_closed_timeout.as_millis())
                .unwrap_or(u32::MAX),
            unvisited: unvisited.collect(),
        };
        let gauges = Arc::new(LinkGauges::new(join.rtt));
        let links = Arc::new(Links::new(self.link_options.links));
        let first = join.proven.grant(granted);
        let peer = join.framed.peer_addr();
        let events = ctx.address().recipient();
        let shared = (epoch, Arc::clone(&gauges));
        let link = ServerLink::open(&self.env, join.framed, first, shared, &self.link_options, events);
        let upstreams = join.serves.len();
        info!(client = %join.client, peer = shown(peer), %epoch, upstreams, "client registered");
        self.env.metrics.registrations.inc();
        let groups = join.serves.iter().map(|(group, _)| group.clone()).collect();
        let client = join.client.clone();
        self.links.insert(
            epoch,
            Live {
                link,
                gauges: Arc::clone(&gauges),
                links: Arc::clone(&links),
                client,
                peer,
                groups,
            },
        );
        if let Some(pool) = &self.pool {
            pool.do_send(Add(epoch));
        }
        if join.knows_links {
            self.trunks.handle_joined(time::now(), epoch);
        }
        let joining = match upstreams > 1 && mutant!("only-first-upstream-joins") {
            true => 1,
            false => upstreams,
        };
        for (group, upstream) in join.serves.into_iter().take(joining) {
            let tunnel = Tunnel {
                client: join.client.clone(),
                epoch,
                upstream,
                link: Arc::clone(&gauges),
                links: Arc::clone(&links),
            };
            self.groups.join(&group, tunnel);
        }
    }

    fn deny(&mut self, join: JoinId, code: DenyCode, message: &'static str, retry_after: Option<Duration>) {
        let Some(mut join) = self.joining.remove(&join) else {
            return;
        };
        self.say_denied(&join, code, message);
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

    /// Says who was denied, and from where; of an id that is taken, also who holds it.
    fn say_denied(&self, join: &Join, code: DenyCode, message: &'static str) {
        let (client, peer) = (join.client.clone(), join.framed.peer_addr());
        let mut others = self.links.values().filter(|live| live.client == client);
        let held = others.next().filter(|_| code == DenyCode::DuplicateId);
        let held_by = held.and_then(|live| live.peer);
        let reason = code.label();
        self.env.notice("denied", format!("{client} {reason}"), move |n| {
            let (peer, held_by) = (shown(peer), shown(held_by));
            warn!(%client, peer, reason, held_by, times = times(n), "registration denied: {message}");
        });
    }

    fn evict(&mut self, epoch: Epoch, silent: bool, reason: &'static str) {
        let Some(live) = self.links.remove(&epoch) else {
            return;
        };
        let sessions = self.tunnels.count(epoch);
        info!(client = %live.client, %epoch, reason, sessions, "client left");
        self.env.metrics.links_lost.inc(reason);
        live.link.do_send(Close);
        self.trunks.handle_left(epoch);
        self.withdraw(epoch, &live.groups);
        if silent || mutant!("sessions-reset-with-registration") {
            // The sessions of a link that merely closed go on until they end.
            for abort in self.tunnels.remove_epoch(epoch) {
                let _ = abort.send(ResetCode::LinkSilent);
            }
        }
        self.end_links(epoch, &live.links, silent);
        self.groups.leave(&live.groups);
    }

    /// Asks a client for connections, as many as there are tickets for; returns how many.
    pub(super) fn request(&mut self, epoch: Epoch, purpose: Purpose, count: usize) -> usize {
        let Some(live) = self.links.get(&epoch) else {
            return 0;
        };
        let entropy = &self.env.entropy;
        let fresh = || ProxyConnId::new(entropy.bytes());
        let tickets = self.table.issue(time::now(), epoch, (purpose, count), fresh);
        let asked = tickets.len();
        if asked > 0 {
            live.link.do_send(RequestConns(purpose, tickets));
        }
        asked
    }

    /// Tells the pool that so many of its orders came to nothing.
    fn fail_orders(&self, epoch: Epoch, count: usize) {
        if let Some(pool) = &self.pool {
            pool.do_send(OrderFailed { key: epoch, count });
        }
    }

    /// Takes a registration out of every active set and out of the pool.
    pub(super) fn withdraw(&self, epoch: Epoch, groups: &[GroupName]) {
        self.groups.withdraw(epoch, groups);
        if let Some(pool) = &self.pool {
            pool.do_send(Remove(epoch));
        }
    }
}

/// An address as a field of a log line, if it is known.
fn shown(peer: Option<SocketAddr>) -> Option<tracing::field::DisplayValue<SocketAddr>> {
    peer.map(tracing::field::display)
}
