//! From a seed to a plan: one function per scenario.

use rand::{RngExt, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use super::{
    Millis, Plan, Purpose, ailing, choice,
    forward::forward,
    impostor,
    knobs::{Carry, Knobs, Overflow},
    lone, offers, patience, relapse, second, still, strained, strangers,
    visits::{crowds, stall, visitors},
    web::web,
    who::Who,
};
use crate::{
    fault::{
        AnyAct, Dice, Family, Fault,
        path::Clog,
        process::{Crash, Stop},
    },
    upstream::Mood,
};

/// A kind of world.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Makes its plan of a seed.
    pub draw: fn(u64) -> Plan,
}

/// Every scenario; the first is the one a sweep runs.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "any",
        about: "one seed of five of forward, one of web, the others of chaos",
        draw: any,
    },
    Scenario {
        name: "chaos",
        about: "2 to 6 clients, 2 to 4 visitors, 120 s; every kind of fault, each seed without some",
        draw: chaos,
    },
    Scenario {
        name: "forward",
        about: "a forwarder, 1 to 8 candidates, 2 to 4 visitors, 120 s; candidates fail, move, come and go",
        draw: hasty,
    },
    Scenario {
        name: "web",
        about: "chaos behind an HTTP entry: HTTP/1.1, HTTP/2, gRPC and WebSockets",
        draw: web,
    },
    Scenario {
        name: "smoke",
        about: "3 clients, 5 visitors, 60 s; a client crash, a server restart, a clogged link",
        draw: smoke,
    },
    Scenario {
        name: "calm",
        about: "3 clients, 3 visitors, 60 s; nothing goes wrong, so nothing may",
        draw: calm,
    },
];

