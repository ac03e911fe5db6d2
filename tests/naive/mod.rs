//! The rules engine as one would write it in an afternoon: every rule is asked, and all that fit are compared with
//! each other. It reads what people write, and shares nothing with `src/rules` but what its results are compared in.
//!
//! The property test `tests/rules.rs` and the fuzz target `rules` hold the engine against it.

use adit::rules::{ConditionError, Conditions, PathCondition, Refused, parse_header_name, parse_method};

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

/// A request.
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
            let mut values = asked.headers.iter().filter(|(other, _)| other == name);
            match test {
                "present" => values.next().is_some(),
                value => values.any(|(_, other)| other == value.strip_prefix('=').unwrap_or(value)),
            }
        };
        let content_type = asked.headers.iter().find(|(name, _)| name == "content-type");
        let is_grpc = content_type.is_some_and(|(_, value)| value.starts_with("application/grpc"));
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

/// Name and text.
pub type Params = Vec<(String, String)>;

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

/// Whether a rule fits at all.
pub fn fits(rule: &Written, asked: &Asked) -> bool {
    segments(&asked.path).is_ok_and(|path| rule.fits(asked, &path).is_some())
}

fn without_dot(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_lowercase()
}

fn fits_host(pattern: &str, host: &str) -> bool {
    let (pattern, host) = (without_dot(pattern), without_dot(host));
    match pattern.strip_prefix('*') {
        Some(end) => host.len() > end.len() && host.ends_with(end) || end.is_empty(),
        None => pattern.is_empty() || pattern == host,
    }
}

/// One octet of a path: as a character, or encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Octet {
    Plain(u8),
    Encoded(u8),
}

type Segment = Vec<Octet>;

const UNRESERVED: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
const RESERVED: &str = "/:@!$&'()*+,;=";

fn octets(text: &str) -> Result<Vec<Octet>, Refused> {
    let mut found = Vec::new();
    let mut left = text.as_bytes();
    while let [first, behind @ ..] = left {
        left = behind;
        let has = |set: &str, byte: u8| set.as_bytes().contains(&byte);
        found.push(match first {
            b'%' => {
                let digits = behind
                    .get(..2)
                    .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
                let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                let byte = byte.ok_or(Refused::PercentEncoding)?;
                left = &behind[2..];
                if has(UNRESERVED, byte) {
                    Octet::Plain(byte)
                } else {
                    Octet::Encoded(byte)
                }
            }
            byte if has(UNRESERVED, *byte) || has(RESERVED, *byte) => Octet::Plain(*byte),
            byte => Octet::Encoded(*byte),
        });
    }
    Ok(found)
}

fn split(octets: &[Octet], at: &[Octet]) -> Vec<Segment> {
    octets
        .split(|octet| at.contains(octet))
        .map(<[_]>::to_vec)
        .collect()
}

fn segments(path: &str) -> Result<Vec<Segment>, Refused> {
    let Some(path) = path.strip_prefix('/') else {
        return Err(Refused::Relative);
    };
    let octets = octets(path)?;
    let borders = [Octet::Plain(b'/'), Octet::Encoded(b'/'), Octet::Encoded(b'\\')];
    for piece in split(&octets, &borders) {
        let name = split(&piece, &[Octet::Plain(b';')]).remove(0);
        let dot = Octet::Plain(b'.');
        if name == [dot] || name == [dot, dot] {
            return Err(Refused::DotSegments);
        }
    }
    Ok(split(&octets, &[Octet::Plain(b'/')]))
}

fn text(segments: &[Segment]) -> String {
    let octet = |octet: &Octet| match octet {
        Octet::Plain(byte) => char::from(*byte).to_string(),
        Octet::Encoded(byte) => format!("%{byte:02X}"),
    };
    let segment = |segment: &Segment| segment.iter().map(octet).collect::<String>();
    segments.iter().map(segment).collect::<Vec<_>>().join("/")
}

/// The segments of a pattern as they are written. A prefix has none behind its last `/`.
fn pattern_segments(pattern: &str) -> Vec<&str> {
    let path = pattern.trim_start_matches('=');
    let mut segments: Vec<_> = path.split('/').skip(1).collect();
    if is_prefix(pattern) && segments.last() == Some(&"") {
        segments.pop();
    }
    segments
}

fn is_prefix(pattern: &str) -> bool {
    !pattern.starts_with('=') && !pattern.contains('{')
}

fn fits_path(pattern: &str, path: &[Segment]) -> Option<Params> {
    let asked = pattern_segments(pattern);
    let mut params = Params::new();
    for (at, segment) in asked.iter().enumerate() {
        let name = segment.trim_matches(['{', '}']);
        if let Some(name) = name.strip_prefix('*').filter(|_| segment.starts_with('{')) {
            let rest = text(path.get(at..)?);
            params.push((name.to_owned(), rest.clone()));
            return (!rest.is_empty()).then_some(params);
        }
        let there = path.get(at)?;
        if segment.starts_with('{') {
            if there.is_empty() {
                return None;
            }
            params.push((name.to_owned(), text(std::slice::from_ref(there))));
        } else if octets(segment).as_ref() != Ok(there) {
            return None;
        }
    }
    (is_prefix(pattern) || path.len() == asked.len()).then_some(params)
}
