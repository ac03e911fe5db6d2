//! One run: from plan to verdict.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt,
    ops::AddAssign,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
    time::Duration,
};

use adit::probe;

use crate::{
    at_rest::{LOOK, rest, say_farewell, tries_failed},
    event::{End, Event},
    figures::uneven,
    mutants,
    oracle::{Class, Oracle, Violation, excuse::Excuses},
    plan::{Plan, who::Who},
    profile::{
        Counts,
        gather::{Looks, count_events, counts},
    },
    trace::{Detail, Digest, Recorder, line},
    watch::Watch,
    world::{EngineKind, World},
};

/// How long after the end all books may take to agree at one moment.
const REST_MAX: Duration = Duration::from_secs(3);

/// Between two looks at all that nodes show.
const PAGE: Duration = Duration::from_millis(2_950);

/// When a forwarder has had the time to begin.
const FORWARDER_STARTED: Duration = Duration::from_secs(3);

/// Events that a failure shows. More buries the cause; fewer may miss it.
const LAST_MAX: usize = 50;

/// How to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// On which engine.
    pub engine: EngineKind,
    /// What to show on stdout as it happens.
    pub detail: Detail,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was run.
    pub plan: Plan,
    /// The hash over everything that happened.
    pub digest: Digest,
    /// Figures.
    pub tally: Tally,
    /// How long after the healing all was well again.
    pub healed_after: Option<Duration>,
    /// How often each kind of fault found something to do, and each mark was reached.
    pub coverage: Coverage,
    /// Everything worth words.
    pub events: Vec<(Duration, Event)>,
    /// What went wrong.
    pub failure: Option<Failure>,
    /// What it counted; nothing where it failed.
    pub counts: Counts,
    /// Real time it took.
    pub took: Duration,
}

/// What a run has reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Kinds of fault, by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// Strangers' deeds, by name.
    pub intrusions: BTreeMap<&'static str, u64>,
    /// Marks in the product.
    pub marks: BTreeMap<&'static str, u64>,
    /// How often the planted bug was passed.
    pub planted: u64,
    /// Why visits that failed were excused, and how often.
    pub excuses: Excuses,
}

/// A run that did not hold, and what helps to see why.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The first broken invariant.
    pub violation: Violation,
    /// The sockets that were open then.
    pub sockets: Vec<String>,
}

/// Figures of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sessions that completed.
    pub complete: usize,
    /// Sessions that visitors left.
    pub left: usize,
    /// Sessions that broke, excused by a fault.
    pub broken: usize,
    /// Upstream connections beyond the first that saw a visitor's bytes.
    pub repeated: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.complete += other.complete;
        self.left += other.left;
        self.broken += other.broken;
        self.repeated += other.repeated;
    }
}

impl Report {
    /// How much simulated time it lived: a run that fails is over there.
    pub fn lived(&self) -> Duration {
        let last = self.events.last().map_or(Duration::ZERO, |(at, _)| *at);
        match self.failure {
            Some(_) => last,
            None => self.plan.duration(),
        }
    }

    /// 0 fine, 2 a wrong result, 3 something did not come to its end, 4 a crash.
    pub fn exit_code(&self) -> u8 {
        match self.failure.as_ref().map(|failure| failure.violation.class) {
            None => 0,
            Some(Class::Correctness) => 2,
            Some(Class::Liveness) => 3,
            Some(Class::Crash) => 4,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            complete,
            left,
            broken,
            repeated,
        } = self.tally;
        let Plan { scenario, seed, .. } = &self.plan;
        let Digest {
            hash,
            entries,
            packets,
        } = self.digest;
        write!(
            f,
            "{scenario} seed {seed} hash {hash:016x} entries {entries} packets {packets} complete {complete} \
             left {left} broken {broken} repeated {repeated}"
        )?;
        if let Some(after) = self.healed_after {
            write!(f, " healed {:.1} s", after.as_secs_f64())?;
        }
        let Some(Failure { violation, sockets }) = &self.failure else {
            return Ok(());
        };
        writeln!(f, "\nFAILED: {scenario} seed {seed}: {violation}")?;
        writeln!(f, "knobs: {}", self.plan.knobs)?;
        let last = &self.events[self.events.len().saturating_sub(LAST_MAX)..];
        writeln!(f, "the last {} events:", last.len())?;
        for (at, event) in last {
            writeln!(f, "  {}", line(*at, event))?;
        }
        write!(f, "open sockets:")?;
        for socket in sockets {
            write!(f, "\n  {socket}")?;
        }
        Ok(())
    }
}

