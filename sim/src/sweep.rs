//! Many seeds of one scenario, one after another, until one fails or there has been enough.

use std::{
    num::NonZeroUsize,
    ops::{ControlFlow, Range},
    time::Duration,
};

use crate::{
    crew,
    ledger::reach::Reach,
    plan::draw::Scenario,
    profile::{Profile, RECORDED, seeds::Seeds},
    runner::{self, Options, Report, Tally},
    watch::Watch,
    world::EngineKind,
};

/// A sweep of fewer seeds may well miss something rare.
pub const FULL_SEEDS: u64 = 600;

/// What to sweep.
#[derive(Clone, Debug)]
pub struct Order {
    /// The scenario that makes plans.
    pub scenario: &'static Scenario,
    /// The engine that carries them.
    pub engine: EngineKind,
    /// The seeds, handed out in order.
    pub seeds: Range<u64>,
    /// When no more are handed out; `None` is never.
    pub time: Option<Duration>,
    /// Threads.
    pub jobs: NonZeroUsize,
    /// A planted bug to switch on.
    pub planted: Option<&'static str>,
}

/// What a sweep came to.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// What was to be swept.
    pub order: Order,
    /// Runs that came to their end, failed ones too.
    pub runs: u64,
    /// Real time.
    pub took: Duration,
    /// Simulated time, all runs together.
    pub simulated: Duration,
    /// Sessions, all runs together.
    pub tally: Tally,
    /// What was reached.
    pub reach: Reach,
    /// The seed that took longest, and how long.
    pub slowest: (u64, Duration),
    /// How many failed.
    pub failed: u64,
    /// What the runs counted.
    pub profile: Profile,
    /// The same, of those seeds alone that are written down.
    pub recorded: Profile,
    /// A hash of what each seed did and counted, where they are seeds of any.
    pub seeds: Seeds,
    /// The smallest seed that failed, as it ran.
    pub failure: Option<Box<Report>>,
}

impl Sweep {
    /// Nothing has run yet.
    fn new(order: Order) -> Self {
        Self {
            order,
            runs: 0,
            took: Duration::ZERO,
            simulated: Duration::ZERO,
            tally: Tally::default(),
            reach: Reach::default(),
            slowest: (0, Duration::ZERO),
            failed: 0,
            profile: Profile::default(),
            recorded: Profile::default(),
            seeds: Seeds::default(),
            failure: None,
        }
    }

    /// Runs the order's seeds until one fails; `progress` sees the sweep after each.
    pub fn run(order: Order, mut progress: impl FnMut(&Self)) -> Self {
        let watch = Watch::start();
        let mut sweep = Self::new(order.clone());
        let Order {
            scenario,
            engine,
            seeds,
            time,
            jobs,
            planted,
            ..
        } = order;
        let options = Options {
            engine,
            ..Options::default()
        };
        crew::each(
            seeds,
            jobs,
            || time.is_none_or(|time| watch.elapsed() < time),
            |seed| {
                let mut plan = (scenario.draw)(seed);
                plan.planted = planted.map(str::to_owned);
                runner::run(&plan, options)
            },
            |_, report| {
                sweep.add(report);
                sweep.took = watch.elapsed();
                progress(&sweep);
                match sweep.failure {
                    None => ControlFlow::Continue(()),
                    Some(_) => ControlFlow::Break(()),
                }
            },
        );
        sweep.took = watch.elapsed();
        sweep
    }

    /// Adds one run.
    pub fn add(&mut self, report: Report) {
        self.runs += 1;
        self.simulated += report.lived();
        self.tally += report.tally;
        self.reach.add(&report.coverage);
        let seed = report.plan.seed;
        if report.failure.is_none() {
            self.profile.add(&report.plan.scenario, &report.counts);
            if self.can_be_recorded() {
                self.seeds.add(seed, report.digest.hash, &report.counts);
                if RECORDED.contains(&seed) {
                    self.recorded.add(&report.plan.scenario, &report.counts);
                }
            }
        }
        if report.took > self.slowest.1 {
            self.slowest = (seed, report.took);
        }
        if report.failure.is_some() {
            self.failed += 1;
            let smallest = self.failure.as_ref().map(|first| first.plan.seed);
            if smallest.is_none_or(|smallest| seed < smallest) {
                self.failure = Some(Box::new(report));
            }
        }
    }

    /// Runs per minute of real time.
    pub fn runs_per_minute(&self) -> f64 {
        60.0 * self.runs as f64 / self.seconds()
    }

    /// Simulated time per real time.
    pub fn speed(&self) -> f64 {
        self.simulated.as_secs_f64() / self.seconds()
    }

    fn seconds(&self) -> f64 {
        // The first run may take no time at all.
        self.took.as_secs_f64().max(1e-6)
    }

    /// Whether a seed means here what it means where it is written down.
    fn can_be_recorded(&self) -> bool {
        self.order.scenario.name == "any" && self.order.engine == EngineKind::Packets
    }

    /// Whether it was large enough to have been everywhere. With other seeds than the first that would be a matter of luck for
    /// what is rare.
    pub fn is_full(&self) -> bool {
        self.can_be_recorded()
            && self.order.planted.is_none()
            && self.order.seeds.start == 1
            && self.failure.is_none()
            && self.runs >= FULL_SEEDS
    }

    /// What a full sweep should have reached, and has not.
    pub fn gaps(&self) -> Vec<String> {
        if self.is_full() {
            self.reach.gaps()
        } else {
            Vec::new()
        }
    }
}
