//! The client's end of a control connection. Owns heartbeats and what is said on the link; never
//! reconnects, never opens a proxy connection.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Recipient};

use super::{
    Options,
    control::{Came, Closed, Line},
    framed::Framed,
    pulse::{Beat, Pulse},
};
use crate::{
    env::Env,
    id::ProxyConnId,
    metrics::Metrics,
    probe::mutant,
    time::{self, Duration, Instant},
    wire::{
        handshake::RETRY_AFTER_MAX,
        message::{GoAway, Heartbeat, ProxyConnFailed, RequestNewProxyConn, ResetCode, ToClient, ToServer},
        preamble::Purpose,
    },
};

/// The client's link to one server.
pub struct ClientLink {
    metrics: Arc<Metrics>,
    began: Instant,
    /// Sessions in flight, told with each heartbeat.
    load: Arc<AtomicUsize>,
    line: Line<ToServer>,
    events: Recipient<LinkEvent>,
    pulse: Pulse,
    seq: u64,
    measured: Option<Duration>,
    lost: bool,
}

impl ClientLink {
    /// Starts the link of a registration that the server has just granted.
    pub fn open(
        env: &Env,
        framed: Framed,
        options: &Options,
        load: Arc<AtomicUsize>,
        events: Recipient<LinkEvent>,
    ) -> Addr<Self> {
        let began = time::now();
        let pulse = Pulse::beating(began, options);
        Self::create(|ctx| {
            let me = ctx.address();
            let line = Line::open(env, framed, me.clone().recipient(), me.recipient());
            Self {
                metrics: Arc::clone(&env.metrics),
                began,
                load,
                line,
                events,
                pulse,
                seq: 0,
                measured: None,
                lost: false,
            }
        })
    }
}

/// Tell the server that this client drains.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct SayGoAway;

/// Tell the server that a connection it asked for could not be opened.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct SayConnFailed(pub ProxyConnId, pub ResetCode);

/// End the link without an event.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Close;

/// What a link tells the client.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub enum LinkEvent {
    /// The link has ended; `silent`: the server was declared dead, not heard to leave.
    Lost {
        /// Whether it fell silent.
        silent: bool,
        /// For logs.
        reason: &'static str,
    },
    /// The server wants these connections: proxy connections, or data links.
    ConnsRequested(Purpose, Vec<ProxyConnId>),
    /// The server drains; come back after this time.
    ServerDraining(Duration),
    /// The server will start nothing more here.
    DrainAcknowledged,
}

impl Actor for ClientLink {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.drive(ctx);
    }
}

impl Handler<SayGoAway> for ClientLink {
    type Result = ();

    fn handle(&mut self, _: SayGoAway, ctx: &mut Self::Context) {
        let reason = "the client is draining".to_owned();
        self.say(
            ctx,
            ToServer::GoAway(GoAway {
                reason,
                ..GoAway::default()
            }),
        );
    }
}

impl Handler<SayConnFailed> for ClientLink {
    type Result = ();

    fn handle(&mut self, SayConnFailed(id, code): SayConnFailed, ctx: &mut Self::Context) {
        self.refuse(ctx, id, code);
    }
}

impl Handler<Close> for ClientLink {
    type Result = ();

    fn handle(&mut self, _: Close, ctx: &mut Self::Context) {
        self.lost = true;
        self.end(ctx);
    }
}

impl Handler<Came<ToClient>> for ClientLink {
    type Result = ();

    fn handle(&mut self, Came(message): Came<ToClient>, ctx: &mut Self::Context) {
        let now = time::now();
        let missed = self.pulse.handle_input(now);
        self.metrics.heartbeats.missed.inc_by(missed.into());
        match message {
            ToClient::HeartbeatAck(ack) => {
                self.metrics.heartbeats.answered.inc();
                let sent = self.began + Duration::from_micros(ack.at);
                if let Some(rtt) = now.checked_duration_since(sent) {
                    self.measured = Some(rtt);
                }
            }
            ToClient::RequestNewProxyConn(request) => self.pass_on(ctx, &request),
            ToClient::Pong => {}
            ToClient::GoAway(away) => {
                self.say(ctx, ToServer::GoAwayAck);
                let retry_after = Duration::from_millis(away.retry_after_ms.into()).min(RETRY_AFTER_MAX);
                self.events.do_send(LinkEvent::ServerDraining(retry_after));
            }
            ToClient::GoAwayAck => self.events.do_send(LinkEvent::DrainAcknowledged),
            _ => self.lose(ctx, "violation", false),
        }
    }
}

impl Handler<Closed> for ClientLink {
    type Result = ();

    fn handle(&mut self, Closed(reason): Closed, ctx: &mut Self::Context) {
        self.lose(ctx, reason, false);
    }
}

impl ClientLink {
    fn drive(&mut self, ctx: &mut Context<Self>) {
        let now = time::now();
        match self.pulse.handle_timeout(now) {
            Beat::Silent => {
                self.metrics
                    .heartbeats
                    .missed
                    .inc_by(self.pulse.missed(now).into());
                return self.lose(ctx, "silent", true);
            }
            Beat::Send => self.beat(ctx, now),
            Beat::Nothing => {}
        }
        let wait = self.pulse.poll_timeout().saturating_duration_since(time::now());
        ctx.run_later(wait, Self::drive);
    }

    fn beat(&mut self, ctx: &mut Context<Self>, now: Instant) {
        self.seq += 1;
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let beat = Heartbeat {
            seq: self.seq,
            at: micros(now - self.began),
            load: u32::try_from(self.load.load(Ordering::Relaxed)).unwrap_or(u32::MAX),
            rtt: self.measured.map_or(0, micros),
        };
        if !mutant!("heartbeats-sent-not-counted") {
            self.metrics.heartbeats.sent.inc();
        }
        self.say(ctx, ToServer::Heartbeat(beat));
    }

    fn pass_on(&mut self, ctx: &mut Context<Self>, request: &RequestNewProxyConn) {
        let ids = request.ids.iter();
        let ids = ids.filter_map(|id| <[u8; 16]>::try_from(id.as_slice()).ok());
        let ids = ids.map(ProxyConnId::new);
        match Purpose::from_number(request.purpose) {
            Some(purpose @ (Purpose::Proxy | Purpose::Link)) => {
                self.events
                    .do_send(LinkEvent::ConnsRequested(purpose, ids.collect()));
            }
            // A newer server may ask for other kinds of connections; it hears that there are none, and does without.
            Some(Purpose::Control) | None => ids.for_each(|id| self.refuse(ctx, id, ResetCode::Unreachable)),
        }
    }

    fn refuse(&mut self, ctx: &mut Context<Self>, id: ProxyConnId, code: ResetCode) {
        let id = serde_bytes::ByteBuf::from(*id.bytes());
        let code = code.code();
        self.say(ctx, ToServer::ProxyConnFailed(ProxyConnFailed { id, code }));
    }

    fn say(&mut self, ctx: &mut Context<Self>, message: ToServer) {
        if !self.line.say(message) {
            self.lose(ctx, "outbox_full", true);
        }
    }

    fn lose(&mut self, ctx: &mut Context<Self>, reason: &'static str, silent: bool) {
        if !std::mem::replace(&mut self.lost, true) {
            self.events.do_send(LinkEvent::Lost { silent, reason });
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