thread_local! {
    /// Where the last panic of a run on this thread happened, and what it said.
    static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
    static RUNNING: RefCell<bool> = const { RefCell::new(false) };
}

/// Keeps a run's first panic for its report; panics outside of runs are told as ever.
fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let ordinary = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if RUNNING.with_borrow(|running| *running) {
                PANICKED.with_borrow_mut(|first| {
                    first.get_or_insert_with(|| info.to_string());
                });
            } else {
                ordinary(info);
            }
        }));
    });
}

/// Runs `plan`.
pub fn run(plan: &Plan, options: Options) -> Report {
    keep_panics();
    PANICKED.with_borrow_mut(|panicked| *panicked = None);
    RUNNING.with_borrow_mut(|running| *running = true);
    let watch = Watch::start();
    let recorder = Recorder::new(options.detail);
    let oracle = Oracle::new(plan.clone(), options.engine.can_reset(), recorder.clone());
    probe::plant(plan.planted.as_deref().and_then(mutants::table::name));
    probe::take_marks();
    probe::take_measures();
    let ran = catch_unwind(AssertUnwindSafe(|| live(plan, options.engine, &oracle)));
    RUNNING.with_borrow_mut(|running| *running = false);
    // A panic anywhere fails the run, even one that some task swallowed.
    let panicked = PANICKED.with_borrow_mut(Option::take);
    let panicked = panicked.or(ran.is_err().then(|| "a panic without words".to_owned()));
    let crash = panicked.map(|what| Violation {
        invariant: 21,
        class: Class::Crash,
        what,
    });
    let Lived {
        healed_after,
        sockets,
        mut counts,
    } = ran.unwrap_or_default();
    let events = recorder.events();
    let coverage = coverage(plan, &events, oracle.excuses());
    if !counts.sums.is_empty() {
        let marks = coverage.marks.iter().map(|(name, times)| ("mark", name, times));
        let excuses = coverage
            .excuses
            .iter()
            .map(|(name, times)| ("excuse", name, times));
        for (kind, name, times) in marks.chain(excuses) {
            counts.sums.insert(format!("{kind}/{name}"), *times as f64);
        }
        count_events(&events, &mut counts);
        counts.means = probe::take_measures();
    }
    Report {
        plan: plan.clone(),
        digest: recorder.digest(),
        tally: tally(&oracle),
        healed_after,
        coverage,
        events,
        counts,
        failure: crash
            .or_else(|| oracle.verdict())
            .map(|violation| Failure { violation, sockets }),
        took: watch.elapsed(),
    }
}

fn tally(oracle: &Oracle) -> Tally {
    oracle.read(|model| {
        let ended = |how: fn(&End) -> bool| {
            let all = model.sessions.values();
            all.filter(|session| session.ended.as_ref().is_some_and(|(_, end)| how(end)))
                .count()
        };
        Tally {
            complete: ended(|end| *end == End::Complete),
            left: ended(|end| *end == End::Left),
            broken: ended(|end| matches!(end, End::Broken(_))),
            repeated: model
                .sessions
                .values()
                .map(|session| session.seen_by.len().saturating_sub(1))
                .sum(),
        }
    })
}

