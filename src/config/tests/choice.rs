//! `balance`, `selector`, `probing`, `scoring`, `pools`, `admin` and `metrics`: the same in every role.

use super::*;
use crate::{
    admin::needs::Needs,
    pool::Mode,
    prober::{CandidateCount, Kind},
};

/// The group `g` of a server, with these keys.
fn group(keys: &str) -> Result<Checked<GroupConfig>, ConfigError> {
    let text = format!("public: {{ group: g }}\ngroups:\n  g:\n    {keys}\n");
    let source = source(&text, Format::Yaml)?;
    let checked = build_server(&source, &ServerFlags::default(), &with_token)?;
    let group = checked.config.groups[&GroupName::new("g").unwrap()].clone();
    Ok(Checked::new(group, checked.warnings))
}

/// What a group of keys comes to; without a warning.
#[track_caller]
fn good(keys: &str) -> GroupConfig {
    let checked = group(keys).unwrap();
    assert_eq!(checked.warnings, [""; 0]);
    checked.config
}

#[track_caller]
fn bad(keys: &str, expected: &str) {
    says(group(keys), &format!("f.yaml:4: key `groups.g.{expected}"));
}

#[test]
fn every_strategy_has_its_word() {
    let check = |word: &str, expected| assert_eq!(good(&format!("balance: {word}")).balance, expected);
    check("random", Strategy::Random);
    check("round_robin", Strategy::RoundRobin);
    check("weighted", Strategy::Weighted);
    check("least_connections", Strategy::LeastConnections);
    check("p2c", Strategy::PowerOfTwo);
    check("peak_ewma", Strategy::PeakEwma);
    check("consistent_hash", Strategy::ConsistentHash);
    bad(
        "balance: least_conections",
        "balance`: expected one of random, round_robin, weighted, least_connections, p2c, peak_ewma, \
         consistent_hash, found \"least_conections\": did you mean `least_connections`?",
    );
}

#[test]
fn every_key_arrives() {
    let group = good(
        "{ selector: { evaluation_interval: 1s, active_set_size: 3, min_score_threshold: 12.5, slow_start: 2s,\n\
         \x20   switching: { hysteresis: 25%, min_dwell: 3s, cooldown: 4s, hold_off: 5s } },\n\
         \x20   probing: { interval: 6s, timeout: 5s, probe_candidate_count: 7, kind: http, path: /a?b, status: 204,\n\
         \x20   host: \"example.com:80\" },\n\
         \x20   scoring: { half_life: 8s, failure_penalty: 9s, reference: 10ms },\n\
         \x20   pools: { mode: dynamic, min: 11, max: 12, max_age: 13s, scaling: { window: 14s } } }",
    );
    let seconds = Duration::from_secs;
    let selector = selector::Options {
        evaluation_interval: seconds(1),
        active_set_size: Some(3),
        min_score_threshold: 12.5,
        switching: selector::Switching {
            hysteresis: 0.25,
            min_dwell: seconds(3),
            cooldown: seconds(4),
            hold_off: seconds(5),
        },
        slow_start: seconds(2),
    };
    assert_eq!(group.selector, selector);
    let kind = Kind::Http {
        path: "/a?b".to_owned(),
        status: Some(204),
        host: Some("example.com:80".to_owned()),
    };
    let probing = prober::Options {
        interval: seconds(6),
        timeout: seconds(5),
        candidate_count: CandidateCount::Fixed(7),
        kind,
    };
    assert_eq!(group.probing, probing);
    let scoring = prober::Scoring {
        half_life: seconds(8),
        failure_penalty: seconds(9),
        reference: Some(Duration::from_millis(10)),
    };
    assert_eq!(group.scoring, scoring);
    let pool = pool::Options {
        mode: Mode::Dynamic,
        min: 11,
        max: 12,
        max_age: Some(seconds(13)),
        scaling_window: seconds(14),
    };
    assert_eq!(group.pool, pool);
}

#[test]
fn words_stand_for_numbers() {
    let group = good(
        "{ selector: { active_set_size: all }, probing: { probe_candidate_count: auto, kind: off },\n\
         \x20   scoring: { reference: median }, pools: { max_age: never, mode: fixed, min: 0 } }",
    );
    assert_eq!(group.selector.active_set_size, None);
    assert_eq!(group.probing.candidate_count, CandidateCount::Auto);
    assert_eq!(group.probing.kind, Kind::Off);
    assert_eq!(group.scoring.reference, None);
    assert_eq!((group.pool.max_age, group.pool.min), (None, 0));
    for (text, share) in [("0.2", 0.2), ("20%", 0.2), ("0", 0.0), ("100 %", 1.0), ("1", 1.0)] {
        let group = good(&format!("selector: {{ switching: {{ hysteresis: {text} }} }}"));
        assert_eq!(group.selector.switching.hysteresis, share, "{text}");
    }
}

