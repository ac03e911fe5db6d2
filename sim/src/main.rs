//! The `adit-sim` command.

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

fn main() -> std::process::ExitCode {
    let shown = fmt::layer()
        .with_writer(std::io::stderr)
        .without_time()
        .with_filter(EnvFilter::from_default_env());
    tracing_subscriber::registry()
        .with(shown)
        .with(adit_sim::said::Listener)
        .init();
    adit_sim::cli::main()
}
