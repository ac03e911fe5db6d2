//! Tests of chains as they are built from options.

use super::*;
use crate::plugin::{
    Decision, Memo, Per, RateLimitOptions, Secret, Visit,
    testing::{request, response, values, visit},
};

const TOKEN: &str = "0123456789abcdef";

fn one(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

fn bearer() -> Options {
    Options::Bearer(bearer::Options {
        tokens: vec![Secret::new(TOKEN)],
        forward: false,
    })
}

fn basic() -> Options {
    let hash = "$argon2id$v=19$m=8,t=1,p=1$c2FsdCBvZiB0ZXN0$AAAAAAAAAAAAAAAAAAAAAA";
    Options::BasicAuth(basic_auth::Options {
        users: BTreeMap::from([("ann".to_owned(), Secret::new(hash))]),
        ..basic_auth::Options::default()
    })
}

fn cors() -> Options {
    Options::Cors(cors::Options {
        origins: vec!["https://a.example".to_owned()],
        ..cors::Options::default()
    })
}

fn request_id() -> Options {
    Options::RequestId(request_id::Options::default())
}

fn rate_limit() -> Options {
    Options::RateLimit(RateLimitOptions {
        rate: 5,
        per: Per::Minute,
        burst: None,
        by: rate_limit::By::Address,
    })
}

/// One of each, in an order that works.
fn all() -> Vec<Options> {
    vec![
        request_id(),
        cors(),
        rate_limit(),
        bearer(),
        Options::BodyLimit(1024),
        Options::Redirect(redirect::Options {
            to: "https://{host}{path}{query}".to_owned(),
            status: 301,
        }),
        Options::StripPrefix("/api".to_owned()),
        Options::ReplacePrefix {
            from: "/v1".to_owned(),
            to: "/v2".to_owned(),
        },
        Options::RewriteHost("inner.example".to_owned()),
        Options::SetHeader(one("X-A", "1")),
        Options::AddHeader(one("X-A", "2")),
        Options::RemoveHeader(vec!["Cookie".to_owned()]),
        Options::SetResponseHeader(one("X-B", "1")),
        Options::AddResponseHeader(one("X-B", "2")),
        Options::RemoveResponseHeader(vec!["Server".to_owned()]),
    ]
}

#[test]
fn a_plugin_has_the_name_of_its_options() {
    for options in all().into_iter().chain([basic()]) {
        assert_eq!(options.build(&Key::new([0; 32])).unwrap().name(), options.name());
    }
}

#[test]
fn all_of_them_work_together() {
    let chain = build(&all(), [1; 32]).unwrap();
    assert_eq!(chain.body_limit(), Some(1024));
    let token = format!("Bearer {TOKEN}");
    let headers = [
        ("host", "outer.example"),
        ("origin", "https://a.example"),
        ("authorization", &token),
        ("cookie", "a=b"),
        ("content-length", "3"),
    ];
    let mut asked = request("POST /api/v1/x?y=1", &headers);
    let visit = Visit {
        secure: true,
        ..visit()
    };
    let mut memo = Memo::default();
    let decision = chain.request(&mut asked, &visit, &mut memo);
    assert!(matches!(decision, Decision::Pass), "{decision:?}");
    assert_eq!(asked.uri, "/v2/x?y=1");
    let there = |name| values(&asked.headers, name);
    assert_eq!(there("host"), ["inner.example"]);
    assert_eq!(there("x-a"), ["1", "2"]);
    assert_eq!(there("authorization").len() + there("cookie").len(), 0);
    assert_eq!(there("x-request-id"), [memo.request_id().unwrap()]);

    let mut answer = response(&[("server", "x"), ("x-b", "0")]);
    chain.response(&memo, &mut answer);
    let there = |name| values(&answer.headers, name);
    // Last to first: what is added last is set by who stands before.
    assert_eq!(there("x-b"), ["1"]);
    assert_eq!(there("server"), [""; 0]);
    assert_eq!(there("access-control-allow-origin"), ["https://a.example"]);
    assert_eq!(there("x-request-id"), [memo.request_id().unwrap()]);
}

#[test]
fn a_refusal_can_be_read_by_the_page_that_asked() {
    let chain = build(&all(), [1; 32]).unwrap();
    let mut asked = request("GET /", &[("origin", "https://a.example")]);
    let mut memo = Memo::default();
    let Decision::Refuse(refusal) = chain.request(&mut asked, &visit(), &mut memo) else {
        panic!("there is no token");
    };
    assert_eq!(refusal.plugin, "bearer");
    let (mut head, _) = refusal.into_response().into_parts();
    chain.response(&memo, &mut head);
    assert_eq!(
        values(&head.headers, "access-control-allow-origin"),
        ["https://a.example"]
    );
    assert_eq!(
        values(&head.headers, "x-b"),
        [""; 0],
        "what stands behind it does nothing"
    );
}

#[test]
fn a_mistake_is_named_with_its_place() {
    let check = |options: &[Options], at: usize, message: &str| {
        let error = build(options, [0; 32]).unwrap_err();
        assert_eq!((error.at, error.to_string().as_str()), (at, message));
    };
    let set_host = Options::SetHeader(one("Host", "x"));
    check(
        &[request_id(), set_host],
        1,
        "set_header: `host` is what `rewrite_host` changes",
    );
    check(
        &[Options::SetResponseHeader(one("Connection", "x"))],
        0,
        "set_response_header: `connection` belongs to one connection or frames its messages, which is not a \
         plugin's to change",
    );
    check(
        &[basic(), rate_limit(), bearer()],
        2,
        "bearer: there is `basic_auth` already",
    );
    check(&[cors(), cors()], 1, "cors: there is `cors` already");
    let limit = Options::BodyLimit(5);
    check(
        &[limit.clone(), limit],
        1,
        "body_limit: there is `body_limit` already",
    );
    check(
        &[request_id(), request_id()],
        1,
        "request_id: there is `request_id` already",
    );
    check(
        &[bearer(), cors()],
        1,
        "cors: it has to stand before `bearer`, which refuses the requests by which browsers ask beforehand",
    );
    check(
        &[Options::Redirect(redirect::Options {
            to: "/{what}".to_owned(),
            ..redirect::Options::default()
        })],
        0,
        "redirect: expected `{host}`, `{path}` or `{query}` between braces, found \"{what}\"",
    );
    assert!(
        build(&[rate_limit(), rate_limit()], [0; 32]).is_ok(),
        "two limits are two limits"
    );
    assert!(build(&[], [0; 32]).unwrap().is_empty());
}
