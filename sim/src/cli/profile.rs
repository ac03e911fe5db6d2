//! `profile`: what runs count on average, held against what is recorded.

use std::fs;

use anyhow::Context;
use clap::Args;

use super::{
    WRONG,
    args::{self, Jobs},
    run,
    sweep::watched,
    table::Table,
};
use crate::{
    out::say,
    plan::draw::Scenario,
    profile::{Difference, Profile, RUNS_MIN},
    sweep::Order,
    world::EngineKind,
};

/// Seeds of a profile when nobody says how many.
const SEEDS: u64 = 1_500;

/// Where the recorded profile stands.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/profile.txt");

/// Arguments of `profile`.
#[derive(Args, Debug)]
pub struct ProfileArgs {
    /// The scenario
    #[arg(default_value = "any", value_parser = args::scenario)]
    scenario: &'static Scenario,
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = SEEDS)]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 1)]
    from: u64,
    #[command(flatten)]
    jobs: Jobs,
    /// Write down what they count, instead of holding it against what was written down
    #[arg(long, conflicts_with_all = ["plant", "scenario"])]
    record: bool,
    /// Switch a planted bug on
    #[arg(long, value_name = "BUG", value_parser = args::planted)]
    plant: Option<&'static str>,
}

impl ProfileArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<u8> {
        let order = Order {
            scenario: self.scenario,
            engine: EngineKind::default(),
            seeds: self.from..self.from.saturating_add(self.seeds),
            time: None,
            jobs: self.jobs.count(),
            planted: self.plant,
        };
        let sweep = watched(order, Some(self.seeds));
        if let Some(report) = &sweep.failure {
            let source = args::Source::Seed(self.scenario, report.plan.seed);
            run::print(report, &source, args::Engine::default(), self.plant);
            return Ok(report.exit_code());
        }
        if self.record {
            fs::write(RECORDED, sweep.profile.to_text())
                .with_context(|| format!("{RECORDED}: cannot be written"))?;
            say(format_args!("{} runs are written down in {RECORDED}", sweep.runs));
            return Ok(0);
        }
        let differences = sweep.profile.differences(&recorded()?);
        say(words(&differences, &sweep.profile));
        Ok(if differences.is_empty() { 0 } else { WRONG })
    }
}

/// What was written down.
///
/// # Errors
/// The file cannot be read, or has a line that is none.
pub fn recorded() -> anyhow::Result<Profile> {
    let text = include_str!("../../profile.txt");
    Profile::of_text(text).map_err(|line| anyhow::anyhow!("profile.txt:{line}: it is no figure"))
}

/// The differences as a table.
pub fn words(differences: &[Difference], profile: &Profile) -> String {
    let runs = profile.runs();
    if !profile.is_enough() {
        return format!("{runs} runs are too few to be compared: {RUNS_MIN} of a scenario are needed.");
    }
    if differences.is_empty() {
        return format!("What {runs} runs count is what was written down.");
    }
    let mut table = Table::new(&["figure", "before", "now", "standard errors"]);
    for one in differences {
        let (before, now) = one.middle;
        table.row(&[
            &one.name,
            &format!("{before:.2}"),
            &format!("{now:.2}"),
            &format!("{:+.1}", one.errors),
        ]);
    }
    format!(
        "{table}\n{} figures of {runs} runs differ from what is written down (profile.txt). Where that is meant: `adit-sim \
         profile --record`.",
        differences.len()
    )
}
