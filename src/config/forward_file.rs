//! What stands in the file of a forwarder, key by key.

use std::path::PathBuf;

use serde::Deserialize;

use super::{
    file::{DrainKeys, ListenKeys, LoggingKeys, PoolKeys, ProbingKeys, ScoringKeys, SelectorKeys, keys},
    value::{Balance, Span},
};

keys! {
    /// The file of `adit forward`.
    ForwardFile {
        /// Where visitors come in.
        server: ForwardServerKeys,
        /// Where they may be sent.
        candidates: CandidateKeys,
        /// How a candidate is chosen.
        balance: Balance,
        /// How many connections are kept ready.
        pools: PoolKeys,
        /// How candidates are probed.
        probing: ProbingKeys,
        /// What measurements count for.
        scoring: ScoringKeys,
        /// Which candidates may be used.
        selector: SelectorKeys,
        /// What visitors may take.
        limits: ForwardLimitKeys,
        /// Deadlines of sessions.
        session: ForwardSessionKeys,
        /// State, metrics and commands.
        admin: ListenKeys,
        /// Metrics alone.
        metrics: ListenKeys,
        /// How the forwarder ends.
        drain: DrainKeys,
        /// What is written where.
        logging: LoggingKeys,
    } later {}
}

keys! {
    /// `server` of a forwarder.
    ForwardServerKeys {
        /// Its address.
        listen_addr: String,
    } later {}
}

keys! {
    /// `candidates` of a forwarder.
    CandidateKeys {
        /// Named here.
        addresses: Vec<String>,
        /// Named in a file of their own, one on each line.
        file: PathBuf,
    } later {}
}

keys! {
    /// `limits` of a forwarder.
    ForwardLimitKeys {
        /// Sessions.
        sessions: u32,
        /// Visitors waiting for a candidate that may be used.
        waiting: u32,
    } later {}
}

keys! {
    /// `session` of a forwarder.
    ForwardSessionKeys {
        /// How long connecting to one candidate may take.
        connect_timeout: Span,
        /// From accept to a connected candidate.
        start_timeout: Span,
        /// Half-closed and without a byte.
        half_closed_timeout: Span,
    } later {}
}
