//! What kernels do by the clock: keepalive, TCP_USER_TIMEOUT, giving up, forgetting.

use std::{io, time::Duration};

use turmoil_net::EnterGuard;

use super::{
    book::{Ends, Holder},
    packet::reset,
    router::{Path, Router},
};
use crate::engine::Condition;

/// Silence after which a kernel asks whether the peer is there, and how many questions may go unanswered.
const KEEPALIVE: (Duration, u32) = (Duration::from_secs(15), 3);
/// How long bytes to a prompt reader may be stuck.
const USER_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks at keepalives and timeouts.
pub const WATCH: Duration = Duration::from_secs(5);
/// How long a kernel keeps a socket nobody holds (Linux's `tcp_fin_timeout`).
const LINGER_MAX: Duration = Duration::from_secs(60);

impl Router {
    /// Keepalive, TCP_USER_TIMEOUT, the retry budget, and the end of what lingers.
    pub(super) fn watch(&mut self, kernels: &EnterGuard, now: Duration) {
        let (mut over, mut gone, mut dead) = (Vec::new(), Vec::new(), Vec::new());
        let sockets: Vec<_> = self
            .book
            .with(|book| book.sockets.iter().map(|(e, s)| (*e, *s)).collect());
        for (ends, socket) in &sockets {
            let silent = now.saturating_sub(socket.heard);
            if socket.holder != Holder::Software {
                if silent > LINGER_MAX {
                    gone.push(*ends);
                }
                continue;
            }
            if socket.failed.is_some() {
                continue;
            }
            if let Some(since) = socket.stuck_since {
                let budget = match (socket.prompt_reader, self.options.retry_budget) {
                    (true, _) => USER_TIMEOUT,
                    (false, Some(budget)) => budget,
                    (false, None) => Duration::MAX,
                };
                if now.saturating_sub(since) > budget {
                    over.push(*ends);
                }
            } else if silent >= KEEPALIVE.0 {
                match self.probe(*ends) {
                    Probe::Answered => self.heard(*ends, now),
                    Probe::Unknown => dead.push(*ends),
                    Probe::Lost if socket.probes >= KEEPALIVE.1 => over.push(*ends),
                    Probe::Lost => self.book.with(|book| {
                        if let Some(socket) = book.sockets.get_mut(ends) {
                            socket.probes += 1;
                        }
                    }),
                }
            }
        }
        for (ends, kind) in over
            .iter()
            .map(|ends| (ends, io::ErrorKind::TimedOut))
            .chain(dead.iter().map(|ends| (ends, io::ErrorKind::ConnectionReset)))
        {
            self.fail(kernels, *ends, kind);
        }
        for ends in gone {
            self.hand(kernels, reset(ends.peer, ends.local));
            self.book.with(|book| book.sockets.remove(&ends));
        }
    }

    fn heard(&self, ends: Ends, now: Duration) {
        self.book.with(|book| {
            if let Some(socket) = book.sockets.get_mut(&ends) {
                (socket.heard, socket.probes) = (now, 0);
            }
        });
    }

    /// Whether the peer of a silent socket would answer.
    fn probe(&mut self, ends: Ends) -> Probe {
        let (Some(here), Some(there)) = (self.host(ends.local.ip()), self.host(ends.peer.ip())) else {
            return Probe::Lost;
        };
        let stopped = |path: &Path| path.is(Condition::Cut) || path.is(Condition::Clog);
        let black = self
            .book
            .with(|book| book.sockets.get(&ends).is_some_and(|socket| socket.black_hole));
        if black || self.dark[there] || stopped(self.path(here, there)) || stopped(self.path(there, here)) {
            return Probe::Lost;
        }
        let known = self.book.with(|book| {
            book.sockets
                .get(&ends.flip())
                .is_some_and(|peer| peer.failed.is_none())
        });
        if known { Probe::Answered } else { Probe::Unknown }
    }
}

/// What a keepalive probe comes to.
enum Probe {
    Answered,
    Unknown,
    Lost,
}
