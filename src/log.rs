//! Sets up logging: one subscriber, from the configuration, for the life of the process.

use std::{env, fs::OpenOptions, io, io::IsTerminal, sync::Arc};

use adit::config::{Logging, Output, value::LogFormat};
use anyhow::{Context, anyhow};
use tracing_subscriber::{EnvFilter, fmt, fmt::writer::BoxMakeWriter, util::SubscriberInitExt};

/// Starts logging. `RUST_LOG` wins over the configured level.
///
/// # Errors
/// The log file cannot be opened, or `RUST_LOG` is not a filter.
pub fn init(logging: &Logging) -> anyhow::Result<()> {
    let filter = match env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => {
            EnvFilter::try_new(&text).map_err(|error| anyhow!("RUST_LOG={text}: {error}"))?
        }
        _ => EnvFilter::new(logging.level.word()),
    };
    let (writer, colors) = match &logging.output {
        Output::Stdout => (BoxMakeWriter::new(io::stdout), io::stdout().is_terminal()),
        Output::Stderr => (BoxMakeWriter::new(io::stderr), io::stderr().is_terminal()),
        Output::File(path) => {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("cannot open the log file {}", path.display()))?;
            (BoxMakeWriter::new(Arc::new(file)), false)
        }
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
    started.map_err(|error| anyhow!("logging: {error}"))
}
