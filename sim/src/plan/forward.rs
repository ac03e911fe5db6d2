//! A world of the forwarder: its candidates, how it chooses, and what is drawn of a seed for both.

use adit::selector::Strategy;
use rand::{
    RngExt,
    seq::{IndexedRandom, SliceRandom},
};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Manner, Millis, Plan, Purpose, draw, far, hosts::named, patience, visits, who::Who};
use crate::{
    fault::{
        AnyAct, Family, Fault, Trouble,
        flow::{BlackHole, CutOff, Pick, ResetFlow},
        path::{Clog, Cut, Isolate, Lag, Loss, Narrow, Split},
        process::{Crash, Pause, PowerLoss, Sluggish, Stop},
        seam::{FailAccepts, FailNames, MoveNames, RefuseConnects, SlowConnects, TakePorts},
        upstream::{Ail, DropIdle, Flap, Reweigh, Unlist},
    },
    node, upstream,
    upstream::Mood,
};

/// What a forwarder and its candidates are like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// One for each upstream host.
    pub candidates: Vec<Candidate>,
    /// How they are chosen, probed and kept warm.
    #[serde(default)]
    pub choice: Choice,
}

/// One candidate, as it always is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Candidate {
    /// It greets before it has heard anything.
    pub speaks_first: bool,
    /// It closes connections that say nothing for so long; 0 is never.
    pub idle_ms: Millis,
    /// It is listed by name.
    pub named: bool,
    /// Its weight; 0 is none said.
    pub weight: u32,
    /// How much longer each way between it and the forwarder takes.
    pub far_ms: Millis,
    /// From when on they do.
    #[serde(skip_serializing_if = "super::is_zero")]
    pub far_from_ms: Millis,
}

/// The options of the forwarder that a plan turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Choice {
    /// How a session picks: `random`, `round-robin`, `weighted`, `least-connections`, `p2c`, `peak-ewma` or `hash`.
    pub balance: Balance,
    /// Probes ask for an answer, not only for a connection.
    pub http: bool,
    /// Between two probes of a member.
    pub probe_interval_ms: Millis,
    /// How long an answer may take.
    pub probe_timeout_ms: Millis,
    /// Between two evaluations.
    pub evaluation_ms: Millis,
    /// Members at most; 0 is all.
    pub active: usize,
    /// By how much a newcomer must be better, in percent.
    pub hysteresis_percent: u32,
    /// How long a member stays.
    pub dwell_ms: Millis,
    /// Between two improvements.
    pub cooldown_ms: Millis,
    /// How long one that failed stays out.
    pub hold_off_ms: Millis,
    /// How long one that came back starts slowly.
    pub slow_start_ms: Millis,
    /// The pool follows demand.
    pub pool_follows: bool,
    /// Streams kept warm for each member, at least.
    pub pool_min: usize,
    /// And at most.
    pub pool_max: usize,
    /// How old a warm stream gets; 0 is as old as it will.
    pub pool_age_ms: Millis,
    /// How long one connect may take.
    pub connect_timeout_ms: Millis,
}

/// A strategy, as plans spell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "as the product's")]
pub enum Balance {
    Random,
    RoundRobin,
    Weighted,
    #[default]
    LeastConnections,
    P2c,
    PeakEwma,
    Hash,
}

impl From<Balance> for Strategy {
    fn from(balance: Balance) -> Self {
        match balance {
            Balance::Random => Self::Random,
            Balance::RoundRobin => Self::RoundRobin,
            Balance::Weighted => Self::Weighted,
            Balance::LeastConnections => Self::LeastConnections,
            Balance::P2c => Self::PowerOfTwo,
            Balance::PeakEwma => Self::PeakEwma,
            Balance::Hash => Self::ConsistentHash,
        }
    }
}

impl Default for Choice {
    /// The product's own, quick enough for a short run.
    fn default() -> Self {
        Self {
            balance: Balance::default(),
            http: false,
            probe_interval_ms: 1_000,
            probe_timeout_ms: 1_000,
            evaluation_ms: 3_000,
            active: 4,
            hysteresis_percent: 20,
            dwell_ms: 10_000,
            cooldown_ms: 5_000,
            hold_off_ms: 5_000,
            slow_start_ms: 5_000,
            pool_follows: true,
            pool_min: 2,
            pool_max: 64,
            pool_age_ms: 90_000,
            connect_timeout_ms: 1_000,
        }
    }
}

impl Choice {
    /// Within what a member that cannot be reached is put out: three probes fail, each after its timeout.
    pub fn detection_ms(&self) -> Millis {
        3 * (self.probe_interval_ms * 6 / 5 + self.probe_timeout_ms)
    }

