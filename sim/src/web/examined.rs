//! Rules and plugins that a stranger goes through with questions of its own, and what each has to be answered. Whoever answers
//! for a group says back what it was asked ([`echo`]), so that the stranger sees what came of its request on the way.

use adit::{
    config::{RuleConfig, ServerFlags, Source, build_server},
    id::GroupName,
};
use anyhow::Context;
use http::HeaderMap;

/// What the hosts of these rules end with.
const ZONE: &str = "examined.test";

/// Tells upstreams that it is such a question.
const EXAMINED: &str = "x-examined";

/// The rules, as an operator writes them.
const RULES: &str = r#"
entries: [ { name: www, kind: http, listen: ":8080" } ]
rules:
  - host: login.examined.test
    plugins:
      - basic_auth: { users: { ann: "$argon2id$v=19$m=8,t=1,p=1$c2FsdCBvZiBhIHRlc3Q$aDCb+L+Dx4Rvfl1ifnXNCw" } }
  - host: keeps.examined.test
    plugins:
      - basic_auth:
          users: { ann: "$argon2id$v=19$m=8,t=1,p=1$c2FsdCBvZiBhIHRlc3Q$aDCb+L+Dx4Rvfl1ifnXNCw" }
          forward: true
  - host: token.examined.test
    plugins: [ { bearer: { tokens: [ "a-token-of-some-length" ] } } ]
  - host: small.examined.test
    plugins: [ { body_limit: 1KiB } ]
  - host: few.examined.test
    plugins: [ { rate_limit: { rate: 2, burst: 3, by: x-who } } ]
  - host: "*.examined.test"
    path: /closed
    priority: 10
    plugins: [ { redirect: { to: "https://elsewhere.test{path}", status: 307 } } ]
  - host: "*.examined.test"
    plugins: [ { set_header: { x-rule: any } } ]
  - host: own.examined.test
    plugins: [ { set_header: { x-rule: own } } ]
  - host: own.examined.test
    path: /a
    plugins: [ { set_header: { x-rule: prefix } } ]
  - host: own.examined.test
    path: "/a/{id}"
    plugins: [ { set_header: { x-rule: parameter } } ]
  - host: own.examined.test
    path: =/a/b
    plugins: [ { set_header: { x-rule: exact } } ]
  - host: own.examined.test
    path: /a
    method: POST
    plugins: [ { set_header: { x-rule: method } } ]
  - host: own.examined.test
    path: /a
    headers: { x-kind: special }
    plugins: [ { set_header: { x-rule: header } } ]
  - host: changed.examined.test
    path: /from
    plugins:
      - replace_prefix: { from: /from, to: /to }
      - rewrite_host: inner.test
      - remove_header: x-gone
      - set_header: { x-set: "new" }
      - add_header: { x-more: "second" }
      - request_id: {}
      - set_response_header: { x-answer: "new" }
      - remove_response_header: x-secret
      - cors: { origins: "https://page.test", credentials: true }
"#;

/// How often one is asked at most.
pub const TIMES_MAX: u64 = 7;

/// One question, and what has to be answered.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Method, path and name of the host, then headers. `ann` is let in with `open sesame`, not with `open sesami`.
    pub asks: &'static str,
    /// Chunks of its body, by their length. None: it has none.
    pub chunks: &'static [usize],
    /// How often it is asked, one behind the other.
    pub times: usize,
    /// What has to come of it.
    pub expects: Expects,
}

/// What has to come of a question.
#[derive(Clone, Copy, Debug)]
pub enum Expects {
    /// This status, and these words in the head.
    Answer(u16, &'static [&'static str]),
    /// It comes to a group: with these lines, and without those.
    Through(&'static [&'static str], &'static [&'static str]),
    /// So many come to a group at once, and so many more each second.
    Rate(u32, u32),
}

use Expects::{Answer, Rate, Through};

