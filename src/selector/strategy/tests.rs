use std::{collections::BTreeMap, net::SocketAddr};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{selector::target::InFlight, time::Duration};

const ALL: [Strategy; 7] = [
    Strategy::Random,
    Strategy::RoundRobin,
    Strategy::Weighted,
    Strategy::LeastConnections,
    Strategy::PowerOfTwo,
    Strategy::PeakEwma,
    Strategy::ConsistentHash,
];

fn set(weights: &[u32]) -> ActiveSet<SocketAddr> {
    let target = |(n, weight): (usize, &u32)| {
        Arc::new(Target {
            weight: *weight,
            ..Target::new(SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 80)))
        })
    };
    ActiveSet::new(weights.iter().enumerate().map(target))
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(11)
}

fn place(set: &ActiveSet<SocketAddr>, picked: &Arc<Target<SocketAddr>>) -> usize {
    let found = set
        .targets()
        .iter()
        .position(|target| Arc::ptr_eq(target, picked));
    found.expect("what is picked is in the set")
}

/// How often each target is picked in `picks`, none of which ends.
fn counts(
    strategy: Strategy,
    set: &ActiveSet<SocketAddr>,
    picks: usize,
    rng: &mut ChaCha8Rng,
) -> (Vec<usize>, Vec<InFlight>) {
    let (mut counts, mut held) = (vec![0; set.targets().len()], Vec::new());
    for _ in 0..picks {
        let picked = pick(strategy, set, |_| true, None, rng).expect("somebody is allowed");
        counts[place(set, &picked)] += 1;
        held.push(picked.gauges.begin());
    }
    (counts, held)
}

#[test]
fn only_the_allowed_are_picked_and_one_is_while_there_is_one() {
    let (mut rng, set) = (rng(), set(&[1, 5, 2, 1, 9, 1, 1, 3]));
    for strategy in ALL {
        for only in 0..8 {
            for _ in 0..50 {
                let allowed = |target: &Target<_>| target.key() == set.targets()[only].key();
                let picked = pick(strategy, &set, allowed, None, &mut rng).expect("one is allowed");
                assert_eq!(place(&set, &picked), only, "{strategy:?}");
            }
        }
        assert!(pick(strategy, &set, |_| false, None, &mut rng).is_none());
        assert!(
            pick(
                strategy,
                &ActiveSet::<SocketAddr>::default(),
                |_| true,
                None,
                &mut rng
            )
            .is_none()
        );
    }
}

#[test]
fn everybody_gets_its_weight() {
    for strategy in [
        Strategy::Random,
        Strategy::Weighted,
        Strategy::LeastConnections,
        Strategy::ConsistentHash,
    ] {
        let set = set(&[1, 2, 5, 2]);
        let (counts, _held) = counts(strategy, &set, 10_000, &mut rng());
        for (count, weight) in counts.iter().zip([1, 2, 5, 2]) {
            let expected = weight * 1000;
            assert!(
                count.abs_diff(expected) <= expected / 3,
                "{strategy:?}: {counts:?}"
            );
        }
    }
}

