//! Keeps a client registered at one server: connect, serve, wait for the end, begin again.

use std::{
    net::SocketAddr,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix::Actor;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    dialler::{Dialler, Phase, UseLink},
    serve::{Registration, Upstream},
};
use crate::{
    backoff::{self, Backoff},
    env::{Env, Stop, StopPhase},
    id::{ClientId, GroupName},
    link::{
        self,
        client::{ClientLink, Close, SayGoAway},
        connect::{ConnectError, Identity, register},
        framed::Framed,
    },
    metrics::Counted,
    notice::times,
    probe::{mutant, sometimes},
    selector::failures::{Failures, Notice},
    time::{self, Duration},
    wire::{
        handshake::{HandshakeError, Registered},
        message::Granted,
    },
};

/// How long a server may take to acknowledge a drain before the client goes on without.
const DRAIN_ACK_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a drain looks whether it is through.
const COUNT_POLL: Duration = Duration::from_millis(20);

/// What a client brings to each server.
pub struct Uplink {
    /// The world.
    pub env: Env,
    /// `host:port` of the server's control port.
    pub server: String,
    /// All servers of this client: the only hosts proxy connections may go to.
    pub servers: Arc<Vec<String>>,
    /// Who the client is.
    pub identity: Identity,
    /// The same name, checked.
    pub client: ClientId,
    /// What it serves.
    pub upstreams: Arc<Vec<Upstream>>,
    /// Handshakes.
    pub link_options: link::Options,
    /// Pauses between attempts.
    pub backoff: backoff::Options,
    /// Sessions in flight, over all servers.
    pub load: Arc<AtomicUsize>,
    /// What may still carry the last words of sessions, over all servers and registrations.
    pub unfinished: Arc<AtomicUsize>,
}

impl Uplink {
    /// Runs until it is told to drain; returns once the server takes note, or cannot.
    pub async fn run(self) {
        let mut stop = self.env.stop.clone();
        self.stay_registered(&mut stop).await;
        // Also those that were carried for a server whose link is gone, and what they said last.
        wait_for_none(&self.load, &mut stop).await;
        wait_for_none(&self.unfinished, &mut stop).await;
    }

    async fn stay_registered(&self, stop: &mut Stop) {
        let mut rng = self.env.entropy.rng();
        let mut backoff = Backoff::new(self.backoff);
        let mut previous = None;
        let mut failures = Failures::default();
        let started = time::now();
        loop {
            let attempt = tokio::select! {
                biased;
                () = stop.reached(StopPhase::Draining) => return,
                attempt = register(&self.env, &self.server, &self.identity, previous.as_ref(), &self.link_options) => attempt,
            };
            let wait = match attempt {
                Ok((framed, registered)) => {
                    failures = Failures::default();
                    if previous.is_none() || !mutant!("resume-key-never-renewed") {
                        previous = Some(registered.key.clone());
                    }
                    let since = time::now();
                    match self.serve(framed, registered).await {
                        ControlFlow::Break(()) => return,
                        ControlFlow::Continue(retry_after) => {
                            let since = match mutant!("link-lived-since-the-client-began") {
                                false => since,
                                true => started,
                            };
                            backoff.handle_lived(since, time::now());
                            retry_after.unwrap_or_default() + backoff.next_wait(&mut rng)
                        }
                    }
                }
                Err(ConnectError::Handshake(HandshakeError::Denied { .. }))
                    if mutant!("client-gives-up-when-denied") =>
                {
                    return;
                }
                Err(_) if mutant!("lost-server-given-up") && self.env.metrics.links.get() > 0 => return,
                Err(error) => self.complain(&error, &mut failures, &mut backoff, &mut rng),
            };
            tokio::select! {
                biased;
                () = stop.reached(StopPhase::Draining) => return,
                () = time::sleep(wait) => {}
            }
        }
    }

    /// Says why there is no registration, again when the reason changes and every few minutes, and how long to wait.
    fn complain(
        &self,
        error: &ConnectError,
        failures: &mut Failures<()>,
        backoff: &mut Backoff,
        rng: &mut ChaCha8Rng,
    ) -> Duration {
        failures.handle_failed(time::now(), &(), &error.to_string().into(), true);
        for notice in failures.take_notices() {
            if let Notice::Fails { cause, lasting, .. } = notice {
                let (server, client) = (&self.server, &self.client);
                let lasting = lasting.map(|lasting| lasting.as_secs());
                warn!(%server, %client, reason = &*cause, lasting_s = lasting, "not registered; will keep trying");
            }
        }
        let metrics = &self.env.metrics;
        sometimes!(metrics.links.get() > 0, "registered-elsewhere");
        match error {
            ConnectError::Handshake(HandshakeError::Denied { code, .. }) => {
                metrics.registrations_denied.inc(code.label());
            }
            error => metrics.handshake_failures.inc(error.label()),
        }
        match error {
            ConnectError::Handshake(HandshakeError::Denied {
                retry_after: Some(retry_after),
                ..
            // Those who are denied together need not come back together.
            }) => retry_after.mul_f64(rng.random_range(1.0..1.25)),
            _ => backoff.next_wait(rng),
        }
    }

