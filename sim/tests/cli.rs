//! The command line: what it says, and how it ends.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A plan that fails by its planted bug within little time.
fn failing() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions/wrong-token-accepted.json")
}

/// A file of this test run.
fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Runs a command line: its exit code, what it says on stdout, what on stderr.
fn adit_sim(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_adit-sim"))
        .args(args)
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// The command ends with `code`, and says all of `words`, on stdout or stderr.
fn check(args: &[&str], code: i32, words: &[&str]) {
    let (found, out, err) = adit_sim(args);
    assert_eq!(found, code, "{args:?}: {out}{err}");
    for word in words {
        assert!(
            out.contains(word) || err.contains(word),
            "{args:?} says no {word:?}: {out}{err}"
        );
    }
}

#[test]
fn wrong_usage_is_one_and_help_is_none() {
    check(&["--help"], 0, &["Exit codes", "sweep", "canary"]);
    check(&[], 1, &["Usage"]);
    check(&["dance"], 1, &["dance"]);
    check(&["run"], 1, &["SCENARIO"]);
    check(&["run", "calm"], 1, &["--seed"]);
    check(
        &["run", "hurly-burly", "--seed", "1"],
        1,
        &["expected one of any, chaos, forward, web, smoke, calm"],
    );
    check(
        &["run", "calm", "--seed", "1", "--plant", "a-bee"],
        1,
        &["no planted bug is called that"],
    );
    check(&["replay", "1", "--scenario", "x"], 1, &["expected one of"]);
    check(&["mutants", "--only", "a-bee"], 1, &["no planted bug"]);
    check(&["sweep", "--minutes", "soon"], 1, &["expected minutes"]);
    check(&["sweep", "--fresh", "--from", "3"], 1, &["cannot be used with"]);
}

#[test]
fn a_plan_that_cannot_be_run_is_wrong_usage() {
    let path = scratch("bad-plan.json");
    let name = path.to_str().unwrap();
    let (code, good, _) = adit_sim(&["plan", "calm", "--seed", "1"]);
    assert_eq!(code, 0);
    let check = |text: String, words: &[&str]| {
        fs::write(&path, text).unwrap();
        check(&["run", "--plan", name], 1, words);
    };
    check(
        good.replacen("\"duration_ms\": 60000", "\"duration_ms\": \"long\"", 1),
        &["bad-plan.json:4:23: invalid type: string \"long\", expected u64"],
    );
    check(
        good.replacen("\"heal_ms\"", "\"heel_ms\"", 1),
        &["bad-plan.json:5:11: unknown field", "`heal_ms`"],
    );
    check(
        good.replacen("\"clients\": [0,0,0]", "\"clients\": []", 1),
        &["bad-plan.json: clients: there is none"],
    );
    check(good.replacen('{', "", 1), &["bad-plan.json:2:12: "]);
    self::check(
        &["run", "--plan", "no-such-file.json"],
        1,
        &["no-such-file.json: cannot be read"],
    );
}

#[test]
fn the_plan_of_a_seed_is_that_seed() {
    let path = scratch("calm-3.json");
    let name = path.to_str().unwrap();
    let (_, plan, _) = adit_sim(&["plan", "calm", "--seed", "3"]);
    fs::write(&path, plan).unwrap();
    let (_, of_seed, _) = adit_sim(&["run", "calm", "--seed", "3"]);
    let (_, of_plan, _) = adit_sim(&["run", "--plan", name]);
    let (_, of_replay, _) = adit_sim(&["replay", "3", "--scenario", "calm"]);
    assert!(of_seed.contains("calm seed 3 hash "), "{of_seed}");
    assert_eq!(of_seed, of_plan);
    assert_eq!(of_seed, of_replay);
}

#[test]
fn a_failure_is_told_with_its_class_and_its_replay() {
    let path = failing();
    let name = path.to_str().unwrap();
    let (code, out, _) = adit_sim(&["run", "--plan", name]);
    assert_eq!(code, 2, "{out}");
    for words in [
        "FAILED: ",
        "invariant 15",
        "the last ",
        "open sockets:",
        "replay: cargo run",
    ] {
        assert!(out.contains(words), "no {words:?} in {out}");
    }
    assert!(out.contains(&format!("run --plan {name} --trace")), "{out}");
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions/client-stops-after-lost-link.json");
    check(
        &["run", "--plan", other.to_str().unwrap()],
        3,
        &["Liveness: invariant 50"],
    );
}

#[test]
fn a_run_is_drawn_as_a_page() {
    let path = scratch("run.html");
    let name = path.to_str().unwrap();
    check(
        &["replay", "1", "--scenario", "calm", "--html", name],
        0,
        &["page: "],
    );
    assert!(fs::read_to_string(&path).unwrap().contains("</html>"));
}

#[test]
fn lists_say_what_there_is() {
    check(&["list"], 0, &["chaos", "smoke", "calm", "nothing goes wrong"]);
    check(&["list", "--faults"], 0, &["| weather ", "power-loss", "flap"]);
    check(
        &["list", "--bugs", "--marks"],
        0,
        &["wrong-token-accepted", "pool-was-empty"],
    );
}

#[test]
fn a_sweep_says_what_it_reached() {
    let words = [
        "2 seeds of calm from 5 ",
        "seeds per minute",
        "complete",
        "| family",
        "| mark",
    ];
    check(&["sweep", "calm", "--from", "5", "--seeds", "2"], 0, &words);
    check(&["sweep", "calm", "--minutes", "0"], 0, &["0 seeds of calm"]);
    check(
        &["sweep", "calm", "--seeds", "1", "--fresh"],
        0,
        &["fresh seeds: sweep calm --from "],
    );
}

#[test]
fn a_sweep_that_fails_names_the_smallest_seed_and_shrinks_it() {
    let (code, out, _) = adit_sim(&["sweep", "calm", "--plant", "relay-drops-half-close"]);
    assert_eq!(code, 3, "{out}");
    for words in [
        "FAILED: calm seed 1: ",
        "--plant relay-drops-half-close",
        "shrunk in ",
        "plan: ",
    ] {
        assert!(out.contains(words), "no {words:?} in {out}");
    }
}

#[test]
fn a_planted_failure_shrinks_to_a_plan_that_fails() {
    let path = scratch("shrunk.json");
    let name = path.to_str().unwrap();
    let plan = failing();
    let shrink = ["shrink", "--plan", plan.to_str().unwrap(), "--out", name];
    check(
        &shrink,
        0,
        &[
            "still breaking invariant 15",
            "after:  0 faults, 1 strangers, 0 visits, 1 clients",
        ],
    );
    check(&["run", "--plan", name], 2, &["invariant 15"]);
    check(
        &["shrink", "1", "--scenario", "calm"],
        1,
        &["calm seed 1 does not fail"],
    );
}

#[test]
fn the_canary_compares_two_processes() {
    check(
        &["canary", "--seeds", "3", "--scenario", "calm"],
        0,
        &["3/3 alike"],
    );
}

#[test]
fn what_runs_count_is_held_against_what_was_written_down() {
    check(
        &["profile", "smoke", "--seeds", "2"],
        0,
        &["2 runs are too few to be compared"],
    );
}

#[test]
fn mutants_are_found_or_said_to_be_missed() {
    let (code, out, _) = adit_sim(&[
        "mutants",
        "--only",
        "wrong-token-accepted",
        "--afresh",
        "--seeds",
        "0",
    ]);
    assert_eq!(code, 2, "{out}");
    assert!(
        out.contains("NEVER MADE") && out.contains("0 of 1 planted bugs found, 1 never made"),
        "{out}"
    );
    let words = ["| seed ", "1 of 1 planted bugs found"];
    check(
        &["mutants", "--only", "failed-handshake-stays-counted"],
        0,
        &words,
    );
}

#[test]
fn a_page_offers_the_command_that_makes_its_run_again() {
    let file = scratch("planted.html");
    let path = file.to_str().unwrap();
    let plan = failing();
    let made = [
        (
            vec!["replay", "1", "--scenario", "calm", "--plant", "post-made-twice"],
            "replay 1 --scenario calm --plant post-made-twice --trace".to_owned(),
        ),
        (
            vec!["run", "--plan", plan.to_str().unwrap()],
            format!("run --plan {} --trace", plan.display()),
        ),
    ];
    for (args, command) in made {
        adit_sim(&[&args[..], &["--html", path]].concat());
        let page = fs::read_to_string(&file).unwrap();
        assert!(page.contains(&command), "the page of {args:?} lacks {command:?}");
    }
}
