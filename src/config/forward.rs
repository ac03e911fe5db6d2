//! File, flags and environment become a checked [`ForwardConfig`].

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use super::{
    Checked, ConfigError, Drain, GroupConfig, Logging, LoggingFlags, address,
    expand::Lookup,
    forward_file::{CandidateKeys, ForwardFile, ForwardLimitKeys, ForwardSessionKeys},
    group,
    load::{Role, Source, TIMEOUT_MIN},
    ports::Taken,
    server::drain,
    tree::{Format, KeyPath},
};
use crate::{
    candidates::{self, CANDIDATES_MAX, Candidate},
    session,
    time::Duration,
};

/// Where a forwarder's visitors come in, unless said otherwise.
pub const FORWARD_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1234);
/// Where a forwarder serves its metrics, unless said otherwise.
pub const FORWARD_METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9099);

/// How long connecting to a candidate may take, unless said otherwise: time enough to lose one packet, which is sent
/// again after a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The flags of `adit forward`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardFlags {
    /// `--listen`.
    pub listen: Option<String>,
    /// `--candidate`, each.
    pub candidates: Vec<String>,
    /// `--format`: how the file is to be read, whatever its ending.
    pub format: Option<Format>,
    /// `--log-level` and `--log-format`.
    pub logging: LoggingFlags,
}

/// Everything a forwarder needs to run. Checked: no later code checks it again.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardConfig {
    /// Where visitors come in. Default 127.0.0.1:1234.
    pub listen: SocketAddr,
    /// Where they may be sent.
    pub candidates: Candidates,
    /// How candidates are chosen, probed, scored and kept warm.
    pub group: GroupConfig,
    /// Deadlines of sessions; those of the tunnel have no meaning here.
    pub session: session::Options,
    /// What visitors may take.
    pub limits: ForwardLimits,
    /// Where state, metrics and commands are served; `None` is nowhere.
    pub admin: Option<SocketAddr>,
    /// Where metrics alone are served; `None` is nowhere. Default 127.0.0.1:9099.
    pub metrics: Option<SocketAddr>,
    /// How it ends.
    pub drain: Drain,
    /// What it writes, and where.
    pub logging: Logging,
    /// Where it came from; `None` without a file.
    pub origin: Option<Origin>,
}

/// The candidates of a forwarder, by where they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidates {
    /// In the configuration itself, or in flags.
    pub inline: Vec<Candidate>,
    /// The file with the others.
    pub file: Option<PathBuf>,
    /// What that file held when it was read last.
    pub listed: Vec<Candidate>,
}

impl Candidates {
    /// All of them, each once. What stands in the configuration itself wins.
    pub fn all(&self) -> Vec<Candidate> {
        candidates::merge([&self.listed[..], &self.inline])
    }
}

/// Limits of a forwarder; each has a metric that shows how near it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardLimits {
    /// Sessions at once. Default 65,536.
    pub sessions: usize,
    /// Visitors waiting for a candidate that may be used. Default 1,024.
    pub waiting: usize,
}

impl Default for ForwardLimits {
    fn default() -> Self {
        Self {
            sessions: 65_536,
            waiting: 1024,
        }
    }
}

/// What makes a configuration of a file's content: to read it again while the node runs.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The file.
    pub path: PathBuf,
    /// The flags that win over it.
    pub flags: ForwardFlags,
    /// The environment.
    pub env: fn(&str) -> Option<String>,
}

impl PartialEq for Origin {
    /// Functions have no identity to compare; a process has one environment.
    fn eq(&self, other: &Self) -> bool {
        (&self.path, &self.flags) == (&other.path, &other.flags)
    }
}

impl Origin {
    /// What `content` of the file comes to; the candidates' file is not read. Warnings are logged.
    ///
    /// # Errors
    /// A sentence with the file, the line and the key.
    pub fn read(&self, content: &[u8]) -> Result<ForwardConfig, String> {
        let read = || {
            let source = Source::parse_bytes(&self.path, content, self.flags.format)?;
            parse_forward(&source, &self.flags, &self.env)
        };
        let checked = read().map_err(|error| error.to_string())?;
        for warning in &checked.warnings {
            tracing::warn!("{warning}");
        }
        Ok(ForwardConfig {
            origin: Some(self.clone()),
            ..checked.config
        })
    }
}

/// Loads and checks what a forwarder needs. Flags win over the file, the file over defaults.
///
/// # Errors
/// The first thing that is wrong, with its file, line and key, or its flag.
pub fn load_forward(
    path: Option<&Path>,
    flags: &ForwardFlags,
    env: fn(&str) -> Option<String>,
) -> Result<Checked<ForwardConfig>, ConfigError> {
    let mut checked = build_forward(&Source::open_as(path, flags.format)?, flags, &env)?;
    // Standard input is read once, and has no changes.
    let followed = path.filter(|path| !Source::is_standard_input(path));
    checked.config.origin = followed.map(|path| Origin {
        path: path.to_owned(),
        flags: flags.clone(),
        env,
    });
    Ok(checked)
}

