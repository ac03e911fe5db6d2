//! Tells a node's metrics how one of its data links stands.

use std::sync::Arc;

use super::mux::Mux;
use crate::{metrics::Metrics, probe::mutant};

/// What a link has told so far; what it holds is taken back when it ends.
#[derive(Debug)]
pub(super) struct Tally {
    metrics: Arc<Metrics>,
    streams: i64,
    queued: i64,
    promised: i64,
    closed: bool,
}

impl Tally {
    /// One more link.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        metrics.data_links.inc();
        Self {
            metrics,
            streams: 0,
            queued: 0,
            promised: 0,
            closed: false,
        }
    }

    /// Tells what is new.
    pub fn tell(&mut self, mux: &mut Mux) {
        if self.closed && !(self.streams > 0 && mutant!("lost-link-counted-down-twice")) {
            return;
        }
        let (counts, streams) = (mux.take_counts(), mux.streams());
        let (queued, promised) = (mux.queued(), mux.promised());
        let metrics = &self.metrics;
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let (streams, queued) = (gauge(streams as u64), gauge(queued as u64));
        let promised = gauge(promised);
        metrics
            .streams
            .inc_by(streams - std::mem::replace(&mut self.streams, streams));
        metrics
            .stream_queued_bytes
            .inc_by(queued - std::mem::replace(&mut self.queued, queued));
        metrics
            .stream_window_bytes
            .inc_by(promised - std::mem::replace(&mut self.promised, promised));
        metrics.streams_opened.inc_by(counts.opened);
        metrics.lane_bytes.control.inc_by(counts.control);
        metrics.lane_bytes.young.inc_by(counts.young);
        metrics.lane_bytes.bulk.inc_by(counts.bulk);
        metrics.stream_stalls.credit.inc_by(counts.stalls.credit);
        metrics.stream_stalls.queue.inc_by(counts.stalls.queue);
        metrics.stream_stalls.socket.inc_by(counts.stalls.socket);
        for reason in counts.resets {
            metrics.stream_resets.inc(reason);
        }
    }
}

impl Tally {
    /// The link has ended, though some may still hold its streams: it is counted no more.
    pub fn close(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let metrics = &self.metrics;
        metrics.data_links.dec();
        metrics.streams.dec_by(self.streams);
        metrics.stream_queued_bytes.dec_by(self.queued);
        metrics.stream_window_bytes.dec_by(self.promised);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.close();
    }
}
