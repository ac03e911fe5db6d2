//! `run`, `replay` and `plan`: one seed, or one plan.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::Args;

use super::args::{self, Engine, Source};
use crate::{
    out::say,
    plan::{draw::Scenario, file},
    runner::{self, Options, Report},
    timeline,
    trace::Detail,
};

/// How one run is run and shown.
#[derive(Args, Clone, Debug)]
struct Manner {
    /// Show what happens as it happens: what is worth words, or each packet and each move of a stream too
    #[arg(long, value_name = "events|everything", value_parser = args::detail, num_args = 0..=1,
          require_equals = true, default_missing_value = "events")]
    trace: Option<Detail>,
    /// What carries the world
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// Switch a planted bug on
    #[arg(long, value_name = "BUG", value_parser = args::planted)]
    plant: Option<&'static str>,
    /// Draw the run as a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl Manner {
    /// Runs a plan and prints what came of it.
    fn run(&self, source: &Source) -> anyhow::Result<u8> {
        let plan = source.plan(self.plant)?;
        let options = Options {
            engine: self.engine.into(),
            detail: self.trace.unwrap_or_default(),
        };
        let report = runner::run(&plan, options);
        print(&report, source, self.engine, self.plant);
        if let Some(path) = &self.html {
            let name = path.display();
            let command = source.command(self.engine, self.plant);
            fs::write(path, timeline::page(&report, &command))
                .with_context(|| format!("{name}: cannot be written"))?;
            say(format_args!("page: {name}"));
        }
        Ok(report.exit_code())
    }
}

/// Prints what came of a run, and how to see it again when it failed.
pub fn print(report: &Report, source: &Source, engine: Engine, planted: Option<&str>) {
    say(report);
    if report.failure.is_some() {
        say(format_args!("replay: {}", source.command(engine, planted)));
    }
}

const RUN_USAGE: &str = "\
adit-sim run SCENARIO --seed N [OPTIONS]
       adit-sim run --plan FILE [OPTIONS]";

/// Arguments of `run`.
#[derive(Args, Debug)]
#[command(override_usage = RUN_USAGE)]
pub struct RunArgs {
    /// The scenario to draw the plan for
    #[arg(value_parser = args::scenario, required_unless_present = "plan")]
    scenario: Option<&'static Scenario>,
    /// The seed to draw it from
    #[arg(long, value_name = "N", required_unless_present = "plan")]
    seed: Option<u64>,
    /// Run the plan of a file instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenario", "seed"])]
    plan: Option<PathBuf>,
    #[command(flatten)]
    manner: Manner,
}

impl RunArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<u8> {
        let source = match (self.plan, self.scenario, self.seed) {
            (Some(path), ..) => Source::File(path),
            (None, Some(scenario), Some(seed)) => Source::Seed(scenario, seed),
            _ => unreachable!("a scenario and a seed are required without a plan"),
        };
        self.manner.run(&source)
    }
}

/// Arguments of `replay`.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// The seed
    seed: u64,
    /// Its scenario
    #[arg(long, default_value = "any", value_parser = args::scenario)]
    scenario: &'static Scenario,
    #[command(flatten)]
    manner: Manner,
}

impl ReplayArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<u8> {
        self.manner.run(&Source::Seed(self.scenario, self.seed))
    }
}

/// Arguments of `plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// The scenario to draw the plan for
    #[arg(value_parser = args::scenario)]
    scenario: &'static Scenario,
    /// The seed to draw it from
    #[arg(long, value_name = "N")]
    seed: u64,
}

impl PlanArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<u8> {
        say(file::text(&(self.scenario.draw)(self.seed)).trim_end());
        Ok(0)
    }
}
