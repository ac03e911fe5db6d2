//! All rules together.

use std::collections::BTreeMap;

use super::{
    conditions::{Conditions, HeaderFault, PathCondition, is_grpc},
    index::Index,
    path::PathPattern,
    query::Query,
    rank::Rank,
    tree::NONE,
    verdict::Verdict,
};

/// Rules, made once and only asked then: [`find`](Self::find) for requests, [`explain`](Self::explain) for people.
///
/// What an answer costs depends on the request and on how many patterns fit its host and path, not on how many rules
/// there are. Rules that ask for the same host and path and differ in what else they ask are tried one after the other.
#[derive(Debug)]
pub struct Matcher<T> {
    /// In the order in which they win, so that a place in it says which of two does.
    rules: Vec<Rule<T>>,
    /// What each of them asks. Apart from them, because a request needs little of it that is not in the index, and that
    /// little from the first of all rules that are alike in it: many rules have it in one place.
    conditions: Vec<Conditions>,
    index: Index,
}

#[derive(Debug)]
struct Rule<T> {
    /// Its place in the list, from 0.
    number: usize,
    /// The first rule that asks the same of method and headers; [`NONE`] if it asks nothing of them.
    same_message: u32,
    /// The first rule that has the same parameters at the same places of its path; [`NONE`] without parameters.
    same_params: u32,
    value: T,
}

/// The rule that a request falls under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match<'a, T> {
    /// Its place in the list, from 0.
    pub rule: usize,
    /// What came with it.
    pub value: &'a T,
    /// The parameters of the path, in their order: name and text. The text is in the form in which paths are compared,
    /// so that `%2F` is `%2F`.
    pub params: Vec<(&'a str, &'a str)>,
}

impl<T> Matcher<T> {
    /// Of rules, each with what it leads to. Which of two comes first matters only when nothing else tells them apart.
    ///
    /// Rules that never win are no mistake here.
    ///
    /// # Panics
    /// If there are 2^30 rules, or 4 GiB of their hosts and paths.
    pub fn new(rules: Vec<(Conditions, T)>) -> Self {
        let mut ranked: Vec<_> = rules.into_iter().enumerate().collect();
        // Stable: of two that are equal the earlier one stays before the other.
        ranked.sort_by_cached_key(|(_, (conditions, _))| Rank::of(conditions));
        let (numbers, (conditions, values)): (Vec<_>, (Vec<_>, Vec<_>)) = ranked.into_iter().unzip();
        let same_message = first_alike(conditions.iter().map(Conditions::message));
        let same_params = first_alike(conditions.iter().map(|asked| asked.path.pattern()?.names()));
        let index = Index::new(conditions.iter().map(|asked| (&asked.host, asked.path.pattern())));
        let rules = numbers
            .into_iter()
            .zip(values)
            .zip(same_message.into_iter().zip(same_params));
        let rule = |((number, value), (same_message, same_params))| Rule {
            number,
            same_message,
            same_params,
            value,
        };
        Self {
            rules: rules.map(rule).collect(),
            conditions,
            index,
        }
    }

