//! `bearer`: tokens. (RFC 6750.)

use http::{
    HeaderValue, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
    request,
};
use subtle::{Choice, ConstantTimeEq};

use super::{
    Decision, Memo, Plugin, Problem, Refusal, Secret, Visit,
    credentials::{self, CREDENTIALS_BYTES_MAX},
    secret::{Digest, Key},
};

/// The shortest token, in bytes. Shorter ones can be guessed by asking.
pub(super) const TOKEN_LEN_MIN: usize = 16;

const NAME: &str = "bearer";

/// Who may come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The tokens, of 16 bytes at least.
    pub tokens: Vec<Secret>,
    /// Whether the upstream gets the token too. Default no.
    pub forward: bool,
}

/// Lets those in who have one of the tokens. The tokens themselves are not kept.
pub(super) struct Bearer {
    tokens: Vec<Digest>,
    forward: bool,
    key: Key,
}

impl Bearer {
    pub fn new(options: &Options, key: &Key) -> Result<Self, Problem> {
        if options.tokens.is_empty() {
            return Err(Problem::Nobody);
        }
        let digest = |token: &Secret| match token.text() {
            text if text.len() < TOKEN_LEN_MIN => Err(Problem::TokenShort(text.len())),
            text if text.len() > CREDENTIALS_BYTES_MAX => Err(Problem::TokenLong(text.len())),
            text if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(Problem::Token),
            text => Ok(digest(key, text.as_bytes())),
        };
        Ok(Self {
            tokens: options.tokens.iter().map(digest).collect::<Result<_, _>>()?,
            forward: options.forward,
            key: key.clone(),
        })
    }

    /// Compared with every token and as a whole, so that the time it takes tells nothing.
    fn knows(&self, token: &[u8]) -> bool {
        let digest = digest(&self.key, token);
        let equal = |any: Choice, known: &Digest| any | known.ct_eq(&digest);
        self.tokens.iter().fold(Choice::from(0), equal).into()
    }
}

impl Plugin for Bearer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn request(&self, request: &mut request::Parts, _: &Visit, _: &mut Memo) -> Decision {
        let token = credentials::of_scheme(&request.headers, "Bearer");
        let (known, challenge) = match token {
            Some(token) => (self.knows(token), "Bearer error=\"invalid_token\""),
            None => (false, "Bearer"),
        };
        if !self.forward {
            request.headers.remove(AUTHORIZATION);
        }
        if known {
            return Decision::Pass;
        }
        let challenge = HeaderValue::from_static(challenge);
        Refusal::new(NAME, StatusCode::UNAUTHORIZED, "a token is needed")
            .with(WWW_AUTHENTICATE, challenge)
            .into()
    }
}

fn digest(key: &Key, token: &[u8]) -> Digest {
    key.digest("bearer", &[token])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::{decide, refusal, request, values};

    const ONE: &str = "0123456789abcdef";
    const TWO: &str = "a-much-longer-token/with+other=characters";

    fn bearer(tokens: &[&str], forward: bool) -> Result<Bearer, Problem> {
        let tokens = tokens.iter().map(|text| Secret::new(*text)).collect();
        Bearer::new(&Options { tokens, forward }, &Key::new([9; 32]))
    }

    #[test]
    fn who_has_a_token_comes_in() {
        let check = |value: &str, expected: Result<(), &str>| {
            let plugin = bearer(&[ONE, TWO], false).unwrap();
            let mut asked = request("GET /", &[("authorization", value)]);
            match (decide(&plugin, &mut asked), expected) {
                (Decision::Pass, Ok(())) => {}
                (decision, Err(challenge)) => {
                    let refusal = refusal(decision);
                    assert_eq!((refusal.plugin, refusal.status.as_u16()), ("bearer", 401));
                    assert_eq!(refusal.headers[WWW_AUTHENTICATE], challenge, "{value}");
                }
                other => panic!("{value}: {other:?}"),
            }
            assert_eq!(values(&asked.headers, "authorization"), [""; 0]);
        };
        let wrong = Err("Bearer error=\"invalid_token\"");
        check(&format!("Bearer {ONE}"), Ok(()));
        check(&format!("bearer  {TWO}"), Ok(()));
        check(&format!("Bearer {ONE}0"), wrong);
        check(&format!("Bearer {}", &ONE[1..]), wrong);
        check(&format!("Bearer {ONE} {TWO}"), wrong);
        check(&format!("Bearer {}", ONE.to_uppercase()), wrong);
        check("Bearer x", wrong);
        check("Bearer ", Err("Bearer"));
        check(ONE, Err("Bearer"));
        check(&format!("Basic {ONE}"), Err("Bearer"));
        check(&format!("Bearer {}", "a".repeat(100_000)), Err("Bearer"));
    }

    #[test]
    fn an_upstream_gets_the_token_only_if_it_is_meant_to() {
        let plugin = bearer(&[ONE], true).unwrap();
        let value = format!("Bearer {ONE}");
        let mut asked = request("GET /", &[("authorization", &value)]);
        assert!(matches!(decide(&plugin, &mut asked), Decision::Pass));
        assert_eq!(values(&asked.headers, "authorization"), [value]);
    }

    #[test]
    fn mistakes_are_found_before_anybody_comes() {
        let check = |tokens: &[&str], expected| assert_eq!(bearer(tokens, false).err(), Some(expected));
        check(&[], Problem::Nobody);
        check(&[ONE, "0123456789abcde"], Problem::TokenShort(15));
        check(&[&"a".repeat(4097)], Problem::TokenLong(4097));
        check(&["0123456789 abcdef"], Problem::Token);
        check(&["0123456789abcdef\r\n"], Problem::Token);
        check(&["0123456789abcdéf"], Problem::Token);
        let printed = format!(
            "{:?}",
            Options {
                tokens: vec![Secret::new(ONE)],
                forward: false
            }
        );
        assert!(!printed.contains(ONE), "{printed}");
    }
}
