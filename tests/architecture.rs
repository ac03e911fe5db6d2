//! The shape of the house, checked: floors, file lengths, purity, documentation. See `docs/architecture.md`.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The modules of `src/lib.rs`, highest floor first. A module imports only what stands behind it; those of one
/// floor import each other as long as there is no circle.
const FLOORS: [&[&str]; 12] = [
    &["role"],
    &["config"],
    &["entry", "admin"],
    &["session"],
    &["registry"],
    &["selector"],
    &["prober", "pool"],
    &["target"],
    &["link"],
    &["wire", "rules", "candidates", "plugin"],
    &["env", "follow", "metrics"],
    &["backoff", "files", "id", "notice", "probe", "time", "transport"],
];

/// The concept folders. What is in them is pure, but for [`SHELLS`].
const CONCEPTS: [&str; 11] = [
    "link",
    "pool",
    "prober",
    "registry",
    "rules",
    "selector",
    "session",
    "wire",
    "admin",
    "candidates",
    "plugin",
];

/// Files in concept folders that may name tokio, actix and tracing: actors, and where bytes really move.
const SHELLS: [&str; 46] = [
    "admin/api.rs",
    "link/buffer.rs",
    "link/client.rs",
    "link/connect.rs",
    "link/control.rs",
    "link/carrier.rs",
    "link/framed.rs",
    "link/framed/tests.rs",
    "link/pump.rs",
    "link/stream.rs",
    "link/server.rs",
    "pool/actor.rs",
    "pool/address.rs",
    "pool/conn.rs",
    "pool/dial.rs",
    "pool/park.rs",
    "prober/actor.rs",
    "prober/probe.rs",
    "registry/actor.rs",
    "registry/data_links.rs",
    "registry/door.rs",
    "registry/draining.rs",
    "registry/groups.rs",
    "selector/actor.rs",
    "selector/actor/tests.rs",
    "selector/group.rs",
    "selector/setup.rs",
    "selector/actor/tell.rs",
    "session/actor.rs",
    "session/carry.rs",
    "session/dialler.rs",
    "session/direct.rs",
    "session/open.rs",
    "session/raw.rs",
    "session/relay.rs",
    "session/serve.rs",
    "session/trunk.rs",
    "session/tunnel_probe.rs",
    "session/tunnel_stream.rs",
    "session/uplink.rs",
    "entry/tcp.rs",
    "entry/direct.rs",
    "session/approach.rs",
    "session/forward.rs",
    "session/names.rs",
    "session/way.rs",
];

