//! What a run counts: counters of its nodes, what its oracle has seen, and what was true for how many looks.

use std::time::Duration;

use super::Counts;
use crate::{
    event::Event,
    figures::Page,
    node::Node,
    oracle::{Sight, model::Model},
    plan::{Plan, who::Who},
    world::World,
};

/// Labels that tell kinds apart, not hosts.
const KINDS: [&str; 8] = [
    "direction",
    "event",
    "lane",
    "cause",
    "reason",
    "result",
    "status",
    "kind",
];

/// What is added up from look to look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looks {
    some_out: u64,
    door_out: u64,
    parked: i64,
    sessions: i64,
    streams: i64,
}

impl Looks {
    /// Adds one.
    pub fn add(&mut self, sight: &Sight) {
        self.some_out += u64::from(sight.uneven.count_ones());
        self.door_out += u64::from(sight.one_door.count_ones());
        self.parked += sight.parked;
        self.sessions += sight.sessions;
        self.streams += sight.streams;
    }
}

/// What the run of `plan` has counted, all lives of all nodes together.
pub fn counts(world: &World, plan: &Plan, model: &Model, looks: &Looks) -> Counts {
    let mut counts = Counts::default();
    let mut add = |name: &str, count: f64| *counts.sums.entry(name.to_owned()).or_default() += count;
    let clients = (0..plan.clients.len()).map(|n| ("client", Who::Client(n)));
    for (role, who) in [("server", Who::Server)].into_iter().chain(clients) {
        for boot in world.node(who).map(Node::boots).unwrap_or_default() {
            for (series, value) in Page::of(&boot.metrics).counters() {
                add(&format!("{role}/{}", kind(series)), value);
            }
        }
    }
    for session in model.sessions.values() {
        add("visitor/sessions", 1.0);
        add("visitor/tries-seen", session.seen_by.len() as f64);
        if let Some((at, _)) = session.greeted {
            add(
                "visitor/greeted-after-ms",
                (at - session.opened).as_millis() as f64,
            );
        }
        if let Some((at, _)) = session.ended {
            let took = (at - session.opened).min(Duration::from_secs(10));
            add("visitor/ended-after-ms", took.as_millis() as f64);
        }
    }
    for served in model.served.values() {
        add("upstream/connections", 1.0);
        if served.request.is_none() {
            add("upstream/connections-without-request", 1.0);
        }
        if served.door > 0 {
            add("upstream/connections-by-another-door", 1.0);
        }
    }
    add("looks/some-target-out", looks.some_out as f64);
    add("looks/some-door-out", looks.door_out as f64);
    for (name, sum) in [
        ("parked", looks.parked),
        ("sessions", looks.sessions),
        ("streams", looks.streams),
    ] {
        add(&format!("looks/{name}"), sum as f64);
    }
    counts
}

/// Adds what the events of a run say.
pub fn count_events(events: &[(Duration, Event)], counts: &mut Counts) {
    let mut add = |name: String, count: f64| *counts.sums.entry(name).or_default() += count;
    for (_, event) in events {
        match event {
            Event::Dials { .. } => add("event/dials".to_owned(), 1.0),
            Event::Connects { .. } => add("event/connects".to_owned(), 1.0),
            Event::TurnsAway { refused, in_vain, .. } => {
                add("event/refused".to_owned(), *refused as f64);
                add("event/in-vain".to_owned(), *in_vain as f64);
            }
            Event::Decides { change, reason, .. } => {
                add(format!("event/{change:?}-{reason:?}").to_lowercase(), 1.0)
            }
            _ => {}
        }
    }
}

/// A series without the labels that tell hosts apart.
fn kind(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else {
        return series.to_owned();
    };
    let labels = labels.trim_end_matches('}').split(',');
    let kinds = labels.filter(|label| label.split_once('=').is_some_and(|(key, _)| KINDS.contains(&key)));
    let kinds: Vec<_> = kinds.map(|label| label.replace(['"', ' '], "")).collect();
    match kinds.is_empty() {
        true => name.to_owned(),
        false => format!("{name}{{{}}}", kinds.join(",")),
    }
}
