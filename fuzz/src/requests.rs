//! The head of a request, and what the HTTP entry decides by it: whose host it is, which path, who asks, what goes on to
//! the upstream. It is held to sentences about both heads that share no code with the entry.

use std::net::IpAddr;

use adit::entry::http::{
    forwarded::Origin,
    grpc,
    headers::{self, BadRequest},
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version, request::Parts};

/// The most headers of one request, as for a visitor.
const HEADERS_MAX: usize = 100;

/// Takes lines. The first is method, target, version (`1.0`, `1.1`, `2`), peer, and `trusted` or nothing. The others are
/// headers, as `name: value`.
pub fn requests(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let Some((mut parts, version, origin)) = first.and_then(first_line) else {
        return;
    };
    for line in lines.take(HEADERS_MAX) {
        if let Some((name, value)) = header(line) {
            parts.headers.append(name, value);
        }
    }
    let came = parts.clone();
    let host = headers::host(version, &parts.uri, &parts.headers);
    assert_eq!(host, host_of(&came), "the host");
    let Ok(host) = host else {
        return;
    };
    let host = host.unwrap_or_else(|| headers::NO_HOST.to_owned());
    let client = origin.client(&parts.headers);
    assert!(
        origin.is_trusted() || client == origin.peer(),
        "{client} is nobody's word"
    );
    // Nothing of what it wants may be read another way later.
    let (grpc, upgrade) = (
        grpc::is_grpc(&parts.headers),
        headers::upgrade(version, &parts.headers),
    );
    assert!(
        upgrade.is_none_or(|upgrade| !words(&upgrade).iter().any(|word| word == "h2c" || word == "h2")),
        "HTTP/2 would pass by every rule"
    );
    if headers::to_origin_form(&mut parts).is_err() {
        return;
    }
    let forwarded = headers::forward(&mut parts.headers, version, &host, &origin, true);
    let before = passed(&came.headers).into_iter().max().unwrap_or(0);
    assert_eq!(
        forwarded,
        if before >= 8 {
            Err(BadRequest::Loop)
        } else {
            Ok(())
        }
    );
    if forwarded.is_err() {
        return;
    }
    check_path(&came, &parts, &host);
    check_headers(&came, &parts.headers, &host, &origin);
    assert_eq!(passed(&parts.headers), [before + 1]);
    let named = all(&came.headers, "connection")
        .iter()
        .any(|name| name == "content-type");
    assert!(named || grpc::is_grpc(&parts.headers) == grpc, "gRPC is gRPC");
}

fn first_line(line: &str) -> Option<(Parts, Version, Origin)> {
    let mut words = line.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let version = match words.next()? {
        "1.0" => Version::HTTP_10,
        "1.1" => Version::HTTP_11,
        "2" => Version::HTTP_2,
        _ => return None,
    };
    let peer: IpAddr = words.next()?.parse().ok()?;
    let request = Request::builder().method(method).uri(target).version(version);
    let (parts, ()) = request.body(()).ok()?.into_parts();
    let itself = peer.to_string().parse().ok()?;
    let proxies: &[_] = if words.next() == Some("trusted") {
        &[itself]
    } else {
        &[]
    };
    let origin = Origin::new(peer, proxies.into(), false);
    Some((parts, version, origin))
}

/// Nothing if it is none that can arrive.
fn header(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = HeaderName::from_bytes(&line[..colon]).ok()?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
    Some((name, value))
}

/// The words of a list, in lower case; what is no text has none.
fn words(value: &HeaderValue) -> Vec<String> {
    let text = value.to_str().unwrap_or_default();
    text.split(',')
        .map(|word| word.trim().to_ascii_lowercase())
        .collect()
}

/// The words of all lists of this name.
fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().flat_map(words).collect()
}

/// How many proxies of this kind it has passed, as often as it says so.
fn passed(headers: &HeaderMap) -> Vec<usize> {
    let said = |value: &HeaderValue| value.to_str().ok()?.parse().ok();
    headers.get_all("adit-hops").iter().filter_map(said).collect()
}

