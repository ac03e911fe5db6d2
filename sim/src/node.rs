//! The nodes of the system under test: production roles on simulated hosts.

mod part;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use adit::{
    admin::needs::Needs,
    config::{Drain, GroupConfig, Limits, Logging, RuleConfig, ServerConfig},
    entry::{
        self,
        http::{access, pages::Pages, upstream::Speech},
    },
    env::{Entropy, Env, Stop, Stopper},
    files::{Memory, Output},
    id::{ClientId, EntryName, GroupName},
    link,
    metrics::Metrics,
    plugin, pool, prober,
    registry::{
        self,
        auth::{Auth, Rule},
    },
    role,
    rules::{Conditions, HostPattern},
    selector, session,
    time::WallClock,
    transport::Transport,
    wire::proof::Token,
};
use anyhow::Context;
use rand::Rng;

use crate::{
    event::Event,
    lock::Shared,
    net::{
        Ailments, HostNames, HostTasks, Net,
        habits::{Chance, Habits},
    },
    oracle::{Oracle, wire::Terms},
    plan::{
        Purpose,
        knobs::{Carry, Knobs, Overflow},
        web::{Version, Web},
        who::Who,
    },
    web,
};

pub use self::part::Part;

/// Where visitors of the first group connect; each further group has the next port.
pub const PUBLIC_PORT: u16 = 8080;
/// Where clients register.
pub const CONTROL_PORT: u16 = 7000;
/// Where proxy connections come in.
pub const PROXY_PORT: u16 = 7001;

/// Where clients register at the second server, and where it has its proxy connections.
pub const SECOND_CONTROL_PORT: u16 = 7100;
const SECOND_PROXY_PORT: u16 = 7101;

/// The name of a client's upstream, and of the group that it chooses its doors from.
const UPSTREAM: &str = "main";
pub(crate) const UPSTREAM_GROUP: &str = "upstream/main";

/// The secret of everybody who belongs here.
pub const TOKEN: &str = "a token that is long enough";

/// Where an HTTP entry writes a line for each request.
pub const ACCESS_LOG: &str = "access.log";

/// How long a server that could not start waits before it is started again, as a supervisor would.
pub(crate) const RESTART: Duration = Duration::from_millis(500);

/// One life of one node, as seen from outside.
#[derive(Clone)]
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

/// A host that runs a node, through all of its lives. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    /// Who it is.
    pub who: Who,
    /// What may go wrong in its operating system.
    pub ailments: Shared<Ailments>,
    /// Its disk, which outlives its lives.
    pub files: Memory,
    number: usize,
    seed: u64,
    pub(crate) knobs: Rc<Knobs>,
    pub(crate) sockets: Arc<dyn Transport>,
    pub(crate) addresses: Arc<BTreeMap<String, std::net::IpAddr>>,
    pub(crate) oracle: Oracle,
    boots: Rc<RefCell<Vec<Boot>>>,
}

impl Node {
    /// A host that has never booted; `number` is its own in the trace.
    pub fn new(
        (who, number): (Who, usize),
        (seed, knobs): (u64, Rc<Knobs>),
        sockets: Arc<dyn Transport>,
        addresses: Arc<BTreeMap<String, std::net::IpAddr>>,
        oracle: Oracle,
    ) -> Self {
        Self {
            who,
            ailments: Shared::default(),
            files: Memory::default(),
            number,
            seed,
            knobs,
            sockets,
            addresses,
            oracle,
            boots: Rc::default(),
        }
    }

    /// Its latest life, if it has had one.
    pub fn boot(&self) -> Option<Boot> {
        self.boots.borrow().last().cloned()
    }

    /// All its lives, the latest last.
    pub fn boots(&self) -> Vec<Boot> {
        self.boots.borrow().clone()
    }

    /// Its life is over, and everybody knows.
    pub fn bury(&self) {
        if let Some(boot) = self.boots.borrow_mut().last_mut() {
            boot.finished = false;
        }
    }

