//! What is logged, how, and where to.

use std::path::PathBuf;

use super::{
    ConfigError,
    file::LoggingKeys,
    load::Source,
    tree::KeyPath,
    value::{Level, LogFormat, LogOutput, Rotation},
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
    /// Appended to files that take turns.
    Rolling(Rolling),
}

/// Log files of which each takes what is written in its hour or day (UTC): `adit.log` becomes `adit.2026-01-31.log`,
/// hourly `adit.2026-01-31-13.log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rolling {
    /// The path without the time.
    pub path: PathBuf,
    /// A file for each hour, else for each day.
    pub hourly: bool,
    /// The most files; older ones are removed. Default 7.
    pub keep: usize,
}

/// How many log files are kept, unless said otherwise.
pub(super) const KEEP: usize = 7;

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
        let rotation = keys.rotation.unwrap_or_default();
        let keep = source.count(&at("keep"), keys.keep, KEEP)?;
        if keys.keep.is_some() && rotation == Rotation::Never {
            return Err(source.key_error(&at("keep"), "only for `rotation: daily` and `rotation: hourly`"));
        }
        if keys.rotation.is_some() && keys.file.is_none() {
            return Err(source.key_error(&at("rotation"), "only for `output: file`"));
        }
        let output = match (keys.output, keys.file) {
            (None | Some(LogOutput::File), Some(file)) => {
                let path = source.relative(&file);
                match rotation {
                    Rotation::Never => Output::File(path),
                    Rotation::Hourly | Rotation::Daily => Output::Rolling(Rolling {
                        path,
                        hourly: rotation == Rotation::Hourly,
                        keep,
                    }),
                }
            }
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
