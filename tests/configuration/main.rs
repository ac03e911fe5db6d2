//! Holds `docs/configuration.md` against the code: its keys, its defaults, its examples.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod defaults;
mod keys;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use adit::config::{
    self, ClientFlags, ForwardFlags, Role, ServerFlags, Source,
    file::{ClientFile, ServerFile},
    forward_file::ForwardFile,
};
use keys::keys;

const DOCUMENT: &str = include_str!("../../docs/configuration.md");
const TOKEN: &str = "0123456789abcdef";

/// The table of strategies has words where the others have keys.
const STRATEGY_CELLS: usize = 2;

/// The text under a heading, up to the next heading of the same depth.
fn section(heading: &str) -> &'static str {
    let (marks, _) = heading.split_once(' ').expect("a heading starts with its marks");
    let start = DOCUMENT.find(&format!("\n{heading}\n")).expect(heading) + 1;
    let body = &DOCUMENT[start + heading.len()..];
    let end = body.find(&format!("\n{marks} ")).unwrap_or(body.len());
    &body[..end]
}

/// The cells of every table row of so many cells whose first cell is a key in backticks.
fn rows(text: &str, columns: usize) -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect();
        let key = cells[0].trim_matches('`').to_owned();
        if cells.len() == STRATEGY_CELLS {
            continue;
        }
        assert_eq!(cells.len(), columns, "{line}");
        assert!(rows.insert(key, cells).is_none(), "{line} stands twice");
    }
    rows
}

/// A role as the document has it.
struct Chapter {
    heading: &'static str,
    /// Where the keys of choice, probing and pools stand.
    prefix: &'static str,
    /// The column of its defaults in the table of those keys.
    column: usize,
}

const SERVER: Chapter = Chapter {
    heading: "## Server",
    prefix: "groups.NAME.",
    column: 2,
};
const CLIENT: Chapter = Chapter {
    heading: "## Client",
    prefix: "upstreams[].",
    column: 3,
};
const FORWARDER: Chapter = Chapter {
    heading: "## Forwarder",
    prefix: "",
    column: 4,
};

impl Chapter {
    /// The documented keys with their defaults.
    fn documented(&self) -> BTreeMap<String, String> {
        let own = rows(section(self.heading), 5);
        let common = rows(section("## Every role"), 5);
        let default = |(key, cells): (String, Vec<String>)| (key, cells[2].clone());
        let mut all: BTreeMap<_, _> = own.into_iter().chain(common).map(default).collect();
        for (key, cells) in rows(section("## Choice, probing and pools"), 6) {
            all.insert(format!("{}{key}", self.prefix), cells[self.column].clone());
        }
        all
    }
}

fn no_variables(_: &str) -> Option<String> {
    None
}

fn token(name: &str) -> Option<String> {
    (name == config::TOKEN_VARIABLE).then(|| TOKEN.to_owned())
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let check = |chapter: &Chapter, keys: BTreeSet<String>| {
        let documented: BTreeSet<String> = chapter.documented().into_keys().collect();
        let undocumented: Vec<_> = keys.difference(&documented).collect();
        let invented: Vec<_> = documented
            .difference(&keys)
            // A list or mapping may have a row of its own beside those of its keys.
            .filter(|key| !keys.iter().any(|other| other.starts_with(&format!("{key}."))))
            .collect();
        assert!(
            undocumented.is_empty() && invented.is_empty(),
            "{undocumented:?} {invented:?}"
        );
    };
    check(&SERVER, server_keys());
    check(&CLIENT, keys::<ClientFile>().0);
    check(&FORWARDER, keys::<ForwardFile>().0);
}

/// The keys of a server. Those of a plugin are documented once, where rules have them.
fn server_keys() -> BTreeSet<String> {
    const NAMED: &str = "plugins.NAME[].";
    let (named, mut others): (BTreeSet<_>, BTreeSet<_>) = keys::<ServerFile>()
        .0
        .into_iter()
        .partition(|key| key.starts_with(NAMED));
    for key in &named {
        assert!(
            others.contains(&key.replace(NAMED, "rules[].plugins[].")),
            "{key}"
        );
    }
    others.insert("plugins".to_owned());
    others
}

