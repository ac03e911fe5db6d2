//! Tests of `cors`.

use super::*;
use crate::plugin::testing::{decide, request, response, values, visit};

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn options() -> Options {
    Options {
        origins: strings(&["https://a.example", "http://localhost:3000"]),
        methods: strings(&["GET", "PUT"]),
        headers: strings(&["X-One", "Content-Type"]),
        expose: strings(&["X-Two"]),
        credentials: true,
        max_age: Some(Duration::from_millis(600_900)),
    }
}

fn anybody() -> Options {
    Options {
        origins: strings(&["*"]),
        ..Options::default()
    }
}

/// What a browser is told when it asks beforehand.
fn asked_beforehand(options: &Options, origin: &str) -> HeaderMap {
    let headers = [("origin", origin), ("access-control-request-method", "PUT")];
    let mut asked = request("OPTIONS /x", &headers);
    match decide(&Cors::new(options).unwrap(), &mut asked) {
        Decision::Answer(answer) => {
            assert_eq!(answer.status(), 204);
            assert!(answer.body().is_empty());
            answer.headers().clone()
        }
        other => panic!("{other:?}"),
    }
}

/// What becomes of a response to a request with these headers.
fn answered(options: &Options, asked: &[(&str, &str)], upstream: &[(&str, &str)]) -> HeaderMap {
    let plugin = Cors::new(options).unwrap();
    let (mut asked, mut memo) = (request("GET /", asked), Memo::default());
    let decision = plugin.request(&mut asked, &visit(), &mut memo);
    assert!(matches!(decision, Decision::Pass));
    let mut answer = response(upstream);
    plugin.response(&memo, &mut answer);
    answer.headers
}

#[track_caller]
fn check(headers: &HeaderMap, expected: &[(&str, &str)]) {
    let mut found: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn what_browsers_ask_beforehand_is_answered() {
    let told = [
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-headers", "X-One, Content-Type"),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-origin", "https://a.example"),
        ("access-control-max-age", "600"),
        ("vary", "Origin"),
    ];
    check(&asked_beforehand(&options(), "https://a.example"), &told);
    let told = [
        ("access-control-allow-methods", "GET, HEAD, POST"),
        ("access-control-allow-origin", "*"),
    ];
    check(&asked_beforehand(&anybody(), "https://b.example"), &told);
}

#[test]
fn other_sites_are_told_nothing() {
    for other in [
        "https://b.example",
        "http://a.example",
        "https://a.example:8443",
        "https://a.example.evil",
        "https://xa.example",
        "https://A.example",
        "null",
        "",
        "*",
    ] {
        check(&asked_beforehand(&options(), other), &[("vary", "Origin")]);
        let headers = answered(&options(), &[("origin", other)], &[]);
        check(&headers, &[("vary", "Origin")]);
    }
    let two = [
        ("origin", "https://a.example"),
        ("origin", "https://evil.example"),
    ];
    check(&answered(&options(), &two, &[]), &[("vary", "Origin")]);
}

#[test]
fn only_what_browsers_ask_beforehand_is_answered() {
    let origin = ("origin", "https://a.example");
    let method = ("access-control-request-method", "PUT");
    for (line, headers) in [
        ("GET /", vec![origin, method]),
        ("OPTIONS /", vec![origin]),
        ("OPTIONS *", vec![method]),
    ] {
        let decision = decide(&Cors::new(&options()).unwrap(), &mut request(line, &headers));
        assert!(matches!(decision, Decision::Pass), "{line} {headers:?}");
    }
}

#[test]
fn responses_say_who_may_read_them() {
    let told = [
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-origin", "http://localhost:3000"),
        ("access-control-expose-headers", "X-Two"),
        ("vary", "Origin"),
    ];
    let origin = [("origin", "http://localhost:3000")];
    check(&answered(&options(), &origin, &[]), &told);
    check(&answered(&options(), &[], &[]), &[("vary", "Origin")]);
    check(
        &answered(&anybody(), &[], &[]),
        &[("access-control-allow-origin", "*")],
    );
}

#[test]
fn an_upstream_has_no_say() {
    let upstream = [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-origin", "https://evil.example"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "X-Secret"),
        ("access-control-allow-methods", "DELETE"),
    ];
    let headers = answered(&options(), &[("origin", "https://evil.example")], &upstream);
    check(&headers, &[("vary", "Origin")]);
    let headers = answered(&anybody(), &[], &upstream);
    check(&headers, &[("access-control-allow-origin", "*")]);
}

#[test]
fn the_origin_is_named_once_among_what_responses_vary_by() {
    let check = |upstream: &[&str], expected: &[&str]| {
        let headers: Vec<_> = upstream.iter().map(|value| ("vary", *value)).collect();
        let headers = answered(&options(), &[], &headers);
        assert_eq!(values(&headers, "vary"), expected);
    };
    check(&["Accept"], &["Accept", "Origin"]);
    check(&["Accept, ORIGIN"], &["Accept, ORIGIN"]);
    check(&["Accept", "origin"], &["Accept", "origin"]);
    check(&["*"], &["*"]);
    check(&["X-Origin"], &["X-Origin", "Origin"]);
}

#[test]
fn mistakes_are_found_before_anybody_comes() {
    let check = |change: fn(&mut Options), expected: Problem| {
        let mut options = options();
        change(&mut options);
        assert_eq!(Cors::new(&options).unwrap_err(), expected);
    };
    check(|o| o.origins.clear(), Problem::Nobody);
    check(|o| o.origins = strings(&["*"]), Problem::Wildcard("origins"));
    check(|o| o.methods = strings(&["*"]), Problem::Wildcard("methods"));
    check(|o| o.headers = strings(&["*"]), Problem::Wildcard("headers"));
    check(|o| o.expose = strings(&["*"]), Problem::Wildcard("expose"));
    check(
        |o| o.methods = strings(&["GET\r\nX: y"]),
        Problem::Method("GET\r\nX: y".to_owned()),
    );
    check(
        |o| o.headers = strings(&["X-A, X-B"]),
        Problem::HeaderName("X-A, X-B".to_owned()),
    );
    check(|o| o.expose = strings(&[""]), Problem::HeaderName(String::new()));
}

#[test]
fn an_origin_is_what_a_browser_would_write() {
    for right in [
        "https://a.example",
        "http://a",
        "http://a:8080",
        "http://[::1]:3000",
        "https://192.0.2.1",
    ] {
        assert!(is_origin(right), "{right}");
    }
    for wrong in [
        "",
        "null",
        "a.example",
        "https://",
        "https://a.example/",
        "https://a.example/x",
        "https://a.example?x",
        "https://A.example",
        "https://a.example:443",
        "http://a.example:80",
        "https://a.example:",
        "https://u@a.example",
        "https://*.example",
        "HTTPS://a.example",
        "https://a.example:08080",
        "https://a\r\nb",
        "https://é.example",
    ] {
        assert!(!is_origin(wrong), "{wrong}");
    }
}
