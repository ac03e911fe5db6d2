//! File, flags and environment become a checked [`ServerConfig`].

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use super::{
    Checked, ConfigError, DEFAULT_GROUP, Drain, GroupConfig, Limits, Logging, LoggingFlags, RuleConfig,
    ServerConfig, address, entries,
    expand::Lookup,
    file::{DrainKeys, GroupKeys, LimitKeys, LinkKeys, ServerFile, SessionKeys},
    group,
    load::{Role, Source, TIMEOUT_MIN},
    ports::Ports,
    ranges::{self, RangeGroups},
    rules, secret,
    tree::{Format, KeyPath},
    value::{Carry, Kind, Overflow, Ready, Replay},
};
use crate::{admin::needs::Needs, entry, id::GroupName, link, registry, session, time::Duration};

/// Where control connections come in, unless said otherwise.
pub const CONTROL_PORT: u16 = 7000;
/// Where proxy connections come in, unless said otherwise.
pub const PROXY_PORT: u16 = 7001;
/// Where visitors come in, unless said otherwise.
pub const PUBLIC_PORT: u16 = 8080;
/// Where state, metrics and commands are served, unless said otherwise.
pub const SERVER_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7500);
/// The most upstreams of a client; more do not fit a `Register`.
const UPSTREAMS_MAX: usize = 64;

/// The flags of `adit server`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFlags {
    /// `--bind`.
    pub bind: Option<String>,
    /// `--control-port`.
    pub control_port: Option<u16>,
    /// `--proxy-port`.
    pub proxy_port: Option<u16>,
    /// `--public-port`.
    pub public_port: Option<u16>,
    /// `--token-file`.
    pub token_file: Option<PathBuf>,
    /// `--insecure`.
    pub insecure: bool,
    /// Nothing will be opened: the secret may be given when it is, so its absence is a warning.
    pub only_check: bool,
    /// `--format`: how the file is to be read, whatever its ending.
    pub format: Option<Format>,
    /// `--log-level` and `--log-format`.
    pub logging: LoggingFlags,
}

/// Loads and checks what a server needs. Flags win over the file, the file over defaults.
///
/// # Errors
/// The first thing that is wrong, with its file, line and key, or its flag.
pub fn load_server(
    path: Option<&Path>,
    flags: &ServerFlags,
    env: Lookup<'_>,
) -> Result<Checked<ServerConfig>, ConfigError> {
    build_server(&Source::open_as(path, flags.format)?, flags, env)
}

