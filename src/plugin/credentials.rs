//! What a request carries in `Authorization`.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, header::AUTHORIZATION};
use zeroize::Zeroizing;

/// The longest credentials that are looked at, in bytes. With more, strangers would have more hashed; with fewer, the
/// tokens of some would not fit.
pub(super) const CREDENTIALS_BYTES_MAX: usize = 4096;

/// The credentials of this scheme; `None` when there are none, more than one, or too long ones.
pub(super) fn of_scheme<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a [u8]> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    // Of two, another reader might believe the other one.
    let only = all.next().filter(|_| all.next().is_none())?;
    let (found, rest) = only.as_bytes().split_at_checked(scheme.len())?;
    if !found.eq_ignore_ascii_case(scheme.as_bytes()) || !rest.starts_with(b" ") {
        return None;
    }
    let credentials = rest.trim_ascii();
    (1..=CREDENTIALS_BYTES_MAX)
        .contains(&credentials.len())
        .then_some(credentials)
}

/// The name and password of `Basic` credentials.
pub(super) fn basic(headers: &HeaderMap) -> Option<(Vec<u8>, Zeroizing<Vec<u8>>)> {
    let mut decoded = Zeroizing::new(STANDARD.decode(of_scheme(headers, "Basic")?).ok()?);
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let password = Zeroizing::new(decoded.split_off(colon + 1));
    decoded.truncate(colon);
    Some((decoded.to_vec(), password))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::request;

    #[test]
    fn a_scheme_is_a_word() {
        let check = |value: &str, expected: Option<&[u8]>| {
            let request = request("GET /", &[("authorization", value)]);
            assert_eq!(of_scheme(&request.headers, "Bearer"), expected, "{value}");
        };
        check("Bearer abc", Some(b"abc"));
        check("bEARER   abc ", Some(b"abc"));
        check("Bearer a b", Some(b"a b"));
        check("Bearer ", None);
        check("Bearer", None);
        check("Bearerabc", None);
        check("Basic abc", None);
        check("", None);
        let longest = "a".repeat(CREDENTIALS_BYTES_MAX);
        check(&format!("Bearer {longest}"), Some(longest.as_bytes()));
        check(&format!("Bearer {longest}a"), None);
        let two = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
        assert_eq!(of_scheme(&request("GET /", &two).headers, "Bearer"), None);
        assert_eq!(of_scheme(&request("GET /", &[]).headers, "Bearer"), None);
    }

    #[test]
    fn basic_is_a_name_a_colon_and_a_password() {
        let check = |credentials: &str, expected: Option<(&str, &str)>| {
            let value = format!("Basic {credentials}");
            let found = basic(&request("GET /", &[("authorization", &value)]).headers);
            let expected = expected.map(|(name, password)| (name.into(), password.as_bytes().to_vec()));
            let found = found.map(|(name, password)| (name, password.to_vec()));
            assert_eq!(found, expected, "{credentials}");
        };
        let plain = |text: &str| STANDARD.encode(text);
        check(&plain("ann:secret"), Some(("ann", "secret")));
        check(&plain("ann:a:b"), Some(("ann", "a:b")));
        check(&plain("ann:"), Some(("ann", "")));
        check(&plain(":x"), Some(("", "x")));
        check(&plain("ann:pässword"), Some(("ann", "pässword")));
        check(&plain("ann"), None);
        check("YW5uOnNlY3JldA", None);
        check("YW5uOnN=Y3JldA==", None);
        check("!!!!", None);
        check("", None);
        check("====", None);
        check(
            &plain(&format!("ann:{}", "x".repeat(CREDENTIALS_BYTES_MAX))),
            None,
        );
    }
}