    /// Within what a target that was in trouble for so long is used again: the wait behind its gate doubles with
    /// each failure, so it is about as long as the trouble was, give or take a half; then it succeeds twice.
    pub fn recovery_ms(&self, troubled_ms: Millis) -> Millis {
        (troubled_ms + troubled_ms / 2).min(90_000)
            + 2 * (self.probe_interval_ms + self.probe_timeout_ms)
            + 2_000
    }
}

/// How long a name is believed, and a margin: after it, whoever moved is found.
pub const NAME_BELIEVED_MS: Millis = 32_000;

/// How long a change of the list takes to be followed: it is left alone for a while, read and passed on.
pub const LIST_FOLLOWED_MS: Millis = 3_000;

impl Plan {
    /// How many upstreams there are: one for each client, or each candidate.
    pub fn upstreams(&self) -> usize {
        self.forward
            .as_ref()
            .map_or(self.clients.len(), |forward| forward.candidates.len())
    }

    /// The group of the upstream of that number.
    pub fn group_of(&self, upstream: usize) -> Option<usize> {
        match &self.forward {
            Some(forward) => (upstream < forward.candidates.len()).then_some(0),
            None => self.clients.get(upstream).copied(),
        }
    }

    /// Whom a fault may harm in this world.
    pub fn troubles(&self, act: &AnyAct) -> Trouble {
        let Some(forward) = &self.forward else {
            return act.troubles();
        };
        match act {
            // Whoever was found stays found.
            AnyAct::FailNames(_) => Trouble::default(),
            AnyAct::MoveNames(_) => {
                let named = forward.candidates.iter().enumerate().filter(|(_, one)| one.named);
                named
                    .map(|(n, _)| Trouble::at(Who::Upstream(n)))
                    .fold(Trouble::default(), Trouble::and)
            }
            _ => act.troubles(),
        }
    }
}

/// Faults begin when everybody is here; names may be wrong from the beginning.
const FIRST_FAULT: Millis = 4_000;

/// When the faults of a world of the forwarder are over.
const HEAL_MS: Millis = 56_000;

/// The most visitors that come at once.
const CROWD: usize = 120;

/// No visit begins so long before the healing, and after it: who was put out has to come back by itself.
const QUIET_MS: (Millis, Millis) = (5_000, 27_000);

/// The plan of a seed.
pub fn forward(seed: u64) -> Plan {
    let mut rng = Purpose::Knobs.rng(seed);
    let count: usize = if rng.random_bool(0.5) {
        rng.random_range(5..=8)
    } else {
        rng.random_range(1..=4)
    };
    let mut knobs = draw::knobs(&mut rng);
    // One host dials all the others: what is slow for it is slow for everybody.
    knobs.start_timeout_ms = 8_000;
    let mut plan = Plan {
        scenario: "forward".to_owned(),
        seed,
        duration_ms: 120_000,
        heal_ms: HEAL_MS,
        quiet_ms: QUIET_MS,
        last_visit_ms: 102_000,
        knobs,
        clients: Vec::new(),
        offers: Vec::new(),
        second_server: false,
        web: None,
        forward: Some(Forward {
            candidates: candidates(&mut rng, count),
            choice: choice(&mut rng),
        }),
        faults: Vec::new(),
        strangers: Vec::new(),
        visitors: visits::visitors(seed, rng.random_range(2..=4), 1, 1_000, draw::VISITS_MS),
        planted: None,
    };
    tame(&mut plan);
    let mut swarm = Purpose::Swarm.rng(seed);
    for (n, family) in (0..).zip(
        Family::ALL
            .iter()
            .filter(|family| !matches!(family, Family::Impostor | Family::Disk)),
    ) {
        let (on, times) = (swarm.random_bool(0.5), swarm.random_range(1..=4));
        if on {
            let mut rng = Purpose::Family(n).rng(seed);
            for _ in 0..times {
                let act = act(*family, &mut rng, &plan);
                plan.faults.push(timed(act, &mut rng));
            }
        }
    }
    if swarm.random_bool(0.4) && count > 1 {
        lasting(&mut Purpose::Family(0x80).rng(seed), &mut plan, count);
    }
    far::draw(&mut plan);
    plan.faults.sort_by_key(|fault| fault.from_ms);
    patience::shorten(seed, &mut plan);
    visits::come_at_once(seed, &mut plan.visitors, CROWD);
    visits::fall_silent(seed, &mut plan.visitors);
    plan
}

