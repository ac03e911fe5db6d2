//! Where strangers knock: the control and proxy ports, until who came is proved.
//!
//! Everything a stranger can do here is bounded: connections at once, connections per address, time, bytes.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
};

use actix::Addr;
use tokio::io::AsyncReadExt;
use tracing::{debug, warn};

use super::{
    Options,
    actor::{Claim, Join, Registry},
    auth::Auth,
    data_links::LinkArrived,
    table::Serves,
};
use crate::{
    env::Env,
    id::{ClientId, Epoch, GroupName, NameError, ProxyConnId, UpstreamName},
    link::{
        carrier::Carrier,
        framed::{Framed, FramedError},
    },
    notice::times,
    pool::{
        actor::Arrived,
        conn::{Conn, ConnPool},
    },
    probe::{audit, mutant, sometimes},
    time::{self, Duration},
    transport::{Listener, Stream},
    wire::{
        frame::PROXY_BODY_LEN_MAX,
        handshake::{Greeted, HandshakeError, NONCE_LEN, deny_stranger},
        message::{DenyCode, FEATURE_MUX, ProxyConnReady, Register, ToClient, ToServer},
        preamble::{LEN, PreambleError, Purpose},
        proof::Token,
    },
};

/// What the door needs to know.
pub struct Door {
    /// The world.
    pub env: Env,
    /// Who may come in.
    pub auth: Auth,
    /// How much each may bring.
    pub options: Options,
    /// How long proving may take.
    pub handshake_timeout: Duration,
    /// Where clients and their data links go.
    pub registry: Addr<Registry>,
    /// Where proxy connections go.
    pub pool: Addr<ConnPool>,
    /// Who is at the door.
    pub waiting: Waiting,
}

/// Counts unproven connections, in all and by address. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Waiting {
    total_max: usize,
    per_address_max: usize,
    counts: Arc<RwLock<BTreeMap<IpAddr, usize>>>,
}

/// A place at the door; left on drop.
#[derive(Debug)]
struct Place(Waiting, IpAddr);

impl Waiting {
    /// Nobody yet; at most so many, and so many from one address that is not loopback.
    pub fn new(total_max: usize, per_address_max: usize) -> Self {
        Self {
            total_max,
            per_address_max,
            counts: Arc::default(),
        }
    }

    /// How many there are now.
    pub fn count(&self) -> usize {
        let counts = self.counts.read().unwrap_or_else(PoisonError::into_inner);
        counts.values().sum()
    }

