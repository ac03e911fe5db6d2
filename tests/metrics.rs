//! What a node shows, what `docs/metrics.md` says it shows, and what the dashboard asks for, held together.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use adit::{
    env::{Env, Stop},
    metrics::{Metrics, ProbeResult, TargetState},
    role::client::Client,
    time::Duration,
};
use serde_json::Value;
use support::{RunningServer, any_port, client_config, echo, run, server_config, until, visit, web::ask};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What is known of a family: its type and the names of its labels.
type Families = BTreeMap<String, (String, BTreeSet<String>)>;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The endings of samples of a type; the longer ones first.
fn suffixes(kind: &str) -> &[&str] {
    match kind {
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        "gauge" => &[""],
        other => panic!("{other} is no type of ours"),
    }
}

/// The families of a text in the format of OpenMetrics.
fn exported(text: &str) -> Families {
    let mut families = Families::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            current = name.to_owned();
            let earlier = families.insert(current.clone(), (kind.to_owned(), BTreeSet::new()));
            assert!(earlier.is_none(), "{name} is there twice");
        } else if !line.starts_with('#') {
            let end = line.find(['{', ' ']).unwrap();
            let (kind, labels) = families.get_mut(&current).expect("a sample has a type");
            let suffix = line[..end].strip_prefix(&current).unwrap();
            assert!(
                suffixes(kind).contains(&suffix),
                "{line} is no sample of a {kind}"
            );
            if let Some((inside, _)) = line[end..]
                .strip_prefix('{')
                .and_then(|rest| rest.split_once('}'))
            {
                let names = inside.split(',').filter_map(|label| label.split_once('='));
                labels.extend(names.map(|(name, _)| name.to_owned()).filter(|name| name != "le"));
            }
        }
    }
    families
}

/// The families in the tables of `docs/metrics.md`.
fn documented() -> Families {
    let mut families = Families::new();
    for line in read("docs/metrics.md").lines() {
        let Some(row) = line.strip_prefix("| `adit_") else {
            continue;
        };
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [name, kind, labels, roles, meaning, ""] = cells[..] else {
            panic!("a metric has five columns: {line}");
        };
        let roles: Vec<_> = roles.split(", ").collect();
        assert!(
            roles
                .iter()
                .all(|role| ["server", "client", "forward"].contains(role)),
            "{line}"
        );
        assert!(meaning.ends_with('.') || meaning.ends_with('1'), "{line}");
        let labels = labels.split(", ").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.trim_matches('`').to_owned()).collect();
        let name = format!("adit_{}", name.trim_end_matches('`'));
        let earlier = families.insert(name, (kind.to_owned(), labels));
        assert!(earlier.is_none(), "there twice: {line}");
    }
    families
}

/// Makes everything that is shown only once it has happened happen.
fn provoke(metrics: &Metrics) -> impl Sized + use<> {
    for family in [
        &metrics.handshake_failures,
        &metrics.connections_refused,
        &metrics.registrations_denied,
        &metrics.links_lost,
        &metrics.session_outcomes,
        &metrics.tries_failed,
        &metrics.pool_discarded,
        &metrics.data_links_lost,
        &metrics.stream_resets,
        &metrics.http_answers,
        &metrics.http_failures,
        &metrics.http_refusals,
    ] {
        family.inc("test");
    }
    let rule = metrics.http_rules.join("g", "r");
    rule.refused("test");
    let (entry, of_client) = (
        metrics.entry_traffic.join("e", "g"),
        metrics.client_traffic.join("g", "c"),
    );
    entry.outcomes.inc("test");
    of_client.outcomes.inc("test");
    let budget = metrics.http_retry_budgets.join("e", "g", || 0.0);
    let group = metrics.groups.join("test");
    group.probed(ProbeResult::Ok);
    let target = metrics.targets.join("test", "test/test", || 0);
    target.set_score(50.0);
    target.set_latency(Duration::from_millis(1));
    target.set_state(TargetState::Active);
    (group, target, rule, budget, entry, of_client)
}

