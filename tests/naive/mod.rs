//! The rules engine as one would write it in an afternoon: every rule is asked, and all that fit are compared with
//! each other. It reads what people write, and shares nothing with `src/rules` but what its results are compared in.
//!
//! The property tests in `tests/rules.rs` and the fuzz target `rules` hold the engine against it.

mod path;

use adit::rules::{
    ConditionError, Conditions, Matcher, PathCondition, Query, Refused, Verdict, parse_header_name,
    parse_method,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use path::{Params, Segment, fits_path, pattern_segments, segments};

/// A rule as it is written; what is empty is not asked.
#[derive(Clone, Debug, Default)]
pub struct Written {
    pub host: String,
    pub path: String,
    pub grpc: String,
    pub methods: Vec<String>,
    pub headers: Vec<(String, String)>,
    pub priority: i32,
}

/// A request. The host is in lower case; methods and headers are legal.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub host: String,
    pub path: String,
    pub method: String,
    pub headers: Vec<(String, String)>,
}

impl Written {
    /// What the engine reads of it.
    pub fn conditions(&self) -> Result<Conditions, ConditionError> {
        let mut conditions = Conditions {
            priority: self.priority,
            ..Conditions::default()
        };
        if !self.host.is_empty() {
            conditions.host = self.host.parse()?;
        }
        let path = (!self.path.is_empty()).then(|| self.path.parse()).transpose()?;
        let grpc = (!self.grpc.is_empty()).then(|| self.grpc.parse()).transpose()?;
        conditions.path = PathCondition::new(path, grpc)?;
        for method in &self.methods {
            conditions.methods.push(parse_method(method)?);
        }
        for (name, test) in &self.headers {
            conditions.headers.push((parse_header_name(name)?, test.parse()?));
        }
        Ok(conditions)
    }

    /// The path that it asks for, whichever key it stands under.
    fn pattern(&self) -> String {
        match (
            self.path.is_empty(),
            self.grpc.is_empty(),
            self.grpc.contains('/'),
        ) {
            (false, _, _) => self.path.clone(),
            (true, true, _) => "/".to_owned(),
            (true, false, true) => format!("=/{}", self.grpc),
            (true, false, false) => format!("/{}", self.grpc),
        }
    }

    /// The parameters, if the rule fits.
    fn fits(&self, asked: &Asked, segments: &[Segment]) -> Option<Params> {
        let has = |name: &str, test: &str| {
            let mut values = asked
                .headers
                .iter()
                .filter(|(other, _)| other.eq_ignore_ascii_case(name));
            match test {
                "present" => values.next().is_some(),
                value => values.any(|(_, other)| other == value.strip_prefix('=').unwrap_or(value)),
            }
        };
        let mut headers = asked.headers.iter();
        let content_type = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let is_grpc = content_type.is_some_and(|(_, value)| {
            let value = value.to_ascii_lowercase();
            value.starts_with("application/grpc")
        });
        let fits = fits_host(&self.host, &asked.host)
            && (self.methods.is_empty() || self.methods.contains(&asked.method))
            && self.headers.iter().all(|(name, test)| has(name, test))
            && (self.grpc.is_empty() || is_grpc);
        fits_path(&self.pattern(), segments).filter(|_| fits)
    }

    /// How it compares with others, the least first.
    fn order(&self) -> impl Ord {
        let host = without_dot(&self.host);
        let host_kind = match host.as_str() {
            "" | "*" => 2,
            host if host.starts_with('*') => 1,
            _ => 0,
        };
        // Two names never fit one host.
        let labels = if host_kind == 1 {
            host.matches('.').count()
        } else {
            0
        };
        let pattern = self.pattern();
        let mut shape: String = pattern_segments(&pattern)
            .iter()
            .map(|segment| match segment {
                segment if segment.starts_with("{*") => 'r',
                segment if segment.starts_with('{') => 'p',
                _ => 'l',
            })
            .collect();
        let path_kind = match pattern.as_str() {
            pattern if pattern.starts_with('=') => 0,
            pattern if pattern.contains("{*") => 2,
            pattern if pattern.contains('{') => 1,
            _ => {
                shape.push('z');
                2
            }
        };
        let literals = shape.matches('l').count();
        let others =
            self.headers.len() + usize::from(!self.methods.is_empty()) + usize::from(!self.grpc.is_empty());
        let less = |n: usize| usize::MAX - n;
        let path = (path_kind, less(literals), shape);
        (
            -i64::from(self.priority),
            host_kind,
            less(labels),
            path,
            less(others),
        )
    }
}

/// The rule that has the request, and its parameters.
pub fn find(rules: &[Written], asked: &Asked) -> Result<Option<(usize, Params)>, Refused> {
    let path = segments(&asked.path)?;
    let mut best: Option<(usize, Params)> = None;
    for (number, rule) in rules.iter().enumerate() {
        let Some(params) = rule.fits(asked, &path) else {
            continue;
        };
        let is_better = best
            .as_ref()
            .is_none_or(|(other, _)| rule.order() < rules[*other].order());
        if is_better {
            best = Some((number, params));
        }
    }
    Ok(best)
}

/// Asks the engine, and panics if anything it says is not so.
pub fn compare(rules: &[Written], matcher: &Matcher<usize>, asked: &Asked) {
    let method: Method = asked.method.parse().expect("a method");
    let headers = header_map(&asked.headers);
    let query = Query::new(&asked.host, &asked.path, &method, &headers);
    let expected = find(rules, asked);
    let (expected, query) = match (expected, query) {
        (Ok(expected), Ok(query)) => (expected, query),
        (expected, query) => {
            assert_eq!(query.err(), expected.err(), "{asked:?}");
            return;
        }
    };
    let found = matcher.find(&query);
    let own = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    let shown = found.as_ref().map(|found| {
        assert_eq!(found.rule, *found.value, "every rule has its own value");
        (found.rule, found.params.iter().map(own).collect())
    });
    assert_eq!(shown, expected, "{asked:?}");

    let path = segments(&asked.path).expect("a path that is not refused");
    let verdicts = matcher.explain(&query);
    assert_eq!(verdicts.len(), rules.len());
    for (number, (rule, verdict)) in rules.iter().zip(verdicts).enumerate() {
        let winner = found.as_ref().map(|found| found.rule);
        let fits = rule.fits(asked, &path).is_some();
        match verdict {
            Verdict::Wins => assert_eq!(winner, Some(number)),
            Verdict::Outranked { winner: other, .. } => {
                assert!(
                    fits && winner == Some(other) && number != other,
                    "{rule:?} {verdict}"
                );
            }
            _ => assert!(!fits, "{rule:?} {verdict}"),
        }
    }
}

fn header_map(lines: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let name: HeaderName = name.parse().expect("a name");
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
    }
    map
}

fn without_dot(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inside.and_then(|inside| inside.parse::<std::net::Ipv6Addr>().ok()) {
        Some(address) => format!("[{address}]"),
        None => host,
    }
}

fn fits_host(pattern: &str, host: &str) -> bool {
    let pattern = without_dot(pattern);
    let host = host.strip_suffix('.').unwrap_or(host);
    match pattern.strip_prefix('*') {
        Some(end) => end.is_empty() || host.len() > end.len() && host.ends_with(end),
        None => pattern.is_empty() || pattern == host,
    }
}
