//! How a request is turned away.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderName, RETRY_AFTER},
};

use super::Decision;

/// A request that is turned away: by whom, and what the visitor is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The plugin that turns it away. Refusals are counted by it.
    pub plugin: &'static str,
    /// Why, in a word for logs. Default the plugin's name.
    pub reason: &'static str,
    /// The status of the response.
    pub status: StatusCode,
    /// What the status needs beside it, such as `Retry-After`.
    pub headers: HeaderMap,
    /// A sentence for the visitor. It says nothing of what is inside.
    pub message: &'static str,
}

impl Refusal {
    /// A refusal without headers.
    pub fn new(plugin: &'static str, status: StatusCode, message: &'static str) -> Self {
        Self {
            plugin,
            reason: plugin,
            status,
            headers: HeaderMap::new(),
            message,
        }
    }

    /// With this word for logs.
    pub fn because(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    /// With this header.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// With the time, in seconds, after which another try makes sense.
    pub fn after(self, seconds: u64) -> Self {
        self.with(RETRY_AFTER, seconds.into())
    }

    /// What the visitor gets.
    pub fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from_static(self.message.as_bytes()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, text);
        response
    }
}

impl From<Refusal> for Decision {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(Box::new(refusal))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_response() {
        let refusal = Refusal::new("rate_limit", StatusCode::TOO_MANY_REQUESTS, "too many requests").after(7);
        let response = refusal.into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[RETRY_AFTER], "7");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
        assert_eq!(response.body(), "too many requests");
    }
}
