//! Logins that a connection is known by, not a request: NTLM and Negotiate.

use http::{HeaderMap, HeaderName, header};

use crate::probe::mutant;

/// Where a request says who its visitor is, and where an answer asks for it.
const CREDENTIALS: [HeaderName; 2] = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION];
const CHALLENGES: [HeaderName; 2] = [header::WWW_AUTHENTICATE, header::PROXY_AUTHENTICATE];

/// Schemes that authenticate a connection, not a request (RFC 4559; MS-NTHT).
const OF_CONNECTIONS: [&[u8]; 2] = [b"NTLM", b"Negotiate"];

/// Whether a request binds its connection to its visitor.
pub fn binds(request: &HeaderMap) -> bool {
    names_scheme(request, &CREDENTIALS)
}

/// Whether an answer asks for such a login, or goes on with it.
pub fn is_asked_for(answer: &HeaderMap) -> bool {
    names_scheme(answer, &CHALLENGES)
}

/// Whether some header of these names such a scheme, wherever: one challenge may stand behind another.
fn names_scheme(headers: &HeaderMap, names: &[HeaderName]) -> bool {
    let words = |value: &http::HeaderValue| {
        let mut words = value.as_bytes().split(|byte| b", \t=".contains(byte));
        words.any(|word| {
            OF_CONNECTIONS
                .iter()
                .any(|scheme| word.eq_ignore_ascii_case(scheme))
        })
    };
    let named = names.iter().any(|name| headers.get_all(name).iter().any(words));
    named && !mutant!("login-bound-to-nobody")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_found_wherever_it_stands() {
        let asks = |name: &'static str, value: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.append(header::WWW_AUTHENTICATE, "Basic realm=\"a\"".parse().unwrap());
            headers.append(name, http::HeaderValue::from_bytes(value).unwrap());
            (binds(&headers), is_asked_for(&headers))
        };
        for value in [
            b"NTLM" as &[u8],
            b"negotiate",
            b"Basic realm=\"a, b\", Negotiate",
            b"Basic realm=\"\xfc\",NTLM",
            b"Negotiate oYG2MIGz",
        ] {
            assert_eq!(asks("www-authenticate", value), (false, true));
            assert_eq!(asks("proxy-authenticate", value), (false, true));
            assert_eq!(asks("authorization", value), (true, false));
            assert_eq!(asks("proxy-authorization", value), (true, false));
        }
        assert_eq!(asks("authorization", b"Bearer ntlmx"), (false, false));
        assert_eq!(asks("x-auth", b"NTLM"), (false, false));
    }
}
