//! What rules are called: as they say themselves, or after what they ask for.

use std::collections::BTreeSet;

use super::{ConfigError, load::Source, rule_file::RuleKeys, tree::KeyPath, value::OneOrMany};

/// The longest name of a rule, in bytes.
const NAME_LEN_MAX: usize = 128;

/// The names of `rules`, in their order. Who has none is called after its methods, hosts, path and headers: that stays when
/// another rule is put in front of it, as its place does not. Of those that ask for the same the later have a number.
///
/// # Errors
/// A name that is none, or that two rules give themselves.
pub(super) fn names(rules: &[RuleKeys], source: &Source) -> Result<Vec<String>, ConfigError> {
    let mut taken = BTreeSet::new();
    for (index, keys) in rules.iter().enumerate() {
        let Some(name) = &keys.name else { continue };
        let at = KeyPath::new("rules").index(index).key("name");
        if name.is_empty() || name.len() > NAME_LEN_MAX || name.chars().any(char::is_control) {
            let message = format!("expected 1 to {NAME_LEN_MAX} bytes of text, found {name:?}");
            return Err(source.key_error(&at, message));
        }
        if !taken.insert(name.clone()) {
            return Err(source.key_error(&at, format!("there is a rule `{name}` already")));
        }
    }
    let mut unique = |label: String| {
        let mut name = label.clone();
        let mut number = 1;
        while !taken.insert(name.clone()) {
            number += 1;
            name = format!("{label} #{number}");
        }
        name
    };
    let names = rules.iter().map(|keys| match &keys.name {
        Some(name) => name.clone(),
        None => unique(label(keys)),
    });
    Ok(names.collect())
}

/// What a rule asks for, in short: `GET api.example.com/v1`.
fn label(keys: &RuleKeys) -> String {
    let words = |words: &Option<OneOrMany>| words.as_ref().map_or(String::new(), |words| words.0.join(","));
    let grpc = keys.grpc.as_ref().map(|service| format!("/{service}"));
    let path = keys.path.clone().or(grpc).unwrap_or_default();
    let place = format!("{}{path}", words(&keys.host));
    let place = if place.is_empty() { "*".to_owned() } else { place };
    let headers = keys.headers.iter().flatten().map(|(name, _)| name.clone());
    let parts = [words(&keys.method), place].into_iter().chain(headers);
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    let whole = parts.join(" ");
    let fits = |c: &(usize, char)| c.0 + c.1.len_utf8() <= NAME_LEN_MAX;
    let plain = whole.char_indices().take_while(fits).map(|(_, c)| c);
    plain.map(|c| if c.is_control() { ' ' } else { c }).collect()
}
