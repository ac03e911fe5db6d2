//! `set_header`, `add_header`, `remove_header`, and the same for responses.

use std::collections::BTreeMap;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
    request, response,
};

use super::{Decision, Memo, Plugin, Problem, Visit};

/// Which heads are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

/// What is done to them.
#[derive(Clone, Debug)]
enum Change {
    Set(Vec<(HeaderName, HeaderValue)>),
    Add(Vec<(HeaderName, HeaderValue)>),
    Remove(Vec<HeaderName>),
}

/// Changes some headers of each request, or of each response.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    side: Side,
    change: Change,
}

impl Headers {
    /// Sets headers, whatever they were.
    pub fn set(side: Side, headers: &BTreeMap<String, String>) -> Result<Self, Problem> {
        let change = Change::Set(parsed(headers)?);
        Ok(Self { side, change })
    }

    /// Adds headers to those there are.
    pub fn add(side: Side, headers: &BTreeMap<String, String>) -> Result<Self, Problem> {
        let change = Change::Add(parsed(headers)?);
        Ok(Self { side, change })
    }

    /// Removes headers.
    pub fn remove(side: Side, names: &[String]) -> Result<Self, Problem> {
        if names.is_empty() {
            return Err(Problem::Empty);
        }
        let names = names.iter().map(|text| name(text)).collect::<Result<_, _>>()?;
        let change = Change::Remove(names);
        Ok(Self { side, change })
    }

    fn apply(&self, headers: &mut HeaderMap) {
        match &self.change {
            Change::Set(changes) => {
                for (name, value) in changes {
                    headers.insert(name, value.clone());
                }
            }
            Change::Add(changes) => {
                for (name, value) in changes {
                    headers.append(name, value.clone());
                }
            }
            Change::Remove(names) => {
                for name in names {
                    headers.remove(name);
                }
            }
        }
    }
}

impl Plugin for Headers {
    fn name(&self) -> &'static str {
        match (self.side, &self.change) {
            (Side::Request, Change::Set(_)) => "set_header",
            (Side::Request, Change::Add(_)) => "add_header",
            (Side::Request, Change::Remove(_)) => "remove_header",
            (Side::Response, Change::Set(_)) => "set_response_header",
            (Side::Response, Change::Add(_)) => "add_response_header",
            (Side::Response, Change::Remove(_)) => "remove_response_header",
        }
    }

    fn request(&self, request: &mut request::Parts, _: &Visit, _: &mut Memo) -> Decision {
        if self.side == Side::Request {
            self.apply(&mut request.headers);
        }
        Decision::Pass
    }

    fn response(&self, _: &Memo, response: &mut response::Parts) {
        if self.side == Side::Response {
            self.apply(&mut response.headers);
        }
    }
}

fn parsed(headers: &BTreeMap<String, String>) -> Result<Vec<(HeaderName, HeaderValue)>, Problem> {
    if headers.is_empty() {
        return Err(Problem::Empty);
    }
    let parse = |(key, text): (&String, &String)| {
        let name = name(key)?;
        let value = HeaderValue::from_str(text).map_err(|_| Problem::HeaderValue(key.clone()))?;
        Ok((name, value))
    };
    headers.iter().map(parse).collect()
}

/// The name of a header that a plugin may change. Those that frame a message or belong to its connection are made
/// anew for each connection: with another value one end would see a message end where the other does not.
pub(super) fn name(text: &str) -> Result<HeaderName, Problem> {
    let name = HeaderName::try_from(text).map_err(|_| Problem::HeaderName(text.to_owned()))?;
    let reserved = [
        CONNECTION,
        TRANSFER_ENCODING,
        CONTENT_LENGTH,
        TE,
        UPGRADE,
        TRAILER,
    ]
    .contains(&name)
        || name == "keep-alive"
        || name.as_str().starts_with("proxy-");
    match name {
        HOST => Err(Problem::HeaderHost),
        name if reserved => Err(Problem::HeaderReserved(name.to_string())),
        name => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::{decide, request, response, values};

    fn map(headers: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        headers.iter().map(owned).collect()
    }

    /// What becomes of `X-A: 1` and `X-B: 1`.
    fn check(plugin: Result<Headers, Problem>, name: &str, expected: [&[&str]; 2]) {
        let plugin = plugin.unwrap();
        assert_eq!(plugin.name(), name);
        let there = [("x-a", "1"), ("x-b", "1")];
        let (mut asked, mut answer) = (request("GET /", &there), response(&there));
        assert!(matches!(decide(&plugin, &mut asked), Decision::Pass));
        plugin.response(&Memo::default(), &mut answer);
        let (changed, kept) = match plugin.side {
            Side::Request => (&asked.headers, &answer.headers),
            Side::Response => (&answer.headers, &asked.headers),
        };
        assert_eq!(values(changed, "x-a"), expected[0]);
        assert_eq!(values(changed, "x-b"), expected[1]);
        assert_eq!(values(kept, "x-a"), ["1"], "the other side stays as it is");
    }

    #[test]
    fn headers_are_set_added_and_removed() {
        let two = map(&[("X-A", "2")]);
        let names = ["X-A".to_owned()];
        let (asked, answer) = (Side::Request, Side::Response);
        check(Headers::set(asked, &two), "set_header", [&["2"], &["1"]]);
        check(Headers::add(asked, &two), "add_header", [&["1", "2"], &["1"]]);
        check(Headers::remove(asked, &names), "remove_header", [&[], &["1"]]);
        check(
            Headers::set(answer, &two),
            "set_response_header",
            [&["2"], &["1"]],
        );
        check(
            Headers::add(answer, &two),
            "add_response_header",
            [&["1", "2"], &["1"]],
        );
        check(
            Headers::remove(answer, &names),
            "remove_response_header",
            [&[], &["1"]],
        );
    }

    #[test]
    fn what_frames_a_message_is_not_touched() {
        for wrong in [
            "Connection",
            "Transfer-Encoding",
            "content-length",
            "TE",
            "Upgrade",
            "Trailer",
            "Keep-Alive",
            "Proxy-Authorization",
            "proxy-connection",
        ] {
            assert_eq!(name(wrong), Err(Problem::HeaderReserved(wrong.to_lowercase())));
            assert!(Headers::remove(Side::Response, &[wrong.to_owned()]).is_err());
            assert!(Headers::set(Side::Request, &map(&[(wrong, "x")])).is_err());
        }
        assert_eq!(name("Host"), Err(Problem::HeaderHost));
    }

    #[test]
    fn no_header_comes_in_through_another() {
        for wrong in ["", "x a", "x:a", "x\r\ny", ":path", "x\0", "é"] {
            assert_eq!(name(wrong), Err(Problem::HeaderName(wrong.to_owned())));
        }
        for wrong in ["a\r\nx-b: 1", "a\nb", "a\rb", "a\0b", "\x7f"] {
            let problem = Headers::set(Side::Request, &map(&[("x-a", wrong)])).unwrap_err();
            assert_eq!(problem, Problem::HeaderValue("x-a".to_owned()));
            assert!(!problem.to_string().contains(wrong), "a value may be a secret");
        }
        assert!(Headers::set(Side::Request, &map(&[("x-a", "")])).is_ok());
    }

    #[test]
    fn nothing_to_do_is_a_mistake() {
        let nothing = BTreeMap::new();
        assert_eq!(Headers::set(Side::Request, &nothing).unwrap_err(), Problem::Empty);
        assert_eq!(Headers::remove(Side::Request, &[]).unwrap_err(), Problem::Empty);
    }
}