/// Every question.
pub const QUESTIONS: &[Question] = &[
    ask(
        "GET / login",
        Answer(401, &["www-authenticate: basic realm=\"restricted\""]),
    ),
    twice(
        "GET / login|Authorization: Basic YW5uOm9wZW4gc2VzYW1l",
        Through(&[], &["authorization:"]),
    ),
    twice(
        "GET / login|Authorization: Basic YW5uOm9wZW4gc2VzYW1p",
        Answer(401, &[]),
    ),
    twice(
        "GET / keeps|Authorization: Basic YW5uOm9wZW4gc2VzYW1l",
        Through(&["authorization: Basic YW5u"], &[]),
    ),
    ask("GET / token", Answer(401, &["www-authenticate: bearer"])),
    twice(
        "GET / token|Authorization: Bearer a-token-of-some-length",
        Through(&[], &["authorization:"]),
    ),
    ask(
        "GET / token|Authorization: Bearer a-token-of-some-lengti",
        Answer(401, &[]),
    ),
    with("POST / small", &[600, 600], Answer(413, &[])),
    with("POST / small", &[1_024], Through(&["length 1024"], &[])),
    with("POST / small", &[500, 524], Through(&["length 1024"], &[])),
    with("POST / small", &[1_025], Answer(413, &[])),
    ask("POST / small|Content-Length: 1025", Answer(413, &[])),
    Question {
        times: TIMES_MAX as usize,
        ..ask("GET / few|X-Who: me", Rate(3, 2))
    },
    ask(
        "GET /closed/x own",
        Answer(307, &["location: https://elsewhere.test/closed/x"]),
    ),
    ask(
        "GET /closed other",
        Answer(307, &["location: https://elsewhere.test/closed"]),
    ),
    ask("GET /closedx own", Through(&["x-rule: own"], &[])),
    ask(
        "GET /x other|X-Rule: mine",
        Through(&["x-rule: any"], &["x-rule: mine"]),
    ),
    ask("GET /x own", Through(&["x-rule: own"], &[])),
    ask("GET /a own", Through(&["x-rule: prefix"], &[])),
    ask("GET /a/c own", Through(&["x-rule: parameter"], &[])),
    ask("GET /a/%62 own", Through(&["x-rule: exact", "GET /a/%62 "], &[])),
    ask("GET /a%2Fb own", Through(&["x-rule: own"], &[])),
    ask("GET /a/c%2Fd own", Through(&["x-rule: parameter"], &[])),
    ask("GET /a/c/d own", Through(&["x-rule: prefix"], &[])),
    ask("GET /a/../b own", Answer(400, &[])),
    with("POST /a own", &[10], Through(&["x-rule: method"], &[])),
    ask("GET /a own|X-Kind: special", Through(&["x-rule: header"], &[])),
    ask("GET /a own|X-Kind: plain", Through(&["x-rule: prefix"], &[])),
    ask(
        "GET /a own|X-Kind: plain|X-Kind: special",
        Through(&["x-rule: header"], &[]),
    ),
    ask(
        "GET /from/x?q=1 changed|X-Gone: 1|X-Set: old|X-More: first|Origin: https://page.test",
        Through(
            &[
                "GET /to/x?q=1 ",
                "host: inner.test",
                "x-set: new",
                "x-more: first",
                "x-more: second",
                "x-request-id: ",
                "> x-answer: new",
                "> access-control-allow-origin: https://page.test",
                "> access-control-allow-credentials: true",
                "> x-request-id: ",
            ],
            &["x-gone", "x-set: old", "> x-answer: old", "> x-secret"],
        ),
    ),
    ask(
        "GET /from changed|Origin: https://other.test",
        Through(&["GET /to "], &["> access-control-allow-origin"]),
    ),
    ask("CONNECT elsewhere.test:80 own", Answer(501, &[])),
    with("POST / own|Transfer-Encoding: gzip", &[5], Answer(501, &[])),
    ask("POST / own|Transfer-Encoding: gzip", Answer(400, &[])),
    ask("GET / own|Host: other.test", Answer(400, &[])),
    ask("GET / own|no colon", Answer(400, &[])),
    ask("GET / one.two", Through(&["x-rule: any"], &[])),
];

