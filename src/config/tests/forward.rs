//! The forwarder's file and flags.

use std::fs;

use super::*;
use crate::candidates::LINES_FORM;

const ONE: &str = "candidates: { addresses: [\"a:1\"] }\n";

fn places(candidates: &[Candidate]) -> Vec<String> {
    candidates.iter().map(|c| c.place.to_string()).collect()
}

#[test]
fn the_smallest_forwarder_comes_from_flags() {
    let flags = ForwardFlags {
        listen: Some(":5".to_owned()),
        candidates: vec![
            "b:2 weight=3".to_owned(),
            "10.0.0.0/30:1".to_owned(),
            "b:2".to_owned(),
        ],
        ..ForwardFlags::default()
    };
    let config = load_forward(None, &flags, env).unwrap().config;
    assert_eq!(config.listen.to_string(), "127.0.0.1:5");
    assert_eq!(
        places(&config.candidates.all()),
        ["10.0.0.1:1", "10.0.0.2:1", "b:2"]
    );
    assert_eq!(config.candidates.all()[2].weight, 1, "the later one counts");
    assert_eq!(config.origin, None);
    let file = format!("{ONE}server: {{ listen_addr: \"0.0.0.0:6\" }}");
    let both = build_forward(&source(&file, Format::Yaml).unwrap(), &flags, &env).unwrap();
    assert_eq!(both.config.listen.port(), 5, "flags win");
    assert_eq!(both.config.candidates.all().len(), 3, "flags win");
    let bad = |listen: &str, candidate: &str| {
        let flags = ForwardFlags {
            listen: Some(listen.to_owned()),
            candidates: vec![candidate.to_owned()],
            ..ForwardFlags::default()
        };
        load_forward(None, &flags, env)
    };
    says(
        bad("x", "a:1"),
        "--listen: expected an address and a port like `0.0.0.0:8080` or `:8080`, found \"x\"",
    );
    says(
        bad(":1", "a"),
        &format!("--candidate: expected {LINES_FORM}, found \"a\""),
    );
}

#[test]
fn a_forwarder_needs_candidates() {
    let needs = "a forwarder needs candidates: give --candidate HOST:PORT, or the key \
                 `candidates.addresses` or `candidates.file`";
    says(yaml_forward("balance: random"), &format!("f.yaml: {needs}"));
    says(
        yaml_forward("candidates: { addresses: [] }"),
        &format!("f.yaml: {needs}"),
    );
    says(load_forward(None, &ForwardFlags::default(), env), needs);
    says(
        yaml_forward("candidates:\n  addresses:\n    - a:1\n    - \"[::1]\"\n"),
        &format!("f.yaml:4: key `candidates.addresses[1]`: expected {LINES_FORM}, found \"[::1]\""),
    );
    says(
        yaml_forward("candidates: { address: [\"a:1\"] }"),
        "f.yaml:1: unknown key `candidates.address`, did you mean `addresses`?",
    );
    says(
        yaml_forward("candidates: { addresses: [\"10.0.0.0/16:1\", \"10.1.0.0/16:1\"] }"),
        "f.yaml:1: key `candidates.addresses[1]`: \"10.1.0.0/16:1\" makes it 131068, and 65536 are the most",
    );
}

#[test]
fn the_file_of_candidates_is_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let (path, list) = (folder.path().join("f.yaml"), folder.path().join("c.txt"));
    let text = "candidates: { addresses: [\"a:1\", \"b:1 weight=2\"], file: c.txt }\n";
    fs::write(&path, text).unwrap();
    let load = || load_forward(Some(&path), &ForwardFlags::default(), env);
    let missing = load().unwrap_err().to_string();
    assert!(
        missing.starts_with(&format!(
            "{}:1: key `candidates.file`: cannot read {}: ",
            path.display(),
            list.display()
        )),
        "{missing}"
    );
    fs::write(&list, "c:1\n# b\nb:1 weight=7\n").unwrap();
    let config = load().unwrap().config;
    assert_eq!(places(&config.candidates.all()), ["a:1", "b:1", "c:1"]);
    assert_eq!(
        config.candidates.all()[1].weight,
        2,
        "the configuration itself wins"
    );
    assert_eq!(config.candidates.file.as_deref(), Some(&*list));
    fs::write(&list, "c:1\nd\n").unwrap();
    says(
        load(),
        &format!("{}:2: expected {LINES_FORM}, found \"d\"", list.display()),
    );
    fs::write(&list, "# nobody\n").unwrap();
    assert_eq!(load().unwrap().warnings, [""; 0]);
    fs::write(&path, "candidates: { file: c.txt }\n").unwrap();
    assert_eq!(
        load().unwrap().warnings,
        [format!(
            "{}: no candidate: every visitor will be refused",
            list.display()
        )]
    );
}

#[test]
fn what_is_read_again_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.yaml");
    fs::write(&path, ONE).unwrap();
    let flags = ForwardFlags {
        listen: Some(":5".to_owned()),
        ..ForwardFlags::default()
    };
    let config = load_forward(Some(&path), &flags, env).unwrap().config;
    let origin = config.origin.clone().unwrap();
    assert_eq!(origin.read(ONE.as_bytes()).unwrap(), config);
    let other = origin.read(format!("{ONE}balance: p2c\n").as_bytes()).unwrap();
    assert_eq!(other.group.balance, Strategy::PowerOfTwo);
    assert_eq!(other.listen, config.listen, "flags win again");
    let wrong = format!("{ONE}balance: best\n");
    let error = origin.read(wrong.as_bytes()).unwrap_err();
    assert!(
        error.starts_with(&format!("{}:2: key `balance`: expected one of", path.display())),
        "{error}"
    );
    assert!(origin.read(&[0xff]).is_err());
}

#[test]
fn keys_stand_at_the_top() {
    let config = |keys: &str| yaml_forward(&format!("{ONE}{keys}"));
    let group = config("selector: { active_set_size: all }\npools: { min: 0 }")
        .unwrap()
        .config
        .group;
    assert_eq!(group.selector.active_set_size, None);
    assert_eq!((group.pool.min, group.pool.max), (0, 64));
    assert_eq!(group.balance, Strategy::LeastConnections);
    says(
        config("pools: { min: 65 }"),
        "f.yaml:2: key `pools`: min (65) is above max (64)",
    );
    says(
        config("selector: { switching: { hysteresis: 200% } }"),
        "f.yaml:2: key `selector.switching.hysteresis`: expected a share from `0%` to `100%`, like `20%` or \
         `0.2`, found \"200%\"",
    );
    says(
        config("server: { listen: \":1\" }"),
        "f.yaml:2: unknown key `server.listen`, known here: listen_addr",
    );
    says(
        config("server: { listen_addr: \"a1234\" }"),
        "f.yaml:2: key `server.listen_addr`: expected an address and a port like `0.0.0.0:8080` or `:8080`, \
         found \"a1234\"",
    );
    says(
        config("server: { listen_addr: \"0.0.0.0:9099\" }"),
        "`metrics.listen` (default 127.0.0.1:9099): 127.0.0.1:9099 is taken by the forwarder's own address \
         (0.0.0.0:9099)",
    );
    says(
        config("limits: { sessions: 0 }"),
        "f.yaml:2: key `limits.sessions`: expected at least 1, found 0",
    );
    says(
        config("session: { connect_timeout: 1ms }"),
        "f.yaml:2: key `session.connect_timeout`: expected 10ms to 1day, found 1ms",
    );
    let off = config("metrics: { listen: off }").unwrap().config;
    assert_eq!((off.metrics, off.admin), (None, None));
}
