//! `sweep`: many seeds.

use std::time::Duration;

use clap::Args;
use rand::{TryRng, rngs::SysRng};

use super::{
    WRONG,
    args::{self, Engine, Jobs, Source},
    profile,
    progress::Progress,
    run, shrink,
    table::{Table, share},
};
use crate::{
    fault::AnyAct,
    ledger::{marks::MARKS, reach::Row},
    oracle::excuse::Excuse,
    out::say,
    plan::draw::Scenario,
    runner::Tally,
    sweep::{Order, Sweep},
};

/// Seeds of a sweep when nobody says how many, nor for how long.
const SEEDS: u64 = 100;

/// How long a failure of a sweep is shrunk at most.
const SHRINK_TIME: Duration = Duration::from_secs(120);

/// Arguments of `sweep`.
#[derive(Args, Debug)]
pub struct SweepArgs {
    /// The scenario
    #[arg(default_value = "any", value_parser = args::scenario)]
    scenario: &'static Scenario,
    /// How many seeds [default: 100, or as many as there is time for]
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 1)]
    from: u64,
    /// No seed is begun after so many minutes
    #[arg(long, value_name = "M", value_parser = args::minutes)]
    minutes: Option<Duration>,
    #[command(flatten)]
    jobs: Jobs,
    /// What carries the worlds
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// Begin with a seed that nobody knows; it is printed first
    #[arg(long, conflicts_with = "from")]
    fresh: bool,
    /// Switch a planted bug on
    #[arg(long, value_name = "BUG", value_parser = args::planted)]
    plant: Option<&'static str>,
}

impl SweepArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<u8> {
        let from = if self.fresh { fresh()? } else { self.from };
        if self.fresh {
            say(format_args!(
                "fresh seeds: sweep {} --from {from}",
                self.scenario.name
            ));
        }
        let unlimited = if self.minutes.is_some() { u64::MAX } else { SEEDS };
        let order = Order {
            scenario: self.scenario,
            engine: self.engine.into(),
            seeds: from..from.saturating_add(self.seeds.unwrap_or(unlimited)),
            time: self.minutes,
            jobs: self.jobs.count(),
            planted: self.plant,
        };
        let sweep = watched(order, self.seeds.or(self.minutes.is_none().then_some(SEEDS)));
        say(figures(&sweep) + "\n");
        if let Some(report) = &sweep.failure {
            // Nobody asks what else was reached.
            let source = Source::Seed(self.scenario, report.plan.seed);
            run::print(report, &source, self.engine, self.plant);
            say("");
            shrink::shrink_and_save(report, self.engine, SHRINK_TIME, None)?;
            return Ok(report.exit_code());
        }
        say(coverage(&sweep).trim_end());
        let gaps = sweep.gaps();
        if !gaps.is_empty() {
            say(format_args!(
                "\nnever reached in a full sweep: {}",
                gaps.join(", ")
            ));
        }
        let differences = match sweep.is_full() {
            true => sweep.profile.differences(&profile::recorded()?),
            false => Vec::new(),
        };
        if !differences.is_empty() {
            say(format_args!("\n{}", profile::words(&differences, &sweep.profile)));
        }
        let changes = profile::changes(&sweep)?;
        if let Some(changes) = &changes {
            say(format_args!("\n{changes}"));
        }
        let is_right = gaps.is_empty() && differences.is_empty() && !(sweep.is_full() && changes.is_some());
        Ok(if is_right { 0 } else { WRONG })
    }
}

/// A seed that nobody knows, short enough to be typed.
fn fresh() -> anyhow::Result<u64> {
    Ok(SysRng.try_next_u32()?.into())
}

/// Sweeps, and shows how far it has come; of so many seeds, if that is known.
pub fn watched(order: Order, seeds: Option<u64>) -> Sweep {
    let mut progress = Progress::new(seeds);
    Sweep::run(order, |sweep| {
        progress.tell(sweep.runs, || {
            format!(
                "seeds, {:.1} per second, {:.0} simulated seconds per second",
                sweep.runs_per_minute() / 60.0,
                sweep.speed()
            )
        });
    })
}

/// The figures of a sweep, a sentence per line.
pub fn figures(sweep: &Sweep) -> String {
    let Sweep {
        order, runs, tally, ..
    } = sweep;
    let (slowest, slow) = sweep.slowest;
    [
        format!(
            "{runs} seeds of {} from {} in {:.1} s on {} threads: {:.0} seeds per minute, {:.0} simulated \
             seconds per second.",
            order.scenario.name,
            order.seeds.start,
            sweep.took.as_secs_f64(),
            order.jobs,
            sweep.runs_per_minute(),
            sweep.speed(),
        ),
        format!(
            "Sessions: {} complete, {} left by their visitor, {} broken by a fault.",
            tally.complete, tally.left, tally.broken
        ),
        excused(sweep),
        format!("The slowest seed is {slowest}, with {:.2} s.", slow.as_secs_f64()),
    ]
    .join("\n")
}

/// How many visits failed with an excuse, and by which.
fn excused(sweep: &Sweep) -> String {
    let Tally {
        complete,
        left,
        broken,
        ..
    } = sweep.tally;
    let excuses = &sweep.reach.excuses;
    let none: u64 = excuses
        .iter()
        .filter_map(|(name, times)| Excuse::is_right(name).then_some(times))
        .sum();
    let all = ((complete + left + broken) as u64).saturating_sub(none);
    let mut sorted: Vec<_> = excuses
        .iter()
        .filter(|(name, _)| !Excuse::is_right(name))
        .collect();
    sorted.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
    let words: Vec<_> = sorted
        .iter()
        .map(|(name, times)| format!("{name} {}", share(**times, all)))
        .collect();
    let total = share(sorted.iter().map(|(_, times)| **times).sum(), all);
    format!(
        "Not let in, as it should be: {none}. Excused: {total} of the others: {}.",
        words.join(", ")
    )
}

/// What a sweep has reached, as tables.
pub fn coverage(sweep: &Sweep) -> String {
    let (reach, runs) = (&sweep.reach, sweep.runs);
    let plain = |head: &str, rows: &[Row]| {
        let mut table = Table::new(&[head, "of seeds", "times"]);
        for row in rows {
            table.row(&[&row.name, &share(row.runs, runs), &row.times]);
        }
        table
    };
    let mut faults = Table::new(&["fault", "family", "of seeds", "times"]);
    for (row, (_, family)) in reach.faults.iter().zip(AnyAct::KINDS) {
        faults.row(&[&row.name, &family.name(), &share(row.runs, runs), &row.times]);
    }
    let mut marks = Table::new(&["mark", "of seeds", "times", "means"]);
    for (row, mark) in reach.marks.iter().zip(MARKS) {
        marks.row(&[&row.name, &share(row.runs, runs), &row.times, &mark.means]);
    }
    let families = plain("family", &reach.families);
    let deeds = plain("stranger's deed", &reach.deeds);
    format!("{families}\n{faults}\n{deeds}\n{marks}")
}