#[test]
fn every_strategy_is_documented() {
    let documented: Vec<_> = section("### Strategies")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(documented, config::value::Balance::WORDS);
}

#[test]
fn every_later_key_is_documented() {
    let mut written = BTreeSet::new();
    for line in section("## Keys of later versions")
        .lines()
        .filter(|line| line.starts_with("| "))
    {
        let (place, words) = line
            .trim_matches('|')
            .split_once('|')
            .expect("a row has two cells");
        let role = if place.contains("client") {
            "client"
        } else {
            "server"
        };
        let prefix = match place.split('`').nth(1) {
            Some(parent) => format!("{role} {parent}."),
            None => format!("{role} "),
        };
        written.extend(
            words
                .split('`')
                .skip(1)
                .step_by(2)
                .map(|key| format!("{prefix}{key}")),
        );
    }
    let mut known = BTreeSet::new();
    known.extend(keys::<ServerFile>().1.iter().map(|key| format!("server {key}")));
    known.extend(keys::<ClientFile>().1.iter().map(|key| format!("client {key}")));
    known.extend(
        keys::<ForwardFile>()
            .1
            .iter()
            .map(|key| format!("forwarder {key}")),
    );
    assert_eq!(written, known);
}

/// The fenced examples: the file name of their first line, and their text.
fn examples() -> Vec<(&'static str, &'static str)> {
    let blocks = DOCUMENT.split("\n```").skip(1).step_by(2);
    let files = blocks.filter_map(|block| {
        let (language, text) = block.split_once('\n')?;
        let name = text.lines().next()?.strip_prefix("# ");
        matches!(language, "yaml" | "toml").then(|| (name.expect("an example names its file"), text))
    });
    files.collect()
}

/// The list of candidates that the document shows.
fn list_example() -> &'static str {
    let list = section("### Lists of candidates");
    let (_, rest) = list.split_once("```text\n").expect("there is a list");
    rest.split("```").next().expect("it ends")
}

#[test]
fn the_list_of_candidates_is_what_it_says() {
    let candidates = adit::candidates::parse(list_example(), "list").unwrap();
    assert_eq!(candidates.len(), 4 + 14 + 16);
}

#[test]
fn the_examples_are_accepted_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    for secret in ["token", "office.token"] {
        fs::write(folder.path().join(secret), TOKEN).unwrap();
    }
    fs::write(folder.path().join("candidates.txt"), list_example()).unwrap();
    fs::create_dir(folder.path().join("pages")).unwrap();
    for page in ["404.html", "sorry.html", "sorry.json"] {
        fs::write(folder.path().join("pages").join(page), "sorry").unwrap();
    }
    let examples = examples();
    assert_eq!(examples.len(), 8);
    for (name, text) in examples {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        // The full examples have their secret in a file, the small ones need one.
        let env = |variable: &str| {
            if name.ends_with(".toml") {
                token(variable)
            } else {
                None
            }
        };
        let source = Source::open(Some(&path)).unwrap();
        let warnings = match source.role().unwrap() {
            Role::Server => config::build_server(&source, &ServerFlags::default(), &env).map(|c| c.warnings),
            Role::Client => config::build_client(&source, &ClientFlags::default(), &env).map(|c| c.warnings),
            Role::Forward => {
                config::build_forward(&source, &ForwardFlags::default(), &env).map(|c| c.warnings)
            }
        };
        assert_eq!(warnings.unwrap(), [""; 0], "{name}");
    }
}

#[test]
fn the_full_examples_name_every_key() {
    let full = |name: &str| {
        let found = examples().into_iter().find(|(file, _)| *file == name);
        found.expect(name).1
    };
    let check = |text: &str, keys: BTreeSet<String>, left_out: &[&str]| {
        for key in keys.iter().filter(|key| !left_out.contains(&key.as_str())) {
            let last = key.rsplit('.').next().unwrap();
            assert!(text.contains(&format!("{last}:")), "{key}");
        }
    };
    check(
        full("server.yaml"),
        server_keys(),
        &["public.port", "public.group"],
    );
    check(full("client.yaml"), keys::<ClientFile>().0, &[]);
    check(full("config.yaml"), keys::<ForwardFile>().0, &[]);
}
