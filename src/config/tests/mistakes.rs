//! The message for each mistake: file, line, key, and what to write instead.

use super::*;

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    says(
        yaml_server("public:\n  port: 80\n  groop: a\n"),
        "f.yaml:3: unknown key `public.groop`, did you mean `group`?",
    );
    says(
        toml_server("[[entries]]\nname = \"a\"\nlisten = \"127.0.0.1:1\"\ngroop = \"a\"\n"),
        "f.toml:4: unknown key `entries[0].groop`, did you mean `group`?",
    );
    says(
        yaml_server("contrl: { port: 1 }\n"),
        "f.yaml:1: unknown key `contrl`, did you mean `control`?",
    );
    says(
        yaml_server("drain: { zebra: 1 }\n"),
        "f.yaml:1: unknown key `drain.zebra`, known here: delay, timeout",
    );
}

#[test]
fn a_message_is_one_line_of_what_can_be_shown() {
    says(
        yaml_server("public:\n  \"gr\\noup\\e[1m\": a\n"),
        "f.yaml:2: unknown key `public.gr\\noup\\u{1b}[1m`, known here: port, group",
    );
    says(
        yaml_server("bind: \"${a\\nb}\"\n"),
        "f.yaml:1: key `bind`: expected `${NAME}` or `${NAME:-default}`, found `${a\\nb}` (`$$` is a dollar)",
    );
}

#[test]
fn a_wrong_type_names_what_is_expected() {
    says(
        yaml_server("bind: 127.0.0.1\ncontrol:\n  port: abc\n"),
        "f.yaml:3: key `control.port`: expected a whole number from 0 to 65535, found \"abc\"",
    );
    says(
        yaml_server("control: { port: 70000 }\n"),
        "f.yaml:1: key `control.port`: expected a whole number from 0 to 65535, found the number 70000",
    );
    says(
        yaml_server("control: 7000\n"),
        "f.yaml:1: key `control`: expected a mapping with the keys port, found a number",
    );
    says(
        yaml_client("client_id: 7\n"),
        "f.yaml:1: key `client_id`: expected text, found the number 7 (put it in quotes)",
    );
    says(
        yaml_client("servers: example.com\n"),
        "f.yaml:1: key `servers`: expected a list, found \"example.com\"",
    );
    says(
        yaml_client("client_id: a\ntoken: 0123456789abcdef0\n"),
        "f.yaml:2: key `token`: expected a mapping with the keys file, found text",
    );
    says(
        yaml_server("- a\n"),
        "f.yaml:1: expected a mapping with the keys bind, control, proxy, public, auth, entries, groups, \
         limits, link, session, admin, metrics, drain, logging, rules, plugins, tls, upstreams, found a list",
    );
}

#[test]
fn words_durations_and_sizes_show_their_form() {
    says(
        yaml_server("groups:\n  a:\n    balance: randon\n"),
        "f.yaml:3: key `groups.a.balance`: expected one of random, round_robin, weighted, least_connections, \
         p2c, peak_ewma, consistent_hash, found \"randon\": did you mean `random`?",
    );
    says(
        yaml_server("logging: { level: loud }\n"),
        "f.yaml:1: key `logging.level`: expected one of error, warn, info, debug, trace, found \"loud\"",
    );
    says(
        yaml_server("drain: { timeout: soon }\n"),
        "f.yaml:1: key `drain.timeout`: expected a duration like `300ms` or `10s`, found \"soon\"",
    );
    says(
        yaml_server("drain: { timeout: 30 }\n"),
        "f.yaml:1: key `drain.timeout`: expected a duration like `300ms` or `10s`, found the number 30 \
         without a unit",
    );
    says(
        yaml_server("link:\n  heartbeat: 0s\n"),
        "f.yaml:2: key `link.heartbeat`: expected 10ms to 1day, found 0s",
    );
    says(
        yaml_server("limits: { replay_memory: lots }\n"),
        "f.yaml:1: key `limits.replay_memory`: expected a size like `64KiB` or `64MiB`, found \"lots\"",
    );
    says(
        yaml_server("limits:\n  sessions: 0\n"),
        "f.yaml:2: key `limits.sessions`: expected at least 1, found 0",
    );
    says(
        yaml_server("link:\n  links: 9\n"),
        "f.yaml:2: key `link.links`: expected at most 8, found 9",
    );
    says(
        yaml_server("link:\n  links: 0\n"),
        "f.yaml:2: key `link.links`: expected at least 1, found 0",
    );
    says(
        yaml_server("link:\n  max_streams: 1000001\n"),
        "f.yaml:2: key `link.max_streams`: expected at most 1000000, found 1000001",
    );
    says(
        yaml_server("groups:\n  a:\n    overflow: mix\n"),
        "f.yaml:3: key `groups.a.overflow`: expected one of mux, wait, found \"mix\": did you mean `mux`?",
    );
}