/// The hops that `Via` names, as they are written.
fn hops(headers: &HeaderMap) -> Vec<&str> {
    let values = headers
        .get_all("via")
        .iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).collect()
}

fn is_mine(hop: &str) -> bool {
    hop.split_whitespace().nth(1) == Some("adit")
}

/// Character by character: what is before a port, if it is a name or an address in brackets.
fn host_of(came: &Parts) -> Result<Option<String>, BadRequest> {
    let said: Vec<_> = came.headers.get_all("host").iter().collect();
    if said.len() > 1 {
        return Err(BadRequest::Host);
    }
    let said = match said.first() {
        Some(value) => Some(value.to_str().map_err(|_| BadRequest::Host)?),
        None => None,
    };
    let authority = came.uri.authority().map(|authority| authority.as_str());
    let name = |text: &str| {
        let mut name = String::new();
        let mut inside = false;
        // The last colon outside of brackets begins the port.
        let port = text.rfind(':').filter(|at| !text[*at..].contains(']'));
        for c in text[..port.unwrap_or(text.len())].chars() {
            inside = (inside || c == '[') && c != ']';
            name.push(c.to_ascii_lowercase());
        }
        name
    };
    match (said.map(name), authority.map(name)) {
        (Some(said), Some(authority)) if said != authority => Err(BadRequest::HostsDiffer),
        (None, None) if came.version == Version::HTTP_10 => Ok(None),
        (None, None) => Err(BadRequest::Host),
        (said, authority) => {
            let name = authority.or(said).unwrap_or_default();
            let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let is_one = match inner {
                Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
                None => {
                    let legal = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
                    !name.is_empty() && name.chars().all(legal)
                }
            };
            if is_one {
                Ok(Some(name))
            } else {
                Err(BadRequest::Host)
            }
        }
    }
}

/// What goes on is a path, the same that the rules saw; and it names the same host.
fn check_path(came: &Parts, goes: &Parts, host: &str) {
    assert_eq!((goes.uri.scheme(), goes.uri.authority()), (None, None));
    let target = goes.uri.to_string();
    assert!(target.starts_with('/') || target == "*", "{target:?}");
    assert!(
        !target.contains(|c: char| c == ' ' || c.is_ascii_control()),
        "{target:?}"
    );
    if !came.uri.path().is_empty() {
        let way = |parts: &Parts| (parts.uri.path().to_owned(), parts.uri.query().map(str::to_owned));
        assert_eq!(way(came), way(goes), "the rules saw another path");
    }
    assert_eq!(
        host_of(goes).as_ref().map(Option::as_deref),
        Ok(Some(host)),
        "its upstream sees another host"
    );
    let mut again = goes.clone();
    assert_eq!(headers::to_origin_form(&mut again), Ok(()));
    assert_eq!(again.uri, goes.uri);
}

