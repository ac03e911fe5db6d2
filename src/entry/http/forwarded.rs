//! Where a request came from, as its upstream is told (`X-Forwarded-*`; `Forwarded`, RFC 7239), and how many proxies of this
//! name it has passed. Pure.

use std::net::IpAddr;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{FORWARDED, HOST, VIA},
};

use crate::probe::mutant;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// How this proxy names itself in `Via`.
const VIA_NAME: &str = "adit";

/// So often a request may pass a proxy of this name. More is a loop.
const HOPS_MAX: usize = 8;

/// Who asks, as far as the way here tells. Made once for a connection.
#[derive(Clone, Debug)]
pub struct Origin {
    peer: IpAddr,
    trusted: bool,
    secure: bool,
    /// The peer in `X-Forwarded-For`.
    named: HeaderValue,
    /// Its element of `Forwarded`, up to the host.
    element: String,
}

impl Origin {
    /// A visitor at `peer`, who may be `trusted` to say whom it speaks for, and may have come `secure` over TLS.
    pub fn new(peer: IpAddr, trusted: bool, secure: bool) -> Self {
        let text = peer.to_string();
        let quoted = match peer {
            IpAddr::V4(_) => text.clone(),
            IpAddr::V6(_) => format!("\"[{text}]\""),
        };
        Self {
            peer,
            trusted,
            secure,
            named: HeaderValue::from_str(&text).expect("an address is text"),
            // A port or a bracket needs quotes; a host that passed is free of them.
            element: format!("for={quoted};proto={};host=\"", proto(secure)),
        }
    }

    /// The visitor's address.
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Whether it may say whom it speaks for.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Whether it came over TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Whom a trusted proxy speaks for; else the visitor itself.
    pub fn client(&self, headers: &HeaderMap) -> IpAddr {
        let said = || {
            let last = headers
                .get_all(X_FORWARDED_FOR)
                .iter()
                .next_back()?
                .to_str()
                .ok()?;
            last.rsplit(',').next()?.trim().parse().ok()
        };
        match self.trusted {
            true => said().unwrap_or(self.peer),
            false => self.peer,
        }
    }

    /// What the untrusted say of where they come from is replaced, what trusted proxies say is added to.
    pub fn tell(&self, headers: &mut HeaderMap, host: &str) {
        let element = Bytes::from([&self.element, host, "\""].concat());
        let host = match headers.get(HOST) {
            Some(named) if named == host => Ok(named.clone()),
            _ => HeaderValue::from_str(host),
        };
        let (Ok(element), Ok(host)) = (HeaderValue::from_maybe_shared(element), host) else {
            // A host that passed is text; whoever got by is not believed.
            for name in [X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO, FORWARDED] {
                headers.remove(name);
            }
            return;
        };
        let proto = HeaderValue::from_static(proto(self.secure));
        if self.trusted || mutant!("anybody-believed-for-whom-they-speak") {
            append(headers, X_FORWARDED_FOR, &self.named);
            append(headers, FORWARDED, &element);
            headers.entry(X_FORWARDED_HOST).or_insert(host);
            headers.entry(X_FORWARDED_PROTO).or_insert(proto);
        } else {
            headers.insert(X_FORWARDED_FOR, self.named.clone());
            headers.insert(FORWARDED, element);
            headers.insert(X_FORWARDED_HOST, host);
            headers.insert(X_FORWARDED_PROTO, proto);
        }
    }
}

fn proto(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}

/// One list in one header.
fn append(headers: &mut HeaderMap, name: HeaderName, element: &HeaderValue) {
    if !headers.contains_key(&name) {
        headers.insert(name, element.clone());
        return;
    }
    let before = headers.get_all(&name).iter().filter(|value| !value.is_empty());
    let all: Vec<_> = before.chain([element]).map(HeaderValue::as_bytes).collect();
    if let Ok(list) = HeaderValue::from_bytes(&all.join(&b", "[..])) {
        headers.insert(name, list);
    }
}

/// Adds this hop to `Via`; not if the request came by here too often, which is what it says.
pub fn count_hop(headers: &mut HeaderMap, version: Version) -> bool {
    let values = headers
        .get_all(VIA)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let hops = values.flat_map(|value| value.split(','));
    let mine = hops
        .filter(|hop| hop.split_whitespace().nth(1) == Some(VIA_NAME))
        .count();
    if mine >= HOPS_MAX {
        return false;
    }
    let hop = match version {
        Version::HTTP_10 => "1.0 adit",
        Version::HTTP_2 => "2 adit",
        _ => "1.1 adit",
    };
    append(headers, VIA, &HeaderValue::from_static(hop));
    true
}
