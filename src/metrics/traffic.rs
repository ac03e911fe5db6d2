//! What a node shows of its visitors by entry and group, and by client.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    fmt,
    sync::{PoisonError, RwLock},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
    },
};

use super::{
    group::encode_hidden,
    series::{Member, Series, Shown},
};

/// The figures of all entries, by entry and group. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct EntryTraffic(Series<Traffic>);

/// The figures of all clients, by group and client. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct ClientTraffic(Series<Traffic>);

/// The figures of one entry and group, or of one client in a group; shown while this or a clone of it lives.
pub type TrafficSeries = Member<Traffic>;

/// What is shown of one of them.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Visitor connections accepted.
    pub visitors: Counter,
    /// Bytes from visitors to upstreams.
    pub up: Counter,
    /// Bytes from upstreams to visitors.
    pub down: Counter,
    /// Sessions that ended, by outcome.
    pub outcomes: Counts,
}

/// Counts by a short word, of which each is there from the first time it is counted.
#[derive(Debug, Default)]
pub struct Counts(RwLock<BTreeMap<&'static str, Counter>>);

impl Counts {
    /// Adds one.
    pub fn inc(&self, word: &'static str) {
        let counts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get(word) {
            count.inc();
            return;
        }
        drop(counts);
        let mut counts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        counts.entry(word).or_default().inc();
    }

    /// Each word, and how often it was counted.
    pub(super) fn all(&self) -> Vec<(&'static str, u64)> {
        let counts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(word, count)| (*word, count.get())).collect()
    }
}

impl Traffic {
    fn bytes(&self) -> u64 {
        self.up.get().saturating_add(self.down.get())
    }
}

impl EntryTraffic {
    /// The figures of visitors of `entry` that are sent to `group`: those that someone has already, or new ones at zero.
    /// Where each request finds its own group, what is counted of visitors before has none.
    pub fn join(&self, entry: &str, group: &str) -> TrafficSeries {
        self.0.find_or_join((entry.to_owned(), group.to_owned()))
    }
}

impl ClientTraffic {
    /// The figures of what `client` serves of `group`: those that someone has already, or new ones at zero.
    pub fn join(&self, group: &str, client: &str) -> TrafficSeries {
        self.0.find_or_join((group.to_owned(), client.to_owned()))
    }
}

impl Collector for EntryTraffic {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (all, hidden) = self.0.shown(|traffic| Reverse(traffic.bytes()));
        let shown = Page {
            names: ("entry", "group"),
            all,
        };
        let help = "Visitor connections accepted, by entry.";
        let mut family = encoder.encode_descriptor("entry_visitors", help, None, MetricType::Counter)?;
        for one in &shown.all {
            let visitors = ConstCounter::new(one.figures().visitors.get());
            visitors.encode(family.encode_family(&shown.labels(one))?)?;
        }
        shown.encode_bytes(
            &mut encoder,
            "entry_bytes",
            "Bytes of sessions, by entry and group.",
        )?;
        let help = "Sessions that ended, by entry, group and outcome.";
        shown.encode_outcomes(&mut encoder, "entry_outcomes", help)?;
        let help = "Pairs of an entry and a group too many to be shown.";
        encode_hidden(&mut encoder, "entries_hidden", help, hidden)
    }
}

impl Collector for ClientTraffic {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (all, hidden) = self.0.shown(|traffic| Reverse(traffic.bytes()));
        let shown = Page {
            names: ("group", "client"),
            all,
        };
        let help = "Bytes of sessions that the client carried, by group.";
        shown.encode_bytes(&mut encoder, "client_bytes", help)?;
        let help = "Sessions that the client carried and that ended, by group and outcome.";
        shown.encode_outcomes(&mut encoder, "client_outcomes", help)?;
        let help = "Pairs of a group and a client too many to be shown.";
        encode_hidden(&mut encoder, "clients_hidden", help, hidden)
    }
}

/// What one scrape shows.
struct Page {
    /// The names of the labels that tell two apart.
    names: (&'static str, &'static str),
    all: Vec<Shown<Traffic>>,
}

impl Page {
    fn labels<'a>(&self, one: &'a Shown<Traffic>) -> [(&'static str, &'a str); 2] {
        let (first, second) = one.labels();
        [(self.names.0, first), (self.names.1, second)]
    }

    fn encode_bytes(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for one in &self.all {
            let [first, second] = self.labels(one);
            let traffic = one.figures();
            for (direction, bytes) in [("up", &traffic.up), ("down", &traffic.down)] {
                let labels = [first, second, ("direction", direction)];
                ConstCounter::new(bytes.get()).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn encode_outcomes(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for one in &self.all {
            let [first, second] = self.labels(one);
            for (reason, count) in one.figures().outcomes.all() {
                let labels = [first, second, ("reason", reason)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::{Metrics, SHOWN_MAX};

    fn check(metrics: &Metrics, line: &str) {
        let text = metrics.encode();
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }

    #[test]
    fn of_many_clients_those_with_the_most_bytes_are_shown_while_they_are_there() {
        let metrics = Metrics::new();
        let join = |n| metrics.client_traffic.join("g", &format!("c{n:05}"));
        let mut clients: Vec<_> = (0..SHOWN_MAX + 2).map(join).collect();
        let last = &clients[SHOWN_MAX + 1];
        last.up.inc_by(7);
        last.outcomes.inc("completed");
        let of = format!("group=\"g\",client=\"c{:05}\"", SHOWN_MAX + 1);
        check(
            &metrics,
            &format!("adit_client_bytes_total{{{of},direction=\"up\"}} 7"),
        );
        let outcomes = format!("adit_client_outcomes_total{{{of},reason=\"completed\"}} 1");
        check(&metrics, &outcomes);
        check(&metrics, "adit_clients_hidden 2");
        clients.clear();
        assert!(!metrics.encode().contains(&of));
    }
}