fn check_headers(came: &Parts, goes: &HeaderMap, host: &str, origin: &Origin) {
    let gone = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "transfer-encoding",
        "upgrade",
    ];
    let made = [
        "adit-hops",
        "host",
        "te",
        "via",
        "cookie",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-port",
        "x-real-ip",
    ];
    for name in gone {
        assert!(!goes.contains_key(name), "{name} belongs to one connection");
    }
    let trailers = all(&came.headers, "te").iter().any(|word| word == "trailers");
    let te: Vec<_> = goes.get_all("te").iter().collect();
    assert_eq!(te, if trailers { vec!["trailers"] } else { vec![] });
    let named = all(&came.headers, "connection");
    for name in came.headers.keys().map(HeaderName::as_str) {
        if gone.contains(&name) || made.contains(&name) {
            continue;
        }
        if claims_origin(name) && (!origin.is_trusted() || !name.chars().all(is_read_alike)) {
            assert!(!goes.contains_key(name), "{name} is not for a stranger to say");
            continue;
        }
        if names_address(name) && !goes.contains_key(name) {
            // It is not the one that the proxy speaks for.
            continue;
        }
        let (before, now): (Vec<_>, Vec<_>) = (
            came.headers.get_all(name).iter().collect(),
            goes.get_all(name).iter().collect(),
        );
        match named.iter().any(|other| other == name) {
            true => assert!(now.is_empty(), "{name} belongs to one connection"),
            false => assert_eq!(before, now, "{name} is nobody's to change"),
        }
    }
    let cookies = |headers: &HeaderMap| headers.get_all("cookie").iter().cloned().collect::<Vec<_>>();
    match came.version {
        Version::HTTP_2 => assert!(cookies(goes).len() <= 1, "HTTP/1 has one cookie"),
        // It may have been named as one connection's own.
        _ => assert!(cookies(goes).is_empty() || cookies(goes) == cookies(&came.headers)),
    }
    assert_eq!(goes.get_all("via").iter().count(), 1);
    assert!(hops(goes).last().is_some_and(|hop| is_mine(hop)) || !is_text(goes, "via"));
    let chain = all(goes, "x-forwarded-for");
    assert_eq!(goes.get_all("x-forwarded-for").iter().count(), 1);
    if is_text(goes, "x-forwarded-for") {
        assert_eq!(chain.last(), Some(&origin.peer().to_string()), "who it came from");
    }
    if !origin.is_trusted() {
        assert_eq!(
            chain,
            [origin.peer().to_string()],
            "the untrusted are not believed"
        );
        let named = goes.get("host").and_then(|named| named.to_str().ok());
        let forwarded = goes.get("x-forwarded-host").and_then(|named| named.to_str().ok());
        let is_plain = |named: &&str| {
            named
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c))
        };
        assert_eq!(forwarded, named.filter(is_plain).or(Some(host)));
        assert_eq!(all(goes, "x-real-ip"), [origin.peer().to_string()]);
        assert_eq!(all(goes, "x-forwarded-proto"), ["http"]);
        assert_eq!(all(goes, "forwarded").len(), 1);
    }
}

/// Whether all servers read it alike in a name.
fn is_read_alike(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}

/// Whether some server believes it of where a request came from, however it is spelt.
fn claims_origin(name: &str) -> bool {
    let spelt = name.replace(|c| !is_read_alike(c), "-");
    let others = [
        "cf-visitor cloudfront-forwarded-proto forwarded front-end-https https x-arr-ssl x-host x-https",
        "x-original-host x-original-proto x-scheme x-ssl x-url-scheme",
    ];
    names_address(&spelt) || is_among(&others, &spelt) || spelt.starts_with("x-forwarded")
}

/// Whether some server takes what it says for the address of whoever asks.
fn names_address(name: &str) -> bool {
    let all = [
        "cdn-src-ip cf-connecting-ip cf-connecting-ipv6 cf-pseudo-ipv4 client-ip cloudfront-viewer-address",
        "do-connecting-ip fastly-client-ip fly-client-ip forwarded-for forwarded-for-ip incap-client-ip",
        "proxy-client-ip remote-addr true-client-ip wl-proxy-client-ip x-appengine-user-ip x-azure-clientip",
        "x-azure-socketip x-client-ip x-cluster-client-ip x-envoy-external-address x-ms-forwarded-client-ip",
        "x-original-for x-original-forwarded-for x-originating-ip x-proxyuser-ip x-real-ip x-remote-addr",
        "x-remote-ip x-sucuri-clientip x-true-client-ip x-true-ip x-vercel-forwarded-for",
    ];
    is_among(&all, name)
}

fn is_among(lists: &[&str], name: &str) -> bool {
    lists
        .iter()
        .any(|list| list.split(' ').any(|other| other == name))
}

fn is_text(headers: &HeaderMap, name: &str) -> bool {
    headers.get_all(name).iter().all(|value| value.to_str().is_ok())
}
