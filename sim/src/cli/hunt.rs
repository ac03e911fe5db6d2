//! `mutants`: whether planted bugs are found.

use std::{fs, time::Duration};

use anyhow::Context;
use clap::Args;

use super::{
    WRONG,
    args::{self, Jobs},
    profile,
    progress::Progress,
    table::Table,
};
use crate::{
    mutants::{
        hunt::{Hunt, Order, Verdict, hunt, median_seeds},
        table,
    },
    out::say,
    plan::draw::Scenario,
    shrink::Size,
};

/// Seeds that are tried for each bug when nobody says how many.
pub const SEEDS: u64 = 2_000;

/// How long one plan is shrunk at most.
const SHRINK_TIME: Duration = Duration::from_secs(120);

/// Goal: this many faults or fewer are left in the plan that finds a bug.
const FAULTS_FEW: usize = 5;

/// How much of what was seen fits a line.
const SEEN_MAX: usize = 80;

/// Arguments of `mutants`.
#[derive(Args, Debug)]
pub struct MutantsArgs {
    /// How many seeds to try for each
    #[arg(long, value_name = "N", default_value_t = SEEDS)]
    seeds: u64,
    /// The scenario of the seeds [default: the one of the file that lists the bug]
    #[arg(long, value_name = "SCENARIO", value_parser = args::scenario)]
    scenario: Option<&'static Scenario>,
    /// Search for this one only
    #[arg(long, value_name = "BUG", value_parser = args::planted)]
    only: Option<&'static str>,
    /// Search from the first seed on, also for bugs of which a seed is known that finds them
    #[arg(long)]
    afresh: bool,
    /// Write down the seeds that found them, to be tried first from then on
    #[arg(long, requires = "afresh", conflicts_with_all = ["only", "scenario"])]
    record: bool,
    /// Shrink the plan that finds a bug, and say what is left of it
    #[arg(long)]
    shrink: bool,
    #[command(flatten)]
    jobs: Jobs,
}

impl MutantsArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<u8> {
        let wanted = |bug: &table::Planted| match self.only {
            Some(only) => only == bug.name,
            None => table::is_searched(bug),
        };
        let order = Order {
            planted: table::all().filter(|bug| wanted(bug)).collect(),
            seeds: 1..self.seeds.saturating_add(1),
            scenario: self.scenario,
            afresh: self.afresh,
            jobs: self.jobs.count(),
            shrink: self.shrink.then_some(SHRINK_TIME),
            profile: profile::recorded()?,
            recorded: profile::recorded_seeds()?,
        };
        let mut progress = Progress::new(Some(order.planted.len() as u64));
        let mut done = 0;
        let hunts = hunt(&order, |hunt| {
            done += 1;
            progress.tell(done, || format!("planted bugs, last {}", hunt.planted.name));
        });
        drop(progress);
        say(found(&hunts));
        if self.shrink {
            say(shrunk(&hunts));
        }
        say(summary(&hunts, self.afresh));
        if self.record {
            record(&hunts)?;
        }
        let is_found = |hunt: &Hunt| matches!(hunt.verdict(), Verdict::Found | Verdict::Counted);
        let all_found = hunts.iter().all(is_found);
        Ok(if all_found { 0 } else { WRONG })
    }
}

/// Where the seeds stand that found them.
const KNOWN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/mutants/known.txt");

fn record(hunts: &[Hunt]) -> anyhow::Result<()> {
    let line = |hunt: &Hunt| Some(format!("{} {}\n", hunt.planted.name, hunt.found.as_ref()?.seed));
    let lines: String = hunts.iter().filter_map(line).collect();
    fs::write(KNOWN, lines).with_context(|| format!("{KNOWN}: cannot be written"))
}

fn found(hunts: &[Hunt]) -> Table {
    let mut table = Table::new(&[
        "planted bug",
        "found",
        "invariant",
        "seeds",
        "made",
        "what was seen",
    ]);
    for hunt in hunts {
        let (found, invariant, seen) = match (&hunt.found, hunt.verdict()) {
            (Some(found), _) => {
                let seen = found.violation.what.chars().take(SEEN_MAX).collect();
                let invariant = found.violation.invariant.to_string();
                (format!("seed {}", found.seed), invariant, seen)
            }
            (None, Verdict::Counted) => {
                let seen = hunt.differences.first().map(|one| {
                    let (before, now) = one.middle;
                    format!("{}: {now:.1}, not {before:.1}", one.name)
                });
                (
                    "by its figures".to_owned(),
                    String::new(),
                    seen.unwrap_or_default(),
                )
            }
            (None, verdict) => {
                let unclean = hunt.unclean;
                let unclean = (unclean > 0).then(|| format!("{unclean} seeds fail without it too"));
                let changed = hunt.changed.map(|seed| format!("seed {seed} runs otherwise"));
                let seen: Vec<_> = unclean.into_iter().chain(changed).collect();
                let seen = seen.join("; ");
                let verdict = match verdict {
                    Verdict::NeverMade => "NEVER MADE",
                    _ => "NOT SEEN",
                };
                (verdict.to_owned(), String::new(), seen)
            }
        };
        let name = hunt.planted.name;
        table.row(&[&name, &found, &invariant, &hunt.seeds, &hunt.hits, &seen]);
    }
    table
}

/// Of each bug that was found: the size of the plan that found it, as drawn and as shrunk.
fn sizes(hunts: &[Hunt]) -> impl Iterator<Item = (&Hunt, Size, Size)> {
    hunts.iter().filter_map(|hunt| {
        let (before, after) = hunt.found.as_ref()?.shrunk?;
        Some((hunt, before, after))
    })
}

fn shrunk(hunts: &[Hunt]) -> Table {
    let mut table = Table::new(&["planted bug", "faults", "strangers", "visits", "clients", "knobs"]);
    for (hunt, before, after) in sizes(hunts) {
        let cell = |of: fn(&Size) -> usize| format!("{} of {}", of(&after), of(&before));
        table.row(&[
            &hunt.planted.name,
            &cell(|size| size.faults),
            &cell(|size| size.strangers),
            &cell(|size| size.visits),
            &cell(|size| size.clients),
            &cell(|size| size.knobs),
        ]);
    }
    table
}

fn summary(hunts: &[Hunt], afresh: bool) -> String {
    let found = hunts.iter().filter(|hunt| hunt.found.is_some()).count();
    let mut words = format!("{found} of {} planted bugs found", hunts.len());
    let count = |verdict| hunts.iter().filter(|hunt| hunt.verdict() == verdict).count();
    for (verdict, what) in [
        (Verdict::Counted, "by what runs count on average"),
        (Verdict::NotSeen, "made and not seen"),
        (Verdict::NeverMade, "never made"),
    ] {
        match count(verdict) {
            0 => {}
            some => words += &format!(", {some} {what}"),
        }
    }
    // Known seeds say nothing of how long a search takes.
    match median_seeds(hunts).filter(|_| afresh) {
        Some(1) => words += ", half of them by the first seed",
        Some(seeds) => words += &format!(", half of them within {seeds} seeds"),
        None => {}
    }
    let sizes: Vec<_> = sizes(hunts).collect();
    if !sizes.is_empty() {
        let few = sizes
            .iter()
            .filter(|(_, _, after)| after.faults <= FAULTS_FEW)
            .count();
        words += &format!(
            "; {few} of {} plans shrunk to {FAULTS_FEW} faults or fewer",
            sizes.len()
        );
    }
    words
}
