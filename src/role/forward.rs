//! The forwarder: one local entry, and the best of many candidates behind it.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, sync::Arc};

use actix::Addr;
use arc_swap::ArcSwap;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    Local, StartError,
    choice::{Choice, Terms},
    listen,
    operators::Operators,
    updates::{Update, Updates},
};
use crate::{
    admin::Readiness,
    candidates::Candidate,
    config::{ForwardConfig, GroupConfig},
    entry::direct::{self, Running},
    env::{Env, StopPhase},
    id::GroupName,
    probe::{audit, mutant},
    selector::{
        actor::Selector,
        group::{Group, Unusable},
        setup::Alone,
    },
    session::{first_bytes::ReplayBudget, forward::Forwarding},
    time::{self, Duration},
    transport::Listener,
};

/// What a forwarder's one group is called.
const GROUP: &str = "candidates";

/// What its one entry is called.
const ENTRY: &str = "forwarder";

/// What visitors have said on warm streams, all sessions together, until the first answer. Beyond it, nothing is kept,
/// and a stream that turns out to be stale is told to its visitor.
const REPLAY_MEMORY: usize = 64 << 20;

/// How long sessions may take to hear that they are reset, at the very end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The group that a forwarder uses now.
type Current = Arc<ArcSwap<Group<SocketAddr>>>;

/// A forwarder whose addresses are bound, and which serves nobody yet.
pub struct Forwarder {
    env: Env,
    config: ForwardConfig,
    listener: Box<dyn Listener>,
    operators: Operators,
    choice: Choice,
    current: Current,
    candidates: watch::Sender<Arc<Vec<Candidate>>>,
}

/// Runs a forwarder until it is told to stop. Must run inside a `LocalSet`.
///
/// # Errors
/// [`StartError`] when an address is not to be had.
pub async fn run(config: ForwardConfig, env: Env) -> Result<(), StartError> {
    Forwarder::bind(config, env).await?.run().await;
    Ok(())
}

impl Forwarder {
    /// Binds every address, and begins to look at the candidates. Must run inside a `LocalSet`.
    ///
    /// # Errors
    /// [`StartError`] when an address is not to be had.
    pub async fn bind(config: ForwardConfig, env: Env) -> Result<Self, StartError> {
        let listener = listen(&env, "server.listen_addr", config.listen).await?;
        let (candidates, list) = watch::channel(Arc::new(config.candidates.all()));
        let choice = choose(&env, &config, &config.group, list);
        let current = Arc::new(ArcSwap::new(Arc::clone(&choice.approach.group)));
        let ready = readiness(&env, Arc::clone(&current));
        let operators = Operators::open(&env, config.admin, config.metrics, &ready).await?;
        Ok(Self {
            env,
            config,
            listener,
            operators,
            choice,
            current,
            candidates,
        })
    }

    /// Where visitors come in, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Where its operators look in.
    pub fn operators(&self) -> &Operators {
        &self.operators
    }

    /// Who judges its candidates, as long as the options it was started with are in force: for its journal and status.
    pub fn selector(&self) -> Addr<Selector<SocketAddr>> {
        self.choice.selector.clone()
    }

    /// Serves until told to stop, then drains.
    pub async fn run(self) {
        let Self {
            env,
            config,
            listener,
            operators,
            mut choice,
            current,
            candidates,
        } = self;
        let running = Running::new(config.limits.sessions);
        watch_limits(&env, &config, &running, Arc::clone(&current));
        let in_force = Rc::new(RefCell::new(forwarding(&config, &choice)));
        let entry = direct::serve(env.clone(), listener, Rc::clone(&in_force), running.clone());
        let entry = Local(tokio::task::spawn_local(entry));
        let mut stop = env.stop.clone();
        let mut updates = Updates::new(config.clone(), env.clone());
        loop {
            let update = tokio::select! {
                biased;
                () = stop.reached(StopPhase::Draining) => break,
                update = updates.next() => update,
            };
            let Update {
                candidates: list,
                group,
            } = update;
            if let Some(list) = list {
                info!(candidates = list.len(), "candidates changed");
                candidates.send_replace(Arc::new(list));
            }
            if let Some(group) = group {
                // Sessions that run keep what they were started with.
                choice = choose(&env, &config, &group, candidates.subscribe());
                current.store(Arc::clone(&choice.approach.group));
                in_force.replace(forwarding(&config, &choice));
            }
        }
        info!(timeout = ?config.drain.timeout, "draining");
        tokio::select! {
            biased;
            () = stop.reached(StopPhase::Ending) => warn!("second signal: ending at once"),
            () = drain(&config, entry, &running) => {}
        }
        running.reset();
        // Resets travel by the sessions' own tasks; give them a moment, not a promise.
        let _ = time::within(LAST_WORDS, running.idle()).await;
        drop((choice, operators));
        info!("stopped");
    }
}

/// Begins to choose among `list`.
fn choose(
    env: &Env,
    config: &ForwardConfig,
    options: &GroupConfig,
    list: watch::Receiver<Arc<Vec<Candidate>>>,
) -> Choice {
    let terms = Terms {
        name: GroupName::new(GROUP).expect("the forwarder's group has a legal name"),
        options: options.clone(),
        connect_timeout: config.session.connect_timeout,
        waiting_max: config.limits.waiting,
        // They may be thousands, and each visitor who is turned away would ask for all of them.
        asks_names: false,
        // Whether it is ready shows in its probes.
        alone: Alone::Always,
        best_only: true,
        serves: None,
    };
    Choice::start(env, terms, list)
}

/// What sessions need of a choice.
fn forwarding(config: &ForwardConfig, choice: &Choice) -> Arc<Forwarding> {
    let approach = choice.approach.clone();
    Arc::new(Forwarding {
        traffic: approach.env.metrics.entry_traffic.join(ENTRY, GROUP),
        approach,
        options: config.session,
        budget: ReplayBudget::new(REPLAY_MEMORY),
    })
}

async fn drain(config: &ForwardConfig, entry: Local, running: &Running) {
    time::sleep(config.drain.delay).await;
    drop(entry);
    if mutant!("forwarder-ends-at-once") {
        return;
    }
    if time::within(config.drain.timeout, running.idle()).await.is_none() {
        warn!("drain deadline: resetting what still runs");
    }
}

/// A forwarder is ready while a visitor would be served.
fn readiness(env: &Env, current: Current) -> Readiness {
    let stop = env.stop.clone();
    Readiness::new(move || {
        if stop.phase() > StopPhase::Running {
            return Err("draining".to_owned());
        }
        current.load().check().map_err(|reason| match reason {
            Unusable::NoTarget => "no candidate is usable".to_owned(),
            Unusable::AllFail(None) => "all candidates fail".to_owned(),
            Unusable::AllFail(Some(cause)) => format!("all candidates fail: {cause}"),
        })
    })
}

/// Shows how near the forwarder's limits are.
fn watch_limits(env: &Env, config: &ForwardConfig, running: &Running, current: Current) {
    let limits = &env.metrics.limits;
    let (slots, sessions) = (Arc::clone(&running.slots), config.limits.sessions);
    limits.watch("sessions", sessions, move || {
        let free = slots.available_permits();
        audit!(free <= sessions, "no more is given back than was taken");
        sessions.saturating_sub(free)
    });
    limits.watch("waiting", config.limits.waiting, move || current.load().waiting());
}
