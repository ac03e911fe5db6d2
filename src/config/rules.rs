//! Rules as they stand in a file become conditions, and plugins that can be built.

use std::collections::BTreeMap;

use super::{
    ConfigError, RuleConfig,
    entries::error_pages,
    load::{Source, TIMEOUT_MIN},
    read::nearest,
    rule_file::{PluginKeys, RuleKeys},
    rule_name::names,
    server::group_name,
    tree::KeyPath,
    value::{Age, OneOrMany, Per, Span, UpstreamProtocol},
};
use crate::{
    entry::http::upstream::Speech,
    plugin::{
        self, BasicAuthOptions, BearerOptions, By, CorsOptions, Options as Plugin, RateLimitOptions,
        RedirectOptions, RequestIdOptions, Secret,
    },
    rules::{ConditionError, Conditions, HostPattern, PathCondition, parse_header_name, parse_method},
};

/// Lists of plugins by the name under which rules use them.
type PluginLists = BTreeMap<String, Vec<PluginKeys>>;

/// What is said of an element that names more than one plugin.
const SEVERAL: &str = "expected one plugin, found several: each is an element of its own";

/// The rules of a server, in the order of the file.
///
/// # Errors
/// The first that is wrong, with its line and key.
pub(super) fn build(
    keys: Vec<RuleKeys>,
    lists: &PluginLists,
    source: &Source,
    warnings: &mut Vec<String>,
) -> Result<Vec<RuleConfig>, ConfigError> {
    check_lists(lists, &keys, source, warnings)?;
    let names = names(&keys, source)?;
    let rules = keys.into_iter().zip(names).enumerate();
    let built = rules.map(|(index, (keys, name))| {
        let at = KeyPath::new("rules").index(index);
        rule(keys, name, lists, &at, source)
    });
    built.collect()
}

/// Every list can be built, so that a mistake in one is found even where no rule uses it.
fn check_lists(
    lists: &PluginLists,
    rules: &[RuleKeys],
    source: &Source,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let used = |name: &String| {
        let plugins = rules.iter().filter_map(|rule| rule.plugins.as_ref()).flatten();
        plugins
            .filter_map(|keys| keys.use_list.as_ref())
            .any(|used| used == name)
    };
    for (name, keys) in lists {
        let at = KeyPath::new("plugins").key(name);
        if let Some(index) = keys.iter().position(|keys| keys.use_list.is_some()) {
            let message = "a list that has a name cannot use another one";
            return Err(source.key_error(&at.index(index).key("use"), message));
        }
        plugins(keys, &PluginLists::new(), &at, source)?;
        if !used(name) {
            warnings.push(format!("{}: no rule uses this list", source.place(&at)));
        }
    }
    Ok(())
}

/// The plugins of a list, with those of the lists that it uses.
fn plugins(
    keys: &[PluginKeys],
    lists: &PluginLists,
    at: &KeyPath,
    source: &Source,
) -> Result<Vec<Plugin>, ConfigError> {
    let (mut all, mut places) = (Vec::new(), Vec::new());
    for (index, keys) in keys.iter().enumerate() {
        let at = at.index(index);
        let Some(name) = &keys.use_list else {
            all.push(one_plugin(keys.clone(), &at, source)?);
            places.push(at);
            continue;
        };
        let alone = PluginKeys {
            use_list: None,
            ..keys.clone()
        };
        if one_plugin(alone, &at, source).is_ok() {
            return Err(source.key_error(&at, SEVERAL));
        }
        let Some(list) = lists.get(name) else {
            let known: Vec<_> = lists.keys().map(String::as_str).collect();
            let hint = match nearest(name, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known: {}", known.join(", ")),
            };
            let message = format!("there is no list `plugins.{name}` at the top of the file, {hint}");
            return Err(source.key_error(&at.key("use"), message));
        };
        let at = KeyPath::new("plugins").key(name);
        for (index, keys) in list.iter().enumerate() {
            all.push(one_plugin(keys.clone(), &at.index(index), source)?);
            places.push(at.index(index));
        }
    }
    // Whether they can be built does not depend on the key.
    plugin::build(&all, [0; 32]).map_err(|error| {
        let at = places[error.at].key(error.plugin);
        source.key_error(&at, error.problem.to_string())
    })?;
    Ok(all)
}

fn rule(
    keys: RuleKeys,
    name: String,
    lists: &PluginLists,
    at: &KeyPath,
    source: &Source,
) -> Result<RuleConfig, ConfigError> {
    let timeouts = keys.timeouts.clone().unwrap_or_default();
    let some = |key: &str, value| {
        let at = at.key("timeouts").key(key);
        source.some_duration(&at, value, TIMEOUT_MIN)
    };
    let own = keys.plugins.as_deref().unwrap_or_default();
    let plugins = plugins(own, lists, &at.key("plugins"), source)?;
    Ok(RuleConfig {
        group: group_name(keys.group.as_deref(), &at.key("group"), source)?,
        speech: match keys.upstream_protocol.unwrap_or_default() {
            UpstreamProtocol::Auto => None,
            UpstreamProtocol::Http1 => Some(Speech::Http1),
            UpstreamProtocol::Http2 => Some(Speech::Http2),
        },
        name,
        pages: error_pages(keys.error_pages.clone(), &at.key("error_pages"), source)?,
        connect: some("connect", timeouts.connect.map(|Span(value)| value))?,
        first_byte: some("first_byte", timeouts.first_byte.map(|Span(value)| value))?,
        request_body: some("request_body", timeouts.request_body.map(|Span(value)| value))?,
        idle: timeouts.idle.map(|Age(idle)| some("idle", idle)).transpose()?,
        conditions: conditions(keys, at, source)?,
        plugins,
    })
}

