//! Where a request came from, as its upstream is told (`X-Forwarded-*`; `Forwarded`, RFC 7239), and how many proxies of this
//! name it has passed. Pure.

use std::{borrow::Cow, fmt::Write as _, net::IpAddr, slice, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{FORWARDED, HOST, VIA},
};

use super::{
    claims::{address, remove_claims},
    network::Network,
};
use crate::probe::{mutant, sometimes};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

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
}

impl Origin {
    /// A visitor at `peer`, who may have come `secure` over TLS. Addresses in `proxies` may say whom they speak for.
    pub fn new(peer: IpAddr, proxies: Arc<[Network]>, secure: bool) -> Self {
        let peer = peer.to_canonical();
        Self {
            peer,
            trusted: is_one_of(&proxies, peer),
            proxies,
            secure,
            named: address_value(peer),
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

    /// Whom a trusted proxy speaks for; else the visitor itself. `X-Forwarded-For`, or `Forwarded` where that is all there is, is
    /// read from its end past all trusted proxies: the first address that is none is the client. What stands before it may be
    /// forged. An element that is no address ends the walk at the proxy that wrote it.
    pub fn client(&self, headers: &HeaderMap) -> IpAddr {
        self.way(headers).client()
    }

    /// The way that the request came by, as far as it is believed.
    fn way(&self, headers: &HeaderMap) -> Way<'_> {
        if !self.trusted {
            return Way {
                hops: Cow::Borrowed(slice::from_ref(&self.peer)),
                asked: Element::default(),
            };
        }
        let mut way = Way {
            hops: Cow::Owned(vec![self.peer]),
            asked: Element::default(),
        };
        let hops = way.hops.to_mut();
        let chain = match headers.contains_key(X_FORWARDED_FOR) {
            true => elements(headers, X_FORWARDED_FOR, Element::of_list),
            false => elements(headers, FORWARDED, Element::of_forwarded),
        };
        for element in chain.into_iter().rev() {
            let Some(address) = element.address else {
                if mutant!("unknown-hop-skipped-in-chain") {
                    continue;
                }
                break;
            };
            sometimes!(hops.len() > 1, "chain-of-proxies-walked");
            hops.push(address);
            way.asked = element;
            if !is_one_of(&self.proxies, address) || mutant!("nearest-hop-taken-for-client") {
                break;
            }
        }
        way
    }

    /// What the untrusted say of where they come from is replaced or removed, what trusted proxies say is kept as far as it is
    /// believed, and everything then says the same. `host` is the host without its port.
    pub fn tell(&self, headers: &mut HeaderMap, host: &str) {
        let way = self.way(headers);
        let client = way.client();
        let Way { hops, asked } = way;
        let believed = self.trusted || mutant!("anybody-believed-for-whom-they-speak");
        remove_claims(headers, believed.then_some(client));
        let named = authority(headers, HOST, host);
        let chain = match &*hops {
            [_] => self.named.clone(),
            hops => list(hops),
        };
        if mutant!("unbelieved-chain-passed-on") {
            append(headers, X_FORWARDED_FOR, &self.named);
        } else {
            headers.insert(X_FORWARDED_FOR, chain);
        }
        if self.trusted && headers.contains_key(X_FORWARDED_PROTO) && mutant!("trusted-scheme-overwritten") {
            headers.remove(X_FORWARDED_PROTO);
        }
        let proto = HeaderValue::from_static(asked.proto.unwrap_or(proto(self.secure)));
        let proto = headers.entry(X_FORWARDED_PROTO).or_insert(proto).clone();
        headers
            .entry(X_FORWARDED_HOST)
            .or_insert(asked.host.unwrap_or(named));
        let named = authority(headers, X_FORWARDED_HOST, host);
        let port = match mutant!("forwarded-port-of-the-inner-host") {
            false => port(&named, &proto),
            true => port(&authority(headers, HOST, host), &proto),
        };
        headers.entry(X_FORWARDED_PORT).or_insert(port);
        let client = match client == self.peer {
            true => self.named.clone(),
            false => address_value(client),
        };
        headers.insert(X_REAL_IP, client);
        if let Some(forwarded) = forwarded(&hops, &proto, &named, self.secure) {
            headers.insert(FORWARDED, forwarded);
        }
    }
}

/// The way that a request came by, as far as it is believed.
struct Way<'a> {
    /// From the visitor of this entry to the client.
    hops: Cow<'a, [IpAddr]>,
    /// What is said of the client, and of what it asked for.
    asked: Element,
}

