//! `adit-sim`: runs scenarios of the simulated world. Exit codes: 0 fine, 1 usage, 2 correctness,
//! 3 liveness, 4 crash.

use std::process::ExitCode;

use adit_sim::{oracle::Class, runner};
use clap::{Parser, Subcommand, ValueEnum};

/// Simulates complete Adit tunnels, deterministically.
#[derive(Debug, Parser)]
#[command(name = "adit-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one scenario under one seed and print the hash of its trace.
    Run {
        /// What to run; `adit-sim list` tells.
        scenario: Scenario,
        /// Everything random follows from it.
        #[arg(long)]
        seed: u64,
        /// Print each event as it happens.
        #[arg(long)]
        trace: bool,
    },
    /// List the scenarios.
    List,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scenario {
    /// A server, three clients, five visitors, 60 s; a client crash, a server restart, a held link.
    Smoke,
}

fn main() -> ExitCode {
    // Silent unless RUST_LOG asks: the logs of every simulated node, on stderr.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell when even printing fails.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match cli.command {
        Command::List => {
            for scenario in Scenario::value_variants() {
                if let Some(value) = scenario.to_possible_value() {
                    let help = value.get_help().map(ToString::to_string).unwrap_or_default();
                    println!("{:<8} {help}", value.get_name());
                }
            }
            ExitCode::SUCCESS
        }
        Command::Run {
            scenario: Scenario::Smoke,
            seed,
            trace,
        } => {
            let report = runner::smoke(seed, trace);
            println!("{report}");
            match report.failure.map(|failure| failure.violation.class) {
                None => ExitCode::SUCCESS,
                Some(Class::Correctness) => ExitCode::from(2),
                Some(Class::Liveness) => ExitCode::from(3),
                Some(Class::Crash) => ExitCode::from(4),
            }
        }
    }
}
