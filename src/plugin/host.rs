//! The host that a request is for, and `rewrite_host`.

use http::{
    HeaderValue,
    header::HOST,
    request,
    uri::{Authority, Uri},
};

use super::{Decision, Memo, Plugin, Problem, Visit};

/// The host, and perhaps port, that a request is for; `None` when it does not say so or says it strangely.
pub(super) fn authority(request: &request::Parts) -> Option<Authority> {
    if let Some(authority) = request.uri.authority() {
        return plain(authority.clone());
    }
    let mut hosts = request.headers.get_all(HOST).iter();
    let host = hosts.next().filter(|_| hosts.next().is_none())?;
    plain(Authority::try_from(host.as_bytes()).ok()?)
}

/// Not one with a user in it: `a@b` is for b, and reads as if it were for a.
fn plain(authority: Authority) -> Option<Authority> {
    let strange = authority.as_str().contains('@') || authority.host().is_empty();
    (!strange).then_some(authority)
}

/// Makes each request one for another host.
#[derive(Clone, Debug)]
pub(super) struct RewriteHost {
    authority: Authority,
    value: HeaderValue,
}

impl RewriteHost {
    pub fn new(host: &str) -> Result<Self, Problem> {
        let problem = || Problem::Host(host.to_owned());
        let lower = host.to_ascii_lowercase();
        let authority = Authority::try_from(lower.as_str()).map_err(|_| problem())?;
        let authority = plain(authority).ok_or_else(problem)?;
        // `a:` and `a:x` are authorities to the parser.
        let behind = &lower[authority.host().len()..];
        if !behind.is_empty() && authority.port_u16().is_none() {
            return Err(problem());
        }
        let value = HeaderValue::from_str(&lower).map_err(|_| problem())?;
        Ok(Self { authority, value })
    }
}

impl Plugin for RewriteHost {
    fn name(&self) -> &'static str {
        "rewrite_host"
    }

    fn request(&self, request: &mut request::Parts, _: &Visit, _: &mut Memo) -> Decision {
        if request.uri.authority().is_some() {
            // The two would contradict each other, and the one in the address wins.
            let mut parts = request.uri.clone().into_parts();
            parts.authority = Some(self.authority.clone());
            if let Ok(uri) = Uri::from_parts(parts) {
                request.uri = uri;
            }
        }
        request.headers.insert(HOST, self.value.clone());
        Decision::Pass
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::{decide, request, values};

    #[test]
    fn the_address_says_it_before_the_header() {
        let check = |line: &str, headers: &[(&str, &str)], expected: Option<&str>| {
            let authority = authority(&request(line, headers));
            assert_eq!(
                authority.as_ref().map(Authority::as_str),
                expected,
                "{line} {headers:?}"
            );
        };
        check("GET /", &[("host", "a.example:80")], Some("a.example:80"));
        check("GET /", &[("host", "[::1]:80")], Some("[::1]:80"));
        check(
            "GET http://b.example/",
            &[("host", "a.example")],
            Some("b.example"),
        );
        check("GET /", &[], None);
        check("GET /", &[("host", "")], None);
        check("GET /", &[("host", "a"), ("host", "b")], None);
        check("GET /", &[("host", "a@b")], None);
        check("GET http://a@b/", &[], None);
        check("GET /", &[("host", "a/b")], None);
        check("GET /", &[("host", "a b")], None);
    }

    #[test]
    fn the_host_is_rewritten_wherever_it_stands() {
        let plugin = RewriteHost::new("Inner.Example:8080").unwrap();
        let mut asked = request("GET /x?y=1", &[("host", "outer"), ("host", "other")]);
        assert!(matches!(decide(&plugin, &mut asked), Decision::Pass));
        assert_eq!(asked.uri, "/x?y=1");
        assert_eq!(values(&asked.headers, "host"), ["inner.example:8080"]);

        let mut asked = request("GET https://outer/x?y=1", &[]);
        assert!(matches!(decide(&plugin, &mut asked), Decision::Pass));
        assert_eq!(asked.uri, "https://inner.example:8080/x?y=1");
        assert_eq!(values(&asked.headers, "host"), ["inner.example:8080"]);
    }

    #[test]
    fn a_host_is_a_host() {
        for right in ["a", "a.example", "a:1", "192.0.2.1:80", "[::1]", "[::1]:80"] {
            assert!(RewriteHost::new(right).is_ok(), "{right}");
        }
        for wrong in [
            "", "a b", "a/b", "http://a", "u@a", "a:", "a:x", "a:70000", ":80", "a\r\nb", "::1",
        ] {
            let problem = RewriteHost::new(wrong).unwrap_err();
            assert_eq!(problem, Problem::Host(wrong.to_owned()));
        }
    }
}
