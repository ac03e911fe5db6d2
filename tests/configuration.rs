//! Holds `docs/configuration.md` against the code: its keys, its defaults, its examples.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::{cell::RefCell, collections::BTreeMap, collections::BTreeSet, fmt::Display, fs, path::Path};

use adit::config::{
    self, ClientFlags, Format, Output, Role, ServerFlags, Source,
    file::{ClientFile, ServerFile},
    size,
};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    Visitor, value::Error,
};

const DOCUMENT: &str = include_str!("../docs/configuration.md");
const TOKEN: &str = "0123456789abcdef";

/// One way down a file type, `[]` for elements and `NAME` for the keys of a mapping.
type Way = Vec<&'static str>;

/// What stands at the end of a way.
#[derive(Default)]
struct Found {
    fields: &'static [&'static str],
    below: Option<&'static str>,
    later: bool,
}

/// Follows one way through a file type, and notes what the type asks for at its end.
struct Probe<'a> {
    way: &'a [&'static str],
    found: &'a RefCell<Found>,
}

impl Probe<'_> {
    fn end<T>(&self, found: Found) -> Result<T, Error> {
        *self.found.borrow_mut() = found;
        Err(Error::custom("seen enough"))
    }
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        self.end(Found::default())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, _: V) -> Result<V::Value, Error> {
        self.end(Found {
            later: true,
            ..Found::default()
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.way {
            [] => self.end(Found {
                fields,
                ..Found::default()
            }),
            _ => visitor.visit_map(self),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.way {
            [] => self.end(Found {
                below: Some("NAME"),
                ..Found::default()
            }),
            _ => visitor.visit_map(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.way {
            [] => self.end(Found {
                below: Some("[]"),
                ..Found::default()
            }),
            _ => visitor.visit_seq(self),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit newtype_struct tuple
        tuple_struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Probe<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        seed.deserialize(self.way[0].into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(Probe {
            way: &self.way[1..],
            found: self.found,
        })
    }
}

impl<'de> SeqAccess<'de> for Probe<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        seed.deserialize(Probe {
            way: &self.way[1..],
            found: self.found,
        })
        .map(Some)
    }
}

fn shown(way: &[&'static str]) -> String {
    way.join(".").replace(".[]", "[]")
}

/// Every key of a file type: those of this version, and those of later ones.
fn keys<T: DeserializeOwned>() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut now, mut later) = (BTreeSet::new(), BTreeSet::new());
    let mut ways: Vec<Way> = vec![Vec::new()];
    while let Some(way) = ways.pop() {
        let found = RefCell::new(Found::default());
        assert!(
            T::deserialize(Probe {
                way: &way,
                found: &found
            })
            .is_err()
        );
        let found = found.into_inner();
        for below in found.fields.iter().copied().chain(found.below) {
            ways.push(way.iter().copied().chain([below]).collect());
        }
        let element = matches!(way.last(), None | Some(&"[]" | &"NAME"));
        if found.later {
            later.insert(shown(&way));
        } else if !element && (found.fields.is_empty()) {
            now.insert(shown(&way));
        }
    }
    (now, later)
}

/// The text under a heading, up to the next heading of the same depth.
fn section(heading: &str) -> &'static str {
    let (marks, _) = heading.split_once(' ').expect("a heading starts with its marks");
    let start = DOCUMENT.find(&format!("\n{heading}\n")).expect(heading) + 1;
    let body = &DOCUMENT[start + heading.len()..];
    let end = body.find(&format!("\n{marks} ")).unwrap_or(body.len());
    &body[..end]
}

/// The cells of every table row whose first cell is a key in backticks.
fn rows(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect();
        let key = cells[0].trim_matches('`').to_owned();
        assert_eq!(cells.len(), 5, "{line}");
        assert!(rows.insert(key, cells).is_none(), "{line} stands twice");
    }
    rows
}

/// The documented keys of a role with their rows.
fn documented(role: &str) -> BTreeMap<String, Vec<String>> {
    let mut all = rows(section(role));
    all.extend(rows(section("## Both roles")));
    all
}

fn no_variables(_: &str) -> Option<String> {
    None
}

fn token(name: &str) -> Option<String> {
    (name == config::TOKEN_VARIABLE).then(|| TOKEN.to_owned())
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    let check = |role: &str, keys: BTreeSet<String>| {
        let documented: BTreeSet<String> = documented(role).into_keys().collect();
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
    check("## Server", keys::<ServerFile>().0);
    check("## Client", keys::<ClientFile>().0);
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
    assert_eq!(written, known);
}

/// What the code makes of an absent key, as the document writes it.
struct Defaults(BTreeMap<&'static str, String>);

impl Defaults {
    fn set(&mut self, key: &'static str, value: impl Display) {
        self.0.insert(key, format!("`{value}`"));
    }

    fn say(&mut self, key: &'static str, words: &str) {
        self.0.insert(key, words.to_owned());
    }

    fn duration(&mut self, key: &'static str, value: std::time::Duration) {
        match value.subsec_millis() {
            0 => self.set(key, format!("{}s", value.as_secs())),
            _ => self.set(key, format!("{}ms", value.as_millis())),
        }
    }

    fn both(&mut self, drain: &config::Drain, logging: &config::Logging) {
        self.duration("drain.delay", drain.delay);
        self.duration("drain.timeout", drain.timeout);
        self.set("logging.level", logging.level.word());
        self.set("logging.format", logging.format.word());
        assert_eq!(logging.output, Output::Stdout);
        self.set("logging.output", "stdout");
        self.say("logging.file", "none");
    }

    fn compare(self, role: &str) {
        let documented = documented(role);
        for (key, row) in &documented {
            let real = self.0.get(key.as_str());
            assert_eq!(Some(&row[2]), real, "the default of {key}");
        }
        assert_eq!(documented.len(), self.0.len(), "every default has its key");
    }
}

#[test]
fn the_defaults_of_a_server_are_those_of_the_document() {
    let open = config::load_server(None, &ServerFlags::default(), &no_variables)
        .unwrap()
        .config;
    let server = config::load_server(None, &ServerFlags::default(), &token)
        .unwrap()
        .config;
    let mut defaults = Defaults(BTreeMap::new());
    let bind = format!(
        "`{}` with a secret, `{}` without",
        server.control.ip(),
        open.control.ip()
    );
    defaults.say("bind", &bind);
    defaults.set("control.port", server.control.port());
    defaults.set("proxy.port", server.proxy.port());
    assert_eq!(server.proxy_advertise, None);
    defaults.say("proxy.advertise", "none");
    let [public] = &server.entries[..] else {
        panic!("a server without entries has one");
    };
    assert_eq!(public.name.as_str(), "public");
    defaults.set("public.port", public.listen.port());
    defaults.set("public.group", &public.group);
    for key in ["auth.clients", "entries", "groups"] {
        defaults.say(key, "none");
    }
    for key in ["auth.clients[].id", "entries[].name", "entries[].listen"] {
        defaults.say(key, "*required*");
    }
    defaults.say("auth.clients[].groups", "every group");
    defaults.set("auth.clients[].token.file", config::TOKEN_VARIABLE);
    defaults.set("entries[].kind", config::value::Kind::default().word());
    defaults.set("entries[].group", config::DEFAULT_GROUP);
    defaults.say("entries[].carry", "the group's");
    defaults.say("entries[].replay", "the group's");
    let group = config::GroupConfig::default();
    defaults.set("groups.NAME.balance", config::value::Balance::default().word());
    assert_eq!(group.balance, adit::selector::Strategy::Random);
    defaults.set("groups.NAME.carry", config::value::Carry::default().word());
    assert_eq!(public.session.replay, adit::session::Replay::Unacknowledged);
    defaults.set("groups.NAME.replay", "unacknowledged");
    defaults.set("groups.NAME.pools.min", group.pool.min);
    defaults.set("groups.NAME.pools.max", group.pool.max);
    defaults.set("limits.unproven", server.limits.unproven);
    defaults.set("limits.unproven_per_address", server.limits.unproven_per_address);
    defaults.set("limits.clients", server.registry.clients_max);
    defaults.set("limits.upstreams_per_client", server.registry.upstreams_max);
    defaults.set("limits.sessions", server.limits.sessions);
    defaults.set("limits.replay_memory", size::display(server.limits.replay_bytes));
    defaults.set("limits.waiting", server.limits.waiting);
    defaults.duration("link.heartbeat", server.link.heartbeat);
    defaults.set("link.missed_max", server.link.missed_max);
    defaults.duration("link.handshake_timeout", server.link.handshake_timeout);
    defaults.duration("session.answer_timeout", public.session.answer_timeout);
    defaults.duration("session.connect_timeout", public.session.connect_timeout);
    defaults.duration("session.start_timeout", public.session.start_timeout);
    defaults.duration("session.half_closed_timeout", public.session.half_closed_timeout);
    defaults.both(&server.drain, &server.logging);
    defaults.compare("## Server");
}

#[test]
fn the_defaults_of_a_client_are_those_of_the_document() {
    let text = "client_id: a\nupstreams: [{ name: b, targets: [\"1\"] }]";
    let source = Source::parse(Path::new("c.yaml"), text, Format::Yaml).unwrap();
    let client = config::build_client(&source, &ClientFlags::default(), &no_variables)
        .unwrap()
        .config;
    let mut defaults = Defaults(BTreeMap::new());
    for key in [
        "client_id",
        "upstreams",
        "upstreams[].name",
        "upstreams[].targets",
    ] {
        defaults.say(key, "*required*");
    }
    defaults.set("group", &client.group);
    defaults.set("servers", client.servers.join(", "));
    defaults.set("token.file", config::TOKEN_VARIABLE);
    assert_eq!(client.upstreams[0].group, client.group);
    defaults.say("upstreams[].group", "the client's");
    defaults.duration("upstreams[].connect_timeout", client.upstreams[0].connect_timeout);
    defaults.duration("link.handshake_timeout", client.link.handshake_timeout);
    defaults.duration("backoff.base", client.backoff.base);
    defaults.duration("backoff.cap", client.backoff.cap);
    defaults.duration("backoff.stable_after", client.backoff.stable_after);
    defaults.both(&client.drain, &client.logging);
    defaults.compare("## Client");
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

#[test]
fn the_examples_are_accepted_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    for secret in ["token", "office.token"] {
        fs::write(folder.path().join(secret), TOKEN).unwrap();
    }
    let examples = examples();
    assert_eq!(examples.len(), 4);
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
        keys::<ServerFile>().0,
        &["public.port", "public.group"],
    );
    check(full("client.yaml"), keys::<ClientFile>().0, &["logging.file"]);
}
