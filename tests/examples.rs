//! The files in `docs/examples`, and what the command says of them.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const TOKEN: &str = "0123456789abcdef";

fn adit(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_adit"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("ADIT_TOKEN", TOKEN)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A copy of the examples, with the secrets that they name.
fn examples() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples");
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    for name in ["blue.token", "red.token"] {
        fs::write(folder.path().join(name), format!("{name} {TOKEN}")).unwrap();
    }
    folder
}

#[test]
fn every_example_is_accepted() {
    let folder = examples();
    let mut seen = Vec::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".yaml") && !name.ends_with(".toml") {
            continue;
        }
        let output = adit(folder.path(), &["check", "-c", &name]);
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        // A file that names its secrets itself has no use for the environment's.
        let warnings = text(&output.stderr);
        let other = warnings.lines().filter(|line| !line.contains("ADIT_TOKEN"));
        assert_eq!(other.count(), 0, "{name}: {warnings}");
        seen.push(text(&output.stdout));
    }
    seen.sort();
    assert_eq!(
        seen,
        [
            "client.yaml: ok (client)\n",
            "database.yaml: ok (forward)\n",
            "forward.yaml: ok (forward)\n",
            "server.yaml: ok (server)\n",
            "small.toml: ok (forward)\n",
            "teams.yaml: ok (server)\n",
        ]
    );
}

#[test]
fn a_mistake_in_the_list_is_found() {
    let folder = examples();
    fs::write(folder.path().join("candidates.txt"), "192.0.2.1:443\n192.0.2.1\n").unwrap();
    let output = adit(folder.path(), &["check", "-c", "forward.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).starts_with("adit: candidates.txt:2: expected `HOST:PORT`"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn wrong_usage_is_told_from_failure() {
    let folder = tempfile::tempdir().unwrap();
    let code = |args: &[&str]| adit(folder.path(), args).status.code();
    assert_eq!(code(&["forward"]), Some(2), "no candidates");
    assert_eq!(code(&["forward", "--candidate", "x"]), Some(2));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    assert_eq!(
        code(&["forward", "--candidate", "a:1", "--listen", &listen]),
        Some(1),
        "a port is taken"
    );
    drop(taken);
    assert_eq!(code(&["health", "--admin", &listen]), Some(1), "nobody is there");
}

#[test]
fn log_files_hold_everything_that_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let config = format!(
        "server: {{ listen_addr: \"{listen}\" }}\ncandidates: {{ addresses: [\"a:1\"] }}\n\
         metrics: {{ listen: \"0.0.0.0:9099\" }}\n\
         logging: {{ format: json, file: a.log, rotation: daily }}\n"
    );
    fs::write(folder.path().join("f.yaml"), config).unwrap();
    let output = adit(folder.path(), &["forward", "-c", "f.yaml"]);
    assert_eq!(output.status.code(), Some(1), "the port is taken");
    assert_eq!(text(&output.stdout), "");
    let logs: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("a.") && name.ends_with(".log"))
        .collect();
    let [log] = &logs[..] else {
        panic!("one file, named after the day: {logs:?}");
    };
    assert_eq!(log.len(), "a.2026-01-31.log".len(), "{log}");
    let said = fs::read_to_string(folder.path().join(log)).unwrap();
    assert!(said.contains("is not loopback"), "{said}");
    assert!(said.lines().all(|line| line.starts_with('{')), "{said}");
}
