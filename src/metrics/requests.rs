//! What a node shows of the requests that fell under each rule, and of what each group may try again.

use std::{
    cmp::Reverse,
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        gauge::{ConstGauge, Gauge},
    },
};

use super::{
    Seconds,
    group::encode_hidden,
    series::{Member, Series, Shown},
    traffic::Counts,
};
use crate::time::Duration;

/// The most rules that are shown, those with the most requests. Each has some ninety samples.
pub const RULES_SHOWN_MAX: usize = 200;

/// Where the time of a request goes, in the order in which it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// Until a target is chosen: plugins, an empty group, pauses between tries.
    Queue,
    /// Until there is a connection to its client.
    Pool,
    /// Until the client has connected the upstream; nothing on a connection that was kept.
    Start,
    /// Until the head of the answer.
    FirstByte,
    /// From the head of the request to the end of the answer.
    Total,
}

impl Hop {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Queue, Self::Pool, Self::Start, Self::FirstByte, Self::Total];

    /// Its name in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Pool => "pool",
            Self::Start => "start",
            Self::FirstByte => "first_byte",
            Self::Total => "total",
        }
    }
}

/// The statuses of answers as people count them, and visitors that left before there was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class(usize);

impl Class {
    const LABELS: [&str; 6] = ["left", "1xx", "2xx", "3xx", "4xx", "5xx"];

    /// The class of a status; of none for whoever left.
    pub fn of(status: Option<u16>) -> Self {
        Self(status.map_or(0, |status| usize::from(status / 100).clamp(1, 5)))
    }

    /// Its name in metrics.
    pub fn label(self) -> &'static str {
        Self::LABELS[self.0]
    }
}

/// The figures of all rules that were used. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Rules(Series<RuleFigures>);

/// The figures of one rule; shown while this or a clone of it lives.
pub type RuleSeries = Member<RuleFigures>;

/// What is shown of one rule.
#[derive(Debug, Default)]
pub struct RuleFigures {
    classes: [AtomicU64; Class::LABELS.len()],
    hops: [Seconds; Hop::ALL.len()],
    refusals: Counts,
    /// Requests that were tried once more.
    pub retries: Counter,
    /// Requests that are not answered to their end.
    pub open: Gauge,
    /// Upgraded connections.
    pub upgrades: Gauge,
}

impl Rules {
    /// The figures of `rule`, which leads to `group`: those that someone has already, or new ones at zero.
    pub fn join(&self, group: &str, rule: &str) -> RuleSeries {
        self.0.find_or_join((group.to_owned(), rule.to_owned()))
    }
}

impl RuleFigures {
    /// A request is over.
    pub fn answered(&self, class: Class) {
        self.classes[class.0].fetch_add(1, Ordering::Relaxed);
    }

    /// A request took so long there.
    pub fn passed(&self, hop: Hop, took: Duration) {
        self.hops[hop as usize].observe(took);
    }

    /// A plugin turned a request away.
    pub fn refused(&self, plugin: &'static str) {
        self.refusals.inc(plugin);
    }

    fn requests(&self) -> u64 {
        self.classes
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }
}

impl Collector for Rules {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (rules, hidden) = self.0.first(RULES_SHOWN_MAX, |rule| Reverse(rule.requests()));