#[test]
fn shares_scores_and_counts_have_bounds() {
    for (text, found) in [
        ("120%", "\"120%\""),
        ("1.5", "the number 1.5"),
        ("x", "\"x\""),
        ("nan", "\"nan\""),
    ] {
        bad(
            &format!("selector: {{ switching: {{ hysteresis: {text} }} }}"),
            &format!(
                "selector.switching.hysteresis`: expected a share from `0%` to `100%`, like `20%` or `0.2`, \
                 found {found}"
            ),
        );
    }
    for (text, found) in [("101", "the number 101"), ("high", "\"high\"")] {
        bad(
            &format!("selector: {{ min_score_threshold: {text} }}"),
            &format!("selector.min_score_threshold`: expected a number from 0 to 100, found {found}"),
        );
    }
    bad(
        "selector: { active_set_size: 0 }",
        "selector.active_set_size`: expected a whole number of at least 1, or `all`, found the number 0",
    );
    bad(
        "selector: { active_set_size: 1.5 }",
        "selector.active_set_size`: expected a whole number of at least 1, or `all`, found the number 1.5",
    );
    bad(
        "probing: { probe_candidate_count: many }",
        "probing.probe_candidate_count`: expected a whole number of at least 1, or `auto`, found \"many\"",
    );
    bad("pools: { max: 0 }", "pools.max`: expected at least 1, found 0");
    bad("pools: { min: 9, max: 8 }", "pools`: min (9) is above max (8)");
    bad("pools: { min: 4097 }", "pools`: min (4097) is above max (4096)");
}

#[test]
fn durations_have_bounds() {
    let short = |keys: &str, key: &str, least: &str| {
        bad(keys, &format!("{key}`: expected {least} to 1day, found 0s"));
    };
    short("probing: { interval: 0s }", "probing.interval", "100ms");
    short("probing: { timeout: 0s }", "probing.timeout", "10ms");
    short("scoring: { half_life: 0s }", "scoring.half_life", "100ms");
    short("scoring: { reference: 0s }", "scoring.reference", "1ms");
    short(
        "selector: { evaluation_interval: 0s }",
        "selector.evaluation_interval",
        "100ms",
    );
    short("pools: { max_age: 0s }", "pools.max_age", "1s");
    short("pools: { scaling: { window: 0s } }", "pools.scaling.window", "1s");
    bad(
        "pools: { max_age: soon }",
        "pools.max_age`: expected a duration like `90s`, or `never`, found \"soon\"",
    );
    bad(
        "pools: { max_age: 90 }",
        "pools.max_age`: expected a duration like `90s`, or `never`, found the number 90",
    );
    bad(
        "scoring: { reference: fast }",
        "scoring.reference`: expected a duration like `30ms`, or `median`, found \"fast\"",
    );
}

#[test]
fn probes_cannot_smuggle() {
    bad("probing: { path: /a }", "probing.path`: only for `kind: http`");
    bad(
        "probing: { kind: tcp, status: 200 }",
        "probing.status`: only for `kind: http`",
    );
    bad(
        "probing: { kind: off, host: a }",
        "probing.host`: only for `kind: http`",
    );
    bad(
        "probing: { kind: http, path: health }",
        "probing.path`: expected a path like `/health`, found \"health\"",
    );
    bad(
        "probing: { kind: http, path: \"/a HTTP/1.1\\r\\nX: y\" }",
        "probing.path`: expected a path like `/health`, found \"/a HTTP/1.1\\r\\nX: y\"",
    );
    bad(
        "probing: { kind: http, host: \"a\\r\\nX: y\" }",
        "probing.host`: expected a host like `example.com`, found \"a\\r\\nX: y\"",
    );
    bad(
        "probing: { kind: http, status: 99 }",
        "probing.status`: expected a status from 100 to 599, found 99",
    );
    bad(
        "probing: { kind: icmp }",
        "probing.kind`: expected one of tcp, http, off, found \"icmp\"",
    );
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let warns = |keys: &str, expected: &str| assert_eq!(group(keys).unwrap().warnings, [expected]);
    warns(
        "probing: { interval: 1s }",
        "f.yaml:4: `groups.g.probing.timeout`: 2s is longer than `interval`, 1s: probes overlap",
    );
    warns(
        "pools: { scaling: { window: 1s } }",
        "f.yaml:4: `groups.g.pools.scaling.window` has no effect without `mode: dynamic`",
    );
    assert_eq!(
        good("probing: { interval: 1s, kind: off }").probing.kind,
        Kind::Off
    );
}

#[test]
fn a_typo_names_the_nearest_key() {
    says(
        group("selector: { switching: { cool_down: 1s } }"),
        "f.yaml:4: unknown key `groups.g.selector.switching.cool_down`, did you mean `cooldown`?",
    );
    says(
        group("probing: { probe_candidates_count: 1 }"),
        "f.yaml:4: unknown key `groups.g.probing.probe_candidates_count`, did you mean `probe_candidate_count`?",
    );
}