fn coverage(plan: &Plan, events: &[(Duration, Event)], excuses: Excuses) -> Coverage {
    let mut coverage = Coverage {
        marks: probe::take_marks(),
        planted: probe::hits(),
        excuses,
        ..Coverage::default()
    };
    for (_, event) in events {
        match event {
            Event::FaultBegins { nth, .. } => {
                *coverage.faults.entry(plan.faults[*nth].act.name()).or_default() += 1;
            }
            Event::FaultMisses { nth, .. } => {
                *coverage.faults.entry(plan.faults[*nth].act.name()).or_default() -= 1;
            }
            Event::Intrudes {
                stranger: Who::Stranger(n),
                what,
            } if what.starts_with("begins") => {
                *coverage
                    .intrusions
                    .entry(plan.strangers[*n].deed.name())
                    .or_default() += 1;
            }
            _ => {}
        }
    }
    coverage
}

/// What is known of a life that is over.
#[derive(Default)]
struct Lived {
    /// When it was healed.
    healed_after: Option<Duration>,
    /// Which sockets were open when something broke.
    sockets: Vec<String>,
    /// What it counted, if nothing broke.
    counts: Counts,
}

/// Lives a plan to its end, or to the first broken invariant.
fn live(plan: &Plan, engine: EngineKind, oracle: &Oracle) -> Lived {
    let mut world = World::new(plan, engine, oracle.clone());
    let (duration, heal) = (plan.duration(), Duration::from_millis(plan.heal_ms));
    let expected = plan.registered().len();
    let noticed = heal + Duration::from_millis(plan.knobs.detection_ms()) + Duration::from_secs(2);
    // Nobody says when a forwarder has found out who is well; the quiet after the healing is long enough.
    let forwarder_well = plan.forward.as_ref().map_or(Duration::ZERO, |_| plan.quiet().1);
    let mut registered = 0;
    let (mut started, mut healing, mut healed_after) = (false, false, None);
    let mut failed_before = None;
    let mut looks = Looks::default();
    let mut next = LOOK;
    let (mut is_uneven, mut next_page) = (false, Duration::ZERO);
    let broken = |world: &World, healed_after| Lived {
        healed_after,
        sockets: world.sockets(),
        ..Lived::default()
    };
    loop {
        let now = world.run_until(next);
        if oracle.verdict().is_some() {
            return broken(&world, healed_after);
        }
        if now < next {
            continue;
        }
        next = now + LOOK;
        world.reap();
        let mut sight = world.sight();
        // A whole page costs much: once in a while, and again as long as it does not agree.
        if is_uneven || now >= next_page {
            next_page = now + PAGE;
            sight.uneven_figures = uneven(&world, plan);
            is_uneven = sight.uneven_figures.is_some();
        }
        if sight.registered != registered {
            registered = sight.registered;
            oracle.tell(Event::Registered { clients: registered });
        }
        let here = match plan.forward {
            Some(_) => now >= FORWARDER_STARTED,
            None => registered == plan.clients.len(),
        };
        if !started && here {
            started = true;
            oracle.tell(Event::Phase { name: "started" });
        }
        if !healing && now >= heal {
            healing = true;
            oracle.tell(Event::Phase { name: "liveness" });
        }
        // Not before what is dead but looks alive has been noticed.
        if now >= noticed.max(forwarder_well) && healed_after.is_none() && registered == expected {
            healed_after = Some(now - heal);
            oracle.tell(Event::Phase { name: "converged" });
        }
        // Nor before the last connection that only looks alive has been.
        if healed_after.is_some() && now >= plan.silence_found() {
            failed_before.get_or_insert_with(|| tries_failed(&world));
        }
        world.look_at_refusals();
        looks.add(&sight);
        oracle.look(sight);
        if oracle.verdict().is_some() {
            return broken(&world, healed_after);
        }
        if now < duration {
            continue;
        }
        // A parked connection may be retired at any moment; rest is when all books agree at one of them.
        let rest = rest(&world, plan, failed_before.unwrap_or_default());
        if !oracle.unrest(&rest) || now >= duration + REST_MAX {
            oracle.rest(&rest);
            if oracle.verdict().is_some() {
                return broken(&world, healed_after);
            }
            let counts = oracle.read(|model| counts(&world, plan, model, &looks));
            say_farewell(&mut world, plan, oracle);
            if oracle.verdict().is_some() {
                return broken(&world, healed_after);
            }
            return Lived {
                counts,
                healed_after,
                sockets: Vec::new(),
            };
        }
    }
}
