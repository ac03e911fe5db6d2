//! Plugins: the small things that a rule does to an HTTP request on its way in and to the response on its way out.
//!
//! Pure: a plugin sees heads, never a body or a socket, is told the time and is handed randomness. [`build`] makes
//! a [`Chain`] of [`Options`], once for each rule. Whoever serves HTTP asks [`Chain::request`] before it chooses a
//! target, and shows [`Chain::response`] everything that goes back to the visitor, its own errors as well.
//!
//! What only concerns one connection (`Connection` and what that names) has to be gone from a request before its
//! chain sees it: a visitor could name a header there that a plugin is about to set.

mod basic_auth;
mod bearer;
mod body_limit;
mod bucket;
mod chain;
mod cors;
mod credentials;
mod headers;
mod host;
mod options;
mod path;
mod prefix;
mod problem;
mod rate_limit;
mod redirect;
mod refusal;
mod request_id;
mod secret;
#[cfg(test)]
mod testing;
mod verified;

use std::{fmt, net::IpAddr};

use bytes::Bytes;
use http::{Response, request, response};

pub use self::{
    basic_auth::{Options as BasicAuthOptions, hash_password},
    bearer::Options as BearerOptions,
    chain::{Chain, Memo},
    cors::Options as CorsOptions,
    options::{Options, build},
    problem::{Error, Problem},
    rate_limit::{By, Options as RateLimitOptions, Per},
    redirect::Options as RedirectOptions,
    refusal::Refusal,
    request_id::Options as RequestIdOptions,
    secret::Secret,
};
use crate::time::Instant;

/// One thing that is done to requests, to responses, or to both. Many threads ask it at once.
pub trait Plugin: Send + Sync {
    /// Its name in a configuration.
    fn name(&self) -> &'static str;

    /// Looks at a request, and may change it. What [`response`](Self::response) has to know goes into the memo.
    fn request(&self, _request: &mut request::Parts, _visit: &Visit, _memo: &mut Memo) -> Decision {
        Decision::Pass
    }

    /// Changes the response to a request that this plugin has passed.
    fn response(&self, _memo: &Memo, _response: &mut response::Parts) {}

    /// The longest body, in bytes, that it lets through.
    fn body_limit(&self) -> Option<u64> {
        None
    }
}

/// Who asks, and when.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    /// The present.
    pub now: Instant,
    /// The visitor: the peer, or whom a trusted proxy names.
    pub peer: IpAddr,
    /// Whether the visitor came over TLS, to this node or to a trusted proxy before it.
    pub secure: bool,
    /// A random number that no other request has. It need not be a secret.
    pub fresh: u128,
}

/// What becomes of a request.
#[derive(Debug)]
#[must_use = "a request goes on only if its plugins say so"]
pub enum Decision {
    /// It goes on.
    Pass,
    /// It is turned away.
    Refuse(Box<Refusal>),
    /// It is answered here.
    Answer(Box<Response<Bytes>>),
    /// It depends on work that is too slow for a task which serves others too.
    Verify(Box<Check>),
}

/// Work that decides about a request, to be run where it holds nobody up.
pub struct Check {
    work: Box<dyn FnOnce() -> bool + Send>,
    refusal: Box<Refusal>,
}

/// That a [`Check`] was passed. [`Memo::verified`] takes it, and the chain goes on behind the plugin that asked.
#[derive(Debug)]
pub struct Proof(());

impl Check {
    /// A check that is passed when `work` says so, and is `refusal` otherwise.
    pub fn new(work: impl FnOnce() -> bool + Send + 'static, refusal: Refusal) -> Self {
        Self {
            work: Box::new(work),
            refusal: Box::new(refusal),
        }
    }

    /// Does the work, in tens of milliseconds.
    ///
    /// # Errors
    /// The refusal, when the check is not passed.
    pub fn run(self) -> Result<Proof, Box<Refusal>> {
        if (self.work)() {
            Ok(Proof(()))
        } else {
            Err(self.refusal)
        }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("refusal", &self.refusal)
            .finish_non_exhaustive()
    }
}