#[test]
fn upstreams_take_the_same_keys() {
    let upstream = |keys: &str| {
        let text = format!(
            "client_id: a\nservers: [127.0.0.1]\nupstreams:\n  - {{ name: u, targets: [\"1\", \"2\"], {keys} }}\n"
        );
        yaml_client(&text).map(|checked| checked.config.upstreams[0].clone())
    };
    let built = upstream("balance: p2c, pools: { min: 1 }, probing: { kind: off }").unwrap();
    assert_eq!(built.choice.balance, Strategy::PowerOfTwo);
    assert_eq!(built.choice.probing.kind, Kind::Off);
    let pool = built.choice.pool;
    assert_eq!((pool.mode, pool.min, pool.max), (Mode::Dynamic, 1, 64));
    assert!(upstream("balance: random").unwrap().choice.pool.keeps_none());
    assert!(!upstream("pools: {}").unwrap().choice.pool.keeps_none());
    says(
        upstream("pools: { min: 65 }"),
        "f.yaml:4: key `upstreams[0].pools`: min (65) is above max (64)",
    );
    says(
        upstream("scoring: { half_live: 1s }"),
        "f.yaml:4: unknown key `upstreams[0].scoring.half_live`, did you mean `half_life`?",
    );
}

#[test]
fn addresses_of_upstreams_may_weigh() {
    let targets = |list: &str| {
        let text =
            format!("client_id: a\nservers: [127.0.0.1]\nupstreams:\n  - {{ name: u, targets: [{list}] }}\n");
        yaml_client(&text).map(|checked| checked.config.upstreams[0].targets.clone())
    };
    let heavy = Candidate {
        weight: 3,
        ..Candidate::at("127.0.0.1:1")
    };
    assert_eq!(
        targets("\"1 weight=3\", \"db.local:2\"").unwrap(),
        [heavy, Candidate::at("db.local:2")]
    );
    says(
        targets("\"1 weight=0\""),
        "f.yaml:4: key `upstreams[0].targets[0]`: expected `weight=` and a whole number from 1 to 1000, found \
         \"weight=0\"",
    );
}

#[test]
fn side_doors_open_where_they_are_told() {
    let server = |text: &str| yaml_server(text).map(|checked| (checked.config.admin, checked.config.metrics));
    let at = |text: &str| Some(text.parse().unwrap());
    assert_eq!(server("").unwrap(), (at("127.0.0.1:7500"), None));
    assert_eq!(server("admin: { listen: off }").unwrap(), (None, None));
    assert_eq!(
        server("admin: { listen: \":1\" }\nmetrics: { listen: \"127.0.0.2:1\" }").unwrap(),
        (at("127.0.0.1:1"), at("127.0.0.2:1"))
    );
    let ready = |text: &str| yaml_server(text).map(|checked| checked.config.ready);
    assert_eq!(ready("admin: { listen: off }").unwrap(), Needs::All);
    assert_eq!(ready("admin: { ready: any }").unwrap(), Needs::Any);
    says(
        ready("admin: { ready: some }"),
        "f.yaml:1: key `admin.ready`: expected one of all, any, found \"some\"",
    );
    let off = toml_server("[admin]\nlisten = \"off\"\n").unwrap();
    assert_eq!(off.config.admin, None);
    says(
        server("admin:\n  listen: here\n"),
        "f.yaml:2: key `admin.listen`: expected an address and a port like `0.0.0.0:8080` or `:8080`, found \
         \"here\" (or `off`)",
    );
    says(
        server("metrics: { listen: \":7500\" }"),
        "f.yaml:1: key `metrics.listen`: 127.0.0.1:7500 is taken by `admin.listen` (127.0.0.1:7500)",
    );
    says(
        server("control: { port: 7500 }"),
        "`admin.listen` (default 127.0.0.1:7500): 127.0.0.1:7500 is taken by the control port \
         (127.0.0.1:7500)",
    );
    let open = yaml_server("admin: { listen: \"0.0.0.0:7500\" }").unwrap();
    assert!(
        open.warnings.contains(
            &"f.yaml:1: `admin.listen`: 0.0.0.0:7500 is not loopback: whoever reaches it needs no secret"
                .to_owned()
        ),
        "{:?}",
        open.warnings
    );
}

#[test]
fn log_files_take_turns_only_where_there_are_files() {
    let output = |keys: &str| {
        yaml_server(&format!("logging: {{ {keys} }}")).map(|checked| checked.config.logging.output)
    };
    assert_eq!(output("file: /a.log").unwrap(), Output::File("/a.log".into()));
    assert_eq!(
        output("file: /a.log, rotation: hourly, keep: 2").unwrap(),
        Output::Rolling(Rolling {
            path: "/a.log".into(),
            hourly: true,
            keep: 2
        })
    );
    says(
        output("rotation: daily"),
        "f.yaml:1: key `logging.rotation`: only for `output: file`",
    );
    says(
        output("file: a, keep: 2"),
        "f.yaml:1: key `logging.keep`: only for `rotation: daily` and `rotation: hourly`",
    );
    says(
        output("file: a, rotation: daily, keep: 0"),
        "f.yaml:1: key `logging.keep`: expected at least 1, found 0",
    );
    says(
        output("file: a, rotation: weekly"),
        "f.yaml:1: key `logging.rotation`: expected one of never, hourly, daily, found \"weekly\"",
    );
}
