//! `redirect`: sends visitors elsewhere.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::LOCATION,
    request,
    uri::{Authority, Uri},
};

use super::{Decision, Memo, Plugin, Problem, Refusal, Visit, host};

/// Where to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// An address or a path. In it stand for parts of the request: `{host}` the host without its port, `{path}` the
    /// path, `{query}` the query with its `?`, or without right behind a `?` or `&`. A request that comes back to the
    /// same rule is redirected again, unless it has asked for just that location.
    pub to: String,
    /// 301, 302, 307 or 308. Default 308, which keeps method and body, and which browsers remember.
    pub status: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            to: String::new(),
            status: 308,
        }
    }
}

/// A piece of the location. What a request puts in is never read for placeholders again.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Host,
    Path,
    Query,
}

/// Answers each request with the address that it should have asked for, but for one that has asked for just that.
#[derive(Clone, Debug)]
pub(super) struct Redirect {
    pieces: Vec<Piece>,
    status: StatusCode,
}

impl Redirect {
    pub fn new(options: &Options) -> Result<Self, Problem> {
        let status = match options.status {
            301 | 302 | 307 | 308 => StatusCode::from_u16(options.status).ok(),
            _ => None,
        };
        let status = status.ok_or(Problem::Status(options.status))?;
        let pieces = parsed(&options.to)?;
        let begins = |text: &str| options.to.starts_with(text);
        let rooted = begins("http://") || begins("https://") || begins("{path}") || begins("/");
        let sample = expand(&pieces, "a.example", "/a", Some("b"));
        // `//a` and `/\a` are hosts to a browser.
        if !rooted || sample.starts_with("//") || sample.starts_with("/\\") || target(&sample).is_none() {
            return Err(Problem::Location(options.to.clone()));
        }
        Ok(Self { pieces, status })
    }

    /// The location for this request; `None` when none can be made of it.
    fn location(&self, request: &request::Parts, authority: Option<&Authority>) -> Option<String> {
        if self.pieces.contains(&Piece::Host) && authority.is_none() {
            return None;
        }
        let host = authority.map_or("", Authority::host);
        let location = expand(&self.pieces, host, request.uri.path(), request.uri.query());
        target(&location).is_some().then_some(location)
    }
}

impl Plugin for Redirect {
    fn name(&self) -> &'static str {
        "redirect"
    }

    fn request(&self, request: &mut request::Parts, visit: &Visit, _: &mut Memo) -> Decision {
        let authority = host::authority(request);
        let location = self.location(request, authority.as_ref());
        let value = location.and_then(|location| {
            let value = HeaderValue::from_str(&location).ok()?;
            Some((location, value))
        });
        let Some((location, value)) = value else {
            let message = "the request does not say where to redirect it";
            return Refusal::new(self.name(), StatusCode::BAD_REQUEST, message).into();
        };
        if is_there(&location, request, authority.as_ref(), visit.secure) {
            // Sent there again, it would come back for ever.
            return Decision::Pass;
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = self.status;
        response.headers_mut().insert(LOCATION, value);
        Decision::Answer(Box::new(response))
    }
}

/// Whether a request has asked for this location.
fn is_there(location: &str, request: &request::Parts, authority: Option<&Authority>, secure: bool) -> bool {
    let Some(target) = target(location) else {
        return false;
    };
    let rest = |uri: &Uri| (uri.path().to_owned(), uri.query().map(str::to_owned));
    if rest(&target) != rest(&request.uri) {
        return false;
    }
    let (Some(scheme), Some(there)) = (target.scheme_str(), target.authority()) else {
        return true;
    };
    let own = if secure { "https" } else { "http" };
    let place = |authority: &Authority| {
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        (authority.host().to_ascii_lowercase(), port)
    };
    scheme == own && authority.is_some_and(|here| place(here) == place(there))
}

