//! The grounds on which the cases of `adit_sim::parity` are played.

pub mod engines;
pub mod loopback;
pub mod lying;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
    time::Duration,
};

use adit_sim::parity::{Case, Ending};

/// Real time after which a case hangs. It guards the run; what a case waits for has its own patience.
const HANGS_AFTER: Duration = Duration::from_secs(120);

/// Plays one case on one ground.
pub type Ground = fn(&Case) -> Ending;

/// Plays `case` in a thread of its own, so that a panic or a hang is an ending like any other.
pub fn play(case: Case, ground: impl FnOnce(&Case) -> Ending + Send + 'static) -> Ending {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let played = catch_unwind(AssertUnwindSafe(|| ground(&case)));
        let ending = played.unwrap_or_else(|panic| {
            let words = panic.downcast_ref::<String>().cloned();
            let words = words.or_else(|| panic.downcast_ref::<&str>().map(|&words| words.to_owned()));
            Err(format!("panicked: {}", words.unwrap_or_default()))
        });
        // Nobody listens any more when the case took too long.
        let _ = sender.send(ending);
    });
    receiver
        .recv_timeout(HANGS_AFTER)
        .unwrap_or_else(|_| Err(format!("hung for {HANGS_AFTER:?}")))
}

/// The cases that fail on `ground`, and how.
pub fn failures(cases: &[Case], ground: Ground) -> Vec<(&'static str, String)> {
    let fails = |case: &Case| Some((case.name, play(*case, ground).err()?));
    cases.iter().filter_map(fails).collect()
}

/// Names and reasons, one a line.
pub fn listed(failures: &[(&'static str, String)]) -> String {
    failures
        .iter()
        .map(|(name, why)| format!("\n  {name}: {why}"))
        .collect()
}
