//! A day of noisy probes: the set must not flap, and must not be worse for it.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{
    prober::{self, ewma::PeakEwma, schedule::Schedule},
    selector::Switching,
};

const CANDIDATES: u32 = 8;
const ACTIVE: usize = 3;
const NOISE: f64 = 0.25;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Candidates whose true latency changes every few hours, and probes that are a quarter off.
struct World {
    rng: ChaCha8Rng,
    /// Seconds, and until when.
    latency: Vec<(f64, Instant)>,
}

impl World {
    fn new(now: Instant, seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let latency = (0..CANDIDATES)
            .map(|n| (0.020 + 0.004 * f64::from(n), now))
            .collect();
        Self { rng, latency }
    }

    fn advance(&mut self, now: Instant) {
        for (latency, until) in &mut self.latency {
            if now >= *until {
                *until = now + Duration::from_secs(self.rng.random_range(3600..6 * 3600));
                *latency = self.rng.random_range(0.020..0.060);
            }
        }
    }

    fn measure(&mut self, key: u32) -> Duration {
        let truth = self.latency[key as usize].0;
        // The sum of three is close enough to a bell; its deviation is `NOISE`.
        let bell: f64 = (0..3).map(|_| self.rng.random_range(-1.0..1.0)).sum();
        Duration::from_secs_f64(truth * (1.0 + NOISE * bell).max(0.05))
    }

    fn mean_of(&self, members: impl IntoIterator<Item = u32>) -> f64 {
        let latencies = members.into_iter().map(|key| self.latency[key as usize].0);
        latencies.sum::<f64>() / ACTIVE as f64
    }
}

/// Runs a day; returns the changes and the mean latency of ours, and of the best three picked anew at each tick.
fn day(seed: u64) -> ((usize, f64), (usize, f64)) {
    let start = crate::time::now();
    let mut world = World::new(start, seed);
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 1);
    let options = Options {
        active_set_size: Some(ACTIVE),
        switching: Switching::default(),
        ..Options::default()
    };
    let interval = prober::Options::default().interval;
    let mut roster = Roster::new(start, options, Scoring::default(), Some(interval));
    let mut schedule = Schedule::new(start, prober::Options::default());
    let (mut ours, mut naive) = (BTreeSet::new(), BTreeSet::new());
    let mut peaks = BTreeMap::new();
    let (mut changes, mut naive_changes) = (0, 0);
    let (mut sums, mut ticks) = ((0.0, 0.0), 0.0);
    for key in 0..CANDIDATES {
        schedule.watch(start, key);
        roster.join(start, key, &key.to_string(), &mut rng);
    }
    let (mut now, mut naive_tick) = (start, start + Duration::from_secs(10));
    while now < start + DAY {
        world.advance(now);
        while let Some(key) = schedule.poll_probe(now, &mut rng) {
            let rtt = world.measure(key);
            schedule.handle_probed(now, &key, false, &mut rng);
            roster.handle_probed(now, &key, Some(rtt), rtt, &mut rng);
            let peak = peaks
                .entry(key)
                .or_insert_with(|| PeakEwma::new(Duration::from_secs(15)));
            peak.handle_answer(now, rtt);
        }
        roster.handle_timeout(now, &mut rng);
        let (mut joined, mut left) = (Vec::new(), Vec::new());
        while let Some(action) = roster.poll_action() {
            match action {
                Action::Enter(key) => {
                    ours.insert(key);
                    joined.push(key);
                }
                Action::Exit(key) => {
                    ours.remove(&key);
                    left.push(key);
                }
                _ => {}
            }
        }
        changes += joined.len();
        schedule.set_members(now, &joined, &left, &mut rng);
        if now >= naive_tick {
            naive_tick += Duration::from_secs(10);
            let mut best: Vec<_> = peaks.iter().map(|(key, peak)| (peak.latency(), *key)).collect();
            best.sort();
            let best: BTreeSet<_> = best.into_iter().take(ACTIVE).map(|(_, key)| key).collect();
            naive_changes += best.difference(&naive).count();
            naive = best;
            sums.0 += world.mean_of(ours.iter().copied());
            sums.1 += world.mean_of(naive.iter().copied());
            ticks += 1.0;
        }
        let next = [schedule.poll_timeout(), roster.poll_timeout(), Some(naive_tick)];
        now = next
            .into_iter()
            .flatten()
            .min()
            .expect("a tick is to come")
            .max(now);
    }
    ((changes, sums.0 / ticks), (naive_changes, sums.1 / ticks))
}

#[test]
fn a_day_of_noise_changes_little_and_costs_nothing() {
    for seed in 0..4 {
        let ((changes, mean), (naive_changes, naive_mean)) = day(seed);
        println!(
            "seed {seed}: {changes} changes, mean {:.2} ms; the best three anew at each tick: {naive_changes} changes, \
             mean {:.2} ms",
            mean * 1e3,
            naive_mean * 1e3
        );
        assert!(changes < 400, "{changes} changes a day");
        assert!(naive_changes > 5 * changes, "{naive_changes} without restraint");
        assert!(mean <= naive_mean, "{mean} s, without restraint {naive_mean} s");
    }
}
