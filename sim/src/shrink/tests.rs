//! The search, over fakes: what fails is a question to the plan alone.

use super::*;
use crate::{
    fault::AnyAct,
    plan::{Manner, draw::scenario, who::Who},
};

fn chaos(seed: u64) -> Plan {
    (scenario("chaos").unwrap().draw)(seed)
}

/// Shrinks `plan` as far as it goes; it breaks invariant 7 when `broken` says so.
fn shrunk(plan: &Plan, broken: &dyn Fn(&Plan) -> bool) -> Shrunk {
    assert!(broken(plan));
    let fails = |plan: &Plan| {
        assert_eq!(plan.check(), Ok(()), "only what can be run is asked");
        broken(plan).then_some(7)
    };
    let shrunk = shrink(plan, 7, &fails, &|| true);
    assert!(broken(&shrunk.plan) && shrunk.complete);
    shrunk
}

fn crashes_of(plan: &Plan, n: usize) -> usize {
    let crash = |act: &AnyAct| matches!(act, AnyAct::Crash(crash) if crash.who == Who::Client(n));
    plan.faults.iter().filter(|fault| crash(&fault.act)).count()
}

#[test]
fn what_always_fails_shrinks_to_nothing() {
    let Shrunk { plan, runs, .. } = shrunk(&chaos(3), &|_| true);
    let size = Size::of(&plan);
    let least = Size {
        faults: 0,
        strangers: 0,
        visits: 0,
        clients: 1,
        knobs: 0,
    };
    assert_eq!(size, least);
    assert!(plan.visitors.is_empty());
    assert!(plan.duration_ms < 60_000, "{}", plan.duration_ms);
    assert!(runs < 40, "{runs}");
}

#[test]
fn one_fault_is_found_among_all() {
    let found = (0..200).map(chaos).filter(|plan| crashes_of(plan, 1) > 0);
    for plan in found.take(10) {
        // Renumbering would turn the second client into the first.
        let shrunk = shrunk(&plan, &|plan| plan.clients.len() > 1 && crashes_of(plan, 1) > 0);
        assert_eq!(Size::of(&shrunk.plan).faults, 1);
        assert_eq!(shrunk.plan.clients.len(), 2);
        let fault = &shrunk.plan.faults[0];
        let least = fault.from_ms + fault.act.lasts_ms().0;
        assert!(fault.to_ms.is_some_and(|to| to <= least), "as short as may be");
        assert!(shrunk.runs < 200, "{}", shrunk.runs);
    }
}

#[test]
fn one_visit_and_one_knob_are_found_among_all() {
    let big = |plan: &Plan| {
        let visits = plan.visitors.iter().flatten();
        visits.filter(|visit| visit.len > 70_000).count() > 0 && plan.knobs.mtu == 576
    };
    let plan = (0..500).map(chaos).find(|plan| big(plan)).unwrap();
    let Shrunk { plan, .. } = shrunk(&plan, &big);
    let size = Size::of(&plan);
    assert_eq!((size.visits, size.knobs, plan.visitors.len()), (1, 1, 1));
    let visit = &plan.visitors[0][0];
    assert_eq!(
        (visit.manner, visit.reply_len, visit.delay_ms),
        (Manner::Plain, 0, 0)
    );
    assert!(visit.len > 70_000);
}

#[test]
fn another_invariant_is_another_failure() {
    let plan = chaos(3);
    let fails = |candidate: &Plan| Some(if *candidate == plan { 7 } else { 8 });
    let shrunk = shrink(&plan, 7, &fails, &|| true);
    assert_eq!(shrunk.plan, plan);
}

#[test]
fn the_search_ends_when_its_time_is_over() {
    let plan = chaos(3);
    let shrunk = shrink(&plan, 7, &|_| Some(7), &|| false);
    assert_eq!((shrunk.plan, shrunk.runs, shrunk.complete), (plan, 0, false));
}

#[test]
fn who_is_left_closes_the_ranks() {
    for seed in 0..100 {
        let plan = chaos(seed);
        for n in 0..plan.clients.len() {
            let less = less::without_clients(&plan, n..n + 1);
            assert_eq!(less.check(), Ok(()), "seed {seed} without client {n}");
            assert_eq!(less.clients.len(), plan.clients.len() - 1);
        }
        for n in 0..plan.visitors.len() {
            let less = less::without_visitors(&plan, n..n + 1);
            assert_eq!(less.check(), Ok(()), "seed {seed} without visitor {n}");
        }
        let visits = plan.visitors[0].len();
        let less = less::without_visits(&plan, 0, 3..8);
        let paused = |visits: &[crate::plan::Visit]| visits.iter().map(|visit| visit.pause_ms).sum::<u64>();
        assert_eq!(less.visitors[0].len(), visits - 5);
        assert_eq!(
            paused(&less.visitors[0]),
            paused(&plan.visitors[0]),
            "the rest comes when it came"
        );
    }
}
