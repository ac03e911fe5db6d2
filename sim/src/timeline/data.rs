//! What the page knows of a run. Whatever may be larger than a number of JavaScript is text.

use std::time::Duration;

use serde_json::{Value, json};

use super::touch::Touch;
use crate::{
    event::Event,
    fault::{Family, Fault},
    node::{CONTROL_PORT, PROXY_PORT, PUBLIC_PORT, group_name},
    oracle::model::SETTLE,
    plan::{Plan, who::Who},
    runner::{Failure, Report},
    upstream,
};

/// The whole of it; `command` makes the run again.
pub fn of(report: &Report, command: &str) -> Value {
    let Report { plan, digest, .. } = report;
    // Simulated kernels count their packets; the other engine has none to count.
    let engine = if digest.packets > 0 { "packets" } else { "stock" };
    let faults = plan.faults.iter().map(|one| fault(plan, one));
    json!({
        "scenario": plan.scenario,
        "seed": plan.seed.to_string(),
        "planted": plan.planted,
        "engine": engine,
        "hash": format!("{:016x}", digest.hash),
        "entries": digest.entries,
        "packets": digest.packets,
        "tally": {
            "complete": report.tally.complete,
            "left": report.tally.left,
            "broken": report.tally.broken,
            "repeated": report.tally.repeated,
        },
        "healed_after_ms": report.healed_after.map(millis),
        "took_ms": millis(report.took),
        "duration_ms": plan.duration_ms,
        "heal_ms": plan.heal_ms,
        "settle_ms": millis(SETTLE),
        "exit_code": report.exit_code(),
        "failure": report.failure.as_ref().map(failure),
        "replay": command,
        "ports": {
            CONTROL_PORT.to_string(): "control",
            PROXY_PORT.to_string(): "proxy",
            PUBLIC_PORT.to_string(): "visit",
            upstream::PORT.to_string(): "service",
            upstream::SPARE_PORT.to_string(): "service",
        },
        "knobs": plan.knobs,
        "families": Family::ALL.iter().map(|family| family.name()).collect::<Vec<_>>(),
        "hosts": lanes(plan).map(|who| host(plan, who)).collect::<Vec<_>>(),
        "faults": faults.collect::<Vec<_>>(),
        "events": report.events.iter().map(|(at, event)| line(*at, event)).collect::<Vec<_>>(),
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Every host, from the top: each upstream below its client.
fn lanes(plan: &Plan) -> impl Iterator<Item = Who> {
    let mut hosts = plan.hosts();
    hosts.sort_by_key(|who| match *who {
        Who::Server => (0, 0, 0),
        Who::SecondServer => (0, 1, 0),
        Who::Client(n) => (1, n, 0),
        Who::Upstream(n) => (1, n, 1),
        Who::Visitor(n) => (2, n, 0),
        Who::Stranger(n) => (3, n, 0),
    });
    hosts.into_iter()
}

fn host(plan: &Plan, who: Who) -> Value {
    let (role, about) = match who {
        Who::Server => ("server", None),
        Who::SecondServer => ("server", Some("no visitor comes here".to_owned())),
        Who::Client(n) => ("client", Some(format!("serves {}", group_name(plan.clients[n])))),
        Who::Upstream(n) => ("upstream", Some(format!("the service behind {}", Who::Client(n)))),
        Who::Visitor(_) => ("visitor", None),
        Who::Stranger(_) => ("stranger", None),
    };
    let deed = match who {
        Who::Stranger(n) => Some(plan.strangers[n].deed),
        _ => None,
    };
    json!({ "name": who, "role": role, "about": about, "deed": deed })
}

fn fault(plan: &Plan, fault: &Fault) -> Value {
    let Touch { at, beside } = Touch::of(plan, &fault.act);
    json!({
        "from_ms": fault.from_ms,
        "to_ms": fault.to_ms,
        "name": fault.act.name(),
        "family": fault.act.family().name(),
        "act": fault.act,
        "at": at,
        "beside": beside,
    })
}

fn failure(failure: &Failure) -> Value {
    let Failure { violation, sockets } = failure;
    json!({ "violation": violation, "sockets": sockets })
}

/// An event, and the words of the trace for it.
fn line(at: Duration, event: &Event) -> Value {
    let (place, words) = (event.place(), event.to_string());
    json!({
        "at": at.as_secs_f64(),
        "words": words.strip_prefix(&place).unwrap_or(&words).trim_start(),
        "place": place,
        "event": event,
    })
}
