//! From a path to the file types: reads, parses, and keeps what later errors need to name a place.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::{
    ConfigError,
    expand::Lookup,
    read,
    tree::{Format, KeyPath, Node},
    value::{Span, choice},
};
use crate::{files::text, time::Duration};

choice! {
    /// What a file configures.
    Role {
        /// `adit server`.
        #[default]
        Server = "server",
        /// `adit client`.
        Client = "client",
        /// `adit forward`.
        Forward = "forward",
    } later []
}

/// Top-level keys that only one role has.
const KEYS: [(Role, &[&str]); 3] = [
    (
        Role::Server,
        &["bind", "control", "proxy", "public", "auth", "groups", "rules"],
    ),
    (
        Role::Client,
        &["client_id", "servers", "token", "allow", "group", "backoff"],
    ),
    (
        Role::Forward,
        &[
            "server",
            "candidates",
            "balance",
            "pools",
            "probing",
            "scoring",
            "selector",
        ],
    ),
];

impl Role {
    /// What a node of this role is called.
    fn noun(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Forward => "forwarder",
        }
    }
}

/// The path that stands for standard input.
const STANDARD_INPUT: &str = "-";
/// What messages call it.
const STANDARD_INPUT_NAME: &str = "(standard input)";

fn format(path: &Path) -> Result<Format, ConfigError> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("yaml" | "yml") => Ok(Format::Yaml),
        Some("toml") => Ok(Format::Toml),
        _ => Err(ConfigError::Ending { path: path.into() }),
    }
}

/// Reads the whole content of a file that a configuration names.
pub type ReadFile = fn(&Path) -> io::Result<Vec<u8>>;

fn from_disk(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
}

