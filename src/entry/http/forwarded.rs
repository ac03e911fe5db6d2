//! Where a request came from, as its upstream is told (`X-Forwarded-*`; `Forwarded`, RFC 7239), and how many proxies of this
//! name it has passed. Pure.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{FORWARDED, HOST, VIA},
};

use super::network::Network;
use crate::probe::mutant;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Headers that some servers believe of where a request came from, besides `Forwarded` and all that begin with
/// `X-Forwarded`. Only trusted proxies may set them.
const TELL_ORIGIN: [&str; 12] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "fastly-client-ip",
    "forwarded",
    "front-end-https",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-real-ip",
    "x-url-scheme",
];

/// How many proxies of this name a request has passed.
pub const HOPS: HeaderName = HeaderName::from_static("adit-hops");

/// So often a request may pass a proxy of this name. More is a loop.
const HOPS_MAX: usize = 8;

/// Who asks, as far as the way here tells. Made once for a connection.
#[derive(Clone, Debug)]
pub struct Origin {
    peer: IpAddr,
    proxies: Arc<[Network]>,
    trusted: bool,
    secure: bool,
    /// The peer in `X-Forwarded-For`.
    named: HeaderValue,
    /// Its element of `Forwarded`, up to the host.
    element: String,
}

impl Origin {
    /// A visitor at `peer`, who may have come `secure` over TLS. Addresses in `proxies` may say whom they speak for.
    pub fn new(peer: IpAddr, proxies: Arc<[Network]>, secure: bool) -> Self {
        let peer = peer.to_canonical();
        let text = peer.to_string();
        let quoted = match peer {
            IpAddr::V4(_) => text.clone(),
            IpAddr::V6(_) => format!("\"[{text}]\""),
        };
        Self {
            peer,
            trusted: is_one_of(&proxies, peer),
            proxies,
            secure,
            named: HeaderValue::from_str(&text).expect("an address is text"),
            // A port or a bracket needs quotes; a host that passed is free of them.
            element: format!("for={quoted};proto={};host=\"", proto(secure)),
        }
    }

    /// The visitor's address. An IPv4 address within IPv6 is given as IPv4.
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

    /// Whom a trusted proxy speaks for; else the visitor itself. `X-Forwarded-For` is read from its end past all trusted
    /// proxies: the first address that is none is the client. What stands before it may be forged. An element that is no
    /// address ends the walk at the proxy that wrote it.
    pub fn client(&self, headers: &HeaderMap) -> IpAddr {
        let mut client = self.peer;
        if !self.trusted {
            return client;
        }
        let values = headers.get_all(X_FORWARDED_FOR).iter().rev();
        for value in values {
            let Ok(value) = value.to_str() else {
                return client;
            };
            for element in value.rsplit(',').map(str::trim).filter(|text| !text.is_empty()) {
                let Some(address) = address(element) else {
                    return client;
                };
                client = address;
                if !is_one_of(&self.proxies, address) {
                    return client;
                }
            }
        }
        client
    }

    /// What the untrusted say of where they come from is replaced or removed, what trusted proxies say is added to. `host`
    /// is the host without its port.
    pub fn tell(&self, headers: &mut HeaderMap, host: &str) {
        let client = self.client(headers);
        let believed = self.trusted || mutant!("anybody-believed-for-whom-they-speak");
        if !believed {
            remove_claims(headers);
        }
        let named = authority(headers, host);
        let element = Bytes::from([self.element.as_bytes(), named.as_bytes(), b"\""].concat());
        append(headers, X_FORWARDED_FOR, &self.named);
        if let Ok(element) = HeaderValue::from_maybe_shared(element) {
            append(headers, FORWARDED, &element);
        }
        let proto = headers
            .entry(X_FORWARDED_PROTO)
            .or_insert(HeaderValue::from_static(proto(self.secure)));
        let port = port(&named, proto);
        headers.entry(X_FORWARDED_PORT).or_insert(port);
        headers.entry(X_FORWARDED_HOST).or_insert(named);
        let client = match client == self.peer {
            true => self.named.clone(),
            false => HeaderValue::from_str(&client.to_string()).expect("an address is text"),
        };
        headers.insert(X_REAL_IP, client);
    }
}

