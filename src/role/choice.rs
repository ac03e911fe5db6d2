//! Who is chosen among addresses: those of a forwarder's list, or those of a client's upstream.

use std::{net::SocketAddr, sync::Arc};

use actix::{Actor, Addr, AsyncContext};
use tokio::sync::watch;

use super::{Local, targets};
use crate::{
    candidates::Candidate,
    config::GroupConfig,
    env::Env,
    id::{ClientId, GroupName, UpstreamName},
    pool::dial::open_pool,
    prober::probe,
    selector::{
        actor::{Retire, Selector},
        group::Group,
        setup::{Alone, Setup, Warm},
    },
    session::{
        approach::{Approach, Overtaken},
        names,
    },
    time::Duration,
};

/// How a choice is made.
pub(super) struct Terms {
    /// What the group is called.
    pub name: GroupName,
    /// Who is chosen, who may be, and what is kept ready.
    pub options: GroupConfig,
    /// How long one connect may take.
    pub connect_timeout: Duration,
    /// How many may wait for a target.
    pub waiting_max: usize,
    /// Whether names are asked for anew as soon as somebody was sent where nobody is.
    pub asks_names: bool,
    /// When an address without rivals is probed.
    pub alone: Alone,
    /// Whether an address that scores too little is left out at the next evaluation, also where there are few.
    pub best_only: bool,
    /// The client and the upstream whose addresses they are, for logs.
    pub serves: Option<(ClientId, UpstreamName)>,
}

/// The actors that choose, and the way to what they chose. When it is dropped, nothing is probed or kept warm any more; sessions
/// that were started with it go on.
pub(super) struct Choice {
    /// Who judges.
    pub selector: Addr<Selector<SocketAddr>>,
    /// The way for sessions.
    pub approach: Approach,
    _follower: Local,
}

impl Choice {
    /// Begins to choose among what `list` names. Must run inside a `LocalSet`.
    pub fn start(env: &Env, terms: Terms, list: watch::Receiver<Arc<Vec<Candidate>>>) -> Self {
        let Terms { name, options, .. } = terms;
        let group = Group::new(name);
        let mut pool = None;
        let selector = Selector::create(|ctx| {
            if !options.pool.keeps_none() {
                let dialled = ctx.address().downgrade().recipient();
                pool = Some(open_pool(env, options.pool, terms.connect_timeout, dialled));
            }
            let warm = pool.clone().map(|pool| Warm {
                add: pool.clone().recipient(),
                remove: pool.recipient(),
            });
            let setup = Setup {
                selector: options.selector,
                probe: probe::of_addresses(env, &options.probing.kind),
                probing: options.probing,
                scoring: options.scoring,
                alone: terms.alone,
                best_only: terms.best_only,
                serves: terms.serves,
                warm,
            };
            Selector::new(env, Arc::clone(&group), setup)
        });
        let (names, answers) = names::channel();
        let approach = Approach {
            env: env.clone(),
            group,
            strategy: options.balance,
            pool,
            names: terms.asks_names.then_some(names),
            reports: selector.clone().recipient(),
            connect_timeout: terms.connect_timeout,
            waiting_max: terms.waiting_max,
            overtaken: Overtaken::default(),
        };
        let follower = targets::follow(env.clone(), selector.clone(), list, answers);
        Self {
            selector,
            approach,
            _follower: Local(tokio::task::spawn_local(follower)),
        }
    }
}

impl Drop for Choice {
    fn drop(&mut self) {
        self.selector.do_send(Retire);
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use tokio::{io::AsyncReadExt, net::TcpListener, task};

    use super::*;
    use crate::{candidates::Place, env::Stop, selector::actor::ReadStatus, time};

    /// A choice of the one address that `listener` has, after it was told of it, and its list.
    async fn chosen(listener: &TcpListener) -> (Choice, watch::Sender<Arc<Vec<Candidate>>>) {
        let (_, stop) = Stop::channel();
        let env = Env::production(stop);
        let candidate = Candidate {
            place: Place::Address(listener.local_addr().unwrap()),
            weight: 1,
        };
        let (list, candidates) = watch::channel(Arc::new(vec![candidate]));
        let terms = Terms {
            name: GroupName::new("g").unwrap(),
            options: GroupConfig::default(),
            connect_timeout: Duration::from_secs(1),
            waiting_max: 1,
            asks_names: false,
            alone: Alone::Always,
            best_only: true,
            serves: None,
        };
        let choice = Choice::start(&env, terms, candidates);
        while choice.selector.send(ReadStatus).await.unwrap().targets.is_empty() {
            time::sleep(Duration::from_millis(1)).await;
        }
        (choice, list)
    }

    async fn run(test: impl Future<Output = ()>) {
        let ended = time::within(Duration::from_secs(20), task::LocalSet::new().run_until(test)).await;
        assert!(ended.is_some(), "it goes on");
    }

    #[tokio::test]
    async fn nothing_of_it_outlives_it() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (choice, _list) = chosen(&listener).await;
            // A stream is kept warm, and the pool knows whom to tell.
            drop(listener.accept().await.unwrap());
            let selector = choice.selector.downgrade();
            drop(choice);
            while selector.upgrade().is_some_and(|left| left.connected()) {
                time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_session_that_outlives_it_keeps_nothing_warm_and_nobody_probed() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (choice, _list) = chosen(&listener).await;
            let open = Rc::new(Cell::new(0));
            let counted = Rc::clone(&open);
            task::spawn_local(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let open = Rc::clone(&counted);
                    open.set(open.get() + 1);
                    task::spawn_local(async move {
                        let _ = stream.read(&mut [0]).await;
                        open.set(open.get() - 1);
                    });
                }
            });
            while open.get() < 2 {
                time::sleep(Duration::from_millis(1)).await;
            }
            let (session, selector) = (choice.approach.clone(), choice.selector.clone());
            drop(choice);
            while selector.connected() || open.get() > 0 {
                time::sleep(Duration::from_millis(1)).await;
            }
            drop(session);
        })
        .await;
    }
}
