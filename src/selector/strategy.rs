//! How one target of the active set is picked. Pure: randomness is handed in.
//!
//! Everything here reads a snapshot and live gauges, and locks nothing: many threads may pick at once.

use std::{
    cmp::Ordering,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use rand::{Rng, RngExt};

use super::{
    Strategy,
    active_set::ActiveSet,
    target::{Reach, SHARE_WHOLE, Target},
};
use crate::{
    probe::{AUDITS, audit, measure, mutant},
    prober::ewma::RTT_DEFAULT,
};

/// Draws before the allowed targets are counted out.
const DRAWS_MAX: usize = 4;

/// The longest order of weighted turns. Longer is more exact for great weights, and costs memory in each snapshot.
const ORDER_MAX: u64 = 16_384;

/// The most work that the exact order of nginx may be, in targets times turns: about a millisecond.
const EXACT_WORK_MAX: u64 = 1 << 20;

/// Of so many targets each is looked at by the audits; of more that would take too long.
const RECOUNTED_MAX: usize = 64;

/// How much more than its part a target may carry before visitors bound to it go elsewhere.
/// Source: Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads".
const LOAD_BOUND: f64 = 1.25;

/// Picks a target among those that `allowed` lets through. `hash` binds a visitor to a target where the strategy is
/// consistent; without one it is bound to any.
pub fn pick<R: Reach>(
    strategy: Strategy,
    set: &ActiveSet<R>,
    allowed: impl Fn(&Target<R>) -> bool,
    hash: Option<u64>,
    rng: &mut impl Rng,
) -> Option<Arc<Target<R>>> {
    let place = match strategy {
        Strategy::Random => random(set, &allowed, rng),
        Strategy::RoundRobin => in_turn(set, &[], &allowed, rng),
        Strategy::Weighted => in_turn(set, set.order(), &allowed, rng),
        Strategy::LeastConnections => fewest(set, &allowed, rng),
        Strategy::PowerOfTwo => better_of_two(set, &allowed, busyness, rng),
        Strategy::PeakEwma => better_of_two(set, &allowed, expense, rng),
        Strategy::ConsistentHash if mutant!("visitor-not-bound") => random(set, &allowed, rng),
        Strategy::ConsistentHash => bound(set, &allowed, hash.unwrap_or_else(|| rng.random())),
    };
    check(strategy, set, &allowed, place);
    place.map(|place| {
        let target = &set.targets()[place];
        measure!("share-of-the-chosen", target.gauges.share());
        measure!("sessions-of-the-chosen", target.gauges.in_flight());
        Arc::clone(target)
    })
}

/// Somebody is picked while anybody is allowed, and nobody else.
fn check<R: Reach>(
    strategy: Strategy,
    set: &ActiveSet<R>,
    allowed: &impl Fn(&Target<R>) -> bool,
    place: Option<usize>,
) {
    if !AUDITS || set.targets().len() > RECOUNTED_MAX {
        return;
    }
    let mut others = set.targets().iter().filter(|target| allowed(target));
    let Some(place) = place else {
        audit!(
            others.next().is_none(),
            "somebody is picked while anybody is allowed"
        );
        return;
    };
    let picked = &set.targets()[place];
    audit!(allowed(picked), "whoever is picked is allowed");
    audit!(
        strategy != Strategy::LeastConnections || others.all(|other| busyness(picked) <= busyness(other)),
        "nobody has fewer sessions for its weight"
    );
}

/// Each by weight and share.
///
/// Usually everyone is allowed and has its whole share: a draw that is not good is simply drawn again, which keeps
/// the choice even and its cost independent of the number of targets.
fn random<R: Reach>(
    set: &ActiveSet<R>,
    allowed: &impl Fn(&Target<R>) -> bool,
    rng: &mut impl Rng,
) -> Option<usize> {
    let targets = set.targets();
    for _ in 0..DRAWS_MAX.min(targets.len()) {
        let mut drawn = draw(set, rng);
        if mutant!("first-target-always-picked") {
            drawn = 0;
        }
        if allowed(&targets[drawn]) && has_turn(&targets[drawn], rng) {
            return Some(drawn);
        }
    }
    let part = |target: &Target<R>| match allowed(target) {
        true => u64::from(target.weight.max(1)) * u64::from(target.gauges.share()),
        false => 0,
    };
    let whole: u64 = targets.iter().map(|target| part(target)).sum();
    let mut left = (whole > 0).then(|| rng.random_range(0..whole))?;
    targets.iter().position(|target| {
        let part = part(target);
        let hit = left < part;
        left = left.saturating_sub(part);
        hit
    })
}

/// One target by weight alone. The set is not empty.
fn draw<R: Reach>(set: &ActiveSet<R>, rng: &mut impl Rng) -> usize {
    match set.weights_upto() {
        [] => rng.random_range(0..set.targets().len()),
        weights @ [.., whole] => {
            let point = rng.random_range(0..*whole);
            weights.partition_point(|upto| *upto <= point)
        }
    }
}

/// Whether a target that starts slowly takes this one; always where it has its whole share.
fn has_turn<R>(target: &Target<R>, rng: &mut impl Rng) -> bool {
    let share = target.gauges.share();
    share >= SHARE_WHOLE || rng.random_range(0..SHARE_WHOLE) < share
}

/// One after the other, in `order` or as they stand.
fn in_turn<R: Reach>(
    set: &ActiveSet<R>,
    order: &[u32],
    allowed: &impl Fn(&Target<R>) -> bool,
    rng: &mut impl Rng,
) -> Option<usize> {
    let targets = set.targets();
    let turns = if order.is_empty() {
        targets.len()
    } else {
        order.len()
    };
    let mut passed_over = None;
    let first = set.next_turn();
    for n in 0..turns {
        let mut turn = first.wrapping_add(n) % turns;
        if mutant!("turn-never-comes-round") {
            turn = n;
        }
        if mutant!("turns-taken-by-chance") {
            turn = rng.random_range(0..turns);
        }
        let place = order.get(turn).map_or(turn, |place| *place as usize);
        if !allowed(&targets[place]) {
            continue;
        }
        if has_turn(&targets[place], rng) {
            // Who was passed over gave its turn away: it must not come twice to the next.
            set.skip_turns(n);
            return Some(place);
        }
        passed_over.get_or_insert(place);
    }
    passed_over
}

/// Sessions for its weight: what one more would make of it.
fn busyness<R>(target: &Target<R>) -> f64 {
    let part = f64::from(target.weight.max(1)) * f64::from(target.gauges.share()) / f64::from(SHARE_WHOLE);
    let sessions = match mutant!("sessions-in-flight-not-weighed") {
        true => 0,
        false => target.gauges.in_flight(),
    };
    (sessions as f64 + 1.0) / part
}

/// What one more session would cost: measured latency times [`busyness`].
fn expense<R>(target: &Target<R>) -> f64 {
    target.gauges.cost().unwrap_or(RTT_DEFAULT).as_secs_f64() * busyness(target)
}

/// The fewest sessions for its weight; of several, any.
fn fewest<R: Reach>(
    set: &ActiveSet<R>,
    allowed: &impl Fn(&Target<R>) -> bool,
    rng: &mut impl Rng,
) -> Option<usize> {
    let (mut best, mut least, mut ties) = (None, f64::INFINITY, 0u32);
    for (place, target) in set.targets().iter().enumerate() {
        if !allowed(target) {
            continue;
        }
        let mut busyness = busyness(target);
        if mutant!("most-connections-chosen") {
            busyness = -busyness;
        }
        match busyness.total_cmp(&least) {
            Ordering::Less => (best, least, ties) = (Some(place), busyness, 1),
            // The nth of equals takes over with a chance of 1/n: in the end each has the same.
            Ordering::Equal => {
                ties += 1;
                if rng.random_range(0..ties) == 0 {
                    best = Some(place);
                }
            }
            Ordering::Greater => {}
        }
    }
    best
}

/// The one that costs less, of two drawn. Source: Mitzenmacher, "The Power of Two Choices in Randomized Load
/// Balancing".
fn better_of_two<R: Reach>(
    set: &ActiveSet<R>,
    allowed: &impl Fn(&Target<R>) -> bool,
    cost: impl Fn(&Target<R>) -> f64,
    rng: &mut impl Rng,
) -> Option<usize> {
    let targets = set.targets();
    let first = any(targets, allowed, None, rng)?;
    let Some(second) = any(targets, allowed, Some(first), rng) else {
        return Some(first);
    };
    let mut better = cost(&targets[second]).total_cmp(&cost(&targets[first])) == Ordering::Less;
    if mutant!("worse-of-two-chosen") {
        better = !better;
    }
    Some(if better { second } else { first })
}

/// Any allowed target but `not`, each with the same chance.
fn any<R: Reach>(
    targets: &[Arc<Target<R>>],
    allowed: &impl Fn(&Target<R>) -> bool,
    not: Option<usize>,
    rng: &mut impl Rng,
) -> Option<usize> {
    let good = |place: usize| Some(place) != not && allowed(&targets[place]);
    for _ in 0..DRAWS_MAX.min(targets.len()) {
        let drawn = rng.random_range(0..targets.len());
        if good(drawn) {
            return Some(drawn);
        }
    }
    let candidates: Vec<_> = (0..targets.len()).filter(|place| good(*place)).collect();
    let chosen = (!candidates.is_empty()).then(|| rng.random_range(0..candidates.len()))?;
    candidates.get(chosen).copied()
}

/// The target that `hash` is bound to, or the next one, if that has far more sessions than others.
///
/// By rendezvous ("highest random weight"; Thaler, Ravishankar): nothing is built for a snapshot, weights are
/// exact, whoever leaves moves only its own visitors, and everybody has a next best, which the bound on load needs.
/// The price is a look at every target: 10,000 take some 100 us. A ring would be quicker, and uneven.
fn bound<R: Reach>(set: &ActiveSet<R>, allowed: &impl Fn(&Target<R>) -> bool, hash: u64) -> Option<usize> {
    let targets = set.targets();
    let weight = |target: &Target<R>| f64::from(target.weight.max(1)) * f64::from(target.gauges.share());
    let (mut weights, mut in_flight) = (0.0, 1.0);
    for target in targets.iter().filter(|target| allowed(target)) {
        weights += weight(target);
        in_flight += target.gauges.in_flight() as f64;
    }
    let (mut best, mut most) = (None, f64::NEG_INFINITY);
    for (place, target) in targets.iter().enumerate() {
        let most_sessions = (LOAD_BOUND * in_flight * weight(target) / weights).ceil();
        if !allowed(target) || target.gauges.in_flight() as f64 >= most_sessions {
            continue;
        }
        let rank = -weight(target) / unit(mix(hash ^ set.hashes()[place])).ln();
        if rank > most {
            (best, most) = (Some(place), rank);
        }
    }
    best
}

/// A number above 0 and below 1.
fn unit(bits: u64) -> f64 {
    ((bits >> 12) as f64 + 0.5) / (1u64 << 52) as f64
}

/// Spreads every bit over all. Source: the finaliser of SplitMix64.
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A hash that is the same on every node and in every version: FNV-1a, spread. Not for secrets.
pub fn hash_of(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// What binds a visitor to a target where the strategy is consistent: its address, whatever its port.
pub fn bound_to(visitor: SocketAddr) -> u64 {
    match visitor.ip() {
        IpAddr::V4(ip) => hash_of(&ip.octets()),
        IpAddr::V6(ip) => hash_of(&ip.octets()),
    }
}

/// The places of targets in smooth weighted order: each as often as its weight says, evenly spread, as nginx does it.
/// Where that would be long work, in the order of evenly spaced points, which differs in who comes first among
/// neighbours.
pub(super) fn smooth_order(mut weights: Vec<u32>) -> Vec<u32> {
    let sum = |weights: &[u32]| weights.iter().map(|weight| u64::from(*weight)).sum::<u64>();
    let common = weights.iter().fold(0, |a, b| greatest_common(a, *b)).max(1);
    weights.iter_mut().for_each(|weight| *weight /= common);
    let whole = sum(&weights);
    if whole > ORDER_MAX {
        let scale = ORDER_MAX as f64 / whole as f64;
        weights
            .iter_mut()
            .for_each(|weight| *weight = ((f64::from(*weight) * scale) as u32).max(1));
    }
    let turns = sum(&weights);
    if turns * weights.len() as u64 > EXACT_WORK_MAX {
        let points = |(place, weight): (usize, &u32)| {
            let weight = *weight;
            (0..weight).map(move |n| ((f64::from(n) + 0.5) / f64::from(weight), place as u32))
        };
        let mut spaced: Vec<_> = weights.iter().enumerate().flat_map(points).collect();
        spaced.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        return spaced.into_iter().map(|(_, place)| place).collect();
    }
    let mut current = vec![0i64; weights.len()];
    let turn = |_| {
        let mut best = 0;
        for place in 0..weights.len() {
            current[place] += i64::from(weights[place]);
            if current[place] > current[best] {
                best = place;
            }
        }
        current[best] -= i64::try_from(turns).unwrap_or(i64::MAX);
        best as u32
    };
    (0..turns).map(turn).collect()
}

fn greatest_common(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common(b, a % b) }
}

#[cfg(test)]
mod tests;
