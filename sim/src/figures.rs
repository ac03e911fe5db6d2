//! What nodes count, as it has to add up when everybody has gone home.

use adit::metrics::Metrics;

use crate::{
    node::Boot,
    plan::{Plan, who::Who},
    world::World,
};

/// One figure: what it is of, what it is, and what it should be at least and at most.
pub type Figure = (String, i64, (i64, i64));

/// The figures of the nodes that run at rest, and what they make of each other.
pub fn figures(world: &World, plan: &Plan, probed: i64) -> Vec<Figure> {
    let Some(server) = world.node(Who::Server).and_then(|node| node.boot()) else {
        return Vec::new();
    };
    let count = |counter, label: &str| signed(sum(&server.metrics, counter, label));
    let mut all = Vec::new();
    for direction in ["up", "down"] {
        let label = format!("direction=\"{direction}\"");
        let bytes = count("bytes", &label);
        let entries = count("entry_bytes", &label);
        all.push((format!("bytes {direction} of entries"), entries, (bytes, bytes)));
        if plan.forward.is_none() {
            let clients = count("client_bytes", &label);
            // What a client carried before it left is forgotten.
            all.push((format!("bytes {direction} of clients"), clients, (0, bytes)));
        }
    }
    let visitors = count("visitors", "");
    let of_entries = count("entry_visitors", "");
    all.push(("visitors of entries".to_owned(), of_entries, (visitors, visitors)));
    if plan.forward.is_none() {
        clients(world, plan, &server, probed, &mut all);
    }
    all
}

/// What the clients say of themselves that are registered.
fn clients(world: &World, plan: &Plan, server: &Boot, probed: i64, all: &mut Vec<Figure>) {
    let mut sums = [0; 3];
    let mut sent = 0;
    let nodes = (0..plan.clients.len()).filter_map(|n| world.node(Who::Client(n)));
    for boot in nodes.flat_map(|node| node.boots()) {
        sent += beats(&boot.metrics, "sent");
    }
    for n in plan.registered() {
        let who = Who::Client(n);
        let Some(boot) = world.node(who).and_then(|node| node.boot()) else {
            continue;
        };
        let metrics = &boot.metrics;
        all.push((format!("links of {who}"), metrics.links.get(), (1, 1)));
        all.push((
            format!("answers to heartbeats at {who}"),
            beats(metrics, "answered"),
            (1, beats(metrics, "sent")),
        ));
        let gauges = [&metrics.proxy_connections, &metrics.data_links, &metrics.streams];
        for (sum, gauge) in sums.iter_mut().zip(gauges) {
            *sum += gauge.get();
        }
    }
    let metrics = &server.metrics;
    let gauges = [&metrics.proxy_connections, &metrics.data_links, &metrics.streams];
    let names = ["proxy connections", "data links", "streams"];
    for ((name, sum), gauge) in names.into_iter().zip(sums).zip(gauges) {
        let here = gauge.get();
        all.push((
            format!("{name} at the clients"),
            sum,
            (here - probed, here + probed),
        ));
    }
    // Strangers send some, too.
    let most = if plan.strangers.is_empty() { sent } else { i64::MAX };
    all.push((
        "heartbeats answered by the server".to_owned(),
        beats(metrics, "answered"),
        (1, most),
    ));
}

/// How many heartbeats have that event.
fn beats(metrics: &Metrics, event: &str) -> i64 {
    signed(sum(metrics, "heartbeats", &format!("event=\"{event}\"")))
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Bytes of sessions up and down, over all lives of a node.
pub fn bytes(boots: &[Boot]) -> (u64, u64) {
    let way = |label| boots.iter().map(|boot| sum(&boot.metrics, "bytes", label)).sum();
    (way("direction=\"up\""), way("direction=\"down\""))
}

/// The sum of a counter over all series of a node that have `label`.
pub fn sum(metrics: &Metrics, counter: &str, label: &str) -> u64 {
    let text = metrics.encode();
    let of_it = |line: &str| {
        let rest = line
            .strip_prefix("adit_")?
            .strip_prefix(counter)?
            .strip_prefix("_total")?;
        let (series, value) = rest.rsplit_once(' ')?;
        let is_it = (series.is_empty() || series.starts_with('{')) && series.contains(label);
        is_it.then(|| value.parse::<u64>().ok())?
    };
    text.lines().filter_map(of_it).sum()
}
