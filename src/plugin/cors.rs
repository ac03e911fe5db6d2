//! `cors`: which other sites' pages may read what this rule answers. (<https://fetch.spec.whatwg.org>.)

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
        ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
    request, response,
    uri::Authority,
};

use super::{Decision, Memo, Plugin, Problem, Visit};
use crate::time::Duration;

/// What an upstream says of the matter is taken away: of two answers a browser believes neither.
const ANSWERS: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// Who may read, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The sites, as browsers write them (`https://example.com`), or `*` for all.
    pub origins: Vec<String>,
    /// The methods that their pages may use, or `*`. Default GET, HEAD and POST.
    pub methods: Vec<String>,
    /// The headers that they may send beyond the harmless ones, or `*`. Default none.
    pub headers: Vec<String>,
    /// The headers that they may read beyond the harmless ones, or `*`. Default none.
    pub expose: Vec<String>,
    /// Whether requests come with cookies and passwords. Default no.
    pub credentials: bool,
    /// How long a browser need not ask beforehand again. Default what it likes, usually 5 s.
    pub max_age: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            methods: ["GET", "HEAD", "POST"].map(str::to_owned).to_vec(),
            headers: Vec::new(),
            expose: Vec::new(),
            credentials: false,
            max_age: None,
        }
    }
}

/// Whose pages.
#[derive(Clone, Debug)]
enum Origins {
    All,
    These(BTreeSet<HeaderValue>),
}

/// Answers what browsers ask beforehand, and tells them with each response who may read it.
#[derive(Clone, Debug)]
pub(super) struct Cors {
    origins: Origins,
    /// For the answer to what is asked beforehand.
    beforehand: HeaderMap,
    /// For each response.
    always: HeaderMap,
}

