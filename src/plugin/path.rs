//! Paths of requests: how they begin, and how they are changed.

use http::{
    request,
    uri::{PathAndQuery, Uri},
};

/// A `%` and two hexadecimal digits are one byte; everything else stays as it is.
pub(super) fn decoded(text: &str) -> Vec<u8> {
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    while let [first, rest @ ..] = bytes {
        bytes = rest;
        let byte = match (first, hex(rest.first()), hex(rest.get(1))) {
            (b'%', Some(high), Some(low)) => {
                bytes = &rest[2..];
                u8::try_from(high * 16 + low).unwrap_or(b'%')
            }
            _ => *first,
        };
        decoded.push(byte);
    }
    decoded
}

/// Whether a part of the path is `.` or `..`, in whatever way it is written: it leads elsewhere than it seems to.
pub(super) fn wanders(path: &str) -> bool {
    let dots = |part: &[u8]| part == b"." || part == b"..";
    decoded(path).split(|byte| matches!(byte, b'/' | b'\\')).any(dots)
}

/// What stands behind `prefix` in `path`: nothing, or something that begins with `/`. `None` when the path does not
/// begin so. A part counts as equal however it is encoded, for so the upstream will read it.
///
/// The prefix is empty, or begins with `/` and does not end with one.
pub(super) fn behind<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    // `*` and the host of a CONNECT are no paths.
    let mut rest = path.starts_with('/').then_some(path)?;
    for wanted in prefix.split('/').skip(1) {
        let inner = rest.strip_prefix('/')?;
        let end = inner.find('/').unwrap_or(inner.len());
        if decoded(&inner[..end]) != decoded(wanted) {
            return None;
        }
        rest = &inner[end..];
    }
    Some(rest)
}

/// Gives a request another path; its query stays. `None` when the result is no address, which is when it is too long.
pub(super) fn replace(request: &mut request::Parts, path: &str) -> Option<()> {
    let text = match request.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = request.uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(text).ok()?);
    request.uri = Uri::from_parts(parts).ok()?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_decoded_once() {
        let check = |text: &str, expected: &[u8]| assert_eq!(decoded(text), expected, "{text}");
        check("", b"");
        check("/a%2Fb%20c", b"/a/b c");
        check("%252e", b"%2e");
        check("%", b"%");
        check("%2", b"%2");
        check("%zz%4", b"%zz%4");
        check("%ff%00", b"\xff\0");
    }

    #[test]
    fn dots_are_seen_through_their_disguise() {
        for path in [
            "/..",
            "/../x",
            "/a/./b",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a%2f..%2fb",
            "/a\\..\\b",
            "/a%5c..",
        ] {
            assert!(wanders(path), "{path}");
        }
        for path in ["/", "/a", "/.well-known/x", "/a..b/...", "/%252e%252e/", "//a/"] {
            assert!(!wanders(path), "{path}");
        }
    }

    #[test]
    fn prefixes_end_where_parts_end() {
        let check = |path: &str, prefix: &str, expected: Option<&str>| {
            assert_eq!(behind(path, prefix), expected, "{path} behind {prefix}");
        };
        check("/api", "/api", Some(""));
        check("/api/", "/api", Some("/"));
        check("/api/v1/x", "/api", Some("/v1/x"));
        check("/api/v1/x", "/api/v1", Some("/x"));
        check("/api//x", "/api", Some("//x"));
        check("/%61pi/%78", "/api", Some("/%78"));
        check("/a%20b/c", "/a%20b", Some("/c"));
        check("/x", "", Some("/x"));
        check("/apis", "/api", None);
        check("/api%2Fv1", "/api", None);
        check("/api%2Fv1/x", "/api/v1", None);
        check("/", "/api", None);
        check("/ap", "/api", None);
        check("//api", "/api", None);
        check("/API", "/api", None);
        check("*", "", None);
        check("", "", None);
    }
}