/// A location as an address. A fragment is for the browser alone.
fn target(location: &str) -> Option<Uri> {
    let uri = Uri::try_from(location.split('#').next()?).ok()?;
    let somewhere = match uri.authority() {
        Some(authority) => !authority.host().is_empty() && !authority.as_str().contains('@'),
        None => location.starts_with('/'),
    };
    somewhere.then_some(uri)
}

fn parsed(to: &str) -> Result<Vec<Piece>, Problem> {
    let mut pieces = Vec::new();
    let mut rest = to;
    while !rest.is_empty() {
        let end = rest.find(['{', '}']).unwrap_or(rest.len());
        if end > 0 {
            pieces.push(Piece::Text(rest[..end].to_owned()));
            rest = &rest[end..];
            continue;
        }
        let end = rest.find('}').map_or(rest.len(), |at| at + 1);
        pieces.push(match &rest[..end] {
            "{host}" => Piece::Host,
            "{path}" => Piece::Path,
            "{query}" => Piece::Query,
            other => return Err(Problem::Placeholder(other.to_owned())),
        });
        rest = &rest[end..];
    }
    Ok(pieces)
}

fn expand(pieces: &[Piece], host: &str, path: &str, query: Option<&str>) -> String {
    let mut location = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => location.push_str(text),
            Piece::Host => location.push_str(host),
            Piece::Path if location.is_empty() || location.ends_with('/') => {
                // `//evil.example` at the beginning of a location is a host.
                let inner = path.trim_start_matches(['/', '\\', '*']);
                if location.is_empty() {
                    location.push('/');
                }
                location.push_str(inner);
            }
            Piece::Path => location.push_str(if path.starts_with('/') { path } else { "/" }),
            Piece::Query => {
                if let Some(query) = query {
                    if !location.ends_with(['?', '&']) {
                        location.push('?');
                    }
                    location.push_str(query);
                }
            }
        }
    }
    location
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::{refusal, request, visit};

    fn redirect(to: &str) -> Result<Redirect, Problem> {
        let to = to.to_owned();
        Redirect::new(&Options {
            to,
            ..Options::default()
        })
    }

    /// Where a request to `host` for `uri` is sent; `None` when it goes on.
    #[track_caller]
    fn sent(to: &str, host: &str, uri: &str, secure: bool) -> Option<String> {
        let mut asked = request(&format!("GET {uri}"), &[("host", host)]);
        let visit = Visit { secure, ..visit() };
        match redirect(to)
            .unwrap()
            .request(&mut asked, &visit, &mut Memo::default())
        {
            Decision::Pass => None,
            Decision::Answer(answer) => {
                assert_eq!(answer.status(), 308);
                Some(answer.headers()[LOCATION].to_str().unwrap().to_owned())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn placeholders_stand_for_parts_of_the_request() {
        let check = |to: &str, uri: &str, expected: &str| {
            assert_eq!(
                sent(to, "a.example:8080", uri, false).as_deref(),
                Some(expected),
                "{to}"
            );
        };
        check("https://{host}{path}{query}", "/x?y=1", "https://a.example/x?y=1");
        check("https://{host}{path}{query}", "/", "https://a.example/");
        check("https://{host}{path}", "/x?y=1", "https://a.example/x");
        check("https://b.example/{path}", "/x/", "https://b.example/x/");
        check("https://b.example", "/x?y", "https://b.example");
        check("https://www.{host}/in#top", "/x", "https://www.a.example/in#top");
        check("/new{path}?{query}", "/x?y=1", "/new/x?y=1");
        check("/new?from=old&{query}", "/x?y=1", "/new?from=old&y=1");
        check("/in?next={path}{query}", "/x?y=1", "/in?next=/x?y=1");
        check("{path}", "/x?y", "/x");
        check(
            "http://{host}:81{path}",
            "http://b.example/z",
            "http://b.example:81/z",
        );
    }

    #[test]
    fn a_request_that_is_there_already_goes_on() {
        let check = |to: &str, host: &str, uri: &str, secure: bool, expected: Option<&str>| {
            assert_eq!(
                sent(to, host, uri, secure).as_deref(),
                expected,
                "{to} {host} {uri}"
            );
        };
        let secured = "https://{host}{path}{query}";
        check(secured, "a", "/x?y", false, Some("https://a/x?y"));
        check(secured, "a", "/x?y", true, None);
        check(secured, "A:443", "/x?y", true, None);
        check(secured, "a:8443", "/x?y", true, Some("https://a/x?y"));
        check("https://b{path}", "b", "/x", true, None);
        check("https://b{path}", "b", "/x?y", true, Some("https://b/x"));
        check("https://b", "b", "/", true, None);
        check("/x", "a", "/x", false, None);
        check("/x#top", "a", "/x", false, None);
        check("{path}{query}", "a", "/x?y", false, None);
        check("{path}?{query}", "a", "/x", false, Some("/x?"));
        check("{path}?{query}", "a", "/x?", false, None);
    }

    #[test]
    fn a_request_cannot_choose_the_host_nor_bring_placeholders() {
        let check = |to: &str, uri: &str, expected: &str| {
            assert_eq!(sent(to, "a", uri, false).as_deref(), Some(expected), "{to} {uri}");
        };
        check("{path}", "//evil.example/x", "/evil.example/x");
        check("{path}", "/\\evil.example/x", "/evil.example/x");
        check("/{path}", "//evil.example/x", "/evil.example/x");
        check("{path}", "///evil.example", "/evil.example");
        check("https://b{path}", "//evil.example", "https://b//evil.example");
        check("https://b{path}", "/@evil.example", "https://b/@evil.example");
        check("https://b{path}", "/{path}{host}", "https://b/{path}{host}");
        check("https://b/{query}", "/?{query}{host}", "https://b/?{query}{host}");
        check("/y{query}", "/x?//evil", "/y?//evil");
    }

    #[test]
    fn without_a_host_there_is_none_to_send_to() {
        let plugin = redirect("https://{host}{path}").unwrap();
        for headers in [
            [("host", "")].as_slice(),
            &[],
            &[("host", "a@evil")],
            &[("host", "a"), ("host", "b")],
        ] {
            let mut asked = request("GET /", headers);
            let decision = plugin.request(&mut asked, &visit(), &mut Memo::default());
            assert_eq!(refusal(decision).status, 400, "{headers:?}");
        }
        let mut asked = request("OPTIONS *", &[("host", "a")]);
        let decision = plugin.request(&mut asked, &visit(), &mut Memo::default());
        assert!(matches!(decision, Decision::Answer(answer) if answer.headers()[LOCATION] == "https://a/"));
    }

    #[test]
    fn mistakes_are_found_before_anybody_comes() {
        for wrong in [
            "",
            "b.example",
            "{host}/x",
            "ftp://b/",
            "//b/",
            "/\\b/",
            "/{host}/{path}x y",
            "https://",
            "https:///x",
            "https://u@b/",
            "https://b/\r\nSet-Cookie: a",
            "javascript:alert(1)",
            "{query}",
        ] {
            let problem = redirect(wrong).unwrap_err();
            assert_eq!(problem, Problem::Location(wrong.to_owned()));
        }
        for (wrong, found) in [
            ("/{x}", "{x}"),
            ("/{host", "{host"),
            ("/a}b", "}"),
            ("/{}", "{}"),
            ("/{ path }", "{ path }"),
        ] {
            assert_eq!(
                redirect(wrong).unwrap_err(),
                Problem::Placeholder(found.to_owned())
            );
        }
        for status in [200, 300, 303, 304, 400, 0] {
            let to = "/x".to_owned();
            assert_eq!(
                Redirect::new(&Options { to, status }).unwrap_err(),
                Problem::Status(status)
            );
        }
    }
}
