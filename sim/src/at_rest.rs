//! What a world that has come to rest shows of itself.

use adit::files::Output;

use crate::{
    figures::{bytes, figures, limits, sum},
    node::{ACCESS_LOG, Boot, Node, group_name},
    oracle::rest::Rest,
    plan::{Plan, who::Who},
    world::World,
};

/// What there is when everybody has gone home.
pub fn rest(world: &World, plan: &Plan, failed_before: u64) -> Rest {
    let Some(node) = world.node(Who::Server) else {
        return Rest::default();
    };
    let boots = node.boots();
    let Some(last) = boots.last() else {
        return Rest::default();
    };
    let (metrics, expected) = (&last.metrics, plan.registered());
    let parked = metrics.pool_parked.get();
    let clients = expected.len() as i64;
    let nodes = expected
        .iter()
        .filter_map(|n| world.node(Who::Client(*n))?.boot());
    let at_clients: i64 = nodes.map(|boot| boot.net.open()).sum();
    let links = metrics.data_links.get();
    let at_server = clients + parked + links;
    let at_upstreams = plan
        .core()
        .iter()
        .map(|n| world.upstreams()[*n].open() as i64)
        .sum();
    let groups: Vec<_> = (0..plan.groups())
        .map(|group| metrics.groups.join(&group_name(group)))
        .collect();
    let targets = groups.iter().map(|group| group.targets.get()).sum();
    let active = groups.iter().map(|group| group.active.get()).sum();
    // Each target may be being probed, on a connection that is not parked meanwhile.
    let probed = match &plan.forward {
        None if plan.knobs.is_always_probing(plan.targets(&expected)) => plan.targets(&expected) as i64,
        None => 0,
        // Or being dialled, for one that has grown old.
        Some(_) => plan.core().len() as i64,
    };
    // A pool that may be no larger than it should be is filled up only when the probe that holds one of its connections is
    // over.
    let tight = plan.forward.is_none() && plan.knobs.pool_max <= plan.knobs.pool_min;
    let held = if tight { probed } else { 0 };
    let but_for_probes = |is: i64, should: i64| is - (is - should).clamp(0, probed);
    // What a forwarder keeps warm is open at its upstreams as well.
    let warm = if plan.forward.is_some() { parked } else { 0 };
    let baseline = [
        ("sessions", metrics.sessions.get(), 0),
        ("requests", metrics.http_open_requests.get(), 0),
        ("upgraded connections", metrics.http_upgrades.get(), 0),
        ("replay bytes", metrics.replay_bytes.get(), 0),
        ("unproven connections", metrics.connections_unproven.get(), 0),
        (
            "streams of data links",
            but_for_probes(metrics.streams.get(), 0),
            0,
        ),
        ("bytes queued on data links", metrics.stream_queued_bytes.get(), 0),
        ("bytes of widened windows", metrics.stream_window_bytes.get(), 0),
        (
            "streams at the server",
            but_for_probes(last.net.open(), at_server),
            at_server,
        ),
        (
            "streams at the clients",
            but_for_probes(at_clients, at_server - warm),
            at_server - warm,
        ),
        ("targets of groups", targets, plan.targets(&expected) as i64),
        (
            "connections at the upstreams",
            but_for_probes(at_upstreams, warm),
            warm,
        ),
    ];
    Rest {
        done: (world.done(), plan.visitors.len() + plan.strangers.len()),
        registered: (
            usize::try_from(metrics.clients.get()).unwrap_or(0),
            expected.len(),
        ),
        parked,
        parked_min: (i64::try_from(plan.knobs.pool_min.min(plan.knobs.pool_max) * expected.len())
            .unwrap_or(i64::MAX)
            - held)
            .max(0),
        links,
        baseline: baseline
            .map(|(what, is, should)| (what.to_owned(), is, should))
            .into_iter()
            .chain(limits(metrics))
            .collect(),
        books: (metrics.visitors.get(), sum(metrics, "session_outcomes")),
        replays_ambiguous: boots
            .iter()
            .map(|boot| match plan.web {
                Some(_) => boot.metrics.http_retries.get(),
                None => boot.metrics.replays_ambiguous.get(),
            })
            .sum(),
        log: node.files.written(&Output::File(ACCESS_LOG.into())),
        lines_lost: boots
            .iter()
            .map(|boot| boot.metrics.access_lines_lost.get())
            .sum(),
        violations: all_boots(world, plan)
            .iter()
            .map(|boot| boot.metrics.violations.get())
            .sum(),
        active: (active, plan.targets(&plan.core()) as i64),
        figures: figures(world, plan, probed),
        bytes: bytes(&boots),
        completed_at_clients: completed_at_clients(world, plan),
        tries_failed: tries_failed(world).saturating_sub(failed_before),
        visitors: boots
            .iter()
            .map(|boot| match plan.web {
                Some(_) => sum(&boot.metrics, "http_answers"),
                None => boot.metrics.visitors.get(),
            })
            .sum(),
    }
}

fn completed_at_clients(world: &World, plan: &Plan) -> u64 {
    let nodes = (0..plan.clients.len()).filter_map(|n| world.node(Who::Client(n)));
    let boots = nodes.flat_map(Node::boots);
    boots
        .map(|boot| boot.metrics.session_outcomes.count("completed"))
        .sum()
}

fn all_boots(world: &World, plan: &Plan) -> Vec<Boot> {
    let nodes = plan.hosts().into_iter().filter_map(|who| world.node(who));
    nodes.flat_map(Node::boots).collect()
}

/// How many tries the last server has seen fail.
pub fn tries_failed(world: &World) -> u64 {
    let boot = world.node(Who::Server).and_then(Node::boot);
    boot.map_or(0, |boot| sum(&boot.metrics, "tries_failed"))
}
