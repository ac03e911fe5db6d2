//! Rules and requests as lines of text. What is found, and what each rule says why not, is what a naive matcher finds that
//! shares no code with the engine; and what is not a rule is an error of one line.

#[path = "../../tests/naive/mod.rs"]
mod naive;

use adit::rules::{Conditions, Matcher};
use http::{HeaderName, HeaderValue, Method};
use naive::{Asked, Written, compare};

/// The most rules and requests of one input: every request is compared with every rule.
const LINES_MAX: usize = 64;

/// Takes lines of words. One that begins with `?` is a request: method, host, path, and headers as `name=value`. Any
/// other is a rule: keys of the configuration with their values, as `path=/v1`, and headers.
pub fn rules(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (requests, rules): (Vec<_>, Vec<_>) = text
        .lines()
        .take(LINES_MAX)
        .partition(|line| line.starts_with('?'));
    let mut written = Vec::new();
    let mut conditions: Vec<Conditions> = Vec::new();
    for rule in rules.into_iter().map(rule) {
        match rule.conditions() {
            Ok(read) => {
                conditions.push(read);
                written.push(rule);
            }
            Err(error) => {
                let said = error.to_string();
                assert!(said.starts_with("expected "), "{said:?}");
                assert!(!said.chars().any(char::is_control), "{said:?} breaks the line");
            }
        }
    }
    let matcher = Matcher::new(conditions.into_iter().zip(0..).collect());
    for request in requests.into_iter().filter_map(request) {
        compare(&written, &matcher, &request);
    }
}

fn rule(line: &str) -> Written {
    let mut rule = Written::default();
    for (key, value) in line.split(' ').filter_map(|word| word.split_once('=')) {
        let value = value.to_owned();
        match key {
            "host" => rule.host = value,
            "path" => rule.path = value,
            "grpc" => rule.grpc = value,
            "method" => rule.methods.push(value),
            "priority" => rule.priority = value.parse().unwrap_or(0),
            name => rule.headers.push((name.to_owned(), value)),
        }
    }
    rule
}

/// Nothing if it is none that can arrive.
fn request(line: &str) -> Option<Asked> {
    let mut words = line.split(' ').skip(1);
    let method: Method = words.next()?.parse().ok()?;
    let host = words.next()?.to_ascii_lowercase();
    let path = words.next()?.to_owned();
    let is_legal = |(name, value): &(&str, &str)| {
        name.parse::<HeaderName>().is_ok() && HeaderValue::from_bytes(value.as_bytes()).is_ok()
    };
    let headers = words.filter_map(|word| word.split_once('=')).filter(is_legal);
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Some(Asked {
        host,
        path,
        method: method.to_string(),
        headers: headers.map(own).collect(),
    })
}
