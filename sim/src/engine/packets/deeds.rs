//! What is done to the network: conditions of ways, power, single connections.

use std::{io, net::SocketAddr, time::Duration};

use turmoil_net::EnterGuard;

use super::{
    book::{Ends, Socket},
    packet::{sent_again, still_connecting, tcp_of},
    router::Router,
};
use crate::engine::{Condition, FlowDeed, FlowPick};

impl Router {
    /// Begins or ends a condition of a way.
    pub fn set(&mut self, now: Duration, from: usize, to: usize, condition: Condition, begins: bool) {
        let path = self.path(from, to);
        if begins {
            path.conditions.push(condition);
            return;
        }
        if let Some(at) = path.conditions.iter().position(|one| *one == condition) {
            path.conditions.remove(at);
        }
        self.release(now, from, to);
    }

    /// Sends on what was held, when nothing holds it any more.
    fn release(&mut self, now: Duration, from: usize, to: usize) {
        let dark = self.dark[to];
        let path = self.path(from, to);
        if dark || path.is(Condition::Cut) || path.is(Condition::Clog) {
            return;
        }
        for (since, mut packet) in std::mem::take(&mut path.held) {
            let Some((ends, segment)) = tcp_of(&mut packet) else {
                continue;
            };
            let (len, flags) = (segment.payload.len(), segment.flags);
            if flags.syn && !flags.ack && !still_connecting(ends) {
                continue;
            }
            self.book.with(|book| {
                if let Some(socket) = book.sockets.get_mut(&ends) {
                    socket.stuck_since = None;
                }
            });
            let again = sent_again(since, now, flags.syn);
            let at = self.arrival(again, (from, to), len, flags.syn);
            self.schedule(at, packet);
        }
    }

    /// Takes the power of a host away, or gives it back.
    pub fn set_dark(&mut self, now: Duration, host: usize, dark: bool) {
        self.dark[host] = dark;
        if dark {
            let ip = self.hosts[host];
            self.book
                .with(|book| book.sockets.retain(|ends, _| ends.local.ip() != ip));
        } else {
            for from in 0..self.hosts.len() {
                self.release(now, from, host);
            }
        }
    }

    /// Does something to one connection. Whether there is one.
    pub fn flow(&mut self, kernels: &EnterGuard, pick: FlowPick, deed: FlowDeed) -> bool {
        let (from, to) = (
            self.hosts[pick.host],
            SocketAddr::new(self.hosts[pick.to], pick.port),
        );
        let flows: Vec<_> = self.book.with(|book| {
            let live = |ends: &Ends, socket: &Socket| {
                ends.peer == to && socket.connected && socket.failed.is_none() && !socket.black_hole
            };
            book.held_by(from)
                .filter(|(ends, socket)| live(ends, socket))
                .map(|(ends, _)| ends)
                .collect()
        });
        if flows.is_empty() {
            return false;
        }
        let ends = flows[pick.nth % flows.len()];
        match deed {
            FlowDeed::Spare => {
                let both: Vec<_> = flows.iter().flat_map(|ends| [*ends, ends.flip()]).collect();
                self.change(&both, |socket| socket.reset_at = None);
            }
            FlowDeed::Reset => self.reset_both(kernels, ends),
            FlowDeed::ResetNear => self.fail(kernels, ends, io::ErrorKind::ConnectionReset),
            FlowDeed::ResetLost => {
                self.fail(kernels, ends, io::ErrorKind::ConnectionReset);
                self.swallow(ends);
            }
            FlowDeed::BlackHole => self.swallow(ends),
            FlowDeed::ResetAfter(bytes) => {
                self.change(&[ends], |socket| socket.reset_at = Some(socket.sent + bytes))
            }
            FlowDeed::ResetAfterReply(bytes) => {
                self.change(&[ends.flip()], |socket| {
                    socket.reset_at = Some(socket.sent + bytes)
                });
            }
        }
        true
    }

    /// Nothing passes on a connection any more, either way, and nobody is told.
    fn swallow(&self, ends: Ends) {
        self.book.with(|book| book.black_holes = true);
        self.change(&[ends, ends.flip()], |socket| socket.black_hole = true);
    }

    fn change(&self, which: &[Ends], change: impl Fn(&mut Socket)) {
        self.book.with(|book| {
            for ends in which {
                if let Some(socket) = book.sockets.get_mut(ends) {
                    change(socket);
                }
            }
        });
    }
}