impl Way<'_> {
    fn client(&self) -> IpAddr {
        // The visitor is always there.
        *self.hops.last().expect("a way has a hop")
    }
}

/// One hop, as a chain names it.
#[derive(Default)]
struct Element {
    /// Where it is; `None` for what is no address.
    address: Option<IpAddr>,
    /// The scheme that it asked with.
    proto: Option<&'static str>,
    /// The host that it asked for.
    host: Option<HeaderValue>,
}

impl Element {
    /// Of `X-Forwarded-For`.
    fn of_list(text: &str) -> Self {
        Self {
            address: address(text),
            ..Self::default()
        }
    }

    /// Of `Forwarded` (RFC 7239, section 4).
    fn of_forwarded(text: &str) -> Self {
        // What stands in quotes may hold separators, and was perhaps chosen by a visitor: then nothing of it is believed.
        let is_torn = |pair: &str| pair.matches('"').count() % 2 == 1;
        if text.split(';').any(is_torn) {
            return Self::default();
        }
        let said = |wanted: &str| {
            let mut pairs = text.split(';').filter_map(|pair| pair.split_once('='));
            let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))?;
            Some(value.trim().trim_matches('"'))
        };
        let proto = said("proto").map(str::to_ascii_lowercase);
        Self {
            address: said("for").and_then(address),
            proto: proto.and_then(|proto| ["http", "https"].into_iter().find(|known| *known == proto)),
            host: said("host").filter(|host| !host.is_empty()).and_then(plain),
        }
    }
}

/// Hops as `X-Forwarded-For` has them: the client first.
fn list(hops: &[IpAddr]) -> HeaderValue {
    let mut text = String::with_capacity(20 * hops.len());
    for (nth, hop) in hops.iter().rev().enumerate() {
        text += if nth == 0 { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(text, "{hop}");
    }
    HeaderValue::from_maybe_shared(Bytes::from(text)).expect("addresses are text")
}

/// `Forwarded`: the client first, with what it asked for, then the proxies.
fn forwarded(hops: &[IpAddr], proto: &HeaderValue, host: &HeaderValue, secure: bool) -> Option<HeaderValue> {
    let proto = match proto.as_bytes() {
        b"http" => "http",
        b"https" => "https",
        _ => self::proto(secure),
    };
    let host = host.to_str().unwrap_or_default();
    let mut text = String::with_capacity(32 * hops.len() + host.len() + 32);
    for (nth, hop) in hops.iter().rev().enumerate() {
        text += if nth == 0 { "for=" } else { ", for=" };
        // A bracket needs quotes; a host that passed is free of them. Writing to a string does not fail.
        let _ = match hop {
            IpAddr::V4(hop) => write!(text, "{hop}"),
            IpAddr::V6(hop) => write!(text, "\"[{hop}]\""),
        };
        if nth == 0 {
            let _ = write!(text, ";proto={proto};host=\"{host}\"");
        }
    }
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}

/// The elements of a list, in order.
fn elements(headers: &HeaderMap, name: HeaderName, element: fn(&str) -> Element) -> Vec<Element> {
    let mut all = Vec::new();
    for value in headers.get_all(name) {
        if mutant!("only-last-line-of-chain-walked") {
            all.clear();
        }
        let Ok(value) = value.to_str() else {
            all.push(Element::default());
            continue;
        };
        let texts = value.split(',').map(str::trim).filter(|text| !text.is_empty());
        all.extend(texts.map(element));
    }
    all
}

fn address_value(address: IpAddr) -> HeaderValue {
    HeaderValue::from_str(&address.to_string()).expect("an address is text")
}

/// The host as the visitor named it, with its port: links are made of it. What stands behind its colon was not checked, and
/// must not break out of the quotes in `Forwarded`: if it is not plain, the bare `host` is given.
fn authority(headers: &HeaderMap, named: HeaderName, host: &str) -> HeaderValue {
    let named = headers.get(named);
    let named = named.filter(|named| named.as_bytes().iter().all(is_plain));
    let bare = || HeaderValue::from_str(host).unwrap_or(HeaderValue::from_static(""));
    named.cloned().unwrap_or_else(bare)
}

fn is_plain(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte)
}

