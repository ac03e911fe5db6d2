//! What is known of a request when its rule is looked for.

use std::borrow::Cow;

use http::{HeaderMap, Method};

use super::normal::{Refused, normal};

/// What rules are asked about: a request, borrowed. It is not for printing, because there are secrets in headers.
#[derive(Clone)]
pub struct Query<'a> {
    pub(super) host: &'a str,
    /// In its normal form.
    pub(super) path: Cow<'a, str>,
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
}

impl<'a> Query<'a> {
    /// Of a request. `host` is in lower case and without a port, empty if there is none; a dot at its end is passed
    /// over. `path` is as it came, without the query.
    ///
    /// The path is brought into the form in which it is compared: `%41` is `A`, `%2F` stays what it is and separates
    /// nothing, `//` stays two borders. What goes to the upstream is the path as it came.
    ///
    /// # Errors
    /// [`Refused`]: the upstream might see another path than the rules do.
    pub fn new(
        host: &'a str,
        path: &'a str,
        method: &'a Method,
        headers: &'a HeaderMap,
    ) -> Result<Self, Refused> {
        Ok(Self {
            host: host.strip_suffix('.').unwrap_or(host),
            path: normal(path)?,
            method,
            headers,
        })
    }
}
