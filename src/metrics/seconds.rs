//! How long things took. Many threads observe at once, and none of them waits: what every request and every session
//! passes may have no lock.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Registry,
};

use super::kinds::Show;
use crate::time::Duration;

/// Upper bounds of the buckets, in seconds. A start on loopback falls into the first, one that takes the whole 8 s of
/// its deadline into the last.
const BOUNDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// A histogram of durations. A clone observes the same.
#[derive(Clone, Debug, Default)]
pub struct Seconds(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// One for each bound, and one for what is above all of them.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Seconds {
    /// It took so long once more.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        self.0.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.0.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl EncodeMetric for Seconds {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let counts = self
            .0
            .buckets
            .each_ref()
            .map(|count| count.load(Ordering::Relaxed));
        let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let sum = Duration::from_nanos(self.0.sum_nanos.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum.as_secs_f64(), counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl Show for Seconds {
    fn show(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_long_is_in_a_bucket_of_its_length() {
        let (seconds, mut registry) = (Seconds::default(), Registry::default());
        seconds.show(&mut registry, "took", "It");
        for millis in [0, 1, 2, 3, 60_000] {
            seconds.observe(Duration::from_millis(millis));
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let check = |line: &str| assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        check("# TYPE took histogram");
        check("took_bucket{le=\"0.0005\"} 1");
        check("took_bucket{le=\"0.001\"} 2");
        check("took_bucket{le=\"0.0025\"} 3");
        check("took_bucket{le=\"10.0\"} 4");
        check("took_bucket{le=\"+Inf\"} 5");
        check("took_count 5");
        check("took_sum 60.006");
    }
}
