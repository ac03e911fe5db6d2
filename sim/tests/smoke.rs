//! Runs that must hold, and mean the same wherever they are run.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::process::Command;

use adit_sim::{
    plan::draw::scenario,
    runner::{self, Options, Report},
    world::EngineKind,
};

fn run(name: &str, seed: u64, engine: EngineKind) -> Report {
    let plan = (scenario(name).unwrap().draw)(seed);
    let options = Options {
        engine,
        ..Options::default()
    };
    runner::run(&plan, options)
}

fn check(name: &str, seeds: std::ops::Range<u64>, engine: EngineKind) {
    for seed in seeds {
        let report = run(name, seed, engine);
        assert!(report.failure.is_none(), "{report}");
        assert!(report.tally.complete > 50, "{report}");
    }
}

#[test]
fn calm_seeds_hold_and_nothing_breaks() {
    check("calm", 1..4, EngineKind::Packets);
    assert_eq!(run("calm", 1, EngineKind::Packets).tally.broken, 0);
}

#[test]
fn smoke_seeds_hold() {
    check("smoke", 1..11, EngineKind::Packets);
}

#[test]
fn a_few_hold_on_the_second_engine() {
    check("calm", 1..3, EngineKind::Stock);
    check("smoke", 1..3, EngineKind::Stock);
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = |seed| run("smoke", seed, EngineKind::Packets).digest;
    let first = run(1);
    assert_ne!(first.hash, run(2).hash, "another seed is another run");
    assert_eq!(first, run(1), "whatever ran before it");
}

#[test]
fn two_processes_agree() {
    let canary = Command::new(env!("CARGO_BIN_EXE_adit-sim"))
        .args(["canary", "--scenario", "smoke", "--seeds", "6"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&canary.stdout), "6/6 alike\n");
    assert!(canary.status.success());
}
