//! What of a request and an answer goes on to the other side. Pure.
//!
//! Nothing about how a message is framed is passed on: lengths and encodings are rebuilt from the body, but for a request
//! that says that it has none. Nor is what belongs to one connection alone (RFC 9110, section 7.6.1).

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version,
    header::{
        CONNECTION, COOKIE, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
    },
    request,
};

use super::forwarded::{HOPS, Origin, add_via, count_hop};
use crate::probe::{mutant, sometimes};

/// What belongs to one connection, besides what `Connection` names.
static HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Why a request goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// No host, or none that is one.
    #[error("a request needs exactly one host")]
    Host,
    /// Two hosts that differ.
    #[error("the host and the authority differ")]
    HostsDiffer,
    /// A target that has no path.
    #[error("the target is no path")]
    Path,
    /// CONNECT, which is for forward proxies.
    #[error("CONNECT is not for this server")]
    Connect,
    /// A body encoded as nobody here reads it.
    #[error("the body is encoded in a way that is not known")]
    Encoding,
    /// It came by here too often.
    #[error("the request goes in a circle")]
    Loop,
}

impl BadRequest {
    /// What it is answered with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::HostsDiffer | Self::Path => StatusCode::BAD_REQUEST,
            Self::Connect | Self::Encoding => StatusCode::NOT_IMPLEMENTED,
            Self::Loop => StatusCode::LOOP_DETECTED,
        }
    }
}

/// What upstreams are told as the host of a request of HTTP/1.0 that names none, as many that look after servers do.
pub const NO_HOST: &str = "localhost";

/// The host that a request names: lower case, without a port. `None` where HTTP/1.0 names none.
///
/// # Errors
/// [`BadRequest`]: there is not exactly one.
pub fn host(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<Option<String>, BadRequest> {
    let mut hosts = headers.get_all(HOST).iter();
    let (first, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(BadRequest::Host);
    }
    let named = first.map(|host| host.to_str().map_err(|_| BadRequest::Host));
    let named = named.transpose()?;
    let authority = uri.authority().map(http::uri::Authority::as_str);
    if let (Some(named), Some(authority)) = (named, authority)
        && bare(named) != bare(authority)
    {
        return Err(BadRequest::HostsDiffer);
    }
    match authority.or(named).map(bare) {
        None if version == Version::HTTP_10 => Ok(None),
        Some(host) if is_host(&host) => Ok(Some(host)),
        _ => Err(BadRequest::Host),
    }
}

/// Whether it is a name or an address, and nothing that others might read as more than one.
fn is_host(host: &str) -> bool {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(name),
    }
}

/// Without a port, in lower case.
fn bare(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        // An address of the sixth version has colons of its own, within brackets.
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    };
    host.to_ascii_lowercase()
}

/// The path alone, and the host in its header: what an origin expects of HTTP/1. HTTP/2 makes its own of it.
///
/// # Errors
/// [`BadRequest::Path`].
pub fn to_origin_form(parts: &mut request::Parts) -> Result<(), BadRequest> {
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = authority.as_str().parse()
    {
        // It stands first (RFC 9110, section 7.2).
        parts.headers.remove(HOST);
        let others = std::mem::take(&mut parts.headers);
        parts.headers.reserve(others.len() + 1);
        parts.headers.insert(HOST, host);
        parts.headers.extend(others);
    }
    let path = parts
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    let path = match path.as_bytes().first() {
        Some(b'/') => path.into(),
        // Of an address that has a query and no path.
        Some(b'?') => format!("/{path}").into(),
        _ if path == "*" => path.into(),
        _ => Cow::from("/"),
    };
    parts.uri = path.parse::<Uri>().map_err(|_| BadRequest::Path)?;
    parts.version = Version::HTTP_11;
    Ok(())
}

/// Takes away what belongs to the connection it came on. The host is for everybody, whatever a visitor says of it: without
/// it an upstream would take the request for another site's. So is the count of hops.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Most have few of them or none: to look at the names that are there costs less than to ask for each.
    let place = |name: &HeaderName| HOP_BY_HOP.iter().position(|hop| hop == name);
    let there = headers
        .keys()
        .filter_map(place)
        .fold(0, |all, one| all | 1_u8 << one);
    if there == 0 {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != HOST && *name != HOPS && !mutant!("named-hop-by-hop-passed-on"))
        .collect();
    for name in &named {
        headers.remove(name);
    }
    for (place, name) in HOP_BY_HOP.iter().enumerate() {
        if there & 1 << place != 0 {
            headers.remove(name);
        }
    }
}

/// Whether the body of a message is encoded in another way than in chunks: what passes is what was encoded.
pub fn is_encoded(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TRANSFER_ENCODING).iter();
    let words = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let mut chunked = false;
    let unknown = |word: &[u8]| {
        let again = chunked;
        chunked |= word.eq_ignore_ascii_case(b"chunked");
        again || !chunked && !word.eq_ignore_ascii_case(b"identity")
    };
    words.map(<[u8]>::trim_ascii).any(unknown)
}

