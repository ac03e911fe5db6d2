//! Tests of `basic_auth`.

use argon2::password_hash::CustomizedPasswordHasher;
use base64::{Engine, engine::general_purpose::STANDARD};

use super::*;
use crate::{
    plugin::{
        Chain,
        testing::{decide, refusal, request, values, visit},
        verified::VERIFIED_FOR,
    },
    time::Duration,
};

/// A hash that costs next to nothing.
fn hash(password: &str) -> Secret {
    let params = Params::new(8, 1, 1, None).unwrap();
    let hash = Argon2::default().hash_password_with_params(password.as_bytes(), b"salt of test", params);
    Secret::new(hash.unwrap().to_string())
}

fn options(forward: bool) -> Options {
    let users = [("ann", "secret"), ("bob", "other:one")];
    let user = |(name, password): (&str, &str)| (name.to_owned(), hash(password));
    Options {
        users: users.into_iter().map(user).collect(),
        forward,
        ..Options::default()
    }
}

fn plugin(forward: bool) -> BasicAuth {
    BasicAuth::new(&options(forward), &Key::new([7; 32])).unwrap()
}

fn asked(name_and_password: &str) -> request::Parts {
    let value = format!("Basic {}", STANDARD.encode(name_and_password));
    request("GET /", &[("authorization", &value)])
}

fn check_of(decision: Decision) -> Check {
    match decision {
        Decision::Verify(check) => *check,
        other => panic!("expected a check, found {other:?}"),
    }
}

#[test]
fn who_knows_the_password_comes_in() {
    let check = |credentials: &str, expected: bool| {
        let decision = decide(&plugin(false), &mut asked(credentials));
        let passed = check_of(decision).run();
        assert_eq!(passed.is_ok(), expected, "{credentials}");
        if let Err(refusal) = passed {
            assert_eq!((refusal.plugin, refusal.status.as_u16()), ("basic_auth", 401));
            let challenge = "Basic realm=\"restricted\", charset=\"UTF-8\"";
            assert_eq!(refusal.headers[WWW_AUTHENTICATE], challenge);
        }
    };
    check("ann:secret", true);
    check("bob:other:one", true);
    check("ann:Secret", false);
    check("ann:", false);
    check("ann:other:one", false);
    check("Ann:secret", false);
    check("nobody:secret", false);
    check(":secret", false);
    check("ann:secret\0", false);
}

#[test]
fn without_credentials_nothing_is_worked_out() {
    let plugin = plugin(false);
    for headers in [
        [].as_slice(),
        &[("authorization", "Bearer abc")],
        &[("authorization", "Basic")],
        &[("authorization", "Basic !!!")],
        &[("authorization", "Basic YW5u")],
        &[
            ("authorization", "Basic YW5uOnNlY3JldA=="),
            ("authorization", "Basic YW5uOnNlY3JldA=="),
        ],
    ] {
        let refusal = refusal(decide(&plugin, &mut request("GET /", headers)));
        assert_eq!(refusal.status, 401, "{headers:?}");
    }
    let long = format!("ann:{}", "x".repeat(100_000));
    assert_eq!(refusal(decide(&plugin, &mut asked(&long))).status, 401);
}

#[test]
fn an_upstream_gets_the_credentials_only_if_it_is_meant_to() {
    for forward in [false, true] {
        let plugin = plugin(forward);
        for credentials in ["ann:secret", "ann:wrong"] {
            let mut asked = asked(credentials);
            drop(decide(&plugin, &mut asked));
            let there = values(&asked.headers, "authorization").len();
            assert_eq!(there, usize::from(forward));
        }
    }
}

#[test]
fn what_was_verified_is_not_worked_out_again() {
    let plugin = plugin(false);
    let at = |credentials: &str, visit: Visit| {
        plugin.request(&mut asked(credentials), &visit, &mut Memo::default())
    };
    let first = visit();
    let then = |after| Visit {
        now: first.now + after,
        ..first
    };
    assert!(check_of(at("ann:wrong", first)).run().is_err());
    assert!(
        matches!(at("ann:wrong", first), Decision::Verify(_)),
        "only what was right"
    );
    assert!(check_of(at("ann:secret", first)).run().is_ok());
    assert!(matches!(
        at("ann:secret", then(VERIFIED_FOR - Duration::from_millis(1))),
        Decision::Pass
    ));
    assert!(matches!(
        at("ann:secret", then(VERIFIED_FOR)),
        Decision::Verify(_)
    ));
    for other in ["ann:secre", "anns:ecret", "bob:secret", "ann:wrong"] {
        assert!(matches!(at(other, first), Decision::Verify(_)), "{other}");
    }
}

#[test]
fn a_chain_goes_on_with_the_proof_alone() {
    let chain = Chain::new(vec![Arc::new(plugin(false))]);
    let (mut request, mut memo) = (asked("ann:secret"), Memo::default());
    let check = check_of(chain.request(&mut request, &visit(), &mut memo));
    let without = chain.request(&mut request, &visit(), &mut memo);
    assert_eq!(
        refusal(without).status,
        401,
        "the credentials are gone from the request"
    );
    memo.verified(check.run().unwrap());
    assert!(matches!(
        chain.request(&mut request, &visit(), &mut memo),
        Decision::Pass
    ));
}

#[test]
fn one_of_many_at_once_works_it_out_for_those_behind_it() {
    let mut plugin = plugin(false);
    let first = check_of(decide(&plugin, &mut asked("ann:secret")));
    // Without users only what is remembered lets anybody in.
    plugin.users = Arc::default();
    let second = check_of(decide(&plugin, &mut asked("ann:secret")));
    let other = check_of(decide(&plugin, &mut asked("bob:other:one")));
    first.run().unwrap();
    second.run().unwrap();
    assert!(other.run().is_err());
}