    fn take(&self, address: IpAddr) -> Result<Place, &'static str> {
        let mut counts = self.counts.write().unwrap_or_else(PoisonError::into_inner);
        if counts.values().sum::<usize>() >= self.total_max {
            return Err("unproven");
        }
        let count = counts.entry(address).or_default();
        if *count >= self.per_address_max && !address.is_loopback() {
            if mutant!("refused-knock-stays-counted") {
                *count += 1;
            }
            return Err("unproven_per_address");
        }
        *count += 1;
        audit!(
            counts.values().sum::<usize>() <= self.total_max,
            "no more wait at the door than may"
        );
        audit!(
            counts
                .iter()
                .all(|(address, count)| *count > 0
                    && (*count <= self.per_address_max || address.is_loopback())),
            "who waits at the door is counted by address, and nobody else"
        );
        Ok(Place(self.clone(), address))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if mutant!("door-place-never-freed") {
            return;
        }
        let mut counts = self.0.counts.write().unwrap_or_else(PoisonError::into_inner);
        audit!(
            counts.contains_key(&self.1),
            "who leaves the door has waited there"
        );
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

/// Why someone was turned away at the door.
#[derive(Debug, thiserror::Error)]
enum Turned {
    #[error("no proof within the handshake deadline")]
    Timeout,
    #[error(transparent)]
    Preamble(#[from] PreambleError),
    #[error(transparent)]
    Framed(#[from] FramedError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{0}")]
    Denied(&'static str),
    #[error("this port does not serve that purpose")]
    Purpose,
    #[error("the ticket was not accepted: {0}")]
    Claim(#[from] super::table::ClaimError),
    #[error("the server is stopping")]
    Stopping,
}

impl Turned {
    fn label(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Preamble(_) => "preamble",
            Self::Framed(error) => error.label(),
            Self::Handshake(error) => error.label(),
            Self::Name(_) => "invalid_name",
            Self::Denied(_) => "denied",
            Self::Purpose => "purpose",
            Self::Claim(_) => "claim",
            Self::Stopping => "stopping",
        }
    }
}

impl Door {
    /// Accepts on `listener` for ever, admitting connections for `purposes`.
    pub async fn serve(self: Arc<Self>, mut listener: Box<dyn Listener>, purposes: &'static [Purpose]) {
        loop {
            let (stream, peer) = self.env.accept(&mut *listener, "door").await;
            let place = match self.waiting.take(peer.ip()) {
                Ok(place) => place,
                Err(limit) => {
                    sometimes!("door-was-full");
                    self.env.metrics.connections_refused.inc(limit);
                    continue;
                }
            };
            let door = Arc::clone(&self);
            self.env
                .spawn(async move { door.prove(stream, peer, purposes, place).await })
                .detach();
        }
    }

    async fn prove(&self, stream: Box<dyn Stream>, peer: SocketAddr, purposes: &[Purpose], _place: Place) {
        self.env.metrics.connections_unproven.inc();
        let proving = self.receive(stream, peer, purposes);
        let mut most = self.handshake_timeout;
        if mutant!("strangers-have-all-the-time") {
            most *= 1000;
        }
        let result = time::within(most, proving).await.unwrap_or(Err(Turned::Timeout));
        if result.is_ok() || !mutant!("failed-handshake-stays-counted") {
            self.env.metrics.connections_unproven.dec();
        }
        audit!(
            u64::try_from(self.env.metrics.connections_unproven.get())
                .is_ok_and(|unproven| unproven <= self.waiting.count() as u64),
            "who is not proved has a place at the door"
        );
        if let Err(turned) = result {
            self.env.metrics.handshake_failures.inc(turned.label());
            if let Turned::Preamble(PreambleError::Version(_)) = turned {
                let reason = turned.to_string();
                self.env.notice("version", peer.ip().to_string(), move |n| {
                    warn!(%peer, reason, times = times(n), "connection turned away");
                });
            }
            debug!(%peer, reason = %turned, "connection turned away");
        }
    }

    async fn receive(
        &self,
        mut stream: Box<dyn Stream>,
        peer: SocketAddr,
        purposes: &[Purpose],
    ) -> Result<(), Turned> {
        let mut preamble = [0; LEN];
        stream
            .read_exact(&mut preamble)
            .await
            .map_err(FramedError::from)?;
        match Purpose::parse(&preamble)? {
            purpose if !purposes.contains(&purpose) => Err(Turned::Purpose),
            Purpose::Control => self.receive_client(Framed::new(stream, 0), peer).await,
            Purpose::Proxy => {
                let mut framed = Framed::new(stream, PROXY_BODY_LEN_MAX);
                let key = self.claim(&mut framed, Purpose::Proxy).await?;
                // What waits here is seen to wait: a start elsewhere may be held up with it.
                framed.keep_queue_short();
                let conn = Conn::new(Carrier::Dedicated(Box::new(framed)));
                self.pool.do_send(Arrived { key, conn });
                Ok(())
            }
            Purpose::Link => {
                let mut framed = Framed::new(stream, 0);
                let epoch = self.claim(&mut framed, Purpose::Link).await?;
                self.registry.do_send(LinkArrived { epoch, framed });
                Ok(())
            }
        }
    }

    async fn receive_client(&self, mut framed: Framed, peer: SocketAddr) -> Result<(), Turned> {
        let head = framed.read_head().await?;
        let greeted = Greeted::handle_register(&head)?;
        let mut nonce = self.env.entropy.bytes::<NONCE_LEN>();
        if mutant!("challenge-never-changes") {
            nonce = [0; NONCE_LEN];
        }
        let (challenging, bytes) = greeted.challenge(nonce, &[]);
        framed.queue_raw(&bytes);
        let asked = time::now();
        framed.flush().await.map_err(FramedError::from)?;
        let head = framed.read_head().await?;
        let rtt = time::now() - asked;

        // An unknown id is checked against a secret nobody has, so that it looks like a wrong proof.
        let client = ClientId::new(&challenging.register.client_id);
        let rule = client.as_ref().ok().and_then(|client| self.auth.rule(client));
        let is_known = rule.is_some();
        let unknown = || Token::new(&hex(&self.env.entropy.bytes::<32>())).unwrap_or(Token::anonymous());
        let token = rule.map_or_else(unknown, |rule| rule.token.clone());
        let (register, proven) = match challenging.handle_proof(&head, token) {
            Ok(proved) => proved,
            Err(error) => {
                if matches!(error, HandshakeError::Proof) {
                    self.say_unproved(peer, client.ok(), is_known);
                }
                self.turn_away(&mut framed, DenyCode::Unauthorized, "the token does not match")
                    .await;
                return Err(error.into());
            }
        };
        let client = client?;
        match self.serves(&client, &register) {
            Ok(serves) => self.registry.do_send(Join {
                client,
                serves,
                knows_links: register.features.iter().any(|word| word == FEATURE_MUX),
                proven,
                rtt,
                framed,
            }),
            Err((code, message)) => {
                let client = client.clone();
                self.env
                    .notice("denied", format!("{client} {message}"), move |n| {
                        warn!(%client, %peer, reason = message, times = times(n), "registration denied");
                    });
                self.env.metrics.registrations_denied.inc(code.label());
                framed.queue(0, &proven.deny(code, message, None));
                framed.flush().await.map_err(FramedError::from)?;
                return Err(Turned::Denied(message));
            }
        }
        Ok(())
    }

    /// Says that somebody does not know the token. The name is what it says of itself.
    fn say_unproved(&self, peer: SocketAddr, client: Option<ClientId>, is_known: bool) {
        let reason = match is_known {
            true => "the token does not match",
            false => "no client of this name may register",
        };
        let client = client.map(|id| id.to_string());
        self.env.notice("token", peer.ip().to_string(), move |n| {
            warn!(%peer, client, reason, times = times(n), "registration denied");
        });
    }

    async fn turn_away(&self, framed: &mut Framed, code: DenyCode, message: &str) {
        framed.queue(0, &deny_stranger(code, message));
        // Whether a stranger hears why is its own affair.
        let _ = framed.flush().await;
    }

    /// What the client wants to serve, as far as it may.
    fn serves(&self, client: &ClientId, register: &Register) -> Result<Serves, (DenyCode, &'static str)> {
        let invalid = (DenyCode::Invalid, "a group or upstream name is not acceptable");
        if register.upstreams.is_empty() || register.upstreams.len() > self.options.upstreams_max {
            return Err((DenyCode::Invalid, "too many upstreams, or none"));
        }
        let mut serves = Serves::new();
        for upstream in &register.upstreams {
            let group = if upstream.group.is_empty() || mutant!("group-of-upstream-ignored") {
                &register.group
            } else {
                &upstream.group
            };
            let group = GroupName::new(group).map_err(|_| invalid)?;
            let name = UpstreamName::new(&upstream.name).map_err(|_| invalid)?;
            if !self.auth.allows(client, &group) {
                return Err((DenyCode::GroupNotAllowed, "this client may not serve that group"));
            }
            if serves.iter().any(|(_, taken)| *taken == name) {
                return Err((DenyCode::Invalid, "two upstreams have the same name"));
            }
            serves.push((group, name));
        }
        Ok(serves)
    }

    /// Has a connection redeem its ticket for `purpose`; returns the registration it belongs to.
    async fn claim(&self, framed: &mut Framed, purpose: Purpose) -> Result<Epoch, Turned> {
        let head = framed.read_head().await?;
        let message = head.message().map_err(FramedError::from)?;
        let Some(ToServer::NewProxyConn(new)) = message else {
            return Err(HandshakeError::Unexpected {
                expected: "NewProxyConn",
                got: head.prefix.kind,
            }
            .into());
        };
        let ticket = <[u8; 16]>::try_from(new.proxy_conn_id.as_slice());
        let ticket = ProxyConnId::new(ticket.map_err(|_| super::table::ClaimError::Ticket)?);
        let epoch = Epoch::new(new.boot, new.counter);
        let claim = Claim {
            client_id: new.client_id,
            epoch,
            purpose,
            ticket,
            mac: new.mac.into_vec(),
        };
        let mac = self.registry.send(claim).await.map_err(|_| Turned::Stopping)??;
        let mac = serde_bytes::ByteBuf::from(mac);
        framed.queue(0, &ToClient::ProxyConnReady(ProxyConnReady { mac }));
        framed.flush().await.map_err(FramedError::from)?;
        Ok(epoch)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
