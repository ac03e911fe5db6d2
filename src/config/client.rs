//! File, flags and environment become a checked [`ClientConfig`].

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    Checked, ClientConfig, ConfigError, Logging, LoggingFlags, UpstreamConfig, address,
    expand::Lookup,
    file::{BackoffKeys, ClientFile, UpstreamKeys},
    group,
    load::{Role, Source, TIMEOUT_MIN},
    ports::Taken,
    ranges, secret,
    server::{CONTROL_PORT, drain, group_name},
    tree::{Format, KeyPath},
};
use crate::{
    backoff,
    candidates::{self, Candidate},
    id::{ClientId, GroupName, UpstreamName},
    link,
    time::Duration,
};

/// The server of a client that names none.
pub const DEFAULT_SERVER: &str = "127.0.0.1:7000";
/// The name of the upstream that `--local` makes.
pub const LOCAL_UPSTREAM: &str = "main";
/// The most upstreams; more do not fit a `Register`.
const UPSTREAMS_MAX: usize = 64;

/// The flags of `adit client`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFlags {
    /// `--client-id`.
    pub client_id: Option<String>,
    /// `--group`.
    pub group: Option<String>,
    /// `--server`, each.
    pub servers: Vec<String>,
    /// `--local`.
    pub local: Option<String>,
    /// `--token-file`.
    pub token_file: Option<PathBuf>,
    /// `--format`: how the file is to be read, whatever its ending.
    pub format: Option<Format>,
    /// `--log-level` and `--log-format`.
    pub logging: LoggingFlags,
}

/// Loads and checks what a client needs. Flags win over the file, the file over defaults.
///
/// # Errors
/// The first thing that is wrong, with its file, line and key, or its flag.
pub fn load_client(
    path: Option<&Path>,
    flags: &ClientFlags,
    env: Lookup<'_>,
) -> Result<Checked<ClientConfig>, ConfigError> {
    build_client(&Source::open_as(path, flags.format)?, flags, env)
}

/// The same for a source that is already parsed.
///
/// # Errors
/// The first thing that is wrong, with its file, line and key, or its flag.
pub fn build_client(
    source: &Source,
    flags: &ClientFlags,
    env: Lookup<'_>,
) -> Result<Checked<ClientConfig>, ConfigError> {
    let file: ClientFile = source.read(Role::Client, env)?;
    let mut warnings = Vec::new();
    let client_id = client_id(file.client_id, flags, source)?;
    let group = match &flags.group {
        Some(name) => GroupName::new(name).map_err(|error| flag_error("--group", error))?,
        None => group_name(file.group.as_deref(), &KeyPath::new("group"), source)?,
    };
    let servers = servers(file.servers, flags, source)?;
    let token = secret::client_token(
        file.token,
        flags.token_file.as_deref(),
        source,
        env,
        &mut warnings,
    )?;
    if token.is_anonymous() {
        for server in servers.iter().filter(|server| !address::is_loopback(server)) {
            warnings.push(format!(
                "no secret: {server} takes this client only if it asks for none"
            ));
        }
    }
    let upstreams = match &flags.local {
        Some(local) => vec![UpstreamConfig::new(
            UpstreamName::new(LOCAL_UPSTREAM).expect("the name of the local upstream is legal"),
            group.clone(),
            vec![target(local).map_err(|message| flag_error("--local", message))?],
        )],
        None => upstreams(file.upstreams.unwrap_or_default(), &group, source, &mut warnings)?,
    };
    let mut taken = Taken::new(source);
    let admin = taken.side(
        file.admin.and_then(|keys| keys.listen),
        "admin",
        None,
        &mut warnings,
    )?;
    let metrics = taken.side(
        file.metrics.and_then(|keys| keys.listen),
        "metrics",
        None,
        &mut warnings,
    )?;
    let link = link::Options::default();
    let handshake = file.link.unwrap_or_default().handshake_timeout;
    let config = ClientConfig {
        client_id,
        group,
        servers,
        token,
        upstreams,
        link: link::Options {
            handshake_timeout: source.duration(
                &KeyPath::new("link").key("handshake_timeout"),
                handshake,
                TIMEOUT_MIN,
                link.handshake_timeout,
            )?,
            ..link
        },
        backoff: backoff_options(file.backoff.unwrap_or_default(), source)?,
        admin,
        metrics,
        drain: drain(file.drain.unwrap_or_default(), source)?,
        logging: Logging::build(file.logging.unwrap_or_default(), flags.logging, source)?,
    };
    Ok(Checked::new(config, warnings))
}

fn client_id(file: Option<String>, flags: &ClientFlags, source: &Source) -> Result<ClientId, ConfigError> {
    match (&flags.client_id, file) {
        (Some(id), _) => ClientId::new(id).map_err(|error| flag_error("--client-id", error)),
        (None, Some(id)) => ClientId::new(&id)
            .map_err(|error| source.key_error(&KeyPath::new("client_id"), error.to_string())),
        (None, None) => Err(ConfigError::Whole(
            source.missing("a client needs a name: give --client-id ID, or the key `client_id`"),
        )),
    }
}

