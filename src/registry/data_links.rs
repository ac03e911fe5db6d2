//! The registry's side of data links: asks clients for them, takes in those that come, lets go of those that are lost.

use actix::{Handler, Message};
use tracing::debug;

use super::actor::Registry;
use crate::{
    id::{Epoch, LinkId},
    link::framed::Framed,
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
}

impl Handler<LinkArrived> for Registry {
    type Result = ();

    fn handle(&mut self, LinkArrived { epoch, framed }: LinkArrived, ctx: &mut Self::Context) {
        match self.trunks.handle_arrived(time::now(), epoch) {
            Some(link) => {
                debug!(%epoch, %link, "data link open");
                self.tunnels.insert_link(epoch, link);
                self.open_link(epoch, link, framed);
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
        self.trunks.handle_demand(time::now(), epoch);
        self.drive(ctx);
    }
}

impl Handler<LinkLost> for Registry {
    type Result = ();

    fn handle(&mut self, LinkLost { epoch, link }: LinkLost, ctx: &mut Self::Context) {
        self.lose_link(epoch, link);
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

    /// A data link is open. Nothing is carried on one yet: it is closed again.
    fn open_link(&mut self, epoch: Epoch, link: LinkId, framed: Framed) {
        drop(framed);
        self.lose_link(epoch, link);
    }

    /// Forgets a data link, and ends what it carried.
    fn lose_link(&mut self, epoch: Epoch, link: LinkId) {
        debug!(%epoch, %link, "data link lost");
        self.trunks.handle_lost(time::now(), epoch, link);
        for abort in self.tunnels.remove_link(epoch, link) {
            // A session that has noticed by itself needs no push.
            let _ = abort.send(ResetCode::LinkSilent);
        }
    }
}
