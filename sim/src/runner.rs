//! One run: from seed to verdict.

use std::{
    cell::RefCell,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
    time::Duration,
};

use crate::{
    node::Boot,
    oracle::{Class, HEAL_MAX, Oracle, Tally, Violation},
    plan::{CLIENTS, DURATION, Plan, VISITORS},
    trace::Recorder,
    world::World,
};

/// Proxy connections that a server keeps parked per client, unless told otherwise.
const PARKED_MIN: i64 = 4;

/// How long after the end all books may take to agree at one moment.
const REST_MAX: Duration = Duration::from_secs(2);

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The hash over everything that happened.
    pub hash: u64,
    /// How many entries it runs over.
    pub entries: u64,
    /// Figures.
    pub tally: Tally,
    /// When every client was registered again after the last fault, counted from its end.
    pub healed_after: Option<Duration>,
    /// What went wrong.
    pub failure: Option<Failure>,
}

/// A run that did not hold, and what helps to see why.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The first broken invariant.
    pub violation: Violation,
    /// The last events before it.
    pub events: Vec<String>,
    /// The streams of the system under test that were open then.
    pub streams: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            complete,
            left,
            broken,
            repeated,
            bytes,
        } = self.tally;
        write!(
            f,
            "smoke seed {} hash {:016x} entries {} complete {complete} left {left} broken {broken} repeated \
             {repeated} bytes {bytes} healed {:?}",
            self.seed,
            self.hash,
            self.entries,
            self.healed_after.unwrap_or_default()
        )?;
        let Some(Failure {
            violation,
            events,
            streams,
        }) = &self.failure
        else {
            return Ok(());
        };
        writeln!(f, "\nFAILED: seed {}: {violation}", self.seed)?;
        writeln!(f, "the last {} events:", events.len())?;
        for event in events {
            writeln!(f, "  {event}")?;
        }
        writeln!(f, "open streams:")?;
        for stream in streams {
            writeln!(f, "  {stream}")?;
        }
        write!(
            f,
            "replay: cargo run -p adit-sim -- run smoke --seed {} --trace",
            self.seed
        )
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

/// Runs the scenario `smoke` under `seed`; `print` shows each event on stdout.
pub fn smoke(seed: u64, print: bool) -> Report {
    keep_panics();
    PANICKED.with_borrow_mut(|panicked| *panicked = None);
    RUNNING.with_borrow_mut(|running| *running = true);
    let recorder = Recorder::new(print);
    let oracle = Oracle::new(recorder.clone());
    let ran = catch_unwind(AssertUnwindSafe(|| run(Plan::smoke(seed), &recorder, &oracle)));
    RUNNING.with_borrow_mut(|running| *running = false);
    let crash = |what| Violation {
        invariant: 21,
        class: Class::Crash,
        what,
    };
    // A panic anywhere fails the run, even one that some task swallowed.
    let panicked = PANICKED.with_borrow_mut(Option::take);
    let (healed_after, error) = match ran {
        Ok(Ok(healed_after)) => (healed_after, None),
        Ok(Err(error)) => (None, Some(error.to_string())),
        Err(_) => (None, Some("a panic without words".to_owned())),
    };
    let violation = panicked.or(error).map(crash).or_else(|| oracle.verdict());
    let (hash, entries) = recorder.digest();
    let streams = oracle.streams_at_verdict();
    Report {
        seed,
        hash,
        entries,
        tally: oracle.tally(),
        healed_after,
        failure: violation.map(|violation| Failure {
            violation,
            events: recorder.last(),
            streams,
        }),
    }
}

/// Runs `plan` to its end, or to the first broken invariant.
fn run(plan: Plan, recorder: &Recorder, oracle: &Oracle) -> turmoil::Result<Option<Duration>> {
    let faults_end = plan.faults_end();
    recorder.event(
        "plan",
        format_args!(
            "latency {:?}, chop {}, {:?}",
            plan.latency, plan.chop, plan.faults
        ),
    );
    let mut world = World::new(plan, recorder.clone(), oracle.clone());
    let mut registered = 0;
    let mut healed_after = None;
    loop {
        let now = world.step()?;
        if world.registered() != registered {
            registered = world.registered();
            recorder.event("server", format_args!("{registered} clients registered"));
        }
        if now > faults_end && registered == CLIENTS && healed_after.is_none() {
            healed_after = Some(now - faults_end);
        }
        if now > faults_end + HEAL_MAX && healed_after.is_none() {
            let what =
                format!("{registered} of {CLIENTS} clients registered {HEAL_MAX:?} after the last fault");
            oracle.violate(25, Class::Liveness, what);
        }
        if oracle.verdict().is_some() {
            return Ok(healed_after);
        }
        if now < DURATION {
            continue;
        }
        // A parked connection may be retired at any moment; rest is when all books agree at one of them.
        let unrest = unrest(&world, oracle);
        if unrest.is_empty() || now >= DURATION + REST_MAX {
            for (invariant, class, what) in unrest {
                oracle.violate(invariant, class, what);
            }
            let boots = world.server().boots();
            oracle.handle_rest(
                boots
                    .iter()
                    .map(|boot| boot.metrics.replays_ambiguous.get())
                    .sum(),
            );
            return Ok(healed_after);
        }
    }
}

/// What does not hold although everybody has gone home.
fn unrest(world: &World, oracle: &Oracle) -> Vec<(u8, Class, String)> {
    let mut problems = Vec::new();
    let mut check = |holds: bool, invariant, class, what: String| {
        if !holds {
            problems.push((invariant, class, what));
        }
    };
    let open = oracle.open();
    let done = world.visitors_done() == VISITORS;
    check(
        open == 0 && done,
        28,
        Class::Liveness,
        format!("{open} sessions have not ended"),
    );
    let registered = world.registered();
    let what = format!("{registered} of {CLIENTS} clients registered at the end");
    check(registered == CLIENTS, 25, Class::Liveness, what);
    let Boot { metrics, net, .. } = world.server().boot();
    let (parked, clients) = (metrics.pool_parked.get(), CLIENTS as i64);
    let wanted = PARKED_MIN * clients;
    let what = format!("{parked} proxy connections parked, {wanted} wanted");
    check(parked >= wanted, 26, Class::Liveness, what);
    let at_clients = world
        .clients()
        .iter()
        .map(|client| client.boot().net.open())
        .sum();
    let baseline = [
        ("sessions", metrics.sessions.get(), 0),
        ("replay bytes", metrics.replay_bytes.get(), 0),
        ("unproven connections", metrics.connections_unproven.get(), 0),
        ("streams at the server", net.open(), clients + parked),
        ("streams at the clients", at_clients, clients + parked),
        (
            "connections at the upstreams",
            world.open_at_upstreams() as i64,
            0,
        ),
    ];
    for (what, is, expected) in baseline {
        let what = format!("{is} {what} at rest, expected {expected}");
        check(is == expected, 23, Class::Correctness, what);
    }
    let (visitors, outcomes) = (metrics.visitors.get(), outcomes(&metrics));
    let what = format!("{visitors} visitors were accepted, {outcomes} sessions have an outcome");
    check(visitors == outcomes, 24, Class::Correctness, what);
    problems
}

/// The sum over all outcomes that a node counted.
fn outcomes(metrics: &adit::metrics::Metrics) -> u64 {
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, metrics.registry()).is_err() {
        return 0;
    }
    text.lines()
        .filter(|line| line.starts_with("adit_session_outcomes_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}
