//! The rules engine against a naive one, on rules and requests that are drawn from so few words that they collide.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod naive;

use adit::rules::{Conditions, Matcher};
use naive::{Asked, Written, compare};
use proptest::{collection::vec, prelude::*, sample::select};

fn word(words: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    select(words.to_vec()).prop_map(str::to_owned)
}

/// The path of these segments, in which each parameter has a name of its own.
fn named(segments: &[String]) -> String {
    let segment =
        |(n, segment): (usize, &String)| format!("/{}", segment.replace("{}", &format!("{{p{n}}}")));
    segments.iter().enumerate().map(segment).collect()
}

fn pattern() -> impl Strategy<Value = String> {
    let literals = ["a", "a", "a", "b", "%61", "a.B", "C", "%2F"];
    let literal = word(&literals);
    let segment = prop_oneof![3 => word(&literals), 3 => Just("{}".to_owned())];
    let prefix = (vec(literal, 0..4), any::<bool>()).prop_map(|(segments, ends)| {
        let end = if ends || segments.is_empty() { "/" } else { "" };
        let path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        path + end
    });
    let params = (vec(segment, 1..5), select(vec!["", "", "/", "/{*r}"]))
        .prop_map(|(segments, end)| named(&segments) + end);
    let exact =
        vec(word(&["a", "b", "a.B", "C"]), 1..4).prop_map(|segments| format!("=/{}", segments.join("/")));
    prop_oneof![2 => Just(String::new()), 3 => prefix, 6 => params, 2 => exact]
}

fn header() -> impl Strategy<Value = (String, String)> {
    (word(&["x", "y"]), word(&["present", "1", "=1", "2"]))
}

fn written() -> impl Strategy<Value = Written> {
    let hosts = [
        "", "*", "a", "b", "A.b", "a.b.", "*.b", "*.a.b", "*.A.B.", "c.a.b",
    ];
    let path_or_grpc = prop_oneof![
        5 => pattern().prop_map(|path| (path, String::new())),
        1 => word(&["a", "a.B", "a.B/C"]).prop_map(|grpc| (String::new(), grpc)),
    ];
    let methods = prop_oneof![2 => Just(vec![]), 1 => vec(word(&["GET", "PUT", "PURGE"]), 1..3)];
    let headers = prop_oneof![3 => Just(vec![]), 1 => vec(header(), 1..3)];
    let priority = prop_oneof![6 => Just(0), 1 => -1..3];
    (word(&hosts), path_or_grpc, methods, headers, priority).prop_map(
        |(host, (path, grpc), methods, headers, priority)| Written {
            host,
            path,
            grpc,
            methods,
            headers,
            priority,
        },
    )
}

/// So many rules of other names that steps to those of the drawn ones are looked up instead of tried.
fn crowd() -> Vec<Written> {
    let rule = |n| {
        let [host, below] = ["h", "*.h"].map(|begin| format!("{begin}{n}"));
        [
            (host, "/"),
            (below, "/"),
            (String::new(), "/"),
            (String::new(), "/a/"),
        ]
        .map(|(host, path)| Written {
            host,
            path: format!("{path}c{n}"),
            ..Written::default()
        })
    };
    (0..12).flat_map(rule).collect()
}

fn asked() -> impl Strategy<Value = Asked> {
    let hosts = [
        "", "a", "b", "a.b", "a.b.", "c.b", "c.a.b", "d.c.a.b", ".b", "ab", "x",
    ];
    let segments = [
        "a", "a", "a", "a", "b", "b", "", "%61", "a.B", "C", "%2F", "a%2fb", "..", "..%2fa", "%2E", "%", "ab",
    ];
    let header = prop_oneof![
        (word(&["x", "X", "y"]), word(&["1", "2", "present", ""])),
        word(&["application/grpc", "Application/gRPC+proto", "text/plain"])
            .prop_map(|value| ("content-type".to_owned(), value)),
    ];
    let methods = word(&["GET", "PUT", "PURGE", "HEAD"]);
    (
        word(&hosts),
        vec(word(&segments), 1..5),
        methods,
        vec(header, 0..4),
    )
        .prop_map(|(host, segments, method, headers)| Asked {
            host,
            path: format!("/{}", segments.join("/")),
            method,
            headers,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn finds_what_a_naive_matcher_finds(
        mut written in vec(written(), 0..24),
        is_crowded: bool,
        asked in vec(asked(), 1..8),
    ) {
        if is_crowded {
            written.extend(crowd());
        }
        let conditions: Vec<Conditions> = written.iter().map(|rule| rule.conditions().unwrap()).collect();
        let matcher = Matcher::new(conditions.into_iter().zip(0..).collect());
        for asked in &asked {
            compare(&written, &matcher, asked);
        }
    }

    /// Nothing but the path tells these apart, and nearly all of them fit.
    #[test]
    fn the_most_specific_path_is_that_of_a_naive_matcher(
        paths in vec(vec(word(&["a", "{}"]), 0..4), 1..12),
        ends in vec(select(vec!["", "/", "/{*r}"]), 12),
        depth in 1..5_usize,
    ) {
        let path = |(segments, end): (&Vec<String>, &str)| named(segments) + end;
        let paths = paths.iter().zip(ends).map(path).filter(|path| !path.is_empty());
        let written: Vec<_> = paths.map(|path| Written { path, ..Written::default() }).collect();
        let conditions = written.iter().map(|rule| rule.conditions().unwrap());
        let matcher = Matcher::new(conditions.zip(0..).collect());
        let (path, method) = ("/a".repeat(depth), "GET".to_owned());
        compare(&written, &matcher, &Asked { path, method, ..Asked::default() });
    }
}
