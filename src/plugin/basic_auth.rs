//! `basic_auth`: names and passwords. (RFC 7617.)

use std::{collections::BTreeMap, sync::Arc};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordVerifier, phc::PasswordHash},
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use http::{
    HeaderValue, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
    request,
};
use subtle::ConstantTimeEq;

use super::{
    Check, Decision, Memo, Plugin, Problem, Refusal, Secret, Visit, credentials,
    secret::{Digest, Key},
    verified::Verified,
};
use crate::probe::mutant;

/// The realm that browsers show where none is given.
const REALM_DEFAULT: &str = "restricted";

/// The most memory a hash may ask for, in KiB, and the most passes over it. With more, a few wrong passwords at once
/// would take the machine; RFC 9106 recommends 64 MiB and three passes.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 16;

/// Checks of one plugin that may wait for their turn or run. More, and a visitor would wait for seconds behind a
/// stranger's guesses; fewer, and a page whose parts are asked for at once would be refused some of them.
const CHECKS_MAX: usize = 256;

const NAME: &str = "basic_auth";

/// Who may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Names, and the argon2 hash of each one's password as a PHC string (`$argon2id$v=19$m=19456,t=2,p=1$…`).
    pub users: BTreeMap<String, Secret>,
    /// What browsers show when they ask for a password. Default `restricted`.
    pub realm: String,
    /// Whether the upstream gets the credentials too. Default no.
    pub forward: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            users: BTreeMap::new(),
            realm: REALM_DEFAULT.to_owned(),
            forward: false,
        }
    }
}

/// Lets those in who have a name and its password. A check costs what the hash asks for, so it is work for later;
/// who passed it comes in without for a while.
pub(super) struct BasicAuth {
    /// By the digest of the name, so that looking one up tells nothing about those there are.
    users: Arc<BTreeMap<Digest, PasswordHash>>,
    challenge: HeaderValue,
    forward: bool,
    key: Key,
    verified: Arc<Verified>,
    /// Held by each check until it has run.
    checks: Arc<()>,
}

impl BasicAuth {
    pub fn new(options: &Options, key: &Key) -> Result<Self, Problem> {
        let mut users = BTreeMap::new();
        for (name, hash) in &options.users {
            if name.is_empty() || name.contains(':') || name.chars().any(char::is_control) {
                return Err(Problem::User(name.clone()));
            }
            let hash = parsed(hash.text()).map_err(|reason| Problem::Hash {
                user: name.clone(),
                reason,
            })?;
            users.insert(named(key, name.as_bytes()), hash);
        }
        if users.is_empty() {
            return Err(Problem::Nobody);
        }
        Ok(Self {
            users: Arc::new(users),
            challenge: challenge(&options.realm)?,
            forward: options.forward,
            key: key.clone(),
            verified: Arc::default(),
            checks: Arc::default(),
        })
    }

    fn refusal(&self) -> Refusal {
        Refusal::new(NAME, StatusCode::UNAUTHORIZED, "a name and a password are needed")
            .with(WWW_AUTHENTICATE, self.challenge.clone())
    }
}

impl Plugin for BasicAuth {
    fn name(&self) -> &'static str {
        NAME
    }

    fn request(&self, request: &mut request::Parts, visit: &Visit, memo: &mut Memo) -> Decision {
        let credentials = credentials::basic(&request.headers);
        let removed = match self.forward {
            true => None,
            false => request.headers.remove(AUTHORIZATION),
        };
        let Some((name, password)) = credentials else {
            return self.refusal().because("no_credentials").into();
        };
        let user = String::from_utf8_lossy(&name).into_owned();
        let now = visit.now;
        let digest = self.key.digest("basic_auth", &[&name, &password]);
        if self.verified.holds(&digest, now) {
            if let Some(said) = removed
                && mutant!("known-password-goes-to-upstream")
            {
                request.headers.insert(AUTHORIZATION, said);
            }
            memo.user = Some(user);
            return Decision::Pass;
        }
        memo.claimed = Some(user);
        if Arc::strong_count(&self.checks) > CHECKS_MAX {
            let busy = Refusal::new(NAME, StatusCode::SERVICE_UNAVAILABLE, "too many sign in at once");
            return busy.after(1).into();
        }
        let (users, verified) = (Arc::clone(&self.users), Arc::clone(&self.verified));
        let (name, check) = (named(&self.key, &name), Arc::clone(&self.checks));
        let work = move || {
            let _check = check;
            // Of many requests at once that carry the same credentials, an earlier one may have done it for all.
            let right = verified.holds(&digest, now) || is_right(&users, &name, &password);
            if right {
                verified.keep(digest, now);
            }
            right
        };
        Decision::Verify(Box::new(Check::new(
            work,
            self.refusal().because("wrong_credentials"),
        )))
    }
}

/// Whether this is the password of the user with this digest.
fn is_right(users: &BTreeMap<Digest, PasswordHash>, name: &Digest, password: &[u8]) -> bool {
    let Some((found, hash)) = user_or_another(users, name) else {
        return false;
    };
    let fits = Argon2::default().verify_password(password, hash).is_ok();
    fits & bool::from(found.ct_eq(name))
}

/// The user with this digest. A name that nobody has gets another user, always the same one: the hash is worked out
/// either way, so nobody can tell by the time that it takes which names there are.
fn user_or_another<'a>(
    users: &'a BTreeMap<Digest, PasswordHash>,
    name: &Digest,
) -> Option<(&'a Digest, &'a PasswordHash)> {
    users.range(*name..).next().or_else(|| users.first_key_value())
}

fn named(key: &Key, name: &[u8]) -> Digest {
    key.digest("user", &[name])
}

/// A hash that can be verified, at a cost that can be borne.
fn parsed(text: &str) -> Result<PasswordHash, &'static str> {
    let hash = PasswordHash::new(text).map_err(|_| "it is no PHC string (`$argon2id$…`)")?;
    Algorithm::new(hash.algorithm.as_str()).map_err(|_| "only argon2 is known")?;
    let version = hash.version.unwrap_or(Version::V0x13.into());
    Version::try_from(version).map_err(|_| "this version of argon2 is not known")?;
    let params = Params::try_from(&hash).map_err(|_| "its parameters are not argon2's")?;
    if hash.hash.is_none() {
        return Err("there is nothing behind its parameters");
    }
    if params.m_cost() > MEMORY_KIB_MAX || params.t_cost() > PASSES_MAX {
        return Err("it costs more than 256 MiB or 16 passes");
    }
    Ok(hash)
}

/// The argon2id hash of a password, as [`Options::users`] takes it. `salt` is random, and no other hash has it.
///
/// # Errors
/// The password is longer than 4 GiB.
pub fn hash_password(password: &[u8], salt: [u8; 16]) -> Result<String, argon2::Error> {
    let mut hash = [0; 32];
    let params = Params::default();
    let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, &salt, &mut hash)?;
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    Ok(format!(
        "$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}"
    ))
}

fn challenge(realm: &str) -> Result<HeaderValue, Problem> {
    let problem = || Problem::Realm(realm.to_owned());
    if !realm.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(problem());
    }
    let quoted = realm.replace('\\', "\\\\").replace('"', "\\\"");
    let challenge = format!("Basic realm=\"{quoted}\", charset=\"UTF-8\"");
    HeaderValue::from_str(&challenge).map_err(|_| problem())
}

#[cfg(test)]
mod tests;
