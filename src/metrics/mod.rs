//! What a node counts. One registry per node: two nodes may share a simulated process.
//!
//! What one node has once stands in the list below; [`groups`](Metrics::groups), [`targets`](Metrics::targets),
//! [`http_rules`](Metrics::http_rules) and what is told of each entry and client come and go; [`limits`](Metrics::limits) are asked when they are shown.
//! `docs/metrics.md` describes every one of them, and a test holds it against what is shown.
//!
//! Counting never waits for whoever reads: sessions keep the counters they need, and what has labels that are
//! all known costs no look-up.

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, gauge::Gauge, info::Info},
    registry::Registry,
};

mod group;
mod kinds;
mod limits;
mod requests;
mod seconds;
mod series;
mod traffic;

use kinds::Show;

pub use group::{
    GroupFigures, GroupSeries, Groups, ProbeResult, TargetFigures, TargetSeries, TargetState, Targets,
};
pub use kinds::{ByDirection, ByLane, ByReason, ByResult, Counted, Heartbeats, Meter, Reason, Stalls};
pub use limits::Limits;
pub use requests::{BudgetSeries, Class, Hop, RetryBudgets, RuleFigures, RuleSeries, Rules};
pub use seconds::Seconds;
pub use series::{Member, SHOWN_MAX};
pub use traffic::{ClientTraffic, EntryTraffic, Traffic, TrafficSeries};

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $name:ident: $type:ty,)*) => {
        /// Every metric of one node.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            /// Groups that are here now.
            pub groups: Groups,
            /// Targets that are here now.
            pub targets: Targets,
            /// Limits, and what of them is used.
            pub limits: Limits,
            /// Rules of HTTP entries that were used.
            pub http_rules: Rules,
            /// What of requests of HTTP entries may be tried again.
            pub http_retry_budgets: RetryBudgets,
            /// Visitors by entry and group.
            pub entry_traffic: EntryTraffic,
            /// Sessions by client.
            pub client_traffic: ClientTraffic,
            $($(#[doc = $help])+ pub $name: $type,)*
        }

        impl Metrics {
            /// All metrics at zero, registered under the prefix `adit`.
            pub fn new() -> Self {
                let mut registry = Registry::with_prefix("adit");
                let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
                registry.register("build", "What is running", build);
                $(let $name = <$type>::default();
                // The registry adds the full stop itself.
                $name.show(&mut registry, stringify!($name), concat!($($help),+).trim().trim_end_matches('.'));)*
                let (groups, targets, limits) = (Groups::default(), Targets::default(), Limits::default());
                let (http_rules, http_retry_budgets) = (Rules::default(), RetryBudgets::default());
                let (entry_traffic, client_traffic) = (EntryTraffic::default(), ClientTraffic::default());
                registry.register_collector(Box::new(entry_traffic.clone()));
                registry.register_collector(Box::new(client_traffic.clone()));
                registry.register_collector(Box::new(groups.clone()));
                registry.register_collector(Box::new(targets.clone()));
                registry.register_collector(Box::new(limits.clone()));
                registry.register_collector(Box::new(http_rules.clone()));
                registry.register_collector(Box::new(http_retry_budgets.clone()));
                Self {
                    registry,
                    groups,
                    targets,
                    limits,
                    http_rules,
                    http_retry_budgets,
                    entry_traffic,
                    client_traffic,
                    $($name,)*
                }
            }
        }
    };
}

metrics! {
    /// Handshakes that did not end in a proven peer, by reason.
    handshake_failures: ByReason,
    /// Connections turned away before a handshake because a limit was reached, by limit.
    connections_refused: ByReason,
    /// Connections that have not proved who they are yet.
    connections_unproven: Gauge,
    /// Clients admitted, including those that came back; at a client, its own admissions.
    registrations: Counter,
    /// Registrations denied, by reason.
    registrations_denied: ByReason,
    /// Clients registered right now.
    clients: Gauge,
    /// Links in force right now: one per client at a server, one per server at a client.
    links: Gauge,
    /// Links that ended, by reason.
    links_lost: ByReason,
    /// Heartbeats, by what became of them.
    heartbeats: Heartbeats,
    /// Visitor connections accepted.
    visitors: Counter,
    /// Sessions running right now.
    sessions: Gauge,
    /// Sessions that ended, by outcome.
    session_outcomes: ByReason,
    /// Bytes of sessions, by direction; counted while a session runs.
    bytes: ByDirection,
    /// From a visitor's accept to the start of its session.
    start_seconds: Seconds,
    /// How long connecting to an upstream took, where it worked.
    connect_seconds: Seconds,
    /// Tries that did not reach `Started` and were repeated or given up, by cause.
    tries_failed: ByReason,
    /// Tries repeated although their bytes may have reached an upstream.
    replays_ambiguous: Counter,
    /// Takes served by a connection that was ready.
    pool_hits: Counter,
    /// Takes that found no connection ready.
    pool_misses: Counter,
    /// Connections parked in the pool right now, ready to be taken.
    pool_parked: Gauge,
    /// Connections that were opened for the pool, by result.
    pool_dials: ByResult,
    /// Connections of the pool discarded, by cause.
    pool_discarded: ByReason,
    /// Proxy connections open right now, parked or carrying a session.
    proxy_connections: Gauge,
    /// Data links open right now.
    data_links: Gauge,
    /// Data links that ended, by reason.
    data_links_lost: ByReason,
    /// Streams of data links open right now.
    streams: Gauge,
    /// Streams opened.
    streams_opened: Counter,
    /// Streams reset, by either end, by reason.
    stream_resets: ByReason,
    /// Waits on data links, by what was waited for.
    stream_stalls: Stalls,
    /// Bytes of streams that wait to be sent.
    stream_queued_bytes: Gauge,
    /// What the windows of streams have above what each begins with, in bytes.
    stream_window_bytes: Gauge,
    /// Bytes sent on data links, by the lane they took.
    lane_bytes: ByLane,
    /// Peers that broke the protocol on a proven connection.
    violations: Counter,
    /// Bytes of first data kept for replay, as the last session to end has left it.
    replay_bytes: Gauge,
    /// Answers of HTTP entries, by class of their status.
    http_answers: ByReason,
    /// Requests of HTTP entries that no upstream answered, by reason.
    http_failures: ByReason,
    /// Requests of HTTP entries that are not answered to their end.
    http_open_requests: Gauge,
    /// Requests that a plugin of their rule turned away, by plugin.
    http_refusals: ByReason,
    /// Requests that were tried once more.
    http_retries: Counter,
    /// Upgraded connections (WebSockets and others) open right now.
    http_upgrades: Gauge,
    /// Lines of access logs that came faster than they could be written.
    access_lines_lost: Counter,
    /// Pauses in accepting because descriptors ran out.
    accept_pauses: Counter,
}

impl Metrics {
    /// The registry, for an exporter.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Everything, in the text format of OpenMetrics. Takes some milliseconds where there are thousands of
    /// series: not for the control thread.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("writing to a string never fails");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
