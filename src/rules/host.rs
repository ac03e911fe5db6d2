//! What a rule asks of the host.

use std::{net::Ipv6Addr, str::FromStr};

use super::error::ConditionError;

/// The longest name that there is. Source: RFC 1035, 2.3.4, without the dot at the end.
const HOST_LEN_MAX: usize = 253;

/// Which hosts a rule is about.
///
/// As text: `api.example.com` is this name; `*.example.com` is every name that ends in it and has one label or more in
/// front, so not `example.com` itself; `*` is any, also none. An IPv6 address stands in brackets, as it does in a
/// request. Capitals mean nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostPattern {
    /// One name or address.
    Exact(HostName),
    /// The names below one.
    Below(HostName),
    /// Any host.
    #[default]
    Any,
}

/// A name or an address in lower case, without a dot at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(Box<str>);

impl HostName {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// How many labels it has.
    pub(super) fn labels(&self) -> usize {
        1 + self.0.matches('.').count()
    }
}

impl HostPattern {
    /// Whether it fits a host in lower case, without a dot at its end.
    pub(super) fn fits(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => *name.0 == *host,
            Self::Below(name) => {
                let front = host
                    .strip_suffix(&*name.0)
                    .and_then(|front| front.strip_suffix('.'));
                front.is_some_and(|front| !front.is_empty())
            }
            Self::Any => true,
        }
    }
}

impl FromStr for HostPattern {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if !text.is_ascii() {
            return Err(ConditionError::HostNotAscii(text.to_owned()));
        }
        let (name, is_wildcard) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let is_name = name.len() <= HOST_LEN_MAX && name.split('.').all(is_label);
        match (is_name, is_wildcard) {
            (true, true) => Ok(Self::Below(HostName(name.into()))),
            (true, false) => Ok(Self::Exact(HostName(name.into()))),
            _ => match bracketed_address(text) {
                Some(address) => Ok(Self::Exact(address)),
                None if has_port(text) => Err(ConditionError::HostWithPort(text.to_owned())),
                None => Err(ConditionError::Host(text.to_owned())),
            },
        }
    }
}

fn is_label(text: &str) -> bool {
    // An underscore is no letter of a host's name, and yet there are hosts that have it.
    let part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&text.len()) && text.bytes().all(part)
}

/// An IPv6 address in the form in which clients send it.
fn bracketed_address(text: &str) -> Option<HostName> {
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    let address: Ipv6Addr = inside.parse().ok()?;
    Some(HostName(format!("[{address}]").into()))
}

fn has_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.ends_with(':') && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_what_they_say() {
        let check = |pattern: &str, fit: &[&str], not: &[&str]| {
            let pattern: HostPattern = pattern.parse().unwrap();
            for host in fit {
                assert!(pattern.fits(host), "{pattern:?} {host}");
            }
            for host in not {
                assert!(!pattern.fits(host), "{pattern:?} {host}");
            }
        };
        check("*", &["", "example.com", "[::1]"], &[]);
        for pattern in ["api.example.com", "API.Example.com."] {
            check(
                pattern,
                &["api.example.com"],
                &["example.com", "x.api.example.com", ""],
            );
        }
        for pattern in ["*.example.com", "*.EXAMPLE.com."] {
            check(
                pattern,
                &["a.example.com", "b.a.example.com"],
                &[
                    "example.com",
                    ".example.com",
                    "aexample.com",
                    "a.example.com.au",
                    "",
                ],
            );
        }
        check("*.com", &["example.com"], &["com"]);
        check("localhost", &["localhost"], &["a.localhost"]);
        check("192.0.2.1", &["192.0.2.1"], &["192.0.2.10"]);
        check("[2001:DB8:0::1]", &["[2001:db8::1]"], &["2001:db8::1"]);
        check("my_host", &["my_host"], &[]);
    }

    #[test]
    fn a_mistake_says_what_was_expected() {
        let check = |text: &str, expected: &str| {
            assert_eq!(text.parse::<HostPattern>().unwrap_err().to_string(), expected);
        };
        let label = "a".repeat(64);
        let name = ["a"; 128].join(".");
        for text in [
            "",
            ".",
            "*.",
            "**",
            "*example.com",
            "a.*.com",
            "*.*.com",
            "a..com",
            ".com",
            "a.com..",
            "a b",
            "http://a",
            "a/b",
            "::1",
            "[::1",
            "[a]",
            "*.[::1]",
            &label,
            &name,
        ] {
            check(
                text,
                &format!("expected a host like `api.example.com`, `*.example.com` or `*`, found {text:?}"),
            );
        }
        for text in ["a.com:80", "*.a.com:80", "[::1]:80", "127.0.0.1:8080"] {
            check(text, &format!("expected a host without a port, found {text:?}"));
        }
        check(
            "käse.de",
            "expected a name as it stands in a request (`xn--…`), found \"käse.de\"",
        );
    }
}
