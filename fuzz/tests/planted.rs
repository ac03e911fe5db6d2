//! The targets can fail: each finds the bugs that were planted where it looks.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod inputs;

use std::panic::{self, catch_unwind};

use adit::probe;
use adit_fuzz::TARGETS;
use inputs::{Inputs, corpus};

/// Where each bug shows.
const PLANTED: &[(&str, &str)] = &[
    ("oversized-header-accepted", "codec"),
    ("split-prefix-takes-a-byte-too-many", "codec"),
    ("wrong-token-accepted", "handshake"),
    ("stream-with-new-credit-not-scheduled", "mux"),
    ("stream-id-used-twice", "mux"),
    ("reset-of-stream-never-sent", "mux"),
    ("dropped-stream-left-open", "mux"),
    ("waiting-writer-never-told", "mux"),
    ("consumed-bytes-never-credited", "mux"),
    ("returned-credit-lost-to-budget", "mux"),
    ("ended-stream-keeps-budget", "mux"),
    ("sender-forgets-a-byte-it-sent", "mux"),
    ("returned-credit-used-again", "mux"),
    ("named-hop-by-hop-passed-on", "requests"),
    ("anybody-believed-for-whom-they-speak", "requests"),
];

/// How many inputs it may take.
const TRIES_MAX: usize = 2_000;
const SEED: u64 = 2;

#[test]
fn planted_bugs_are_found() {
    // A panic is what is looked for here; nobody wants to read it.
    panic::set_hook(Box::new(|_| {}));
    let missed = PLANTED.iter().filter(|(bug, name)| !is_found(bug, name));
    let missed: Vec<_> = missed.collect();
    drop(panic::take_hook());
    assert!(missed.is_empty(), "not found: {missed:?}");
}

fn is_found(bug: &'static str, name: &str) -> bool {
    let (_, target) = TARGETS.into_iter().find(|(other, _)| *other == name).unwrap();
    let files = corpus(name);
    let known: Vec<_> = files.iter().map(|(_, input)| input.clone()).collect();
    let mut inputs = Inputs::new(SEED, files);
    let made = std::iter::repeat_with(|| inputs.next()).take(TRIES_MAX);
    probe::plant(Some(bug));
    let found = known
        .into_iter()
        .chain(made)
        .any(|input| catch_unwind(|| target(&input)).is_err());
    probe::plant(None);
    found
}
