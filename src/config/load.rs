//! From a path to the file types: reads, parses, and keeps what later errors need to name a place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    ConfigError,
    expand::Lookup,
    read,
    tree::{Format, KeyPath, Node},
    value::{Span, choice},
};
use crate::time::Duration;

choice! {
    /// What a file configures.
    Role {
        /// `adit server`.
        #[default]
        Server = "server",
        /// `adit client`.
        Client = "client",
    } later ["forward"]
}

/// Top-level keys that only one role has.
const SERVER_KEYS: &[&str] = &[
    "bind", "control", "proxy", "public", "auth", "groups", "limits", "rules",
];
const CLIENT_KEYS: &[&str] = &["client_id", "servers", "token", "allow", "group", "backoff"];
const FORWARDER_KEYS: &[&str] = &["server", "candidates", "balance", "pools"];

/// One configuration file, or none.
#[derive(Clone, Debug)]
pub struct Source {
    path: Option<PathBuf>,
    tree: Node,
}

impl Source {
    /// Without a file: flags, environment and defaults.
    pub fn none() -> Self {
        Self {
            path: None,
            tree: Node::empty(),
        }
    }

    /// Reads and parses the file, if there is one.
    ///
    /// # Errors
    /// It cannot be read, has another ending, or is not well-formed.
    pub fn open(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else {
            return Ok(Self::none());
        };
        let format = match path.extension().and_then(|ending| ending.to_str()) {
            Some("yaml" | "yml") => Format::Yaml,
            Some("toml") => Format::Toml,
            _ => return Err(ConfigError::Ending { path: path.into() }),
        };
        let text = fs::read_to_string(path).map_err(|cause| ConfigError::Read {
            path: path.into(),
            cause,
        })?;
        Self::parse(path, &text, format)
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
        })
    }

    /// The role that the file's own keys speak of.
    ///
    /// # Errors
    /// It has keys of both, of none, or of a role that this version does not have.
    pub fn role(&self) -> Result<Role, ConfigError> {
        let has = |keys: &[&str]| keys.iter().any(|key| self.tree.child(key).is_some());
        let message = match (has(SERVER_KEYS), has(CLIENT_KEYS)) {
            (true, false) => return Ok(Role::Server),
            (false, true) => return Ok(Role::Client),
            (true, true) => "it has keys of a server and of a client; say which with --role server|client",
            (false, false) if has(FORWARDER_KEYS) => {
                "the forwarder (`adit forward`) is not supported in this version yet"
            }
            (false, false) => "it could be for a server or a client; say which with --role server|client",
        };
        Err(self.role_error(message.to_owned()))
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
            if let Ok(other) = self.role()
                && other != role
            {
                return self.role_error(format!(
                    "this is the configuration of a {}, not of a {}",
                    other.word(),
                    role.word()
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

    /// A path as written in the file: relative to the file's own folder.
    pub fn relative(&self, path: &Path) -> PathBuf {
        match self.path.as_deref().and_then(Path::parent) {
            Some(folder) => folder.join(path),
            None => path.to_owned(),
        }
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
            message,
        }
    }

    fn role_error(&self, message: String) -> ConfigError {
        ConfigError::Role {
            path: self.file(),
            message,
        }
    }
}

/// The longest duration. Larger ones overflow when deadlines are added up; nobody waits longer on purpose.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);