/// The scenario of that name.
pub fn scenario(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

fn any(seed: u64) -> Plan {
    let plan = match Purpose::World.rng(seed).random_range(0..5) {
        0 => hasty(seed),
        1 => web(seed),
        _ => chaos(seed),
    };
    still::still(seed, plan)
}

fn calm(seed: u64) -> Plan {
    Plan {
        scenario: "calm".to_owned(),
        seed,
        duration_ms: 60_000,
        heal_ms: 20_000,
        quiet_ms: (0, 0),
        last_visit_ms: 50_000,
        knobs: Knobs::default(),
        clients: vec![0; 3],
        offers: Vec::new(),
        second_server: false,
        forward: None,
        web: None,
        faults: Vec::new(),
        strangers: Vec::new(),
        visitors: visitors(seed, 3, 1, 400, VISITS_MS),
        planted: None,
    }
}

fn smoke(seed: u64) -> Plan {
    let mut rng = Purpose::Knobs.rng(seed);
    let least = rng.random_range(1..=5);
    let mut plan = Plan {
        scenario: "smoke".to_owned(),
        heal_ms: 30_000,
        visitors: visitors(seed, 5, 1, 400, VISITS_MS),
        ..calm(seed)
    };
    plan.knobs.latency_ms = (least, least + rng.random_range(0..=40));
    plan.knobs.chop_one_in = if rng.random_bool(0.5) {
        rng.random_range(2..=20)
    } else {
        0
    };
    let rng = &mut Purpose::Swarm.rng(seed);
    let mut fault = |begins: std::ops::Range<Millis>, lasts: std::ops::Range<Millis>, act| {
        let from_ms = rng.random_range(begins);
        let to_ms = (from_ms + rng.random_range(lasts)).min(plan.heal_ms);
        plan.faults.push(Fault {
            from_ms,
            to_ms: Some(to_ms),
            act,
        });
    };
    let mut rng = Purpose::Family(0).rng(seed);
    let mut client = || Who::Client(rng.random_range(0..3));
    let (crashed, clogged) = (client(), client());
    let who = Who::Server;
    let restart = if rng.random_bool(0.4) {
        AnyAct::Stop(Stop { who })
    } else {
        AnyAct::Crash(Crash { who })
    };
    fault(5_000..24_000, 200..5_000, AnyAct::Crash(Crash { who: crashed }));
    fault(5_000..24_000, 200..5_000, restart);
    fault(
        5_000..20_000,
        300..20_000,
        AnyAct::Clog(Clog {
            between: (clogged, Who::Server),
            both: true,
        }),
    );
    plan.faults.sort_by_key(|fault| fault.from_ms);
    plan
}

/// A forwarder, whose visitors may be hasty.
fn hasty(seed: u64) -> Plan {
    let mut plan = forward(seed);
    relapse::reset_most(seed, &mut plan);
    plan
}

/// The latency of a network that is left alone, at most.
const CALM_LATENCY_MS: Millis = 10;

/// Faults begin when everybody is here.
pub(super) const FIRST_FAULT: Millis = 4_000;

/// From when on nobody comes any more, and how long it may take until all is at rest.
const LAST_VISIT_MS: Millis = 102_000;
const REST_MS: Millis = 18_000;

/// Visits are drawn for so long: more than fit.
pub(super) const VISITS_MS: Millis = 110_000;

/// One seed in so many lasts for a quarter of an hour.
const LONG_ONE_IN: u64 = 50;
const LONGER_MS: Millis = 780_000;

/// How long a visit may take for its bytes, apart from the pauses that it makes.
const VISIT_MS: Millis = 14_000;

fn chaos(seed: u64) -> Plan {
    let mut plan = tunnel(seed);
    let knobs = &plan.knobs;
    // Each connection of a crowd takes what a small buffer costs.
    let narrow = knobs.kernel_buffer < 4_096 || knobs.chop_one_in == 1 || knobs.window < 4_096;
    // And over long ways all of it waits for connections.
    let narrow = narrow || knobs.latency_ms.0 >= DISTANT_MS.start;
    let visits = plan.visitors.iter().flatten();
    let most = visits.map(|visit| visit.reply_len).max().unwrap_or(0);
    let crowd = (if narrow { 40 } else { 300 }, most);
    crowds(&mut Purpose::Crowds.rng(seed), &mut plan.visitors, crowd);
    patience::shorten(seed, &mut plan);
    impostor::usurp(seed, &mut plan);
    choice::choose(seed, &mut plan);
    offers::offer(seed, &mut plan);
    lone::add(seed, &mut plan);
    ailing::ail(seed, &mut plan);
    relapse::relapse(seed, &mut plan);
    if !strained::strain(seed, &mut plan) {
        second::add(seed, &mut plan);
    }
    // Whoever dials where nobody is waits for as long as a handshake may take: the healing would come too soon.
    let long = plan.knobs.handshake_timeout_ms > 10_000;
    for fault in &mut plan.faults {
        if let AnyAct::MoveNames(moved) = &mut fault.act {
            moved.lost &= !long;
        }
    }
    strangers::watch(seed, &mut plan);
    plan
}

/// A tunnel in trouble, with visitors who come one after another.
pub(super) fn tunnel(seed: u64) -> Plan {
    let mut rng = Purpose::Knobs.rng(seed);
    // With few there is often nobody left who could serve, and nothing to be judged.
    let clients = *[2, 3, 3, 4, 4, 4, 5, 5, 6].choose(&mut rng).expect("some");
    let groups = if clients >= 4 && rng.random_bool(0.3) {
        2
    } else {
        1
    };
    let visitors_count = rng.random_range(2..=4);
    // What lives by minutes has to come to its end, too.
    let (longer_ms, pause_ms) = match seed % LONG_ONE_IN {
        0 => (LONGER_MS, 3_000),
        _ => (0, 1_000),
    };
    let mut plan = Plan {
        scenario: "chaos".to_owned(),
        seed,
        duration_ms: LAST_VISIT_MS + longer_ms + REST_MS,
        heal_ms: 56_000,
        quiet_ms: (0, 0),
        last_visit_ms: LAST_VISIT_MS + longer_ms,
        knobs: knobs(&mut rng),
        clients: (0..clients).map(|n| n % groups).collect(),
        offers: Vec::new(),
        second_server: false,
        forward: None,
        web: None,
        faults: Vec::new(),
        strangers: Vec::new(),
        visitors: visitors(seed, visitors_count, groups, pause_ms, VISITS_MS + longer_ms),
        planted: None,
    };
    if longer_ms > 0 && plan.knobs.chop_one_in == 1 {
        // Byte for byte it would take as long as fifty others.
        plan.knobs.chop_one_in = 20;
    }
    plan.knobs.spare_doors = rng.random_bool(0.5);
    carriers(&mut rng, &mut plan.knobs);
    distant(seed, &mut plan.knobs);
    // What takes a hundred round trips takes the whole run.
    let mut most = 8 * plan.knobs.kernel_buffer as u64;
    if plan.knobs.has_links() {
        // One slow packet in twenty makes a round trip of several, and those behind it wait. A window is one round
        // trip, and a request and its reply have to end before the run does.
        let (slowed, at_most) = if plan.knobs.tail_one_in > 0 {
            (3, 30)
        } else {
            (1, 100)
        };
        let trips = (VISIT_MS / (4 * slowed * plan.knobs.latency_ms.1.max(1))).min(at_most);
        most = most.min(trips * u64::from(plan.knobs.window));
    }
    if plan.knobs.chop_one_in == 1 && plan.knobs.chop_to == 1 {
        // Each byte crosses every hop alone, and in a frame of its own.
        most = most.min(2_000);
    }
    for visit in plan.visitors.iter_mut().flatten() {
        if plan.knobs.has_links() {
            stall(&mut rng, visit, plan.knobs.window.into());
        }
        (visit.len, visit.reply_len) = (visit.len.min(most), visit.reply_len.min(most));
    }
    plan.knobs.drain_delay_ms = *[0, 0, 1_000, 4_000].choose(&mut rng).expect("some");
    plan.quiet_ms = (5_000, plan.knobs.quiet_ms());
    let mut swarm = Purpose::Swarm.rng(seed);
    let families = Family::ALL
        .iter()
        .filter(|family| !matches!(family, Family::Candidates | Family::Impostor | Family::Disk));
    for (n, family) in (0..).zip(families) {
        let (on, times) = (swarm.random_bool(0.6), swarm.random_range(1..=4));
        if on {
            let mut rng = Purpose::Family(n).rng(seed);
            for _ in 0..times {
                let fault = fault(*family, &mut rng, &plan);
                plan.faults.push(fault);
            }
        }
    }
    if swarm.random_bool(0.4) {
        lasting(&mut Purpose::Family(0x80).rng(seed), &mut plan);
    }
    plan.faults.sort_by_key(|fault| fault.from_ms);
    // Nor does anybody come before what has silently died is found out.
    let found = u64::try_from(plan.silence_found().as_millis()).unwrap_or(u64::MAX);
    plan.quiet_ms.1 = plan.quiet_ms.1.max(found.saturating_sub(plan.heal_ms));
    if swarm.random_bool(0.6) {
        plan.strangers = strangers::intrusions(&mut Purpose::Strangers.rng(seed), &plan);
    }
    plan
}

/// In one seed of so many, of those without data links, everybody is at the other end of the world for everybody.
const DISTANT_ONE_IN: u32 = 8;

/// The least that one way takes there, and how much more it may take.
const DISTANT_MS: std::ops::Range<Millis> = 130..220;
const DISTANT_MORE_MS: Millis = 20;

/// Lengthens all ways, if the seed says so. What waits for a turn on a link as well waits for seconds there.
fn distant(seed: u64, knobs: &mut Knobs) {
    let mut rng = Purpose::Distant.rng(seed);
    if !knobs.has_links() && rng.random_ratio(1, DISTANT_ONE_IN) {
        let least = rng.random_range(DISTANT_MS);
        knobs.latency_ms = (least, least + rng.random_range(0..=DISTANT_MORE_MS));
        knobs.tail_one_in = 0;
        knobs.kernel_buffer = knobs.kernel_buffer.max(4_096);
    }
}

/// A fault of a family that is over when the healing is.
fn fault(family: Family, rng: &mut ChaCha8Rng, plan: &Plan) -> Fault {
    let mut dice = Dice {
        rng,
        clients: plan.clients.len(),
        visitors: plan.visitors.len(),
    };
    let act = AnyAct::draw(family, &mut dice);
    let (least, most) = act.lasts_ms();
    let from_ms = rng.random_range(FIRST_FAULT..plan.heal_ms - 1_000);
    // Short ones are as likely as long ones, on the scale of what they do.
    let lasts = least + (rng.random_range(0.0_f64..1.0).powi(2) * (most - least) as f64) as Millis;
    Fault {
        from_ms,
        to_ms: Some((from_ms + lasts).min(plan.heal_ms)),
        act,
    }
}

/// One client is lost for good, if its group can do without.
fn lasting(rng: &mut ChaCha8Rng, plan: &mut Plan) {
    let families = [
        Family::Process,
        Family::Power,
        Family::Pause,
        Family::Partition,
        Family::Upstream,
    ];
    for _ in 0..50 {
        let family = *families.choose(rng).expect("there are families");
        let Fault { from_ms, mut act, .. } = fault(family, rng, plan);
        if let AnyAct::Ail(ail) = &mut act {
            // No other mood may last.
            ail.mood = Mood::Refuses;
        }
        let trouble = act.troubles();
        let Some(lost) = trouble.clients.first().copied() else {
            continue;
        };
        let others = plan
            .clients
            .iter()
            .filter(|group| **group == plan.clients[lost])
            .count()
            > 1;
        if act.may_last() && others && trouble.clients.len() == 1 && trouble.visitors.is_empty() {
            // Nothing else happens to it from then on, or something might raise it from the dead.
            plan.faults.retain(|fault| {
                !fault.act.troubles().clients.contains(&lost) || fault.to_ms.is_some_and(|to| to < from_ms)
            });
            plan.faults.push(Fault {
                from_ms,
                to_ms: None,
                act,
            });
            return;
        }
    }
}

pub(super) fn knobs(rng: &mut ChaCha8Rng) -> Knobs {
    let calm = Knobs::default();
    let mut odd = |probability: f64| rng.random_bool(probability);
    let (net, io, product, tight) = (odd(0.7), odd(0.6), odd(0.6), odd(0.3));
    let mut knobs = Knobs {
        retry_budget_ms: 20_000,
        ..calm
    };
    if net {
        let least = rng.random_range(1..=20);
        knobs.latency_ms = (least, least + rng.random_range(0..=60));
        knobs.tail_one_in = *[0, 0, 20, 200].choose(rng).expect("some");
        knobs.mtu = *[576, 1_500, 9_000, 32_000].choose(rng).expect("some");
        knobs.kernel_buffer = *[64, 512, 4_096, 16_384, 65_536]
            .choose_weighted(rng, |buffer| if *buffer < 1_000 { 1 } else { 8 })
            .expect("some");
    }
    if io {
        knobs.chop_one_in = *[0, 1, 3, 20]
            .choose_weighted(rng, |n| if *n == 1 { 1 } else { 4 })
            .expect("some");
        knobs.chop_to = *[1, 100, 5_000]
            .choose_weighted(rng, |n| if *n == 1 { 1 } else { 4 })
            .expect("some");
        knobs.balk_one_in = *[0, 2, 10, 100].choose(rng).expect("some");
        knobs.yield_one_in = *[0, 2, 10, 100].choose(rng).expect("some");
    }
    if product {
        knobs.missed_max = rng.random_range(2..=4);
        let shortest = 2 * knobs.exchange_ms() / Millis::from(knobs.missed_max - 1);
        knobs.heartbeat_ms = (*[500, 1_000, 2_000, 5_000].choose(rng).expect("some")).max(shortest);
        knobs.pool_min = *[0, 1, 4, 16].choose(rng).expect("some");
        knobs.backoff_base_ms = *[50, 200, 1_000].choose(rng).expect("some");
        knobs.backoff_cap_ms = *[2_000, 5_000, 15_000].choose(rng).expect("some");
        knobs.drain_timeout_ms = *[500, 1_500, 4_000].choose(rng).expect("some");
        knobs.replay_unacknowledged = rng.random_bool(0.7);
        knobs.half_closed_timeout_ms = *[40_000, 300_000].choose(rng).expect("some");
    }
    if tight {
        knobs.pool_max = *[knobs.pool_min.max(1), knobs.pool_min + 2, 64]
            .choose(rng)
            .expect("some");
        knobs.sessions_max = *[2, 8, 65_536].choose(rng).expect("some");
        knobs.waiting_max = *[1, 1_024].choose(rng).expect("some");
        knobs.unproven_max = *[8, 1_024].choose(rng).expect("some");
        knobs.replay_bytes = *[1_000, 100_000, 64 << 20].choose(rng).expect("some");
    }
    knobs.probe_interval_ms = *[0, 500, 1_000, 5_000].choose(rng).expect("some");
    knobs.hold_off_ms = *[0, 1_000, 5_000].choose(rng).expect("some");
    knobs.slow_start_ms = *[0, 1_000].choose(rng).expect("some");
    knobs
}

/// What carries sessions, in a third of the seeds each: data links; proxy connections, and data links for whoever
/// finds none; proxy connections alone.
fn carriers(rng: &mut ChaCha8Rng, knobs: &mut Knobs) {
    match rng.random_range(0..3) {
        0 => knobs.carry = Carry::Mux,
        1 => {
            knobs.overflow = Overflow::Mux;
            if rng.random_bool(0.7) {
                knobs.pool_min = rng.random_range(0..=1);
            }
        }
        _ => return,
    }
    knobs.links = *[1, 2, 4, 8].choose(rng).expect("some");
    knobs.max_streams = *[1, 2, 4, 1_024].choose(rng).expect("some");
    knobs.window = *[1, 100, 4_096, 16_384, 65_536].choose(rng).expect("some");
    if knobs.latency_ms.1 > CALM_LATENCY_MS {
        // A request of 40 bytes that takes 40 round trips takes too long for anything else to be seen.
        knobs.window = knobs.window.max(100);
    }
    knobs.window_budget = *[0, 1_000, 100_000, 32 << 20].choose(rng).expect("some");
    knobs.ids_max = *[5, 41, 1 << 30, 1 << 30].choose(rng).expect("some");
}
