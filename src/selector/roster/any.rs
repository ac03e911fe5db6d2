//! Whatever happens, somebody is used; and who refuses fast gains nothing by it.

use std::net::SocketAddr;

use proptest::{prelude::*, strategy::Strategy as _};

use super::{
    super::{
        active_set::ActiveSet,
        strategy::pick,
        target::{Reach, Target},
    },
    tests::{Bench, MS},
    *,
};
use crate::selector::Strategy;

/// Sessions that a target which refuses at once gets of a thousand, beside three that are well.
fn refusers_part(strategy: Strategy) -> usize {
    let mut bench = Bench::of(4, Options::default());
    let targets: Vec<_> = (0..4u8)
        .map(|n| Arc::new(Target::new(SocketAddr::from(([10, 0, 0, n], 80)))))
        .collect();
    let mut picks = 0;
    let mut running = VecDeque::new();
    for _ in 0..1000 {
        bench.now += MS(5);
        let set = ActiveSet::new(
            bench
                .members
                .iter()
                .map(|key| Arc::clone(&targets[*key as usize])),
        );
        let picked = pick(strategy, &set, |_| true, None, &mut bench.rng).expect("somebody is used");
        let key = targets
            .iter()
            .position(|t| t.reach.key() == picked.key())
            .expect("it is one of them");
        if key == 0 {
            // It refuses at once: nothing of it is ever in flight.
            picks += 1;
            bench.reports(0, Report::Refused(MS(1)));
        } else {
            running.push_back(picked.gauges.begin());
            bench.reports(key as u32, Report::Connected(MS(20)));
        }
        if running.len() > 30 {
            running.pop_front();
        }
        let now = bench.now;
        bench.roster.handle_timeout(now, &mut bench.rng);
        bench.take();
        for (key, target) in (0..).zip(&targets) {
            target.gauges.set_share(bench.roster.share(bench.now, &key));
            if let Some(cost) = bench.roster.cost(bench.now, &key) {
                target.gauges.set_cost(cost);
            }
        }
    }
    picks
}

#[test]
fn who_refuses_fast_gets_no_more_than_others() {
    for strategy in [Strategy::PowerOfTwo, Strategy::PeakEwma] {
        let part = refusers_part(strategy);
        assert!(part <= 20, "{strategy:?}: {part} of 1000");
    }
}

#[derive(Clone, Debug)]
enum Event {
    Join(u32),
    Leave(u32),
    Drain(u32),
    Probe(u32, Option<u64>),
    Report(u32, Report),
    Wait(u64),
}

fn event() -> impl proptest::strategy::Strategy<Value = Event> {
    let key = 0..8u32;
    let report = prop_oneof![
        (0..5000u64).prop_map(|ms| Report::Connected(MS(ms))),
        (0..5000u64).prop_map(|ms| Report::Refused(MS(ms))),
        (0..5000u64).prop_map(|ms| Report::TimedOut(MS(ms))),
        (0..5000u64).prop_map(|ms| Report::BrokeEarly(MS(ms))),
        Just(Report::Broke),
        Just(Report::Ended),
    ];
    prop_oneof![
        3 => key.clone().prop_map(Event::Join),
        1 => key.clone().prop_map(Event::Leave),
        1 => key.clone().prop_map(Event::Drain),
        8 => (key.clone(), prop::option::of(0..3000u64)).prop_map(|(key, ms)| Event::Probe(key, ms)),
        8 => (key, report).prop_map(|(key, report)| Event::Report(key, report)),
        4 => (0..120_000u64).prop_map(Event::Wait),
    ]
}

proptest! {
    #[test]
    fn somebody_is_used_while_somebody_is_there(
        events in prop::collection::vec(event(), 1..300),
        size in prop::option::of(1..5usize),
        probed: bool,
        best_only: bool,
    ) {
        let mut bench = Bench::new(Options { active_set_size: size, ..Options::default() }, probed);
        if best_only {
            bench.roster = bench.roster.wanting_best_only();
        }
        let (mut present, mut draining) = (BTreeSet::new(), BTreeSet::new());
        for event in events {
            match event {
                Event::Join(key) => {
                    present.insert(key);
                    bench.join(key);
                }
                Event::Leave(key) => {
                    present.remove(&key);
                    draining.remove(&key);
                    bench.leave(key);
                }
                Event::Drain(key) => {
                    if present.contains(&key) {
                        draining.insert(key);
                    }
                    bench.roster.drain(bench.now, &key);
                    bench.take();
                }
                Event::Probe(key, Some(ms)) => bench.answers(key, ms),
                Event::Probe(key, None) => bench.fails(key),
                Event::Report(key, report) => bench.reports(key, report),
                Event::Wait(ms) => bench.pass(MS(ms), &[]),
            }
            let usable: BTreeSet<_> = present.difference(&draining).copied().collect();
            prop_assert!(bench.members.is_subset(&usable), "only who is there is used");
            prop_assert_eq!(bench.members.is_empty(), usable.is_empty());
            prop_assert!(size.is_none_or(|size| bench.members.len() <= size));
            for (_, standing) in bench.roster.standings(bench.now) {
                prop_assert!((0.0..=100.0).contains(&standing.score.total));
                prop_assert!((100..=1000).contains(&standing.share));
            }
        }
    }
}
