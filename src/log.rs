//! Sets up logging: one subscriber, from the configuration, for the life of the process.
//!
//! A thread of its own writes the lines: a slow disk or a full pipe must not hold the control thread.

use std::{env, ffi::OsStr, fs::OpenOptions, io, io::IsTerminal, path::Path};

use adit::config::{Logging, Output, Rolling, value::LogFormat};
use anyhow::{Context, anyhow};
use tracing_appender::{
    non_blocking::{ErrorCounter, NonBlocking, WorkerGuard},
    rolling::{RollingFileAppender, Rotation},
};
use tracing_subscriber::{EnvFilter, fmt, util::SubscriberInitExt};

/// What is being written. Dropping it waits, a moment at most, until every line is.
#[must_use = "dropping it ends the log"]
pub struct Log {
    lost: ErrorCounter,
    _writer: WorkerGuard,
}

impl Drop for Log {
    fn drop(&mut self) {
        let lost = self.lost.dropped_lines();
        if lost > 0 {
            eprintln!(
                "adit: {lost} log lines were lost, because they came faster than they could be written"
            );
        }
    }
}

/// Starts logging. `RUST_LOG` wins over the configured level.
///
/// # Errors
/// The log file cannot be opened, or `RUST_LOG` is not a filter.
pub fn init(logging: &Logging) -> anyhow::Result<Log> {
    let filter = match env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => {
            EnvFilter::try_new(&text).map_err(|error| anyhow!("RUST_LOG={text}: {error}"))?
        }
        _ => EnvFilter::new(logging.level.word()),
    };
    let ((writer, guard), colors) = match &logging.output {
        Output::Stdout => (
            tracing_appender::non_blocking(io::stdout()),
            io::stdout().is_terminal(),
        ),
        Output::Stderr => (
            tracing_appender::non_blocking(io::stderr()),
            io::stderr().is_terminal(),
        ),
        Output::File(path) => (file(path)?, false),
        Output::Rolling(rolling) => (files(rolling)?, false),
    };
    let log = Log {
        lost: writer.error_counter(),
        _writer: guard,
    };
    let builder = fmt::Subscriber::builder()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(colors)
        .with_writer(writer);
    let started = match logging.format {
        LogFormat::Text => builder.compact().finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(|error| anyhow!("logging: {error}"))?;
    Ok(log)
}

fn file(path: &Path) -> anyhow::Result<(NonBlocking, WorkerGuard)> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open the log file {}", path.display()))?;
    Ok(tracing_appender::non_blocking(file))
}

/// Files that take turns: `adit.log` becomes `adit.DATE.log`.
fn files(rolling: &Rolling) -> anyhow::Result<(NonBlocking, WorkerGuard)> {
    let text = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let path = &rolling.path;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let rotation = if rolling.hourly {
        Rotation::HOURLY
    } else {
        Rotation::DAILY
    };
    let appender = RollingFileAppender::builder()
        .rotation(rotation)
        .filename_prefix(text(path.file_stem()))
        .filename_suffix(text(path.extension()))
        .max_log_files(rolling.keep)
        .build(folder)
        .with_context(|| format!("cannot open a log file like {}", path.display()))?;
    Ok(tracing_appender::non_blocking(appender))
}