const fn ask(asks: &'static str, expects: Expects) -> Question {
    with(asks, &[], expects)
}

const fn twice(asks: &'static str, expects: Expects) -> Question {
    Question {
        times: 2,
        ..with(asks, &[], expects)
    }
}

const fn with(asks: &'static str, chunks: &'static [usize], expects: Expects) -> Question {
    Question {
        asks,
        chunks,
        times: 1,
        expects,
    }
}

impl Question {
    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut parts = self.asks.split('|');
        let line: Vec<_> = parts.next().unwrap_or_default().split(' ').collect();
        let [method, path, name] = line[..] else {
            unreachable!("each has three words")
        };
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {name}.{ZONE}\r\n{EXAMINED}: 1\r\n");
        for header in parts {
            text += &format!("{header}\r\n");
        }
        if !self.chunks.is_empty() {
            text += "Transfer-Encoding: chunked\r\n";
        }
        text += "\r\n";
        for len in self.chunks {
            text += &format!("{len:x}\r\n{}\r\n", "x".repeat(*len));
        }
        if !self.chunks.is_empty() {
            text += "0\r\n\r\n";
        }
        text.into_bytes()
    }

    /// What is wrong with an answer: its head in small letters, and its body. What the entry or its upstreams are to blame for
    /// (5xx) says nothing.
    pub fn judge(&self, head: &str, body: &str) -> Option<String> {
        let status: u16 = head.get(9..12)?.parse().ok()?;
        let odd = |why: &str| Some(format!("{:?} {why}: {head} {body}", self.asks));
        match self.expects {
            // The answers of the entry itself pass the plugins of their rule, too.
            Through(has, _) if status >= 500 => {
                let mut of_answer = has.iter().filter_map(|word| word.strip_prefix("> "));
                let missing = of_answer.find(|word| !head.contains(*word))?;
                odd(&format!("is answered by the entry without {missing:?}"))
            }
            _ if status >= 500 => None,
            Answer(wanted, words) => {
                let has = |word: &&str| head.contains(*word);
                if status != wanted {
                    odd(&format!("has to be answered with {wanted}"))
                } else if words.iter().all(has) {
                    None
                } else {
                    odd("lacks something in its answer")
                }
            }
            Rate(..) if status == 429 => None,
            Rate(..) | Through(..) if status != 200 => odd("has to come through"),
            Rate(..) => None,
            Through(has, lacks) => {
                let is_there = |word: &&str| match word.strip_prefix("> ") {
                    Some(word) => head.contains(word),
                    None => body.contains(*word),
                };
                let missing = has.iter().find(|word| !is_there(word));
                let found = lacks.iter().find(|word| is_there(word));
                match (missing, found) {
                    (Some(word), _) => odd(&format!("came without {word:?}")),
                    (None, Some(word)) => odd(&format!("came with {word:?}")),
                    (None, None) => None,
                }
            }
        }
    }
}

/// Adds the rules to those of a server, for `group`.
///
/// # Errors
/// They are none.
pub fn add_rules(rules: &mut Vec<RuleConfig>, group: &GroupName) -> anyhow::Result<()> {
    let source = Source::parse_named("rules.yaml".as_ref(), RULES)?;
    let flags = ServerFlags {
        only_check: true,
        ..ServerFlags::default()
    };
    let checked = build_server(&source, &flags, &|_| None).context("the rules are right")?;
    for mut rule in checked.config.rules {
        rule.group = group.clone();
        rules.push(rule);
    }
    Ok(())
}

/// Whether a request is one of these questions.
pub fn is_question(headers: &HeaderMap) -> bool {
    headers.contains_key(EXAMINED)
}

/// What was asked, in words: the line, the headers, and how long the body was.
pub fn echo(method: &http::Method, uri: &http::Uri, headers: &HeaderMap, len: usize) -> String {
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    let mut text = format!("{method} {path} \nlength {len}\n");
    for (name, value) in headers {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    text
}
