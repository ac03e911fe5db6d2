//! The command line. The doc comments are the help. Each command has a file: it computes a value, then prints it.

mod args;
mod canary;
mod hunt;
mod list;
mod profile;
mod progress;
mod report;
mod run;
mod shrink;
mod sweep;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXAMPLE: &str = "\
Examples:
  adit-sim sweep --seeds 1000                      # chaos, on all processors
  adit-sim replay 7 --html 7.html                  # what happened in seed 7
  adit-sim shrink 7 --out small.json               # the same failure, with less around it
  adit-sim run --plan small.json --trace
  adit-sim mutants                                 # whether planted bugs are found

Exit codes: 0 fine, 1 wrong usage or a plan that cannot be run, 2 something wrong happened,
3 something right did not happen, 4 a crash.";

/// Runs Adit in a simulated world: one seed makes one plan, one plan makes one run, event for event.
#[derive(Debug, Parser)]
#[command(name = "adit-sim", version, disable_help_subcommand = true, after_help = EXAMPLE)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one plan, of a seed or of a file, and say what came of it.
    Run(run::RunArgs),
    /// Run one seed again.
    Replay(run::ReplayArgs),
    /// Print the plan of a seed, to be changed and given to `run --plan`.
    Plan(run::PlanArgs),
    /// Run many seeds until one fails, and say what they have reached.
    ///
    /// A failing seed is shrunk. At least 600 seeds of any, from the first on, without a failure make a full sweep: it fails if a
    /// kind of fault, a stranger's deed or a mark was never reached. A sweep of other seeds is never one: what is rare comes
    /// there by luck.
    Sweep(sweep::SweepArgs),
    /// Make the plan of a failing run smaller, as long as it fails by the same invariant.
    Shrink(shrink::ShrinkArgs),
    /// Say which scenarios there are, or which faults, planted bugs or marks.
    List(list::ListArgs),
    /// Run the same seeds in two processes, and compare their traces.
    Canary(canary::CanaryArgs),
    /// Search for each planted bug until a seed fails by it.
    Mutants(hunt::MutantsArgs),
    /// Sweep, and hold what runs count on average against what was written down.
    Profile(profile::ProfileArgs),
    /// Sweep, and print what is published of it, as Markdown.
    Report(report::ReportArgs),
    /// Print the trace hash of each seed.
    #[command(hide = true)]
    Hashes(canary::HashesArgs),
}

/// How a command ends that could not begin.
const USAGE: u8 = 1;
/// How it ends when something wrong happened.
const WRONG: u8 = 2;

/// Does what the command line says.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Asking for help is no mistake. When nobody reads it, nothing can be done.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    let done = match cli.command {
        Command::Run(args) => args.run(),
        Command::Replay(args) => args.run(),
        Command::Plan(args) => args.run(),
        Command::Sweep(args) => args.run(),
        Command::Shrink(args) => args.run(),
        Command::List(args) => args.run(),
        Command::Canary(args) => args.run(),
        Command::Mutants(args) => args.run(),
        Command::Profile(args) => args.run(),
        Command::Report(args) => args.run(),
        Command::Hashes(args) => args.run(),
    };
    let code = done.unwrap_or_else(|error| {
        eprintln!("adit-sim: {error:#}");
        USAGE
    });
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