    /// Begins a life.
    pub(crate) fn begin(&self) -> Env {
        let (stopper, stop) = Stop::channel();
        let nth = self.boots.borrow().len();
        let life = (self.number * 0x1000 + nth) as u64;
        let knobs = &self.knobs;
        let rng = &mut Purpose::Habits(life).rng(self.seed);
        let habits = Habits {
            chop: Chance::new(knobs.chop_one_in, rng),
            chop_to: knobs.chop_to,
            balk: Chance::new(knobs.balk_one_in, rng),
        };
        let yields = Chance::new(knobs.yield_one_in, rng);
        let net = Net::new(
            Arc::clone(&self.sockets),
            (self.who, self.number),
            self.oracle.clone(),
            habits,
            self.ailments.clone(),
        )
        .judged(Terms::of(knobs));
        let net = net.knowing(&self.addresses);
        let env = Env {
            transport: Arc::new(net.clone()),
            resolver: Arc::new(HostNames {
                addresses: Arc::clone(&self.addresses),
                ailments: self.ailments.clone(),
            }),
            files: Arc::new(self.files.clone()),
            spawner: Arc::new(HostTasks(Arc::new(yields))),
            entropy: Entropy::seeded(Purpose::Node(life).rng(self.seed).next_u64()),
            wall: WallClock::Since {
                then: SystemTime::UNIX_EPOCH + self.oracle.now(),
                at: adit::time::now(),
            },
            stop,
            metrics: Arc::new(Metrics::new()),
            notices: Default::default(),
        };
        self.oracle.tell(Event::Boots {
            host: self.who,
            life: nth,
        });
        self.boots.borrow_mut().push(Boot {
            metrics: Arc::clone(&env.metrics),
            net,
            stopper,
            finished: false,
        });
        env
    }

    pub(crate) fn finish(&self) {
        self.oracle.tell(Event::Stops {
            host: self.who,
            why: "as told".to_owned(),
        });
        if let Some(boot) = self.boots.borrow_mut().last_mut() {
            boot.finished = true;
        }
    }

    /// Lives of a server, until it has stopped as it was told to.
    pub async fn serve(self, groups: usize, web: Option<Web>) {
        loop {
            let env = self.begin();
            let web = web.as_ref().map(|web| (web, &*self.addresses));
            let mut config = server_config(&self.knobs, groups, web).expect("the configuration is sound");
            if self.who == Who::SecondServer {
                stand_second(&mut config);
            }
            match role::server::run(config, env).await {
                Ok(()) => return self.finish(),
                // Its supervisor tries again.
                Err(error) => self.oracle.tell(Event::Stops {
                    host: self.who,
                    why: format!("{error:#}"),
                }),
            }
            adit::time::sleep(RESTART).await;
        }
    }

    /// One life of a client, whatever it is called and whoever stands behind it.
    pub async fn be_client(self, part: Part) {
        let env = self.begin();
        let config = part.config(&self.knobs).expect("the configuration is sound");
        role::client::run(config, env)
            .await
            .expect("a client opens nothing, so it starts");
        self.finish();
    }
}

/// The name of a group.
pub fn group_name(group: usize) -> String {
    format!("group-{}", group + 1)
}

pub(crate) fn any(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}

pub(crate) fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn link_options(knobs: &Knobs) -> link::Options {
    link::Options {
        heartbeat: millis(knobs.heartbeat_ms),
        missed_max: knobs.missed_max,
        handshake_timeout: millis(knobs.handshake_timeout_ms),
        links: knobs.links,
        max_streams: knobs.max_streams,
        window: knobs.window,
        window_budget: knobs.window_budget,
        ids_max: knobs.ids_max,
        half_closed_timeout: millis(knobs.half_closed_timeout_ms),
    }
}