/// A host with or without a port, if it is nothing but that.
fn plain(host: &str) -> Option<HeaderValue> {
    let is_plain = host.as_bytes().iter().all(is_plain);
    is_plain.then(|| HeaderValue::from_str(host).ok()).flatten()
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
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("a:8000"));
        headers.insert(X_FORWARDED_HOST, HeaderValue::from_static("www.a:8443"));
        let proxies = ["10.0.0.1".parse().expect("a network")];
        Origin::new([10, 0, 0, 1].into(), proxies.into(), false).tell(&mut headers, "a");
        assert_eq!(headers[X_FORWARDED_PORT], "8443");
    }

    #[test]
    fn what_a_proxy_says_in_another_header_alone_is_believed_too() {
        let check = |said: &[&'static str], client: &str, expected: &str| {
            let scheme = if expected.contains("proto=https") {
                "https"
            } else {
                "http"
            };
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("a"));
            for value in said {
                headers.append(FORWARDED, HeaderValue::from_static(value));
            }
            let proxies = ["10.0.0.0/8".parse().expect("a network")];
            let origin = Origin::new([10, 0, 0, 1].into(), proxies.into(), false);
            assert_eq!(origin.client(&headers).to_string(), client, "{said:?}");
            origin.tell(&mut headers, "a");
            assert_eq!(headers[FORWARDED], expected, "{said:?}");
            assert_eq!(headers[X_REAL_IP], client, "{said:?}");
            assert_eq!(headers[X_FORWARDED_PROTO], scheme, "{said:?}");
            // The same chain, in the other notation.
            let hops = expected
                .split(", ")
                .map(|hop| hop.split(';').next().unwrap_or_default());
            let hops = hops.map(|hop| hop.trim_start_matches("for=").trim_matches(['"', '[', ']']));
            let chain = hops.collect::<Vec<_>>().join(", ");
            assert_eq!(headers[X_FORWARDED_FOR], chain, "{said:?}");
        };
        check(&[], "10.0.0.1", "for=10.0.0.1;proto=http;host=\"a\"");
        check(
            &["for=7.7.7.7;host=\"www.a:8443\";proto=HTTPS, for=10.0.0.9;proto=http;host=b"],
            "7.7.7.7",
            "for=7.7.7.7;proto=https;host=\"www.a:8443\", for=10.0.0.9, for=10.0.0.1",
        );
        check(
            &[
                "for=6.6.6.6, For=\"[2001:db8::7]:99\";proto=https",
                "by=x;for=10.0.0.9",
            ],
            "2001:db8::7",
            "for=\"[2001:db8::7]\";proto=https;host=\"a\", for=10.0.0.9, for=10.0.0.1",
        );
        for torn in [
            "for=7.7.7.7;host=\"a,for=6.6.6.6\"",
            "host=\"a;for=6.6.6.6\";for=7.7.7.7",
        ] {
            check(&[torn], "10.0.0.1", "for=10.0.0.1;proto=http;host=\"a\"");
        }
        check(
            &["for=6.6.6.6, for=unknown, for=10.0.0.9"],
            "10.0.0.9",
            "for=10.0.0.9;proto=http;host=\"a\", for=10.0.0.1",
        );
    }
}
