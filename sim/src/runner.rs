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
    /// What went wrong, and the last events before it.
    pub failure: Option<(Violation, Vec<String>)>,
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
        let Some((violation, events)) = &self.failure else {
            return Ok(());
        };
        writeln!(f, "\nFAILED: seed {}: {violation}", self.seed)?;
        writeln!(f, "the last {} events:", events.len())?;
        for event in events {
            writeln!(f, "  {event}")?;
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
    Report {
        seed,
        hash,
        entries,
        tally: oracle.tally(),
        healed_after,
        failure: violation.map(|violation| (violation, recorder.last())),
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
        if now >= DURATION {
            judge_rest(&world, oracle);
            return Ok(healed_after);
        }
    }
}

/// What must hold when everybody has gone home.
fn judge_rest(world: &World, oracle: &Oracle) {
    let liveness = |invariant, what: String| oracle.violate(invariant, Class::Liveness, what);
    if oracle.open() > 0 || world.visitors_done() < VISITORS {
        return liveness(28, format!("{} sessions have not ended", oracle.open()));
    }
    let Boot { metrics, net, .. } = world.server().boot();
    if world.registered() != CLIENTS {
        liveness(
            25,
            format!(
                "{} of {CLIENTS} clients registered at the end",
                world.registered()
            ),
        );
    }
    let parked = metrics.pool_parked.get();
    let clients = CLIENTS as i64;
    if parked < PARKED_MIN * clients {
        liveness(
            26,
            format!(
                "{parked} proxy connections parked, {} wanted",
                PARKED_MIN * clients
            ),
        );
    }
    let baseline = [
        ("sessions", metrics.sessions.get(), 0),
        ("replay bytes", metrics.replay_bytes.get(), 0),
        ("unproven connections", metrics.connections_unproven.get(), 0),
        ("streams at the server", net.open(), clients + parked),
        (
            "streams at the clients",
            world
                .clients()
                .iter()
                .map(|client| client.boot().net.open())
                .sum(),
            clients + parked,
        ),
        (
            "connections at the upstreams",
            world.open_at_upstreams() as i64,
            0,
        ),
    ];
    for (what, is, expected) in baseline {
        if is != expected {
            oracle.violate(
                23,
                Class::Correctness,
                format!("{is} {what} at rest, expected {expected}"),
            );
        }
    }
    let (visitors, outcomes) = (metrics.visitors.get(), outcomes(&metrics));
    if visitors != outcomes {
        let what = format!("{visitors} visitors were accepted, {outcomes} sessions have an outcome");
        oracle.violate(24, Class::Correctness, what);
    }
    let replays = world
        .server()
        .boots()
        .iter()
        .map(|boot| boot.metrics.replays_ambiguous.get())
        .sum();
    oracle.handle_rest(replays);
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
