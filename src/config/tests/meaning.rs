//! What each form of flag, file and environment comes to.

use std::fs;

use super::*;

#[test]
fn variables_are_expanded_in_both_formats() {
    let check = |checked: Checked<ServerConfig>| {
        assert_eq!(checked.config.control.port(), 9000);
        assert_eq!(checked.config.proxy.port(), 9001);
        assert_eq!(checked.config.entries[0].name.as_str(), "web");
        assert_eq!(checked.config.entries[0].listen.port(), 9002);
        assert_eq!(checked.config.drain.timeout, Duration::from_secs(5));
    };
    check(
        yaml_server(
            "control:\n  port: ${PORT}\nproxy: { port: \"${OTHER:-9001}\" }\n\
             entries: [{ name: \"${NAME}\", listen: \"127.0.0.1:${NONE:-9002}\" }]\n\
             drain:\n  timeout: ${TIMEOUT:-5s}\n",
        )
        .unwrap(),
    );
    check(
        toml_server(
            "control.port = \"${PORT}\"\nproxy.port = \"${OTHER:-9001}\"\ndrain.timeout = \"${T:-5s}\"\n\
             [[entries]]\nname = \"${NAME}\"\nlisten = \"127.0.0.1:${NONE:-9002}\"\n",
        )
        .unwrap(),
    );
    says(
        yaml_server("bind: 127.0.0.1\ncontrol:\n  port: ${WORD}\n"),
        "f.yaml:3: key `control.port`: expected a whole number from 0 to 65535, found \"many\"",
    );
    says(
        toml_server("[logging]\nfile = \"a\"\n\n[drain]\ntimeout = \"${NOPE}\"\n"),
        "f.toml:5: key `drain.timeout`: the environment variable `NOPE` is not set (`${NOPE:-default}` \
         gives it a default)",
    );
}

#[test]
fn two_dollars_are_one() {
    let checked = yaml_server("logging: { output: file, file: \"/tmp/$${PORT}$$.log\" }").unwrap();
    assert_eq!(
        checked.config.logging.output,
        Output::File("/tmp/${PORT}$.log".into())
    );
}

#[test]
fn the_smallest_client_comes_from_flags() {
    let flags = ClientFlags {
        client_id: Some("a".to_owned()),
        local: Some(":3000".to_owned()),
        servers: vec!["example.com".to_owned()],
        ..ClientFlags::default()
    };
    let checked = flags_client(flags.clone()).unwrap();
    assert_eq!(checked.config.servers, ["example.com:7000"]);
    assert_eq!(
        checked.config.upstreams[0].targets,
        [Candidate::at("127.0.0.1:3000")]
    );
    assert_eq!(checked.config.upstreams[0].name.as_str(), LOCAL_UPSTREAM);
    assert_eq!(checked.config.upstreams[0].group.as_str(), DEFAULT_GROUP);
    assert!(checked.config.token.is_anonymous());
    assert_eq!(checked.warnings.len(), 1, "{:?}", checked.warnings);

    let file = "client_id: b\ngroup: g\nservers: [x]\nupstreams: [{ name: s, targets: [\"22\"] }]\n";
    let both = build_client(&source(file, Format::Yaml).unwrap(), &flags, &with_token).unwrap();
    assert_eq!(both.config.client_id.as_str(), "a", "flags win");
    assert_eq!(both.config.group.as_str(), "g");
    assert_eq!(
        both.config.upstreams[0].targets,
        [Candidate::at("127.0.0.1:3000")]
    );
    assert_eq!(both.warnings, [""; 0]);

    let bad = ClientFlags {
        local: Some("x".to_owned()),
        ..flags
    };
    says(
        flags_client(bad),
        "--local: expected a host and a port like `127.0.0.1:3000`, found \"x\"",
    );
}

