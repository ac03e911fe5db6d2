//! What a visitor tells the upstream about its request besides `x-ask`, so that the upstream knows what it has to see.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::{Deserialize, Serialize};

use super::{ELSEWHERE, HOP, PREFIX, SESSION, chain::Chain, host_of};
use crate::{node::group_name, plan::asks::Extras};

/// What the visitor tells, as JSON.
pub const TOLD: HeaderName = HeaderName::from_static("x-told");
/// In the trailers of a request: its session.
pub const CHECKED: HeaderName = HeaderName::from_static("x-checked");
/// So many interim answers came before an answer; in one of those: which it is.
pub const HINTS: HeaderName = HeaderName::from_static("x-hints");

/// What stands for a header that is not there.
pub const NOTHING: &str = "nothing";

/// What a visitor tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What the request has besides.
    pub extras: Extras,
    /// The entry trusts the visitor.
    pub trusted: bool,
    /// The request says that it comes from elsewhere.
    pub forges: bool,
    /// It came over HTTP/2 and wants a WebSocket (RFC 8441).
    pub extended: bool,
}

impl Told {
    /// As a header.
    pub fn header(&self) -> HeaderValue {
        let text = serde_json::to_string(self).expect("it can be written");
        HeaderValue::from_str(&text).expect("JSON is text")
    }

    /// From the headers of a request. One that does not tell anything has nothing besides.
    pub fn of(headers: &HeaderMap) -> Self {
        let text = headers.get(TOLD).and_then(|value| value.to_str().ok());
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// Adds the header fields that the extras ask for.
    pub fn add_to(&self, headers: &mut HeaderMap, session: u64) {
        headers.insert(TOLD, self.header());
        for crumb in crumbs(session, self.extras.crumbs) {
            let crumb = HeaderValue::from_str(&crumb).expect("it is text");
            headers.append(header::COOKIE, crumb);
        }
        if self.extras.timeout_ms > 0 {
            let text = timeout(self.extras.timeout_ms);
            headers.insert("grpc-timeout", HeaderValue::from_str(&text).expect("it is text"));
        }
        if self.extras.trailers {
            headers.insert(header::TRAILER, HeaderValue::from_static("x-checked"));
        }
    }

    /// The host that stands for a group.
    pub fn host(&self, group: usize) -> String {
        match self.extras.plain {
            true => format!("plain.{}", host_of(group)),
            false => host_of(group),
        }
    }

    /// What the upstream of `group` has to see in the head of the request of session `named`.
    pub fn heads(&self, group: usize, named: &str) -> Vec<(&'static str, String)> {
        let plain = self.extras.plain;
        let nothing = || NOTHING.to_owned();
        let session = named.parse().unwrap_or(0);
        let cookie = crumbs(session, self.extras.crumbs).join("; ");
        let timeout_ms = self.extras.timeout_ms;
        vec![
            ("the host", self.host(group)),
            ("x-way", if plain { nothing() } else { group_name(group) }),
            (
                "the path",
                format!("{}/{named}?n={named}", if plain { PREFIX } else { "" }),
            ),
            ("cookie", if cookie.is_empty() { nothing() } else { cookie }),
            (
                "grpc-timeout",
                if timeout_ms == 0 {
                    nothing()
                } else {
                    timeout(timeout_ms)
                },
            ),
        ]
    }

    /// Whether the request that says it comes from elsewhere names a port with the host alone.
    pub fn names_port(&self) -> bool {
        self.extras.chain % 2 == 1
    }

    /// What has to be said of where the request came `from`. Whoever is not trusted is not believed.
    pub fn origin(&self, group: usize, from: &str) -> [(&'static str, String); 9] {
        let host = self.host(group);
        let believed = self.trusted && self.forges;
        let claim = |claimed: &str, else_: &str| if believed { claimed } else { else_ }.to_owned();
        let (elsewhere, port) = match self.names_port() {
            true => (ELSEWHERE, "8443"),
            false => ("elsewhere.test", "4443"),
        };
        let (proto, named) = (claim("https", "http"), claim(elsewhere, &host));
        let chain = self.trusted.then(|| Chain::of(self.extras.chain));
        let (line, client, forwarded) = match chain {
            Some(chain) => (
                chain.line(from),
                chain.client().to_string(),
                chain.forwarded(from, &proto, &named),
            ),
            None => (
                from.to_owned(),
                from.to_owned(),
                format!("for={from};proto=http;host=\"{host}\""),
            ),
        };
        // What a trusted proxy passes on of it has to name the same.
        let same = believed && client == "10.9.8.7";
        let nothing = || NOTHING.to_owned();
        [
            ("x-forwarded-for", line),
            ("x-real-ip", client.clone()),
            ("forwarded", forwarded),
            ("x-forwarded-host", named),
            ("x-forwarded-proto", proto),
            ("x-forwarded-port", claim(port, "80")),
            ("x_forwarded_for", nothing()),
            ("x_real_ip", nothing()),
            ("true-client-ip", if same { client } else { nothing() }),
        ]
    }

    /// What is wrong with an interim answer that `session` got, if anything is.
    pub fn wrong_hint(session: u64, headers: &HeaderMap) -> Option<String> {
        let own = headers.get(SESSION) == Some(&HeaderValue::from(session));
        let clean = !headers.contains_key(HOP) && !headers.contains_key(header::CONNECTION);
        let linked = headers.contains_key(header::LINK);
        (!own || !clean || !linked).then(|| format!("an interim answer is {headers:?}"))
    }
}

/// The cookie of a session, in pieces.
fn crumbs(session: u64, crumbs: usize) -> Vec<String> {
    (0..crumbs)
        .map(|n| format!("c{n}={}", session + n as u64))
        .collect()
}

/// A time as gRPC spells it: the last digit chooses the unit, and whether there are as many digits as there may be.
fn timeout(ms: u64) -> String {
    match ms % 10 {
        0 if ms.is_multiple_of(1_000) => format!("{}S", ms / 1_000),
        1 => format!("{:08}u", ms * 1_000),
        0..=3 => format!("{}u", ms * 1_000),
        4..=6 => format!("{ms:08}m"),
        _ => format!("{ms}m"),
    }
}
