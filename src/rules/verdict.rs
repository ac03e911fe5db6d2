//! What each rule has to say about a request, for people.

use std::fmt;

use http::HeaderName;

use super::rank::Advantage;

/// Why a rule has a request, or the first reason why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The request falls under it.
    Wins,
    /// It is about another host.
    Host,
    /// It is about another path.
    Path,
    /// It is about other methods.
    Method,
    /// The request has no such header.
    HeaderMissing(&'a HeaderName),
    /// The header has another value.
    HeaderDiffers(&'a HeaderName),
    /// It is about gRPC, and the content type is another.
    NotGrpc,
    /// It fits, and so does one that goes before it.
    Outranked {
        /// The rule that wins, by its place in the list, from 0.
        winner: usize,
        /// Why that one does.
        by: Advantage,
    },
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wins => f.write_str("wins"),
            Self::Host => f.write_str("host differs"),
            Self::Path => f.write_str("path differs"),
            Self::Method => f.write_str("method differs"),
            Self::HeaderMissing(name) => write!(f, "header {name} is missing"),
            Self::HeaderDiffers(name) => write!(f, "header {name} differs"),
            Self::NotGrpc => f.write_str("not gRPC"),
            // Written as the key is in messages about a configuration.
            Self::Outranked { winner, by } => write!(f, "matches, but rules[{winner}] wins: {by}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words() {
        let check = |verdict: Verdict, expected: &str| assert_eq!(verdict.to_string(), expected);
        check(Verdict::Wins, "wins");
        check(Verdict::Host, "host differs");
        let name = HeaderName::from_static("x-a");
        check(Verdict::HeaderMissing(&name), "header x-a is missing");
        check(Verdict::HeaderDiffers(&name), "header x-a differs");
        check(Verdict::NotGrpc, "not gRPC");
        let outranked = |by| Verdict::Outranked { winner: 3, by };
        for (by, words) in [
            (Advantage::Priority, "higher priority"),
            (Advantage::Host, "more specific host"),
            (Advantage::Path, "more specific path"),
            (Advantage::Conditions, "more conditions"),
            (Advantage::Earlier, "earlier"),
        ] {
            check(outranked(by), &format!("matches, but rules[3] wins: {words}"));
        }
    }
}
