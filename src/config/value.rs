//! The values of the file types that are more than text and numbers.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::size;
use crate::time::Duration;

fn span(text: &str) -> Option<Duration> {
    match text.trim() {
        "0" => Some(Duration::ZERO),
        text => humantime_serde::re::humantime::parse_duration(text).ok(),
    }
}

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
                span(text).map(Span).ok_or_else(|| {
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

/// Declares a value that is written as text or as a number, and read by one function.
macro_rules! plain {
    ($(#[$doc:meta])* $type:ident($inner:ty) = $expected:literal, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $type(pub $inner);

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let reader = Plain { expected: $expected, parse: $parse };
                deserializer.deserialize_any(reader).map(Self)
            }
        }
    };
}

struct Plain<T> {
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T> Plain<T> {
    fn read<E: de::Error>(&self, text: &str, found: &str) -> Result<T, E> {
        (self.parse)(text.trim())
            .ok_or_else(|| E::custom(format!("expected {}, found {found}", self.expected)))
    }
}

impl<T> Visitor<'_> for Plain<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        self.read(text, &format!("{text:?}"))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.read(&number.to_string(), &format!("the number {number}"))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        self.read(&number.to_string(), &format!("the number {number}"))
    }
}

/// The value that `word` means, or what `read` makes of any other text.
fn word_or<T>(text: &str, word: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if text == word {
        Some(None)
    } else {
        read(text).map(Some)
    }
}

fn at_least_one(text: &str) -> Option<u32> {
    text.parse().ok().filter(|count| *count > 0)
}

plain! {
    /// A share: `20%` or `0.2`.
    Share(f64) = "a share from `0%` to `100%`, like `20%` or `0.2`", |text| {
        let share = match text.strip_suffix('%') {
            Some(percent) => percent.trim_end().parse::<f64>().ok()? / 100.0,
            None => text.parse().ok()?,
        };
        (0.0..=1.0).contains(&share).then_some(share)
    }
}

plain! {
    /// A score, from 0 to 100.
    Points(f64) = "a number from 0 to 100", |text| {
        text.parse().ok().filter(|points| (0.0..=100.0).contains(points))
    }
}

plain! {
    /// `probing.probe_candidate_count`: `None` is `auto`.
    CandidateCount(Option<u32>) = "a whole number of at least 1, or `auto`", |text| {
        word_or(text, "auto", at_least_one)
    }
}

plain! {
    /// `selector.active_set_size`: `None` is `all`.
    SetSize(Option<u32>) = "a whole number of at least 1, or `all`", |text| {
        word_or(text, "all", at_least_one)
    }
}

plain! {
    /// `pools.max_age`: `None` is `never`.
    Age(Option<Duration>) = "a duration like `90s`, or `never`", |text| {
        word_or(text, "never", span)
    }
}

plain! {
    /// `scoring.reference`: `None` is `median`.
    Reference(Option<Duration>) = "a duration like `30ms`, or `median`", |text| {
        word_or(text, "median", span)
    }
}

/// A word, or several of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OneOrMany(pub Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.to_owned()]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = seq.next_element()? {
                    words.push(word);
                }
                Ok(OneOrMany(words))
            }
        }
        deserializer.deserialize_any(Words)
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
    /// How a session chooses among the active targets of a group.
    Balance {
        /// Each with the same chance, by weight.
        #[default]
        Random = "random",
        /// One after the other.
        RoundRobin = "round_robin",
        /// One after the other, each as often as its weight says.
        Weighted = "weighted",
        /// The one with the fewest sessions for its weight.
        LeastConnections = "least_connections",
        /// Of two drawn, the one with fewer sessions for its weight.
        PowerOfTwo = "p2c",
        /// Of two drawn, the one with the lower latency times sessions.
        PeakEwma = "peak_ewma",
        /// The same one for the same visitor's address.
        ConsistentHash = "consistent_hash",
    } later []
}

choice! {
    /// What a probe is.
    ProbeKind {
        /// A connection that is accepted.
        #[default]
        Tcp = "tcp",
        /// A request that is answered.
        Http = "http",
        /// None.
        Off = "off",
    } later []
}

choice! {
    /// How the number of ready connections is found.
    PoolMode {
        /// It is `min`.
        #[default]
        Fixed = "fixed",
        /// It follows the need, between `min` and `max`.
        Dynamic = "dynamic",
    } later []
}

choice! {
    /// What carries a session.
    Carry {
        /// A proxy connection of its own.
        #[default]
        Dedicated = "dedicated",
        /// A stream of a data link, which many sessions share.
        Mux = "mux",
    } later []
}

choice! {
    /// How many entries must be served for a server to be ready.
    Ready {
        /// All of them.
        #[default]
        All = "all",
        /// One of them.
        Any = "any",
    } later []
}

choice! {
    /// What a session does when no proxy connection is ready.
    Overflow {
        /// It takes a stream of a data link.
        #[default]
        Mux = "mux",
        /// It waits for a proxy connection.
        Wait = "wait",
    } later []
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
    /// What the upstreams of a rule speak.
    UpstreamProtocol {
        /// HTTP/2 for gRPC, HTTP/1.1 for everything else.
        #[default]
        Auto = "auto",
        /// HTTP/1.1.
        Http1 = "h1",
        /// HTTP/2 without TLS.
        Http2 = "h2c",
    } later []
}

choice! {
    /// The time of a rate.
    Per {
        /// A second.
        #[default]
        Second = "second",
        /// A minute.
        Minute = "minute",
        /// An hour.
        Hour = "hour",
    } later []
}

choice! {
    /// What an entry speaks.
    Kind {
        /// Any bytes.
        #[default]
        Tcp = "tcp",
        /// HTTP/1.1 and HTTP/2.
        Http = "http",
    } later ["udp"]
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
    /// How lines of an access log look.
    AccessFormat {
        /// One JSON object each.
        #[default]
        Json = "json",
        /// The combined format of Apache and nginx.
        Combined = "combined",
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

choice! {
    /// When a new log file begins.
    Rotation {
        /// Never: one file that grows, or that others rotate.
        #[default]
        Never = "never",
        /// Each hour, UTC.
        Hourly = "hourly",
        /// Each day, UTC.
        Daily = "daily",
    } later []
}
