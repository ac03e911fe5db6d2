//! The keys of a rule and of its plugins, as they stand in a file.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::{
    file::TimeoutKeys,
    value::{OneOrMany, Per, Size, Span, UpstreamProtocol},
};

macro_rules! keys {
    ($($(#[$doc:meta])* $type:ident { $($(#[$key_doc:meta])* $key:ident: $value:ty,)* })*) => {
        $($(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $type {
            $($(#[$key_doc])* pub $key: Option<$value>,)*
        })*
    };
}

keys! {
    /// One element of `rules`.
    RuleKeys {
        /// What it is called.
        name: String,
        /// Which hosts.
        host: OneOrMany,
        /// Which paths.
        path: String,
        /// Which methods.
        method: OneOrMany,
        /// Which headers there have to be.
        headers: BTreeMap<String, String>,
        /// Which gRPC service or method.
        grpc: String,
        /// A higher one wins.
        priority: u16,
        /// Where requests go.
        group: String,
        /// What upstreams speak.
        upstream_protocol: UpstreamProtocol,
        /// How long they are waited for.
        timeouts: TimeoutKeys,
        /// What is done on the way.
        plugins: Vec<PluginKeys>,
        /// How it looks where the entry fails a request.
        error_pages: BTreeMap<String, PathBuf>,
    }

    /// One element of `plugins`: exactly one of these keys.
    PluginKeys {
        /// All of a list under this name at the top of the file.
        #[serde(rename = "use")]
        use_list: String,
        /// Sets headers of the request.
        set_header: BTreeMap<String, String>,
        /// Adds headers to the request.
        add_header: BTreeMap<String, String>,
        /// Removes headers of the request.
        remove_header: OneOrMany,
        /// Sets headers of the response.
        set_response_header: BTreeMap<String, String>,
        /// Adds headers to the response.
        add_response_header: BTreeMap<String, String>,
        /// Removes headers of the response.
        remove_response_header: OneOrMany,
        /// Takes the beginning of the path off.
        strip_prefix: String,
        /// Puts another beginning in its place.
        replace_prefix: ReplacePrefixKeys,
        /// Makes it a request for another host.
        rewrite_host: String,
        /// Sends the visitor elsewhere.
        redirect: RedirectKeys,
        /// Asks for a name and a password.
        basic_auth: BasicAuthKeys,
        /// Asks for a token.
        bearer: BearerKeys,
        /// Limits how often requests may come.
        rate_limit: RateLimitKeys,
        /// Limits the body of the request.
        body_limit: Size,
        /// Gives each request an id.
        request_id: RequestIdKeys,
        /// Says which other sites' pages may read.
        cors: CorsKeys,
    }

    /// `replace_prefix`.
    ReplacePrefixKeys {
        /// What paths begin with.
        from: String,
        /// What they begin with then.
        to: String,
    }

    /// `redirect`.
    RedirectKeys {
        /// Where to.
        to: String,
        /// 301, 302, 307 or 308.
        status: u16,
    }

    /// `basic_auth`.
    BasicAuthKeys {
        /// Argon2 hashes of passwords, by name.
        users: BTreeMap<String, String>,
        /// What browsers show.
        realm: String,
        /// Whether the upstream sees the credentials.
        forward: bool,
    }

    /// `bearer`.
    BearerKeys {
        /// The tokens that are let in.
        tokens: OneOrMany,
        /// Whether the upstream sees the token.
        forward: bool,
    }

    /// `rate_limit`.
    RateLimitKeys {
        /// How many, in the long run.
        rate: u32,
        /// In which time.
        per: Per,
        /// How many at once.
        burst: u32,
        /// Whose requests are counted together.
        by: String,
    }

    /// `request_id`.
    RequestIdKeys {
        /// The header.
        header: String,
        /// Whether an id that comes with a request is kept.
        trust: bool,
    }

    /// `cors`.
    CorsKeys {
        /// Whose pages.
        origins: OneOrMany,
        /// The methods they may use.
        methods: OneOrMany,
        /// The headers they may send.
        headers: OneOrMany,
        /// The headers they may read.
        expose: OneOrMany,
        /// Whether requests come with cookies.
        credentials: bool,
        /// How long a browser need not ask again.
        max_age: Span,
    }
}