/// The same for a source that is already parsed; it has no origin.
///
/// # Errors
/// The first thing that is wrong, with its file, line and key, or its flag.
pub fn build_forward(
    source: &Source,
    flags: &ForwardFlags,
    env: Lookup<'_>,
) -> Result<Checked<ForwardConfig>, ConfigError> {
    let mut checked = parse_forward(source, flags, env)?;
    if let Some(path) = checked.config.candidates.file.clone() {
        let text = source.read_text(&path).map_err(|cause| {
            source.key_error(
                &KeyPath::new("candidates").key("file"),
                format!("cannot read {}: {cause}", path.display()),
            )
        })?;
        checked.config.candidates.listed = candidates::parse(&text, &path.display().to_string())?;
        let count = checked.config.candidates.all().len();
        if count > CANDIDATES_MAX {
            let message = format!("with those of the file it is {count}, and {CANDIDATES_MAX} are the most");
            return Err(source.key_error(&KeyPath::new("candidates").key("addresses"), message));
        }
        if count == 0 {
            let warning = format!("{}: no candidate: every visitor will be refused", path.display());
            checked.warnings.push(warning);
        }
    }
    Ok(checked)
}

/// The same again, but nothing is read from the disk: the candidates' file is named, and its list is empty.
///
/// # Errors
/// The first thing that is wrong, with its file, line and key, or its flag.
pub fn parse_forward(
    source: &Source,
    flags: &ForwardFlags,
    env: Lookup<'_>,
) -> Result<Checked<ForwardConfig>, ConfigError> {
    let file: ForwardFile = source.read(Role::Forward, env)?;
    let mut warnings = Vec::new();
    let listen = listen(file.server.and_then(|keys| keys.listen_addr), flags, source)?;
    let mut taken = Taken::new(source);
    taken.put(listen, "the forwarder's own address");
    let admin = taken.side(
        file.admin.and_then(|keys| keys.listen),
        "admin",
        None,
        &mut warnings,
    )?;
    let metrics = taken.side(
        file.metrics.and_then(|keys| keys.listen),
        "metrics",
        Some(FORWARD_METRICS),
        &mut warnings,
    )?;
    let keys = group::Keys {
        balance: file.balance,
        selector: file.selector,
        probing: file.probing,
        scoring: file.scoring,
        pools: file.pools,
    };
    let config = ForwardConfig {
        listen,
        candidates: candidates(file.candidates.unwrap_or_default(), flags, source)?,
        group: group::build(
            keys,
            &KeyPath::default(),
            &group::of_addresses(),
            source,
            &mut warnings,
        )?,
        session: session_options(file.session.unwrap_or_default(), source)?,
        limits: limits(file.limits.unwrap_or_default(), source)?,
        admin,
        metrics,
        drain: drain(file.drain.unwrap_or_default(), source)?,
        logging: Logging::build(file.logging.unwrap_or_default(), flags.logging, source)?,
        origin: None,
    };
    Ok(Checked::new(config, warnings))
}

fn listen(file: Option<String>, flags: &ForwardFlags, source: &Source) -> Result<SocketAddr, ConfigError> {
    let local = FORWARD_LISTEN.ip();
    match (&flags.listen, file) {
        (Some(text), _) => address::listen(text, local).map_err(|message| ConfigError::Flag {
            flag: "--listen",
            message,
        }),
        (None, Some(text)) => address::listen(&text, local)
            .map_err(|message| source.key_error(&KeyPath::new("server").key("listen_addr"), message)),
        (None, None) => Ok(FORWARD_LISTEN),
    }
}

fn candidates(keys: CandidateKeys, flags: &ForwardFlags, source: &Source) -> Result<Candidates, ConfigError> {
    let at = KeyPath::new("candidates").key("addresses");
    let from_flags = !flags.candidates.is_empty();
    let (texts, file) = if from_flags {
        (flags.candidates.clone(), None)
    } else {
        (keys.addresses.unwrap_or_default(), keys.file)
    };
    let mut inline = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let error = |message: String| {
            if from_flags {
                let flag = "--candidate";
                ConfigError::Flag { flag, message }
            } else {
                source.key_error(&at.index(index), message)
            }
        };
        inline.extend(candidates::parse_line(text).map_err(error)?);
        if inline.len() > CANDIDATES_MAX {
            let count = inline.len();
            return Err(error(format!(
                "{text:?} makes it {count}, and {CANDIDATES_MAX} are the most"
            )));
        }
    }
    if inline.is_empty() && file.is_none() {
        return Err(ConfigError::Whole(source.missing(
            "a forwarder needs candidates: give --candidate HOST:PORT, or the key `candidates.addresses` or \
             `candidates.file`",
        )));
    }
    Ok(Candidates {
        inline: candidates::merge([&inline[..]]),
        file: file.map(|path| source.relative(&path)),
        listed: Vec::new(),
    })
}

fn session_options(keys: ForwardSessionKeys, source: &Source) -> Result<session::Options, ConfigError> {
    let defaults = session::Options {
        connect_timeout: CONNECT_TIMEOUT,
        ..session::Options::default()
    };
    let at = |key: &str| KeyPath::new("session").key(key);
    let read = |key: &str, value, default| source.duration(&at(key), value, TIMEOUT_MIN, default);
    Ok(session::Options {
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

fn limits(keys: ForwardLimitKeys, source: &Source) -> Result<ForwardLimits, ConfigError> {
    let defaults = ForwardLimits::default();
    let count = |key: &str, value, default| source.count(&KeyPath::new("limits").key(key), value, default);
    Ok(ForwardLimits {
        sessions: count("sessions", keys.sessions, defaults.sessions)?,
        waiting: count("waiting", keys.waiting, defaults.waiting)?,
    })
}
