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
    profile::{Difference, Profile, RECORDED, RUNS_MIN, seeds::Seeds},
    sweep::{Order, Sweep},
    world::EngineKind,
};

/// Where it is written down what they count on average.
const PROFILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/profile.txt");

/// Where it is written down what each seed does and counts.
const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/seeds.txt");

/// So many are shown of what has changed.
const SHOWN_MAX: usize = 20;

/// Arguments of `profile`.
#[derive(Args, Debug)]
pub struct ProfileArgs {
    /// The scenario
    #[arg(default_value = "any", value_parser = args::scenario)]
    scenario: &'static Scenario,
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = *RECORDED.end())]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = *RECORDED.start())]
    from: u64,
    #[command(flatten)]
    jobs: Jobs,
    /// Write down what they count, instead of holding it against what was written down
    #[arg(long, conflicts_with_all = ["plant", "scenario", "seeds", "from"])]
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
            for (path, text) in [(PROFILE, sweep.profile.to_text()), (SEEDS, sweep.seeds.to_text())] {
                fs::write(path, text).with_context(|| format!("{path}: cannot be written"))?;
            }
            say(format_args!(
                "{} runs are written down in {PROFILE} and {SEEDS}",
                sweep.runs
            ));
            return Ok(0);
        }
        let differences = sweep.profile.differences(&recorded()?);
        say(words(&differences, &sweep.profile));
        let changes = changes(&sweep)?;
        say(changes.as_deref().unwrap_or_default());
        Ok(match differences.is_empty() && changes.is_none() {
            true => 0,
            false => WRONG,
        })
    }
}

/// What was written down of what runs count on average.
///
/// # Errors
/// The file has a line that is none.
pub fn recorded() -> anyhow::Result<Profile> {
    let text = include_str!("../../profile.txt");
    Profile::of_text(text).map_err(|line| anyhow::anyhow!("profile.txt:{line}: it is no figure"))
}

/// What was written down of what each seed does and counts.
///
/// # Errors
/// The file has a line that is none.
pub fn recorded_seeds() -> anyhow::Result<Seeds> {
    let text = include_str!("../../seeds.txt");
    Seeds::of_text(text).map_err(|line| anyhow::anyhow!("seeds.txt:{line}: it is no seed with hashes"))
}

/// What has changed in the seeds that are written down; `None`: nothing.
///
/// # Errors
/// A file has a line that is none.
pub fn changes(sweep: &Sweep) -> anyhow::Result<Option<String>> {
    let before = recorded_seeds()?;
    let changed = sweep.seeds.changed(&before);
    let Some(first) = changed.first() else {
        return Ok(None);
    };
    let mut words = format!(
        "{} of {} seeds that are written down (seeds.txt) run otherwise now, the first is {first}. Where that is meant: \
         `adit-sim profile --record`, and the commit says what changed.",
        changed.len(),
        sweep.seeds.shared(&before),
    );
    if let Some(changes) = sweep.recorded.changes(&recorded()?) {
        let mut table = Table::new(&["figure", "sum before", "sum now"]);
        for one in changes.iter().take(SHOWN_MAX) {
            let (before, now) = one.sums;
            table.row(&[&one.name, &format!("{before:.3}"), &format!("{now:.3}")]);
        }
        words += &format!("\n{} figures of theirs changed:\n{table}", changes.len());
    }
    Ok(Some(words))
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
