//! Configuration: composes every concept's options, parses once, checks once.
//!
//! A file becomes a tree with lines (`parse`, `tree`), the tree becomes the file types (`read`, `file`, `value`), and
//! these become, with flags and environment, the checked types (`server`, `client`, `forward`). Nobody checks again.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::{
    admin::needs::Needs,
    backoff,
    candidates::Candidate,
    entry::{
        self,
        http::{pages::Pages, upstream::Speech},
    },
    id::{ClientId, GroupName, UpstreamName},
    link, plugin, pool, prober, registry,
    registry::auth::Auth,
    rules::Conditions,
    selector::{self, Strategy},
    session,
    time::Duration,
    wire::proof::Token,
};

mod address;
mod client;
mod entries;
mod error;
mod expand;
pub mod file;
mod forward;
pub mod forward_file;
mod group;
mod load;
mod logging;
mod parse;
mod ports;
mod ranges;
mod read;
pub mod rule_file;
mod rule_name;
mod rules;
mod secret;
mod server;
pub mod size;
mod tree;
pub mod value;

#[cfg(test)]
mod tests;

pub use crate::files::{Output, Rolling};
pub use client::{ClientFlags, DEFAULT_SERVER, LOCAL_UPSTREAM, build_client, load_client};
pub use error::ConfigError;
pub use expand::Lookup;
pub use forward::{
    Candidates, FORWARD_LISTEN, FORWARD_METRICS, ForwardConfig, ForwardFlags, ForwardLimits, Origin,
    build_forward, load_forward, parse_forward,
};
pub use load::{ReadFile, Role, Source};
pub use logging::{Logging, LoggingFlags};
pub use secret::TOKEN_VARIABLE;
pub use server::{
    CONTROL_PORT, PROXY_PORT, PUBLIC_PORT, SERVER_ADMIN, ServerFlags, build_server, load_server,
};
pub use tree::Format;

/// The group of entries and clients that name none.
pub const DEFAULT_GROUP: &str = "default";

/// A configuration that can run, and what a human should still look at.
#[derive(Clone, Debug)]
pub struct Checked<T> {
    /// The configuration.
    pub config: T,
    /// Sentences about what is legal but hardly meant.
    pub warnings: Vec<String>,
}

/// Everything a server needs to run. Checked: no later code checks it again.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where control connections come in.
    pub control: SocketAddr,
    /// Where proxy connections come in; may equal `control`.
    pub proxy: SocketAddr,
    /// `host:port` clients use for proxy connections instead of the control host and the proxy port.
    pub proxy_advertise: Option<String>,
    /// Where visitors come in.
    pub entries: Vec<entry::Options>,
    /// Which requests of HTTP entries go where, and what is done to them.
    pub rules: Vec<RuleConfig>,
    /// Who may register.
    pub auth: Auth,
    /// How each configured group balances.
    pub groups: BTreeMap<GroupName, GroupConfig>,
    /// Limits of the registry.
    pub registry: registry::Options,
    /// Heartbeats and handshakes.
    pub link: link::Options,
    /// Limits on what strangers and visitors may take.
    pub limits: Limits,
    /// Where state, metrics and commands are served; `None` is nowhere. Default 127.0.0.1:7500.
    pub admin: Option<SocketAddr>,
    /// How many entries must be served for the server to be ready. Default all.
    pub ready: Needs,
    /// Where metrics alone are served; `None`, the default, is nowhere.
    pub metrics: Option<SocketAddr>,
    /// How it ends.
    pub drain: Drain,
    /// What it writes, and where.
    pub logging: Logging,
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleConfig {
    /// What it is called in logs and metrics; after what it asks for (`GET api.example.com/v1`) if it has no name.
    pub name: String,
    /// What it asks of a request: one of these, which differ in the host. At least one.
    pub conditions: Vec<Conditions>,
    /// Where the request goes.
    pub group: GroupName,
    /// What the upstreams speak; `None` is HTTP/2 for gRPC, and HTTP/1.1 for everything else.
    pub speech: Option<Speech>,
    /// How long a client may take to connect its upstream, if not as long as the entry says.
    pub connect: Option<Duration>,
    /// How long an upstream may take to begin its answer, if not as long as the entry says.
    pub first_byte: Option<Duration>,
    /// How long a visitor may pause within the body of a request, if not as long as the entry says.
    pub request_body: Option<Duration>,
    /// How long an answer may pause, if not as long as the entry says.
    pub idle: Option<Option<Duration>>,
    /// What is done on the way. They can be built.
    pub plugins: Vec<plugin::Options>,
    /// How it looks where the entry fails a request, if not as the entry says.
    pub pages: Pages,
}

