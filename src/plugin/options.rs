//! What a rule's plugins are, as plain data.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Chain, Error, Plugin, Problem,
    basic_auth::{self, BasicAuth},
    bearer::{self, Bearer},
    body_limit::BodyLimit,
    cors::{self, Cors},
    headers::{Headers, Side},
    host::RewriteHost,
    prefix::Prefix,
    rate_limit::{self, RateLimit},
    redirect::{self, Redirect},
    request_id::{self, RequestId},
    secret::Key,
};

/// One plugin of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Options {
    /// Sets headers of the request, whatever they were.
    SetHeader(BTreeMap<String, String>),
    /// Adds headers to those of the request.
    AddHeader(BTreeMap<String, String>),
    /// Removes headers of the request.
    RemoveHeader(Vec<String>),
    /// Sets headers of the response, whatever they were.
    SetResponseHeader(BTreeMap<String, String>),
    /// Adds headers to those of the response.
    AddResponseHeader(BTreeMap<String, String>),
    /// Removes headers of the response.
    RemoveResponseHeader(Vec<String>),
    /// Takes the beginning of the path off.
    StripPrefix(String),
    /// Puts another beginning in its place.
    ReplacePrefix {
        /// What paths begin with.
        from: String,
        /// What they begin with then.
        to: String,
    },
    /// Makes the request one for another host.
    RewriteHost(String),
    /// Sends the visitor elsewhere.
    Redirect(redirect::Options),
    /// Asks for a name and a password.
    BasicAuth(basic_auth::Options),
    /// Asks for a token.
    Bearer(bearer::Options),
    /// Limits how often.
    RateLimit(rate_limit::Options),
    /// Limits the body of the request, in bytes.
    BodyLimit(u64),
    /// Gives each request an id.
    RequestId(request_id::Options),
    /// Says which other sites' pages may read.
    Cors(cors::Options),
}

impl Options {
    /// The plugin's name in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SetHeader(_) => "set_header",
            Self::AddHeader(_) => "add_header",
            Self::RemoveHeader(_) => "remove_header",
            Self::SetResponseHeader(_) => "set_response_header",
            Self::AddResponseHeader(_) => "add_response_header",
            Self::RemoveResponseHeader(_) => "remove_response_header",
            Self::StripPrefix(_) => "strip_prefix",
            Self::ReplacePrefix { .. } => "replace_prefix",
            Self::RewriteHost(_) => "rewrite_host",
            Self::Redirect(_) => "redirect",
            Self::BasicAuth(_) => "basic_auth",
            Self::Bearer(_) => "bearer",
            Self::RateLimit(_) => "rate_limit",
            Self::BodyLimit(_) => "body_limit",
            Self::RequestId(_) => "request_id",
            Self::Cors(_) => "cors",
        }
    }

    fn build(&self, key: &Key) -> Result<Arc<dyn Plugin>, Problem> {
        Ok(match self {
            Self::SetHeader(headers) => Arc::new(Headers::set(Side::Request, headers)?),
            Self::AddHeader(headers) => Arc::new(Headers::add(Side::Request, headers)?),
            Self::RemoveHeader(names) => Arc::new(Headers::remove(Side::Request, names)?),
            Self::SetResponseHeader(headers) => Arc::new(Headers::set(Side::Response, headers)?),
            Self::AddResponseHeader(headers) => Arc::new(Headers::add(Side::Response, headers)?),
            Self::RemoveResponseHeader(names) => Arc::new(Headers::remove(Side::Response, names)?),
            Self::StripPrefix(prefix) => Arc::new(Prefix::strip(prefix)?),
            Self::ReplacePrefix { from, to } => Arc::new(Prefix::replace(from, to)?),
            Self::RewriteHost(host) => Arc::new(RewriteHost::new(host)?),
            Self::Redirect(options) => Arc::new(Redirect::new(options)?),
            Self::BasicAuth(options) => Arc::new(BasicAuth::new(options, key)?),
            Self::Bearer(options) => Arc::new(Bearer::new(options, key)?),
            Self::RateLimit(options) => Arc::new(RateLimit::new(options, key)?),
            Self::BodyLimit(bytes) => Arc::new(BodyLimit::new(*bytes)),
            Self::RequestId(options) => Arc::new(RequestId::new(options)?),
            Self::Cors(options) => Arc::new(Cors::new(options)?),
        })
    }

    /// What one plugin of a rule can do, and a second one would only undo.
    fn office(&self) -> Option<&'static str> {
        match self {
            // Both read the same header, and take it away.
            Self::BasicAuth(_) | Self::Bearer(_) => Some("credentials"),
            Self::BodyLimit(_) | Self::RequestId(_) | Self::Cors(_) => Some(self.name()),
            _ => None,
        }
    }

    /// Why this plugin cannot stand behind `earlier`.
    fn conflict(&self, earlier: &Self) -> Option<Problem> {
        if self.office().is_some() && self.office() == earlier.office() {
            return Some(Problem::Beside(earlier.name()));
        }
        // What a browser asks beforehand carries no credentials.
        let too_late = matches!(self, Self::Cors(_)) && earlier.office() == Some("credentials");
        too_late.then(|| Problem::Behind(earlier.name()))
    }
}

/// The chain of a rule.
///
/// `key` is random: by it the chain remembers credentials that it must not keep. What a chain has counted and
/// verified is its own, and a chain that is built anew begins anew; keep the old one where the options are equal.
///
/// # Errors
/// The first plugin that cannot be.
pub fn build(options: &[Options], key: [u8; 32]) -> Result<Chain, Error> {
    let key = Key::new(key);
    let mut plugins = Vec::with_capacity(options.len());
    for (at, each) in options.iter().enumerate() {
        let error = |problem| Error {
            at,
            plugin: each.name(),
            problem,
        };
        let mut before = options[..at].iter();
        if let Some(problem) = before.find_map(|earlier| each.conflict(earlier)) {
            return Err(error(problem));
        }
        plugins.push(each.build(&key).map_err(error)?);
    }
    Ok(Chain::new(plugins))
}

#[cfg(test)]
mod tests;
