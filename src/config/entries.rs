//! Where visitors come in, as it stands in a file.

use super::{
    ConfigError, RuleConfig,
    file::{EntryKeys, PublicKeys, TimeoutKeys},
    load::{Source, TIMEOUT_MIN},
    ports::Ports,
    server::{Groups, PUBLIC_PORT, ServerFlags, Ways, group_name},
    tree::KeyPath,
    value::{Age, Kind, Span},
};
use crate::{entry, id::EntryName, session};

/// The entries of a server that names them.
///
/// # Errors
/// The first that is wrong, with its line and key.
pub(super) fn entries(
    keys: Vec<EntryKeys>,
    rules: &[RuleConfig],
    ports: &mut Ports<'_>,
    groups: &Groups,
    session: session::Options,
    source: &Source,
    warnings: &mut Vec<String>,
) -> Result<Vec<entry::Options>, ConfigError> {
    let mut built: Vec<entry::Options> = Vec::new();
    for (index, keys) in keys.into_iter().enumerate() {
        let at = KeyPath::new("entries").index(index);
        let missing = |key: &str| source.key_error(&at.key(key), "missing: every entry needs one");
        let name = keys.name.ok_or_else(|| missing("name"))?;
        let name =
            EntryName::new(&name).map_err(|error| source.key_error(&at.key("name"), error.to_string()))?;
        if built.iter().any(|earlier| earlier.name == name) {
            return Err(source.key_error(&at.key("name"), format!("there is an entry `{name}` already")));
        }
        let listen = keys.listen.ok_or_else(|| missing("listen"))?;
        let listen = ports.entry(&listen, &at.key("listen"), &name)?;
        let group = group_name(keys.group.as_deref(), &at.key("group"), source)?;
        // Where rules say who goes where, whoever fits none of them goes nowhere, unless somebody said where.
        let falls_back = keys.group.is_some() || rules.is_empty();
        let ways = Ways {
            carry: keys.carry,
            overflow: keys.overflow,
            replay: keys.replay,
        };
        let kind = keys.kind.unwrap_or_default();
        let of_kind = session;
        let session = groups.session(ways, kind, &group, of_kind);
        if ways.overflow.is_some() && session.carry == session::Carriage::Mux {
            let place = source.place(&at.key("overflow"));
            warnings.push(format!("{place} has no effect with `carry: mux`"));
        }
        let kind = match kind {
            Kind::Tcp => tcp(keys.trusted_proxies, keys.timeouts, &at, source)?,
            Kind::Http => {
                let mut options = http(keys.trusted_proxies, keys.timeouts, &at, source)?;
                let led_to = rules.iter().map(|rule| &rule.group);
                options.groups = led_to
                    .chain(falls_back.then_some(&group))
                    .map(|group| (group.clone(), groups.session(ways, kind, group, of_kind)))
                    .collect();
                options.falls_back = falls_back;
                entry::Kind::Http(options)
            }
        };
        built.push(entry::Options {
            name,
            listen,
            group,
            session,
            kind,
        });
    }
    Ok(built)
}

/// The one entry of a server without `entries`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn public(
    keys: PublicKeys,
    flags: &ServerFlags,
    ports: &mut Ports<'_>,
    groups: &Groups,
    session: session::Options,
    source: &Source,
) -> Result<entry::Options, ConfigError> {
    let listen = ports.open(
        flags.public_port,
        "--public-port",
        keys.port,
        "public",
        PUBLIC_PORT,
    )?;
    let group = group_name(
        keys.group.as_deref(),
        &KeyPath::new("public").key("group"),
        source,
    )?;
    let session = groups.session(Ways::default(), Kind::Tcp, &group, session);
    let name = EntryName::new("public").expect("the name of the public entry is legal");
    Ok(entry::Options {
        name,
        listen,
        group,
        session,
        kind: entry::Kind::Tcp,
    })
}

/// An entry of any bytes, which has no use for keys of HTTP.
fn tcp(
    trusted: Option<Vec<String>>,
    timeouts: Option<TimeoutKeys>,
    at: &KeyPath,
    source: &Source,
) -> Result<entry::Kind, ConfigError> {
    let given = [
        ("trusted_proxies", trusted.is_some()),
        ("timeouts", timeouts.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((key, _)) => Err(source.key_error(&at.key(key), "is for entries of `kind: http`")),
        None => Ok(entry::Kind::Tcp),
    }
}

fn http(
    trusted: Option<Vec<String>>,
    timeouts: Option<TimeoutKeys>,
    at: &KeyPath,
    source: &Source,
) -> Result<entry::http::Options, ConfigError> {
    let defaults = entry::http::Timeouts::default();
    let mut networks = Vec::new();
    for (index, text) in trusted.unwrap_or_default().into_iter().enumerate() {
        let bad = |error: entry::http::network::BadNetwork| {
            let at = at.key("trusted_proxies").index(index);
            source.key_error(&at, format!("{error}, found {text:?}"))
        };
        networks.push(text.parse().map_err(bad)?);
    }
    let keys = timeouts.unwrap_or_default();
    let at = at.key("timeouts");
    let idle = keys.idle.map_or(defaults.idle, |Age(idle)| idle);
    Ok(entry::http::Options {
        trusted: networks,
        timeouts: entry::http::Timeouts {
            first_byte: source.duration(
                &at.key("first_byte"),
                keys.first_byte,
                TIMEOUT_MIN,
                defaults.first_byte,
            )?,
            idle: match idle {
                None => None,
                Some(idle) => Some(source.duration(&at.key("idle"), Some(Span(idle)), TIMEOUT_MIN, idle)?),
            },
        },
        ..entry::http::Options::default()
    })
}