#[test]
fn what_is_shown_is_documented_and_what_is_documented_is_shown() {
    run(|| async {
        let mut config = server_config();
        config.admin = Some(any_port());
        let server = RunningServer::start(config).await;
        let mut config = client_config("a", server.addresses.control, echo().await);
        config.metrics = Some(any_port());
        let env = Env::production(Stop::channel().1);
        let of_client = Arc::clone(&env.metrics);
        let client = Client::bind(config, env).await.unwrap();
        let addresses = [server.addresses.admin, client.operators().metrics];
        tokio::task::spawn_local(client.run());
        server.wait_for_clients(1).await;
        assert_eq!(visit(server.public(), b"hello").await.unwrap(), b"hello");

        let _shown = (provoke(&server.metrics), provoke(&of_client));
        for address in addresses {
            let scraped = ask(address.unwrap(), "GET", "/metrics").await;
            assert_eq!(exported(&scraped.body), documented());
        }
    });
}

#[test]
fn a_list_of_metrics_that_nobody_provoked_is_noticed() {
    let text = read("src/metrics/mod.rs");
    let (_, list) = text.split_once("\nmetrics! {\n").unwrap();
    let (list, _) = list.split_once("\n}").unwrap();
    let names = list.lines().filter_map(|line| line.trim().split_once(": "));
    let names: Vec<_> = names
        .filter(|(name, _)| !name.starts_with("///"))
        .map(|(name, _)| format!("adit_{name}"))
        .collect();
    assert!(names.len() > 20);
    let documented = documented();
    for name in names {
        assert!(documented.contains_key(&name), "docs/metrics.md lacks {name}");
    }
}

#[test]
fn figures_follow_a_session_while_it_runs() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let client = server.client("a", echo().await);
        server.wait_for_clients(1).await;
        let mut stream = TcpStream::connect(server.public()).await.unwrap();
        let (up, mut down) = (vec![7; 300_000], vec![0; 300_000]);
        let (mut read, mut write) = stream.split();
        let (sent, got) = tokio::join!(write.write_all(&up), read.read_exact(&mut down));
        sent.unwrap();
        got.unwrap();
        for metrics in [&server.metrics, &client.metrics] {
            until(|| (metrics.bytes.up.get(), metrics.bytes.down.get()) == (300_000, 300_000)).await;
            assert_eq!(metrics.sessions.get(), 1);
            assert_eq!(metrics.links.get(), 1);
            assert!(metrics.proxy_connections.get() >= 1);
            assert!(metrics.pool_dials.ok.get() >= 1);
            assert_eq!(metrics.registrations.get(), 1);
        }
        assert!(client.metrics.heartbeats.sent.get() >= 1);
        until(|| client.metrics.heartbeats.answered.get() >= 1).await;
        assert!(server.metrics.heartbeats.answered.get() >= 1);

        let count = |metrics: &Metrics, line: &str| metrics.encode().lines().filter(|it| *it == line).count();
        assert_eq!(count(&server.metrics, "adit_start_seconds_count 1"), 1);
        assert_eq!(count(&client.metrics, "adit_connect_seconds_count 1"), 1);
        let used = "adit_limit_used{limit=\"sessions\"} 1";
        assert_eq!(count(&server.metrics, used), 1);

        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
        for metrics in [&server.metrics, &client.metrics] {
            until(|| metrics.session_outcomes.count("completed") == 1 && metrics.sessions.get() == 0).await;
            assert_eq!(metrics.bytes.up.get(), 300_000);
        }
        let bytes = "direction=\"up\"} 300000";
        for line in [
            "adit_entry_visitors_total{entry=\"public\",group=\"default\"} 1".to_owned(),
            format!("adit_entry_bytes_total{{entry=\"public\",group=\"default\",{bytes}"),
            "adit_entry_outcomes_total{entry=\"public\",group=\"default\",reason=\"completed\"} 1".to_owned(),
            format!("adit_client_bytes_total{{group=\"default\",client=\"a\",{bytes}"),
            "adit_client_outcomes_total{group=\"default\",client=\"a\",reason=\"completed\"} 1".to_owned(),
        ] {
            assert_eq!(count(&server.metrics, &line), 1, "{line}");
        }
        client.stopper.advance();
        client.task.await.unwrap();
        assert_eq!(client.metrics.links.get(), 0);
        until(|| !server.metrics.encode().contains("client=\"a\"")).await;
        until(|| server.metrics.links.get() == 0).await;
        until(|| client.metrics.proxy_connections.get() == 0).await;
    });
}

/// The names of metrics in an expression of the dashboard.
fn named(expr: &str) -> Vec<String> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let words = expr.split(|c| !word(c)).filter(|word| word.starts_with("adit_"));
    words.map(str::to_owned).collect()
}

