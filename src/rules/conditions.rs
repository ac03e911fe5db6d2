//! What a rule asks of a request, and how people write it.

use std::str::FromStr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header::CONTENT_TYPE};

use super::{error::ConditionError, host::HostPattern, path::PathPattern};
use crate::probe::mutant;

/// What a rule asks of a request. The default asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Which hosts. Default: any.
    pub host: HostPattern,
    /// Which paths, or which gRPC methods. Default: any.
    pub path: PathCondition,
    /// Which methods; none is any. `GET` does not include `HEAD`.
    pub methods: Vec<Method>,
    /// Which headers there have to be; all of them.
    pub headers: Vec<(HeaderName, HeaderTest)>,
    /// A rule with more of it goes before all others. Default 0.
    pub priority: i32,
}

/// What rules ask of a request beside host and path: whether it is gRPC, methods, headers.
pub(super) type Message<'a> = (bool, Vec<&'a str>, Vec<(&'a str, Option<&'a [u8]>)>);

impl Conditions {
    /// What is asked beside host and path, if anything.
    pub(super) fn message(&self) -> Option<Message<'_>> {
        let is_grpc = matches!(self.path, PathCondition::Grpc(_));
        let methods: Vec<_> = self.methods.iter().map(Method::as_str).collect();
        let headers = self.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, test)| (name.as_str(), test.value()))
            .collect();
        (is_grpc || !methods.is_empty() || !headers.is_empty()).then_some((is_grpc, methods, headers))
    }
}

/// Which paths a rule is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PathCondition {
    /// Any path.
    #[default]
    Any,
    /// Those that fit a pattern.
    Pattern(PathPattern),
    /// Those of a gRPC service or method, in requests that are gRPC.
    Grpc(GrpcPattern),
}

impl PathCondition {
    /// Of what stands under `path` and under `grpc`.
    ///
    /// # Errors
    /// [`ConditionError::PathAndGrpc`].
    pub fn new(path: Option<PathPattern>, grpc: Option<GrpcPattern>) -> Result<Self, ConditionError> {
        match (path, grpc) {
            (None, None) => Ok(Self::Any),
            (Some(path), None) => Ok(Self::Pattern(path)),
            (None, Some(grpc)) => Ok(Self::Grpc(grpc)),
            (Some(_), Some(_)) => Err(ConditionError::PathAndGrpc),
        }
    }

    /// The pattern, whatever it comes from.
    pub(super) fn pattern(&self) -> Option<&PathPattern> {
        match self {
            Self::Any => None,
            Self::Pattern(pattern) | Self::Grpc(GrpcPattern(pattern)) => Some(pattern),
        }
    }
}

/// A gRPC service (`package.Service`, every method of it) or one method (`package.Service/Method`).
///
/// It is the path `/package.Service` with everything below, or `/package.Service/Method` alone, of requests whose
/// content type begins with `application/grpc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcPattern(PathPattern);

impl FromStr for GrpcPattern {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let (service, method) = match text.split_once('/') {
            Some((service, method)) => (service, Some(method)),
            None => (text, None),
        };
        let is_name = |text: &str| {
            let part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            !text.is_empty() && text.bytes().all(part)
        };
        if !service.split('.').all(is_name) || !method.is_none_or(is_name) {
            return Err(ConditionError::Grpc(text.to_owned()));
        }
        Ok(Self(match method {
            Some(method) => PathPattern::method(service, method),
            None => PathPattern::service(service),
        }))
    }
}

/// Whether a content type is that of gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    const BEGIN: &[u8] = b"application/grpc";
    let begin = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.as_bytes().get(..BEGIN.len()));
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(BEGIN))
}

/// What a header has to be.
///
/// As text: `present` is any value; anything else is that value, octet for octet. A `=` in front is not part of it, so
/// that `=present` is the value `present`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderTest {
    /// There, whatever its value.
    Present,
    /// This value; where a header stands several times, one of them.
    Value(HeaderValue),
}

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderFault {
    Missing,
    Differs,
}

impl HeaderTest {
    fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Present => None,
            Self::Value(value) => Some(value.as_bytes()),
        }
    }

    /// What is wrong with the header `name` of a request, if anything.
    pub(super) fn fault(&self, name: &HeaderName, headers: &HeaderMap) -> Option<HeaderFault> {
        let mut values = headers.get_all(name).iter().peekable();
        let Some(_) = values.peek() else {
            return Some(HeaderFault::Missing);
        };
        let seen = match mutant!("header-seen-in-its-first-line") {
            false => usize::MAX,
            true => 1,
        };
        match self {
            Self::Present => None,
            Self::Value(expected) if values.by_ref().take(seen).any(|value| value == expected) => None,
            Self::Value(_) => Some(HeaderFault::Differs),
        }
    }
}

