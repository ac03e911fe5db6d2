//! What it costs to find the rule of a request among 10, 1,000 and 100,000: `cargo bench --bench rules`.
//!
//! The matchers take turns in one run. In each turn one of them gets requests that nobody has seen before, as many for
//! each kind of rule; what is timed is from what came in the request to the rule. Prints medians over the rounds with
//! their middle half, and the ratio to the fewest rules. [docs/benchmarks.md](../../docs/benchmarks.md) says what was seen.

use std::hint::black_box;

use adit::{
    rules::{Conditions, HeaderTest, Matcher, PathCondition, Query, parse_header_name},
    time,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const COUNTS: [usize; 3] = [10, 1_000, 100_000];

/// Rules of one tenant; there is one kind of request for each.
const RULES_PER_TENANT: usize = 10;

/// Turns of each matcher.
const ROUNDS: usize = 2_001;

/// Requests of one turn, which takes about a tenth of a millisecond: long beside a look at the clock. They stay in the
/// processor's cache meanwhile, as one does that has just come in.
const REQUESTS: usize = 500;

/// Whose requests they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    /// All from one tenant: what the number of rules does to the search alone.
    One,
    /// Nine of ten from one tenant in a hundred, the others from any: as traffic is.
    Few,
    /// From any tenant alike, so that what a request needs is rarely in a cache.
    Any,
}

fn main() {
    let matchers = COUNTS.map(|count| {
        let rules: Vec<_> = (0..count / RULES_PER_TENANT).flat_map(rules).collect();
        assert_eq!(rules.len(), count);
        let began = time::now();
        let matcher = Matcher::new(rules);
        println!("{count:>7} rules: ready after {:.1?}", time::now() - began);
        matcher
    });
    let headers = Headers::default();
    println!("{ROUNDS} rounds of {REQUESTS} requests each, taking turns");
    for (traffic, whose) in [
        (Traffic::One, "all from one tenant"),
        (Traffic::Few, "9 of 10 from 1 tenant in 100"),
        (Traffic::Any, "from any tenant alike"),
    ] {
        println!("\n{whose}");
        measure(&matchers, &headers, traffic);
    }
}

fn measure(matchers: &[Matcher<usize>], headers: &Headers, traffic: Traffic) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut figures: Vec<Vec<f64>> = matchers.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (matcher, seen) in matchers.iter().zip(&mut figures) {
            let tenants = matcher.len() / RULES_PER_TENANT;
            let requests: Vec<_> = (0..REQUESTS)
                .map(|n| request(tenant(tenants, traffic, &mut rng), n % RULES_PER_TENANT, headers))
                .collect();
            let began = time::now();
            for request in &requests {
                let query = Query::new(&request.host, &request.path, &request.method, request.headers);
                let query = query.expect("a path without dots");
                let found = black_box(matcher.find(black_box(&query)));
                assert_eq!(found.map(|found| *found.value), Some(request.rule));
            }
            seen.push((time::now() - began).as_nanos() as f64 / REQUESTS as f64);
        }
    }
    println!(
        "{:>9} {:>16} {:>20} {:>12}",
        "rules", "ns per request", "middle half", "to the first"
    );
    let mut first = None;
    for (matcher, mut seen) in matchers.iter().zip(figures) {
        seen.sort_by(f64::total_cmp);
        let [low, median, high] = [1, 2, 3].map(|quarter| seen[(seen.len() - 1) * quarter / 4]);
        let ratio = median / *first.get_or_insert(median);
        let range = format!("{low:.0} to {high:.0}");
        println!("{:>9} {median:>16.0} {range:>20} {ratio:>12.2}", matcher.len());
    }
}

/// Whose request it is. The few are spread among the others.
fn tenant(tenants: usize, traffic: Traffic, rng: &mut impl Rng) -> usize {
    let any = rng.random_range(0..tenants);
    let few = match traffic {
        Traffic::One => 1,
        Traffic::Few if rng.random_ratio(9, 10) => tenants.div_ceil(100),
        Traffic::Few | Traffic::Any => tenants,
    };
    any % few * (tenants / few)
}

