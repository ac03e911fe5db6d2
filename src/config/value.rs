//! The values of the file types that are more than text and numbers.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::size;
use crate::time::Duration;

/// A duration as people write it: `300ms`, `10s`, `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpanVisitor;
        impl Visitor<'_> for SpanVisitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration like `300ms` or `10s`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                if text.trim() == "0" {
                    return Ok(Span(Duration::ZERO));
                }
                humantime_serde::re::humantime::parse_duration(text.trim())
                    .map(Span)
                    .map_err(|_| {
                        E::custom(format!(
                            "expected a duration like `300ms` or `10s`, found {text:?}"
                        ))
                    })
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Span, E> {
                match number {
                    0 => Ok(Span(Duration::ZERO)),
                    _ => Err(E::custom(format!(
                        "expected a duration like `300ms` or `10s`, found the number {number} without a unit"
                    ))),
                }
            }
        }
        deserializer.deserialize_any(SpanVisitor)
    }
}

/// A byte count as people write it: `64KiB`, or a number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size like `64KiB`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                size::parse(text).map(Size).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                usize::try_from(bytes).map(Size).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

/// A key that the design names and this version does not have. Absent is the only value it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Later;

impl<'de> Deserialize<'de> for Later {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LaterVisitor;
        impl Visitor<'_> for LaterVisitor {
            type Value = Later;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("nothing: the key is not supported in this version yet")
            }
        }
        // The reader answers with an error that names the key.
        deserializer.deserialize_unit_struct("Later", LaterVisitor)
    }
}

/// Declares a value that is one of a few words; a word under `later` is known and refused.
macro_rules! choice {
    (
        $(#[$doc:meta])*
        $type:ident {
            $($(#[$word_doc:meta])* $variant:ident = $word:literal,)+
        } later [$($later:literal),*]
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $type {
            $($(#[$word_doc])* $variant,)+
        }

        impl $type {
            /// Every word, in the order of the documentation.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word that stands in a file.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    $($later => Err(format!("`{text}` is not supported in this version yet")),)*
                    _ => Err($crate::config::value::no_such_word(text, Self::WORDS)),
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(super) use choice;

/// The error for a word that is none of `words`.
pub(super) fn no_such_word(text: &str, words: &[&str]) -> String {
    let choices = match words {
        [only] => format!("expected {only}, found {text:?}"),
        _ => format!("expected one of {}, found {text:?}", words.join(", ")),
    };
    match super::read::nearest(text, words) {
        Some(near) => format!("{choices}: did you mean `{near}`?"),
        None => choices,
    }
}

choice! {
    /// How a group chooses among its targets.
    Balance {
        /// Each target with the same chance.
        #[default]
        Random = "random",
    } later ["p2c", "least_connections", "round_robin", "weighted", "hash", "fastest"]
}

choice! {
    /// What carries a session.
    Carry {
        /// A proxy connection of its own.
        #[default]
        Dedicated = "dedicated",
    } later ["mux"]
}

choice! {
    /// What may be sent again.
    Replay {
        /// Bytes of a try that broke before `Started`: at least once.
        #[default]
        Unacknowledged = "unacknowledged",
        /// Only what was refused: at most once.
        RefusedOnly = "refused_only",
    } later []
}

choice! {
    /// What an entry speaks.
    Kind {
        /// Any bytes.
        #[default]
        Tcp = "tcp",
    } later ["http", "udp"]
}

choice! {
    /// The least important messages that are logged.
    Level {
        /// Nothing but what cannot go on.
        Error = "error",
        /// What needs a human soon.
        Warn = "warn",
        /// What happens to clients and nodes.
        #[default]
        Info = "info",
        /// What happens to single sessions.
        Debug = "debug",
        /// What happens to single frames.
        Trace = "trace",
    } later []
}

choice! {
    /// How log lines look.
    LogFormat {
        /// One readable line each.
        #[default]
        Text = "text",
        /// One JSON object each.
        Json = "json",
    } later []
}

choice! {
    /// Where log lines go.
    LogOutput {
        /// Standard output.
        #[default]
        Stdout = "stdout",
        /// Standard error.
        Stderr = "stderr",
        /// Appended to `logging.file`.
        File = "file",
    } later []
}