#[test]
fn weighted_turns_are_those_of_nginx() {
    assert_eq!(smooth_order(vec![5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
    assert_eq!(smooth_order(vec![2, 2]), [0, 1]);
    let long = smooth_order((1..=1000).collect());
    assert!(long.len() as u64 <= ORDER_MAX + 1000);
    let of = |place: u32| long.iter().filter(|p| **p == place).count();
    assert!(of(999) > of(499) && of(499) > of(99) && of(0) > 0);
}

#[test]
fn turns_go_on_from_one_snapshot_to_the_next() {
    let (mut rng, first) = (rng(), set(&[1, 1, 1]));
    let one = pick(Strategy::RoundRobin, &first, |_| true, None, &mut rng).unwrap();
    let second = set(&[1, 1, 1]).after(&first);
    let two = pick(Strategy::RoundRobin, &second, |_| true, None, &mut rng).unwrap();
    assert_eq!((place(&first, &one), place(&second, &two)), (0, 1));
}

#[test]
fn a_slow_starter_gets_its_share() {
    for strategy in [
        Strategy::Random,
        Strategy::RoundRobin,
        Strategy::Weighted,
        Strategy::LeastConnections,
    ] {
        let set = set(&[1, 1, 1, 1]);
        set.targets()[2].gauges.set_share(100);
        let (counts, _held) = counts(strategy, &set, 3100, &mut rng());
        assert!((50..=200).contains(&counts[2]), "{strategy:?}: {counts:?}");
        assert!(counts[0] > 800 && counts[1] > 800, "{strategy:?}: {counts:?}");
    }
    // Where everybody starts slowly, everybody gets the same.
    let set = set(&[1, 1, 1]);
    for target in set.targets() {
        target.gauges.set_share(100);
    }
    let (counts, _held) = counts(Strategy::Random, &set, 3000, &mut rng());
    assert!(counts.iter().all(|count| *count > 850), "{counts:?}");
}

#[test]
fn two_drawn_even_out_what_is_in_flight() {
    let set = set(&[1; 10]);
    let (counts, _held) = counts(Strategy::PowerOfTwo, &set, 1000, &mut rng());
    assert!(counts.iter().all(|count| count.abs_diff(100) <= 6), "{counts:?}");
}

#[test]
fn who_costs_more_is_picked_less() {
    let set = set(&[1; 4]);
    for (n, target) in set.targets().iter().enumerate() {
        target
            .gauges
            .set_cost(Duration::from_millis(if n == 3 { 2000 } else { 20 }));
    }
    let (counts, _held) = counts(Strategy::PeakEwma, &set, 1000, &mut rng());
    assert!(counts[3] <= 10, "{counts:?}");
}

#[test]
fn a_visitor_keeps_its_target_and_only_those_of_who_left_move() {
    let (mut rng, all) = (rng(), set(&[1; 10]));
    let less = ActiveSet::new(all.targets()[..9].iter().cloned());
    let mut moved = 0;
    for visitor in 0..1000u64 {
        let hash = Some(hash_of(&visitor.to_le_bytes()));
        let of = |set: &ActiveSet<_>, rng: &mut _| {
            let picked = pick(Strategy::ConsistentHash, set, |_| true, hash, rng);
            picked.expect("somebody is there").key()
        };
        let before = of(&all, &mut rng);
        assert_eq!(before, of(&all, &mut rng));
        if before == all.targets()[9].key() {
            moved += 1;
        } else {
            assert_eq!(before, of(&less, &mut rng), "only who must moves");
        }
    }
    assert!((60..=140).contains(&moved), "{moved}");
}

#[test]
fn one_busy_visitor_does_not_drown_its_target() {
    let (mut rng, set) = (rng(), set(&[1; 4]));
    let mut held = Vec::new();
    let mut counts = BTreeMap::<_, usize>::new();
    for _ in 0..400 {
        let picked = pick(Strategy::ConsistentHash, &set, |_| true, Some(7), &mut rng).unwrap();
        *counts.entry(picked.key()).or_default() += 1;
        held.push(picked.gauges.begin());
    }
    let most = *counts.values().max().unwrap();
    assert!((120..=126).contains(&most), "{counts:?}");
}

#[test]
fn a_choice_costs_no_more_among_many() {
    // Counts how many targets are looked at, which no machine's speed changes.
    for strategy in [
        Strategy::Random,
        Strategy::PowerOfTwo,
        Strategy::PeakEwma,
        Strategy::RoundRobin,
        Strategy::Weighted,
    ] {
        let (mut rng, set) = (rng(), set(&[1; 10_000]));
        let looked_at = std::cell::Cell::new(0);
        for _ in 0..100 {
            let allowed = |_: &Target<_>| {
                looked_at.set(looked_at.get() + 1);
                true
            };
            pick(strategy, &set, allowed, None, &mut rng).expect("all are allowed");
        }
        assert!(looked_at.get() <= 200, "{strategy:?}: {looked_at:?}");
    }
}