fn selector_options(knobs: &Knobs) -> selector::Options {
    selector::Options {
        slow_start: millis(knobs.slow_start_ms),
        switching: selector::Switching {
            hold_off: millis(knobs.hold_off_ms),
            ..selector::Switching::default()
        },
        ..selector::Options::default()
    }
}

fn probing_options(knobs: &Knobs) -> prober::Options {
    let defaults = prober::Options::default();
    match knobs.probe_interval_ms {
        0 => prober::Options {
            kind: prober::Kind::Off,
            ..defaults
        },
        interval => prober::Options {
            kind: match knobs.probe_http {
                true => prober::Kind::Http {
                    path: "/up".to_owned(),
                    status: None,
                    host: Some("probed.test".to_owned()),
                },
                false => defaults.kind.clone(),
            },
            interval: millis(interval),
            ..defaults
        },
    }
}

/// What an HTTP entry is like, and where everybody is.
type Entry<'a> = (&'a Web, &'a BTreeMap<String, std::net::IpAddr>);

fn server_config(knobs: &Knobs, groups: usize, web: Option<Entry<'_>>) -> anyhow::Result<ServerConfig> {
    let session = session::Options {
        replay: if knobs.replay_unacknowledged {
            session::Replay::Unacknowledged
        } else {
            session::Replay::RefusedOnly
        },
        answer_timeout: millis(knobs.answer_timeout_ms),
        connect_timeout: millis(knobs.connect_timeout_ms),
        start_timeout: millis(knobs.start_timeout_ms),
        half_closed_timeout: millis(knobs.half_closed_timeout_ms),
        carry: match knobs.carry {
            Carry::Dedicated => session::Carriage::Dedicated,
            Carry::Mux => session::Carriage::Mux,
        },
        overflow: match knobs.overflow {
            Overflow::Mux => session::Overflow::Mux,
            Overflow::Wait => session::Overflow::Wait,
        },
    };
    let group = GroupConfig {
        pool: pool::Options {
            mode: match knobs.pool_follows {
                true => pool::Mode::Dynamic,
                false => pool::Mode::Fixed,
            },
            min: knobs.pool_min,
            max: knobs.pool_max,
            ..pool::Options::default()
        },
        balance: knobs.balance.into(),
        selector: selector_options(knobs),
        probing: probing_options(knobs),
        ..GroupConfig::default()
    };
    let mut entries = Vec::new();
    let mut configured = BTreeMap::new();
    for (n, port) in (0..groups).zip(PUBLIC_PORT..) {
        let name = GroupName::new(&group_name(n))?;
        configured.insert(name.clone(), group.clone());
        entries.push(entry::Options {
            name: EntryName::new(&format!("public-{}", n + 1))?,
            listen: any(port),
            group: name,
            session,
            kind: entry::Kind::Tcp,
        });
    }
    let mut rules = Vec::new();
    if let Some((web, addresses)) = web {
        let all = entries.iter().map(|entry| (entry.group.clone(), entry.session));
        let all: BTreeMap<_, _> = all.collect();
        rules = all
            .keys()
            .flat_map(|group| [true, false].map(|plain| rule(group, plain, web)))
            .collect::<Result<_, _>>()?;
        web::examined::add_rules(&mut rules, &GroupName::new(&group_name(0))?)?;
        // One entry for all: the rules tell them apart.
        entries.truncate(1);
        entries[0].kind = entry::Kind::Http(entry::http::Options {
            timeouts: entry::http::Timeouts {
                connect: None,
                first_byte: millis(web.first_byte_ms),
                request_body: millis(web.first_byte_ms),
                idle: None,
            },
            trusted: trusted(web, addresses)?,
            groups: all,
            access: Some(access::Options {
                output: Output::File(ACCESS_LOG.into()),
                ..access::Options::default()
            }),
            ..entry::http::Options::default()
        });
    }
    Ok(ServerConfig {
        control: any(CONTROL_PORT),
        proxy: any(PROXY_PORT),
        proxy_advertise: None,
        entries,
        rules,
        auth: auth(groups)?,
        groups: configured,
        registry: registry::Options {
            clients_max: knobs.clients_max,
            ..registry::Options::default()
        },
        link: link_options(knobs),
        limits: Limits {
            unproven: knobs.unproven_max,
            sessions: knobs.sessions_max,
            replay_bytes: knobs.replay_bytes,
            waiting: knobs.waiting_max,
            ..Limits::default()
        },
        admin: Some(any(ADMIN_PORT)),
        ready: Needs::default(),
        metrics: None,
        drain: Drain {
            delay: millis(knobs.drain_delay_ms),
            timeout: millis(knobs.drain_timeout_ms),
        },
        logging: Logging::default(),
    })
}

