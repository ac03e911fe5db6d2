//! Headers that claim something of where a request came from: which are known, and which of them pass. Pure.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::probe::mutant;

/// Headers that name the address of whoever asks. A trusted proxy's are passed on only where they name the address that the
/// entry itself takes for it: many proxies pass them on as their visitors wrote them.
const NAME_ADDRESS: [&str; 34] = [
    "cdn-src-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "client-ip",
    "cloudfront-viewer-address",
    "do-connecting-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded-for",
    "forwarded-for-ip",
    "incap-client-ip",
    "proxy-client-ip",
    "remote-addr",
    "true-client-ip",
    "wl-proxy-client-ip",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-external-address",
    "x-ms-forwarded-client-ip",
    "x-original-for",
    "x-original-forwarded-for",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-sucuri-clientip",
    "x-true-client-ip",
    "x-true-ip",
    "x-vercel-forwarded-for",
];

/// Headers that some servers believe of where a request came from, besides those and all that begin
/// with `X-Forwarded`. Only trusted proxies may set them.
const TELL_ORIGIN: [&str; 13] = [
    "cf-visitor",
    "cloudfront-forwarded-proto",
    "forwarded",
    "front-end-https",
    "https",
    "x-arr-ssl",
    "x-host",
    "x-https",
    "x-original-host",
    "x-original-proto",
    "x-scheme",
    "x-ssl",
    "x-url-scheme",
];

/// An element of `X-Forwarded-For`: an address, with or without a port.
pub fn address(element: &str) -> Option<IpAddr> {
    let bare = element.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(element).parse().ok();
    let address = address.or_else(|| element.parse().ok().map(|address: SocketAddr| address.ip()));
    if element.parse::<SocketAddr>().is_ok() && mutant!("hop-with-port-is-no-address") {
        return None;
    }
    address.map(|address: IpAddr| address.to_canonical())
}

/// Removes what tells where a request came from: everything, or of a trusted proxy what names another than `client`. CGI and
/// WSGI servers read `_` and `-` alike, so what is spelled with `_` is removed always.
pub fn remove_claims(headers: &mut HeaderMap, client: Option<IpAddr>) {
    let claims = |(name, value): (&HeaderName, &HeaderValue)| {
        let name = name.as_str();
        if name.contains('_') {
            return tells_origin(&name.replace('_', "-")) && !mutant!("underscored-claim-passed-on");
        }
        match client {
            Some(client) => names_address(name) && value.to_str().ok().and_then(address) != Some(client),
            None => tells_origin(name) && !(name == "x-forwarded-port" && mutant!("forged-port-believed")),
        }
    };
    let claims: Vec<HeaderName> = headers
        .iter()
        .filter(|line| claims(*line))
        .map(|(name, _)| name.clone())
        .collect();
    for name in claims {
        headers.remove(name);
    }
}

fn names_address(name: &str) -> bool {
    NAME_ADDRESS.contains(&name)
}

fn tells_origin(name: &str) -> bool {
    name.starts_with("x-forwarded") || names_address(name) || TELL_ORIGIN.contains(&name)
}
