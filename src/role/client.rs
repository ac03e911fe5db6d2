//! The client: one uplink per server, all serving the same upstreams.

use std::sync::{Arc, atomic::AtomicUsize};

use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    StartError,
    choice::{Choice, Terms},
    operators::Operators,
};
use crate::{
    admin::Readiness,
    config::{ClientConfig, UpstreamConfig},
    env::{Env, Stop, StopPhase},
    id::{ClientId, GroupName},
    link::connect::Identity,
    probe::mutant,
    prober,
    selector::setup::Alone,
    session::{serve::Upstream, uplink::Uplink},
    time,
    wire::message,
};

/// How many visitors may wait for an upstream that has no address yet. They wait for its names, not for long.
const WAITING_MAX: usize = 1024;

/// A client that its operators can see already, and that serves nobody yet.
pub struct Client {
    env: Env,
    config: ClientConfig,
    operators: Operators,
}

/// Runs a client until it is told to stop. Must run inside a `LocalSet`.
///
/// # Errors
/// [`StartError`] when an address is not to be had. That a server does not answer is none: it may come.
pub async fn run(config: ClientConfig, env: Env) -> Result<(), StartError> {
    Client::bind(config, env).await?.run().await;
    Ok(())
}

impl Client {
    /// Opens what its operators look at.
    ///
    /// # Errors
    /// [`StartError`] when an address is not to be had.
    pub async fn bind(config: ClientConfig, env: Env) -> Result<Self, StartError> {
        let (links, registrations) = (env.metrics.links.clone(), env.metrics.registrations.clone());
        let registered = move || {
            let ever = || registrations.get() > 0;
            links.get() > 0 || ever() && mutant!("unregistered-client-stays-ready")
        };
        let ready = readiness(env.stop.clone(), registered);
        let operators = Operators::open(&env, config.admin, config.metrics, &ready).await?;
        Ok(Self {
            env,
            config,
            operators,
        })
    }

    /// Where its operators look in.
    pub fn operators(&self) -> &Operators {
        &self.operators
    }

    /// Stays registered and serves until told to stop, then drains. Must run inside a `LocalSet`.
    pub async fn run(self) {
        serve(self.config, self.env).await;
        info!("stopped");
    }
}

/// A client is ready while a server has it registered.
fn readiness(stop: Stop, registered: impl Fn() -> bool + Send + Sync + 'static) -> Readiness {
    Readiness::new(move || match stop.phase() {
        StopPhase::Running if registered() => Ok(()),
        StopPhase::Running => Err("not registered with any server".to_owned()),
        StopPhase::Draining | StopPhase::Ending => Err("draining".to_owned()),
    })
}

async fn serve(config: ClientConfig, env: Env) {
    say_hello(&config);
    let (client, upstreams) = (&config.client_id, config.upstreams.iter());
    let chosen = upstreams.map(|upstream| choose(&env, client, upstream));
    let choices: Vec<_> = chosen.collect();
    let upstreams = config.upstreams.iter().zip(&choices);
    let upstreams = upstreams.map(|(config, choice)| Upstream {
        name: config.name.clone(),
        approach: choice.approach.clone(),
    });
    let served = config.upstreams.iter().map(|upstream| message::Upstream {
        name: upstream.name.to_string(),
        group: upstream.group.to_string(),
    });
    let identity = Identity {
        client_id: config.client_id.to_string(),
        group: config.group.to_string(),
        upstreams: served.collect(),
        instance: env.entropy.bytes(),
        token: config.token.clone(),
    };
    let (upstreams, servers) = (Arc::new(upstreams.collect()), Arc::new(config.servers.clone()));
    let (load, unfinished) = (Arc::new(AtomicUsize::new(0)), Arc::default());
    // They serve on until the delay of the drain is over.
    let (leaving, leave) = Stop::channel();
    let mut uplinks = Vec::new();
    for server in &config.servers {
        let uplink = Uplink {
            env: Env {
                stop: leave.clone(),
                ..env.clone()
            },
            server: server.clone(),
            servers: Arc::clone(&servers),
            identity: identity.clone(),
            client: config.client_id.clone(),
            upstreams: Arc::clone(&upstreams),
            link_options: config.link,
            backoff: config.backoff,
            load: Arc::clone(&load),
            unfinished: Arc::clone(&unfinished),
        };
        uplinks.push(tokio::task::spawn_local(uplink.run()));
    }

    let mut stop = env.stop.clone();
    stop.reached(StopPhase::Draining).await;
    info!(delay = ?config.drain.delay, timeout = ?config.drain.timeout, "draining");
    let drained = async {
        time::sleep(config.drain.delay).await;
        leaving.advance();
        for uplink in &mut uplinks {
            // An uplink that panicked has nothing left to finish.
            let _ = uplink.await;
        }
    };
    let most = match mutant!("delay-taken-off-the-drain") {
        false => config.drain.delay + config.drain.timeout,
        true => config.drain.timeout,
    };
    tokio::select! {
        biased;
        () = stop.reached(StopPhase::Ending) => {
            warn!("second signal: ending at once");
            // It may have come within the delay.
            leaving.advance();
            leaving.advance();
        }
        done = time::within(most, drained) => {
            if done.is_none() {
                warn!("drain deadline: resetting what still runs");
            }
        }
    }
}

/// The first line: what is served, and where.
fn say_hello(config: &ClientConfig) {
    let all = |items: Vec<String>| items.join(", ");
    let serves = config.upstreams.iter().map(|upstream| {
        let targets = upstream.targets.iter().map(|target| target.place.to_string());
        format!("{} at {}", upstream.name, all(targets.collect()))
    });
    let (serves, servers) = (all(serves.collect()), all(config.servers.clone()));
    info!(client = %config.client_id, serves, servers, "connecting");
}

/// Begins to choose among the addresses of an upstream.
fn choose(env: &Env, client: &ClientId, config: &UpstreamConfig) -> Choice {
    let terms = Terms {
        name: GroupName::of_upstream(&config.name),
        options: config.choice.clone(),
        connect_timeout: config.connect_timeout,
        waiting_max: WAITING_MAX,
        asks_names: true,
        // The server looks after it through the tunnel, and a service need not see connections that nobody uses. Whether it
        // answers as it should only such a probe can tell.
        alone: match config.choice.probing.kind {
            prober::Kind::Http { .. } => Alone::Always,
            _ => Alone::Failing,
        },
        best_only: false,
        serves: Some((client.clone(), config.name.clone())),
    };
    // The list stays what it is.
    let (_, list) = watch::channel(Arc::new(config.targets.clone()));
    Choice::start(env, terms, list)
}