#[test]
fn keys_of_http_are_for_http_and_networks_are_networks() {
    let entry = |rest: &str| yaml_server(&format!("entries:\n  - {{ name: a, listen: \":1\", {rest} }}\n"));
    assert!(entry("kind: http, trusted_proxies: [10.0.0.0/8, \"::1\"], timeouts: { idle: 5m }").is_ok());
    says(
        entry("trusted_proxies: []"),
        "f.yaml:2: key `entries[0].trusted_proxies`: is for entries of `kind: http`",
    );
    says(
        entry("kind: tcp, timeouts: { idle: 5m }"),
        "f.yaml:2: key `entries[0].timeouts`: is for entries of `kind: http`",
    );
    says(
        entry("access_log: {}"),
        "f.yaml:2: key `entries[0].access_log`: is for entries of `kind: http`",
    );
    says(
        entry("kind: http, access_log: { keep: 3 }"),
        "f.yaml:2: key `entries[0].access_log.keep`: only for `rotation: daily` and `rotation: hourly`",
    );
    says(
        entry("kind: http, access_log: { output: file }"),
        "f.yaml:2: key `entries[0].access_log.output`: `file` needs the key `entries[0].access_log.file`",
    );
    says(
        entry("kind: http, access_log: { sample: 2 }"),
        "f.yaml:2: key `entries[0].access_log.sample`: expected a share from `0%` to `100%`, like `20%` or `0.2`, \
         found the number 2",
    );
    says(
        entry("kind: http, error_pages: { 3xx: a.html }"),
        "f.yaml:2: key `entries[0].error_pages.3xx`: expected a status from 400 to 599, `4xx` or `5xx`, found `3xx`",
    );
    says(
        entry("kind: http, error_pages: { 502: /nowhere.html }"),
        "f.yaml:2: key `entries[0].error_pages.502`: cannot read /nowhere.html: No such file or directory (os error 2)",
    );
    says(
        entry("kind: http, trusted_proxies: [10.0.0.0/8, 10.0.0.0/40]"),
        "f.yaml:2: key `entries[0].trusted_proxies[1]`: expected an address or a network like `10.0.0.0/8`, found \
         \"10.0.0.0/40\"",
    );
}

#[test]
fn a_rule_that_cannot_be_says_what_is_wrong_with_it() {
    let rule = |rest: &str| yaml_server(&format!("rules:\n  - {{ {rest} }}\n"));
    assert!(
        rule("host: a, path: \"/v1/{id}\", method: GET, headers: { x-beta: present }, group: api").is_ok()
    );
    assert!(
        rule("grpc: shop.Cart/Add, priority: 7, upstream_protocol: h2c, timeouts: { idle: never }").is_ok()
    );
    let says = |text: &str, expected: &str| says(rule(text), &format!("f.yaml:2: {expected}"));
    says(
        "path: v1",
        "key `rules[0].path`: expected a path like `/v1`, `/v1/users/{id}`, `/static/{*rest}` or `=/healthz`, found \
         \"v1\"",
    );
    says(
        "method: [GET, get]",
        "key `rules[0].method`: expected a method in capitals, like `GET`, found \"get\"",
    );
    says(
        "path: /a, grpc: a.B",
        "key `rules[0].grpc`: expected `path` or `grpc`, found both",
    );
    says(
        "name: \"\"",
        "key `rules[0].name`: expected 1 to 128 bytes of text, found \"\"",
    );
    says("hosts: a", "unknown key `rules[0].hosts`, did you mean `host`?");
    says(
        "plugins: [ {} ]",
        "key `rules[0].plugins[0]`: expected one plugin, like `set_header`, found none",
    );
    says(
        "plugins: [ { strip_prefix: /a, body_limit: 1KB } ]",
        "key `rules[0].plugins[0]`: expected one plugin, found several: each is an element of its own",
    );
    says(
        "plugins: [ { strip_prefix: /a }, { bearer: { tokens: short } } ]",
        "key `rules[0].plugins[1].bearer`: a token has 5 bytes, at least 16 are needed",
    );
}

