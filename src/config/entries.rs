//! Where visitors come in, as it stands in a file.

use std::{collections::BTreeMap, path::PathBuf};

use super::{
    ConfigError, RuleConfig,
    file::{AccessLogKeys, EntryKeys, PublicKeys, TimeoutKeys},
    load::{Source, TIMEOUT_MIN},
    logging::OutputKeys,
    ports::Ports,
    ranges::Placed,
    server::{Groups, PUBLIC_PORT, ServerFlags, Ways, group_name},
    tree::KeyPath,
    value::{AccessFormat, Age, Kind, Share, Span},
};
use crate::{
    entry::{
        self,
        http::{
            self, access,
            pages::{BadWhich, PAGE_LEN_MAX, Page, Pages},
        },
    },
    id::EntryName,
    session,
};

/// The entries of a server that names them.
///
/// # Errors
/// The first that is wrong, with its line and key.
pub(super) fn entries(
    keys: Placed<EntryKeys>,
    rules: &[RuleConfig],
    ports: &mut Ports<'_>,
    groups: &Groups,
    session: session::Options,
    source: &Source,
    warnings: &mut Vec<String>,
) -> Result<Vec<entry::Options>, ConfigError> {
    let mut built: Vec<entry::Options> = Vec::new();
    for (index, keys) in keys {
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
        let http_keys = HttpKeys {
            trusted: keys.trusted_proxies,
            timeouts: keys.timeouts,
            access_log: keys.access_log,
            server_timing: keys.server_timing,
            via: keys.via,
            error_pages: keys.error_pages,
        };
        let kind = match kind {
            Kind::Tcp => http_keys.none(&at, source)?,
            Kind::Http => {
                let mut options = http_keys.build(&at, source)?;
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

/// What only entries of HTTP have.
struct HttpKeys {
    trusted: Option<Vec<String>>,
    timeouts: Option<TimeoutKeys>,
    access_log: Option<AccessLogKeys>,
    server_timing: Option<bool>,
    via: Option<bool>,
    error_pages: Option<BTreeMap<String, PathBuf>>,
}

impl HttpKeys {
    /// An entry of any bytes, which has no use for them.
    fn none(self, at: &KeyPath, source: &Source) -> Result<entry::Kind, ConfigError> {
        let given = [
            ("trusted_proxies", self.trusted.is_some()),
            ("timeouts", self.timeouts.is_some()),
            ("access_log", self.access_log.is_some()),
            ("server_timing", self.server_timing.is_some()),
            ("via", self.via.is_some()),
            ("error_pages", self.error_pages.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(source.key_error(&at.key(key), "is for entries of `kind: http`")),
            None => Ok(entry::Kind::Tcp),
        }
    }

    fn build(self, at: &KeyPath, source: &Source) -> Result<http::Options, ConfigError> {
        let mut networks = Vec::new();
        for (index, text) in self.trusted.unwrap_or_default().into_iter().enumerate() {
            let bad = |error: http::network::BadNetwork| {
                let at = at.key("trusted_proxies").index(index);
                source.key_error(&at, format!("{error}, found {text:?}"))
            };
            networks.push(text.parse().map_err(bad)?);
        }
        let access = self.access_log;
        Ok(http::Options {
            trusted: networks,
            timeouts: timeouts(self.timeouts.unwrap_or_default(), &at.key("timeouts"), source)?,
            access: access
                .map(|keys| access_log(keys, &at.key("access_log"), source))
                .transpose()?,
            server_timing: self.server_timing.unwrap_or_default(),
            via: self.via.unwrap_or_default(),
            pages: error_pages(self.error_pages, &at.key("error_pages"), source)?,
            ..http::Options::default()
        })
    }
}

fn timeouts(keys: TimeoutKeys, at: &KeyPath, source: &Source) -> Result<http::Timeouts, ConfigError> {
    let defaults = http::Timeouts::default();
    let some = |key: &str, value| source.some_duration(&at.key(key), value, TIMEOUT_MIN);
    Ok(http::Timeouts {
        connect: some("connect", keys.connect.map(|Span(value)| value))?,
        first_byte: source.duration(
            &at.key("first_byte"),
            keys.first_byte,
            TIMEOUT_MIN,
            defaults.first_byte,
        )?,
        request_body: source.duration(
            &at.key("request_body"),
            keys.request_body,
            TIMEOUT_MIN,
            defaults.request_body,
        )?,
        idle: some("idle", keys.idle.map_or(defaults.idle, |Age(idle)| idle))?,
    })
}

fn access_log(keys: AccessLogKeys, at: &KeyPath, source: &Source) -> Result<access::Options, ConfigError> {
    let place = OutputKeys {
        output: keys.output,
        file: keys.file,
        rotation: keys.rotation,
        keep: keys.keep,
    };
    Ok(access::Options {
        output: place.build(at, source)?,
        format: match keys.format.unwrap_or_default() {
            AccessFormat::Json => access::Format::Json,
            AccessFormat::Combined => access::Format::Combined,
        },
        sample: keys
            .sample
            .map_or(access::Options::default().sample, |Share(share)| share),
        query: keys.query.unwrap_or(access::Options::default().query),
    })
}

/// Pages, read from the files that are named.
///
/// # Errors
/// A key that is no status, or a file that is no page.
pub(super) fn error_pages(
    keys: Option<BTreeMap<String, PathBuf>>,
    at: &KeyPath,
    source: &Source,
) -> Result<Pages, ConfigError> {
    let mut pages = BTreeMap::new();
    for (which, path) in keys.unwrap_or_default() {
        let at = at.key(&which);
        let key = which
            .parse()
            .map_err(|error: BadWhich| source.key_error(&at, format!("{error}, found `{which}`")))?;
        let full = source.relative(&path);
        let text = source
            .read_bytes(&full)
            .map_err(|error| source.key_error(&at, format!("cannot read {}: {error}", full.display())))?;
        if text.len() > PAGE_LEN_MAX {
            let message = format!("{} has more than {PAGE_LEN_MAX} bytes", full.display());
            return Err(source.key_error(&at, message));
        }
        let ending = path.extension().and_then(|ending| ending.to_str());
        pages.insert(key, Page::new(ending.unwrap_or_default(), text));
    }
    Ok(Pages::new(pages))
}
