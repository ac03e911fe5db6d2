//! `request_id`: a name for each request, on its way in and on its way out.

use http::{HeaderName, HeaderValue, request, response};

use super::{Decision, Memo, Plugin, Problem, Visit, headers};

/// The header where none is named.
const HEADER_DEFAULT: &str = "X-Request-Id";

/// The longest id, in bytes, that is taken from a visitor. Longer ones fill logs.
const ID_LEN_MAX: usize = 128;

/// Where the id stands, and who may choose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The header. Default `X-Request-Id`.
    pub header: String,
    /// Whether an id that the request brings is kept, if it is 1 to 128 of `A-Z a-z 0-9 . _ -`. Default no.
    pub trust: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            header: HEADER_DEFAULT.to_owned(),
            trust: false,
        }
    }
}

/// Gives each request an id, tells it to the upstream, and tells it back to the visitor.
#[derive(Clone, Debug)]
pub(super) struct RequestId {
    header: HeaderName,
    trust: bool,
}

impl RequestId {
    pub fn new(options: &Options) -> Result<Self, Problem> {
        Ok(Self {
            header: headers::name(&options.header)?,
            trust: options.trust,
        })
    }

    /// The id that a request brings, if it may.
    fn brought(&self, request: &request::Parts) -> Option<HeaderValue> {
        let mut all = request.headers.get_all(&self.header).iter();
        let only = all.next().filter(|_| all.next().is_none())?;
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let fits = (1..=ID_LEN_MAX).contains(&only.len()) && only.as_bytes().iter().all(legal);
        (self.trust && fits).then(|| only.clone())
    }
}

impl Plugin for RequestId {
    fn name(&self) -> &'static str {
        "request_id"
    }

    fn request(&self, request: &mut request::Parts, visit: &Visit, memo: &mut Memo) -> Decision {
        let fresh = || HeaderValue::try_from(format!("{:032x}", visit.fresh)).ok();
        if let Some(id) = self.brought(request).or_else(fresh) {
            request.headers.insert(&self.header, id.clone());
            memo.request_id = Some(id);
        }
        Decision::Pass
    }

    fn response(&self, memo: &Memo, response: &mut response::Parts) {
        if let Some(id) = &memo.request_id {
            response.headers.insert(&self.header, id.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::{request, response, values, visit};

    const FRESH: &str = "0123456789abcdef0123456789abcdef";

    #[track_caller]
    fn check(trust: bool, brought: &[&str], expected: &str) {
        let options = Options {
            trust,
            ..Options::default()
        };
        let plugin = RequestId::new(&options).unwrap();
        let headers: Vec<_> = brought.iter().map(|id| ("x-request-id", *id)).collect();
        let (mut asked, mut memo) = (request("GET /", &headers), Memo::default());
        assert!(matches!(
            plugin.request(&mut asked, &visit(), &mut memo),
            Decision::Pass
        ));
        assert_eq!(values(&asked.headers, "x-request-id"), [expected]);
        assert_eq!(memo.request_id(), Some(expected));
        let mut answer = response(&[("x-request-id", "the upstream's own")]);
        plugin.response(&memo, &mut answer);
        assert_eq!(values(&answer.headers, "x-request-id"), [expected]);
    }

    #[test]
    fn an_id_is_made() {
        check(false, &[], FRESH);
        check(true, &[], FRESH);
        check(false, &["mine"], FRESH);
        check(false, &["mine", "other"], FRESH);
    }

    #[test]
    fn a_trusted_id_is_kept_if_it_looks_like_one() {
        let longest = "a".repeat(128);
        for kept in ["mine", "a", "A-b_c.9", &longest] {
            check(true, &[kept], kept);
        }
        let longer = "a".repeat(129);
        for made_anew in ["", "a b", "a\tb", "<script>", "a,b", "\u{e9}", &longer] {
            check(true, &[made_anew], FRESH);
        }
        check(true, &["mine", "other"], FRESH);
    }

    #[test]
    fn an_id_has_32_digits_however_small() {
        let visit = Visit { fresh: 7, ..visit() };
        let (mut asked, mut memo) = (request("GET /", &[]), Memo::default());
        let plugin = RequestId::new(&Options::default()).unwrap();
        drop(plugin.request(&mut asked, &visit, &mut memo));
        assert_eq!(memo.request_id(), Some("00000000000000000000000000000007"));
    }

    #[test]
    fn its_header_is_one_that_may_be_set() {
        for wrong in ["a b", "host", "connection"] {
            let header = wrong.to_owned();
            assert!(RequestId::new(&Options { header, trust: true }).is_err());
        }
    }
}
