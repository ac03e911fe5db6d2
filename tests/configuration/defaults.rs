//! The defaults of the document are those of the code.

use std::{collections::BTreeMap, fmt::Display, net::SocketAddr, path::Path};

use adit::{
    config::value::{AccessFormat, Rotation},
    config::{self, ClientFlags, Format, ForwardFlags, GroupConfig, Output, ServerFlags, Source, size},
    entry::http::{access::Format as AccessLines, pages::Pages},
    pool, prober,
    selector::Strategy,
};

use super::{CLIENT, Chapter, FORWARDER, SERVER, no_variables, token};

/// What `logging.keep` is when only a rotation is given; see `rotation_has_its_default`.
const KEPT_FILES: usize = 7;

/// What the code makes of an absent key, as the document writes it.
struct Defaults(BTreeMap<String, String>);

impl Defaults {
    fn new() -> Self {
        Self(BTreeMap::new())
    }

    fn set(&mut self, key: &str, value: impl Display) {
        self.0.insert(key.to_owned(), format!("`{value}`"));
    }

    fn say(&mut self, key: &str, words: &str) {
        self.0.insert(key.to_owned(), words.to_owned());
    }

    fn duration(&mut self, key: &str, value: std::time::Duration) {
        match value.subsec_millis() {
            0 => self.set(key, format!("{}s", value.as_secs())),
            _ => self.set(key, format!("{}ms", value.as_millis())),
        }
    }

    fn listen(&mut self, key: &str, value: Option<SocketAddr>) {
        self.set(key, value.map_or("off".to_owned(), |address| address.to_string()));
    }

    /// The keys of choice, probing and pools.
    fn choice(&mut self, prefix: &str, group: &GroupConfig) {
        let key = |name: &str| format!("{prefix}{name}");
        let balance = match group.balance {
            Strategy::Random => "random",
            Strategy::LeastConnections => "least_connections",
            other => panic!("no role has {other:?} as its default"),
        };
        self.set(&key("balance"), balance);
        let selector = &group.selector;
        self.duration(&key("selector.evaluation_interval"), selector.evaluation_interval);
        let all = "all".to_owned();
        self.set(
            &key("selector.active_set_size"),
            selector.active_set_size.map_or(all, |size| size.to_string()),
        );
        self.set(&key("selector.min_score_threshold"), selector.min_score_threshold);
        self.duration(&key("selector.slow_start"), selector.slow_start);
        let switching = selector.switching;
        self.set(
            &key("selector.switching.hysteresis"),
            format!("{}%", switching.hysteresis * 100.0),
        );
        self.duration(&key("selector.switching.min_dwell"), switching.min_dwell);
        self.duration(&key("selector.switching.cooldown"), switching.cooldown);
        self.duration(&key("selector.switching.hold_off"), switching.hold_off);
        let probing = &group.probing;
        assert_eq!(probing.kind, prober::Kind::Tcp);
        self.set(&key("probing.kind"), "tcp");
        self.duration(&key("probing.interval"), probing.interval);
        self.duration(&key("probing.timeout"), probing.timeout);
        assert_eq!(probing.candidate_count, prober::CandidateCount::Auto);
        self.set(&key("probing.probe_candidate_count"), "auto");
        self.set(&key("probing.path"), "/");
        self.say(&key("probing.status"), "200 to 399");
        let called = match prefix == SERVER.prefix {
            true => "the upstream's name",
            false => "the target's address",
        };
        self.say(&key("probing.host"), called);
        let scoring = group.scoring;
        self.duration(&key("scoring.half_life"), scoring.half_life);
        self.duration(&key("scoring.failure_penalty"), scoring.failure_penalty);
        assert_eq!(scoring.reference, None);
        self.set(&key("scoring.reference"), "median");
        self.pools(prefix, &group.pool);
    }

    fn pools(&mut self, prefix: &str, pool: &pool::Options) {
        let key = |name: &str| format!("{prefix}pools.{name}");
        let mode = match pool.mode {
            pool::Mode::Fixed => "fixed",
            pool::Mode::Dynamic => "dynamic",
        };
        self.set(&key("mode"), mode);
        self.set(&key("min"), pool.min);
        self.set(&key("max"), pool.max);
        match pool.max_age {
            Some(age) => self.duration(&key("max_age"), age),
            None => self.set(&key("max_age"), "never"),
        }
        self.duration(&key("scaling.window"), pool.scaling_window);
    }

    fn common(&mut self, drain: &config::Drain, logging: &config::Logging) {
        self.duration("drain.delay", drain.delay);
        self.duration("drain.timeout", drain.timeout);
        self.set("logging.level", logging.level.word());
        self.set("logging.format", logging.format.word());
        assert_eq!(logging.output, Output::Stdout);
        self.set("logging.output", "stdout");
        self.say("logging.file", "none");
        self.set("logging.rotation", Rotation::default().word());
        self.set("logging.keep", KEPT_FILES);
    }