/// The same for a source that is already parsed.
///
/// # Errors
/// The first thing that is wrong, with its file, line and key, or its flag.
pub fn build_server(
    source: &Source,
    flags: &ServerFlags,
    env: Lookup<'_>,
) -> Result<Checked<ServerConfig>, ConfigError> {
    let file: ServerFile = source.read(Role::Server, env)?;
    let mut warnings = Vec::new();
    let (entry_keys, ranges) = match file.entries {
        Some(keys) => {
            let (keys, ranges) = ranges::entries(keys, source)?;
            (Some(keys), ranges)
        }
        None => (None, RangeGroups::new()),
    };
    let mut auth_keys = file.auth.unwrap_or_default();
    ranges::widen(
        auth_keys.clients.as_mut().map_or(&mut [], Vec::as_mut_slice),
        &ranges,
    );
    let auth = secret::server_auth(auth_keys, flags, source, env, &mut warnings)?;
    let mut ports = Ports::new(file.bind, flags, source, &auth)?;

    let control_port = file.control.and_then(|keys| keys.port);
    let control = ports.open(
        flags.control_port,
        "--control-port",
        control_port,
        "control",
        CONTROL_PORT,
    )?;
    let proxy_keys = file.proxy.unwrap_or_default();
    let proxy = ports.open(
        flags.proxy_port,
        "--proxy-port",
        proxy_keys.port,
        "proxy",
        PROXY_PORT,
    )?;
    let advertise = proxy_keys.advertise.map(|text| {
        let at = KeyPath::new("proxy").key("advertise");
        address::authority(&text, None).map_err(|message| source.key_error(&at, message))
    });

    let groups = Groups::new(file.groups.unwrap_or_default(), ranges, source, &mut warnings)?;
    let session = session_options(file.session.unwrap_or_default(), source)?;
    let rules = rules::build(
        file.rules.unwrap_or_default(),
        &file.plugins.unwrap_or_default(),
        source,
        &mut warnings,
    )?;
    let entries = match entry_keys {
        Some(keys) => {
            if let Some(flag) = flags.public_port.map(|_| "--public-port") {
                let message = format!("has no effect beside {}", source.place(&KeyPath::new("entries")));
                return Err(ConfigError::Flag { flag, message });
            }
            if file.public.is_some() {
                let public = source.place(&KeyPath::new("public"));
                warnings.push(format!("{public} has no effect beside `entries`"));
            }
            entries::entries(keys, &rules, &mut ports, &groups, session, source, &mut warnings)?
        }
        None => vec![entries::public(
            file.public.unwrap_or_default(),
            flags,
            &mut ports,
            &groups,
            session,
            source,
        )?],
    };
    if entries.is_empty() {
        warnings.push(format!(
            "{} is empty: no visitor can come in",
            source.place(&KeyPath::new("entries"))
        ));
    }
    let admin_keys = file.admin.unwrap_or_default();
    let ready = match admin_keys.ready.unwrap_or_default() {
        Ready::All => Needs::All,
        Ready::Any => Needs::Any,
    };
    let admin = ports
        .taken()
        .side(admin_keys.listen, "admin", Some(SERVER_ADMIN), &mut warnings)?;
    let metrics = file.metrics.and_then(|keys| keys.listen);
    let metrics = ports.taken().side(metrics, "metrics", None, &mut warnings)?;
    groups.warn_of_unused(&entries, &rules, source, &mut warnings);
    let http = |entry: &entry::Options| matches!(entry.kind, entry::Kind::Http(_));
    if !rules.is_empty() && !entries.iter().any(http) {
        let place = source.place(&KeyPath::new("rules"));
        warnings.push(format!("{place} have no effect: no entry is of `kind: http`"));
    }
    ports.warn_of_openness(&mut warnings);

    let (limits, registry) = limits(file.limits.unwrap_or_default(), source)?;
    let config = ServerConfig {
        control,
        proxy,
        proxy_advertise: advertise.transpose()?,
        entries,
        rules,
        auth,
        groups: groups.built,
        registry,
        link: link::Options {
            half_closed_timeout: session.half_closed_timeout,
            ..link_options(file.link.unwrap_or_default(), source)?
        },
        limits,
        admin,
        ready,
        metrics,
        drain: drain(file.drain.unwrap_or_default(), source)?,
        logging: Logging::build(file.logging.unwrap_or_default(), flags.logging, source)?,
    };
    Ok(Checked::new(config, warnings))
}

/// The configured groups, and what they say about entries.
pub(super) struct Groups {
    built: BTreeMap<GroupName, GroupConfig>,
    ways: BTreeMap<GroupName, Ways>,
    /// Those that only ranges of ports lead to: they stand for a group for each port.
    bases: BTreeSet<GroupName>,
}

/// What a group or an entry says of its sessions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ways {
    pub(super) carry: Option<Carry>,
    pub(super) overflow: Option<Overflow>,
    pub(super) replay: Option<Replay>,
}