#[test]
fn without_a_secret_only_loopback_is_bound() {
    let server = |text: &str, flags: &ServerFlags, env: Lookup<'_>| {
        build_server(&source(text, Format::Yaml).unwrap(), flags, env)
    };
    let none = ServerFlags::default();
    assert_eq!(
        server("", &none, &env).unwrap().config.control.to_string(),
        "127.0.0.1:7000"
    );
    assert_eq!(
        server("", &none, &with_token).unwrap().config.control.to_string(),
        "0.0.0.0:7000"
    );
    let refusal = "is not loopback, and without a secret anybody could register there: give a secret \
                   (--token-file, ADIT_TOKEN or `auth`), or --insecure if you mean it";
    says(
        server("drain: {}\nbind: 0.0.0.0\n", &none, &env),
        &format!("f.yaml:2: `bind` 0.0.0.0 {refusal}"),
    );
    says(
        server("entries: [{ name: a, listen: \"0.0.0.0:80\" }]", &none, &env),
        &format!("f.yaml:1: `entries[0].listen` 0.0.0.0:80 {refusal}"),
    );
    let mut flags = ServerFlags {
        bind: Some("::".to_owned()),
        ..none
    };
    says(server("", &flags, &env), &format!("--bind :: {refusal}"));
    flags.insecure = true;
    let insecure = server("", &flags, &env).unwrap();
    assert_eq!(insecure.config.control.to_string(), "[::]:7000");
    assert!(insecure.warnings[0].contains("ANYBODY"));
    flags.insecure = false;
    assert!(server("", &flags, &with_token).is_ok());
}

#[test]
fn secrets_come_from_files_and_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), format!("{TOKEN}\n")).unwrap();
    fs::write(folder.path().join("short"), "secret\n").unwrap();
    let path = folder.path().join("server.yaml");
    let load = |text: &str, flags: &ServerFlags, env: Lookup<'_>| {
        fs::write(&path, text).unwrap();
        load_server(Some(&path), flags, env)
    };
    let none = ServerFlags::default();
    let auth = "auth:\n  clients:\n    - { id: a, groups: [g], token: { file: token } }\n";
    let checked = load(auth, &none, &env).unwrap();
    let name = |name: &str| ClientId::new(name).unwrap();
    assert!(!checked.config.auth.is_open());
    let rule = checked.config.auth.rule(&name("a")).unwrap();
    assert_eq!(rule.token, Token::new(TOKEN).unwrap());
    assert_eq!(checked.config.auth.rule(&name("b")), None);

    let unused = load(auth, &none, &with_token).unwrap();
    assert!(
        unused
            .warnings
            .iter()
            .any(|warning| warning.contains("ADIT_TOKEN is not used"))
    );

    let shown = path.display();
    let short = folder.path().join("short");
    says(
        load(
            "auth:\n  clients:\n    - id: a\n      token: { file: short }\n",
            &none,
            &env,
        ),
        &format!(
            "{shown}:4: key `auth.clients[0].token.file`: {}: the token has 6 bytes, at least 16 are needed",
            short.display()
        ),
    );
    says(
        load("auth: { clients: [{ id: a }] }", &none, &env),
        &format!(
            "{shown}:1: key `auth.clients[0].token`: missing: `{{ file: PATH }}`, or the environment \
             variable ADIT_TOKEN"
        ),
    );
    let flags = ServerFlags {
        token_file: Some(folder.path().join("token")),
        ..none.clone()
    };
    assert!(!load("", &flags, &env).unwrap().config.auth.is_open());
    let widened = load(auth, &flags, &env).unwrap_err().to_string();
    assert!(widened.starts_with("--token-file: "), "{widened}");
    let flags = ServerFlags {
        token_file: Some(short),
        ..none.clone()
    };
    let message = load("", &flags, &env).unwrap_err().to_string();
    assert!(
        message.ends_with("the token has 6 bytes, at least 16 are needed"),
        "{message}"
    );
    let empty = |name: &str| (name == TOKEN_VARIABLE).then(String::new);
    says(
        load("", &none, &empty),
        "environment variable ADIT_TOKEN: the token has 0 bytes, at least 16 are needed",
    );
}