fn from_standard_input() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The bytes as text.
fn as_text(bytes: &[u8]) -> io::Result<String> {
    let text = text::decode(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(text.into_owned())
}

/// One configuration file, or none.
#[derive(Clone, Debug)]
pub struct Source {
    path: Option<PathBuf>,
    tree: Node,
    read_file: ReadFile,
}

impl Source {
    /// Without a file: flags, environment and defaults.
    pub fn none() -> Self {
        Self {
            path: None,
            tree: Node::empty(),
            read_file: from_disk,
        }
    }

    /// Reads and parses the file, if there is one. Its ending says its format.
    ///
    /// # Errors
    /// It cannot be read, has another ending, or is not well-formed.
    pub fn open(path: Option<&Path>) -> Result<Self, ConfigError> {
        Self::open_as(path, None)
    }

    /// The same; `format` counts more than the ending. The path `-` is standard input, which is YAML unless `format`
    /// says otherwise.
    ///
    /// # Errors
    /// It cannot be read, its format is not known, or it is not well-formed.
    pub fn open_as(path: Option<&Path>, format: Option<Format>) -> Result<Self, ConfigError> {
        let Some(path) = path else {
            return Ok(Self::none());
        };
        let (path, format, bytes) = if Self::is_standard_input(path) {
            let path = Path::new(STANDARD_INPUT_NAME);
            (path, format.unwrap_or_default(), from_standard_input())
        } else {
            let format = format.map_or_else(|| self::format(path), Ok)?;
            (path, format, from_disk(path))
        };
        let text = bytes
            .and_then(|bytes| as_text(&bytes))
            .map_err(|cause| ConfigError::Read {
                path: path.into(),
                cause,
            })?;
        Self::parse(path, &text, format)
    }

    /// Whether the path stands for standard input.
    pub fn is_standard_input(path: &Path) -> bool {
        path == Path::new(STANDARD_INPUT)
    }

    /// Parses what was read from `path`; `format` counts more than the ending.
    ///
    /// # Errors
    /// It is no text, its format is not known, or it is not well-formed.
    pub fn parse_bytes(path: &Path, bytes: &[u8], format: Option<Format>) -> Result<Self, ConfigError> {
        let format = format.map_or_else(|| self::format(path), Ok)?;
        let text = as_text(bytes).map_err(|cause| ConfigError::Read {
            path: path.into(),
            cause,
        })?;
        Self::parse(path, &text, format)
    }

    /// Parses `text` as if it had been read from `path`, whose ending names its format.
    ///
    /// # Errors
    /// It has another ending, or is not well-formed.
    pub fn parse_named(path: &Path, text: &str) -> Result<Self, ConfigError> {
        Self::parse(path, text, format(path)?)
    }

    /// Parses `text` as if it had been read from `path`.
    ///
    /// # Errors
    /// It is not well-formed.
    pub fn parse(path: &Path, text: &str, format: Format) -> Result<Self, ConfigError> {
        let tree = Node::parse(text, format).map_err(|error| ConfigError::Syntax {
            path: path.into(),
            line: error.line,
            message: error.message,
        })?;
        Ok(Self {
            path: Some(path.into()),
            tree,
            read_file: from_disk,
        })
    }

    /// The same, but the files it names are read by `read_file` instead of from the disk.
    #[must_use]
    pub fn reading_by(self, read_file: ReadFile) -> Self {
        Self { read_file, ..self }
    }

    /// The role that the file is for: the one that its own keys speak of. A file with nothing but keys of several roles is a
    /// server's if it has `entries`, and a client's if it has `upstreams`: no other role takes them yet.
    ///
    /// # Errors
    /// It has keys of several roles, or of none.
    pub fn role(&self) -> Result<Role, ConfigError> {
        self.own_role().or_else(|error| {
            let has = |key| self.tree.child(key).is_some();
            let has_own = KEYS.iter().any(|(_, keys)| keys.iter().any(|key| has(key)));
            match (has_own, has("entries"), has("upstreams")) {
                (false, true, false) => Ok(Role::Server),
                (false, false, true) => Ok(Role::Client),
                _ => Err(error),
            }
        })
    }

    /// The role that has some key of this file for itself.
    fn own_role(&self) -> Result<Role, ConfigError> {
        let has = |keys: &[&str]| keys.iter().any(|key| self.tree.child(key).is_some());
        let roles: Vec<_> = KEYS.iter().filter(|(_, keys)| has(keys)).collect();
        let which = format!("say which with --role {}", Role::WORDS.join("|"));
        match roles[..] {
            [(role, _)] => Ok(*role),
            [] => Err(self.role_error(format!("it could be for any role; {which}"))),
            [(one, _), (other, _), ..] => Err(self.role_error(format!(
                "it has keys of a {} and of a {}; {which}",
                one.noun(),
                other.noun()
            ))),
        }
    }

    /// Reads the file type of `role`.
    ///
    /// # Errors
    /// The file is clearly another role's, or something in it does not fit, with its place.
    pub fn read<T: serde::de::DeserializeOwned>(
        &self,
        role: Role,
        env: Lookup<'_>,
    ) -> Result<T, ConfigError> {
        read::read(&self.tree, env).map_err(|error| {
            if let Ok(other) = self.own_role()
                && other != role
            {
                return self.role_error(format!(
                    "this is the configuration of a {}, not of a {}",
                    other.noun(),
                    role.noun()
                ));
            }
            let (line, key) = error.place.unwrap_or((1, KeyPath::default()));
            let message = if error.names_key || key.is_root() {
                error.message
            } else {
                format!("key `{key}`: {}", error.message)
            };
            self.at(line, &key, message)
        })
    }

    /// An error about the value of `key`.
    pub fn key_error(&self, key: &KeyPath, message: impl Into<String>) -> ConfigError {
        let line = self.tree.line_of(key);
        self.at(line, key, format!("key `{key}`: {}", message.into()))
    }

    /// How a message speaks of a key: with file and line.
    pub fn place(&self, key: &KeyPath) -> String {
        format!("{}:{}: `{key}`", self.file().display(), self.tree.line_of(key))
    }

    /// What messages call the file.
    pub fn name(&self) -> String {
        self.file().display().to_string()
    }

    /// A path as written in the file: relative to the file's own folder.
    pub fn relative(&self, path: &Path) -> PathBuf {
        match self.path.as_deref().and_then(Path::parent) {
            Some(folder) => folder.join(path),
            None => path.to_owned(),
        }
    }

    /// The text of a file: one that the configuration names, or a flag beside it.
    pub(super) fn read_text(&self, path: &Path) -> io::Result<String> {
        as_text(&self.read_bytes(path)?)
    }

    /// Its content as it is.
    pub(super) fn read_bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        (self.read_file)(path)
    }

    /// A sentence about something that is needed and nowhere given, with the file it could stand in.
    pub(super) fn missing(&self, sentence: &str) -> String {
        match &self.path {
            Some(path) => format!("{}: {sentence}", path.display()),
            None => sentence.to_owned(),
        }
    }

    /// A duration within bounds.
    pub(super) fn duration(
        &self,
        key: &KeyPath,
        value: Option<Span>,
        least: Duration,
        default: Duration,
    ) -> Result<Duration, ConfigError> {
        match value {
            None => Ok(default),
            Some(Span(value)) if (least..=DURATION_MAX).contains(&value) => Ok(value),
            Some(Span(value)) => {
                use humantime_serde::re::humantime::format_duration as human;
                Err(self.key_error(
                    key,
                    format!(
                        "expected {} to {}, found {}",
                        human(least),
                        human(DURATION_MAX),
                        human(value)
                    ),
                ))
            }
        }
    }

    /// The same where a word may stand for none.
    pub(super) fn some_duration(
        &self,
        key: &KeyPath,
        value: Option<Duration>,
        least: Duration,
    ) -> Result<Option<Duration>, ConfigError> {
        let checked = value.map(|value| self.duration(key, Some(Span(value)), least, value));
        checked.transpose()
    }

    /// A count of at least 1.
    pub(super) fn count(
        &self,
        key: &KeyPath,
        value: Option<u32>,
        default: usize,
    ) -> Result<usize, ConfigError> {
        match value {
            None => Ok(default),
            Some(0) => Err(self.key_error(key, "expected at least 1, found 0")),
            Some(count) => Ok(count as usize),
        }
    }

    fn file(&self) -> PathBuf {
        self.path.clone().unwrap_or_else(|| PathBuf::from("(no file)"))
    }

    fn at(&self, line: usize, key: &KeyPath, message: String) -> ConfigError {
        ConfigError::Key {
            path: self.file(),
            line,
            key: key.to_string(),
            message: shown(&message),
        }
    }

    fn role_error(&self, message: String) -> ConfigError {
        ConfigError::Role {
            path: self.file(),
            message,
        }
    }
}

/// A message with what it quotes from the file, without anything that a terminal would obey.
fn shown(message: &str) -> String {
    let show = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    message.chars().map(show).collect()
}

/// The shortest timeout. A shorter one fails on every machine that is busy.
pub(super) const TIMEOUT_MIN: Duration = Duration::from_millis(10);

/// The longest duration. Larger ones overflow when deadlines are added up; nobody waits longer on purpose.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);
