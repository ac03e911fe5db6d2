//! The server's end of a control connection. Owns heartbeats and what is said on the link; decides nothing
//! about who may register.

use std::sync::Arc;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Recipient};
use tokio::sync::mpsc;

use super::{
    Options,
    control::{self, Came, Closed, OUTBOX_LEN, Outbox},
    framed::Framed,
    gauges::LinkGauges,
    pulse::{Beat, Pulse},
};
use crate::{
    env::{Env, Task},
    id::{Epoch, ProxyConnId},
    time::{self, Duration},
    wire::message::{GoAway, HeartbeatAck, RequestNewProxyConn, ToClient, ToServer},
    wire::preamble::Purpose,
};

/// The server's link to one registered client.
pub struct ServerLink {
    epoch: Epoch,
    gauges: Arc<LinkGauges>,
    outbox: Option<Outbox<ToClient>>,
    events: Recipient<LinkEvent>,
    pulse: Pulse,
    task: Option<Task>,
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
        let (outbox, rx) = mpsc::channel(OUTBOX_LEN);
        let pulse = Pulse::listening(time::now(), options);
        outbox
            .try_send(first)
            .expect("an empty outbox takes the first message");
        Self::create(|ctx| {
            let me = ctx.address();
            let pump = control::run(framed, rx, me.clone().recipient(), me.recipient());
            let task = Some(env.spawn(pump));
            Self {
                epoch,
                gauges,
                outbox: Some(outbox),
                events,
                pulse,
                task,
                lost: false,
            }
        })
    }
}

/// Ask the client to open a proxy connection for each ticket.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RequestConns(pub Vec<ProxyConnId>);

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

    fn handle(&mut self, RequestConns(ids): RequestConns, ctx: &mut Self::Context) {
        let ids = ids
            .iter()
            .map(|id| serde_bytes::ByteBuf::from(*id.bytes()))
            .collect();
        let purpose = Purpose::Proxy as u8;
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
        self.pulse.handle_input(time::now());
        match message {
            ToServer::Heartbeat(beat) => {
                if beat.rtt > 0 {
                    self.gauges.measure_rtt(Duration::from_micros(beat.rtt));
                }
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
        match self.pulse.handle_timeout(time::now()) {
            Beat::Silent => self.lose(ctx, "silent", true),
            Beat::Nothing | Beat::Send => {
                let wait = self.pulse.poll_timeout().saturating_duration_since(time::now());
                ctx.run_later(wait, Self::drive);
            }
        }
    }

    fn say(&mut self, ctx: &mut Context<Self>, message: ToClient) {
        if let Some(outbox) = &self.outbox
            && outbox.try_send(message).is_err()
        {
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
            // What is still queued would never be taken; the socket goes at once.
            self.task = None;
        }
        self.end(ctx);
    }

    /// Closes the outbox: its pump writes what is queued and ends.
    fn end(&mut self, ctx: &mut Context<Self>) {
        self.outbox = None;
        if let Some(task) = self.task.take() {
            task.detach();
        }
        ctx.stop();
    }
}