/// What stands in a request, and the rule that has it.
struct Request<'a> {
    host: String,
    path: String,
    method: Method,
    headers: &'a HeaderMap,
    rule: usize,
}

struct Headers {
    browser: HeaderMap,
    canary: HeaderMap,
    grpc: HeaderMap,
}

impl Default for Headers {
    fn default() -> Self {
        let map = |lines: &[(&'static str, &'static str)]| -> HeaderMap {
            let line = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            lines.iter().map(line).collect()
        };
        let browser = [
            ("host", "example.com"),
            (
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            ),
            (
                "accept",
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            ),
            ("accept-language", "en-US,en;q=0.5"),
            ("accept-encoding", "gzip, deflate, br, zstd"),
            ("cookie", "session=0123456789abcdef"),
            ("x-request-id", "4f2f7c1e"),
        ];
        Self {
            browser: map(&browser),
            canary: map(&[&browser[..], &[("x-canary", "1")]].concat()),
            grpc: map(&[
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                ("grpc-timeout", "1S"),
            ]),
        }
    }
}

/// The rules of one tenant. Names are as long whoever has them.
fn rules(tenant: usize) -> [(Conditions, usize); RULES_PER_TENANT] {
    let host = format!("t{tenant:05}.example.com");
    let below = format!("*.t{tenant:05}.example.net");
    let asked = |host: &str, path: &str| Conditions {
        host: host.parse().expect("a host"),
        path: PathCondition::Pattern(path.parse().expect("a path")),
        ..Conditions::default()
    };
    let mut rules = [
        asked(&host, "/v1/orders"),
        asked(&host, "/v1/orders"),
        asked(&host, "/v1/users/{id}"),
        asked(&host, "/v1/users/{id}/photos/{photo}"),
        asked(&host, "/static/{*file}"),
        asked(&host, "=/healthz"),
        asked(&host, "/"),
        asked(&below, "/api"),
        asked("*", &format!("/shared/t{tenant:05}")),
        Conditions {
            path: PathCondition::Grpc(format!("t{tenant:05}.Cart").parse().expect("a gRPC service")),
            ..Conditions::default()
        },
    ];
    let canary = parse_header_name("x-canary").expect("a name");
    rules[0]
        .headers
        .push((canary, HeaderTest::Value(HeaderValue::from_static("1"))));
    rules[2].methods.push(Method::GET);
    let mut number = tenant * RULES_PER_TENANT;
    rules.map(|rule| {
        number += 1;
        (rule, number - 1)
    })
}

/// A request of one tenant for the rule of this kind.
fn request(tenant: usize, kind: usize, headers: &Headers) -> Request<'_> {
    let path = match kind {
        0 | 1 => "/v1/orders/4711/items".to_owned(),
        2 => "/v1/users/jane%2Edoe".to_owned(),
        3 => "/v1/users/4711/photos/me.jpg".to_owned(),
        4 => "/static/assets/app.3f2a1b.js".to_owned(),
        5 => "/healthz".to_owned(),
        6 => "/about/us".to_owned(),
        7 => "/api/v2/things".to_owned(),
        8 => format!("/shared/t{tenant:05}/report.pdf"),
        _ => format!("/t{tenant:05}.Cart/Add"),
    };
    let host = match kind {
        0..=6 => format!("t{tenant:05}.example.com"),
        7 => format!("eu.t{tenant:05}.example.net"),
        _ => "www.example.org".to_owned(),
    };
    let headers = match kind {
        0 => &headers.canary,
        9 => &headers.grpc,
        _ => &headers.browser,
    };
    Request {
        host,
        path,
        method: if kind == 9 { Method::POST } else { Method::GET },
        headers,
        rule: tenant * RULES_PER_TENANT + kind,
    }
}