        let help = "Requests that fell under the rule and are over, by class of their status.";
        let mut family = encoder.encode_descriptor("http_rule_requests", help, None, MetricType::Counter)?;
        for rule in &rules {
            let [group, name] = labels(rule);
            for (label, count) in Class::LABELS.iter().zip(&rule.figures().classes) {
                let labels = [group, name, ("status", label)];
                let count = ConstCounter::new(count.load(Ordering::Relaxed));
                count.encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Where the time of the rule's requests went.";
        let mut family = encoder.encode_descriptor("http_rule_seconds", help, None, MetricType::Histogram)?;
        for rule in &rules {
            let [group, name] = labels(rule);
            for hop in Hop::ALL {
                let labels = [group, name, ("hop", hop.label())];
                rule.figures().hops[hop as usize].encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Requests that a plugin of the rule turned away.";
        let mut family = encoder.encode_descriptor("http_rule_refusals", help, None, MetricType::Counter)?;
        for rule in &rules {
            let [group, name] = labels(rule);
            for (plugin, count) in rule.figures().refusals.all() {
                let labels = [group, name, ("plugin", plugin)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Requests of the rule that were tried once more.";
        let mut family = encoder.encode_descriptor("http_rule_retries", help, None, MetricType::Counter)?;
        for rule in &rules {
            let retries = ConstCounter::new(rule.figures().retries.get());
            retries.encode(family.encode_family(&labels(rule))?)?;
        }
        let mut gauges = |name: &str, help: &str, value: fn(&RuleFigures) -> i64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for rule in &rules {
                let value = ConstGauge::new(value(rule.figures()));
                value.encode(family.encode_family(&labels(rule))?)?;
            }
            Ok(())
        };
        let help = "Requests of the rule that are not answered to their end.";
        gauges("http_rule_open_requests", help, |rule| rule.open.get())?;
        let help = "Upgraded connections of the rule.";
        gauges("http_rule_upgrades", help, |rule| rule.upgrades.get())?;
        encode_hidden(
            &mut encoder,
            "http_rules_hidden",
            "Rules too many to be shown.",
            hidden,
        )
    }
}

fn labels(rule: &Shown<RuleFigures>) -> [(&'static str, &str); 2] {
    let (group, rule) = rule.labels();
    [("group", group), ("rule", rule)]
}

/// What requests may be tried again, by entry and group. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct RetryBudgets(Series<BudgetFigures>);

/// The figures of one budget; shown while this lives.
pub type BudgetSeries = Member<BudgetFigures>;

/// What is shown of one budget.
pub struct BudgetFigures(Box<dyn Fn() -> f64 + Send + Sync>);

impl fmt::Debug for BudgetFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BudgetFigures").field(&(self.0)()).finish()
    }
}

impl RetryBudgets {
    /// Shows the budget of `group` at `entry`. `left` is asked at each scrape how many requests may be tried again.
    pub fn join(
        &self,
        entry: &str,
        group: &str,
        left: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> BudgetSeries {
        let labels = (entry.to_owned(), group.to_owned());
        self.0.join(labels, BudgetFigures(Box::new(left)))
    }
}

impl Collector for RetryBudgets {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (budgets, _) = self.0.shown(|_| ());
        let help = "Requests to the group that may be tried again now.";
        let mut family = encoder.encode_descriptor("http_retry_budget", help, None, MetricType::Gauge)?;
        for budget in &budgets {
            let (entry, group) = budget.labels();
            let left = ConstGauge::new((budget.figures().0)());
            left.encode(family.encode_family(&[("entry", entry), ("group", group)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn check(metrics: &Metrics, line: &str) {
        let text = metrics.encode();
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }

    #[test]
    fn a_rule_is_shown_with_what_its_requests_did() {
        let metrics = Metrics::new();
        let rule = metrics.http_rules.join("api", "/v1");
        rule.answered(Class::of(Some(200)));
        rule.answered(Class::of(Some(503)));
        rule.answered(Class::of(None));
        rule.passed(Hop::FirstByte, Duration::from_millis(3));
        rule.refused("rate_limit");
        metrics.http_rules.join("api", "/v1").refused("rate_limit");
        rule.open.inc();
        let of = "group=\"api\",rule=\"/v1\"";
        for (status, count) in [("2xx", 1), ("3xx", 0), ("5xx", 1), ("left", 1)] {
            let line = format!("adit_http_rule_requests_total{{{of},status=\"{status}\"}} {count}");
            check(&metrics, &line);
        }
        let bucket = |le: &str, count| {
            format!("adit_http_rule_seconds_bucket{{le=\"{le}\",{of},hop=\"first_byte\"}} {count}")
        };
        check(&metrics, &bucket("0.0025", 0));
        check(&metrics, &bucket("0.005", 1));
        check(
            &metrics,
            &format!("adit_http_rule_refusals_total{{{of},plugin=\"rate_limit\"}} 2"),
        );
        check(&metrics, &format!("adit_http_rule_open_requests{{{of}}} 1"));
        drop(rule);
        assert!(!metrics.encode().contains(of));
    }

    #[test]
    fn of_many_rules_the_most_used_are_shown() {
        let metrics = Metrics::new();
        let join = |n| metrics.http_rules.join("api", &format!("r{n:04}"));
        let rules: Vec<_> = (0..RULES_SHOWN_MAX + 3).map(join).collect();
        rules[RULES_SHOWN_MAX + 1].answered(Class::of(Some(200)));
        check(&metrics, "adit_http_rules_hidden 3");
        assert!(metrics.encode().contains(&format!("r{:04}", RULES_SHOWN_MAX + 1)));
    }
}