#[test]
fn what_is_hardly_meant_is_a_warning() {
    let warnings = |text: &str| {
        let source = source(text, Format::Yaml).unwrap();
        build_server(&source, &ServerFlags::default(), &with_token)
            .unwrap()
            .warnings
    };
    assert_eq!(warnings("groups: { default: {} }"), [""; 0]);
    assert_eq!(
        warnings("groups:\n  a: {}\n"),
        ["f.yaml:2: `groups.a`: no entry leads to this group"]
    );
    assert_eq!(
        warnings("public: { port: 1 }\nentries: []\n"),
        [
            "f.yaml:1: `public` has no effect beside `entries`",
            "f.yaml:2: `entries` is empty: no visitor can come in"
        ]
    );
    let flags = ServerFlags {
        public_port: Some(1),
        ..ServerFlags::default()
    };
    let source = source("entries: []", Format::Yaml).unwrap();
    says(
        build_server(&source, &flags, &env),
        "--public-port: has no effect beside f.yaml:1: `entries`",
    );
}

#[test]
fn groups_shape_their_entries() {
    let checked = yaml_server(
        "entries:\n  - { name: a, listen: \":1\", group: g }\n\
         \x20 - { name: b, listen: \":2\", group: g, replay: unacknowledged }\n\
         groups: { g: { replay: refused_only, pools: { min: 0, max: 8 } } }\n",
    )
    .unwrap();
    let replay = |index: usize| checked.config.entries[index].session.replay;
    assert_eq!(replay(0), session::Replay::RefusedOnly);
    assert_eq!(replay(1), session::Replay::Unacknowledged);
    assert!(
        checked
            .config
            .entries
            .iter()
            .all(|entry| entry.session.needs_links())
    );
    let group = &checked.config.groups[&GroupName::new("g").unwrap()];
    assert_eq!((group.pool.min, group.pool.max), (0, 8));
    says(
        yaml_server("groups:\n  g:\n    pools: { min: 9, max: 8 }\n"),
        "f.yaml:3: key `groups.g.pools`: min (9) is above max (8)",
    );
}

#[test]
fn what_carries_a_session_is_said_by_the_entry_or_its_group() {
    let checked = yaml_server(
        "entries:\n  - { name: a, listen: \":1\", group: g }\n\
         \x20 - { name: b, listen: \":2\", group: g, carry: dedicated, overflow: mux }\n\
         \x20 - { name: c, listen: \":3\", group: h }\n\
         \x20 - { name: d, listen: \":4\", group: h, carry: mux, overflow: mux }\n\
         \x20 - { name: e, listen: \":5\" }\n\
         groups: { g: { carry: mux }, h: { overflow: wait } }\n\
         link: { links: 8, max_streams: 1000000 }\n",
    )
    .unwrap();
    let (dedicated, mux) = (session::Carriage::Dedicated, session::Carriage::Mux);
    let (over, wait) = (session::Overflow::Mux, session::Overflow::Wait);
    let entries = checked.config.entries.iter();
    let said = entries.map(|entry| {
        (
            entry.session.carry,
            entry.session.overflow,
            entry.session.needs_links(),
        )
    });
    let expected = [
        (mux, over, true),
        (dedicated, over, true),
        (dedicated, wait, false),
        (mux, over, true),
        (dedicated, over, true),
    ];
    assert_eq!(said.collect::<Vec<_>>(), expected);
    assert_eq!(checked.config.link.links, 8);
    assert_eq!(checked.config.link.max_streams, 1_000_000);
    let pointless = "f.yaml:5: `entries[3].overflow` has no effect with `carry: mux`";
    assert!(
        checked.warnings.iter().any(|warning| warning == pointless),
        "{:?}",
        checked.warnings
    );
    let public = yaml_server("groups: { default: { carry: mux, overflow: wait } }").unwrap();
    let session = public.config.entries[0].session;
    assert_eq!((session.carry, session.overflow), (mux, wait));
}