    fn compare(self, chapter: &Chapter) {
        let documented = chapter.documented();
        for (key, default) in &documented {
            assert_eq!(Some(default), self.0.get(key), "the default of {key}");
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
    let mut defaults = Defaults::new();
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
    for key in ["auth.clients", "entries", "groups", "rules", "plugins"] {
        defaults.say(key, "none");
    }
    for key in ["auth.clients[].id", "entries[].name", "entries[].listen"] {
        defaults.say(key, "*required*");
    }
    defaults.say("auth.clients[].groups", "every group");
    defaults.set("auth.token.file", config::TOKEN_VARIABLE);
    defaults.say("auth.clients[].token.file", "`auth.token`, else `ADIT_TOKEN`");
    defaults.set("entries[].kind", config::value::Kind::default().word());
    defaults.set("entries[].group", config::DEFAULT_GROUP);
    defaults.say("entries[].carry", "the group's");
    defaults.say("entries[].overflow", "the group's");
    defaults.say("entries[].replay", "the group's");
    rules(&mut defaults);
    defaults.say("entries[].trusted_proxies", "none");
    let access = adit::entry::http::access::Options::default();
    defaults.set("entries[].access_log.format", AccessFormat::default().word());
    assert_eq!(access.format, AccessLines::Json);
    defaults.say("entries[].access_log.output", "`stdout`, with `file` `file`");
    assert_eq!(access.output, Output::Stdout);
    defaults.say("entries[].access_log.file", "none");
    defaults.set("entries[].access_log.rotation", Rotation::default().word());
    defaults.set("entries[].access_log.keep", KEPT_FILES);
    defaults.set(
        "entries[].access_log.sample",
        format!("{}%", access.sample * 100.0),
    );
    defaults.set("entries[].access_log.query", access.query);
    let http = adit::entry::http::Options::default();
    defaults.set("entries[].server_timing", http.server_timing);
    defaults.set("entries[].via", http.via);
    assert_eq!(http.pages, Pages::default());
    defaults.say("entries[].error_pages", "none");
    let timeouts = http.timeouts;
    assert_eq!(timeouts.connect, None);
    defaults.set("entries[].timeouts.connect", "session.connect_timeout");
    defaults.duration("entries[].timeouts.first_byte", timeouts.first_byte);
    defaults.duration("entries[].timeouts.request_body", timeouts.request_body);
    assert_eq!(timeouts.idle, None);
    defaults.set("entries[].timeouts.idle", "never");
    defaults.choice(SERVER.prefix, &GroupConfig::default());
    assert_eq!(public.session.carry, adit::session::Carriage::Dedicated);
    defaults.set("groups.NAME.carry", "dedicated");
    assert_eq!(public.session.overflow, adit::session::Overflow::Mux);
    defaults.set("groups.NAME.overflow", "mux");
    assert_eq!(public.session.replay, adit::session::Replay::Unacknowledged);
    defaults.set("groups.NAME.replay", "unacknowledged");
    defaults.set("limits.unproven", server.limits.unproven);
    defaults.set("limits.unproven_per_address", server.limits.unproven_per_address);
    defaults.set("limits.clients", server.registry.clients_max);
    defaults.set("limits.upstreams_per_client", server.registry.upstreams_max);
    defaults.set("limits.sessions", server.limits.sessions);
    assert_eq!(server.limits.upstream_connections, 2 * server.limits.sessions);
    defaults.say("limits.upstream_connections", "twice `limits.sessions`");
    defaults.set("limits.replay_memory", size::display(server.limits.replay_bytes));
    defaults.set("limits.waiting", server.limits.waiting);
    defaults.duration("link.heartbeat", server.link.heartbeat);
    defaults.set("link.missed_max", server.link.missed_max);
    defaults.duration("link.handshake_timeout", server.link.handshake_timeout);
    defaults.set("link.links", server.link.links);
    defaults.set("link.max_streams", server.link.max_streams);
    defaults.duration("session.answer_timeout", public.session.answer_timeout);
    defaults.duration("session.connect_timeout", public.session.connect_timeout);
    defaults.duration("session.start_timeout", public.session.start_timeout);
    defaults.duration("session.half_closed_timeout", public.session.half_closed_timeout);
    defaults.listen("admin.listen", server.admin);
    assert_eq!(server.ready, adit::admin::needs::Needs::All);
    defaults.set("admin.ready", "all");
    defaults.listen("metrics.listen", server.metrics);
    defaults.common(&server.drain, &server.logging);
    defaults.compare(&SERVER);
}

#[test]
fn the_defaults_of_a_client_are_those_of_the_document() {
    let text = "client_id: a\nupstreams: [{ name: b, targets: [\"1\"] }]";
    let source = Source::parse(Path::new("c.yaml"), text, Format::Yaml).unwrap();
    let client = config::build_client(&source, &ClientFlags::default(), &no_variables)
        .unwrap()
        .config;
    let mut defaults = Defaults::new();
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
    defaults.say("upstreams[].ports", "those of its targets");
    defaults.duration("upstreams[].connect_timeout", client.upstreams[0].connect_timeout);
    defaults.duration("link.handshake_timeout", client.link.handshake_timeout);
    defaults.duration("backoff.base", client.backoff.base);
    defaults.duration("backoff.cap", client.backoff.cap);
    defaults.duration("backoff.stable_after", client.backoff.stable_after);
    let upstream = &client.upstreams[0];
    assert!(
        upstream.choice.pool.keeps_none(),
        "nothing is kept ready, unless it is asked for"
    );
    defaults.choice(CLIENT.prefix, &upstream.choice);
    let text = "client_id: a\nupstreams: [{ name: b, targets: [\"1\"], pools: {} }]";
    let source = Source::parse(Path::new("c.yaml"), text, Format::Yaml).unwrap();
    let pooled = config::build_client(&source, &ClientFlags::default(), &no_variables).unwrap();
    defaults.pools(CLIENT.prefix, &pooled.config.upstreams[0].choice.pool);
    defaults.listen("admin.listen", client.admin);
    defaults.listen("metrics.listen", client.metrics);
    defaults.common(&client.drain, &client.logging);
    defaults.compare(&CLIENT);
}

#[test]
fn the_defaults_of_a_forwarder_are_those_of_the_document() {
    let flags = ForwardFlags {
        candidates: vec!["a:1".to_owned()],
        ..ForwardFlags::default()
    };
    let forwarder = config::load_forward(None, &flags, no_variables).unwrap().config;
    let mut defaults = Defaults::new();
    defaults.set("server.listen_addr", forwarder.listen);
    defaults.say("candidates.addresses", "none");
    defaults.say("candidates.file", "none");
    defaults.choice(FORWARDER.prefix, &forwarder.group);
    defaults.set("limits.sessions", forwarder.limits.sessions);
    defaults.set("limits.waiting", forwarder.limits.waiting);
    let session = forwarder.session;
    defaults.duration("session.connect_timeout", session.connect_timeout);
    defaults.duration("session.start_timeout", session.start_timeout);
    defaults.duration("session.half_closed_timeout", session.half_closed_timeout);
    defaults.listen("admin.listen", forwarder.admin);
    defaults.listen("metrics.listen", forwarder.metrics);
    defaults.common(&forwarder.drain, &forwarder.logging);
    defaults.compare(&FORWARDER);
}

#[test]
fn rotation_has_its_default() {
    let text = "logging: { file: a.log, rotation: daily }";
    let source = Source::parse(Path::new("s.yaml"), text, Format::Yaml).unwrap();
    let server = config::build_server(&source, &ServerFlags::default(), &token).unwrap();
    let Output::Rolling(rolling) = server.config.logging.output else {
        panic!("the files take turns");
    };
    assert_eq!((rolling.keep, rolling.hourly), (KEPT_FILES, false));
}

/// The keys of rules and their plugins.
fn rules(defaults: &mut Defaults) {
    use adit::plugin::{BasicAuthOptions, CorsOptions, RedirectOptions, RequestIdOptions};
    let rule = |key: &str| format!("rules[].{key}");
    let plugin = |key: &str| format!("rules[].plugins[].{key}");
    for key in ["host", "path", "method"] {
        defaults.say(&rule(key), "any");
    }
    for key in ["headers", "grpc", "plugins"] {
        defaults.say(&rule(key), "none");
    }
    defaults.set(&rule("priority"), adit::rules::Conditions::default().priority);
    defaults.set(&rule("group"), config::DEFAULT_GROUP);
    defaults.set(
        &rule("upstream_protocol"),
        config::value::UpstreamProtocol::default().word(),
    );
    defaults.say(&rule("name"), "what it asks for");
    for key in [
        "error_pages",
        "timeouts.connect",
        "timeouts.first_byte",
        "timeouts.request_body",
        "timeouts.idle",
    ] {
        defaults.say(&rule(key), "the entry's");
    }
    let none = "set_header add_header remove_header set_response_header add_response_header remove_response_header \
                strip_prefix rewrite_host body_limit use cors.headers cors.expose";
    none.split_whitespace()
        .for_each(|key| defaults.say(&plugin(key), "none"));
    let required = "replace_prefix.from replace_prefix.to redirect.to basic_auth.users bearer.tokens rate_limit.rate \
                    cors.origins";
    required
        .split_whitespace()
        .for_each(|key| defaults.say(&plugin(key), "*required*"));
    defaults.set(&plugin("redirect.status"), RedirectOptions::default().status);
    let basic = BasicAuthOptions::default();
    defaults.set(&plugin("basic_auth.realm"), basic.realm);
    defaults.set(&plugin("basic_auth.forward"), basic.forward);
    defaults.set(
        &plugin("bearer.forward"),
        adit::plugin::BearerOptions::default().forward,
    );
    defaults.set(&plugin("rate_limit.per"), config::value::Per::default().word());
    defaults.say(&plugin("rate_limit.burst"), "the rate");
    defaults.set(&plugin("rate_limit.by"), "rule");
    let id = RequestIdOptions::default();
    defaults.set(&plugin("request_id.header"), id.header);
    defaults.set(&plugin("request_id.trust"), id.trust);
    let cors = CorsOptions::default();
    defaults.set(&plugin("cors.methods"), cors.methods.join(", "));
    defaults.set(&plugin("cors.credentials"), cors.credentials);
    defaults.say(&plugin("cors.max_age"), "the browser's");
}
