//! Reads the file types out of a [`Node`] tree: one deserializer for both formats.
//!
//! Text is expanded here, so a value keeps its line; errors come out with the key's path and line.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::{
    expand::{self, Lookup},
    tree::{KeyPath, Node, Value},
};

/// Why a tree does not fit a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// Where, once a reader that knows has seen it.
    pub place: Option<(usize, KeyPath)>,
    /// What is wrong, without the place.
    pub message: String,
    /// The message names the key itself.
    pub names_key: bool,
}

impl ReadError {
    fn new(message: impl Into<String>) -> Self {
        Self {
            place: None,
            message: message.into(),
            names_key: false,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

/// Reads `T` from the whole tree.
///
/// # Errors
/// The first thing in the tree that does not fit, with its place.
pub fn read<T: de::DeserializeOwned>(tree: &Node, env: Lookup<'_>) -> Result<T, ReadError> {
    let path = KeyPath::default();
    Reader {
        node: tree,
        path: &path,
        env,
    }
    .located(|reader| T::deserialize(reader))
}

/// One value, the way to it, and the environment its text may name.
#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    path: &'a KeyPath,
    env: Lookup<'a>,
}

impl<'a> Reader<'a> {
    /// Runs a read of this value; an error that has no place yet gets this one.
    fn located<T>(self, read: impl FnOnce(Self) -> Result<T, ReadError>) -> Result<T, ReadError> {
        read(self).map_err(|mut error| {
            error
                .place
                .get_or_insert_with(|| (self.node.line, self.path.clone()));
            error
        })
    }

    fn expected(&self, what: &str) -> ReadError {
        let hint = match (&self.node.value, what) {
            (Value::Integer(_) | Value::Float(_), "text") => " (put it in quotes)",
            (Value::Bool(true), "text") => " (put it in quotes, or the word it was before: \"on\", \"yes\")",
            (Value::Bool(false), "text") => " (put it in quotes, or the word it was before: \"off\", \"no\")",
            _ => "",
        };
        ReadError::new(format!(
            "expected {what}, found {}{hint}",
            found(&self.node.value)
        ))
    }

    fn text(&self) -> Result<String, ReadError> {
        match &self.node.value {
            Value::Text(text) => expand::expand(text, self.env).map_err(ReadError::new),
            _ => Err(self.expected("text")),
        }
    }

    /// A number, or text that is one: tools put quotes around it, and so does whoever names a variable.
    fn number(&self, max: u64) -> Result<u64, ReadError> {
        let what = if max == u64::MAX {
            "a whole number".to_owned()
        } else {
            format!("a whole number from 0 to {max}")
        };
        let number = match &self.node.value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::Text(_) => {
                let text = self.text()?;
                let digits = Some(text.trim()).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
                let number = digits.and_then(|digits| digits.parse().ok());
                let number = number.filter(|number| *number <= max);
                return number.ok_or_else(|| ReadError::new(format!("expected {what}, found {text:?}")));
            }
            _ => None,
        };
        number
            .filter(|number| *number <= max)
            .ok_or_else(|| self.expected(&what))
    }

    fn unknown_key(&self, key: &str, line: usize, known: &'static [&'static str]) -> ReadError {
        let path = self.path.key(key);
        let hint = match nearest(key, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        ReadError {
            message: format!("unknown key `{path}`, {hint}"),
            place: Some((line, path)),
            names_key: true,
        }
    }
}

/// What to write instead of a word that is a boolean in YAML 1.1, and text in YAML 1.2.
fn in_yaml_1_2(word: &str) -> &'static str {
    match word.to_ascii_lowercase().as_str() {
        "on" | "yes" | "y" | "true" => " (write `true`)",
        "off" | "no" | "n" | "false" => " (write `false`)",
        _ => "",
    }
}

/// The known word that `word` most likely was meant to be.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_ascii_lowercase().replace('-', "_");
    let distance = |candidate: &str| strsim::damerau_levenshtein(&word, candidate);
    let near = known
        .iter()
        .copied()
        .min_by_key(|candidate| distance(candidate))?;
    (distance(near) <= 1.max(near.len() / 3)).then_some(near)
}

/// Names a value without showing it: what stands where a mapping belongs may be a secret.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Text(_) => "text",
        Value::List(_) => "a list",
        Value::Map(_) => "a mapping",
    }
}

fn found(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Text(text) => format!("{text:?}"),
        Value::Null | Value::List(_) | Value::Map(_) => kind(value).to_owned(),
    }
}

macro_rules! numbers {
    ($($method:ident $max:expr,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            visitor.visit_u64(self.number($max)?)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(_) => visitor.visit_u64(self.number(u64::MAX)?),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Text(_) => visitor.visit_string(self.text()?),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_string(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Text(_) => {
                let text = self.text()?;
                match text.trim() {
                    "true" => visitor.visit_bool(true),
                    "false" => visitor.visit_bool(false),
                    word => Err(ReadError::new(format!(
                        "expected true or false, found {text:?}{}",
                        in_yaml_1_2(word)
                    ))),
                }
            }
            _ => Err(self.expected("true or false")),
        }
    }

    numbers! {
        deserialize_u8 u8::MAX.into(),
        deserialize_u16 u16::MAX.into(),
        deserialize_u32 u32::MAX.into(),
        deserialize_u64 u64::MAX,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::List(elements) => visitor.visit_seq(Elements {
                parent: self,
                elements: elements.iter().enumerate(),
            }),
            _ => Err(self.expected("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Map(entries) => visitor.visit_map(Entries {
                parent: self,
                entries: entries.iter(),
                value: None,
            }),
            _ => Err(self.expected("a mapping")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let Value::Map(entries) = &self.node.value else {
            return Err(ReadError::new(format!(
                "expected a mapping with the keys {}, found {}",
                fields.join(", "),
                kind(&self.node.value)
            )));
        };
        if let Some((key, node)) = entries.iter().find(|(key, _)| !fields.contains(&key.as_str())) {
            return Err(self.unknown_key(key, node.line, fields));
        }
        self.deserialize_map(visitor)
    }

    /// Only [`Later`](super::value::Later) asks for this.
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _visitor: V,
    ) -> Result<V::Value, ReadError> {
        Err(ReadError {
            names_key: true,
            ..ReadError::new(format!("`{}` is not supported in this version yet", self.path))
        })
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 f32 f64 char bytes byte_buf unit tuple tuple_struct enum identifier ignored_any
    }
}

struct Elements<'a> {
    parent: Reader<'a>,
    elements: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some((index, node)) = self.elements.next() else {
            return Ok(None);
        };
        let path = self.parent.path.index(index);
        let reader = Reader {
            node,
            path: &path,
            env: self.parent.env,
        };
        reader.located(|reader| seed.deserialize(reader)).map(Some)
    }
}

struct Entries<'a> {
    parent: Reader<'a>,
    entries: std::slice::Iter<'a, (String, Node)>,
    value: Option<(&'a str, &'a Node)>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((key, node)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some((key, node));
        seed.deserialize(key.as_str().into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        let (key, node) = self.value.take().expect("a value is asked for after its key");
        let path = self.parent.path.key(key);
        let reader = Reader {
            node,
            path: &path,
            env: self.parent.env,
        };
        reader.located(|reader| seed.deserialize(reader))
    }
}
