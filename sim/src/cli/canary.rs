//! `canary`: whether a seed means the same in two processes.
//!
//! The second process runs the seeds backwards, so that what one run leaves behind on its thread for the next
//! shows too.

use std::{
    collections::BTreeMap,
    env,
    io::Write,
    num::NonZeroUsize,
    ops::ControlFlow,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, ensure};
use clap::Args;

use super::{
    WRONG,
    args::{self, Jobs},
};
use crate::{
    crew,
    out::say,
    plan::draw::Scenario,
    runner::{self, Options},
};

/// Pairs of hashes that are shown.
const SHOWN_MAX: usize = 10;

/// Which seeds.
#[derive(Args, Clone, Copy, Debug)]
struct Seeds {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 300)]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 1)]
    from: u64,
    /// Their scenario
    #[arg(long, default_value = "any", value_parser = args::scenario)]
    scenario: &'static Scenario,
}

/// Arguments of `canary`.
#[derive(Args, Debug)]
pub struct CanaryArgs {
    #[command(flatten)]
    seeds: Seeds,
    #[command(flatten)]
    jobs: Jobs,
}

impl CanaryArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<u8> {
        // Both at once share the processors.
        let jobs = self.jobs.count().get();
        let first = start(self.seeds, jobs.div_ceil(2), false)?;
        let second = start(self.seeds, (jobs / 2).max(1), true)?;
        let (first, second) = (hashes(first)?, hashes(second)?);
        let all = self.seeds.seeds;
        let differ = differing(&first, &second);
        say(format_args!("{}/{all} alike", all - differ.len() as u64));
        if differ.is_empty() {
            return Ok(0);
        }
        let seeds: Vec<_> = differ.iter().map(ToString::to_string).collect();
        let name = self.seeds.scenario.name;
        say(format_args!("these seeds of {name} differ: {}", seeds.join(", ")));
        for seed in differ.into_iter().take(SHOWN_MAX) {
            let [first, second] =
                [&first, &second].map(|hashes| hashes.get(&seed).map_or("none", String::as_str));
            say(format_args!("  seed {seed}: {first} and {second}"));
        }
        Ok(WRONG)
    }
}

/// Starts a process that prints the hashes.
fn start(seeds: Seeds, jobs: usize, reversed: bool) -> anyhow::Result<Child> {
    let own = env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(own);
    command
        .args(["hashes", "--scenario", seeds.scenario.name])
        .args(["--seeds", &seeds.seeds.to_string()])
        .args(["--from", &seeds.from.to_string()])
        .args(["--jobs", &jobs.to_string()])
        .args(reversed.then_some("--reversed"))
        .stdout(Stdio::piped());
    command.spawn().context("cannot start a second process")
}

/// What a process printed, by seed.
fn hashes(child: Child) -> anyhow::Result<BTreeMap<u64, String>> {
    // Should the other one fill its pipe, it waits until it is read in its turn.
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "a process that hashes failed: {}",
        output.status
    );
    let text = String::from_utf8(output.stdout)?;
    let each = text.lines().map(|line| {
        let (seed, hash) = line.split_once(' ').context("a line without a hash")?;
        Ok((seed.parse()?, hash.to_owned()))
    });
    each.collect()
}

/// The seeds that have not the same hash in both, or none in one.
fn differing(first: &BTreeMap<u64, String>, second: &BTreeMap<u64, String>) -> Vec<u64> {
    let mut seeds: Vec<_> = first.keys().chain(second.keys()).copied().collect();
    seeds.sort_unstable();
    seeds.dedup();
    seeds.retain(|seed| first.get(seed) != second.get(seed));
    seeds
}

/// Arguments of `hashes`.
#[derive(Args, Debug)]
pub struct HashesArgs {
    #[command(flatten)]
    seeds: Seeds,
    /// Threads
    #[arg(long, default_value = "1")]
    jobs: NonZeroUsize,
    /// From the last seed to the first
    #[arg(long)]
    reversed: bool,
}

impl HashesArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<u8> {
        let Seeds {
            seeds,
            from,
            scenario,
        } = self.seeds;
        let seed = |n| {
            if self.reversed {
                from + seeds - 1 - n
            } else {
                from + n
            }
        };
        let mut out = std::io::stdout();
        let mut told = Ok(());
        crew::each(
            0..seeds,
            self.jobs,
            || true,
            |n| runner::run(&(scenario.draw)(seed(n)), Options::default()).digest,
            |n, digest| {
                told = writeln!(out, "{} {:016x}", seed(n), digest.hash);
                match told {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            },
        );
        told?;
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_differs_when_its_hash_does_or_when_it_is_missing() {
        let hashes = |all: &[(u64, &str)]| all.iter().map(|(n, hash)| (*n, (*hash).to_owned())).collect();
        let first = hashes(&[(1, "a"), (2, "b"), (3, "c")]);
        assert_eq!(differing(&first, &first), Vec::<u64>::new());
        assert_eq!(differing(&first, &hashes(&[(1, "a"), (2, "x")])), [2, 3]);
        assert_eq!(differing(&hashes(&[]), &hashes(&[(7, "a")])), [7]);
    }
}