fn candidates(rng: &mut ChaCha8Rng, count: usize) -> Vec<Candidate> {
    // Who speaks first is not kept warm, and is rare beside who does not.
    let speaking = *[0.0, 0.0, 0.0, 0.3, 1.0].choose(rng).expect("some");
    let (closing, named, weighted) = (
        rng.random_bool(0.3),
        *[0.0, 0.5, 1.0].choose(rng).expect("some"),
        rng.random_bool(0.3),
    );
    let one = |_| Candidate {
        speaks_first: rng.random_bool(speaking),
        idle_ms: if closing && rng.random_bool(0.5) {
            *[2_000, 5_000, 9_500, 15_000].choose(rng).expect("some")
        } else {
            0
        },
        named: rng.random_bool(named),
        weight: if weighted { rng.random_range(1..=4) } else { 0 },
        far_ms: 0,
        far_from_ms: 0,
    };
    (0..count).map(one).collect()
}

fn choice(rng: &mut ChaCha8Rng) -> Choice {
    use Balance::{Hash, LeastConnections, P2c, PeakEwma, Random, RoundRobin, Weighted};
    let mut of = |all: &[Millis]| *all.choose(rng).expect("some");
    let mut choice = Choice {
        probe_interval_ms: of(&[500, 1_000, 2_000, 5_000]),
        probe_timeout_ms: of(&[500, 1_000, 2_000]),
        evaluation_ms: of(&[1_000, 3_000, 10_000]),
        dwell_ms: of(&[0, 5_000, 20_000, 60_000]),
        cooldown_ms: of(&[0, 3_000, 30_000]),
        hold_off_ms: of(&[0, 3_000, 30_000]),
        slow_start_ms: of(&[0, 3_000, 30_000]),
        pool_age_ms: of(&[0, 3_000, 90_000]),
        connect_timeout_ms: of(&[1_000, 2_000, 3_000]),
        ..Choice::default()
    };
    let balances = [
        Random,
        RoundRobin,
        Weighted,
        LeastConnections,
        P2c,
        PeakEwma,
        Hash,
    ];
    choice.balance = *balances.choose(rng).expect("some");
    choice.http = rng.random_bool(0.2);
    choice.active = *[0, 1, 2, 4, 4].choose(rng).expect("some");
    choice.hysteresis_percent = *[5, 20, 50].choose(rng).expect("some");
    choice.pool_follows = rng.random_bool(0.6);
    choice.pool_min = *[0, 0, 1, 2, 8].choose(rng).expect("some");
    choice.pool_max = *[choice.pool_min, 4.max(choice.pool_min), 64]
        .choose(rng)
        .expect("some");
    choice
}

/// Leaves out what these candidates cannot do, and what would take the whole run.
fn tame(plan: &mut Plan) {
    let Some(forward) = &mut plan.forward else {
        return;
    };
    let silent = forward.candidates.iter().any(|one| !one.speaks_first);
    // A greeting is no answer to a probe that asks.
    forward.choice.http &= forward.candidates.iter().all(|one| !one.speaks_first);
    let mut most = 8 * plan.knobs.kernel_buffer as u64;
    if plan.knobs.chop_one_in == 1 && plan.knobs.chop_to == 1 {
        most = most.min(2_000);
    }
    for visit in plan.visitors.iter_mut().flatten() {
        (visit.len, visit.reply_len) = (visit.len.min(most), visit.reply_len.min(most));
        if silent && visit.manner == Manner::ReadFirst {
            visit.manner = Manner::Plain;
        }
    }
}

/// A fault that is over when the healing is.
fn timed(act: AnyAct, rng: &mut ChaCha8Rng) -> Fault {
    let (least, most) = act.lasts_ms();
    let first = match act {
        AnyAct::FailNames(_) | AnyAct::MoveNames(_) if rng.random_bool(0.5) => 0,
        _ => rng.random_range(FIRST_FAULT..HEAL_MS - 1_000),
    };
    let lasts = least + (rng.random_range(0.0_f64..1.0).powi(2) * (most - least) as f64) as Millis;
    Fault {
        from_ms: first,
        to_ms: Some((first + lasts).min(HEAL_MS)),
        act,
    }
}

/// Some candidates are lost for good; others are left, and nothing is done to the lost ones afterwards.
fn lasting(rng: &mut ChaCha8Rng, plan: &mut Plan, count: usize) {
    let mut lost: Vec<_> = (0..count).collect();
    lost.shuffle(rng);
    lost.truncate(rng.random_range(1..count));
    for upstream in lost {
        let who = Who::Upstream(upstream);
        let act = match rng.random_range(0..4) {
            0 => AnyAct::Crash(Crash { who }),
            1 => AnyAct::Isolate(Isolate { who }),
            2 => AnyAct::Unlist(Unlist { upstream }),
            _ => AnyAct::Ail(Ail {
                upstream,
                mood: Mood::Refuses,
            }),
        };
        let from_ms = rng.random_range(FIRST_FAULT..HEAL_MS - 1_000);
        plan.faults.retain(|fault| {
            let hits = named(&fault.act).contains(&who);
            !hits || fault.to_ms.is_some_and(|to| to < from_ms)
        });
        plan.faults.push(Fault {
            from_ms,
            to_ms: None,
            act,
        });
    }
}

