//! A configuration file as a tree that remembers lines: the same for YAML and TOML.
//!
//! Both formats end here, so that everything above (expansion, types, errors) exists once.

use std::fmt;

use super::{parse, value::choice};

choice! {
    /// The formats, by the file's ending or by `--format`.
    Format {
        /// `.yaml`, `.yml`. JSON is YAML, too.
        #[default]
        Yaml = "yaml",
        /// `.toml`.
        Toml = "toml",
    } later []
}

/// One value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The line of its key, or of the list element, from 1.
    pub line: usize,
    /// What stands there.
    pub value: Value,
}

/// What may stand in a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing: a key without a value.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// A number with a fraction.
    Float(f64),
    /// Text, not expanded yet.
    Text(String),
    /// Elements in order.
    List(Vec<Node>),
    /// Keys and values in order, each key once.
    Map(Vec<(String, Node)>),
}

/// One step down the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// The way from the root to a value; shown as `entries[0].listen`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPath(Vec<Step>);

impl KeyPath {
    /// The path to a top-level key.
    pub fn new(key: &str) -> Self {
        Self::default().key(key)
    }

    /// One key deeper.
    pub fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.to_owned()))
    }

    /// One list element deeper.
    pub fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    /// Whether it is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if depth == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The file is not well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where reading stopped, from 1.
    pub line: usize,
    /// What was found, in one line.
    pub message: String,
}

impl Node {
    /// Reads a whole file. An empty one is an empty map.
    ///
    /// # Errors
    /// [`SyntaxError`] when the text is not well-formed, or a key stands twice.
    pub fn parse(text: &str, format: Format) -> Result<Self, SyntaxError> {
        let value = match format {
            Format::Yaml => parse::yaml(text)?,
            Format::Toml => parse::toml(text)?,
        };
        let value = match value {
            Value::Null => Value::Map(Vec::new()),
            value => value,
        };
        Ok(Self { line: 1, value })
    }

    /// An empty file.
    pub fn empty() -> Self {
        Self {
            line: 1,
            value: Value::Map(Vec::new()),
        }
    }

    /// The value of a key, if this is a map that has it.
    pub fn child(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The line of the value at `path`, or of the deepest part of the path that exists.
    pub fn line_of(&self, path: &KeyPath) -> usize {
        let mut node = self;
        for step in &path.0 {
            let next = match (step, &node.value) {
                (Step::Key(key), Value::Map(_)) => node.child(key),
                (Step::Index(index), Value::List(elements)) => elements.get(*index),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "bind: 127.0.0.1\nentries:\n  - name: web\n    listen: \"[::1]:80\"\n  - { name: db }\n\
                        groups: { a: { pools: { min: 2 } } }\nempty:\n";
    const TOML: &str = "bind = \"127.0.0.1\"\n[[entries]]\nname = \"web\"\n\
                        listen = \"[::1]:80\"\n[[entries]]\nname = \"db\"\n[groups.a.pools]\nmin = 2\n";

    #[test]
    fn lines_are_known_in_both_formats() {
        let listen = KeyPath::new("entries").index(0).key("listen");
        let min = KeyPath::new("groups").key("a").key("pools").key("min");
        for (text, format, lines) in [(YAML, Format::Yaml, [4, 5, 6]), (TOML, Format::Toml, [4, 6, 8])] {
            let tree = Node::parse(text, format).unwrap();
            assert_eq!(tree.line_of(&listen), lines[0]);
            assert_eq!(
                tree.line_of(&KeyPath::new("entries").index(1).key("name")),
                lines[1]
            );
            assert_eq!(tree.line_of(&min), lines[2]);
        }
        assert_eq!(listen.to_string(), "entries[0].listen");
        let tree = Node::parse(YAML, Format::Yaml).unwrap();
        assert_eq!(tree.child("empty").unwrap().value, Value::Null);
    }

    #[test]
    fn broken_text_names_its_line() {
        let check = |text: &str, format, line| {
            let error = Node::parse(text, format).unwrap_err();
            assert_eq!(error.line, line, "{error:?}");
            assert!(!error.message.contains('\n'));
        };
        check("a: 1\na: 2\n", Format::Yaml, 2);
        check("a: 1\nb: [1, 2\n", Format::Yaml, 2);
        check("a = 1\na = 2\n", Format::Toml, 2);
        check("a = 1\nb = \n", Format::Toml, 2);
    }

    #[test]
    fn an_empty_file_is_an_empty_map() {
        for (text, format) in [
            ("", Format::Yaml),
            ("# nothing\n", Format::Yaml),
            ("", Format::Toml),
        ] {
            assert_eq!(Node::parse(text, format).unwrap(), Node::empty());
        }
    }
}
