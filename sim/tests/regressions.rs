//! Plans of runs that once failed, in `sim/regressions`: each must hold, and one with a planted bug must fail.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use adit_sim::{
    plan::file,
    runner::{self, Options},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions")
}

/// The plans, by path.
fn plans() -> Vec<PathBuf> {
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
    let mut plans: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect();
    plans.sort();
    assert!(!plans.is_empty());
    plans
}

#[test]
fn what_once_failed_holds() {
    for path in plans() {
        let plan = file::read(&path).unwrap();
        let report = runner::run(&plan, Options::default());
        let name = path.display();
        if plan.planted.is_none() {
            assert!(report.failure.is_none(), "{name}: {report}");
        } else {
            assert!(report.failure.is_some(), "{name} does not find its bug any more");
        }
    }
}

#[test]
fn every_plan_has_its_line_and_every_line_its_plan() {
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    let listed: Vec<_> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let there: Vec<_> = plans()
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed, there, "left: README.md; right: the folder");
}
