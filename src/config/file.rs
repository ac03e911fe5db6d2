//! What stands in the files of servers and clients, key by key. Plain structs, every key optional; `server.rs`, `client.rs` and
//! `forward.rs` turn them into the checked types. `docs/configuration.md` describes every key and its default.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::value::{
    AccessFormat, Age, Balance, CandidateCount, Carry, Kind, Later, Level, LogFormat, LogOutput, Overflow,
    Points, PoolMode, ProbeKind, Ready, Reference, Replay, Rotation, SetSize, Share, Size, Span,
};

/// Declares the struct of one mapping: keys of this version, then keys of later versions.
macro_rules! keys {
    (
        $(#[$doc:meta])*
        $type:ident {
            $($(#[$key_doc:meta])* $key:ident: $value:ty,)*
        } later { $($later:ident),* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $type {
            $($(#[$key_doc])* pub $key: Option<$value>,)*
            $(#[doc = "Not in this version."] pub $later: Later,)*
        }
    };
}

pub(super) use keys;

keys! {
    /// The file of `adit server`.
    ServerFile {
        /// The address every port is opened on.
        bind: String,
        /// Where clients connect.
        control: ControlKeys,
        /// Where proxy connections come in.
        proxy: ProxyKeys,
        /// The one TCP entry of a server without `entries`.
        public: PublicKeys,
        /// Who may register.
        auth: AuthKeys,
        /// Where visitors come in.
        entries: Vec<EntryKeys>,
        /// How groups behave, by name.
        groups: BTreeMap<String, GroupKeys>,
        /// What strangers, clients and visitors may take.
        limits: LimitKeys,
        /// Heartbeats and handshakes.
        link: LinkKeys,
        /// Deadlines of sessions.
        session: SessionKeys,
        /// State, metrics and commands.
        admin: AdminKeys,
        /// Metrics alone.
        metrics: ListenKeys,
        /// How the server ends.
        drain: DrainKeys,
        /// What is written where.
        logging: LoggingKeys,
        /// Which requests go to which group.
        rules: Vec<super::rule_file::RuleKeys>,
        /// Lists of plugins that rules use by name.
        plugins: BTreeMap<String, Vec<super::rule_file::PluginKeys>>,
    } later { tls, upstreams }
}

keys! {
    /// `control` of a server.
    ControlKeys {
        /// The port.
        port: u16,
    } later {}
}

keys! {
    /// `proxy` of a server.
    ProxyKeys {
        /// The port.
        port: u16,
        /// `host:port` that clients use instead.
        advertise: String,
    } later {}
}

keys! {
    /// `public` of a server.
    PublicKeys {
        /// The port.
        port: u16,
        /// The group its visitors go to.
        group: String,
    } later {}
}

keys! {
    /// `auth` of a server.
    AuthKeys {
        /// The secret of whoever has none of its own.
        token: TokenKeys,
        /// One rule per client id.
        clients: Vec<AuthRuleKeys>,
    } later {}
}

keys! {
    /// One element of `auth.clients`.
    AuthRuleKeys {
        /// The id, or `*`.
        id: String,
        /// The groups it may serve.
        groups: Vec<String>,
        /// Its secret.
        token: TokenKeys,
    } later {}
}

keys! {
    /// Where a secret is kept: never in the configuration itself.
    TokenKeys {
        /// The file that holds it.
        file: PathBuf,
    } later {}
}

keys! {
    /// One element of `entries` of a server.
    EntryKeys {
        /// Its name.
        name: String,
        /// What it speaks.
        kind: Kind,
        /// Its address.
        listen: String,
        /// The group its visitors go to.
        group: String,
        /// What carries its sessions.
        carry: Carry,
        /// What happens where no connection is ready.
        overflow: Overflow,
        /// What may be sent again.
        replay: Replay,
        /// Whose `X-Forwarded-For` counts, with `kind: http`.
        trusted_proxies: Vec<String>,
        /// How long upstreams are waited for, with `kind: http`.
        timeouts: TimeoutKeys,
        /// A line for each request, with `kind: http`.
        access_log: AccessLogKeys,
        /// Whether answers say where the time went, with `kind: http`.
        server_timing: bool,
        /// Whether upstreams are told in `Via` which proxies a request has passed, with `kind: http`.
        via: bool,
        /// How it looks where the entry fails a request, with `kind: http`.
        error_pages: BTreeMap<String, PathBuf>,
    } later { tls }
}

keys! {
    /// `timeouts` of an HTTP entry.
    TimeoutKeys {
        /// For a client to connect its upstream.
        connect: Span,
        /// From the end of a request to the head of its answer.
        first_byte: Span,
        /// Within the body of a request.
        request_body: Span,
        /// Within the body of an answer.
        idle: Age,
    } later {}
}

keys! {
    /// `access_log` of an HTTP entry.
    AccessLogKeys {
        /// How lines look.
        format: AccessFormat,
        /// Where lines go.
        output: LogOutput,
        /// The file for `output: file`.
        file: PathBuf,
        /// When a new file begins.
        rotation: Rotation,
        /// How many files are kept.
        keep: u32,
        /// The share of requests that are logged.
        sample: Share,
        /// Whether paths are logged with their query.
        query: bool,
    } later {}
}

keys! {
    /// One value of `groups`.
    GroupKeys {
        /// How targets are chosen.
        balance: Balance,
        /// What carries its sessions.
        carry: Carry,
        /// What happens where no connection is ready.
        overflow: Overflow,
        /// What may be sent again.
        replay: Replay,
        /// How many connections are kept ready.
        pools: PoolKeys,
        /// How targets are probed.
        probing: ProbingKeys,
        /// What measurements count for.
        scoring: ScoringKeys,
        /// Who may be used.
        selector: SelectorKeys,
    } later {}
}

keys! {
    /// `pools`, everywhere.
    PoolKeys {
        /// How the number of ready connections is found.
        mode: PoolMode,
        /// Ready at least.
        min: u32,
        /// Ready (and, behind a client, busy) at most.
        max: u32,
        /// How long a connection may be kept ready.
        max_age: Age,
        /// What `mode: dynamic` looks at.
        scaling: ScalingKeys,
    } later {}
}

keys! {
    /// `pools.scaling`.
    ScalingKeys {
        /// How far back arrivals are looked at.
        window: Span,
    } later {}
}

keys! {
    /// `probing`, everywhere.
    ProbingKeys {
        /// What a probe is.
        kind: ProbeKind,
        /// Between two probes of an active target.
        interval: Span,
        /// How long an answer may take.
        timeout: Span,
        /// How many of the others are probed in one interval.
        probe_candidate_count: CandidateCount,
        /// What `kind: http` asks for.
        path: String,
        /// The status it expects.
        status: u16,
        /// The host it names.
        host: String,
    } later {}
}

keys! {
    /// `scoring`, everywhere.
    ScoringKeys {
        /// After so long a measurement counts half.
        half_life: Span,
        /// What a failure counts for at least.
        failure_penalty: Span,
        /// The latency that scores half.
        reference: Reference,
    } later {}
}

keys! {
    /// `selector`, everywhere.
    SelectorKeys {
        /// Between two evaluations.
        evaluation_interval: Span,
        /// The most active targets.
        active_set_size: SetSize,
        /// The least score.
        min_score_threshold: Points,
        /// How long one that came back takes to its whole share.
        slow_start: Span,
        /// How unwillingly active targets change.
        switching: SwitchingKeys,
    } later {}
}

keys! {
    /// `selector.switching`.
    SwitchingKeys {
        /// By how much a newcomer must be better.
        hysteresis: Share,
        /// How long a target stays at least.
        min_dwell: Span,
        /// Between two improvements.
        cooldown: Span,
        /// How long one that failed stays out.
        hold_off: Span,
    } later {}
}

keys! {
    /// `admin` of a server.
    AdminKeys {
        /// The address, or `off`.
        listen: String,
        /// How many entries must be served for the server to be ready.
        ready: Ready,
    } later {}
}

keys! {
    /// `admin` and `metrics`.
    ListenKeys {
        /// The address, or `off`.
        listen: String,
    } later {}
}

keys! {
    /// `limits` of a server.
    LimitKeys {
        /// Unproven connections.
        unproven: u32,
        /// Unproven connections from one address.
        unproven_per_address: u32,
        /// Registered clients.
        clients: u32,
        /// Upstreams of one client.
        upstreams_per_client: u32,
        /// Sessions, and visitors' connections to HTTP entries.
        sessions: u32,
        /// Connections of HTTP entries to upstreams.
        upstream_connections: u32,
        /// First bytes kept for replay, all sessions together.
        replay_memory: Size,
        /// Visitors waiting for a target.
        waiting: u32,
    } later {}
}

keys! {
    /// `link` of a server.
    LinkKeys {
        /// Between two heartbeats.
        heartbeat: Span,
        /// Silent intervals until a link is dead.
        missed_max: u32,
        /// From accept to a proven peer.
        handshake_timeout: Span,
        /// Data links of one client.
        links: u32,
        /// Streams of one data link.
        max_streams: u32,
    } later {}
}

keys! {
    /// `session` of a server.
    SessionKeys {
        /// The least time for an answer to `Start`.
        answer_timeout: Span,
        /// How long a client may take to connect its upstream.
        connect_timeout: Span,
        /// From accept to `Started`.
        start_timeout: Span,
        /// Half-closed and without a byte.
        half_closed_timeout: Span,
    } later {}
}

keys! {
    /// `drain` of every role.
    DrainKeys {
        /// From the signal to the end of accepting.
        delay: Span,
        /// How long sessions may take.
        timeout: Span,
    } later {}
}

keys! {
    /// `logging` of every role.
    LoggingKeys {
        /// The least important messages that are logged.
        level: Level,
        /// How lines look.
        format: LogFormat,
        /// Where lines go.
        output: LogOutput,
        /// The file for `output: file`.
        file: PathBuf,
        /// When a new file begins.
        rotation: Rotation,
        /// How many files are kept.
        keep: u32,
    } later {}
}

keys! {
    /// The file of `adit client`.
    ClientFile {
        /// Its name.
        client_id: String,
        /// The group of upstreams that name none.
        group: String,
        /// Each server's control address.
        servers: Vec<String>,
        /// Its secret.
        token: TokenKeys,
        /// What it serves.
        upstreams: Vec<UpstreamKeys>,
        /// Handshakes.
        link: ClientLinkKeys,
        /// Pauses between connection attempts.
        backoff: BackoffKeys,
        /// State, metrics and commands.
        admin: ListenKeys,
        /// Metrics alone.
        metrics: ListenKeys,
        /// How the client ends.
        drain: DrainKeys,
        /// What is written where.
        logging: LoggingKeys,
    } later { tls, allow, entries }
}

keys! {
    /// One element of `upstreams` of a client.
    UpstreamKeys {
        /// Its name.
        name: String,
        /// The group it serves.
        group: String,
        /// `host:port` of each address.
        targets: Vec<String>,
        /// The ports at the server, of targets with a range of ports.
        ports: String,
        /// How long connecting may take.
        connect_timeout: Span,
        /// How one of its addresses is chosen.
        balance: Balance,
        /// How many connections are kept ready; none without this key.
        pools: PoolKeys,
        /// How its addresses are probed.
        probing: ProbingKeys,
        /// What measurements count for.
        scoring: ScoringKeys,
        /// Which of its addresses may be used.
        selector: SelectorKeys,
    } later { carry, overflow, replay }
}

keys! {
    /// `link` of a client.
    ClientLinkKeys {
        /// From connect to a proven peer.
        handshake_timeout: Span,
    } later {}
}

keys! {
    /// `backoff` of a client.
    BackoffKeys {
        /// The ceiling of the first pause.
        base: Span,
        /// The ceiling of every pause.
        cap: Span,
        /// A connection this old forgives all failures.
        stable_after: Span,
    } later {}
}
