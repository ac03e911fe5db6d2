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
/// WSGI servers read `_` and `-` alike, and some of them every character that is no letter and no digit (lighttpd), so what
/// is spelled with others than `-` is removed always.
pub fn remove_claims(headers: &mut HeaderMap, client: Option<IpAddr>) {
    let claims = |(name, value): (&HeaderName, &HeaderValue)| {
        let name = name.as_str();
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        if !name.chars().all(is_plain) {
            let alike = name.replace(|letter| !is_plain(letter), "-");
            return tells_origin(&alike) && !mutant!("underscored-claim-passed-on");
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The fuzz target `requests` has lists of its own: a name that it does not know fails it with these files.
    #[test]
    fn the_fuzz_target_is_asked_for_every_name() {
        let stranger = include_str!("../../../fuzz/corpus/requests/every-claim-of-a-stranger");
        let proxy = include_str!("../../../fuzz/corpus/requests/every-claim-through-a-proxy");
        for name in NAME_ADDRESS.iter().chain(&TELL_ORIGIN) {
            let line = format!("\n{name}: ");
            assert!(stranger.contains(&line) && proxy.contains(&line), "{name}");
        }
    }

    #[test]
    fn what_servers_read_as_a_claim_is_removed_however_it_is_spelled() {
        let client: IpAddr = [203, 0, 113, 7].into();
        for separator in "!#$%&'*+.^_`|~".chars() {
            for claim in ["x-real-ip", "x-forwarded-host", "true-client-ip", "x-scheme"] {
                let name = claim.replace('-', &separator.to_string());
                let name = HeaderName::from_bytes(name.as_bytes()).expect("it is a token");
                for trusted in [None, Some(client)] {
                    let value = HeaderValue::from_static("203.0.113.7");
                    let mut headers = HeaderMap::from_iter([(name.clone(), value)]);
                    remove_claims(&mut headers, trusted);
                    assert!(headers.is_empty(), "{name} of {trusted:?}");
                }
            }
        }
        let harmless = ["x.under.score", "x_a", "x-a", "content.length"].map(HeaderName::from_static);
        let mut headers = HeaderMap::from_iter(harmless.map(|name| (name, HeaderValue::from_static("1"))));
        remove_claims(&mut headers, None);
        assert_eq!(headers.len(), 4);
    }
}