/// Makes the headers of a request what its upstream is to see. `host` is what [`host`](fn@host) found; with `via` it is
/// told which proxies the request has passed.
///
/// # Errors
/// [`BadRequest::Loop`].
pub fn forward(
    headers: &mut HeaderMap,
    version: Version,
    host: &str,
    origin: &Origin,
    via: bool,
) -> Result<(), BadRequest> {
    let trailers = wants_trailers(headers);
    strip_hop_by_hop(headers);
    if trailers && !mutant!("wish-for-trailers-not-passed-on") {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if version == Version::HTTP_2 {
        join_cookies(headers);
    }
    if !headers.contains_key(HOST)
        && let Ok(host) = host.parse()
    {
        headers.insert(HOST, host);
    }
    origin.tell(headers, host);
    if via {
        add_via(headers, version);
    }
    match count_hop(headers) {
        true => Ok(()),
        false => Err(BadRequest::Loop),
    }
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TE).iter().filter_map(|value| value.to_str().ok());
    let mut words = values.flat_map(|value| value.split(','));
    words.any(|word| word.trim().eq_ignore_ascii_case("trailers"))
}

/// HTTP/2 may send a cookie in crumbs (RFC 9113, section 8.2.3); HTTP/1 has one.
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    sometimes!("cookie-came-in-crumbs");
    if mutant!("cookie-crumbs-not-joined") {
        return;
    }
    let between = if mutant!("cookie-crumbs-joined-as-a-list") {
        ", "
    } else {
        "; "
    };
    let crumbs: Vec<_> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    // Joined header values are a header value.
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(between.as_bytes())) {
        headers.insert(COOKIE, cookie);
    }
}

