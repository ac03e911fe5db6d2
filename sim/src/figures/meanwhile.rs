//! Figures that have to agree at any moment, not at rest alone.

use adit::metrics::Metrics;

use super::{Page, signed};
use crate::{
    node::Node,
    oracle::uneven::Uneven,
    plan::{Plan, who::Who},
    world::World,
};

/// What does not agree on some node. One moment of that means nothing: a step may be half done.
pub fn uneven(world: &World, plan: &Plan) -> Option<Uneven> {
    plan.hosts().into_iter().find_map(|who| {
        let boot = world
            .node(who)
            .and_then(Node::boot)
            .filter(|boot| !boot.finished)?;
        let page = Page::of(&boot.metrics);
        let here = match who {
            Who::Server | Who::SecondServer => of_server(&page, &boot.metrics, plan),
            Who::Client(_) => of_client(&page, &boot.metrics, plan),
            _ => Vec::new(),
        };
        let off = |(_, is, (least, most)): &(&'static str, i64, (i64, i64))| is < least || is > most;
        let (what, is, should) = here.into_iter().find(off)?;
        Some(Uneven {
            who,
            what,
            is,
            should,
        })
    })
}

type Pair = (&'static str, i64, (i64, i64));

/// Whoever has left takes its series along, while its sessions may go on: then what is on targets is not judged.
fn of_server(page: &Page, metrics: &Metrics, plan: &Plan) -> Vec<Pair> {
    let clients: Vec<_> = (0..plan.clients.len()).collect();
    let are_all_here = page.gauge("group_targets") == plan.targets(&clients) as i64;
    let nobody_left = page.sum("links_lost", "") == 0 && (are_all_here || plan.forward.is_some());
    let on_targets = page.gauge("target_in_flight");
    let (requests, upgrades) = (metrics.http_open_requests.get(), metrics.http_upgrades.get());
    let mut all = vec![
        (
            "open requests of rules",
            page.gauge("http_rule_open_requests"),
            (requests, requests),
        ),
        (
            "upgrades of rules",
            page.gauge("http_rule_upgrades"),
            (upgrades, upgrades),
        ),
    ];
    if plan.forward.is_none() {
        let open = metrics.proxy_connections.get();
        all.push(("connections parked", metrics.pool_parked.get(), (0, open)));
    }
    let sessions = metrics.sessions.get();
    match (&plan.forward, &plan.web) {
        _ if !nobody_left => {}
        // A candidate that is just being dialled counts, and so does the next one beside it, where the first takes long.
        (Some(forward), _) => {
            let near = forward.candidates.iter().all(|one| one.far_ms == 0);
            let most = if near && plan.faults.is_empty() {
                sessions
            } else {
                i64::MAX
            };
            all.push(("sessions on candidates", on_targets, (0, most)));
        }
        (None, Some(_)) => all.push(("requests on targets", on_targets, (upgrades, requests + upgrades))),
        (None, None) => {
            let all_started = signed(page.sum("tries_failed", "")) == 0 && plan.faults.is_empty();
            let least = if all_started { sessions } else { 0 };
            all.push(("sessions on targets", on_targets, (least, sessions)));
        }
    }
    all
}

fn of_client(page: &Page, metrics: &Metrics, plan: &Plan) -> Vec<Pair> {
    let sessions = metrics.sessions.get();
    // An address that was dialled counts until it has answered, also when another one has its session, or it is over.
    let should = match plan.faults.is_empty() {
        true => (sessions, sessions),
        false => (0, i64::MAX),
    };
    vec![("sessions on addresses", page.gauge("target_in_flight"), should)]
}
