//! The smoke scenario under many seeds, and the same seed in two processes.

use std::process::Command;

use adit_sim::runner;

/// Runs the seeds of `range`; every one must hold every invariant.
fn check(range: std::ops::Range<u64>) {
    for seed in range {
        let report = runner::smoke(seed, false);
        assert!(report.failure.is_none(), "{report}");
        assert!(
            report.tally.complete > 50,
            "too little happened to prove anything: {report}"
        );
    }
}

#[test]
fn the_first_ten_seeds_hold() {
    check(0..10);
}

#[test]
fn the_second_ten_seeds_hold() {
    check(10..20);
}

#[test]
fn two_processes_run_one_seed_alike() {
    let run = |seed: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_adit-sim"))
            .args(["run", "smoke", "--seed", seed])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let mut seen = Vec::new();
    for seed in ["1", "2"] {
        let first = run(seed);
        assert!(first.contains("hash "), "{first}");
        assert_eq!(first, run(seed));
        seen.push(first);
    }
    assert_ne!(seen[0], seen[1]);
}
