//! Files as tools and other editors write them.

use std::fs;

use super::*;
use crate::files::text::NotText;

#[test]
fn a_number_in_quotes_is_a_number() {
    let check = |checked: Checked<ServerConfig>| {
        assert_eq!(checked.config.control.port(), 7100);
        assert_eq!(checked.config.entries[0].listen.to_string(), "127.0.0.1:9002");
        assert_eq!(checked.config.limits.sessions, 20);
        assert_eq!(checked.config.limits.upstream_connections, 40);
        assert_eq!(checked.config.limits.replay_bytes, 1024);
    };
    check(
        yaml_server(
            "control: { port: \"7100\" }\nentries: [{ name: a, listen: \"9002\" }]\n\
             limits: { sessions: \"20\", replay_memory: \"1024\" }\n",
        )
        .unwrap(),
    );
    check(
        toml_server(
            "control.port = \"7100\"\nlimits.sessions = \"20\"\nlimits.replay_memory = \"1024\"\n\
             [[entries]]\nname = \"a\"\nlisten = \"9002\"\n",
        )
        .unwrap(),
    );
    for wrong in ["+1", "-1", "1.5", "0x10", "70000", ""] {
        says(
            yaml_server(&format!("control: {{ port: \"{wrong}\" }}\n")),
            &format!(
                "f.yaml:1: key `control.port`: expected a whole number from 0 to 65535, found \"{wrong}\""
            ),
        );
    }
}

#[test]
fn words_of_yaml_1_1_are_no_booleans_and_the_error_says_what_to_write() {
    let timing = |word: &str| {
        yaml_server(&format!(
            "entries:\n  - {{ name: a, kind: http, listen: \":1\", server_timing: {word} }}\n"
        ))
    };
    let is = |word: &str| match &timing(word).unwrap().config.entries[0].kind {
        entry::Kind::Http(options) => options.server_timing,
        entry::Kind::Tcp => panic!("the entry is of HTTP"),
    };
    for (word, meant) in [("\"true\"", true), ("'false'", false), ("\"${X:-true}\"", true)] {
        assert_eq!(is(word), meant, "{word}");
    }
    let key = "f.yaml:2: key `entries[0].server_timing`: expected true or false, found";
    for (word, write) in [("yes", "true"), ("On", "true"), ("no", "false"), ("off", "false")] {
        says(timing(word), &format!("{key} \"{word}\" (write `{write}`)"));
    }
    says(timing("perhaps"), &format!("{key} \"perhaps\""));
    says(
        yaml_server("metrics: { listen: false }"),
        "f.yaml:1: key `metrics.listen`: expected text, found false (put it in quotes, or the word it was before: \
         \"off\", \"no\")",
    );
    assert_eq!(yaml_server("admin: { listen: off }").unwrap().config.admin, None);
}

#[test]
fn json_is_yaml() {
    let text = "{\n\t\"control\": { \"port\": 7100 },\r\n\t\"drain\": {\"timeout\":\"5s\"}\n}\n";
    let config = yaml_server(text).unwrap().config;
    assert_eq!((config.control.port(), config.drain.timeout.as_secs()), (7100, 5));
}

#[test]
fn files_of_other_editors_are_read_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let marked = |text: &str| [b"\xef\xbb\xbf", text.replace('\n', "\r\n").as_bytes()].concat();
    write("token", &marked(&format!("{TOKEN}\n")));
    let yaml = write(
        "server.yaml",
        &marked("bind: 127.0.0.1\nauth:\n  clients:\n    - { id: a, token: { file: token } }\n"),
    );
    let flags = ServerFlags::default();
    let config = load_server(Some(&yaml), &flags, &env).unwrap().config;
    let rule = config.auth.rule(&ClientId::new("a").unwrap()).unwrap();
    assert_eq!(rule.token, Token::new(TOKEN).unwrap());
    let toml = write(
        "server.toml",
        &marked("bind = \"127.0.0.1\"\n[control]\nport = 7100\n"),
    );
    let config = load_server(Some(&toml), &flags, &env).unwrap().config;
    assert_eq!(config.control.port(), 7100);
    write("list", &marked("a:1\n# none\n\nb:2 weight=3\n"));
    let forward = write("forward.yaml", &marked("candidates: { file: list }\n"));
    let config = load_forward(Some(&forward), &ForwardFlags::default(), env)
        .unwrap()
        .config;
    assert_eq!(config.candidates.all().len(), 2);
    let again = config.origin.unwrap().read(&fs::read(&forward).unwrap()).unwrap();
    assert_eq!(again.listen.port(), 1234);

    let utf_16: Vec<u8> = "bind: a\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let path = write("wide.yaml", &utf_16);
    says(
        load_server(Some(&path), &flags, &env),
        &format!("cannot read {}: {}", path.display(), NotText::Utf16),
    );
    write("token", &utf_16);
    let token = folder.path().join("token");
    says(
        load_server(Some(&yaml), &flags, &env),
        &format!(
            "{}:4: key `auth.clients[0].token.file`: cannot read {}: {}",
            yaml.display(),
            token.display(),
            NotText::Utf16
        ),
    );
}

#[test]
fn a_format_counts_more_than_an_ending() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    fs::write(&path, "[control]\nport = 7100\n").unwrap();
    let load = |format| {
        let flags = ServerFlags {
            format,
            ..ServerFlags::default()
        };
        load_server(Some(&path), &flags, &env)
    };
    assert_eq!(load(Some(Format::Toml)).unwrap().config.control.port(), 7100);
    assert!(matches!(load(None), Err(ConfigError::Ending { .. })));
    assert!(load(Some(Format::Yaml)).is_err());
    fs::write(&path, "candidates: { addresses: [\"a:1\"] }\n").unwrap();
    let flags = ForwardFlags {
        format: Some(Format::Yaml),
        ..ForwardFlags::default()
    };
    let origin = load_forward(Some(&path), &flags, env)
        .unwrap()
        .config
        .origin
        .unwrap();
    assert!(
        origin.read(&fs::read(&path).unwrap()).is_ok(),
        "it is read anew as it was read"
    );
}
