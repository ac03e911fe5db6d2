//! The nodes of the system under test: production roles on simulated hosts.

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use adit::{
    backoff,
    config::{ClientConfig, Drain, Limits, Logging, ServerConfig, UpstreamConfig},
    entry,
    env::{Entropy, Env, Stop, Stopper},
    id::{ClientId, EntryName, GroupName, UpstreamName},
    link,
    metrics::Metrics,
    registry::{self, auth::Auth},
    role, session,
    wire::proof::Token,
};
use anyhow::Context;
use rand::Rng;

use crate::{
    net::{HostNames, HostTasks, Net, stream::Chopper},
    plan::Purpose,
    trace::Recorder,
    upstream,
};

/// Where visitors connect.
pub const PUBLIC_PORT: u16 = 8080;

const CONTROL_PORT: u16 = 7000;
const PROXY_PORT: u16 = 7001;
const TOKEN: &str = "a token that is long enough";

/// How long a drained server waits for its sessions.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// One life of one node, as seen from outside.
#[derive(Clone, Debug)]
pub struct Boot {
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// Its network interface.
    pub net: Net,
    /// Tells it to stop.
    pub stopper: Stopper,
    /// It has run to its end.
    pub finished: bool,
}

/// A host that runs a node, through all of its lives.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name in the network.
    pub name: String,
    number: u64,
    seed: u64,
    chop: u32,
    recorder: Recorder,
    boots: Rc<RefCell<Vec<Boot>>>,
}

impl Host {
    /// A host that has never booted.
    pub fn new(name: String, number: u64, (seed, chop): (u64, u32), recorder: Recorder) -> Self {
        Self {
            name,
            number,
            seed,
            chop,
            recorder,
            boots: Rc::default(),
        }
    }

    /// Its latest life.
    ///
    /// # Panics
    /// Before the first.
    pub fn boot(&self) -> Boot {
        self.boots
            .borrow()
            .last()
            .cloned()
            .expect("hosts boot when they are made")
    }

    /// All its lives, the latest last.
    pub fn boots(&self) -> Vec<Boot> {
        self.boots.borrow().clone()
    }

    /// Begins a life.
    fn begin(&self) -> Env {
        let (stopper, stop) = Stop::channel();
        let nth = self.boots.borrow().len() as u64;
        let life = self.number * 0x100 + nth;
        let chopper = Chopper::new(self.chop, &mut Purpose::Chop(life).rng(self.seed));
        let net = Net::new(self.number, self.recorder.clone(), chopper);
        let env = Env {
            transport: Arc::new(net.clone()),
            resolver: Arc::new(HostNames),
            spawner: Arc::new(HostTasks),
            entropy: Entropy::seeded(Purpose::Node(life).rng(self.seed).next_u64()),
            stop,
            metrics: Arc::new(Metrics::new()),
        };
        self.recorder.event(&self.name, format_args!("boots, life {nth}"));
        self.boots.borrow_mut().push(Boot {
            metrics: Arc::clone(&env.metrics),
            net,
            stopper,
            finished: false,
        });
        env
    }

    fn finish(&self) {
        self.recorder.event(&self.name, "has stopped");
        if let Some(boot) = self.boots.borrow_mut().last_mut() {
            boot.finished = true;
        }
    }

    /// One life of the server.
    ///
    /// # Errors
    /// When it cannot start.
    pub async fn serve(self) -> anyhow::Result<()> {
        let env = self.begin();
        role::server::run(server_config()?, env).await?;
        self.finish();
        // What a process leaves behind goes when the driver crashes the host.
        std::future::pending().await
    }

    /// One life of a client whose upstream is the host `upstream`.
    ///
    /// # Errors
    /// Never; its type is that of [`serve`](Self::serve).
    pub async fn be_client(self, upstream: String) -> anyhow::Result<()> {
        let env = self.begin();
        role::client::run(client_config(&self.name, &upstream)?, env).await;
        self.finish();
        std::future::pending().await
    }
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}

fn server_config() -> anyhow::Result<ServerConfig> {
    Ok(ServerConfig {
        control: any(CONTROL_PORT),
        proxy: any(PROXY_PORT),
        proxy_advertise: None,
        entries: vec![entry::Options {
            name: EntryName::new("public")?,
            listen: any(PUBLIC_PORT),
            group: GroupName::new("default")?,
            session: session::Options::default(),
        }],
        auth: Auth::single(token()?),
        groups: BTreeMap::new(),
        registry: registry::Options::default(),
        link: link::Options::default(),
        limits: Limits::default(),
        drain: Drain {
            timeout: DRAIN_TIMEOUT,
            ..Drain::default()
        },
        logging: Logging::default(),
    })
}

fn client_config(name: &str, upstream: &str) -> anyhow::Result<ClientConfig> {
    Ok(ClientConfig {
        client_id: ClientId::new(name)?,
        group: GroupName::new("default")?,
        servers: vec![format!("server:{CONTROL_PORT}")],
        token: token()?,
        upstreams: vec![UpstreamConfig {
            name: UpstreamName::new("main")?,
            group: GroupName::new("default")?,
            targets: vec![format!("{upstream}:{}", upstream::PORT)],
            connect_timeout: Duration::from_secs(1),
        }],
        link: link::Options::default(),
        backoff: backoff::Options::default(),
        drain: Drain::default(),
        logging: Logging::default(),
    })
}

fn token() -> anyhow::Result<Token> {
    Token::new(TOKEN).ok().context("the token is long enough")
}
