//! Secrets: from a file or from `ADIT_TOKEN`, never from an argument or the configuration itself.

use std::path::Path;

use super::{
    Checked, ConfigError, ServerFlags,
    expand::Lookup,
    file::{AuthKeys, AuthRuleKeys, TokenKeys},
    load::Source,
    tree::KeyPath,
};
use crate::{
    id::{ClientId, GroupName},
    registry::auth::{Auth, Rule},
    wire::proof::Token,
};

/// The environment variable that holds the secret.
pub const TOKEN_VARIABLE: &str = "ADIT_TOKEN";

/// Who may register, and whether any secret is asked for.
///
/// `auth.clients` of the file and `--token-file` exclude each other: a flag must not widen what the file
/// narrows. `auth.token`, or else `ADIT_TOKEN`, counts where neither is given, and for rules without a token of their own.
pub(super) fn server_auth(
    keys: AuthKeys,
    flags: &ServerFlags,
    source: &Source,
    env: Lookup<'_>,
    warnings: &mut Vec<String>,
) -> Result<Auth, ConfigError> {
    let clients = KeyPath::new("auth").key("clients");
    let variable = from_environment(env)?;
    let token_file = flags.token_file.as_deref();
    let own = keys.token.filter(|_| token_file.is_none());
    let own = own
        .map(|keys| from_file(keys, &KeyPath::new("auth").key("token"), source))
        .transpose()?;
    let Some(rules) = keys.clients else {
        if own.is_some() && variable.is_some() {
            warnings.push(format!(
                "{TOKEN_VARIABLE} is not used: the secret comes from a file"
            ));
        }
        let token = match token_file {
            Some(path) => Some(from_flag(path, source)?),
            None => own.or(variable),
        };
        return Ok(Auth::single(token.unwrap_or_else(Token::anonymous)));
    };
    if token_file.is_some() {
        return Err(ConfigError::Flag {
            flag: "--token-file",
            message: format!(
                "{} says who may register; use one of the two",
                source.place(&clients)
            ),
        });
    }
    if rules.is_empty() {
        return Err(source.key_error(&clients, "the list is empty, so no client could register"));
    }
    let complete = rules.iter().all(|rule| rule.token.is_some());
    if variable.is_some() && (complete || own.is_some()) {
        warnings.push(format!(
            "{TOKEN_VARIABLE} is not used: {} has a token for every rule",
            source.place(&KeyPath::new("auth"))
        ));
    }
    if own.is_some() && complete {
        let place = source.place(&KeyPath::new("auth").key("token"));
        warnings.push(format!(
            "{place} is not used: every rule of `auth.clients` has a token"
        ));
    }
    let mut shared = own.or(variable);
    if shared.is_none() && !complete && flags.only_check {
        warnings.push(format!(
            "{}: a rule without a token needs the environment variable {TOKEN_VARIABLE} or `auth.token`",
            source.place(&clients)
        ));
        shared = Some(Token::anonymous());
    }
    let mut built: Vec<Rule> = Vec::new();
    for (index, keys) in rules.into_iter().enumerate() {
        let at = clients.index(index);
        let rule = rule(keys, &at, shared.as_ref(), source)?;
        if built.iter().any(|earlier| earlier.id == rule.id) {
            return Err(source.key_error(&at.key("id"), "there is a rule for this id already"));
        }
        built.push(rule);
    }
    Ok(Auth::new(built))
}

fn rule(
    keys: AuthRuleKeys,
    at: &KeyPath,
    shared: Option<&Token>,
    source: &Source,
) -> Result<Rule, ConfigError> {
    let id = match keys.id.as_deref() {
        None => return Err(source.key_error(&at.key("id"), "missing: a client id, or \"*\" for any")),
        Some("*") => None,
        Some(id) => {
            Some(ClientId::new(id).map_err(|error| source.key_error(&at.key("id"), error.to_string()))?)
        }
    };
    let groups = keys.groups.map(|names| {
        let parse = |(index, name): (usize, &String)| {
            GroupName::new(name)
                .map_err(|error| source.key_error(&at.key("groups").index(index), error.to_string()))
        };
        names.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()
    });
    let token = match keys.token {
        Some(token) => from_file(token, &at.key("token"), source)?,
        None => shared.cloned().ok_or_else(|| {
            let message =
                format!("missing: `{{ file: PATH }}`, or the environment variable {TOKEN_VARIABLE}");
            source.key_error(&at.key("token"), message)
        })?,
    };
    Ok(Rule {
        id,
        groups: groups.transpose()?,
        token,
    })
}

/// The secret a client proves: `--token-file`, then the file's `token`, then `ADIT_TOKEN`, then none.
pub(super) fn client_token(
    keys: Option<TokenKeys>,
    token_file: Option<&Path>,
    source: &Source,
    env: Lookup<'_>,
    warnings: &mut Vec<String>,
) -> Result<Token, ConfigError> {
    let variable = from_environment(env)?;
    let token = match (token_file, keys) {
        (Some(path), _) => from_flag(path, source)?,
        (None, Some(keys)) => from_file(keys, &KeyPath::new("token"), source)?,
        (None, None) => return Ok(variable.unwrap_or_else(Token::anonymous)),
    };
    if variable.is_some() {
        warnings.push(format!(
            "{TOKEN_VARIABLE} is not used: the secret comes from a file"
        ));
    }
    Ok(token)
}

fn from_flag(path: &Path, source: &Source) -> Result<Token, ConfigError> {
    read(path, source).map_err(|message| ConfigError::Flag {
        flag: "--token-file",
        message,
    })
}

fn from_file(keys: TokenKeys, at: &KeyPath, source: &Source) -> Result<Token, ConfigError> {
    let file = keys
        .file
        .ok_or_else(|| source.key_error(at, "expected `{ file: PATH }`"))?;
    read(&source.relative(&file), source).map_err(|message| source.key_error(&at.key("file"), message))
}

fn from_environment(env: Lookup<'_>) -> Result<Option<Token>, ConfigError> {
    let token = env(TOKEN_VARIABLE).map(|text| Token::new(&text)).transpose();
    token.map_err(|error| ConfigError::Variable {
        variable: TOKEN_VARIABLE,
        message: error.to_string(),
    })
}

fn read(path: &Path, source: &Source) -> Result<Token, String> {
    let text = source
        .read_text(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Token::new(&text).map_err(|error| format!("{}: {error}", path.display()))
}

impl<T> Checked<T> {
    /// Puts the warnings beside the configuration they are about.
    pub(super) fn new(config: T, warnings: Vec<String>) -> Self {
        Self { config, warnings }
    }
}
