//! The two parsers: text becomes the values of a tree.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::de::{DeTable, DeValue};

use super::tree::{Node, SyntaxError, Value};

/// Reads a YAML document.
pub(super) fn yaml(text: &str) -> Result<Value, SyntaxError> {
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let parsed: Result<Option<Raw>, _> = serde_saphyr::from_str_with_options(text, options);
    match parsed {
        Ok(raw) => Ok(raw.map_or(Value::Null, |raw| raw.0)),
        Err(error) => {
            let line = error
                .location()
                .map_or(1, |location| usize::try_from(location.line()).unwrap_or(1));
            let message = one_line(&error.without_snippet().to_string());
            // The parser says the place in words too.
            let message = message.split(" at line ").next().unwrap_or_default().to_owned();
            Err(SyntaxError {
                line: line.max(1),
                message,
            })
        }
    }
}

/// Reads a TOML document.
pub(super) fn toml(text: &str) -> Result<Value, SyntaxError> {
    let line = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
    match DeTable::parse(text) {
        Ok(table) => Ok(toml_table(table.get_ref(), &line)),
        Err(error) => Err(SyntaxError {
            line: line(error.span().map_or(0, |span| span.start)),
            message: one_line(error.message()),
        }),
    }
}

fn toml_table(table: &DeTable<'_>, line: &dyn Fn(usize) -> usize) -> Value {
    let entries = table.iter().map(|(key, value)| {
        let node = Node {
            line: line(key.span().start),
            value: toml_value(value.get_ref(), line),
        };
        (key.get_ref().to_string(), node)
    });
    Value::Map(entries.collect())
}

fn toml_value(value: &DeValue<'_>, line: &dyn Fn(usize) -> usize) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::Text(number.to_string()), Value::Integer),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or_else(|_| Value::Text(number.to_string()), Value::Float),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(time) => Value::Text(time.to_string()),
        DeValue::Array(elements) => Value::List(
            elements
                .iter()
                .map(|element| Node {
                    line: line(element.span().start),
                    value: toml_value(element.get_ref(), line),
                })
                .collect(),
        ),
        DeValue::Table(table) => toml_table(table, line),
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A YAML value as its parser hands it over.
struct Raw(Value);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor).map(Self)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element::<serde_saphyr::Spanned<Raw>>()? {
            list.push(Node {
                line: yaml_line(element.referenced),
                value: element.value.0,
            });
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<serde_saphyr::Spanned<String>>()? {
            let value: Raw = entries.next_value()?;
            let node = Node {
                line: yaml_line(key.referenced),
                value: value.0,
            };
            map.push((key.value, node));
        }
        Ok(Value::Map(map))
    }
}

fn yaml_line(location: serde_saphyr::Location) -> usize {
    usize::try_from(location.line()).unwrap_or(1).max(1)
}
