//! What a node counts. One registry per node: two nodes may share a simulated process.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// A reason, as the one label of a family.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    reason: &'static str,
}

/// Counts by reason.
#[derive(Clone, Debug, Default)]
pub struct ByReason(Family<Reason, Counter>);

impl ByReason {
    /// Adds one.
    pub fn inc(&self, reason: &'static str) {
        self.0.get_or_create(&Reason { reason }).inc();
    }

    /// How often `reason` was counted.
    pub fn count(&self, reason: &'static str) -> u64 {
        self.0.get_or_create(&Reason { reason }).get()
    }
}

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $name:ident: $type:ty,)*) => {
        /// Every metric of one node.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $($(#[doc = $help])+ pub $name: $type,)*
        }

        impl Metrics {
            /// All metrics at zero, registered under the prefix `adit`.
            pub fn new() -> Self {
                let mut registry = Registry::with_prefix("adit");
                $(let $name = <$type>::default();
                registry.register(stringify!($name), concat!($($help),+).trim(), $name.registered());)*
                Self { registry, $($name,)* }
            }
        }
    };
}

/// Makes the clone of a metric that its registry holds.
trait Registered {
    type Metric: prometheus_client::registry::Metric;
    fn registered(&self) -> Self::Metric;
}

impl Registered for Counter {
    type Metric = Self;
    fn registered(&self) -> Self {
        self.clone()
    }
}

impl Registered for Gauge {
    type Metric = Self;
    fn registered(&self) -> Self {
        self.clone()
    }
}

impl Registered for ByReason {
    type Metric = Family<Reason, Counter>;
    fn registered(&self) -> Self::Metric {
        self.0.clone()
    }
}

metrics! {
    /// Handshakes that did not end in a proven peer, by reason.
    handshake_failures: ByReason,
    /// Connections turned away before a handshake because a limit was reached, by limit.
    connections_refused: ByReason,
    /// Connections that have not proved who they are yet.
    connections_unproven: Gauge,
    /// Clients admitted, including those that came back.
    registrations: Counter,
    /// Registrations denied, by reason.
    registrations_denied: ByReason,
    /// Clients registered right now.
    clients: Gauge,
    /// Links that ended, by reason.
    links_lost: ByReason,
    /// Visitor connections accepted.
    visitors: Counter,
    /// Sessions running right now.
    sessions: Gauge,
    /// Sessions that ended, by outcome.
    session_outcomes: ByReason,
    /// Tries that did not reach `Started` and were repeated or given up, by cause.
    tries_failed: ByReason,
    /// Tries repeated although their bytes may have reached an upstream.
    replays_ambiguous: Counter,
    /// Takes served by a parked proxy connection.
    pool_hits: Counter,
    /// Takes that found no parked proxy connection.
    pool_misses: Counter,
    /// Proxy connections parked right now.
    pool_parked: Gauge,
    /// Proxy connections discarded, by cause.
    pool_discarded: ByReason,
    /// Peers that broke the protocol on a proven connection.
    violations: Counter,
    /// Bytes of first data kept for replay right now.
    replay_bytes: Gauge,
    /// Pauses in accepting because descriptors ran out.
    accept_pauses: Counter,
}

impl Metrics {
    /// The registry, for an exporter.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
