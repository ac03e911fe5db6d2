//! Every target, by `cargo test`: the files of its corpus, and inputs made of them.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod inputs;

use std::{
    collections::BTreeSet,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

use adit_fuzz::TARGETS;
use inputs::{Inputs, corpus, root};

/// How many inputs each target gets beside its corpus.
const GENERATED: usize = 2_000;
const SEED: u64 = 1;

/// Runs a target; the input that it does not survive is kept.
fn run(name: &str, input: &[u8], origin: &str) {
    let (_, target) = TARGETS.into_iter().find(|(other, _)| *other == name).unwrap();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-failed"));
        fs::write(&kept, input).unwrap();
        eprintln!("{name}, {origin}: the input is kept as {}", kept.display());
        resume_unwind(panic);
    }
}

fn corpus_and_more(name: &str) {
    let files = corpus(name);
    assert!(!files.is_empty(), "{name} has no corpus");
    for (file, input) in &files {
        run(name, input, file);
    }
    let mut inputs = Inputs::new(SEED, files);
    for nth in 0..GENERATED {
        run(name, &inputs.next(), &format!("generated input {nth}"));
    }
}

#[test]
fn codec() {
    corpus_and_more("codec");
}

#[test]
fn config() {
    corpus_and_more("config");
}

#[test]
fn handshake() {
    corpus_and_more("handshake");
}

/// What is in a folder, without endings.
fn names(folder: PathBuf) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn every_target_has_a_door_and_a_corpus() {
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(root().join("fuzz_targets")), targets);
    assert_eq!(names(root().join("corpus")), targets);
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for target in &targets {
        let door = format!("[[bin]]\nname = \"{target}\"\npath = \"fuzz_targets/{target}.rs\"\n");
        assert!(manifest.contains(&door), "Cargo.toml has no {door:?}");
    }
}

#[test]
fn mux() {
    corpus_and_more("mux");
}

#[test]
fn requests() {
    corpus_and_more("requests");
}

#[test]
fn rules() {
    corpus_and_more("rules");
}
