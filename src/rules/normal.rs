//! Paths in the one form in which they are compared.

use std::borrow::Cow;

use crate::probe::mutant;

/// Why a request is not looked up at all. It is answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No rule about paths can say anything about it: `*`, an authority, nothing.
    #[error("the path does not begin with `/`")]
    Relative,
    /// A `%` without two hexadecimal digits behind it.
    #[error("the path has a `%` that is not followed by two hexadecimal digits")]
    PercentEncoding,
    /// A segment is `.` or `..`, so where the path leads is for the upstream to decide, and not where it says.
    #[error("the path has a segment `.` or `..`")]
    DotSegments,
}

/// What begins a segment for some upstream or other, once the rest is in its normal form: `/`, and `/` and `\` encoded.
const BORDERS: [&str; 3] = ["/", "%2F", "%5C"];

const HEX_DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// Writes `path` so that two ways to write the same octets come out the same: `%` and digits where a character means
/// something or cannot stand, the character itself where it means nothing (the unreserved ones of RFC 3986), and
/// capitals in the digits.
///
/// Nothing else is changed. `//` stays two borders, and `%2F` stays as it is: it is a character of its segment and
/// never a border. Nothing is allocated for a path that is in this form already, as nearly all are.
///
/// # Errors
/// See [`Refused`]. `..` is refused beside an encoded slash, a backslash and a `;` too: there are upstreams to which
/// these end a segment, and behind `/public/..%2Fadmin` they see `/admin`.
pub(super) fn normal(path: &str) -> Result<Cow<'_, str>, Refused> {
    if !path.starts_with('/') {
        return Err(Refused::Relative);
    }
    let path = if path.bytes().all(stands) {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(rewritten(path)?)
    };
    if has_dot_segment(&path) {
        return Err(Refused::DotSegments);
    }
    Ok(path)
}

fn rewritten(path: &str) -> Result<String, Refused> {
    let mut bytes = path.bytes();
    let mut written = String::with_capacity(path.len() + 8);
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            match stands(byte) {
                true => written.push(char::from(byte)),
                false => encode(byte, &mut written),
            }
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
            return Err(Refused::PercentEncoding);
        };
        let byte = u8::try_from(high << 4 | low).map_err(|_| Refused::PercentEncoding)?;
        match is_unreserved(byte) || byte == b'/' && mutant!("encoded-slash-is-a-border") {
            true => written.push(char::from(byte)),
            false => encode(byte, &mut written),
        }
    }
    Ok(written)
}

fn encode(byte: u8, written: &mut String) {
    written.push('%');
    for digit in [byte >> 4, byte & 15] {
        written.push(char::from(HEX_DIGITS[usize::from(digit)]));
    }
}

/// Means nothing in a URL, so that it and its encoding are the same.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// May stand in a path as it is: what RFC 3986 calls `pchar`, and `/`.
fn stands(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b':' | b'@' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
}

fn has_dot_segment(path: &str) -> bool {
    let ends = |text: &str| {
        text.is_empty() || text.starts_with(';') || BORDERS.iter().any(|border| text.starts_with(border))
    };
    path.match_indices('.').any(|(at, _)| {
        let (before, dots) = path.split_at(at);
        let begins = BORDERS.iter().any(|border| before.ends_with(border));
        // Three dots are a name.
        begins
            && [".", ".."]
                .iter()
                .any(|name| dots.strip_prefix(name).is_some_and(ends))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_form() {
        let check = |path: &str, expected: &str| {
            assert_eq!(normal(path).as_deref(), Ok(expected), "{path}");
        };
        check("/", "/");
        check("/v1/users;a=1/x@y:z!$&'()*+,=~", "/v1/users;a=1/x@y:z!$&'()*+,=~");
        check("/%61%7e%2D", "/a~-");
        check("/%2f%2F%3b%c3%A4", "/%2F%2F%3B%C3%A4");
        check("/ä|\"\\ ", "/%C3%A4%7C%22%5C%20");
        check("//a///b//", "//a///b//");
        check("/%252e%252e/", "/%252e%252e/");
        check("/%00", "/%00");
        check("/.../.a/a./..b/a..", "/.../.a/a./..b/a..");
    }

    #[test]
    fn a_plain_path_is_not_copied() {
        assert!(matches!(normal("/static/app.js"), Ok(Cow::Borrowed(_))));
        assert!(matches!(normal("/static/%61pp.js"), Ok(Cow::Owned(_))));
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        let check = |paths: &[&str], refused: Refused| {
            for path in paths {
                assert_eq!(normal(path), Err(refused), "{path}");
            }
        };
        check(&["", "*", "a/b", "example.com:443", "%2Fa"], Refused::Relative);
        check(
            &["/%", "/%4", "/a%zz", "/%+1", "/%ä1", "/../%"],
            Refused::PercentEncoding,
        );
        check(
            &[
                "/.",
                "/..",
                "/a/../b",
                "/a/./b",
                "/%2e",
                "/a/%2E%2e/b",
                "/a/.%2e",
                "/a/..%2Fb",
                "/a%2f..",
                "/a/..\\b",
                "/a%5c../b",
                "/a/..;x/b",
                "/a/.;",
            ],
            Refused::DotSegments,
        );
    }

    proptest! {
        #[test]
        fn the_form_is_its_own_form(path in "/([a./%;]|%[0-9a-fA-F]{2}|\\PC){0,12}") {
            if let Ok(once) = normal(&path) {
                prop_assert_eq!(normal(&once), Ok(Cow::Borrowed(&*once)));
            }
        }
    }
}
