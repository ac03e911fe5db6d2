use super::*;
use crate::prober::CandidateCount;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Runs a schedule for `length`, each probe taking `takes`. Says who was probed when.
fn run(
    schedule: &mut Schedule<u32>,
    start: Instant,
    length: Duration,
    takes: Duration,
    rng: &mut ChaCha8Rng,
) -> Vec<(Instant, u32)> {
    let (mut now, mut begun) = (start, Vec::new());
    let mut ends = BTreeSet::new();
    while now < start + length {
        while ends.first().is_some_and(|(end, _)| *end <= now) {
            let (_, key) = ends.pop_first().expect("it was there just now");
            schedule.handle_probed(now, &key, false, rng);
        }
        while let Some(key) = schedule.poll_probe(now, rng) {
            assert!(
                ends.iter().all(|(_, busy)| *busy != key),
                "nobody is probed twice at once"
            );
            ends.insert((now + takes, key));
            begun.push((now, key));
        }
        let next = [schedule.poll_timeout(), ends.first().map(|(end, _)| *end)];
        let next = next.into_iter().flatten().min().expect("something is to come");
        assert!(next > now, "what is due has been polled");
        now = next;
    }
    begun
}

fn watching(n: u32, members: &[u32], count: CandidateCount) -> (Schedule<u32>, Instant, ChaCha8Rng) {
    let start = crate::time::now();
    let mut rng = ChaCha8Rng::seed_from_u64(u64::from(n));
    let options = Options {
        candidate_count: count,
        ..Options::default()
    };
    let mut schedule = Schedule::new(start, options);
    (0..n).for_each(|key| schedule.watch(start, key));
    schedule.set_members(start, members, &[], &mut rng);
    (schedule, start, rng)
}

/// The longest time each of `keys` went without a probe.
fn longest_wait(begun: &[(Instant, u32)], key: u32, start: Instant, end: Instant) -> Duration {
    let mut times: Vec<_> = begun
        .iter()
        .filter(|(_, k)| *k == key)
        .map(|(at, _)| *at)
        .collect();
    times.insert(0, start);
    times.push(end);
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn everybody_is_probed_within_the_bound(
        n in 1u32..600,
        members in 0u32..8,
        count in prop_oneof![Just(CandidateCount::Auto), (1usize..64).prop_map(CandidateCount::Fixed)],
        takes_ms in 1u64..2000,
    ) {
        let members: Vec<_> = (0..members.min(n)).collect();
        let (mut schedule, start, mut rng) = watching(n, &members, count);
        let bound = schedule.bound();
        let length = bound * 3;
        let takes = Duration::from_millis(takes_ms);
        let begun = run(&mut schedule, start, length, takes, &mut rng);
        for key in 0..n {
            let wait = longest_wait(&begun, key, start, start + length);
            if members.contains(&key) {
                prop_assert!(wait <= Duration::from_secs(6) + takes, "member {key}: {wait:?}");
            } else {
                prop_assert!(wait <= bound, "{key} of {n}: {wait:?}, bound {bound:?}");
            }
        }
        let most = n as usize * 3 * (length.as_secs() as usize / 20 + 1);
        prop_assert!(begun.len() <= members.len() * length.as_secs() as usize + most);
    }
}

#[test]
fn new_ones_come_first_and_few_are_measured_soon() {
    let (mut schedule, start, mut rng) = watching(8, &[], CandidateCount::Auto);
    let begun = run(
        &mut schedule,
        start,
        Duration::from_secs(4),
        Duration::from_millis(10),
        &mut rng,
    );
    assert_eq!(begun.len(), 8, "all, once, within an interval");
    let later = start + Duration::from_secs(22);
    schedule.watch(later, 99);
    assert_eq!(schedule.poll_probe(later, &mut rng), Some(99));
}

#[test]
fn traffic_that_answers_is_as_good_as_a_probe() {
    let (mut schedule, start, mut rng) = watching(1, &[0], CandidateCount::Auto);
    let mut now = start;
    assert_eq!(schedule.poll_probe(now, &mut rng), Some(0));
    schedule.handle_probed(now, &0, false, &mut rng);
    for _ in 0..30 {
        now += Duration::from_secs(1);
        schedule.handle_answered(now, &0);
        assert_eq!(schedule.poll_probe(now, &mut rng), None);
    }
    now += Duration::from_secs(6);
    assert_eq!(schedule.poll_probe(now, &mut rng), Some(0), "it fell silent");
}

#[test]
fn a_member_that_turns_a_probe_down_is_asked_twice_more_soon_and_then_as_ever() {
    let (mut schedule, mut now, mut rng) = watching(1, &[0], CandidateCount::Auto);
    let interval = Options::default().interval;
    let mut wait_after = |refused| {
        assert_eq!(schedule.poll_probe(now, &mut rng), Some(0));
        schedule.handle_probed(now, &0, refused, &mut rng);
        let due = schedule.poll_timeout().expect("somebody is watched");
        let waited = due - now;
        now = due;
        waited
    };
    for _ in 0..3 {
        assert!(wait_after(true) < interval / 5);
        assert!(wait_after(true) < interval / 5);
        assert!(wait_after(true) > interval / 2, "it said no often enough");
        assert!(wait_after(true) > interval / 2);
        assert!(wait_after(false) > interval / 2);
    }
}

#[test]
fn who_is_hurried_need_not_wait_and_who_is_gone_is_not_probed() {
    let (mut schedule, start, mut rng) = watching(3, &[], CandidateCount::Auto);
    run(
        &mut schedule,
        start,
        Duration::from_secs(3),
        Duration::from_millis(1),
        &mut rng,
    );
    let now = start + Duration::from_secs(3);
    assert_eq!(schedule.poll_probe(now, &mut rng), None);
    schedule.hurry(&2);
    schedule.hurry(&2);
    assert_eq!(schedule.poll_probe(now, &mut rng), Some(2));
    schedule.hurry(&1);
    schedule.unwatch(&1);
    schedule.unwatch(&2);
    schedule.handle_probed(now, &2, false, &mut rng);
    let begun = run(
        &mut schedule,
        now,
        Duration::from_secs(60),
        Duration::from_millis(1),
        &mut rng,
    );
    assert!(!begun.is_empty() && begun.iter().all(|(_, key)| *key == 0));
}

#[test]
fn ten_thousand_are_probed_in_a_steady_trickle() {
    let (mut schedule, start, mut rng) = watching(10_000, &[1, 2, 3, 4], CandidateCount::Auto);
    let length = Duration::from_secs(60);
    let begun = run(&mut schedule, start, length, Duration::from_secs(2), &mut rng);
    for second in 1..60 {
        let from = start + Duration::from_secs(second);
        let within = begun
            .iter()
            .filter(|(at, _)| *at >= from && *at < from + Duration::from_secs(1));
        let probes = within.count();
        assert!((25..=45).contains(&probes), "{probes} in second {second}");
    }
    assert!(schedule.probing() <= 200);
}