    /// The rule that `query` falls under, if any.
    pub fn find<'a>(&'a self, query: &'a Query<'_>) -> Option<Match<'a, T>> {
        // Nothing stands at [`NONE`].
        let asked_at = |place: u32| self.conditions.get(place as usize);
        let passes = |place: u32| {
            let asked = asked_at(self.rules[place as usize].same_message);
            asked.is_none_or(|asked| fault_of_message(asked, query).is_none())
        };
        let place = self.index.first(query.host, &query.path, passes)?;
        let rule = &self.rules[place as usize];
        let pattern = asked_at(rule.same_params).and_then(|asked| asked.path.pattern());
        let params = pattern.map(|pattern| pattern.params(&query.path));
        Some(Match {
            rule: rule.number,
            value: &rule.value,
            params: params.unwrap_or_default(),
        })
    }

    /// What each rule says to `query`, in the order of the list. Asks every one of them: for people, not for requests.
    pub fn explain<'a>(&'a self, query: &Query<'_>) -> Vec<Verdict<'a>> {
        let mut winner: Option<usize> = None;
        let verdict = |place: usize| {
            let conditions = &self.conditions[place];
            let verdict = fault(conditions, query).unwrap_or_else(|| match winner {
                None => {
                    winner = Some(place);
                    Verdict::Wins
                }
                Some(winner) => Verdict::Outranked {
                    winner: self.rules[winner].number,
                    by: Rank::of(&self.conditions[winner]).advantage(&Rank::of(conditions)),
                },
            });
            (self.rules[place].number, verdict)
        };
        let mut verdicts: Vec<_> = (0..self.rules.len()).map(verdict).collect();
        verdicts.sort_by_key(|(number, _)| *number);
        verdicts.into_iter().map(|(_, verdict)| verdict).collect()
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

/// For each key the place of the first that is equal to it; [`NONE`] for none.
fn first_alike<K: Ord>(keys: impl Iterator<Item = Option<K>>) -> Vec<u32> {
    let mut firsts = BTreeMap::new();
    let first = |(key, place): (Option<K>, u32)| key.map_or(NONE, |key| *firsts.entry(key).or_insert(place));
    keys.zip(0..).map(first).collect()
}

/// The first reason why a rule does not fit.
fn fault<'a>(conditions: &'a Conditions, query: &Query<'_>) -> Option<Verdict<'a>> {
    if !conditions.host.fits(query.host) {
        return Some(Verdict::Host);
    }
    let fits = |pattern: &PathPattern| pattern.fits(&query.path);
    if !conditions.path.pattern().is_none_or(fits) {
        return Some(Verdict::Path);
    }
    fault_of_message(conditions, query)
}

/// The first reason why a rule does not fit that is neither host nor path.
fn fault_of_message<'a>(conditions: &'a Conditions, query: &Query<'_>) -> Option<Verdict<'a>> {
    if !conditions.methods.is_empty() && !conditions.methods.contains(query.method) {
        return Some(Verdict::Method);
    }
    for (name, test) in &conditions.headers {
        match test.fault(name, query.headers) {
            Some(HeaderFault::Missing) => return Some(Verdict::HeaderMissing(name)),
            Some(HeaderFault::Differs) => return Some(Verdict::HeaderDiffers(name)),
            None => {}
        }
    }
    let must_be_grpc = matches!(conditions.path, PathCondition::Grpc(_));
    (must_be_grpc && !is_grpc(query.headers)).then_some(Verdict::NotGrpc)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, Method};

    use super::*;
    use crate::rules::{Advantage, HeaderTest};

    /// A rule as `key=value` words.
    fn conditions(text: &str) -> Conditions {
        let mut conditions = Conditions::default();
        for word in text.split_whitespace() {
            let (key, value) = word.split_once(':').unwrap();
            match key {
                "host" => conditions.host = value.parse().unwrap(),
                "path" => conditions.path = PathCondition::Pattern(value.parse().unwrap()),
                "grpc" => conditions.path = PathCondition::Grpc(value.parse().unwrap()),
                "method" => conditions.methods.push(value.parse().unwrap()),
                "priority" => conditions.priority = value.parse().unwrap(),
                name => {
                    let test: HeaderTest = value.parse().unwrap();
                    conditions.headers.push((name.parse().unwrap(), test));
                }
            }
        }
        conditions
    }

    fn matcher(rules: &[&'static str]) -> Matcher<&'static str> {
        Matcher::new(rules.iter().map(|rule| (conditions(rule), *rule)).collect())
    }

    /// Asks by `METHOD host/path` and headers.
    fn ask<R>(
        (line, headers): (&str, &[(&'static str, &'static str)]),
        answer: impl FnOnce(&Query<'_>) -> R,
    ) -> R {
        let (method, url) = line.split_once(' ').unwrap();
        let (host, path) = url.split_at(url.find('/').unwrap());
        let method: Method = method.parse().unwrap();
        let header =
            |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), value.parse().unwrap());
        let headers: HeaderMap = headers.iter().map(header).collect();
        answer(&Query::new(host, path, &method, &headers).unwrap())
    }

    fn found(rules: &[&'static str], asked: (&str, &[(&'static str, &'static str)])) -> Option<&'static str> {
        let matcher = matcher(rules);
        ask(asked, |query| {
            let found = matcher.find(query)?;
            assert_eq!(rules[found.rule], *found.value);
            Some(*found.value)
        })
    }

    /// The rules win in this order: each has what is asked until it is taken away. Their order in the list is no matter.
    fn win_in_order(rules: &[&'static str], asked: (&str, &[(&'static str, &'static str)])) {
        for from in 0..rules.len() {
            let mut left = rules[from..].to_vec();
            assert_eq!(found(&left, asked), Some(rules[from]));
            left.reverse();
            assert_eq!(found(&left, asked), Some(rules[from]));
        }
    }

    #[test]
    fn the_order_of_winning() {
        win_in_order(
            &[
                "priority:2",
                "priority:1 host:*.b.c path:=/v1/users/7 method:GET",
                "host:a.b.c",
                "host:*.b.c",
                "host:*.c",
                "path:=/v1/users/7",
                "path:/v1/{x}/7",
                "path:/{x}/users/{y}",
                "path:/v1/users",
                "path:/v1/{*rest}",
                "path:/v1",
                "path:/{*rest}",
                "path:/ method:GET x-a:present x-b:1",
                "method:GET method:PUT x-a:present",
                "x-a:1",
                "host:*",
                "priority:-1 host:a.b.c path:=/v1/users/7",
            ],
            ("GET a.b.c/v1/users/7", &[("x-a", "1"), ("x-b", "1")]),
        );
        win_in_order(
            &["grpc:a.B/C", "path:=/a.B/C", "grpc:a.B", "path:/a.B"],
            ("POST h/a.B/C", &[("content-type", "application/grpc")]),
        );
    }

    #[test]
    fn the_earlier_of_equals_wins() {
        let matcher = matcher(&["path:/a/{x}", "path:/a/{y}", "path:/a/{z}"]);
        ask(("GET h/a/1", &[]), |query| {
            let found = matcher.find(query).unwrap();
            assert_eq!(found.rule, 0);
            assert_eq!(found.params, [("x", "1")]);
        });
    }

    #[test]
    fn what_fits_nothing_falls_through() {
        let check = |rules: &[&'static str], asked: &str, expected: Option<&str>| {
            assert_eq!(found(rules, (asked, &[])), expected, "{asked}");
        };
        check(&[], "GET h/", None);
        check(&["host:a", "path:/b"], "GET h/a", None);
        // One name for parameters is not one for all rules, and a method that differs leaves the others in.
        let rules = ["path:/a/{x} method:PUT", "path:/a/{y} method:GET", "path:/a"];
        check(&rules, "GET h/a/1", Some("path:/a/{y} method:GET"));
        check(&rules, "PUT h/a/1", Some("path:/a/{x} method:PUT"));
        check(&rules, "HEAD h/a/1", Some("path:/a"));
        // A literal that leads nowhere leaves the parameter in.
        check(&["path:/a/b/c", "path:/{x}/b"], "GET h/a/b", Some("path:/{x}/b"));
        // A host that has no such path leaves those below which it is.
        let rules = ["host:a.b.c path:/x", "host:*.b.c path:/y", "path:/"];
        check(&rules, "GET a.b.c/y", Some("host:*.b.c path:/y"));
        check(&rules, "GET a.b.c/z", Some("path:/"));
        check(&rules, "GET a.b.c./x", Some("host:a.b.c path:/x"));
        check(&rules, "GET b.c/y", Some("path:/"));
        check(&["path:/a/{x}"], "GET h/a/", None);
        check(&["path:/a"], "GET h/b%2Fa", None);
        check(&["path:/a"], "GET h/a%2Fb", None);
    }

    #[test]
    fn parameters_come_from_the_path_as_it_is_compared() {
        let matcher = matcher(&["path:/u/{id}/{*rest}"]);
        ask(("GET h/u/%41%2fb/x//%7e", &[]), |query| {
            let params = matcher.find(query).unwrap().params;
            assert_eq!(params, [("id", "A%2Fb"), ("rest", "x//~")]);
        });
    }

    #[test]
    fn every_rule_says_why() {
        let matcher = matcher(&[
            "host:a",
            "path:/y method:PUT",
            "method:PUT x-a:1",
            "x-a:1 x-b:2",
            "x-b:1",
            "grpc:x",
            "path:/",
            "path:/x",
            "path:/",
            "priority:-1 path:/x",
        ]);
        assert_eq!((matcher.len(), matcher.is_empty()), (10, false));
        let said: Vec<_> = ask(("GET h/x", &[("x-b", "3")]), |query| {
            matcher.explain(query).iter().map(ToString::to_string).collect()
        });
        assert_eq!(
            said,
            [
                "host differs",
                "path differs",
                "method differs",
                "header x-a is missing",
                "header x-b differs",
                "not gRPC",
                "matches, but rules[7] wins: more specific path",
                "wins",
                "matches, but rules[7] wins: more specific path",
                "matches, but rules[7] wins: higher priority",
            ]
        );
        let verdicts = ask(("GET h/z", &[]), |query| matcher.explain(query));
        assert_eq!(verdicts[6], Verdict::Wins);
        assert_eq!(
            verdicts[8],
            Verdict::Outranked {
                winner: 6,
                by: Advantage::Earlier
            }
        );
    }
}
