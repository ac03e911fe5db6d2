//! The registry's side of data links: asks clients for them, takes in those that come, lets go of those that are lost.

use std::sync::Arc;

use actix::{AsyncContext, Context, Handler, Message};
use tracing::debug;

use super::actor::Registry;
use crate::{
    id::{Epoch, LinkId},
    link::{data_link::DataLink, framed::Framed, links::Links, mux::Side, pump},
    probe::sometimes,
    time,
    wire::{message::ResetCode, preamble::Purpose},
};

/// A data link has come and is proved.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LinkArrived {
    /// The registration it belongs to.
    pub epoch: Epoch,
    /// The connection, behind its handshake.
    pub framed: Framed,
}

/// A session found no room on the data links of this registration.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct WantLink(pub Epoch);

/// A data link is no more.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct LinkLost {
    /// The registration it belonged to.
    pub epoch: Epoch,
    /// Which one.
    pub link: LinkId,
    /// For logs and metrics.
    pub reason: &'static str,
}

impl Handler<LinkArrived> for Registry {
    type Result = ();

    fn handle(&mut self, LinkArrived { epoch, framed }: LinkArrived, ctx: &mut Self::Context) {
        match self.trunks.handle_arrived(time::now(), epoch) {
            Some(link) => {
                debug!(%epoch, %link, "data link open");
                self.tunnels.insert_link(epoch, link);
                self.open_link(ctx, epoch, link, framed);
            }
            // Its registration has ended or drains, or its order was given up and filled again.
            None => drop(framed),
        }
        self.drive(ctx);
    }
}

impl Handler<WantLink> for Registry {
    type Result = ();

    fn handle(&mut self, WantLink(epoch): WantLink, ctx: &mut Self::Context) {
        let now = time::now();
        let retired = self.links.get(&epoch).map(|live| live.links.take_retired());
        for link in retired.unwrap_or_default() {
            sometimes!("data-link-replaced");
            self.trunks.handle_retired(now, epoch, link);
        }
        self.trunks.handle_demand(now, epoch);
        self.drive(ctx);
    }
}

impl Handler<LinkLost> for Registry {
    type Result = ();

    fn handle(&mut self, lost: LinkLost, ctx: &mut Self::Context) {
        self.lose_link(lost);
        self.drive(ctx);
    }
}

impl Registry {
    /// Asks a client for one more data link.
    pub(super) fn order_link(&mut self, epoch: Epoch) {
        if self.request(epoch, Purpose::Link, 1) == 0 {
            self.trunks.handle_failed(time::now(), epoch);
        }
    }

    /// A data link is open: sessions may ride on it.
    fn open_link(&mut self, ctx: &mut Context<Self>, epoch: Epoch, id: LinkId, framed: Framed) {
        let Some(live) = self.links.get(&epoch) else {
            return;
        };
        let link = DataLink::new(Side::Opener, self.link_options.mux(), &self.env.metrics);
        live.links.add(id, Arc::clone(&link));
        let (metrics, registry) = (Arc::clone(&self.env.metrics), ctx.address());
        let task = self.env.spawn(async move {
            // Clients open no streams.
            let ended = pump::run(link, framed.into_stream(), metrics, drop).await;
            registry.do_send(LinkLost {
                epoch,
                link: id,
                reason: ended.label(),
            });
        });
        self.pumps.insert(id, (epoch, task));
    }

    /// Forgets a data link, and ends what it carried.
    fn lose_link(&mut self, LinkLost { epoch, link, reason }: LinkLost) {
        debug!(%epoch, %link, reason, "data link lost");
        self.env.metrics.data_links_lost.inc(reason);
        if let Some((_, task)) = self.pumps.remove(&link) {
            task.detach();
        }
        if let Some(live) = self.links.get(&epoch) {
            live.links.remove(link);
        }
        self.trunks.handle_lost(time::now(), epoch, link);
        let carried = self.tunnels.remove_link(epoch, link);
        sometimes!(!carried.is_empty(), "link-lost-with-sessions");
        for abort in carried {
            // A session that has noticed by itself needs no push.
            let _ = abort.send(ResetCode::LinkSilent);
        }
    }
    /// Lets the data links of a registration that has ended carry on to the end of what they carry, or not even that.
    pub(super) fn end_links(&mut self, epoch: Epoch, links: &Links, silent: bool) {
        if !silent {
            links.leave();
            return;
        }
        let metrics = &self.env.metrics;
        self.pumps.retain(|_, (of, _)| {
            let keep = *of != epoch;
            if !keep {
                metrics.data_links_lost.inc("link_silent");
            }
            keep
        });
    }
}
