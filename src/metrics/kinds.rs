//! The kinds of metric that the list is made of.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::traffic::TrafficSeries;
use crate::probe::{audit, mutant};

/// Shows a metric in a registry, under one name and one help.
pub(super) trait Show {
    /// Registers a clone, which counts the same.
    fn show(&self, registry: &mut Registry, name: &str, help: &str);
}

impl Show for Counter {
    fn show(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.clone());
    }
}

impl Show for Gauge {
    fn show(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.clone());
    }
}

/// Counts one in a gauge while it lives.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    /// One more.
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let before = self.0.dec();
        audit!(before > 0, "only what was counted is counted no more");
    }
}

/// A reason, as the one label of a family.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    reason: &'static str,
}

/// Counts by reason. A reason is shown from the first time it is counted.
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

impl Show for ByReason {
    fn show(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.0.clone());
    }
}

/// Counters that differ in one label, whose values are all known: each is there from the start, at zero, and
/// counting costs no look-up.
macro_rules! by_label {
    ($($(#[doc = $doc:literal])+ $name:ident by $label:literal {
        $($(#[doc = $value_doc:literal])+ $value:ident,)+
    })+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub struct $name {
            family: Family<[(&'static str, &'static str); 1], Counter>,
            $($(#[doc = $value_doc])+ pub $value: Counter,)+
        }

        impl Default for $name {
            fn default() -> Self {
                let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
                $(let $value = family.get_or_create(&[($label, stringify!($value))]).clone();)+
                Self { family, $($value,)+ }
            }
        }

        impl Show for $name {
            fn show(&self, registry: &mut Registry, name: &str, help: &str) {
                registry.register(name, help, self.family.clone());
            }
        }
    )+};
}

by_label! {
    /// What went through, by direction.
    ByDirection by "direction" {
        /// From visitors to upstreams.
        up,
        /// From upstreams to visitors.
        down,
    }
    /// Attempts, by result.
    ByResult by "result" {
        /// It worked.
        ok,
        /// It did not.
        failed,
    }
    /// Heartbeats, by what became of them.
    Heartbeats by "event" {
        /// This node sent one.
        sent,
        /// A client's was answered; at the client, the answer came.
        answered,
        /// An interval passed without a frame from the peer.
        missed,
    }
    /// Bytes sent on data links, by the lane they took.
    ByLane by "lane" {
        /// Credit, PING and what else goes before all streams.
        control,
        /// The first bytes of a stream.
        young,
        /// The rest.
        bulk,
    }
    /// Waits on data links, by what was waited for.
    Stalls by "cause" {
        /// A stream had bytes to send, and no credit.
        credit,
        /// Whoever wrote to a stream found its queue full.
        queue,
        /// The link's socket took no more.
        socket,
    }
}

impl ByDirection {
    /// The meter of a session whose raw side is its visitor: what is read goes up.
    pub fn at_visitor(&self) -> Meter {
        Meter::new(&self.up, &self.down)
    }

    /// The meter of a session whose raw side is its upstream: what is read goes down.
    pub fn at_upstream(&self) -> Meter {
        Meter::new(&self.down, &self.up)
    }
}

/// Tells a node's counters how far one session has come, while it runs: a long session must not hide its bytes
/// until it ends. Told once per wake-up of the session's task, not once per chunk.
#[derive(Debug)]
pub struct Meter {
    read: Counter,
    written: Counter,
    /// Where the bytes of a visitor are counted besides: at its entry, and at its client.
    traffic: [Option<TrafficSeries>; 2],
    told: (u64, u64),
}

impl Meter {
    fn new(read: &Counter, written: &Counter) -> Self {
        Self {
            read: read.clone(),
            written: written.clone(),
            traffic: [None, None],
            told: (0, 0),
        }
    }

    /// Counts what the visitor's side reads and writes also for its entry, and for its client if there is one.
    pub fn also(self, entry: &TrafficSeries, client: Option<&TrafficSeries>) -> Self {
        Self {
            traffic: [Some(entry.clone()), client.cloned()],
            ..self
        }
    }

    /// What was read and written before is not this meter's to count.
    pub fn begin(&mut self, so_far: (u64, u64)) {
        self.told = if mutant!("bytes-before-a-session-counted-again") {
            (0, 0)
        } else {
            so_far
        };
    }

    /// So many bytes have been read from the raw side, and written to it, in all.
    pub fn tell(&mut self, (read, written): (u64, u64)) {
        let (up, down) = (
            read.saturating_sub(self.told.0),
            written.saturating_sub(self.told.1),
        );
        if (up, down) == (0, 0) {
            return;
        }
        self.told = (self.told.0 + up, self.told.1 + down);
        self.read.inc_by(up);
        self.written.inc_by(down);
        for traffic in self.traffic.iter().flatten() {
            let (up, down) = if mutant!("traffic-the-wrong-way-round") {
                (down, up)
            } else {
                (up, down)
            };
            traffic.up.inc_by(up);
            traffic.down.inc_by(down);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{ClientTraffic, EntryTraffic};

    #[test]
    fn a_meter_counts_each_byte_once_and_in_its_direction() {
        let bytes = ByDirection::default();
        let mut server = bytes.at_visitor();
        server.begin((10, 0));
        server.tell((10, 0));
        server.tell((15, 7));
        server.tell((15, 7));
        assert_eq!((bytes.up.get(), bytes.down.get()), (5, 7));
        let mut client = bytes.at_upstream();
        client.tell((100, 1000));
        assert_eq!((bytes.up.get(), bytes.down.get()), (1005, 107));
        let (entry, of_client) = (
            EntryTraffic::default().join("e", "g"),
            ClientTraffic::default().join("g", "c"),
        );
        let mut both = bytes.at_visitor().also(&entry, Some(&of_client));
        both.begin((10, 0));
        both.tell((11, 2));
        both.tell((14, 2));
        for traffic in [entry, of_client] {
            assert_eq!((traffic.up.get(), traffic.down.get()), (4, 2));
        }
    }
}