/// One fault of a family, done to a world of the forwarder.
fn act(family: Family, rng: &mut ChaCha8Rng, plan: &Plan) -> AnyAct {
    let count = plan.upstreams();
    let upstream = rng.random_range(0..count);
    let visitor = Who::Visitor(rng.random_range(0..plan.visitors.len()));
    let (candidate, server) = (Who::Upstream(upstream), Who::Server);
    let node = if rng.random_ratio(1, 5) { server } else { candidate };
    let between = if rng.random_ratio(1, 8) {
        (visitor, server)
    } else {
        (server, candidate)
    };
    let flow = Pick {
        nth: rng.random_range(0..32),
        ..if rng.random_ratio(1, 6) {
            Pick::to(visitor, server, node::PUBLIC_PORT)
        } else {
            Pick::to(server, candidate, upstream::PORT)
        }
    };
    match family {
        Family::Weather => match rng.random_range(0..4) {
            0 | 1 => AnyAct::Lag(Lag {
                between,
                more_ms: 10 << rng.random_range(0..8),
            }),
            2 => AnyAct::Loss(Loss {
                between,
                percent: *[3, 10, 30, 80].choose(rng).expect("some"),
            }),
            _ => AnyAct::Narrow(Narrow {
                between,
                rate: 8 << rng.random_range(0..8),
            }),
        },
        Family::Partition => match rng.random_range(0..6) {
            0 => AnyAct::Clog(Clog {
                between,
                both: rng.random_bool(0.7),
            }),
            1 | 2 => AnyAct::Cut(Cut {
                between,
                both: rng.random_bool(0.7),
            }),
            3 => AnyAct::Isolate(Isolate { who: node }),
            _ => AnyAct::Split(Split {
                clients: far::some(rng, count),
            }),
        },
        Family::Flow => match rng.random_range(0..3) {
            0 => AnyAct::BlackHole(BlackHole { flow }),
            1 => AnyAct::ResetFlow(ResetFlow {
                flow,
                both: rng.random_bool(0.5),
                lost: false,
            }),
            _ => AnyAct::CutOff(CutOff {
                flow,
                after: 1 << rng.random_range(0..17),
                reply: rng.random_bool(0.5),
            }),
        },
        Family::Process if node == server && rng.random_bool(0.5) => AnyAct::Stop(Stop { who: server }),
        Family::Process => AnyAct::Crash(Crash { who: node }),
        Family::Power => AnyAct::PowerLoss(PowerLoss { who: node }),
        Family::Pause if rng.random_bool(0.5) => AnyAct::Pause(Pause { who: node }),
        Family::Pause => AnyAct::Sluggish(Sluggish {
            who: node,
            every_ms: 1 << rng.random_range(2..10),
        }),
        Family::Socket => match rng.random_range(0..9) {
            0 => AnyAct::RefuseConnects(RefuseConnects { who: server }),
            1 => AnyAct::SlowConnects(SlowConnects { who: server }),
            2 => AnyAct::FailAccepts(FailAccepts {}),
            3 => AnyAct::TakePorts(TakePorts {}),
            4..=6 => AnyAct::FailNames(FailNames { who: server }),
            _ => AnyAct::MoveNames(MoveNames {
                who: server,
                lost: rng.random_bool(0.5),
            }),
        },
        Family::Upstream => match rng.random_range(0..5) {
            0 => AnyAct::Flap(Flap {
                upstream,
                half_period_ms: rng.random_range(50..4_000),
            }),
            1 | 2 => AnyAct::Ail(Ail {
                upstream,
                mood: Mood::Refuses,
            }),
            _ => AnyAct::Ail(Ail {
                upstream,
                mood: *[Mood::ClosesAtOnce, Mood::Hangs, Mood::AnswersHalf]
                    .choose(rng)
                    .expect("some"),
            }),
        },
        Family::Candidates if rng.random_bool(0.5) => AnyAct::DropIdle(DropIdle { upstream }),
        Family::Candidates if rng.random_bool(0.3) => AnyAct::Reweigh(Reweigh {
            upstream,
            more: rng.random_range(2..6),
        }),
        Family::Candidates | Family::Impostor | Family::Disk => AnyAct::Unlist(Unlist { upstream }),
    }
}