/// What an HTTP/1 request wants to become, if it wants that. HTTP/2 is no such thing: requests within it would pass by
/// every rule.
pub fn upgrade(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    let values = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut words = values.flat_map(|value| value.split(','));
    let asked = words.any(|word| word.trim().eq_ignore_ascii_case("upgrade"));
    let protocol = headers
        .get(UPGRADE)
        .filter(|_| version == Version::HTTP_11 && asked)?;
    let http2 = protocol.to_str().ok()?.split(',').any(|word| {
        let word = word.trim();
        word.eq_ignore_ascii_case("h2c") || word.eq_ignore_ascii_case("h2")
    });
    (!http2).then(|| protocol.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn shown(headers: &HeaderMap) -> Vec<String> {
        let line =
            |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        headers.iter().map(line).collect()
    }

    #[test]
    fn a_host_is_one_name_or_address() {
        let check = |uri: &str, hosts: &[&str], expected: Result<&str, BadRequest>| {
            let lines: Vec<_> = hosts.iter().map(|value| ("host", *value)).collect();
            let found = host(Version::HTTP_11, &uri.parse().unwrap(), &headers(&lines));
            assert_eq!(
                found,
                expected.map(|host| Some(host.to_owned())),
                "{uri} {hosts:?}"
            );
        };
        check("/", &["Example.COM"], Ok("example.com"));
        check("/", &["example.com:8080"], Ok("example.com"));
        check("http://example.com/", &[], Ok("example.com"));
        check("http://example.com:80/", &["EXAMPLE.com"], Ok("example.com"));
        check("/", &["[2001:db8::1]:80"], Ok("[2001:db8::1]"));
        check("/", &["127.0.0.1"], Ok("127.0.0.1"));
        check("/", &[], Err(BadRequest::Host));
        check("/", &["a", "a"], Err(BadRequest::Host));
        check("http://a/", &["b"], Err(BadRequest::HostsDiffer));
        let nobody = host(Version::HTTP_10, &Uri::from_static("/"), &HeaderMap::new());
        assert_eq!(nobody, Ok(None));
        for bad in [
            "", " ", "a b", "a,b", "a/b", "u@a", "a?b", "a#b", "[::1", "[a]", "a%41",
        ] {
            check("/", &[bad], Err(BadRequest::Host));
        }
    }

    #[test]
    fn a_target_is_a_path_and_its_host_a_header() {
        let check = |target: &str, expected: (&str, Option<&str>)| {
            let request = http::Request::get(target).body(()).unwrap();
            let (mut parts, ()) = request.into_parts();
            to_origin_form(&mut parts).unwrap();
            let host = parts.headers.get(HOST).map(|host| host.to_str().unwrap());
            assert_eq!((parts.uri.to_string().as_str(), host), expected, "{target}");
        };
        check("/a?b", ("/a?b", None));
        check("*", ("*", None));
        check("http://a:80/b?c", ("/b?c", Some("a:80")));
        check("http://a", ("/", Some("a")));
        check("http://a?b/c", ("/?b/c", Some("a")));
        check("a:80", ("/", Some("a:80")));
    }

    #[test]
    fn what_belongs_to_one_connection_stays_there() {
        let mut found = headers(&[
            ("connection", "close, X-Private"),
            ("connection", "keep-alive, Host"),
            ("host", "a"),
            ("keep-alive", "5"),
            ("x-private", "1"),
            ("x-public", "2"),
            ("proxy-authorization", "secret"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
        ]);
        strip_hop_by_hop(&mut found);
        assert_eq!(shown(&found), ["x-public: 2", "host: a"]);
    }

    #[test]
    fn only_the_trusted_say_whom_they_speak_for() {
        let check = |trusted, expected: (&str, &[&str])| {
            let mut found = headers(&[
                ("host", "a:8000"),
                ("x-forwarded-for", "6.6.6.6, [2001:db8::7]:99"),
                ("x-forwarded-for", "::ffff:7.7.7.7, 10.0.0.9:1234"),
                ("x_forwarded-for", "5.5.5.5"),
                ("x-real_ip", "5.5.5.5"),
                ("x-real-ip", "5.5.5.5"),
                ("true-client-ip", "5.5.5.5"),
                ("cf-connecting-ip", "7.7.7.7"),
                ("x-forwarded-ssl", "on"),
                ("fly-client-ip", "5.5.5.5"),
                ("cf-visitor", "{\"scheme\":\"https\"}"),
                ("x-forwarded-proto", "https"),
                ("forwarded", "for=6.6.6.6"),
                ("cookie", "a=1"),
                ("cookie", "b=2"),
                ("te", "trailers, deflate"),
            ]);
            let proxies: &[_] = if trusted {
                &["10.0.0.0/8".parse().unwrap()]
            } else {
                &[]
            };
            let origin = Origin::new("::ffff:10.0.0.1".parse().unwrap(), proxies.into(), false);
            assert_eq!(origin.client(&found).to_string(), expected.0);
            forward(&mut found, Version::HTTP_2, "a", &origin, true).unwrap();
            let mut lines = shown(&found);
            lines.sort();
            assert_eq!(lines, expected.1);
        };
        let untrusted = [
            "adit-hops: 1",
            "cookie: a=1; b=2",
            "forwarded: for=10.0.0.1;proto=http;host=\"a:8000\"",
            "host: a:8000",
            "te: trailers",
            "via: 2 adit",
            "x-forwarded-for: 10.0.0.1",
            "x-forwarded-host: a:8000",
            "x-forwarded-port: 8000",
            "x-forwarded-proto: http",
            "x-real-ip: 10.0.0.1",
        ];
        check(false, ("10.0.0.1", &untrusted));
        let trusted = [
            "adit-hops: 1",
            "cf-connecting-ip: 7.7.7.7",
            "cf-visitor: {\"scheme\":\"https\"}",
            "cookie: a=1; b=2",
            "forwarded: for=7.7.7.7;proto=https;host=\"a:8000\", for=10.0.0.9, for=10.0.0.1",
            "host: a:8000",
            "te: trailers",
            "via: 2 adit",
            "x-forwarded-for: 7.7.7.7, 10.0.0.9, 10.0.0.1",
            "x-forwarded-host: a:8000",
            "x-forwarded-port: 8000",
            "x-forwarded-proto: https",
            "x-forwarded-ssl: on",
            "x-real-ip: 7.7.7.7",
        ];
        check(true, ("7.7.7.7", &trusted));
    }

    #[test]
    fn a_request_goes_by_here_eight_times_at_most() {
        // What is no number counts for nothing.
        let mut found = headers(&[("adit-hops", "many")]);
        let origin = Origin::new("::1".parse().unwrap(), [].into(), false);
        for _ in 0..8 {
            forward(&mut found, Version::HTTP_11, "a", &origin, false).unwrap();
        }
        assert_eq!(
            forward(&mut found, Version::HTTP_11, "a", &origin, false),
            Err(BadRequest::Loop)
        );
        assert!(!found.contains_key("via"));
    }

    #[test]
    fn only_chunks_are_known() {
        let check = |lines: &[(&'static str, &str)], expected| {
            assert_eq!(is_encoded(&headers(lines)), expected, "{lines:?}");
        };
        check(&[], false);
        check(&[("transfer-encoding", " Chunked ")], false);
        check(&[("transfer-encoding", "gzip, chunked")], true);
        check(
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            true,
        );
        check(&[("transfer-encoding", "identity")], false);
        check(&[("transfer-encoding", "chunked, gzip")], true);
    }

    #[test]
    fn an_upgrade_is_asked_for_by_its_headers() {
        let asks = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(upgrade(Version::HTTP_11, &asks).unwrap(), "websocket");
        assert_eq!(upgrade(Version::HTTP_10, &asks), None);
        for http2 in ["h2c", "websocket, H2C"] {
            let asks = headers(&[("connection", "upgrade"), ("upgrade", http2)]);
            assert_eq!(upgrade(Version::HTTP_11, &asks), None, "{http2}");
        }
        assert_eq!(
            upgrade(Version::HTTP_11, &headers(&[("upgrade", "websocket")])),
            None
        );
    }
}