fn conditions(keys: RuleKeys, at: &KeyPath, source: &Source) -> Result<Vec<Conditions>, ConfigError> {
    let wrong = |key: &str, error: ConditionError| source.key_error(&at.key(key), error.to_string());
    let hosts = keys.host.map(|hosts| hosts.0);
    if hosts.as_ref().is_some_and(Vec::is_empty) {
        return Err(source.key_error(&at.key("host"), "the list is empty, so no request would fit"));
    }
    let hosts = hosts.unwrap_or_default();
    let hosts = hosts
        .iter()
        .map(|host| host.parse().map_err(|error| wrong("host", error)));
    let mut hosts: Vec<HostPattern> = hosts.collect::<Result<_, _>>()?;
    if hosts.is_empty() {
        hosts.push(HostPattern::default());
    }
    let path = keys
        .path
        .map(|path| path.parse().map_err(|error| wrong("path", error)));
    let grpc = keys
        .grpc
        .map(|grpc| grpc.parse().map_err(|error| wrong("grpc", error)));
    let methods = keys.method.unwrap_or_default().0;
    let methods = methods
        .iter()
        .map(|text| parse_method(text).map_err(|error| wrong("method", error)));
    let mut headers = Vec::new();
    for (name, test) in keys.headers.unwrap_or_default() {
        let wrong =
            |error: ConditionError| source.key_error(&at.key("headers").key(&name), error.to_string());
        headers.push((
            parse_header_name(&name).map_err(wrong)?,
            test.parse().map_err(wrong)?,
        ));
    }
    let of_any = Conditions {
        host: HostPattern::default(),
        path: PathCondition::new(path.transpose()?, grpc.transpose()?)
            .map_err(|error| wrong("grpc", error))?,
        methods: methods.collect::<Result<_, _>>()?,
        headers,
        priority: keys.priority.unwrap_or_default().into(),
    };
    let of_host = |host| Conditions {
        host,
        ..of_any.clone()
    };
    Ok(hosts.into_iter().map(of_host).collect())
}

/// The one plugin that an element of `plugins` names.
fn one_plugin(keys: PluginKeys, at: &KeyPath, source: &Source) -> Result<Plugin, ConfigError> {
    let words = |words: OneOrMany| words.0;
    let named = [
        keys.set_header.map(Plugin::SetHeader),
        keys.add_header.map(Plugin::AddHeader),
        keys.remove_header.map(|names| Plugin::RemoveHeader(names.0)),
        keys.set_response_header.map(Plugin::SetResponseHeader),
        keys.add_response_header.map(Plugin::AddResponseHeader),
        keys.remove_response_header
            .map(|names| Plugin::RemoveResponseHeader(names.0)),
        keys.strip_prefix.map(Plugin::StripPrefix),
        keys.replace_prefix.map(|keys| Plugin::ReplacePrefix {
            from: keys.from.unwrap_or_default(),
            to: keys.to.unwrap_or_default(),
        }),
        keys.rewrite_host.map(Plugin::RewriteHost),
        keys.redirect.map(|keys| {
            Plugin::Redirect(RedirectOptions {
                to: keys.to.unwrap_or_default(),
                status: keys.status.unwrap_or(RedirectOptions::default().status),
            })
        }),
        keys.basic_auth.map(|keys| {
            let defaults = BasicAuthOptions::default();
            let users = keys.users.unwrap_or_default().into_iter();
            Plugin::BasicAuth(BasicAuthOptions {
                users: users.map(|(name, hash)| (name, Secret::new(hash))).collect(),
                realm: keys.realm.unwrap_or(defaults.realm),
                forward: keys.forward.unwrap_or(defaults.forward),
            })
        }),
        keys.bearer.map(|keys| {
            Plugin::Bearer(BearerOptions {
                tokens: words(keys.tokens.unwrap_or_default())
                    .into_iter()
                    .map(Secret::new)
                    .collect(),
                forward: keys.forward.unwrap_or_default(),
            })
        }),
        keys.rate_limit.map(|keys| {
            Plugin::RateLimit(RateLimitOptions {
                rate: keys.rate.unwrap_or_default(),
                per: match keys.per.unwrap_or_default() {
                    Per::Second => plugin::Per::Second,
                    Per::Minute => plugin::Per::Minute,
                    Per::Hour => plugin::Per::Hour,
                },
                burst: keys.burst,
                by: match keys.by.as_deref() {
                    None | Some("rule") => By::Rule,
                    Some("address") => By::Address,
                    Some(header) => By::Header(header.to_owned()),
                },
            })
        }),
        keys.body_limit.map(|size| Plugin::BodyLimit(size.0 as u64)),
        keys.request_id.map(|keys| {
            let defaults = RequestIdOptions::default();
            Plugin::RequestId(RequestIdOptions {
                header: keys.header.unwrap_or(defaults.header),
                trust: keys.trust.unwrap_or(defaults.trust),
            })
        }),
        keys.cors.map(|keys| {
            let defaults = CorsOptions::default();
            Plugin::Cors(CorsOptions {
                origins: keys.origins.map_or(defaults.origins, words),
                methods: keys.methods.map_or(defaults.methods, words),
                headers: keys.headers.map_or(defaults.headers, words),
                expose: keys.expose.map_or(defaults.expose, words),
                credentials: keys.credentials.unwrap_or(defaults.credentials),
                max_age: keys.max_age.map(|Span(age)| age).or(defaults.max_age),
            })
        }),
    ];
    let mut named = named.into_iter().flatten();
    match (named.next(), named.next()) {
        (Some(plugin), None) => Ok(plugin),
        (None, _) => Err(source.key_error(at, "expected one plugin, like `set_header`, found none")),
        (Some(_), Some(_)) => Err(source.key_error(at, SEVERAL)),
    }
}