/// Every panel, also those inside of rows.
fn panels(of: &Value) -> Vec<&Value> {
    let list = of["panels"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .flat_map(|panel| std::iter::once(panel).chain(panels(panel)))
        .collect()
}

#[test]
fn the_dashboard_can_be_imported_and_asks_only_for_what_there_is() {
    let dashboard: Value = serde_json::from_str(&read("docs/grafana/adit.json")).unwrap();
    assert_eq!(dashboard["title"], "Adit");
    assert_eq!(dashboard["uid"], "adit");
    assert!(dashboard["id"].is_null(), "an id is given at import");
    assert!(dashboard["schemaVersion"].as_u64() >= Some(38));
    let input = &dashboard["__inputs"][0];
    assert_eq!(
        (&input["name"], &input["pluginId"]),
        (&"DS_PROMETHEUS".into(), &"prometheus".into())
    );

    let samples = samples();
    let panels = panels(&dashboard);
    assert!(panels.len() > 30);
    let (mut ids, mut asked, mut taken) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for panel in &panels {
        let title = panel["title"].as_str().expect("a panel has a title");
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "{title}: its id is taken"
        );
        let grid = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        let (x, y, w, h) = (grid("x"), grid("y"), grid("w"), grid("h"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{title} does not fit");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} lies on another");
        }
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().expect("a panel asks for something");
        assert!(!targets.is_empty(), "{title} asks for nothing");
        let mut letters = BTreeSet::new();
        for target in targets {
            assert!(letters.insert(target["refId"].as_str().unwrap()), "{title}");
            assert_eq!(target["datasource"]["uid"], "${DS_PROMETHEUS}", "{title}");
            let expr = target["expr"].as_str().unwrap();
            let brackets = |open, close| expr.matches(open).count() == expr.matches(close).count();
            assert!(
                brackets('(', ')') && brackets('{', '}') && brackets('[', ']'),
                "{expr}"
            );
            let names = named(expr);
            assert!(!names.is_empty(), "{title}: {expr}");
            asked.extend(names);
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        asked.extend(named(variable["definition"].as_str().unwrap()));
    }
    let unknown: Vec<_> = asked.iter().filter(|name| !samples.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "the dashboard asks for {unknown:?}");
    for failures in [
        "adit_entry_outcomes_total",
        "adit_client_outcomes_total",
        "adit_http_failures_total",
    ] {
        let by_reason = panels
            .iter()
            .filter_map(|panel| panel["targets"][0]["expr"].as_str())
            .any(|expr| expr.contains("reason) (") && expr.contains(failures));
        assert!(by_reason, "{failures} is not shown by reason");
    }
}

/// The names of all samples, and the labels that each may have.
fn samples() -> Families {
    let mut samples = Families::new();
    for (name, (kind, labels)) in documented() {
        let named = |suffix: &&str| (format!("{name}{suffix}"), (kind.clone(), labels.clone()));
        samples.extend(suffixes(&kind).iter().map(named));
    }
    samples
}

#[test]
fn alert_rules_ask_only_for_what_there_is_and_name_only_labels_that_it_has() {
    let rules: Value = serde_saphyr::from_str(&read("docs/alerts.yaml")).unwrap();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() >= 5);
    let (samples, mut alerts) = (samples(), BTreeSet::new());
    for rule in rules {
        let (alert, expr) = (rule["alert"].as_str().unwrap(), rule["expr"].as_str().unwrap());
        assert!(alert.starts_with("Adit") && alerts.insert(alert), "{alert}");
        assert!(
            ["critical", "warning"]
                .map(Value::from)
                .contains(&rule["labels"]["severity"])
        );
        let names = named(expr);
        assert!(!names.is_empty(), "{alert} asks for nothing");
        let labels: BTreeSet<_> = names
            .iter()
            .flat_map(|name| &samples.get(name).unwrap_or_else(|| panic!("{alert}: {name}")).1)
            .map(String::as_str)
            .chain(["instance"])
            .collect();
        let summary = rule["annotations"]["summary"].as_str().unwrap();
        for part in summary.split("$labels.").skip(1) {
            let end = part.find(' ').unwrap();
            assert!(labels.contains(&part[..end]), "{alert}: {}", &part[..end]);
        }
    }
    let usable = rules.iter().any(|rule| rule["expr"] == "adit_group_usable == 0");
    assert!(usable, "a group that serves nobody is an alert");
}
