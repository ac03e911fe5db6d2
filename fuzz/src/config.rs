//! Configuration files of any text. Every role and both formats get each input as it is, so that a file of the corpus is
//! a configuration to be read. Nothing outside the input is: the environment is a list, and a file that the text
//! names holds its own path.

use std::{io, path::Path};

use adit::config::{
    ClientFlags, ConfigError, Format, ForwardFlags, ServerFlags, Source, build_client, build_forward,
    build_server,
};

/// The longest text that is tried. What is wrong with longer ones is wrong with shorter ones.
const TEXT_LEN_MAX: usize = 64 * 1024;

/// What ends a line, to TOML or to YAML; both characters of a pair count.
const LINE_ENDS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];

/// Takes the text.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if text.len() > TEXT_LEN_MAX {
        return;
    }
    for (name, format) in [("f.yaml", Format::Yaml), ("f.toml", Format::Toml)] {
        match Source::parse(Path::new(name), text, format) {
            Ok(source) => roles(&source.reading_by(content), name, text),
            Err(error) => {
                assert!(matches!(error, ConfigError::Syntax { .. }), "{error}");
                names_a_place(&error, name, text);
            }
        }
    }
}

fn roles(source: &Source, name: &str, text: &str) {
    let results = [
        source.role().map(drop),
        build_server(source, &ServerFlags::default(), &environment).map(drop),
        build_client(source, &ClientFlags::default(), &environment).map(drop),
        build_forward(source, &ForwardFlags::default(), &environment).map(drop),
    ];
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        names_a_place(error, name, text);
    }
}

/// The file, the line where there is one, and one line of words.
fn names_a_place(error: &ConfigError, name: &str, text: &str) {
    let said = error.to_string();
    assert!(!said.chars().any(char::is_control), "{said:?} breaks the line");
    let lines = 1 + text.chars().filter(|c| LINE_ENDS.contains(c)).count();
    match error {
        ConfigError::Syntax { line, message, .. } | ConfigError::Key { line, message, .. } => {
            assert!((1..=lines).contains(line), "{said:?}, of {lines} lines");
            assert!(said.starts_with(&format!("{name}:{line}: ")), "{said:?}");
            assert!(!message.trim().is_empty(), "{said:?}");
        }
        // The lines are those of the list that the text names.
        ConfigError::List(error) => assert!(error.line > 0, "{said:?}"),
        ConfigError::Whole(_) | ConfigError::Role { .. } => {
            assert!(said.starts_with(&format!("{name}: ")), "{said:?}");
        }
        ConfigError::Insecure { what } => assert!(what.starts_with(&format!("{name}:")), "{said:?}"),
        ConfigError::Read { .. }
        | ConfigError::Ending { .. }
        | ConfigError::Flag { .. }
        | ConfigError::Variable { .. } => panic!("no such thing is there: {said:?}"),
    }
}

fn environment(name: &str) -> Option<String> {
    match name {
        "PORT" => Some("9000".to_owned()),
        "NAME" => Some("web".to_owned()),
        "WORD" => Some("many ${PORT}".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn content(path: &Path) -> io::Result<Vec<u8>> {
    match path.to_str() {
        Some(path) if path != "missing" => Ok(path.into()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}
