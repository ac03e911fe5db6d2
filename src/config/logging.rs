//! What is logged, how, and where to.

use std::path::PathBuf;

use super::{
    ConfigError,
    file::LoggingKeys,
    load::Source,
    tree::KeyPath,
    value::{Level, LogFormat, LogOutput, Rotation},
};
use crate::files::{Output, Rolling};

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
        let place = OutputKeys {
            output: keys.output,
            file: keys.file,
            rotation: keys.rotation,
            keep: keys.keep,
        };
        let output = place.build(&KeyPath::new("logging"), source)?;
        Ok(Self {
            level: flags.level.or(keys.level).unwrap_or_default(),
            format: flags.format.or(keys.format).unwrap_or_default(),
            output,
        })
    }
}

/// Where lines go, as it stands in a file.
pub(super) struct OutputKeys {
    pub(super) output: Option<LogOutput>,
    pub(super) file: Option<PathBuf>,
    pub(super) rotation: Option<Rotation>,
    pub(super) keep: Option<u32>,
}

impl OutputKeys {
    /// # Errors
    /// Keys that do not go together.
    pub(super) fn build(self, at: &KeyPath, source: &Source) -> Result<Output, ConfigError> {
        let wrong = |key: &str, message: &str| Err(source.key_error(&at.key(key), message));
        let rotation = self.rotation.unwrap_or_default();
        let keep = source.count(&at.key("keep"), self.keep, KEEP)?;
        if self.keep.is_some() && rotation == Rotation::Never {
            return wrong("keep", "only for `rotation: daily` and `rotation: hourly`");
        }
        if self.rotation.is_some() && self.file.is_none() {
            return wrong("rotation", "only for `output: file`");
        }
        Ok(match (self.output, self.file) {
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
                return wrong("output", &format!("`file` needs the key `{}`", at.key("file")));
            }
            (Some(LogOutput::Stdout | LogOutput::Stderr), Some(_)) => {
                return wrong("file", "only for `output: file`");
            }
            (Some(LogOutput::Stderr), None) => Output::Stderr,
            (None | Some(LogOutput::Stdout), None) => Output::Stdout,
        })
    }
}
