//! What is logged, how, and where to.

use std::path::PathBuf;

use super::{
    ConfigError,
    file::LoggingKeys,
    load::Source,
    tree::KeyPath,
    value::{Level, LogFormat, LogOutput},
};

/// How a node logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// The least important messages that are logged. Default `info`; `RUST_LOG` wins.
    pub level: Level,
    /// How lines look. Default `text`.
    pub format: LogFormat,
    /// Where lines go. Default standard output.
    pub output: Output,
}

/// Where log lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// Appended to this file.
    File(PathBuf),
}

/// What the command line says about logging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoggingFlags {
    /// `--log-level`.
    pub level: Option<Level>,
    /// `--log-format`.
    pub format: Option<LogFormat>,
}

impl Logging {
    /// The logging of a command without a file.
    pub fn from_flags(flags: LoggingFlags) -> Self {
        Self {
            level: flags.level.unwrap_or_default(),
            format: flags.format.unwrap_or_default(),
            output: Output::default(),
        }
    }

    pub(super) fn build(
        keys: LoggingKeys,
        flags: LoggingFlags,
        source: &Source,
    ) -> Result<Self, ConfigError> {
        let at = |key: &str| KeyPath::new("logging").key(key);
        let output = match (keys.output, keys.file) {
            (None | Some(LogOutput::File), Some(file)) => Output::File(source.relative(&file)),
            (Some(LogOutput::File), None) => {
                return Err(source.key_error(&at("output"), "`file` needs the key `logging.file`"));
            }
            (Some(LogOutput::Stdout | LogOutput::Stderr), Some(_)) => {
                return Err(source.key_error(&at("file"), "only for `output: file`"));
            }
            (Some(LogOutput::Stderr), None) => Output::Stderr,
            (None | Some(LogOutput::Stdout), None) => Output::Stdout,
        };
        Ok(Self {
            level: flags.level.or(keys.level).unwrap_or_default(),
            format: flags.format.or(keys.format).unwrap_or_default(),
            output,
        })
    }
}
