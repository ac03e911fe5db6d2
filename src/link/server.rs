//! The server's end of a control connection. Owns heartbeats and what is said on the link; decides nothing
//! about who may register.

use std::sync::Arc;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Recipient};

use super::{
    Options,
    control::{Came, Closed, Line},
    framed::Framed,
    gauges::LinkGauges,
    pulse::{Beat, Pulse},
};
use crate::{
    env::Env,
    id::{Epoch, ProxyConnId},
    metrics::Metrics,
    time::{self, Duration},
    wire::message::{GoAway, HeartbeatAck, RequestNewProxyConn, ToClient, ToServer},
    wire::preamble::Purpose,
};

/// The server's link to one registered client.
pub struct ServerLink {
    metrics: Arc<Metrics>,
    epoch: Epoch,
    gauges: Arc<LinkGauges>,
    line: Line<ToClient>,
    events: Recipient<LinkEvent>,
    pulse: Pulse,
    lost: bool,
}

impl ServerLink {
    /// Starts the link of a registration; `first` is what the client hears before anything else.
    pub fn open(
        env: &Env,
        framed: Framed,
        first: ToClient,
        (epoch, gauges): (Epoch, Arc<LinkGauges>),
        options: &Options,
        events: Recipient<LinkEvent>,
    ) -> Addr<Self> {
        let pulse = Pulse::listening(time::now(), options);
        Self::create(|ctx| {
            let me = ctx.address();
            let line = Line::open(env, framed, me.clone().recipient(), me.recipient());
            line.say(first);
            Self {
                metrics: Arc::clone(&env.metrics),
                epoch,
                gauges,
                line,
                events,
                pulse,
                lost: false,
            }
        })
    }
}

/// Ask the client to open a connection of this purpose for each ticket.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RequestConns(pub Purpose, pub Vec<ProxyConnId>);

/// Ask the client whether it is there; the answer is [`LinkEvent::Answered`].
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Probe;

/// Tell the client that the server drains.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct SayGoAway {
    /// When to come back.
    pub retry_after: Duration,
}

/// Tell the client that its own drain is understood and no `Start` follows.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct SayGoAwayAck;

/// End the link without an event.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Close;

/// What a link tells the registry.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum LinkEvent {
    /// The link has ended; `silent`: the client was declared dead, not heard to leave.
    Lost {
        /// The registration.
        epoch: Epoch,
        /// Whether it fell silent.
        silent: bool,
        /// For logs and metrics.
        reason: &'static str,
    },
    /// The client answered a probe.
    Answered(Epoch),
    /// The client could not open this connection.
    ConnFailed(Epoch, ProxyConnId),
    /// The client drains.
    Draining(Epoch),
}

impl Actor for ServerLink {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.drive(ctx);
    }
}

impl Handler<RequestConns> for ServerLink {
    type Result = ();

    fn handle(&mut self, RequestConns(purpose, ids): RequestConns, ctx: &mut Self::Context) {
        let ids = ids
            .iter()
            .map(|id| serde_bytes::ByteBuf::from(*id.bytes()))
            .collect();
        let purpose = purpose as u8;
        self.say(
            ctx,
            ToClient::RequestNewProxyConn(RequestNewProxyConn { ids, purpose }),
        );
    }
}

impl Handler<Probe> for ServerLink {
    type Result = ();

    fn handle(&mut self, _: Probe, ctx: &mut Self::Context) {
        self.say(ctx, ToClient::Ping);
    }
}

impl Handler<SayGoAway> for ServerLink {
    type Result = ();

    fn handle(&mut self, SayGoAway { retry_after }: SayGoAway, ctx: &mut Self::Context) {
        let retry_after_ms = u32::try_from(retry_after.as_millis()).unwrap_or(u32::MAX);
        let reason = "the server is draining".to_owned();
        self.say(
            ctx,
            ToClient::GoAway(GoAway {
                reason,
                retry_after_ms,
                servers: Vec::new(),
            }),
        );
    }
}

impl Handler<SayGoAwayAck> for ServerLink {
    type Result = ();

    fn handle(&mut self, _: SayGoAwayAck, ctx: &mut Self::Context) {
        self.say(ctx, ToClient::GoAwayAck);
    }
}

impl Handler<Close> for ServerLink {
    type Result = ();

    fn handle(&mut self, _: Close, ctx: &mut Self::Context) {
        self.lost = true;
        self.end(ctx);
    }
}

impl Handler<Came<ToServer>> for ServerLink {
    type Result = ();

    fn handle(&mut self, Came(message): Came<ToServer>, ctx: &mut Self::Context) {
        let missed = self.pulse.handle_input(time::now());
        self.metrics.heartbeats.missed.inc_by(missed.into());
        match message {
            ToServer::Heartbeat(beat) => {
                if beat.rtt > 0 {
                    self.gauges.measure_rtt(Duration::from_micros(beat.rtt));
                }
                self.metrics.heartbeats.answered.inc();
                self.say(
                    ctx,
                    ToClient::HeartbeatAck(HeartbeatAck {
                        seq: beat.seq,
                        at: beat.at,
                    }),
                );
            }
            ToServer::Pong => self.events.do_send(LinkEvent::Answered(self.epoch)),
            ToServer::ProxyConnFailed(failed) => {
                if let Ok(id) = <[u8; 16]>::try_from(failed.id.as_slice()) {
                    self.events
                        .do_send(LinkEvent::ConnFailed(self.epoch, ProxyConnId::new(id)));
                }
            }
            ToServer::GoAway(_) => self.events.do_send(LinkEvent::Draining(self.epoch)),
            ToServer::GoAwayAck => {}
            _ => self.lose(ctx, "violation", false),
        }
    }
}

impl Handler<Closed> for ServerLink {
    type Result = ();

    fn handle(&mut self, Closed(reason): Closed, ctx: &mut Self::Context) {
        self.lose(ctx, reason, false);
    }
}

impl ServerLink {
    fn drive(&mut self, ctx: &mut Context<Self>) {
        let now = time::now();
        match self.pulse.handle_timeout(now) {
            Beat::Silent => {
                self.metrics
                    .heartbeats
                    .missed
                    .inc_by(self.pulse.missed(now).into());
                self.lose(ctx, "silent", true);
            }
            Beat::Nothing | Beat::Send => {
                let wait = self.pulse.poll_timeout().saturating_duration_since(time::now());
                ctx.run_later(wait, Self::drive);
            }
        }
    }

    fn say(&mut self, ctx: &mut Context<Self>, message: ToClient) {
        if !self.line.say(message) {
            self.lose(ctx, "outbox_full", true);
        }
    }

    fn lose(&mut self, ctx: &mut Context<Self>, reason: &'static str, silent: bool) {
        if !std::mem::replace(&mut self.lost, true) {
            self.events.do_send(LinkEvent::Lost {
                epoch: self.epoch,
                silent,
                reason,
            });
        }
        if silent {
            self.line.cut();
        }
        self.end(ctx);
    }

    fn end(&mut self, ctx: &mut Context<Self>) {
        self.line.close();
        ctx.stop();
    }
}
