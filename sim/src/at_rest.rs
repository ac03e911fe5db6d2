//! What a world that has come to rest shows of itself.

use std::time::Duration;

use adit::{files::Output, probe};

use crate::{
    event::{Event, Oddity},
    figures::{answers, bytes, figures, limits, start_seconds, sum, under_way, vain},
    node::{ACCESS_LOG, Boot, Node, group_name},
    oracle::{Oracle, rest::Rest, still::TROUBLE},
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
    let second = world.node(Who::SecondServer).and_then(Node::boot);
    let second = second.map(|boot| (boot.net.open(), boot.metrics));
    let (at_second, second) = second.as_ref().map_or((0, None), |(open, second)| {
        let ready = second.pool_parked.get() + second.data_links.get();
        (clients + ready, Some((*open, second)))
    });
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
    let but_for = |each: i64, is: i64, should: i64| is - (is - should).clamp(0, each * probed);
    let but_for_probes = |is: i64, should: i64| but_for(1, is, should);
    // What a forwarder keeps warm is open at its upstreams as well.
    let warm = if plan.forward.is_some() { parked } else { 0 };
    let baseline = [
        (
            "streams of data links",
            but_for_probes(metrics.streams.get(), 0),
            0,
        ),
        (
            "streams at the server",
            but_for_probes(last.net.open(), at_server),
            at_server,
        ),
        (
            "streams at the clients",
            // A probe has a connection to the service as well.
            but_for(2, at_clients, at_server + at_second - warm),
            at_server + at_second - warm,
        ),
        ("targets of groups", targets, plan.targets(&expected) as i64),
        (
            "connections at the upstreams",
            but_for_probes(at_upstreams, warm),
            warm,
        ),
    ];
    let at_clients = expected.iter().flat_map(|n| {
        let who = Who::Client(*n);
        let boot = world.node(who).and_then(|node| node.boots().pop());
        let gauges = boot.map(|boot| under_way(who, &boot.metrics)).unwrap_or_default();
        // A probe is a session to whoever serves it.
        let but_for_probes = |(what, is, should)| (what, but_for_probes(is, should), should);
        gauges.into_iter().map(but_for_probes)
    });
    // What a probe has under way on a data link is no stream's that should be over.
    let of_probes = |what: &str| probed > 0 && what.starts_with("adit_stream_");
    let all = under_way(Who::Server, metrics).into_iter().chain(at_clients);
    let full = plan.knobs.pool_min.min(plan.knobs.pool_max) as i64 * clients;
    let of_second = second.into_iter().flat_map(|(open, metrics)| {
        let gauges = under_way(Who::SecondServer, metrics);
        gauges.into_iter().chain([
            (
                "clients at the second server".to_owned(),
                metrics.clients.get(),
                clients,
            ),
            ("streams at the second server".to_owned(), open, at_second),
            (
                "empty places in the pools of the second server".to_owned(),
                (full - metrics.pool_parked.get()).max(0),
                0,
            ),
        ])
    });
    let all = all.chain(of_second);
    let gauges: Vec<_> = all.filter(|(what, ..)| !of_probes(what)).collect();
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
            .chain(gauges)
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
        answers: answers(&boots),
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
        start_seconds: start_seconds(&boots),
        completed_at_clients: completed_at_clients(world, plan),
        marked: TROUBLE
            .iter()
            .copied()
            .filter(|name| probe::is_marked(name))
            .collect(),
        vain: vain(all_boots(world, plan).iter()),
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

/// Between two looks at a world.
pub const LOOK: Duration = Duration::from_millis(50);

/// Tells everybody who is well to stop, the clients first: whoever carries nothing is soon gone.
pub fn say_farewell(world: &mut World, plan: &Plan, oracle: &Oracle) {
    let Some(gone) = plan.knobs.gone_ms().map(Duration::from_millis) else {
        return;
    };
    let delay = Duration::from_millis(plan.knobs.drain_delay_ms);
    if plan.forward.is_none() {
        let clients: Vec<_> = plan.core().into_iter().map(Who::Client).collect();
        see_off(world, oracle, &clients, gone + delay);
    }
    see_off(world, oracle, &[Who::Server, Who::SecondServer], gone + delay);
}

fn see_off(world: &mut World, oracle: &Oracle, nodes: &[Who], at_most: Duration) {
    let mut there: Vec<_> = nodes
        .iter()
        .copied()
        .filter(|who| world.tell_to_stop(*who))
        .collect();
    let deadline = oracle.now() + at_most;
    while !there.is_empty() && oracle.verdict().is_none() && oracle.now() < deadline {
        world.run_until(oracle.now() + LOOK);
        there.retain(|who| {
            let boot = world.node(*who).and_then(Node::boot);
            boot.is_some_and(|boot| !boot.finished)
        });
        world.reap();
    }
    for place in there {
        oracle.tell(Event::Odd {
            place,
            session: None,
            what: Oddity::GoesOn(format!(
                "was told to stop at rest, and is still there after {at_most:?}"
            )),
        });
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
