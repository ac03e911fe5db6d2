//! Figures that are counted in two places of one node, and have to be the same in both.

use adit::metrics::Metrics;

use super::{Page, signed};
use crate::{
    node::Node,
    oracle::rest::Figure,
    plan::{Plan, who::Who},
    world::World,
};

/// What each node that runs at rest says twice. So many targets may be being probed.
pub fn pairs(world: &World, plan: &Plan, probed: i64) -> Vec<Figure> {
    let mut all = Vec::new();
    let registered = plan.registered();
    for who in plan.hosts() {
        let Some(boot) = world.node(who).and_then(Node::boot) else {
            continue;
        };
        let page = Page::of(&boot.metrics);
        let here = match who {
            Who::Server if plan.forward.is_some() => of_forwarder(&page, &boot.metrics),
            Who::Server | Who::SecondServer => of_server(&page, &boot.metrics, probed),
            Who::Client(n) if registered.contains(&n) => of_client(&page, &boot.metrics),
            _ => Vec::new(),
        };
        all.extend(
            here.into_iter()
                .map(|(what, is, should)| (format!("{what} of {who}"), is, should)),
        );
    }
    all
}

fn exactly(what: &str, is: i64, should: i64) -> Figure {
    (what.to_owned(), is, (should, should))
}

fn of_server(page: &Page, metrics: &Metrics, probed: i64) -> Vec<Figure> {
    let count = |counter, label: &str| signed(page.sum(counter, label));
    let lost = count("links_lost", "");
    let (discarded, open) = (count("pool_discarded", ""), metrics.proxy_connections.get());
    let dialled = count("pool_dials", "result=\"ok\"");
    let in_force = metrics.links.get();
    vec![
        exactly("registrations", count("registrations", ""), lost + in_force),
        exactly("links", in_force, metrics.clients.get()),
        // One that is just being replaced is counted by one of the two already.
        (
            "connections that were brought to the pool".to_owned(),
            dialled,
            (discarded + open - probed, discarded + open + probed),
        ),
        exactly(
            "requests of rules",
            count("http_rule_requests", ""),
            page.totals(),
        ),
    ]
}

fn of_client(page: &Page, metrics: &Metrics) -> Vec<Figure> {
    let count = |counter, label: &str| signed(page.sum(counter, label));
    let lost = count("links_lost", "");
    vec![exactly(
        "registrations",
        count("registrations", ""),
        lost + metrics.links.get(),
    )]
}

fn of_forwarder(page: &Page, metrics: &Metrics) -> Vec<Figure> {
    let count = |counter, label: &str| signed(page.sum(counter, label));
    let dialled = count("pool_dials", "result=\"ok\"");
    let gone = count("pool_hits", "") + count("pool_discarded", "");
    vec![(
        "connections that the pool has used up or keeps".to_owned(),
        gone + metrics.pool_parked.get(),
        (0, dialled),
    )]
}
