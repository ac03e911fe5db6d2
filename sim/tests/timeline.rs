//! The page of a run: it has everything in it, and nothing in it can break out.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::time::Duration;

use adit_sim::{
    event::Event,
    oracle::{Class, Violation},
    plan::draw::scenario,
    runner::{self, Failure, Options, Report},
    timeline,
};
use serde_json::Value;

/// A command that makes a run again.
const COMMAND: &str = "adit-sim replay 1 --plant somebody-s-bug --trace";

fn run(name: &str) -> Report {
    let plan = (scenario(name).unwrap().draw)(1);
    runner::run(&plan, Options::default())
}

/// What stands between `from` and the next `to`.
fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let (_, rest) = page.split_once(from).expect("the page has it");
    rest.split_once(to).expect("and its end").0
}

fn data(page: &str) -> Value {
    let blob = between(page, r#"<script type="application/json" id="data">"#, "</script>");
    serde_json::from_str(blob).unwrap()
}

#[test]
fn every_host_and_event_is_there() {
    let report = run("smoke");
    let data = data(&timeline::page(&report, COMMAND));
    let lanes = data["hosts"].as_array().unwrap().iter();
    let mut lanes: Vec<_> = lanes
        .map(|host| host["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(lanes[..3], ["server", "client-1", "upstream-1"]);
    let mut hosts: Vec<_> = report.plan.hosts().iter().map(ToString::to_string).collect();
    lanes.sort();
    hosts.sort();
    assert_eq!(lanes, hosts);
    assert_eq!(data["events"].as_array().unwrap().len(), report.events.len());
    assert_eq!(data["faults"].as_array().unwrap().len(), report.plan.faults.len());
    assert_eq!(data["seed"], "1");
    assert_eq!(data["hash"], format!("{:016x}", report.digest.hash));
}

#[test]
fn what_is_told_is_told_in_words() {
    let report = run("web");
    let page = timeline::page(&report, COMMAND);
    let data = data(&page);
    assert_eq!(data["replay"], COMMAND);
    assert!(
        page.contains("One run of the simulated world."),
        "it says what one looks at"
    );
    for line in data["events"].as_array().unwrap() {
        let words = line["words"].as_str().unwrap();
        // Faults are spelt as in a plan file.
        let debug = [
            "Some(",
            "None",
            "AfterRequest",
            "HalfClose",
            "Visit {",
            "Session {",
        ];
        assert!(!debug.iter().any(|debug| words.contains(debug)), "{words}");
    }
}

#[test]
fn a_group_has_one_name() {
    let report = run("web");
    let data = data(&timeline::page(&report, COMMAND));
    let hosts = data["hosts"].as_array().unwrap();
    for (n, group) in report.plan.clients.iter().enumerate() {
        let client = hosts
            .iter()
            .find(|host| host["name"] == format!("client-{}", n + 1));
        assert_eq!(client.unwrap()["about"], format!("serves group-{}", group + 1));
    }
    let mut events = data["events"].as_array().unwrap().iter();
    let opens = events.find(|line| line["event"]["opens"].is_object()).unwrap();
    let group = opens["event"]["opens"]["visit"]["group"].as_u64().unwrap();
    let words = opens["words"].as_str().unwrap();
    assert!(words.contains(&format!("asks group-{},", group + 1)), "{words}");
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let page = timeline::page(&run("smoke"), COMMAND);
    for outside in ["http://", "https://", "src=", "@import", "url(", "fetch("] {
        assert!(!page.contains(outside), "{outside}");
    }
    // Two scripts: the data, and what reads it.
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    for mark in ["{{title}}", "{{style}}", "{{data}}", "{{script}}"] {
        assert!(!page.contains(mark), "{mark} was not replaced");
    }
}

#[test]
fn words_of_a_run_stay_words() {
    let hostile = r#"</script><script>alert("1")</script><!-- {{style}} & <b>"#;
    let mut report = run("calm");
    report.plan.scenario = "</title><b>".to_owned();
    let violation = Violation {
        invariant: 1,
        class: Class::Correctness,
        what: hostile.to_owned(),
    };
    let broken = Event::Broken {
        invariant: 1,
        what: hostile.to_owned(),
    };
    report.events.push((Duration::from_secs(60), broken));
    report.failure = Some(Failure {
        violation,
        sockets: vec![hostile.to_owned()],
    });
    let page = timeline::page(&report, COMMAND);
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    assert_eq!(between(&page, "<title>", "</title>"), "&lt;/title>&lt;b> seed 1");
    let data = data(&page);
    assert_eq!(data["failure"]["violation"]["what"], hostile);
    assert_eq!(data["failure"]["sockets"][0], hostile);
    let last = data["events"].as_array().unwrap().last().unwrap();
    assert_eq!(last["event"]["broken"]["what"], hostile);
    assert_eq!(last["place"], "oracle");
    assert_eq!(last["words"], format!("invariant 1 broken: {hostile}"));
}
