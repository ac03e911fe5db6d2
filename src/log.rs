//! Sets up logging: one subscriber, from the configuration, for the life of the process.
//!
//! A thread of its own writes the lines: a slow disk or a full pipe must not hold the control thread.

use std::{
    env,
    io::{self, IsTerminal},
};

use adit::{
    config::{Logging, Output, value::LogFormat},
    files::{Lines, Written},
};
use anyhow::{Context, anyhow};
use tracing_subscriber::{EnvFilter, fmt, util::SubscriberInitExt};

use crate::terminal;

/// Lines that wait to be written.
const LINES_WAITING_MAX: usize = 128_000;

/// What is being written. Dropping it waits, a moment at most, until every line is.
#[must_use = "dropping it ends the log"]
pub struct Log(Written);

impl Drop for Log {
    fn drop(&mut self) {
        let lost = self.0.lost();
        if lost > 0 {
            terminal::complain(format_args!(
                "adit: {lost} log lines were lost: they came faster than they could be written, or writing failed"
            ));
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
    let colors = match &logging.output {
        Output::Stdout => io::stdout().is_terminal(),
        Output::Stderr => io::stderr().is_terminal(),
        Output::File(_) | Output::Rolling(_) => false,
    };
    let written = Written::open(&logging.output, LINES_WAITING_MAX)
        .with_context(|| format!("cannot open the log file {}", logging.output))?;
    let builder = fmt::Subscriber::builder()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(colors)
        .with_writer(written.writer());
    let started = match logging.format {
        LogFormat::Text => builder.compact().finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    started.map_err(|error| anyhow!("logging: {error}"))?;
    Ok(Log(written))
}