#[test]
fn what_comes_later_is_not_a_typo() {
    let later = "is not supported in this version yet";
    for text in ["tls: { key: a }", "upstreams: []"] {
        let key = text.split(':').next().unwrap();
        says(yaml_server(text), &format!("f.yaml:1: `{key}` {later}"));
    }
    says(
        yaml_server("entries:\n  - name: a\n    kind: udp\n"),
        &format!("f.yaml:3: key `entries[0].kind`: `udp` {later}"),
    );
    says(
        yaml_server("entries:\n  - name: a\n    tls: {}\n"),
        &format!("f.yaml:3: `entries[0].tls` {later}"),
    );
    says(
        yaml_client("client_id: a\nupstreams: [{ name: a, carry: mux }]"),
        &format!("f.yaml:2: `upstreams[0].carry` {later}"),
    );
}

#[test]
fn a_client_needs_a_name_and_a_service() {
    says(
        flags_client(ClientFlags::default()),
        "a client needs a name: give --client-id ID, or the key `client_id`",
    );
    says(
        yaml_client("group: a\n"),
        "f.yaml: a client needs a name: give --client-id ID, or the key `client_id`",
    );
    says(
        yaml_client("client_id: a\n"),
        "f.yaml: a client needs something to serve: give --local ADDR, or the key `upstreams`",
    );
    says(
        yaml_client("client_id: a b\n"),
        "f.yaml:1: key `client_id`: a name is 1 to 64 letters, digits, '.', '_' or '-', not \"a b\"",
    );
}

#[test]
fn names_and_ports_are_taken_once() {
    let entries = |a: &str, b: &str| {
        yaml_server(&format!(
            "entries:\n  - {{ name: a, listen: \"{a}\" }}\n  - {{ name: b, listen: \"{b}\" }}\n"
        ))
    };
    assert!(entries("127.0.0.1:80", "127.0.0.2:80").is_ok());
    assert!(entries(":0", ":0").is_ok());
    says(
        entries(":80", "127.0.0.1:80"),
        "f.yaml:3: key `entries[1].listen`: 127.0.0.1:80 is taken by the entry `a` (127.0.0.1:80)",
    );
    says(
        entries(":7001", ":80"),
        "f.yaml:2: key `entries[0].listen`: 127.0.0.1:7001 is taken by the proxy port (127.0.0.1:7001)",
    );
    says(
        yaml_server("entries:\n  - { name: a, listen: \":1\" }\n  - { name: a, listen: \":2\" }\n"),
        "f.yaml:3: key `entries[1].name`: there is an entry `a` already",
    );
    says(
        yaml_server("entries: [{ name: a }]"),
        "f.yaml:1: key `entries[0].listen`: missing: every entry needs one",
    );
    assert!(
        yaml_server("control: { port: 7000 }\nproxy: { port: 7000 }").is_ok(),
        "one port serves both"
    );
    says(
        yaml_server("public: { port: 7000 }"),
        "f.yaml:1: key `public.port`: 127.0.0.1:7000 is taken by the control port (127.0.0.1:7000)",
    );
    says(
        yaml_server("control:\n  port: 8080\n"),
        "the public port (default 8080): 127.0.0.1:8080 is taken by the control port (127.0.0.1:8080)",
    );
}

#[test]
fn the_role_is_inferred() {
    let role = |text: &str| {
        source(text, Format::Yaml)
            .unwrap()
            .role()
            .map_err(|error| error.to_string())
    };
    assert_eq!(role("public: { port: 1 }"), Ok(Role::Server));
    assert_eq!(role("client_id: a"), Ok(Role::Client));
    assert_eq!(role("entries: []"), Ok(Role::Server), "no other role has them");
    assert_eq!(role("upstreams: []\nlogging: {}"), Ok(Role::Client));
    assert!(role("logging: {}").unwrap_err().contains("--role"));
    assert!(role("client_id: a\nbind: b").unwrap_err().contains("--role"));
    assert_eq!(role("candidates: {}"), Ok(Role::Forward));
    assert_eq!(role("balance: p2c"), Ok(Role::Forward));
    assert_eq!(
        role("bind: a\nserver: {}").unwrap_err(),
        "f.yaml: it has keys of a server and of a forwarder; say which with --role server|client|forward"
    );
    says(
        yaml_forward("bind: 127.0.0.1\n"),
        "f.yaml: this is the configuration of a server, not of a forwarder",
    );
    says(
        yaml_server("client_id: a\nservers: [b]\n"),
        "f.yaml: this is the configuration of a client, not of a server",
    );
}

#[test]
fn files_are_known_by_their_ending() {
    let load = |name: &str| {
        load_server(Some(Path::new(name)), &ServerFlags::default(), &env)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        load("/x.json"),
        "/x.json: a configuration file ends in .yaml, .yml or .toml; of any other, say the format with --format yaml|toml"
    );
    assert!(load("/does/not/exist.yaml").starts_with("cannot read /does/not/exist.yaml: "));
}
