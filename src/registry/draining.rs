//! How clients leave in good order, and how the server does.

use actix::{AsyncContext, Context, Handler, Message};
use tracing::info;

use super::actor::Registry;
use crate::{
    id::Epoch,
    link::server::{SayGoAway, SayGoAwayAck},
    time::Duration,
    wire::message::ResetCode,
};

/// How often a draining client's last starts are looked at, until its `GoAway` can be acknowledged.
const ACK_POLL: Duration = Duration::from_millis(20);

/// When clients come back to a server that drains.
const DRAIN_RETRY: Duration = Duration::from_secs(1);

/// Admit nobody, tell every client that the server drains.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Drain;

/// Reset every session that still runs, and end every link.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct EndAll;

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
    pub(super) fn drain_client(&mut self, ctx: &mut Context<Self>, epoch: Epoch) {
        if let Some(live) = self.links.get(&epoch) {
            info!(client = %live.client, "client drains");
            self.table.handle_draining(epoch);
            self.trunks.handle_left(epoch);
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