impl Groups {
    fn new(
        keys: BTreeMap<String, GroupKeys>,
        ranges: RangeGroups,
        source: &Source,
        warnings: &mut Vec<String>,
    ) -> Result<Self, ConfigError> {
        let mut groups = Self {
            built: BTreeMap::new(),
            ways: BTreeMap::new(),
            bases: BTreeSet::new(),
        };
        for (name, keys) in keys {
            let at = KeyPath::new("groups").key(&name);
            let group = GroupName::new(&name).map_err(|error| source.key_error(&at, error.to_string()))?;
            let ways = Ways {
                carry: keys.carry,
                overflow: keys.overflow,
                replay: keys.replay,
            };
            let keys = group::Keys {
                balance: keys.balance,
                selector: keys.selector,
                probing: keys.probing,
                scoring: keys.scoring,
                pools: keys.pools,
            };
            let config = group::build(keys, &at, &GroupConfig::default(), source, warnings)?;
            groups.ways.insert(group.clone(), ways);
            groups.built.insert(group, config);
        }
        groups.inherit(&ranges);
        Ok(groups)
    }

    /// The groups of a range are as the group that the entry names, unless they have keys of their own.
    fn inherit(&mut self, ranges: &RangeGroups) {
        for (base, names) in ranges {
            // What is no name has an error of its own, with its place.
            let Ok(base) = GroupName::new(base) else { continue };
            for group in names.iter().filter_map(|name| GroupName::new(name).ok()) {
                if let (Some(config), Some(ways)) = (self.built.get(&base), self.ways.get(&base)) {
                    let (config, ways) = (config.clone(), *ways);
                    self.built.entry(group.clone()).or_insert(config);
                    self.ways.entry(group).or_insert(ways);
                }
            }
            self.bases.insert(base);
        }
    }

    /// How the sessions of an entry that leads to `group` behave: as the entry says, else as the group says, else as
    /// entries of its kind do.
    pub(super) fn session(
        &self,
        entry: Ways,
        kind: Kind,
        group: &GroupName,
        options: session::Options,
    ) -> session::Options {
        let group = self.ways.get(group).copied().unwrap_or_default();
        let of_kind = match kind {
            Kind::Tcp => (Carry::Dedicated, Replay::Unacknowledged),
            // Requests are told apart by their methods, not by their connection.
            Kind::Http => (Carry::Mux, Replay::RefusedOnly),
        };
        session::Options {
            carry: match entry.carry.or(group.carry).unwrap_or(of_kind.0) {
                Carry::Dedicated => session::Carriage::Dedicated,
                Carry::Mux => session::Carriage::Mux,
            },
            overflow: match entry.overflow.or(group.overflow).unwrap_or_default() {
                Overflow::Mux => session::Overflow::Mux,
                Overflow::Wait => session::Overflow::Wait,
            },
            replay: match entry.replay.or(group.replay).unwrap_or(of_kind.1) {
                Replay::Unacknowledged => session::Replay::Unacknowledged,
                Replay::RefusedOnly => session::Replay::RefusedOnly,
            },
            ..options
        }
    }

    fn warn_of_unused(
        &self,
        entries: &[entry::Options],
        rules: &[RuleConfig],
        source: &Source,
        warnings: &mut Vec<String>,
    ) {
        for group in self.built.keys() {
            if self.bases.contains(group) {
                continue;
            }
            let led_to = entries.iter().any(|entry| entry.group == *group);
            if !led_to && !rules.iter().any(|rule| rule.group == *group) {
                let at = KeyPath::new("groups").key(group.as_str());
                warnings.push(format!("{}: no entry leads to this group", source.place(&at)));
            }
        }
    }
}

/// A group as named in the file, or the default group.
pub(super) fn group_name(
    text: Option<&str>,
    at: &KeyPath,
    source: &Source,
) -> Result<GroupName, ConfigError> {
    GroupName::new(text.unwrap_or(DEFAULT_GROUP)).map_err(|error| source.key_error(at, error.to_string()))
}

