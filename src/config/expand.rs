//! `${NAME}` and `${NAME:-default}` in text; `$$` is a dollar.

/// Looks up an environment variable. A function, so that a test never changes its own process.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Expands `text`. What a variable holds is taken as it is: it is not expanded again.
///
/// A `$` before anything else stays a dollar. An empty variable counts as unset where a default is given,
/// as in a shell.
///
/// # Errors
/// A sentence, when a variable is not set and has no default, or `${` is not closed.
pub fn expand(text: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = after
                .find('}')
                .ok_or_else(|| format!("`${{` without `}}` in {text:?} (`$$` is a dollar)"))?;
            expanded.push_str(&variable(&after[..end], lookup)?);
            rest = &after[end + 1..];
        } else {
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn variable(inside: &str, lookup: Lookup<'_>) -> Result<String, String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(legal) {
        return Err(format!(
            "expected `${{NAME}}` or `${{NAME:-default}}`, found `${{{inside}}}` (`$$` is a dollar)"
        ));
    }
    match (lookup(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "the environment variable `{name}` is not set (`${{{name}:-default}}` gives it a default)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("example.com".to_owned()),
            "TRICKY" => Some("${HOST}: $$".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn expands_as_a_shell_would() {
        let check = |text: &str, expected: &str| assert_eq!(expand(text, &lookup).unwrap(), expected);
        check("plain", "plain");
        check("${HOST}:7000", "example.com:7000");
        check("a${HOST}b${HOST}", "aexample.combexample.com");
        check("${PORT:-80}", "80");
        check("${EMPTY:-80}", "80");
        check("${EMPTY}", "");
        check("${PORT:-}", "");
        check("${HOST:-x}", "example.com");
        check("$$", "$");
        check("$${HOST}", "${HOST}");
        check("$$$$", "$$");
        check("5$ and $x", "5$ and $x");
        check("${TRICKY}", "${HOST}: $$");
    }

    #[test]
    fn says_what_is_missing() {
        let check = |text: &str, part: &str| {
            let message = expand(text, &lookup).unwrap_err();
            assert!(message.contains(part), "{message}");
        };
        check("${NOPE}", "`NOPE` is not set");
        check("${HOST", "without `}`");
        check("${}", "expected `${NAME}`");
        check("${A B}", "found `${A B}`");
    }
}
