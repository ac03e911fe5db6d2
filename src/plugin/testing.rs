//! What the tests of plugins share.

use http::{HeaderName, HeaderValue, Request, Response, request, response};

use super::{Decision, Memo, Plugin, Refusal, Visit};
use crate::time;

/// A request by its first line (`GET /path`) and headers.
pub fn request(line: &str, headers: &[(&str, &str)]) -> request::Parts {
    let (method, uri) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// A response with these headers.
pub fn response(headers: &[(&str, &str)]) -> response::Parts {
    let mut response = Response::new(()).into_parts().0;
    for (name, value) in headers {
        let name = HeaderName::try_from(*name).unwrap();
        response
            .headers
            .append(name, HeaderValue::from_str(value).unwrap());
    }
    response
}

/// A visit now, over plain HTTP.
pub fn visit() -> Visit {
    Visit {
        now: time::now(),
        peer: "192.0.2.7".parse().unwrap(),
        secure: false,
        fresh: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
    }
}

/// What a plugin decides about a request.
pub fn decide(plugin: &dyn Plugin, request: &mut request::Parts) -> Decision {
    plugin.request(request, &visit(), &mut Memo::default())
}

/// The refusal that a decision is.
#[track_caller]
pub fn refusal(decision: Decision) -> Refusal {
    match decision {
        Decision::Refuse(refusal) => *refusal,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

/// Each value of a header, in order.
pub fn values<'a>(headers: &'a http::HeaderMap, name: &str) -> Vec<&'a str> {
    headers
        .get_all(name)
        .iter()
        .map(|v| v.to_str().unwrap())
        .collect()
}
