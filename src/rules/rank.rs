//! Which of two rules goes before the other, whatever is asked.

use std::{cmp::Reverse, fmt};

use super::{
    conditions::{Conditions, PathCondition},
    host::HostPattern,
    path::{PathPattern, Segment},
};

/// Where a rule stands among all others; the least goes first. Of two that are equal, the earlier in the list does.
///
/// That two rules which fit one request can be compared without it is what makes the matcher fast: it looks for the
/// least of those that fit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    priority: Reverse<i32>,
    host: HostRank,
    path: PathRank,
    conditions: Reverse<usize>,
}

/// What makes a rule go before another one that fits as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advantage {
    /// More priority.
    Priority,
    /// A more specific host.
    Host,
    /// A more specific path.
    Path,
    /// More conditions about method, headers and gRPC.
    Conditions,
    /// An earlier place in the list.
    Earlier,
}

impl fmt::Display for Advantage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Priority => "higher priority",
            Self::Host => "more specific host",
            Self::Path => "more specific path",
            Self::Conditions => "more conditions",
            Self::Earlier => "earlier",
        })
    }
}

/// Exact names, names below others, any. Of two names below which one host is, the one with more labels is longer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum HostRank {
    Exact,
    Below { labels: Reverse<usize> },
    Any,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PathRank {
    kind: PathKind,
    /// Literal segments. For prefixes, which have no others, it is how long they are.
    literals: Reverse<usize>,
    shape: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathKind {
    Exact,
    /// Has parameters, and an end.
    Params,
    /// A prefix, named (`{*rest}`) or not.
    Open,
}

/// What stands at one place of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Literal,
    Param,
    Rest,
    /// The end of a prefix: fits wherever a named rest would, and with nothing behind it too.
    End,
}

impl Rank {
    pub(super) fn of(conditions: &Conditions) -> Self {
        let host = match &conditions.host {
            HostPattern::Exact(_) => HostRank::Exact,
            HostPattern::Below(name) => HostRank::Below {
                labels: Reverse(name.labels()),
            },
            HostPattern::Any => HostRank::Any,
        };
        let is_grpc = matches!(conditions.path, PathCondition::Grpc(_));
        let asked =
            usize::from(!conditions.methods.is_empty()) + conditions.headers.len() + usize::from(is_grpc);
        Self {
            priority: Reverse(conditions.priority),
            host,
            path: PathRank::of(&conditions.path),
            conditions: Reverse(asked),
        }
    }

    /// Why this one goes before `other`, which it does.
    pub(super) fn advantage(&self, other: &Self) -> Advantage {
        if self.priority != other.priority {
            Advantage::Priority
        } else if self.host != other.host {
            Advantage::Host
        } else if self.path != other.path {
            Advantage::Path
        } else if self.conditions != other.conditions {
            Advantage::Conditions
        } else {
            Advantage::Earlier
        }
    }
}

impl PathRank {
    fn of(path: &PathCondition) -> Self {
        // No pattern is the same as the prefix `/`.
        let segments = path.pattern().map_or(&[][..], PathPattern::segments);
        let part = |segment: &Segment| match segment {
            Segment::Literal(_) => Part::Literal,
            Segment::Param(_) => Part::Param,
            Segment::Rest(_) => Part::Rest,
        };
        let mut shape: Vec<_> = segments.iter().map(part).collect();
        let kind = match path.pattern() {
            Some(PathPattern::Exact(_)) => PathKind::Exact,
            Some(PathPattern::Params(_)) if shape.last() != Some(&Part::Rest) => PathKind::Params,
            Some(PathPattern::Params(_)) => PathKind::Open,
            Some(PathPattern::Prefix(_)) | None => {
                shape.push(Part::End);
                PathKind::Open
            }
        };
        let literals = shape.iter().filter(|part| **part == Part::Literal).count();
        Self {
            kind,
            literals: Reverse(literals),
            shape,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{HeaderTest, parse_header_name, parse_method};

    fn rank(edit: impl FnOnce(&mut Conditions)) -> Rank {
        let mut conditions = Conditions::default();
        edit(&mut conditions);
        Rank::of(&conditions)
    }

    /// Ranks stand in order, each before the next for the same reason.
    fn check(ranks: &[Rank], expected: Advantage) {
        for pair in ranks.windows(2) {
            let [first, second] = pair else { unreachable!() };
            assert!(first < second, "{first:?} {second:?}");
            assert_eq!(first.advantage(second), expected);
        }
    }

    #[test]
    fn priority_before_host_before_path_before_conditions() {
        let path = |text: &str| PathCondition::new(text.parse().ok(), None).unwrap();
        let ranks = [
            rank(|c| c.priority = 1),
            rank(|c| {
                c.host = "*.a".parse().unwrap();
                c.priority = 0;
            }),
            rank(|c| c.path = path("/a")),
            rank(|c| c.methods = vec![parse_method("GET").unwrap()]),
            rank(|_| {}),
        ];
        assert!(ranks.is_sorted(), "{ranks:?}");
        let reasons: Vec<_> = ranks.windows(2).map(|pair| pair[0].advantage(&pair[1])).collect();
        assert_eq!(
            reasons,
            [
                Advantage::Priority,
                Advantage::Host,
                Advantage::Path,
                Advantage::Conditions
            ]
        );
        assert_eq!(ranks[0].advantage(&ranks[0]), Advantage::Earlier);
    }

    #[test]
    fn hosts() {
        let host = |text: &str| rank(|c| c.host = text.parse().unwrap());
        let hosts = ["c", "*.b.c.d", "*.c.d", "*.d", "*"];
        check(&hosts.map(host), Advantage::Host);
        assert_eq!(host("a"), host("a.b.c"), "never both fit");
        assert_eq!(host("*"), rank(|_| {}));
    }

    #[test]
    fn paths() {
        let path = |text: &str| rank(|c| c.path = PathCondition::new(text.parse().ok(), None).unwrap());
        let paths = [
            "=/",
            "/a/b/{x}/d",
            "/a/{x}/c/{y}",
            "/{x}/b/c",
            "/{x}/b/c/{y}",
            "/a/{x}",
            "/a/{x}/{y}",
            "/{x}",
            "/{x}/{y}",
            "/a/b/c",
            "/a/b/{*x}",
            "/a/b",
            "/a/{x}/{*y}",
            "/a/{*x}",
            "/a",
            "/{x}/a/{*y}",
            "/{x}/{y}/{*z}",
            "/{x}/{*y}",
            "/{*x}",
            "/",
        ];
        check(&paths.map(path), Advantage::Path);
        assert_eq!(path("/"), rank(|_| {}), "any path");
        let grpc = |text: &str| rank(|c| c.path = PathCondition::new(None, text.parse().ok()).unwrap());
        check(&[grpc("a.B"), path("/a.B")], Advantage::Conditions);
        check(&[grpc("a.B/C"), path("/a.B/{x}"), grpc("a.B")], Advantage::Path);
    }

    #[test]
    fn conditions_are_counted() {
        let asked = |methods: &[&str], headers: usize| {
            rank(|c| {
                c.methods = methods
                    .iter()
                    .map(|method| parse_method(method).unwrap())
                    .collect();
                let header = (parse_header_name("x").unwrap(), HeaderTest::Present);
                c.headers = vec![header; headers];
            })
        };
        check(
            &[
                asked(&["GET"], 2),
                asked(&["GET"], 1),
                asked(&[], 1),
                asked(&[], 0),
            ],
            Advantage::Conditions,
        );
        assert_eq!(
            asked(&["GET", "PUT"], 0),
            asked(&[], 1),
            "methods are one condition"
        );
    }
}