impl FromStr for HeaderTest {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        if text == "present" {
            return Ok(Self::Present);
        }
        let value = text.strip_prefix('=').unwrap_or(text);
        // What stands around a value does not belong to it when it arrives.
        let is_bare = value.trim() == value;
        match HeaderValue::from_bytes(value.as_bytes()) {
            Ok(value) if is_bare => Ok(Self::Value(value)),
            _ => Err(ConditionError::HeaderValue(text.to_owned())),
        }
    }
}

/// Reads a method. Small letters are refused: to HTTP, `get` is another method than `GET`.
///
/// # Errors
/// [`ConditionError::Method`].
pub fn parse_method(text: &str) -> Result<Method, ConditionError> {
    let method = Method::from_bytes(text.as_bytes()).ok();
    method
        .filter(|method| !method.as_str().contains(|c: char| c.is_ascii_lowercase()))
        .ok_or_else(|| ConditionError::Method(text.to_owned()))
}

/// Reads the name of a header. Capitals mean nothing.
///
/// # Errors
/// [`ConditionError::HeaderName`].
pub fn parse_header_name(text: &str) -> Result<HeaderName, ConditionError> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| ConditionError::HeaderName(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn headers_are_there_or_are_equal() {
        let check = |test: &str, lines: &[(&'static str, &str)], expected: Option<HeaderFault>| {
            let test: HeaderTest = test.parse().unwrap();
            let name = parse_header_name("X-A").unwrap();
            assert_eq!(test.fault(&name, &headers(lines)), expected, "{test:?} {lines:?}");
        };
        check("present", &[("x-a", "")], None);
        check("present", &[("x-b", "1")], Some(HeaderFault::Missing));
        check("1", &[("x-b", "1")], Some(HeaderFault::Missing));
        check("1", &[("x-a", "2"), ("x-a", "1")], None);
        check("1", &[("x-a", "1, 2")], Some(HeaderFault::Differs));
        check("a", &[("x-a", "A")], Some(HeaderFault::Differs));
        check("=present", &[("x-a", "present")], None);
        check("=present", &[("x-a", "absent")], Some(HeaderFault::Differs));
        check("==", &[("x-a", "=")], None);
        check("=", &[("x-a", "")], None);
    }

    #[test]
    fn grpc_is_a_path_and_a_content_type() {
        let check = |text: &str, path: &str, expected: bool| {
            let grpc: GrpcPattern = text.parse().unwrap();
            assert_eq!(grpc.0.fits(path), expected, "{text} {path}");
        };
        check("shop.Cart", "/shop.Cart/Add", true);
        check("shop.Cart", "/shop.Carts/Add", false);
        check("shop.Cart/Add", "/shop.Cart/Add", true);
        check("shop.Cart/Add", "/shop.Cart/AddAll", false);
        check("Cart", "/Cart/Add", true);

        for (content_type, expected) in [
            ("application/grpc", true),
            ("Application/gRPC+proto", true),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(
                is_grpc(&headers(&[("content-type", content_type)])),
                expected,
                "{content_type}"
            );
        }
        assert!(!is_grpc(&headers(&[])));
    }

    #[test]
    fn a_mistake_says_what_was_expected() {
        let check = |error: ConditionError, expected: &str| assert_eq!(error.to_string(), expected);
        for text in ["", "get", "GET,POST", "GET POST"] {
            check(
                parse_method(text).unwrap_err(),
                &format!("expected a method in capitals, like `GET`, found {text:?}"),
            );
        }
        assert_eq!(parse_method("PURGE").unwrap().as_str(), "PURGE");
        for text in ["", "x a", "x:"] {
            check(
                parse_header_name(text).unwrap_err(),
                &format!("expected the name of a header, like `x-version`, found {text:?}"),
            );
        }
        for text in ["a\nb", " a", "=a "] {
            check(
                text.parse::<HeaderTest>().unwrap_err(),
                &format!("expected `present`, or the value of a header, found {text:?}"),
            );
        }
        for text in [
            "",
            "/",
            "/Add",
            "shop.Cart/",
            "shop..Cart",
            "shop.Cart/A/b",
            "shop.*",
            "/shop.Cart/Add",
        ] {
            check(
                text.parse::<GrpcPattern>().unwrap_err(),
                &format!(
                    "expected a gRPC service like `shop.Cart`, or a method like `shop.Cart/Add`, found {text:?}"
                ),
            );
        }
        let both = PathCondition::new("/".parse().ok(), "a.B".parse().ok());
        check(both.unwrap_err(), "expected `path` or `grpc`, found both");
    }
}
