//! Candidates that are further away than others: in some worlds of the forwarder up to half of them are, for the whole run,
//! and a calm beginning shows what becomes of them.

use rand::{Rng, RngExt, seq::SliceRandom};

use super::{Millis, Plan, Purpose, who::Who};

/// In so many of the worlds that have two candidates or more.
const PROBABILITY: f64 = 0.3;

/// In so many of those they are near at first, and far away for good some time later: whoever was quick once is not for ever.
const LATE_PROBABILITY: f64 = 0.4;
const LATE_MS: (Millis, Millis) = (20_000, 30_000);

/// How much longer each way takes, at least and at most: a connection takes twice as long, and is there before a probe
/// or a connect is given up.
const FAR_MS: (Millis, Millis) = (200, 400);

/// The least that probes and connects may take there.
const PATIENCE_MS: Millis = 2_000;

/// The most that one way takes to the others: twenty times less, so that their averages cannot come near.
const NEAR_MS: Millis = 15;

/// Faults begin when it has been seen who is left out.
const FIRST_FAULT_MS: Millis = 30_000;

/// The most between two evaluations and between two probes: they are to happen before the faults begin.
const EVALUATION_MS: Millis = 3_000;
const PROBE_INTERVAL_MS: Millis = 2_000;

/// In so many of the others that choose a few of all, some are worse than others, and none so bad that it is left out.
const WORSE_PROBABILITY: f64 = 0.4;

/// What each way takes to the better ones there, exactly, and how much more to the worse ones: a connection takes two and a
/// half times as long at least, and less than four times.
const EVEN_MS: Millis = 10;
const WORSE_MS: (Millis, Millis) = (15, 20);

/// Puts some of the candidates far away, if the seed says so.
pub(super) fn draw(plan: &mut Plan) {
    let mut rng = Purpose::Far.rng(plan.seed);
    let Some(forward) = &mut plan.forward else {
        return;
    };
    let count = forward.candidates.len();
    // An answer takes two round trips, and what it takes more of them would have to be reckoned.
    if count < 2 || forward.choice.http {
        return;
    }
    let far = rng.random_bool(PROBABILITY);
    let chosen = forward.choice.active > 0 && forward.choice.active < count;
    let worse = !far && chosen && rng.random_bool(WORSE_PROBABILITY);
    if !far && !worse {
        return;
    }
    let mut all: Vec<_> = forward.candidates.iter_mut().collect();
    all.shuffle(&mut rng);
    all.truncate(rng.random_range(1..=count / 2));
    let (least, most) = if far { FAR_MS } else { WORSE_MS };
    for candidate in &mut all {
        candidate.far_ms = rng.random_range(least..=most);
    }
    let mut calm_ms = FIRST_FAULT_MS;
    if far && rng.random_bool(LATE_PROBABILITY) {
        let from_ms = rng.random_range(LATE_MS.0..LATE_MS.1);
        all.into_iter()
            .for_each(|candidate| candidate.far_from_ms = from_ms);
        calm_ms += from_ms;
    }
    let choice = &mut forward.choice;
    choice.probe_timeout_ms = choice.probe_timeout_ms.max(PATIENCE_MS);
    choice.connect_timeout_ms = choice.connect_timeout_ms.max(PATIENCE_MS);
    choice.evaluation_ms = choice.evaluation_ms.min(EVALUATION_MS);
    choice.probe_interval_ms = choice.probe_interval_ms.min(PROBE_INTERVAL_MS);
    let (least, most) = plan.knobs.latency_ms;
    plan.knobs.latency_ms = match far {
        true => (least.min(NEAR_MS), most.min(NEAR_MS)),
        false => (EVEN_MS, EVEN_MS),
    };
    plan.knobs.tail_one_in = 0;
    plan.faults.retain(|fault| fault.from_ms >= calm_ms);
}

/// Some of the candidates, now and then all.
pub(super) fn some(rng: &mut impl Rng, count: usize) -> Vec<Who> {
    let mut all: Vec<_> = (0..count).map(Who::Upstream).collect();
    if rng.random_bool(0.6) {
        all.shuffle(rng);
        all.truncate(rng.random_range(1..=count));
        all.sort();
    }
    all
}
