//! `shrink`: the same failure, with less around it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;

use super::args::{self, Engine, Source};
use crate::{
    out::say,
    plan::{Plan, draw::Scenario, file},
    runner::{self, Options, Report},
    shrink::{Shrunk, Size, live::smaller},
};

/// Arguments of `shrink`.
#[derive(Args, Debug)]
pub struct ShrinkArgs {
    /// The seed
    #[arg(required_unless_present = "plan")]
    seed: Option<u64>,
    /// Its scenario
    #[arg(long, default_value = "any", value_parser = args::scenario)]
    scenario: &'static Scenario,
    /// Shrink the plan of a file instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "scenario"])]
    plan: Option<PathBuf>,
    /// What carries the world
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// Switch a planted bug on
    #[arg(long, value_name = "BUG", value_parser = args::planted)]
    plant: Option<&'static str>,
    /// Where the smaller plan is written [default: target/failures/SCENARIO-SEED.json]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Nothing more is tried after so many minutes
    #[arg(long, value_name = "M", default_value = "2", value_parser = args::minutes)]
    minutes: Duration,
}

impl ShrinkArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<u8> {
        let source = match (self.plan, self.seed) {
            (Some(path), _) => Source::File(path),
            (None, Some(seed)) => Source::Seed(self.scenario, seed),
            (None, None) => unreachable!("a seed is required without a plan"),
        };
        let plan = source.plan(self.plant)?;
        let options = Options {
            engine: self.engine.into(),
            ..Options::default()
        };
        let report = runner::run(&plan, options);
        if report.failure.is_none() {
            bail!("{} seed {} does not fail", plan.scenario, plan.seed);
        }
        shrink_and_save(&report, self.engine, self.minutes, self.out)?;
        Ok(0)
    }
}

/// Shrinks the plan of a failed run, writes it to `out` or to its usual place, and says what came of it.
///
/// # Errors
/// The file cannot be written.
pub fn shrink_and_save(
    report: &Report,
    engine: Engine,
    time: Duration,
    out: Option<PathBuf>,
) -> anyhow::Result<()> {
    let Some(shrunk) = smaller(report, engine.into(), time) else {
        return Ok(());
    };
    let path = out.map_or_else(|| usual_place(&shrunk.plan), Ok)?;
    save(&shrunk.plan, &path)?;
    let Shrunk { runs, invariant, .. } = shrunk;
    let end = if shrunk.complete {
        ""
    } else {
        ", until the time was over"
    };
    say(format_args!(
        "shrunk in {runs} runs{end}, still breaking invariant {invariant}:"
    ));
    say(format_args!("  before: {}", Size::of(&report.plan)));
    say(format_args!("  after:  {}", Size::of(&shrunk.plan)));
    say(format_args!("plan: {}", path.display()));
    say(format_args!(
        "replay: {}",
        Source::File(path).command(engine, None)
    ));
    Ok(())
}

/// `target/failures`, where nothing is kept in the repository.
fn usual_place(plan: &Plan) -> anyhow::Result<PathBuf> {
    let program = env::current_exe().context("cannot find this program")?;
    // The program is target/release/adit-sim, or was moved, and then target is wherever that puts it.
    let target = program.ancestors().nth(2).unwrap_or(&program);
    let target = match env::current_dir() {
        Ok(here) => target.strip_prefix(here).unwrap_or(target),
        Err(_) => target,
    };
    let planted = plan.planted.as_ref().map(|name| format!("-{name}"));
    let name = format!(
        "{}-{}{}.json",
        plan.scenario,
        plan.seed,
        planted.unwrap_or_default()
    );
    Ok(target.join("failures").join(name))
}

fn save(plan: &Plan, path: &Path) -> anyhow::Result<()> {
    let cannot = || format!("{}: cannot be written", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(cannot)?;
    }
    fs::write(path, file::text(plan)).with_context(cannot)
}
