//! Planted bugs and marks: that the tables name what stands in the source, and that none of it is in the product.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use adit_sim::{ledger::marks::MARKS, mutants::table};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The product's sources, but for the file that defines the two macros.
fn sources() -> Vec<String> {
    fn walk(at: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("src/probe.rs")
            {
                found.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("src"), &mut found);
    assert!(found.len() > 50);
    found
}

/// The name in each use of a macro in `text`, given as `mutant!(`: the last string in its brackets.
fn names(text: &str, start: &str) -> Vec<String> {
    let name = |(at, _)| {
        let mut depth = 1;
        let inside = text[at + start.len()..].split_once(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        inside.unwrap().0.rsplit('"').nth(1).unwrap().to_owned()
    };
    text.match_indices(start).map(name).collect()
}

/// Both lists hold the same names, each once.
fn check_names(start: &str, table: impl Iterator<Item = &'static str>) {
    let mut listed: Vec<_> = table.map(str::to_owned).collect();
    let mut written: Vec<_> = sources().iter().flat_map(|text| names(text, start)).collect();
    listed.sort();
    written.sort();
    assert_eq!(listed, written, "left: the table; right: the source");
    let unique: BTreeSet<_> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "every name stands once");
    for name in listed {
        let letters = name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        let words = name.split('-').all(|word| !word.is_empty());
        assert!(letters && words && name.contains('-'), "{name} is not kebab-case");
    }
}

#[test]
fn the_reader_of_names_reads() {
    let text = r#"if n > 1 && mutant!("a-bug") { sometimes!(f(g(1), 2) == 3, "a-mark"); sometimes!("b"); }"#;
    assert_eq!(names(text, "mutant!("), ["a-bug"]);
    assert_eq!(names(text, "sometimes!("), ["a-mark", "b"]);
}

#[test]
fn every_planted_bug_is_listed_and_every_listed_one_is_planted() {
    check_names("mutant!(", table::all().map(|planted| planted.name));
    assert!(table::all().count() >= 65);
    assert!(table::all().all(|planted| planted.breaks.ends_with('.')));
}

#[test]
fn the_documents_count_the_planted_bugs_as_the_tables_do() {
    let text = fs::read_to_string(root().join("docs/simulation.md")).unwrap();
    let count = format!("There are {}.", table::all().count());
    assert!(text.contains(&count), "docs/simulation.md: {count}");
}

#[test]
fn every_known_seed_is_that_of_a_planted_bug() {
    for (name, _) in table::known() {
        assert!(table::name(name).is_some(), "{name}");
    }
}

#[test]
fn every_mark_is_listed_and_every_listed_one_is_in_the_source() {
    check_names("sometimes!(", MARKS.iter().map(|mark| mark.name));
    assert!(MARKS.len() >= 20);
    assert!(MARKS.iter().all(|mark| mark.means.ends_with('.')));
}

/// What the product measures, by name.
fn measures() -> BTreeSet<String> {
    let sources = sources();
    sources.iter().flat_map(|text| names(text, "measure!(")).collect()
}

#[test]
fn everything_that_is_measured_is_measured_in_some_run() {
    let recorded = fs::read_to_string(root().join("sim/profile.txt")).unwrap();
    let recorded: BTreeSet<_> = recorded
        .lines()
        .filter_map(|line| line.trim().strip_prefix("measure/")?.split(' ').next())
        .map(str::to_owned)
        .collect();
    assert_eq!(measures(), recorded, "left: the source; right: sim/profile.txt");
    assert!(recorded.len() >= 20);
}

/// Builds `adit` as it is shipped, without the feature that a build of the whole workspace turns on, and says
/// where it is.
///
/// It goes to the target directory of this very build, because most of its dependencies are there already. That
/// replaces the `adit` which the build of the workspace made; the two behave the same, and `cargo test` runs
/// the tests that start `adit` before those of this package.
fn shipped() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--package", "adit", "--bin", "adit", "--offline"])
        .args(["--message-format", "json", "--target-dir"])
        .arg(target)
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(built.status.success());
    let messages = String::from_utf8(built.stdout).unwrap();
    let (_, rest) = messages
        .split_once(r#""executable":""#)
        .expect("cargo says what it built");
    PathBuf::from(rest.split('"').next().unwrap())
}

/// The names of planted bugs, marks and measures that occur in the bytes of `executable`.
fn names_in(executable: &Path) -> BTreeSet<String> {
    let bytes = fs::read(executable).unwrap();
    // Only what could be a name is searched, which is little of a large file.
    let words: Vec<_> = bytes
        .split(|byte| !byte.is_ascii_lowercase() && *byte != b'-')
        .filter(|word| word.contains(&b'-'))
        .map(|word| std::str::from_utf8(word).unwrap())
        .collect();
    let planted = table::all().map(|planted| planted.name.to_owned());
    let marks = MARKS.iter().map(|mark| mark.name.to_owned());
    let all = planted.chain(marks).chain(measures());
    all.filter(|name| words.iter().any(|word| word.contains(name.as_str())))
        .collect()
}

#[test]
fn the_product_contains_no_planted_bug_no_mark_and_no_measure() {
    let none = BTreeSet::new();
    assert_eq!(names_in(&shipped()), none);
    // The reader of bytes finds names where they are: the simulator runs the same code with them in it.
    let found = names_in(Path::new(env!("CARGO_BIN_EXE_adit-sim")));
    assert_eq!(found.len(), table::all().count() + MARKS.len() + measures().len());
}
