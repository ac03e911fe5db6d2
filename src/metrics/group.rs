//! What a node shows of each group and of each target.

use std::{
    fmt,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
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

use super::series::{Member, Series, Shown};
use crate::time::Duration;

/// The figures of all groups. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Groups(Series<GroupFigures>);

/// The figures of one group; shown while this or a clone of it lives.
pub type GroupSeries = Member<GroupFigures>;

/// What is shown of one group.
#[derive(Debug, Default)]
pub struct GroupFigures {
    /// Targets, usable or not.
    pub targets: Gauge,
    /// Targets in the active set.
    pub active: Gauge,
    /// 1 while a target is well, 0 while all fail or there is none.
    pub usable: Gauge,
    /// Times that a target entered or left the active set.
    pub changes: Counter,
    probes: [Counter; ProbeResult::ALL.len()],
}

impl Groups {
    /// The figures of the group `name`: those that someone has already, or new ones at zero.
    pub fn join(&self, name: &str) -> GroupSeries {
        self.0.find_or_join((name.to_owned(), String::new()))
    }
}

impl GroupFigures {
    /// A probe of one of its targets has come to an end.
    pub fn probed(&self, result: ProbeResult) {
        self.probes[result as usize].inc();
    }
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// As it should.
    Ok,
    /// The target refused.
    Refused,
    /// No answer in time.
    Timeout,
    /// The answer was wrong, the connection broke, or the name does not resolve.
    Failed,
}

impl ProbeResult {
    const ALL: [Self; 4] = [Self::Ok, Self::Refused, Self::Timeout, Self::Failed];

    fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
        }
    }
}

/// The figures of all targets. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Targets(Series<TargetFigures>);

/// The figures of one target; shown while this or a clone of it lives.
pub type TargetSeries = Member<TargetFigures>;

/// What is shown of one target. Writing a figure is one atomic store.
pub struct TargetFigures {
    score: Figure,
    latency: Figure,
    state: AtomicU8,
    in_flight: Box<dyn Fn() -> usize + Send + Sync>,
}

impl Targets {
    /// The figures of a target that has just become a member of `group`. `in_flight` is asked at each scrape how
    /// many sessions it carries: it must be cheap.
    pub fn join(
        &self,
        group: &str,
        target: &str,
        in_flight: impl Fn() -> usize + Send + Sync + 'static,
    ) -> TargetSeries {
        let figures = TargetFigures {
            score: Figure::default(),
            latency: Figure::default(),
            state: AtomicU8::new(TargetState::Untried as u8),
            in_flight: Box::new(in_flight),
        };
        self.0.join((group.to_owned(), target.to_owned()), figures)
    }
}

impl TargetFigures {
    /// Its score, 0 to 100. Not shown before it is set.
    pub fn set_score(&self, score: f64) {
        self.score.set(score);
    }

    /// Its smoothed latency. Not shown before it is set.
    pub fn set_latency(&self, latency: Duration) {
        self.latency.set(latency.as_secs_f64());
    }

    /// What it is used for now. [`TargetState::Untried`] before it is set.
    pub fn set_state(&self, state: TargetState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    fn rank(&self) -> impl Ord + use<> {
        let idle = (self.in_flight)() == 0;
        (idle, std::cmp::Reverse(self.state.load(Ordering::Relaxed)))
    }
}

impl fmt::Debug for TargetFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetFigures")
            .field("score", &self.score.get())
            .field("latency", &self.latency.get())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// What a target is used for now. One number per target: the higher, the better it is, and a time line of it
/// needs no more than names for the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TargetState {
    /// Put out: it fails.
    Down = 0,
    /// Being tried again after it failed.
    Probation = 1,
    /// It takes no new sessions.
    Draining = 2,
    /// Nothing is known of it yet.
    Untried = 3,
    /// It is well, and not in the active set.
    Standby = 4,
    /// In the active set.
    Active = 5,
}

/// A number that may not be known yet.
struct Figure(AtomicU64);

impl Default for Figure {
    fn default() -> Self {
        Self(AtomicU64::new(f64::NAN.to_bits()))
    }
}

impl Figure {
    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    fn get(&self) -> Option<f64> {
        Some(f64::from_bits(self.0.load(Ordering::Relaxed))).filter(|value| !value.is_nan())
    }
}

impl Collector for Groups {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let (groups, hidden) = self.0.shown(|_| ());
        let mut gauges = |name: &str, help: &str, value: fn(&GroupFigures) -> i64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for group in &groups {
                let labels = [("group", group.labels().0)];
                let value = ConstGauge::new(value(group.figures()));
                value.encode(family.encode_family(&labels)?)?;
            }
            Ok(())
        };
        gauges("group_targets", "Targets of the group, usable or not.", |group| {
            group.targets.get()
        })?;
        gauges("active_set_size", "Targets in the group's active set.", |group| {
            group.active.get()
        })?;
        let help = "1 while a target of the group is well, 0 while all fail or there is none.";
        gauges("group_usable", help, |group| group.usable.get())?;

        let help = "Times that a target entered or left the group's active set.";
        let mut family = encoder.encode_descriptor("active_set_changes", help, None, MetricType::Counter)?;
        for group in &groups {
            let labels = [("group", group.labels().0)];
            let changes = ConstCounter::new(group.figures().changes.get());
            changes.encode(family.encode_family(&labels)?)?;
        }
        let help = "Probes of the group's targets, by result.";
        let mut family = encoder.encode_descriptor("probes", help, None, MetricType::Counter)?;
        for group in &groups {
            for result in ProbeResult::ALL {
                let labels = [("group", group.labels().0), ("result", result.label())];
                let probes = ConstCounter::new(group.figures().probes[result as usize].get());
                probes.encode(family.encode_family(&labels)?)?;
            }
        }
        encode_hidden(
            &mut encoder,
            "groups_hidden",
            "Groups too many to be shown.",
            hidden,
        )
    }
}