impl Cors {
    pub fn new(options: &Options) -> Result<Self, Problem> {
        let lists = [
            ("origins", &options.origins),
            ("methods", &options.methods),
            ("headers", &options.headers),
            ("expose", &options.expose),
        ];
        let all = lists.iter().find(|(_, list)| has_all(list));
        if let Some((key, _)) = all.filter(|_| options.credentials) {
            return Err(Problem::Wildcard(key));
        }
        let (mut beforehand, mut always) = (HeaderMap::new(), HeaderMap::new());
        let told = [
            (
                &mut beforehand,
                ACCESS_CONTROL_ALLOW_METHODS,
                methods(&options.methods)?,
            ),
            (
                &mut always,
                ACCESS_CONTROL_EXPOSE_HEADERS,
                names(&options.expose)?,
            ),
        ];
        for (headers, name, value) in told {
            headers.extend(value.map(|value| (name, value)));
        }
        let allowed = names(&options.headers)?.map(|value| (ACCESS_CONTROL_ALLOW_HEADERS, value));
        let max_age = options
            .max_age
            .map(|age| (ACCESS_CONTROL_MAX_AGE, age.as_secs().into()));
        let yes = (ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        let credentials = options.credentials.then_some(yes);
        beforehand.extend(allowed.into_iter().chain(max_age).chain(credentials.clone()));
        always.extend(credentials);
        Ok(Self {
            origins: origins(&options.origins)?,
            beforehand,
            always,
        })
    }

    /// What is said to be allowed to read the response to this request.
    fn reader(&self, request: &request::Parts) -> Option<HeaderValue> {
        match &self.origins {
            Origins::All => Some(HeaderValue::from_static("*")),
            Origins::These(origins) => {
                let mut all = request.headers.get_all(ORIGIN).iter();
                let only = all.next().filter(|_| all.next().is_none())?;
                origins.contains(only).then(|| only.clone())
            }
        }
    }

    /// A cache must not give one site the answer that was meant for another.
    fn vary(&self, headers: &mut HeaderMap) {
        if matches!(self.origins, Origins::These(_)) && !names_origin(headers) {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
    }

    fn answer(&self, memo: &Memo) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        if let Some(origin) = &memo.origin {
            *response.headers_mut() = self.beforehand.clone();
            response
                .headers_mut()
                .insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        self.vary(response.headers_mut());
        response
    }
}

impl Plugin for Cors {
    fn name(&self) -> &'static str {
        "cors"
    }

    fn request(&self, request: &mut request::Parts, _: &Visit, memo: &mut Memo) -> Decision {
        memo.origin = self.reader(request);
        let asks = request.method == Method::OPTIONS
            && request.headers.contains_key(ORIGIN)
            && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        match asks {
            // Whoever may not is told so by being told nothing.
            true => Decision::Answer(Box::new(self.answer(memo))),
            false => Decision::Pass,
        }
    }

    fn response(&self, memo: &Memo, response: &mut response::Parts) {
        for name in ANSWERS {
            response.headers.remove(name);
        }
        if let Some(origin) = &memo.origin {
            response
                .headers
                .insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            for (name, value) in &self.always {
                response.headers.insert(name, value.clone());
            }
        }
        self.vary(&mut response.headers);
    }
}

fn names_origin(headers: &HeaderMap) -> bool {
    let named = |value: &HeaderValue| {
        let names = value.as_bytes().split(|byte| *byte == b',');
        let origin = |name: &[u8]| name == b"*" || name.eq_ignore_ascii_case(b"origin");
        names.map(<[u8]>::trim_ascii).any(origin)
    };
    headers.get_all(VARY).iter().any(named)
}

fn origins(texts: &[String]) -> Result<Origins, Problem> {
    if texts.is_empty() {
        return Err(Problem::Nobody);
    }
    if has_all(texts) {
        return Ok(Origins::All);
    }
    let parse = |text: &String| {
        let value = HeaderValue::from_str(text).ok().filter(|_| is_origin(text));
        value.ok_or_else(|| Problem::Origin(text.clone()))
    };
    Ok(Origins::These(texts.iter().map(parse).collect::<Result<_, _>>()?))
}

/// Whether a browser would write an origin so: in another form none would ever be equal to it. `null` is not one, for
/// any page can have that.
fn is_origin(text: &str) -> bool {
    let Some((scheme, place)) = text.split_once("://") else {
        return false;
    };
    let Ok(authority) = Authority::try_from(place) else {
        return false;
    };
    let host = authority.host();
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_:[]".contains(c);
    let port = match (scheme, authority.port_u16()) {
        // A browser leaves it out.
        ("http", Some(80)) | ("https", Some(443)) => false,
        (_, Some(port)) => place == format!("{host}:{port}"),
        (_, None) => place == host,
    };
    port && !host.is_empty() && host.chars().all(part) && scheme.chars().all(|c| c.is_ascii_lowercase())
}

fn has_all(texts: &[String]) -> bool {
    texts.iter().any(|text| text == "*")
}

/// Methods as one value; `None` when there are none.
fn methods(texts: &[String]) -> Result<Option<HeaderValue>, Problem> {
    let legal = |text: &str| Method::try_from(text).is_ok();
    listed(texts, legal).map_err(|wrong| Problem::Method(wrong.to_owned()))
}

/// Names of headers as one value; `None` when there are none.
fn names(texts: &[String]) -> Result<Option<HeaderValue>, Problem> {
    let legal = |text: &str| HeaderName::try_from(text).is_ok();
    listed(texts, legal).map_err(|wrong| Problem::HeaderName(wrong.to_owned()))
}

fn listed(texts: &[String], legal: impl Fn(&str) -> bool) -> Result<Option<HeaderValue>, &str> {
    match texts.iter().find(|text| *text != "*" && !legal(text)) {
        Some(wrong) => Err(wrong),
        None if texts.is_empty() => Ok(None),
        None if has_all(texts) => Ok(Some(HeaderValue::from_static("*"))),
        None => Ok(HeaderValue::try_from(texts.join(", ")).ok()),
    }
}

#[cfg(test)]
mod tests;
