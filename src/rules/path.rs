//! What a rule asks of the path.

use std::str::FromStr;

use super::{
    error::ConditionError,
    normal::{Refused, normal},
};

/// The most segments of a pattern. More would let a request make the matcher call itself more deeply; fewer would be
/// too few for somebody.
const SEGMENTS_MAX: usize = 64;

/// Which paths a rule is about.
///
/// As text: `/v1` is a prefix, which ends where a segment ends (`/v1`, `/v1/` and `/v1/x`, not `/v10`; a `/` at its end
/// says nothing, and `/` is every path); `/v1/users/{id}` has parameters, each a whole segment that is not empty;
/// `/static/{*rest}` takes everything behind `/static/`, if there is anything; `=/healthz` is this path and no other.
///
/// Patterns are compared with paths in their normal form, in which `%2F` is no border, and are brought into it
/// themselves: `/caf%C3%A9`, `/caf%c3%a9` and `/café` are one pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// One path. All segments are literal.
    Exact(Segments),
    /// Everything below a path, and the path. All segments are literal.
    Prefix(Segments),
    /// Paths with something of any name in them.
    Params(Segments),
}

/// The segments of a pattern, in their normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments(Vec<Segment>);

/// One segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    /// This text.
    Literal(Box<str>),
    /// Any text but none, under this name.
    Param(Box<str>),
    /// All that is left, if there is anything. Stands last.
    Rest(Box<str>),
}

impl PathPattern {
    pub(super) fn segments(&self) -> &[Segment] {
        match self {
            Self::Exact(segments) | Self::Prefix(segments) | Self::Params(segments) => &segments.0,
        }
    }

    /// The paths of one gRPC method.
    pub(super) fn method(service: &str, method: &str) -> Self {
        Self::Exact(Segments([service, method].map(literal).into()))
    }

    /// The paths of all methods of a gRPC service.
    pub(super) fn service(service: &str) -> Self {
        Self::Prefix(Segments(vec![literal(service)]))
    }

    /// Whether it fits `path`, which is in its normal form.
    pub(super) fn fits(&self, path: &str) -> bool {
        let mut left = path.strip_prefix('/');
        for segment in self.segments() {
            let Some(text) = left else {
                return false;
            };
            let (first, behind) = split(text);
            match segment {
                Segment::Literal(literal) if **literal == *first => {}
                Segment::Param(_) if !first.is_empty() => {}
                Segment::Rest(_) => return !text.is_empty(),
                _ => return false,
            }
            left = behind;
        }
        left.is_none() || matches!(self, Self::Prefix(_))
    }

    /// The parameters of `path`, which a pattern with the same [`names`](Self::names) fits.
    pub(super) fn params<'a>(&'a self, path: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut params = Vec::new();
        let mut left = path.strip_prefix('/').unwrap_or(path);
        for segment in self.segments() {
            let (first, behind) = split(left);
            match segment {
                Segment::Literal(_) => {}
                Segment::Param(name) => params.push((&**name, first)),
                Segment::Rest(name) => params.push((name, left)),
            }
            left = behind.unwrap_or_default();
        }
        params
    }

    /// What stands at the places of its parameters, and nothing at the others; nothing at all without parameters.
    pub(super) fn names(&self) -> Option<Vec<Option<&Segment>>> {
        let name = |segment| match segment {
            &Segment::Literal(_) => None,
            name => Some(name),
        };
        let names = self.segments().iter().map(name).collect();
        matches!(self, Self::Params(_)).then_some(names)
    }
}

/// Takes the first segment off; behind the last one is nothing.
pub(super) fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((first, behind)) => (first, Some(behind)),
        None => (text, None),
    }
}

impl FromStr for PathPattern {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let error = |error: fn(String) -> ConditionError| error(text.to_owned());
        let (is_exact, path) = match text.strip_prefix('=') {
            Some(path) => (true, path),
            None => (false, text),
        };
        let has_params = path.contains(['{', '}']);
        if is_exact && has_params {
            return Err(error(ConditionError::ExactWithParams));
        }
        let Some(behind) = path.strip_prefix('/') else {
            return Err(error(ConditionError::Path));
        };
        if path.contains("//") {
            return Err(error(ConditionError::EmptySegment));
        }
        if path.contains(['?', '#']) {
            return Err(error(ConditionError::PathWithQuery));
        }
        let texts: Vec<_> = match is_exact || has_params {
            true => behind.split('/').collect(),
            false => behind.split_terminator('/').collect(),
        };
        if texts.len() > SEGMENTS_MAX {
            return Err(ConditionError::TooManySegments {
                found: texts.len(),
                max: SEGMENTS_MAX,
            });
        }
        let mut segments = Vec::with_capacity(texts.len());
        for (place, segment) in texts.iter().enumerate() {
            let is_last = place + 1 == texts.len();
            let segment = read_segment(segment, is_last, &segments).map_err(error)?;
            segments.push(segment);
        }
        let segments = Segments(segments);
        Ok(match (is_exact, has_params) {
            (true, _) => Self::Exact(segments),
            (_, true) => Self::Params(segments),
            _ => Self::Prefix(segments),
        })
    }
}

