//! The search for planted bugs: each is switched on for one seed after another until a run fails by it.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    ops::{ControlFlow, Range},
    time::Duration,
};

use super::table::{self, Planted};
use crate::{
    crew,
    oracle::Violation,
    plan::{
        Plan,
        draw::{self, Scenario},
    },
    profile::{Difference, Profile, seeds::Seeds},
    runner::{self, Options},
    shrink::{Size, live::smaller},
    world::EngineKind,
};

/// What to search for, and where.
#[derive(Clone, Debug)]
pub struct Order {
    /// The bugs.
    pub planted: Vec<&'static Planted>,
    /// The seeds, tried in order.
    pub seeds: Range<u64>,
    /// In which scenario; `None` is the one of each bug's file.
    pub scenario: Option<&'static Scenario>,
    /// Whether the seed that is known to find a bug is not tried before them.
    pub afresh: bool,
    /// Threads.
    pub jobs: NonZeroUsize,
    /// How long the plan that finds a bug is shrunk at most; `None` is not at all.
    pub shrink: Option<Duration>,
    /// What runs count without a bug.
    pub profile: Profile,
    /// What each seed of any does and counts without a bug.
    pub recorded: Seeds,
}

/// What the search for one planted bug came to.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// The bug.
    pub planted: &'static Planted,
    /// Seeds that were run.
    pub seeds: u64,
    /// How often the bug was made in all of them.
    pub hits: u64,
    /// Seeds that failed the same way without it, which proves nothing.
    pub unclean: u64,
    /// What found it.
    pub found: Option<Found>,
    /// What the runs counted otherwise than without it, where none of them failed by it.
    pub differences: Vec<Difference>,
    /// The first seed that ran otherwise than without it.
    pub changed: Option<u64>,
}

/// What is known of a planted bug after the search for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A run failed by it.
    Found,
    /// No run failed by it, and what they counted on average is not what was written down.
    Counted,
    /// It was made, and no judge saw it: one is missing, or one excuses too much.
    NotSeen,
    /// No run came to its place: a workload is missing.
    NeverMade,
}

impl Hunt {
    /// What is known of the bug now.
    pub fn verdict(&self) -> Verdict {
        match (&self.found, self.hits) {
            (Some(_), _) => Verdict::Found,
            (None, 0) => Verdict::NeverMade,
            (None, _) if !self.differences.is_empty() => Verdict::Counted,
            (None, _) => Verdict::NotSeen,
        }
    }
}

/// What found a planted bug.
#[derive(Clone, Debug)]
pub struct Found {
    /// The seed.
    pub seed: u64,
    /// What was seen.
    pub violation: Violation,
    /// The size of its plan, as drawn and as shrunk.
    pub shrunk: Option<(Size, Size)>,
}

/// Fewer runs say nothing of what is counted on average.
const COUNTED_RUNS_MIN: u64 = 200;

/// Does what is ordered; `progress` sees each search that is over.
pub fn hunt(order: &Order, mut progress: impl FnMut(&Hunt)) -> Vec<Hunt> {
    let mut hunts = BTreeMap::new();
    crew::each(
        0..order.planted.len() as u64,
        order.jobs,
        || true,
        |n| search(order.planted[n as usize], order),
        |n, hunt| {
            progress(&hunt);
            hunts.insert(n, hunt);
            ControlFlow::Continue(())
        },
    );
    hunts.into_values().collect()
}

fn search(planted: &'static Planted, order: &Order) -> Hunt {
    let mut hunt = Hunt {
        planted,
        seeds: 0,
        hits: 0,
        unclean: 0,
        found: None,
        differences: Vec::new(),
        changed: None,
    };
    let mut seeds = Seeds::default();
    let mut profile = Profile::default();
    let own = || draw::scenario(table::scenario(planted));
    let Some(scenario) = order.scenario.or_else(own) else {
        return hunt;
    };
    let known = table::known_seed(planted).filter(|_| !order.afresh && order.scenario.is_none());
    for seed in known.into_iter().chain(order.seeds.clone()) {
        let mut plan = (scenario.draw)(seed);
        plan.planted = Some(planted.name.to_owned());
        let report = runner::run(&plan, Options::default());
        hunt.seeds += 1;
        hunt.hits += report.coverage.planted;
        let Some(failure) = &report.failure else {
            profile.add(&report.plan.scenario, &report.counts);
            if scenario.name == "any" {
                seeds.add(seed, report.digest.hash, &report.counts);
            }
            continue;
        };
        // It was made, and without it the same plan holds.
        if report.coverage.planted > 0 && is_clean_without(&plan, Options::default()) {
            let smaller = |time| smaller(&report, EngineKind::default(), time);
            let shrunk = order.shrink.and_then(smaller);
            hunt.found = Some(Found {
                seed,
                violation: failure.violation.clone(),
                shrunk: shrunk.map(|shrunk| (Size::of(&plan), Size::of(&shrunk.plan))),
            });
            break;
        }
        hunt.unclean += 1;
    }
    hunt.changed = seeds.changed(&order.recorded).first().copied();
    if hunt.found.is_none() && profile.runs() >= COUNTED_RUNS_MIN {
        hunt.differences = profile.differences(&order.profile);
    }
    hunt
}

/// Whether the plan holds when no bug is planted.
pub fn is_clean_without(plan: &Plan, options: Options) -> bool {
    let clean = Plan {
        planted: None,
        ..plan.clone()
    };
    runner::run(&clean, options).failure.is_none()
}

/// The middle of how many seeds it took to find those that were found.
pub fn median_seeds(hunts: &[Hunt]) -> Option<u64> {
    let mut seeds: Vec<_> = hunts
        .iter()
        .filter(|hunt| hunt.found.is_some())
        .map(|hunt| hunt.seeds)
        .collect();
    seeds.sort_unstable();
    seeds.get(seeds.len() / 2).copied()
}
