//! The way to a client: a proxy connection from the pool, or a stream of one of its data links.

use std::sync::Arc;

use actix::{Addr, Recipient};
use tokio::sync::oneshot;

use super::{Carriage, Options, Overflow};
use crate::{
    env::Env,
    id::Epoch,
    link::{
        carrier::Carrier,
        links::{Links, Place},
    },
    pool::{
        actor::Take,
        conn::{Conn, ConnPool, Job, Lender},
    },
    probe::{mutant, sometimes},
    registry::{data_links::WantLink, tunnels::Ride},
    target::Tunnel,
    time::Instant,
};

/// Finds ways to clients, for sessions and probes of one kind.
#[derive(Clone)]
pub struct Ways {
    /// The world.
    pub env: Env,
    /// Where proxy connections are taken from.
    pub pool: Addr<ConnPool>,
    /// Who is asked for more data links.
    pub more: Recipient<WantLink>,
    /// What carries sessions.
    pub carry: Carriage,
    /// What happens where no proxy connection is ready.
    pub overflow: Overflow,
}

/// A way to a client, for one job.
pub enum Way {
    /// A proxy connection.
    Conn(Epoch, Lender),
    /// A stream of a data link.
    Stream(Epoch, Place),
}

impl Ways {
    /// The ways of sessions that behave like this.
    pub fn new(env: &Env, pool: &Addr<ConnPool>, more: Recipient<WantLink>, options: &Options) -> Self {
        Self {
            env: env.clone(),
            pool: pool.clone(),
            more,
            carry: options.carry,
            overflow: options.overflow,
        }
    }

    /// A way to `tunnel`, by `deadline`; `None` when there is none: the pool may be at its limit, or the client on
    /// its way out.
    ///
    /// A stream costs nothing but a place on a link. Where a link is missing or has no room, a proxy connection is
    /// waited for, whatever is preferred: a visitor matters more than what carries it. Where every link has fallen silent, a
    /// proxy connection that is ready is preferred.
    pub fn find(
        &self,
        tunnel: &Tunnel,
        deadline: Instant,
    ) -> impl Future<Output = Option<Way>> + Send + 'static {
        let silent = self.carry == Carriage::Mux && tunnel.links.are_silent();
        let at_once = match self.carry {
            Carriage::Mux if !silent => self.open(tunnel),
            Carriage::Mux | Carriage::Dedicated => None,
        };
        let either = silent || (self.carry, self.overflow) == (Carriage::Dedicated, Overflow::Mux);
        let ways = self.clone();
        let (epoch, links) = (tunnel.epoch, Arc::clone(&tunnel.links));
        async move {
            if at_once.is_some() {
                return at_once;
            }
            if either {
                if let Some(lender) = ways.take(epoch, deadline, false).await {
                    sometimes!(silent, "silent-link-left-for-connection");
                    return Some(Way::Conn(epoch, lender));
                }
                if let Some(place) = links.open() {
                    sometimes!(!silent, "session-overflowed-to-link");
                    ways.ask_for_more(epoch, &links);
                    return Some(Way::Stream(epoch, place));
                }
                ways.ask_for_more(epoch, &links);
            }
            let lender = ways.take(epoch, deadline, true).await?;
            Some(Way::Conn(epoch, lender))
        }
    }

    fn open(&self, tunnel: &Tunnel) -> Option<Way> {
        let place = tunnel.links.open();
        self.ask_for_more(tunnel.epoch, &tunnel.links);
        sometimes!(place.is_none(), "link-had-no-room");
        Some(Way::Stream(tunnel.epoch, place?))
    }

    fn ask_for_more(&self, epoch: Epoch, links: &Links) {
        if links.wants_another() {
            self.more.do_send(WantLink(epoch));
        }
    }

    async fn take(&self, key: Epoch, deadline: Instant, wait: bool) -> Option<Lender> {
        let (reply, lender) = oneshot::channel();
        self.pool.do_send(Take {
            key,
            wait,
            deadline,
            reply,
        });
        lender.await.ok()
    }
}

impl Way {
    /// What a session rides on that goes this way.
    pub fn ride(&self) -> Ride {
        match self {
            Self::Conn(epoch, _) => Ride::on_proxy(*epoch),
            Self::Stream(epoch, place) => Ride::on_link(*epoch, place.link, place.stream.number()),
        }
    }

    /// Has `job` done at the other end of it. Where that is not to be, the job is dropped.
    pub fn run(self, env: &Env, job: Box<dyn Job>) {
        match self {
            Self::Conn(_, lender) => lender.run(job),
            Self::Stream(_, place) => {
                let conn = Conn::new(Carrier::Mux(place.stream));
                let run = job.run(conn);
                let run = async move {
                    // Whatever came of it: a stream carries one session.
                    let done = run.await;
                    if mutant!("finished-stream-never-dropped") {
                        std::mem::forget(done);
                    }
                };
                env.spawn(run).detach();
            }
        }
    }
}
