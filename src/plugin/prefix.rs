//! `strip_prefix` and `replace_prefix`.

use http::{StatusCode, request, uri::PathAndQuery};

use super::{Decision, Memo, Plugin, Problem, Refusal, Visit, path};
use crate::probe::mutant;

/// Puts another beginning in the place of the beginning of a path. Paths that begin otherwise stay as they are.
#[derive(Clone, Debug)]
pub(super) struct Prefix {
    name: &'static str,
    /// Empty, or a path without a slash at its end.
    from: String,
    /// Likewise.
    to: String,
}

impl Prefix {
    /// Takes a prefix off.
    pub fn strip(prefix: &str) -> Result<Self, Problem> {
        let from = parsed(prefix)?;
        if from.is_empty() {
            return Err(Problem::PrefixWhole);
        }
        Ok(Self {
            name: "strip_prefix",
            from,
            to: String::new(),
        })
    }

    /// Puts `to` in the place of `from`.
    pub fn replace(from: &str, to: &str) -> Result<Self, Problem> {
        Ok(Self {
            name: "replace_prefix",
            from: parsed(from)?,
            to: parsed(to)?,
        })
    }
}

impl Plugin for Prefix {
    fn name(&self) -> &'static str {
        self.name
    }

    fn request(&self, request: &mut request::Parts, _: &Visit, _: &mut Memo) -> Decision {
        let path = request.uri.path();
        if path::wanders(path) {
            // `/api/../admin` would be taken for a part of `/api` here, and for `/admin` by the upstream.
            return Refusal::new(self.name, StatusCode::BAD_REQUEST, "the path has dots in it").into();
        }
        let Some(rest) = path::behind(path, &self.from).filter(|_| !mutant!("prefix-not-taken-off")) else {
            return Decision::Pass;
        };
        let changed = match (self.to.as_str(), rest) {
            ("", "") => "/".to_owned(),
            (to, rest) => format!("{to}{rest}"),
        };
        match path::replace(request, &changed) {
            Some(()) => Decision::Pass,
            None => Refusal::new(self.name, StatusCode::URI_TOO_LONG, "the address is too long").into(),
        }
    }
}

/// A prefix without the slash at its end.
fn parsed(prefix: &str) -> Result<String, Problem> {
    let legal = prefix.starts_with('/')
        && !prefix.contains(['?', '#'])
        && PathAndQuery::try_from(prefix).is_ok()
        && !path::wanders(prefix);
    match legal {
        true => Ok(prefix.trim_end_matches('/').to_owned()),
        false => Err(Problem::Prefix(prefix.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plugin::testing::{decide, refusal, request};

    #[track_caller]
    fn check(plugin: Result<Prefix, Problem>, uri: &str, expected: &str) {
        let mut asked = request(&format!("GET {uri}"), &[]);
        assert!(matches!(decide(&plugin.unwrap(), &mut asked), Decision::Pass));
        assert_eq!(asked.uri, expected, "{uri}");
    }

    #[test]
    fn a_prefix_is_stripped_at_its_border() {
        let strip = || Prefix::strip("/api");
        check(strip(), "/api", "/");
        check(strip(), "/api/", "/");
        check(strip(), "/api/v1", "/v1");
        check(strip(), "/api?x=/api/y", "/?x=/api/y");
        check(strip(), "/api/v1?", "/v1?");
        check(strip(), "/apis/v1", "/apis/v1");
        check(strip(), "/v1/api", "/v1/api");
        check(strip(), "/api/api/x", "/api/x");
        check(strip(), "/%61pi/x%2Fy", "/x%2Fy");
        check(strip(), "http://h/api/x?y", "http://h/x?y");
        check(Prefix::strip("/api/"), "/api/x", "/x");
        check(Prefix::strip("/api/"), "/api", "/");
    }

    #[test]
    fn a_prefix_is_replaced_at_its_border() {
        let replace = || Prefix::replace("/old", "/new/v2");
        check(replace(), "/old", "/new/v2");
        check(replace(), "/old/", "/new/v2/");
        check(replace(), "/old/x?y=1", "/new/v2/x?y=1");
        check(replace(), "/older", "/older");
        check(Prefix::replace("/", "/v1"), "/", "/v1/");
        check(Prefix::replace("/", "/v1"), "/x?y", "/v1/x?y");
        check(Prefix::replace("/old", "/"), "/old/x", "/x");
        check(Prefix::replace("/old", "/"), "/old", "/");
        check(Prefix::replace("/old/", "/new/"), "/old/x", "/new/x");
    }

    #[test]
    fn what_is_no_path_stays() {
        let plugin = Prefix::replace("/", "/v1").unwrap();
        for line in ["OPTIONS *", "CONNECT a.example:443"] {
            let mut asked = request(line, &[]);
            let before = asked.uri.clone();
            assert!(matches!(decide(&plugin, &mut asked), Decision::Pass));
            assert_eq!(asked.uri, before);
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        let plugin = Prefix::strip("/api").unwrap();
        for path in ["/api/../admin", "/api/%2e%2E/admin", "/./api", "/x/..%2fapi"] {
            let refusal = refusal(decide(&plugin, &mut request(&format!("GET {path}"), &[])));
            assert_eq!((refusal.plugin, refusal.status.as_u16()), ("strip_prefix", 400));
        }
    }

    #[test]
    fn an_address_that_grows_too_long_is_refused() {
        let plugin = Prefix::replace("/a", "/something/longer").unwrap();
        let long = format!("GET /a/{}?x", "b".repeat(65_520));
        let refusal = refusal(decide(&plugin, &mut request(&long, &[])));
        assert_eq!(refusal.status, 414);
    }

    #[test]
    fn a_prefix_is_the_beginning_of_a_path() {
        for wrong in [
            "",
            "api",
            "/a?b",
            "/a#b",
            "/a b",
            "/a/../b",
            "/a\r\nb",
            "*",
            "http://a/",
        ] {
            assert_eq!(
                Prefix::strip(wrong).unwrap_err(),
                Problem::Prefix(wrong.to_owned())
            );
            assert!(Prefix::replace("/a", wrong).is_err());
        }
        assert_eq!(Prefix::strip("/").unwrap_err(), Problem::PrefixWhole);
    }

    proptest! {
        #[test]
        fn a_path_begins_with_a_slash_and_the_query_is_not_touched(
            from in "(/[ab%.]{0,3}){1,3}/?",
            to in "(/[ab]{0,2}){1,2}/?",
            path in "(/([ab%.]|%61|%2[eEfF]){0,3}){1,4}",
            query in "(\\?[ab/?%=.]{0,8})?",
        ) {
            for plugin in [Prefix::strip(&from), Prefix::replace(&from, &to)].into_iter().flatten() {
                let mut asked = request(&format!("GET {path}{query}"), &[]);
                let before = asked.uri.clone();
                let passed = matches!(decide(&plugin, &mut asked), Decision::Pass);
                prop_assert_eq!(passed, !path::wanders(&path));
                prop_assert!(asked.uri.path().starts_with('/'), "{}", asked.uri);
                prop_assert_eq!(asked.uri.query(), before.query());
                prop_assert!(asked.uri.to_string().starts_with('/'));
            }
        }
    }
}