/// The host as the visitor named it, with its port: links are made of it. What stands behind its colon was not checked, and
/// must not break out of the quotes in `Forwarded`: if it is not plain, the bare `host` is given.
fn authority(headers: &HeaderMap, host: &str) -> HeaderValue {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte);
    let named = headers.get(HOST);
    let named = named.filter(|named| named.as_bytes().iter().all(plain));
    let bare = || HeaderValue::from_str(host).unwrap_or(HeaderValue::from_static(""));
    named.cloned().unwrap_or_else(bare)
}

/// The port that the visitor named, else that of its scheme.
fn port(authority: &HeaderValue, proto: &HeaderValue) -> HeaderValue {
    let named = authority.to_str().ok().and_then(|named| named.rsplit_once(':'));
    let port = named.map(|(_, port)| port);
    let port = port.filter(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let standard = || HeaderValue::from_static(if proto == "https" { "443" } else { "80" });
    port.and_then(|port| HeaderValue::from_str(port).ok())
        .unwrap_or_else(standard)
}

fn is_one_of(proxies: &[Network], address: IpAddr) -> bool {
    proxies.iter().any(|network| network.contains(address))
}

/// An element of `X-Forwarded-For`: an address, with or without a port.
fn address(element: &str) -> Option<IpAddr> {
    let bare = element.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(element).parse().ok();
    let address = address.or_else(|| element.parse().ok().map(|address: SocketAddr| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

/// Removes whatever tells where a request came from. CGI and WSGI servers read `_` and `-` alike.
fn remove_claims(headers: &mut HeaderMap) {
    let claims = |name: &&HeaderName| {
        let name = name.as_str();
        match name.contains('_') {
            true => tells_origin(&name.replace('_', "-")) && !mutant!("underscored-claim-passed-on"),
            false => tells_origin(name) && !(name == X_FORWARDED_PORT && mutant!("forged-port-believed")),
        }
    };
    let claims: Vec<HeaderName> = headers.keys().filter(claims).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
}

fn tells_origin(name: &str) -> bool {
    name.starts_with("x-forwarded") || TELL_ORIGIN.contains(&name)
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

/// Counts this hop in a header of its own; not if the request came by here too often, which is what it says. `Via` would
/// make some servers answer without compression.
pub fn count_hop(headers: &mut HeaderMap) -> bool {
    let said = |value: &HeaderValue| value.to_str().ok()?.parse::<usize>().ok();
    let passed = headers.get_all(HOPS).iter().filter_map(said).max().unwrap_or(0);
    if passed >= HOPS_MAX {
        return false;
    }
    headers.insert(HOPS, HeaderValue::from(passed + 1));
    true
}

/// Adds this hop to `Via`.
pub fn add_via(headers: &mut HeaderMap, version: Version) {
    let hop = match version {
        Version::HTTP_10 => "1.0 adit",
        Version::HTTP_2 => "2 adit",
        _ => "1.1 adit",
    };
    append(headers, VIA, &HeaderValue::from_static(hop));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_nobody_names_is_that_of_the_scheme() {
        let check = |host: &'static str, proto: &'static str, expected: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(proto));
            let proxies = ["10.0.0.1".parse().expect("a network")];
            let origin = Origin::new([10, 0, 0, 1].into(), proxies.into(), false);
            origin.tell(&mut headers, "a");
            assert_eq!(headers[X_FORWARDED_PORT], expected, "{host} {proto}");
        };
        check("a", "https", "443");
        check("a", "http", "80");
        check("a:8443", "https", "8443");
        check("[::1]", "https", "443");
        check("[::1]:8443", "https", "8443");
        check("a:", "https", "443");
    }
}