const LINES_MAX: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` file below `folder`, by its path within it.
fn sources(folder: &str) -> BTreeMap<String, String> {
    fn walk(at: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    let base = root().join(folder);
    let mut found = Vec::new();
    walk(&base, &mut found);
    let named = |path: PathBuf| {
        let name = path.strip_prefix(&base).unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    let sources: BTreeMap<_, _> = found.into_iter().map(named).collect();
    assert!(!sources.is_empty(), "{folder} has sources");
    sources
}

/// The code of a file: without comments, and without its own tests.
fn code(text: &str) -> String {
    let shipped = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let bare = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    shipped.lines().map(bare).collect::<Vec<_>>().join("\n")
}

/// The top-level modules that a file names: `crate::x`, `crate::{x::…, y}`, `super::super::x` from a folder.
fn imports(code: &str) -> BTreeSet<String> {
    let name = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => drop(found.insert(name(rest))),
            Some(list) => {
                let (mut depth, mut item_begins) = (0, true);
                for (at, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => item_begins = true,
                        c if item_begins && !c.is_whitespace() => {
                            found.insert(name(&list[at..]));
                            item_begins = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

/// The top-level module that a file belongs to.
fn module(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// Module -> the modules it imports.
fn edges() -> BTreeMap<String, BTreeSet<String>> {
    let mut edges = BTreeMap::<String, BTreeSet<String>>::new();
    for (file, text) in sources("src") {
        if matches!(
            file.as_str(),
            "lib.rs"
                | "main.rs"
                | "cli.rs"
                | "explain.rs"
                | "log.rs"
                | "health.rs"
                | "password.rs"
                | "terminal.rs"
        ) {
            continue;
        }
        let own = module(&file).to_owned();
        let others = imports(&code(&text)).into_iter().filter(|other| *other != own);
        edges.entry(own.clone()).or_default().extend(others);
    }
    edges
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

#[test]
fn the_reader_of_imports_reads() {
    let check = |code: &str, expected: &[&str]| {
        let expected: BTreeSet<_> = expected.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(imports(code), expected, "{code}");
    };
    check("use crate::id::Epoch;", &["id"]);
    check(
        "use crate::{\n    env::{Env, Task},\n    time,\n    wire::{a::{b, c}, d},\n};",
        &["env", "time", "wire"],
    );
    check("fn f() -> crate::pool::X { crate::link::y() }", &["pool", "link"]);
    check("use super::time;", &[]);
}

#[test]
fn imports_run_one_way_down() {
    for (upper, lowers) in edges() {
        let from = floor(&upper).unwrap_or_else(|| panic!("{upper} has no floor"));
        for lower in lowers {
            let to = floor(&lower).unwrap_or_else(|| panic!("{upper} imports {lower}, which has no floor"));
            assert!(from <= to, "{upper} imports {lower}, which stands above it");
        }
    }
}

#[test]
fn imports_form_no_circle() {
    let mut left = edges();
    // Takes away, again and again, every module that imports nothing that is left.
    loop {
        let names: BTreeSet<_> = left.keys().cloned().collect();
        let before = left.len();
        left.retain(|_, lowers| lowers.iter().any(|lower| names.contains(lower)));
        if left.len() == before {
            break;
        }
    }
    assert!(left.is_empty(), "a circle among {:?}", left.keys());
}

#[test]
fn modules_stand_in_floor_order() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let names = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let floors: Vec<_> = names
        .map(|name| (floor(name).unwrap_or_else(|| panic!("{name} has no floor")), name))
        .collect();
    assert!(!floors.is_empty());
    assert!(floors.is_sorted_by_key(|(floor, _)| *floor), "{floors:?}");
}

#[test]
fn the_map_defines_nothing() {
    let lib = code(&fs::read_to_string(root().join("src/lib.rs")).unwrap());
    for line in lib.lines().map(str::trim).filter(|line| !line.is_empty()) {
        assert!(
            line.starts_with("pub mod ") || line.starts_with("pub use "),
            "lib.rs defines something: {line}"
        );
    }
}

#[test]
fn no_file_is_longer_than_the_wall() {
    for folder in ["src", "fuzz/src", "sim/src", "tests"] {
        for (file, text) in sources(folder) {
            let lines = text.lines().count();
            assert!(
                lines <= LINES_MAX,
                "{folder}/{file} has {lines} lines, more than {LINES_MAX}"
            );
        }
    }
}

#[test]
fn pure_files_name_no_runtime() {
    let sources = sources("src");
    for shell in SHELLS {
        assert!(
            sources.contains_key(shell),
            "{shell} is listed as a shell, but is not there"
        );
    }
    for (file, text) in sources {
        if !CONCEPTS.contains(&module(&file)) || SHELLS.contains(&file.as_str()) {
            continue;
        }
        for runtime in ["tokio", "actix", "tracing"] {
            assert!(
                !code(&text).contains(runtime),
                "{file} is pure, and names {runtime}"
            );
        }
    }
}

#[test]
fn the_product_does_not_know_its_simulator() {
    for (file, text) in sources("src") {
        assert!(!code(&text).contains("turmoil"), "{file} names the simulator");
    }
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--edges",
            "normal",
            "--package",
            "adit",
            "--prefix",
            "none",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.starts_with("adit "), "{tree}");
    assert!(!tree.contains("turmoil"), "adit depends on the simulator");
}

#[test]
fn every_metric_has_its_help() {
    let text = fs::read_to_string(root().join("src/metrics/mod.rs")).unwrap();
    let (_, list) = text
        .split_once("\nmetrics! {\n")
        .expect("the list of metrics is there");
    let (list, _) = list.split_once("\n}").expect("the list of metrics ends");
    let lines: Vec<_> = list.lines().map(str::trim).collect();
    let mut metrics = 0;
    for (n, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.starts_with("///"))
    {
        metrics += 1;
        let help = n
            .checked_sub(1)
            .and_then(|before| lines[before].strip_prefix("/// "));
        assert!(
            help.is_some_and(|help| help.len() > 10 && help.ends_with('.')),
            "{line} has no help"
        );
    }
    assert!(metrics > 10);
}

/// Number and name of each variant of the two vocabularies in `wire/message.rs`.
fn messages() -> Vec<(String, String)> {
    let numbers = fs::read_to_string(root().join("src/wire/frame.rs")).unwrap();
    let number = |constant: &str| {
        let (_, rest) = numbers
            .split_once(&format!("pub const {constant}: u8 = "))
            .unwrap_or_else(|| panic!("{constant} has a number"));
        rest.split(';').next().unwrap_or_default().to_owned()
    };
    let text = fs::read_to_string(root().join("src/wire/message.rs")).unwrap();
    let mut found = Vec::new();
    for direction in text.split("\ndirection! {\n").skip(1) {
        let (body, _) = direction.split_once("\n}").expect("a vocabulary ends");
        for line in body.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
            if let Some((variant, constant)) = line.split_once(" = ") {
                let name = variant.chars().take_while(|c| c.is_alphanumeric()).collect();
                found.push((number(constant.trim_end_matches(',')), name));
            }
        }
    }
    found
}

#[test]
fn every_message_stands_in_the_protocol_reference() {
    let messages = messages();
    assert!(messages.len() > 25, "{messages:?}");
    let reference = fs::read_to_string(root().join("docs/protocol.md")).expect("docs/protocol.md is there");
    for (number, name) in messages {
        let row = format!("| {number} | {name} |");
        assert!(
            reference.contains(&row),
            "docs/protocol.md has no row that begins with {row:?}"
        );
    }
}
