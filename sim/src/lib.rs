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

// One run, from plan to verdict.
pub mod figures;
pub mod runner;
pub mod world;

// Many runs, and what is asked of them.
mod at_rest;
pub mod cli;
pub mod shrink;
pub mod sweep;

// Who lives in the world, and what is done to it.
pub mod fault;
pub mod forwarder;
pub mod impostor;
pub mod node;
pub mod stranger;
pub mod upstream;
pub mod visitor;
pub mod web;

// What must hold, and what happened.
pub mod event;
pub mod oracle;
pub mod timeline;
pub mod trace;

// Whether the judgement can fail, and whether a sweep has been everywhere.
pub mod ledger;
pub mod mutants;

// What every ground must do alike.
pub mod parity;

// The ground.
pub mod crew;
pub mod engine;
pub mod examiner;
pub mod lock;
pub mod net;
pub mod out;
pub mod payload;
pub mod plan;
pub mod profile;
pub mod watch;