impl Collector for Targets {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let (targets, hidden) = self.0.shown(TargetFigures::rank);
        let mut gauges = |name: &str, help: &str, value: fn(&TargetFigures) -> Option<f64>| {
            encode_targets(&mut encoder, &targets, name, help, value)
        };
        gauges("target_score", "Score of the target, 0 to 100.", |target| {
            target.score.get()
        })?;
        gauges(
            "target_latency_seconds",
            "Smoothed latency of the target.",
            |target| target.latency.get(),
        )?;
        let help = "State of the target: 0 down, 1 on probation, 2 draining, 3 untried, 4 standby, 5 active.";
        gauges("target_state", help, |target| {
            Some(target.state.load(Ordering::Relaxed).into())
        })?;
        gauges(
            "target_in_flight",
            "Sessions on the target right now.",
            |target| Some((target.in_flight)() as f64),
        )?;
        encode_hidden(
            &mut encoder,
            "targets_hidden",
            "Targets too many to be shown.",
            hidden,
        )
    }
}

fn encode_targets(
    encoder: &mut DescriptorEncoder,
    targets: &[Shown<TargetFigures>],
    name: &str,
    help: &str,
    value: fn(&TargetFigures) -> Option<f64>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for target in targets {
        let (group, name) = target.labels();
        if let Some(value) = value(target.figures()) {
            let labels = [("group", group), ("target", name)];
            ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

pub(super) fn encode_hidden(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    hidden: usize,
) -> fmt::Result {
    let hidden = ConstGauge::new(i64::try_from(hidden).unwrap_or(i64::MAX));
    hidden.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::metrics::{Metrics, series::SHOWN_MAX};

    fn check(metrics: &Metrics, line: &str, expected: bool) {
        let text = metrics.encode();
        assert_eq!(text.lines().any(|it| it == line), expected, "{line}\n{text}");
    }

    #[test]
    fn a_target_is_shown_with_what_is_known_of_it() {
        let metrics = Metrics::new();
        let in_flight = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&in_flight);
        let target = metrics
            .targets
            .join("web", "a/main", move || counted.load(Ordering::Relaxed));
        check(
            &metrics,
            "adit_target_state{group=\"web\",target=\"a/main\"} 3.0",
            true,
        );
        assert!(!metrics.encode().contains("adit_target_score{"));
        target.set_score(87.5);
        target.set_latency(Duration::from_millis(12));
        target.set_state(TargetState::Active);
        in_flight.store(3, Ordering::Relaxed);
        check(
            &metrics,
            "adit_target_score{group=\"web\",target=\"a/main\"} 87.5",
            true,
        );
        check(
            &metrics,
            "adit_target_latency_seconds{group=\"web\",target=\"a/main\"} 0.012",
            true,
        );
        check(
            &metrics,
            "adit_target_state{group=\"web\",target=\"a/main\"} 5.0",
            true,
        );
        check(
            &metrics,
            "adit_target_in_flight{group=\"web\",target=\"a/main\"} 3.0",
            true,
        );
        drop(target);
        assert!(!metrics.encode().contains("a/main"));
    }

    #[test]
    fn of_many_targets_the_used_ones_are_shown() {
        let metrics = Metrics::new();
        let mut targets: Vec<_> = (0..SHOWN_MAX + 10)
            .map(|n| {
                metrics
                    .targets
                    .join("big", &format!("{n:05}"), move || usize::from(n == SHOWN_MAX))
            })
            .collect();
        targets[SHOWN_MAX + 3].set_state(TargetState::Active);
        check(&metrics, "adit_targets_hidden 10", true);
        for shown in [SHOWN_MAX, SHOWN_MAX + 3] {
            assert!(metrics.encode().contains(&format!("target=\"{shown:05}\"")));
        }
        targets.truncate(SHOWN_MAX);
        check(&metrics, "adit_targets_hidden 0", true);
    }

    #[test]
    fn whoever_joins_a_group_finds_the_same_figures() {
        let metrics = Metrics::new();
        let (selector, prober) = (metrics.groups.join("web"), metrics.groups.join("web"));
        selector.active.set(4);
        selector.changes.inc();
        prober.probed(ProbeResult::Timeout);
        check(&metrics, "adit_active_set_size{group=\"web\"} 4", true);
        check(&metrics, "adit_active_set_changes_total{group=\"web\"} 1", true);
        check(
            &metrics,
            "adit_probes_total{group=\"web\",result=\"timeout\"} 1",
            true,
        );
        check(&metrics, "adit_probes_total{group=\"web\",result=\"ok\"} 0", true);
        drop(selector);
        check(&metrics, "adit_active_set_size{group=\"web\"} 4", true);
        drop(prober);
        assert!(!metrics.encode().contains("\"web\""));
    }
}
