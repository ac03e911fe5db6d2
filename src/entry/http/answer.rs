//! What the entry says itself: that there is nobody, that nobody answered, that it will not. Never what went wrong inside.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};

/// What is said of a failure, in a word, for people and their scripts.
pub const REASON: HeaderName = HeaderName::from_static("x-adit-reason");

/// What a body may fail with.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Why a request was not served by an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The request itself will not do.
    Bad(StatusCode, &'static str),
    /// No rule is for it.
    NoRule,
    /// The group has nobody who could serve it.
    NoTarget,
    /// The server is too busy.
    Overload,
    /// The server has as many connections to upstreams as it may.
    TooManyUpstreamConnections,
    /// Nobody could be connected.
    Unreachable,
    /// Whoever was asked broke off before it answered.
    Broken,
    /// Nobody answered in time.
    Timeout,
    /// The visitor did not go on with its body in time.
    BodyTimeout,
    /// The body is larger than it may be.
    TooLarge,
}

impl Failure {
    /// The word in the header and in the metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Bad(_, reason) => reason,
            Self::NoRule => "no_rule",
            Self::NoTarget => "no_target",
            Self::Overload => "overload",
            Self::TooManyUpstreamConnections => "too_many_upstream_connections",
            Self::Unreachable => "unreachable",
            Self::Broken => "upstream_broke",
            Self::Timeout => "upstream_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::TooLarge => "body_too_large",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Bad(status, _) => status,
            Self::NoRule => StatusCode::NOT_FOUND,
            Self::NoTarget | Self::Overload | Self::TooManyUpstreamConnections => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Unreachable | Self::Broken => StatusCode::BAD_GATEWAY,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }

    /// The status of gRPC that says the same (its specification, "HTTP to gRPC Status Code Mapping").
    fn grpc_status(self) -> u8 {
        match self {
            Self::Bad(..) => 13,
            Self::NoRule => 12,
            Self::TooLarge => 8,
            Self::Timeout | Self::BodyTimeout => 4,
            Self::NoTarget
            | Self::Overload
            | Self::TooManyUpstreamConnections
            | Self::Unreachable
            | Self::Broken => 14,
        }
    }
}

/// How long whoever finds nobody is asked to wait.
const RETRY_AFTER_SECONDS: Duration = Duration::from_secs(1);

/// The answer to a request that failed. To gRPC it is an answer without a body whose status is in its trailers
/// ("Trailers-Only").
pub fn failed(failure: Failure, grpc: bool) -> Response<Bytes> {
    if grpc {
        let mut response = Response::new(Bytes::new());
        *response.headers_mut() = grpc_trailers(failure);
        let kind = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        return response;
    }
    let status = failure.status();
    let words = status.canonical_reason().unwrap_or("error");
    let text = format!("{} {words}: {}\n", status.as_u16(), failure.reason());
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(REASON, HeaderValue::from_static(failure.reason()));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS.as_secs()));
    }
    response
}

/// What gRPC is told of a failure.
pub fn grpc_trailers(failure: Failure) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(u16::from(failure.grpc_status())));
    trailers.insert("grpc-message", HeaderValue::from_static(failure.reason()));
    trailers
}

/// No body.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