/// How one group chooses and keeps warm.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupConfig {
    /// Which target of the active set a session takes.
    pub balance: Strategy,
    /// Who is in the active set.
    pub selector: selector::Options,
    /// How targets are probed.
    pub probing: prober::Options,
    /// What measurements count for.
    pub scoring: prober::Scoring,
    /// How many connections are kept ready.
    pub pool: pool::Options,
}

/// Limits on connections; each has a metric that shows how near it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections on the control and proxy ports that have not proved themselves. Default 1,024.
    pub unproven: usize,
    /// The same from one address; loopback is exempt. Default 32.
    pub unproven_per_address: usize,
    /// What visitors hold at once: sessions, and connections to HTTP entries. Default 65,536.
    pub sessions: usize,
    /// Connections that HTTP entries have to upstreams at once. Default [`Limits::UPSTREAM_CONNECTIONS`] for each of
    /// `sessions`.
    pub upstream_connections: usize,
    /// First bytes of all sessions together, kept for replay. Default 64 MiB.
    pub replay_bytes: usize,
    /// Visitors waiting for a group without a target. Default 1,024.
    pub waiting: usize,
}

impl Limits {
    /// Connections to upstreams that each session or connection of a visitor makes room for: one that its request is on, and
    /// one that is kept. With fewer, those kept for one target take the room of requests to another.
    pub const UPSTREAM_CONNECTIONS: usize = 2;
}

impl Default for Limits {
    fn default() -> Self {
        let sessions = 65_536;
        Self {
            unproven: 1024,
            unproven_per_address: 32,
            sessions,
            upstream_connections: sessions * Self::UPSTREAM_CONNECTIONS,
            replay_bytes: 64 << 20,
            waiting: 1024,
        }
    }
}

/// How a node ends after the first signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Between the signal and the end of accepting, for load balancers to notice. Default 0.
    pub delay: Duration,
    /// How long sessions may take to finish. Default 30 s.
    pub timeout: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            timeout: Duration::from_secs(30),
        }
    }
}

/// Everything a client needs to run. Checked: no later code checks it again.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The name it holds at every server.
    pub client_id: ClientId,
    /// The group of upstreams that name none.
    pub group: GroupName,
    /// `host:port` of each server's control port; one link to each.
    pub servers: Vec<String>,
    /// The secret it proves.
    pub token: Token,
    /// What it serves.
    pub upstreams: Vec<UpstreamConfig>,
    /// Handshakes (heartbeats are the server's to set).
    pub link: link::Options,
    /// Pauses between connection attempts.
    pub backoff: backoff::Options,
    /// Where state, metrics and commands are served; `None`, the default, is nowhere.
    pub admin: Option<SocketAddr>,
    /// Where metrics alone are served; `None`, the default, is nowhere.
    pub metrics: Option<SocketAddr>,
    /// How it ends.
    pub drain: Drain,
    /// What it writes, and where.
    pub logging: Logging,
}

/// One service behind a client.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamConfig {
    /// Its name, unique within the client.
    pub name: UpstreamName,
    /// The group it serves.
    pub group: GroupName,
    /// Its addresses.
    pub targets: Vec<Candidate>,
    /// How long connecting may take, over all addresses. Default 2 s.
    pub connect_timeout: Duration,
    /// How one of its addresses is chosen, and which may be. Default as [`GroupConfig`], but nothing is kept ready:
    /// idle connections take places that a database counts.
    pub choice: GroupConfig,
}

impl UpstreamConfig {
    /// A service with the defaults.
    pub fn new(name: UpstreamName, group: GroupName, targets: Vec<Candidate>) -> Self {
        Self {
            name,
            group,
            targets,
            connect_timeout: session::Options::default().connect_timeout,
            choice: GroupConfig {
                pool: pool::Options::none(),
                ..GroupConfig::default()
            },
        }
    }
}
