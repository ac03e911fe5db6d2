//! Ranges of ports.

use super::*;

#[test]
fn a_range_is_an_entry_and_a_group_for_each_port() {
    let text = "auth: { clients: [{ id: a, groups: [media] }, { id: b, groups: [x] }] }\n\
         bind: 10.0.0.1\n\
         entries:\n  - { name: ftp, listen: \":30000-30002\", group: media, carry: mux }\n\
         \x20 - { name: other, listen: \"127.0.0.1:40000-40001\" }\n\
         groups: { media: { balance: p2c }, media-30001: { balance: random }, default: {} }\n";
    let source = source(text, Format::Yaml).unwrap();
    let checked = build_server(&source, &ServerFlags::default(), &with_token).unwrap();
    assert_eq!(checked.warnings, [""; 0]);
    let config = checked.config;
    let found = config
        .entries
        .iter()
        .map(|entry| format!("{} {} {}", entry.name, entry.listen, entry.group));
    assert_eq!(
        found.collect::<Vec<_>>(),
        [
            "ftp-30000 10.0.0.1:30000 media-30000",
            "ftp-30001 10.0.0.1:30001 media-30001",
            "ftp-30002 10.0.0.1:30002 media-30002",
            "other-40000 127.0.0.1:40000 default-40000",
            "other-40001 127.0.0.1:40001 default-40001",
        ]
    );
    assert!(
        config.entries[..3]
            .iter()
            .all(|entry| entry.session.carry == session::Carriage::Mux)
    );
    let group = |name: &str| GroupName::new(name).unwrap();
    assert_eq!(config.groups[&group("media-30000")].balance, Strategy::PowerOfTwo);
    assert_eq!(
        config.groups[&group("media-30001")].balance,
        Strategy::Random,
        "it has keys of its own"
    );
    let client = |name: &str| ClientId::new(name).unwrap();
    assert!(config.auth.allows(&client("a"), &group("media-30002")));
    assert!(!config.auth.allows(&client("b"), &group("media-30002")));
}

#[test]
fn a_client_has_an_upstream_for_each_port() {
    let upstreams = |text: &str| {
        let text = format!("client_id: a\ngroup: g\nupstreams:\n{text}");
        let checked = yaml_client(&text)?;
        assert_eq!(checked.warnings, [""; 0]);
        let shown = |upstream: UpstreamConfig| {
            let targets = upstream
                .targets
                .iter()
                .map(|target| format!("{}*{}", target.place, target.weight));
            format!(
                "{} {} {}",
                upstream.name,
                upstream.group,
                targets.collect::<Vec<_>>().join(" ")
            )
        };
        Ok::<_, ConfigError>(
            checked
                .config
                .upstreams
                .into_iter()
                .map(shown)
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        upstreams(
            "  - { name: ftp, group: media, targets: [\"10.0.0.5:30000-30001 weight=2\", \"30000-30001\"] }"
        )
        .unwrap(),
        [
            "ftp-30000 media-30000 10.0.0.5:30000*2 127.0.0.1:30000*1",
            "ftp-30001 media-30001 10.0.0.5:30001*2 127.0.0.1:30001*1",
        ]
    );
    assert_eq!(
        upstreams("  - { name: ftp, ports: 30000-30001, targets: [\"[::1]:4000-4001\"] }").unwrap(),
        ["ftp-30000 g-30000 [::1]:4000*1", "ftp-30001 g-30001 [::1]:4001*1"]
    );
    let says = |text: &str, expected: &str| {
        says(
            upstreams(&format!("  - {{ name: ftp, {text} }}")),
            &format!("f.yaml:4: {expected}"),
        );
    };
    says(
        "targets: [\"a:1-2\", \"b:1\"]",
        "key `upstreams[0].targets[1]`: expected a range of 2 ports",
    );
    says(
        "targets: [\"a:1-2\", \"b:1-3\"]",
        "key `upstreams[0].targets[1]`: expected a range of 2 ports, found 3",
    );
    says(
        "targets: [\"a:1-2\", \"b:2-3\"]",
        "key `upstreams[0].targets[1]`: the ranges differ: say in `ports` which ports the server has",
    );
    says(
        "targets: [\"a:1\"], ports: \"30000-30001\"",
        "key `upstreams[0].targets[0]`: expected a range of 2 ports",
    );
    says(
        "targets: [\"a:1-2\"], ports: all",
        "key `upstreams[0].ports`: expected ports like `30000-30010`, found \"all\"",
    );
    super::says(
        upstreams("  - { name: ftp, targets: [\"a:101-165\"] }"),
        "f.yaml:3: key `upstreams`: expected at most 64, found 65, one for each port of a range",
    );
}

#[test]
fn a_range_that_is_none_says_so() {
    let entry = |rest: &str| yaml_server(&format!("entries:\n  - {{ name: a, {rest} }}\n"));
    let key = "f.yaml:2: key `entries[0].listen`:";
    for range in ["30010-30000", "0-5", "65535-65536"] {
        says(
            entry(&format!("listen: \":{range}\"")),
            &format!("{key} expected ports from 1 to 65535, the lower one first, found \"{range}\""),
        );
    }
    says(
        entry("listen: \":1-1025\""),
        &format!("{key} expected at most 1024 ports, found 1025"),
    );
    says(
        entry("listen: \":1-2\", kind: http"),
        &format!("{key} a range of ports is for entries of `kind: tcp`"),
    );
    says(
        entry("listen: \":6999-7000\""),
        &format!("{key} 127.0.0.1:7000 is taken by the control port (127.0.0.1:7000)"),
    );
}