    /// One registration, from admission to its end. Breaks when the node drains.
    async fn serve(&self, framed: Framed, registered: Registered) -> ControlFlow<(), Option<Duration>> {
        let (ended_sender, ended) = watch::channel(false);
        let (phase_sender, mut phase) = watch::channel(Phase::Up);
        let epoch = registered.epoch;
        let options = self.link_options.granted(&registered.granted);
        let control = framed.peer_addr();
        let registration = Arc::new(Registration {
            env: self.env.clone(),
            client: self.client.clone(),
            epoch,
            key: registered.key,
            proxy: self.proxy_address(&registered.granted, control),
            upstreams: Arc::clone(&self.upstreams),
            link: options,
            load: Arc::clone(&self.load),
            unfinished: Arc::clone(&self.unfinished),
            ended,
        });
        let dialler = Dialler::new(registration, phase_sender, ended_sender.clone()).start();
        let events = dialler.clone().recipient();
        let link = ClientLink::open(&self.env, framed, &options, Arc::clone(&self.load), events);
        dialler.do_send(UseLink(link.clone()));
        info!(server = %self.server, client = %self.client, %epoch, "registered");
        let unvisited = registered.granted.unvisited.iter();
        for group in unvisited.filter_map(|name| GroupName::new(name).ok()) {
            let server = self.server.clone();
            self.env.notice("unvisited group", format!("{server} {group}"), move |n| {
                warn!(%server, %group, times = times(n), "no entry or rule of the server leads to this group: its upstreams get no visitors");
            });
        }
        let metrics = &self.env.metrics;
        metrics.registrations.inc();
        let _in_force = Counted::new(&metrics.links);

        let mut stop = self.env.stop.clone();
        let mut retry_after = None;
        loop {
            tokio::select! {
                biased;
                changed = phase.changed() => {
                    let now = phase.borrow_and_update().clone();
                    match now {
                        Phase::Lost { .. } if mutant!("client-stops-after-lost-link") => {
                            return ControlFlow::Break(());
                        }
                        Phase::Lost { reason, .. } => {
                            warn!(server = %self.server, reason, "link lost; will reconnect");
                            metrics.links_lost.inc(reason);
                            return ControlFlow::Continue(retry_after);
                        }
                        Phase::ServerDraining(after) => {
                            info!(server = %self.server, "the server is draining");
                            retry_after = Some(after);
                        }
                        Phase::Up | Phase::DrainAcknowledged => {}
                    }
                    if changed.is_err() {
                        return ControlFlow::Continue(retry_after);
                    }
                }
                () = stop.reached(StopPhase::Draining) => break,
            }
        }
        link.do_send(SayGoAway);
        let settled = phase.wait_for(|phase| matches!(phase, Phase::DrainAcknowledged | Phase::Lost { .. }));
        // A server that does not answer is not waited for; its sessions still get their time.
        let _ = time::within(DRAIN_ACK_TIMEOUT, settled).await;
        wait_for_none(&self.load, &mut stop).await;
        // What the sessions said last may still wait in what carried them.
        ended_sender.send_replace(true);
        wait_for_none(&self.unfinished, &mut stop).await;
        link.do_send(Close);
        ControlFlow::Break(())
    }

    /// The very address used for control, with the granted port; or what the server advertises, when that
    /// is one of this client's own servers.
    fn proxy_address(&self, granted: &Granted, control: Option<SocketAddr>) -> String {
        let advertised = granted.proxy_address.as_str();
        if self.servers.iter().any(|server| host(server) == host(advertised)) {
            return advertised.to_owned();
        }
        if !advertised.is_empty() {
            warn!(server = %self.server, advertised, "the advertised proxy host is none of this client's servers");
        }
        let (server, control) = match mutant!("proxies-go-to-first-server") {
            false => (&self.server, control),
            true => (&self.servers[0], None),
        };
        match control {
            Some(control) => SocketAddr::new(control.ip(), granted.proxy_port).to_string(),
            None => format!("{}:{}", host(server), granted.proxy_port),
        }
    }
}

/// Waits until nothing is counted any more, or the node is told to end.
async fn wait_for_none(count: &AtomicUsize, stop: &mut Stop) {
    let none = async {
        while count.load(Ordering::Relaxed) > 0 && !mutant!("client-drain-drops-sessions") {
            time::sleep(COUNT_POLL).await;
        }
    };
    tokio::select! {
        biased;
        () = stop.reached(StopPhase::Ending) => {}
        () = none => {}
    }
}

/// The host of `host:port`.
fn host(authority: &str) -> &str {
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}
