//! How near each limit is.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

/// The limits of one node, and what of each is used. Asked at each scrape; costs nothing in between. A clone is
/// the same.
#[derive(Clone, Default)]
pub struct Limits(Arc<RwLock<BTreeMap<&'static str, Watched>>>);

#[derive(Clone)]
struct Watched {
    max: usize,
    used: Arc<dyn Fn() -> usize + Send + Sync>,
}

impl Limits {
    /// Shows `limit`, which is `max`; `used` says how much of it is used, and must be cheap. Takes the place of
    /// an earlier one of that name.
    pub fn watch(&self, limit: &'static str, max: usize, used: impl Fn() -> usize + Send + Sync + 'static) {
        let used = Arc::new(used);
        let mut limits = self.0.write().unwrap_or_else(PoisonError::into_inner);
        limits.insert(limit, Watched { max, used });
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").finish_non_exhaustive()
    }
}

impl Collector for Limits {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let limits = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut gauges = |name: &str, help: &str, value: fn(&Watched) -> usize| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (limit, watched) in &limits {
                let value = ConstGauge::new(i64::try_from(value(watched)).unwrap_or(i64::MAX));
                value.encode(family.encode_family(&[("limit", *limit)])?)?;
            }
            Ok(())
        };
        gauges(
            "limit_used",
            "How much of the limit is used right now.",
            |watched| (watched.used)(),
        )?;
        gauges("limit_max", "How much the limit allows.", |watched| watched.max)
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    #[test]
    fn a_limit_is_asked_when_it_is_shown() {
        let metrics = Metrics::new();
        let clients = metrics.clients.clone();
        metrics
            .limits
            .watch("clients", 10, move || usize::try_from(clients.get()).unwrap_or(0));
        metrics.clients.set(3);
        let text = metrics.encode();
        assert!(text.contains("adit_limit_used{limit=\"clients\"} 3\n"), "{text}");
        assert!(text.contains("adit_limit_max{limit=\"clients\"} 10\n"), "{text}");
    }
}
