//! What is legal and hardly meant, and secrets that are not there yet.

use std::fs;

use super::*;

#[test]
fn upstreams_that_share_a_group_by_accident_are_a_warning() {
    let warnings = |upstreams: &str| {
        yaml_client(&format!("client_id: a\nupstreams:\n{upstreams}"))
            .unwrap()
            .warnings
    };
    let ssh = "  - { name: ssh, targets: [\"22\"] }\n";
    let pg = "  - { name: pg, targets: [\"5432\"] }\n";
    assert_eq!(
        warnings(&format!("{ssh}{pg}")),
        [
            "f.yaml:3: `upstreams[0]`: `ssh`, `pg` are all in the group `default`, so a visitor gets any of them: \
             write the `group` of each"
        ]
    );
    let written = "  - { name: pg, group: default, targets: [\"5432\"] }\n";
    assert_eq!(
        warnings(&format!("{written}{ssh}")).len(),
        1,
        "one of the two is not written"
    );
    assert_eq!(warnings(ssh), [""; 0]);
    assert_eq!(
        warnings(&format!("{ssh}  - {{ name: b, group: b, targets: [\"1\"] }}\n")),
        [""; 0]
    );
    let both = written.replace("pg", "other");
    assert_eq!(warnings(&format!("{written}{both}")), [""; 0], "it is meant");
}

#[test]
fn a_check_does_without_the_secret() {
    let flags = ServerFlags {
        only_check: true,
        ..ServerFlags::default()
    };
    let check = |text: &str| build_server(&source(text, Format::Yaml).unwrap(), &flags, &env);
    let open = "no secret: a server opens 0.0.0.0 only with one (--token-file, ADIT_TOKEN or `auth`)";
    assert_eq!(
        check("bind: 0.0.0.0\nentries: [{ name: a, listen: \"0.0.0.0:80\" }]")
            .unwrap()
            .warnings,
        [open]
    );
    assert_eq!(
        check("entries: [{ name: a, listen: \"0.0.0.0:80\" }]")
            .unwrap()
            .warnings,
        [open]
    );
    assert_eq!(
        check("bind: 0.0.0.0\nauth: { clients: [{ id: a }] }")
            .unwrap()
            .warnings,
        [
            "f.yaml:2: `auth.clients`: a rule without a token needs the environment variable ADIT_TOKEN or \
             `auth.token`",
            open
        ]
    );
}

#[test]
fn a_server_takes_its_secret_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let other = "fedcba9876543210";
    fs::write(folder.path().join("token"), TOKEN).unwrap();
    fs::write(folder.path().join("other"), other).unwrap();
    let path = folder.path().join("server.yaml");
    let load = |text: &str, flags: &ServerFlags, env: Lookup<'_>| {
        fs::write(&path, text).unwrap();
        load_server(Some(&path), flags, env).unwrap()
    };
    let token = |checked: &Checked<ServerConfig>, id: &str| {
        checked
            .config
            .auth
            .rule(&ClientId::new(id).unwrap())
            .unwrap()
            .token
            .clone()
    };
    let none = ServerFlags::default();
    let alone = load("auth: { token: { file: token } }", &none, &env);
    assert_eq!(token(&alone, "any"), Token::new(TOKEN).unwrap());
    assert_eq!(
        alone.config.control.ip().to_string(),
        "0.0.0.0",
        "there is a secret"
    );
    assert_eq!(alone.warnings, [""; 0]);
    let beside = load("auth: { token: { file: other } }", &none, &with_token);
    assert_eq!(token(&beside, "any"), Token::new(other).unwrap());
    assert_eq!(
        beside.warnings,
        ["ADIT_TOKEN is not used: the secret comes from a file"]
    );
    let flag = ServerFlags {
        token_file: Some(folder.path().join("other")),
        ..none.clone()
    };
    let flagged = load("auth: { token: { file: token } }", &flag, &env);
    assert_eq!(token(&flagged, "any"), Token::new(other).unwrap(), "flags win");
    let rules = "auth: { token: { file: token }, clients: [{ id: a, token: { file: other } }, { id: b }] }";
    let rules = load(rules, &none, &env);
    assert_eq!(token(&rules, "a"), Token::new(other).unwrap());
    assert_eq!(token(&rules, "b"), Token::new(TOKEN).unwrap());
    let idle = load(
        "auth:\n  token: { file: token }\n  clients: [{ id: a, token: { file: other } }]",
        &none,
        &env,
    );
    let idle = idle.warnings.join("\n");
    assert!(
        idle.ends_with("server.yaml:2: `auth.token` is not used: every rule of `auth.clients` has a token"),
        "{idle}"
    );
}
