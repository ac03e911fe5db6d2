//! What an upstream of HTTP looks at in the head and the trailers of a request.

use std::time::Duration;

use http::{HeaderMap, HeaderName, Request as HttpRequest, header};
use hyper::body::Incoming;

use super::{Site, Upstream};
use crate::{
    event::{Event, Oddity},
    web::{
        FROM, HOP, SESSION,
        told::{CHECKED, NOTHING, Told},
    },
};

/// How old a connection may be that brings a request which no login binds to it, as docs/http.md has it, and how long the
/// request may be under way.
const AGE_MAX: Duration = Duration::from_secs(300);
const UNDER_WAY: Duration = Duration::from_secs(10);

impl Upstream {
    /// Whether a connection that was made then may still bring a request.
    pub(super) fn check_age(&self, since: Duration, headers: &HeaderMap) {
        let age = self.oracle.now() - since;
        if age > AGE_MAX + UNDER_WAY {
            let session = one(headers, &SESSION).parse().ok();
            self.tell_wrong(session, format!("it came on a connection that is {age:?} old"));
        }
    }

    /// Whether a head is what it has to be behind the entry. `login` is who has logged in to the connection.
    pub(super) fn check(
        &self,
        site: Site,
        login: &Option<String>,
        session: Option<u64>,
        request: &HttpRequest<Incoming>,
    ) {
        let headers = request.headers();
        let told = Told::of(headers);
        let named = one(headers, &SESSION);
        let from = one(headers, &FROM);
        let host = match request.uri().authority() {
            Some(authority) => authority.to_string(),
            None => one(headers, &header::HOST),
        };
        let path = request.uri().path_and_query();
        let known = login.clone().unwrap_or_else(|| from.clone());
        let own = session.map_or_else(|| named.clone(), |session| session.to_string());
        let is = |what: &str| match what {
            "the host" => host.clone(),
            "the path" => path.map_or_else(String::new, ToString::to_string),
            name => one(
                headers,
                &HeaderName::from_bytes(name.as_bytes()).expect("it is a name"),
            ),
        };
        let heads = [
            ("x-hop", one(headers, &HOP), NOTHING.to_owned()),
            ("who has logged in to its connection", known, from.clone()),
            ("the session", own, named.clone()),
        ];
        let should = told.heads(site.group, &named).into_iter();
        let should = should.chain(told.origin(site.group, &from));
        let all = should.map(|(what, should)| (what, is(what), should));
        let refused = self.must_be_refused(told, &named);
        let key = one(headers, &header::SEC_WEBSOCKET_KEY);
        let keyed = !told.extended || key.len() == 24;
        let flags = [
            ("a request that the entry has to refuse", refused, false),
            ("a key of the WebSocket", keyed, true),
        ];
        let flags = flags.map(|(what, is, should)| (what, is.to_string(), should.to_string()));
        for (what, is, should) in heads.into_iter().chain(all).chain(flags) {
            if is != should {
                let session = session.or_else(|| named.parse().ok());
                self.tell_wrong(session, format!("{what} is {is}, not {should}"));
            }
        }
    }

    /// Whether the entry had to refuse the request of session `named`. One that stood still may find the whole of a head that
    /// took too long.
    fn must_be_refused(&self, told: Told, named: &str) -> bool {
        let stood_still = self.oracle.read(|model| {
            let session = named.parse().ok().and_then(|id: u64| model.sessions.get(&id));
            session.is_some_and(|session| session.exposure.server)
        });
        told.extras.must_be_refused() && (told.extras.framed_twice > 0 || !stood_still)
    }

    /// Whether the trailers of a request are what they have to be.
    pub(super) fn check_trailers(&self, session: u64, told: Told, trailers: &HeaderMap) {
        let is = one(trailers, &CHECKED);
        let should = match told.extras.trailers {
            true => session.to_string(),
            false => NOTHING.to_owned(),
        };
        if is != should {
            self.tell_wrong(Some(session), format!("its trailer is {is}, not {should}"));
        }
    }

    fn tell_wrong(&self, session: Option<u64>, what: String) {
        self.oracle.tell(Event::Odd {
            place: self.who(),
            session,
            what: Oddity::WrongHead(what),
        });
    }
}

/// The value of a header that may be there once.
fn one(headers: &HeaderMap, name: &HeaderName) -> String {
    let all: Vec<_> = headers.get_all(name).iter().collect();
    match all[..] {
        [one] => one.to_str().unwrap_or("not text").to_owned(),
        [] => NOTHING.to_owned(),
        _ => "more than one".to_owned(),
    }
}
