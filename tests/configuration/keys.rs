//! The keys of a file type, found by asking the type itself.

use std::{cell::RefCell, collections::BTreeSet};

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    Visitor, value::Error,
};

/// One way down a file type, `[]` for elements and `NAME` for the keys of a mapping.
type Way = Vec<&'static str>;

/// What stands at the end of a way.
#[derive(Default)]
struct Found {
    fields: &'static [&'static str],
    below: Option<&'static str>,
    later: bool,
}

/// Follows one way through a file type, and notes what the type asks for at its end.
struct Probe<'a> {
    way: &'a [&'static str],
    found: &'a RefCell<Found>,
}

impl Probe<'_> {
    fn end<T>(&self, found: Found) -> Result<T, Error> {
        *self.found.borrow_mut() = found;
        Err(Error::custom("seen enough"))
    }
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        self.end(Found::default())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, _: V) -> Result<V::Value, Error> {
        self.end(Found {
            later: true,
            ..Found::default()
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.way {
            [] => self.end(Found {
                fields,
                ..Found::default()
            }),
            _ => visitor.visit_map(self),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.way {
            [] => self.end(Found {
                below: Some("NAME"),
                ..Found::default()
            }),
            _ => visitor.visit_map(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.way {
            [] => self.end(Found {
                below: Some("[]"),
                ..Found::default()
            }),
            _ => visitor.visit_seq(self),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit newtype_struct tuple
        tuple_struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Probe<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        seed.deserialize(self.way[0].into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(Probe {
            way: &self.way[1..],
            found: self.found,
        })
    }
}

impl<'de> SeqAccess<'de> for Probe<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        seed.deserialize(Probe {
            way: &self.way[1..],
            found: self.found,
        })
        .map(Some)
    }
}

fn shown(way: &[&'static str]) -> String {
    way.join(".").replace(".[]", "[]")
}

/// Every key of a file type: those of this version, and those of later ones.
pub fn keys<T: DeserializeOwned>() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut now, mut later) = (BTreeSet::new(), BTreeSet::new());
    let mut ways: Vec<Way> = vec![Vec::new()];
    while let Some(way) = ways.pop() {
        let found = RefCell::new(Found::default());
        assert!(
            T::deserialize(Probe {
                way: &way,
                found: &found
            })
            .is_err()
        );
        let found = found.into_inner();
        for below in found.fields.iter().copied().chain(found.below) {
            ways.push(way.iter().copied().chain([below]).collect());
        }
        let element = matches!(way.last(), None | Some(&"[]" | &"NAME"));
        if found.later {
            later.insert(shown(&way));
        } else if !element && (found.fields.is_empty()) {
            now.insert(shown(&way));
        }
    }
    (now, later)
}