/// The client id that may serve one group alone, in which nobody else is.
pub const CONFINED: &str = "confined";

/// Everybody who knows the secret may serve every group, but for one.
fn auth(groups: usize) -> anyhow::Result<Auth> {
    let all: Result<_, _> = (0..groups).map(|n| GroupName::new(&group_name(n))).collect();
    let rule = |id: Option<&str>, groups| -> anyhow::Result<Rule> {
        Ok(Rule {
            id: id.map(ClientId::new).transpose()?,
            groups: Some(groups),
            token: token(TOKEN)?,
        })
    };
    let own = vec![GroupName::new(CONFINED)?];
    Ok(Auth::new(vec![rule(Some(CONFINED), own)?, rule(None, all?)?]))
}

/// Where a server says how it is.
pub const ADMIN_PORT: u16 = 7_500;

/// Has a server stand beside the other one. It leaves it to that one to look after the services.
fn stand_second(config: &mut ServerConfig) {
    (config.control, config.proxy) = (any(SECOND_CONTROL_PORT), any(SECOND_PROXY_PORT));
    config.admin = None;
    for group in config.groups.values_mut() {
        group.probing.kind = prober::Kind::Off;
    }
}

/// Whom the entry believes for whom they speak: some visitors, and proxies that are not here.
fn trusted(
    web: &Web,
    addresses: &BTreeMap<String, std::net::IpAddr>,
) -> anyhow::Result<Vec<entry::http::network::Network>> {
    let visitors = web.trusted.iter().map(|n| Who::Visitor(*n).to_string());
    let visitors = visitors.filter_map(|name| Some(addresses.get(&name)?.to_string()));
    let all = visitors.chain([web::chain::PROXIES.to_owned()]);
    all.map(|text| text.parse().context("it is a network")).collect()
}

/// Requests for a group's own host go to it, and what stands before their path is taken off. Those for its `plain` host go
/// to it as they are.
fn rule(group: &GroupName, plain: bool, web: &Web) -> anyhow::Result<RuleConfig> {
    let name = if plain {
        format!("plain.{group}")
    } else {
        group.to_string()
    };
    let host = format!("{name}.test");
    let way = [("x-way".to_owned(), group.to_string())].into();
    Ok(RuleConfig {
        conditions: vec![Conditions {
            host: host.parse::<HostPattern>()?,
            ..Conditions::default()
        }],
        group: group.clone(),
        speech: web.upstream.map(|version| match version {
            Version::H1 => Speech::Http1,
            Version::H2 => Speech::Http2,
        }),
        name,
        connect: None,
        first_byte: None,
        request_body: None,
        idle: (web.answer_idle_ms > 0).then(|| Some(millis(web.answer_idle_ms))),
        pages: Pages::default(),
        plugins: match plain {
            true => Vec::new(),
            false => vec![
                plugin::Options::SetHeader(way),
                plugin::Options::StripPrefix(web::PREFIX.to_owned()),
            ],
        },
    })
}

fn token(text: &str) -> anyhow::Result<Token> {
    Token::new(text).ok().context("the token is long enough")
}