#[test]
fn so_many_may_wait_and_no_more() {
    let plugin = plugin(false);
    let guess = |n: usize| decide(&plugin, &mut asked(&format!("ann:{n}")));
    let mut waiting: Vec<_> = (0..CHECKS_MAX).map(|n| check_of(guess(n))).collect();
    let busy = refusal(guess(0));
    assert_eq!(
        (busy.status.as_u16(), &busy.headers["retry-after"]),
        (503, &1.into())
    );
    drop(waiting.pop());
    assert!(waiting.pop().unwrap().run().is_err());
    assert!(
        matches!(guess(1), Decision::Verify(_)),
        "who left or is done makes room"
    );
}

#[test]
fn a_hash_is_worked_out_for_a_name_that_nobody_has() {
    let plugin = plugin(false);
    let mut stand_ins = BTreeMap::<_, usize>::new();
    for n in 0..100 {
        let name = named(&plugin.key, format!("nobody{n}").as_bytes());
        let (found, _) = user_or_another(&plugin.users, &name).unwrap();
        assert_eq!(user_or_another(&plugin.users, &name).unwrap().0, found);
        *stand_ins.entry(*found).or_default() += 1;
        // The password of the one who stands in lets nobody in.
        for password in ["secret", "other:one"] {
            assert!(!is_right(&plugin.users, &name, password.as_bytes()));
        }
    }
    assert_eq!(stand_ins.values().sum::<usize>(), 100);
    for name in ["ann", "bob"] {
        let name = named(&plugin.key, name.as_bytes());
        assert_eq!(user_or_another(&plugin.users, &name).unwrap().0, &name);
    }
}

#[test]
fn mistakes_are_found_before_anybody_comes() {
    let check = |name: &str, hash: Secret, realm: &str, expected: &str| {
        let options = Options {
            users: BTreeMap::from([(name.to_owned(), hash)]),
            realm: realm.to_owned(),
            forward: false,
        };
        let found = BasicAuth::new(&options, &Key::new([0; 32])).err();
        assert_eq!(
            found.map(|problem| problem.to_string()).as_deref(),
            Some(expected)
        );
    };
    let unusable = |reason: &str| format!("the hash of \"ann\" is not usable: {reason}");
    let (salt, output) = ("c2FsdCBvZiB0ZXN0", "AAAAAAAAAAAAAAAAAAAAAA");
    for (text, reason) in [
        ("secret".to_owned(), "it is no PHC string (`$argon2id$…`)"),
        (String::new(), "it is no PHC string (`$argon2id$…`)"),
        (
            "$2b$12$abcdefghijklmnopqrstuv".to_owned(),
            "it is no PHC string (`$argon2id$…`)",
        ),
        (format!("$scrypt$ln=1${salt}${output}"), "only argon2 is known"),
        (
            format!("$argon2id$v=17$m=8,t=1,p=1${salt}${output}"),
            "this version of argon2 is not known",
        ),
        (
            format!("$argon2id$v=19$m=1,t=1,p=1${salt}${output}"),
            "its parameters are not argon2's",
        ),
        (
            format!("$argon2id$v=19$m=8,t=1,p=1${salt}"),
            "there is nothing behind its parameters",
        ),
        (
            format!("$argon2id$v=19$m=8,t=1,p=1$c2FsdA${output}"),
            "it is no PHC string (`$argon2id$…`)",
        ),
        (
            format!("$argon2id$v=19$m=1048576,t=1,p=1${salt}${output}"),
            "it costs more than 256 MiB or 16 passes",
        ),
        (
            format!("$argon2id$v=19$m=8,t=17,p=1${salt}${output}"),
            "it costs more than 256 MiB or 16 passes",
        ),
    ] {
        check("ann", Secret::new(text), "r", &unusable(reason));
    }
    let named = |name: &str| {
        format!("a user's name has no colon and no control character and is not empty, found {name:?}")
    };
    for name in ["", "a:b", "a\nb"] {
        check(name, hash("x"), "r", &named(name));
    }
    for realm in ["a\r\nSet-Cookie: x", "é"] {
        let expected = format!("a realm is printable ASCII, found {realm:?}");
        check("ann", hash("x"), realm, &expected);
    }
    let nobody = BasicAuth::new(&Options::default(), &Key::new([0; 32])).err();
    assert_eq!(nobody, Some(Problem::Nobody));
}

#[test]
fn a_realm_cannot_leave_its_quotes() {
    let expected = r#"Basic realm="a\", b=\"\\", charset="UTF-8""#;
    assert_eq!(challenge(r#"a", b="\"#).unwrap(), expected);
}

#[test]
fn no_hash_is_printed() {
    let printed = format!("{:?}", options(false));
    assert!(
        printed.contains("ann") && !printed.contains("argon2"),
        "{printed}"
    );
}

#[test]
fn a_hash_that_is_made_here_is_taken_here() {
    let hash = hash_password("pässword".as_bytes(), [7; 16]).unwrap();
    assert!(
        hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw$"),
        "{hash}"
    );
    let parsed = parsed(&hash).unwrap();
    let argon = Argon2::default();
    assert!(argon.verify_password("pässword".as_bytes(), &parsed).is_ok());
    assert!(argon.verify_password(b"password", &parsed).is_err());
    assert_ne!(hash, hash_password("pässword".as_bytes(), [8; 16]).unwrap());
}
