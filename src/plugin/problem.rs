//! What may be wrong with the options of a plugin.

use super::{
    bearer::TOKEN_LEN_MIN,
    credentials::CREDENTIALS_BYTES_MAX,
    rate_limit::{BURST_MAX, RATE_MAX},
};

/// A plugin that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{plugin}: {problem}")]
pub struct Error {
    /// Its place in the list, from 0.
    pub at: usize,
    /// Its name.
    pub plugin: &'static str,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with the options of a plugin. No secret and no value of a header is repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing to do.
    #[error("the list is empty")]
    Empty,
    /// Not a header's name.
    #[error("{0:?} is not the name of a header")]
    HeaderName(String),
    /// A header that belongs to the message or its connection.
    #[error("`{0}` belongs to one connection or frames its messages, which is not a plugin's to change")]
    HeaderReserved(String),
    /// The header `Host`.
    #[error("`host` is what `rewrite_host` changes")]
    HeaderHost,
    /// Bytes that a header cannot have.
    #[error("the value of `{0}` contains a control character")]
    HeaderValue(String),
    /// Not a path to begin with.
    #[error("expected the beginning of a path such as `/api`, found {0:?}")]
    Prefix(String),
    /// Nothing would happen.
    #[error("there is nothing to take off but `/`")]
    PrefixWhole,
    /// Not a host.
    #[error("expected `HOST` or `HOST:PORT`, found {0:?}")]
    Host(String),
    /// Not where one may be sent.
    #[error("expected `https://HOST/PATH`, `http://…` or a path, found {0:?}")]
    Location(String),
    /// Not a placeholder.
    #[error("expected `{{host}}`, `{{path}}` or `{{query}}` between braces, found {0:?}")]
    Placeholder(String),
    /// Not a status that redirects.
    #[error("expected 301, 302, 307 or 308, found {0}")]
    Status(u16),
    /// Nobody could come in.
    #[error("there is nobody who could come in")]
    Nobody,
    /// Not a user's name.
    #[error("a user's name has no colon and no control character and is not empty, found {0:?}")]
    User(String),
    /// Not a hash.
    #[error("the hash of {user:?} is not usable: {reason}")]
    Hash {
        /// Whose it is.
        user: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not a realm.
    #[error("a realm is printable ASCII, found {0:?}")]
    Realm(String),
    /// Too easy to guess.
    #[error("a token has {0} bytes, at least {TOKEN_LEN_MIN} are needed")]
    TokenShort(usize),
    /// Longer than what is looked at.
    #[error("a token has {0} bytes, at most {CREDENTIALS_BYTES_MAX} are looked at")]
    TokenLong(usize),
    /// A token that no request can carry.
    #[error("a token is printable ASCII without spaces")]
    Token,
    /// Not a rate.
    #[error("expected a rate from 1 to {RATE_MAX}, found {0}")]
    Rate(u32),
    /// Not a burst.
    #[error("expected a burst from 1 to {BURST_MAX}, found {0}")]
    Burst(u32),
    /// Not an origin.
    #[error("expected `*` or an origin as browsers write it, such as `https://example.com`, found {0:?}")]
    Origin(String),
    /// Not a method.
    #[error("{0:?} is not a method")]
    Method(String),
    /// Everything, with credentials.
    #[error("`*` in `{0}` excludes `credentials`: every site could act as the visitor")]
    Wildcard(&'static str),
    /// Two where there can be one.
    #[error("there is `{0}` already")]
    Beside(&'static str),
    /// A plugin that comes too late.
    #[error("it has to stand before `{0}`, which refuses the requests by which browsers ask beforehand")]
    Behind(&'static str),
}
