//! The simulated world of Adit: one seed makes one plan, one plan makes one run, event for event.
//!
//! ```text
//! seed -> plan -> world (hosts, network, faults) -> oracle (what must hold) -> report (hash, failure)
//! ```
//!
//! The system under test is the production code of `adit`; only its seams (`adit::env`, `adit::transport`)
//! are filled from here. The oracle is a model of its own: it knows what was sent, what arrived and which
//! faults were in force, and shares no code with what it judges.

// rustdoc runs without the flags of the build, and runs nothing.
#[cfg(not(any(tokio_unstable, doc, doctest)))]
compile_error!(
    "the simulation needs --cfg tokio_unstable (see .cargo/config.toml): without it a panic in a task \
     does not fail a run, and select! differs between two runs of one seed"
);

// One run, from seed to verdict.
pub mod runner;
pub mod world;

// Who lives in the world.
pub mod node;
pub mod upstream;
pub mod visitor;

// What must hold, and what happened.
pub mod oracle;
pub mod trace;

// Whether the judgement can fail, and whether a sweep has been everywhere.
pub mod ledger;
pub mod mutants;

// The ground.
pub mod net;
pub mod payload;
pub mod plan;