/// Reads one segment; `before` are those that stand before it.
fn read_segment(
    text: &str,
    is_last: bool,
    before: &[Segment],
) -> Result<Segment, fn(String) -> ConditionError> {
    let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        if text.contains(['{', '}']) {
            return Err(ConditionError::Param);
        }
        return match normal(&format!("/{text}")) {
            Ok(path) => Ok(literal(path.trim_start_matches('/'))),
            Err(Refused::PercentEncoding) => Err(ConditionError::PercentEncoding),
            Err(Refused::DotSegments) => Err(ConditionError::DotSegments),
            Err(Refused::Relative) => Err(ConditionError::Path),
        };
    };
    let (name, is_rest) = match name.strip_prefix('*') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.is_empty() || !name.chars().all(part) {
        return Err(ConditionError::Param);
    }
    let same_name = |other: &Segment| matches!(other, Segment::Param(other) if **other == *name);
    if before.iter().any(same_name) {
        return Err(ConditionError::ParamTwice);
    }
    match (is_rest, is_last) {
        (true, true) => Ok(Segment::Rest(name.into())),
        (true, false) => Err(ConditionError::RestNotLast),
        (false, _) => Ok(Segment::Param(name.into())),
    }
}

fn literal(text: &str) -> Segment {
    Segment::Literal(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_what_they_say() {
        let check = |pattern: &str, fit: &[&str], not: &[&str]| {
            let pattern: PathPattern = pattern.parse().unwrap();
            for path in fit {
                assert!(pattern.fits(path), "{pattern:?} {path}");
            }
            for path in not {
                assert!(!pattern.fits(path), "{pattern:?} {path}");
            }
        };
        for pattern in ["/v1", "/v1/"] {
            check(
                pattern,
                &["/v1", "/v1/", "/v1/x", "/v1//x"],
                &["/v10", "/v", "/", "//v1", "/V1"],
            );
        }
        check("/", &["/", "/a", "//"], &[]);
        check("=/", &["/"], &["/a", "//"]);
        check(
            "=/healthz",
            &["/healthz"],
            &["/healthz/", "/healthz/x", "/health"],
        );
        check("=/healthz/", &["/healthz/"], &["/healthz", "/healthz/x"]);
        check(
            "/u/{id}",
            &["/u/7", "/u/a%2Fb"],
            &["/u", "/u/", "/u/7/", "/u/7/x", "/x/7"],
        );
        check("/u/{id}/", &["/u/7/"], &["/u/7", "/u//"]);
        check("/{a}/x/{b}", &["/1/x/2"], &["/1/y/2", "//x/2"]);
        check(
            "/s/{*rest}",
            &["/s/a", "/s/a/b/", "/s//"],
            &["/s", "/s/", "/sa/b"],
        );
        check("/{*all}", &["/a", "//"], &["/"]);
        check(
            "/caf%C3%A9/%61",
            &["/caf%C3%A9/a", "/caf%C3%A9/a/b"],
            &["/cafe/a"],
        );
    }

    #[test]
    fn parameters_have_their_names() {
        let check = |pattern: &str, path: &str, expected: &[(&str, &str)]| {
            let pattern: PathPattern = pattern.parse().unwrap();
            assert!(pattern.fits(path));
            assert_eq!(pattern.params(path), expected);
        };
        check("/v1", "/v1/x", &[]);
        check("/u/{id}/{x-y_1}", "/u/7/%20", &[("id", "7"), ("x-y_1", "%20")]);
        check("/{a}/{*b}", "/1/2/3/", &[("a", "1"), ("b", "2/3/")]);
    }

    #[test]
    fn ways_to_write_one_pattern() {
        let parse = |text: &str| text.parse::<PathPattern>();
        assert_eq!(parse("/caf%c3%a9"), parse("/café"));
        assert_eq!(parse("/v1/"), parse("/v1"));
        assert_ne!(parse("=/v1/"), parse("=/v1"));
        assert_ne!(parse("/a%2fb"), parse("/a/b"));
    }

    #[test]
    fn a_mistake_says_what_was_expected() {
        let check = |text: &str, expected: &str| {
            assert_eq!(text.parse::<PathPattern>().unwrap_err().to_string(), expected);
        };
        for text in ["", "v1", "=", "=v1", "= /v1", "*", "http://a/", "{a}"] {
            let forms = "expected a path like `/v1`, `/v1/users/{id}`, `/static/{*rest}` or `=/healthz`";
            check(text, &format!("{forms}, found {text:?}"));
        }
        for text in [
            "/{}", "/{*}", "/a{b}", "/{a}b", "/{a", "/a}", "/{a b}", "/{{a}}", "/{a}{b}",
        ] {
            check(
                text,
                &format!(
                    "expected a parameter to be a whole segment with a name, like `/users/{{id}}`, found {text:?}"
                ),
            );
        }
        check("/{*a}/b", "expected `{*…}` at the end, found \"/{*a}/b\"");
        check(
            "/{a}/{*a}",
            "expected another name for each parameter, found \"/{a}/{*a}\"",
        );
        check(
            "=/{a}",
            "expected no parameters in a path that begins with `=`, found \"=/{a}\"",
        );
        check("//a", "expected no empty segment (`//`), found \"//a\"");
        check("/a?b", "expected a path without a query, found \"/a?b\"");
        check(
            "/a/%2e%2E",
            "expected no segment `.` or `..`, found \"/a/%2e%2E\"",
        );
        check(
            "/a%2",
            "expected two hexadecimal digits behind each `%`, found \"/a%2\"",
        );
        check(&"/a".repeat(65), "expected at most 64 segments, found 65");
        assert!("/a".repeat(64).parse::<PathPattern>().is_ok());
    }
}
