//! What can be wrong with what people write.

/// What is wrong with the text of a condition. The message says what was expected, and stands behind file, line and key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// No host.
    #[error("expected a host like `api.example.com`, `*.example.com` or `*`, found {0:?}")]
    Host(String),
    /// Rules know no ports: an entry has one.
    #[error("expected a host without a port, found {0:?}")]
    HostWithPort(String),
    /// No request has such a host: names are encoded before they are sent.
    #[error("expected a name as it stands in a request (`xn--…`), found {0:?}")]
    HostNotAscii(String),
    /// No path.
    #[error(
        "expected a path like `/v1`, `/v1/users/{{id}}`, `/static/{{*rest}}` or `=/healthz`, found {0:?}"
    )]
    Path(String),
    /// `//`, which nobody means.
    #[error("expected no empty segment (`//`), found {0:?}")]
    EmptySegment(String),
    /// Requests with such paths are refused.
    #[error("expected no segment `.` or `..`, found {0:?}")]
    DotSegments(String),
    /// Requests with such paths are refused.
    #[error("expected two hexadecimal digits behind each `%`, found {0:?}")]
    PercentEncoding(String),
    /// The query of a request is not looked at.
    #[error("expected a path without a query, found {0:?}")]
    PathWithQuery(String),
    /// Braces that are no parameter.
    #[error("expected a parameter to be a whole segment with a name, like `/users/{{id}}`, found {0:?}")]
    Param(String),
    /// Two parameters of one name.
    #[error("expected another name for each parameter, found {0:?}")]
    ParamTwice(String),
    /// Something behind the rest.
    #[error("expected `{{*…}}` at the end, found {0:?}")]
    RestNotLast(String),
    /// A path that is exact and is not.
    #[error("expected no parameters in a path that begins with `=`, found {0:?}")]
    ExactWithParams(String),
    /// A pattern that is too long.
    #[error("expected at most {max} segments, found {found}")]
    TooManySegments {
        /// How many there are.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// No method.
    #[error("expected a method in capitals, like `GET`, found {0:?}")]
    Method(String),
    /// No name of a header.
    #[error("expected the name of a header, like `x-version`, found {0:?}")]
    HeaderName(String),
    /// Nothing that a header can hold.
    #[error("expected `present`, or the value of a header, found {0:?}")]
    HeaderValue(String),
    /// No gRPC service or method.
    #[error("expected a gRPC service like `shop.Cart`, or a method like `shop.Cart/Add`, found {0:?}")]
    Grpc(String),
    /// What is gRPC has its path from there.
    #[error("expected `path` or `grpc`, found both")]
    PathAndGrpc,
}
