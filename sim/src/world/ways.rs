//! What the upstreams of a plan are like.

use std::time::Duration;

use crate::{
    plan::{Millis, Plan},
    upstream::{Site, Ways},
};

/// How an upstream of `plan` always is.
pub(super) fn ways(plan: &Plan, upstream: usize) -> Ways {
    /// Longer than any run.
    const NEVER: Duration = Duration::from_secs(86_400);
    let candidate = plan
        .forward
        .as_ref()
        .and_then(|forward| forward.candidates.get(upstream));
    if let Some(web) = &plan.web {
        return Ways {
            site: Some(Site {
                group: plan.clients[upstream],
                idle_ms: web.idle_ms,
                refuses_one_in: web.refuses_one_in,
            }),
            ..Ways::default()
        };
    }
    let of_tunnel = || Ways {
        speaks_first: !plan.knobs.probe_http,
        further: plan.offers_of(upstream).count(),
        ..Ways::default()
    };
    candidate.map_or_else(of_tunnel, |candidate| Ways {
        site: None,
        further: 0,
        speaks_first: candidate.speaks_first,
        idle: Some(match candidate.idle_ms {
            0 => NEVER,
            ms => Duration::from_millis(ms),
        }),
    })
}

/// The candidates of `plan` that are far away: from when on, which, and how far, the last first.
pub(super) fn far(plan: &Plan) -> Vec<(Duration, usize, Millis)> {
    let candidates = plan.forward.iter().flat_map(|forward| &forward.candidates);
    let far = candidates.enumerate().filter(|(_, one)| one.far_ms > 0);
    let mut far: Vec<_> = far
        .map(|(n, one)| (Duration::from_millis(one.far_from_ms), n, one.far_ms))
        .collect();
    far.sort_by_key(|(from, n, _)| std::cmp::Reverse((*from, *n)));
    far
}