fn servers(
    file: Option<Vec<String>>,
    flags: &ClientFlags,
    source: &Source,
) -> Result<Vec<String>, ConfigError> {
    let at = KeyPath::new("servers");
    let from_flags = !flags.servers.is_empty();
    let texts = match file {
        _ if from_flags => flags.servers.clone(),
        Some(texts) if texts.is_empty() => {
            return Err(source.key_error(&at, "the list is empty: a client needs a server"));
        }
        Some(texts) => texts,
        None => vec![DEFAULT_SERVER.to_owned()],
    };
    let mut servers = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let error = |message: String| {
            if from_flags {
                flag_error("--server", message)
            } else {
                source.key_error(&at.index(index), message)
            }
        };
        let server = address::authority(text, Some(CONTROL_PORT)).map_err(error)?;
        if servers.contains(&server) {
            return Err(error(format!("{server} is named twice")));
        }
        servers.push(server);
    }
    Ok(servers)
}

fn upstreams(
    keys: Vec<UpstreamKeys>,
    client_group: &GroupName,
    source: &Source,
    warnings: &mut Vec<String>,
) -> Result<Vec<UpstreamConfig>, ConfigError> {
    let all = KeyPath::new("upstreams");
    let mut by_group: BTreeMap<GroupName, Vec<(usize, bool, UpstreamName)>> = BTreeMap::new();
    if keys.is_empty() {
        return Err(ConfigError::Whole(source.missing(
            "a client needs something to serve: give --local ADDR, or the key `upstreams`",
        )));
    }
    let written = keys.len();
    let keys = ranges::upstreams(keys, client_group.as_str(), source)?;
    if keys.len() > UPSTREAMS_MAX {
        let ports = if keys.len() > written {
            ", one for each port of a range"
        } else {
            ""
        };
        let message = format!("expected at most {UPSTREAMS_MAX}, found {}{ports}", keys.len());
        return Err(source.key_error(&all, message));
    }
    let mut built: Vec<UpstreamConfig> = Vec::new();
    for (index, keys) in keys {
        let at = all.index(index);
        let name = keys
            .name
            .ok_or_else(|| source.key_error(&at.key("name"), "missing: every upstream needs one"))?;
        let name =
            UpstreamName::new(&name).map_err(|error| source.key_error(&at.key("name"), error.to_string()))?;
        if built.iter().any(|earlier| earlier.name == name) {
            return Err(source.key_error(&at.key("name"), format!("there is an upstream `{name}` already")));
        }
        let is_written = keys.group.is_some();
        let group = match keys.group {
            Some(group) => group_name(Some(&group), &at.key("group"), source)?,
            None => client_group.clone(),
        };
        let peers = by_group.entry(group.clone()).or_default();
        peers.push((index, is_written, name.clone()));
        let at_targets = at.key("targets");
        let texts = keys.targets.unwrap_or_default();
        if texts.is_empty() {
            return Err(source.key_error(&at_targets, "missing: an upstream needs an address"));
        }
        let read = |(index, text): (usize, &String)| {
            target(text).map_err(|message| source.key_error(&at_targets.index(index), message))
        };
        let targets = texts.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        let defaults = UpstreamConfig::new(name, group, targets);
        let connect_timeout = source.duration(
            &at.key("connect_timeout"),
            keys.connect_timeout,
            TIMEOUT_MIN,
            defaults.connect_timeout,
        )?;
        let mut choice = defaults.choice.clone();
        if keys.pools.is_some() {
            // Connections to addresses, as a forwarder's; but only where they are asked for.
            choice.pool = group::of_addresses().pool;
        }
        let keys = group::Keys {
            balance: keys.balance,
            selector: keys.selector,
            probing: keys.probing,
            scoring: keys.scoring,
            pools: keys.pools,
        };
        built.push(UpstreamConfig {
            connect_timeout,
            choice: group::build(keys, &at, &choice, source, warnings)?,
            ..defaults
        });
    }
    for (group, peers) in by_group {
        let unwritten = peers.iter().find(|(_, is_written, _)| !is_written);
        if let (Some((index, ..)), true) = (unwritten, peers.len() > 1) {
            let names: Vec<_> = peers.iter().map(|(.., name)| format!("`{name}`")).collect();
            warnings.push(format!(
                "{}: {} are all in the group `{group}`, so a visitor gets any of them: write the `group` of each",
                source.place(&all.index(*index)),
                names.join(", ")
            ));
        }
    }
    Ok(built)
}

/// Reads an address of a service, with its weight if one is given.
fn target(text: &str) -> Result<Candidate, String> {
    let (place, weight) = candidates::split_weight(text.trim())?;
    Ok(Candidate {
        weight,
        ..Candidate::at(&address::target(place)?)
    })
}

fn backoff_options(keys: BackoffKeys, source: &Source) -> Result<backoff::Options, ConfigError> {
    let defaults = backoff::Options::default();
    let at = |key: &str| KeyPath::new("backoff").key(key);
    let options = backoff::Options {
        base: source.duration(&at("base"), keys.base, TIMEOUT_MIN, defaults.base)?,
        cap: source.duration(&at("cap"), keys.cap, TIMEOUT_MIN, defaults.cap)?,
        stable_after: source.duration(
            &at("stable_after"),
            keys.stable_after,
            Duration::ZERO,
            defaults.stable_after,
        )?,
    };
    if options.base > options.cap {
        return Err(source.key_error(
            &at("base"),
            "the first ceiling is above the last one, `backoff.cap`",
        ));
    }
    Ok(options)
}

fn flag_error(flag: &'static str, message: impl ToString) -> ConfigError {
    ConfigError::Flag {
        flag,
        message: message.to_string(),
    }
}
