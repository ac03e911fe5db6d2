//! Dials addresses, for their pool and for whoever does not wait for one. Decides nothing: it dials what is ordered.

use std::{io, net::SocketAddr};

use actix::{Actor, AsyncContext, Context, Handler, Message, WeakAddr, WeakRecipient};

use super::{
    Options,
    actor::{Arrived, Order, OrderFailed, Pool},
    address::{AddressPool, Raw},
    shelf::ORDER_TIMEOUT,
};
use crate::{
    env::Env,
    time::{self, Duration},
    transport::Stream,
};

/// Connects to `addr` within `timeout`, and says how long it took.
///
/// # Errors
/// What the operating system says; [`io::ErrorKind::TimedOut`] when time ran out.
pub async fn connect(
    env: &Env,
    addr: SocketAddr,
    timeout: Duration,
) -> io::Result<(Box<dyn Stream>, Duration)> {
    let began = time::now();
    let connected = time::within(timeout, env.transport.connect(addr)).await;
    let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {timeout:?}"));
    let stream = connected.unwrap_or_else(|| Err(late()))?;
    Ok((stream, time::now().saturating_duration_since(began)))
}

/// Starts a pool of streams to addresses, with its dialler. It ends when the last address of its actor is dropped.
pub fn open_pool(
    env: &Env,
    options: Options,
    connect_timeout: Duration,
    dialled: WeakRecipient<Dialled>,
) -> actix::Addr<AddressPool> {
    AddressPool::create(|ctx| {
        let dialler = Dialler::new(env.clone(), ctx.address().downgrade(), connect_timeout, dialled);
        Pool::new(env.clone(), options, dialler.start().recipient())
    })
}

/// The dialler of one pool.
pub struct Dialler {
    env: Env,
    /// Not held: a pool that nobody uses any more ends, and its dialler with it.
    pool: WeakAddr<AddressPool>,
    timeout: Duration,
    /// Not held either: whoever listens keeps the pool, and would keep itself.
    dialled: WeakRecipient<Dialled>,
}

impl Dialler {
    /// Dials for `pool`, each for at most `timeout` or as long as an order may take, and tells `dialled`.
    pub fn new(
        env: Env,
        pool: WeakAddr<AddressPool>,
        timeout: Duration,
        dialled: WeakRecipient<Dialled>,
    ) -> Self {
        Self {
            env,
            pool,
            timeout: timeout.min(ORDER_TIMEOUT),
            dialled,
        }
    }
}

/// Event: a target was dialled; as good as a probe.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Dialled {
    /// The target.
    pub addr: SocketAddr,
    /// How long the connect took, or why there was none.
    pub result: Result<Duration, io::ErrorKind>,
    /// How long it took in either case.
    pub took: Duration,
    /// Why there was none, in words; empty otherwise.
    pub why: String,
}

impl Actor for Dialler {
    type Context = Context<Self>;
}

impl Handler<Order<SocketAddr>> for Dialler {
    type Result = ();

    fn handle(&mut self, Order { key, count }: Order<SocketAddr>, _ctx: &mut Self::Context) {
        for _ in 0..count {
            let (env, pool, dialled) = (self.env.clone(), self.pool.clone(), self.dialled.clone());
            let timeout = self.timeout;
            // Ends by its deadline, and the pool bounds how many there are.
            let dial = async move { dial(&env, key, timeout, &pool, &dialled).await };
            self.env.spawn(dial).detach();
        }
    }
}

async fn dial(
    env: &Env,
    addr: SocketAddr,
    timeout: Duration,
    pool: &WeakAddr<AddressPool>,
    dialled: &WeakRecipient<Dialled>,
) {
    let began = time::now();
    let connected = connect(env, addr, timeout).await;
    let took = time::now().saturating_duration_since(began);
    let result = match &connected {
        Ok((_, took)) => Ok(*took),
        Err(error) => Err(error.kind()),
    };
    if let Some(dialled) = dialled.upgrade() {
        let why = connected
            .as_ref()
            .err()
            .map(io::Error::to_string)
            .unwrap_or_default();
        dialled.do_send(Dialled {
            addr,
            result,
            took,
            why,
        });
    }
    // A pool that is no more has no use for the stream.
    let Some(pool) = pool.upgrade() else { return };
    match connected {
        Ok((stream, _)) => pool.do_send(Arrived {
            key: addr,
            conn: Raw::new(stream),
        }),
        Err(_) => pool.do_send(OrderFailed { key: addr, count: 1 }),
    }
}