fn session_options(keys: SessionKeys, source: &Source) -> Result<session::Options, ConfigError> {
    let defaults = session::Options::default();
    let at = |key: &str| KeyPath::new("session").key(key);
    let read = |key: &str, value, default| source.duration(&at(key), value, TIMEOUT_MIN, default);
    Ok(session::Options {
        answer_timeout: read("answer_timeout", keys.answer_timeout, defaults.answer_timeout)?,
        connect_timeout: read("connect_timeout", keys.connect_timeout, defaults.connect_timeout)?,
        start_timeout: read("start_timeout", keys.start_timeout, defaults.start_timeout)?,
        half_closed_timeout: read(
            "half_closed_timeout",
            keys.half_closed_timeout,
            defaults.half_closed_timeout,
        )?,
        ..defaults
    })
}

fn link_options(keys: LinkKeys, source: &Source) -> Result<link::Options, ConfigError> {
    let defaults = link::Options::default();
    let at = |key: &str| KeyPath::new("link").key(key);
    let missed_max = source.count(&at("missed_max"), keys.missed_max, defaults.missed_max as usize)?;
    let links = source.count(&at("links"), keys.links, defaults.links)?;
    let max_streams = source.count(
        &at("max_streams"),
        keys.max_streams,
        defaults.max_streams as usize,
    )?;
    Ok(link::Options {
        heartbeat: source.duration(&at("heartbeat"), keys.heartbeat, TIMEOUT_MIN, defaults.heartbeat)?,
        missed_max: u32::try_from(missed_max).unwrap_or(u32::MAX),
        handshake_timeout: source.duration(
            &at("handshake_timeout"),
            keys.handshake_timeout,
            TIMEOUT_MIN,
            defaults.handshake_timeout,
        )?,
        links: at_most(link::LINKS_MAX, links, &at("links"), source)?,
        max_streams: u32::try_from(at_most(
            link::STREAMS_MAX as usize,
            max_streams,
            &at("max_streams"),
            source,
        )?)
        .unwrap_or(link::STREAMS_MAX),
        ..defaults
    })
}

/// A number that is no larger than it may be.
fn at_most(max: usize, found: usize, at: &KeyPath, source: &Source) -> Result<usize, ConfigError> {
    if found > max {
        return Err(source.key_error(at, format!("expected at most {max}, found {found}")));
    }
    Ok(found)
}

fn limits(keys: LimitKeys, source: &Source) -> Result<(Limits, registry::Options), ConfigError> {
    let (limits, registry) = (Limits::default(), registry::Options::default());
    let at = |key: &str| KeyPath::new("limits").key(key);
    let count = |key: &str, value, default| source.count(&at(key), value, default);
    let upstreams_max = count(
        "upstreams_per_client",
        keys.upstreams_per_client,
        registry.upstreams_max,
    )?;
    let registry = registry::Options {
        clients_max: count("clients", keys.clients, registry.clients_max)?,
        upstreams_max: at_most(UPSTREAMS_MAX, upstreams_max, &at("upstreams_per_client"), source)?,
    };
    let sessions = count("sessions", keys.sessions, limits.sessions)?;
    let limits = Limits {
        unproven: count("unproven", keys.unproven, limits.unproven)?,
        unproven_per_address: count(
            "unproven_per_address",
            keys.unproven_per_address,
            limits.unproven_per_address,
        )?,
        sessions,
        upstream_connections: count(
            "upstream_connections",
            keys.upstream_connections,
            sessions.saturating_mul(Limits::UPSTREAM_CONNECTIONS),
        )?,
        replay_bytes: keys.replay_memory.map_or(limits.replay_bytes, |size| size.0),
        waiting: count("waiting", keys.waiting, limits.waiting)?,
    };
    Ok((limits, registry))
}

/// How a node of any role ends.
pub(super) fn drain(keys: DrainKeys, source: &Source) -> Result<Drain, ConfigError> {
    let defaults = Drain::default();
    let read = |key: &str, value, default| {
        source.duration(&KeyPath::new("drain").key(key), value, Duration::ZERO, default)
    };
    Ok(Drain {
        delay: read("delay", keys.delay, defaults.delay)?,
        timeout: read("timeout", keys.timeout, defaults.timeout)?,
    })
}
