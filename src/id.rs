//! Every identity in Adit, as a type of its own: one cannot stand where another belongs.

use std::{fmt, sync::Arc};

/// Why a name was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to {NAME_LEN_MAX} letters, digits, '.', '_' or '-', not {0:?}")]
pub struct NameError(pub String);

/// The longest name. Larger, and the names of 64 upstreams no longer fit one `Register`; smaller forbids
/// ordinary host names.
pub const NAME_LEN_MAX: usize = 64;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks and takes a name.
            ///
            /// # Errors
            /// [`NameError`] when it is empty, too long, or has a character outside the set.
            pub fn new(name: &str) -> Result<Self, NameError> {
                let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
                if name.is_empty() || name.len() > NAME_LEN_MAX || !name.chars().all(legal) {
                    return Err(NameError(name.chars().take(NAME_LEN_MAX).collect()));
                }
                Ok(Self(name.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self.0)
            }
        }
    };
}

name!(
    /// Names one client; at most one live client holds it.
    ClientId
);
name!(
    /// Names a set of interchangeable targets.
    GroupName
);
name!(
    /// Names one service behind a client.
    UpstreamName
);
name!(
    /// Names a listening address where visitors come in.
    EntryName
);

impl GroupName {
    /// The group of the addresses of `upstream`. No other group can be called so: the slash is in no name that is
    /// given.
    pub fn of_upstream(upstream: &UpstreamName) -> Self {
        Self(format!("upstream/{upstream}").into())
    }
}

/// One registration of one client: fences off what an earlier one left behind.
///
/// `boot` is random per server process, `counter` grows by one with each registration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Epoch {
    boot: u64,
    counter: u64,
}

impl Epoch {
    /// The registration numbered `counter` of the server process `boot`.
    pub fn new(boot: u64, counter: u64) -> Self {
        Self { boot, counter }
    }

    /// The server process that gave this epoch.
    pub fn boot(self) -> u64 {
        self.boot
    }

    /// The number of the registration within its server process.
    pub fn counter(self) -> u64 {
        self.counter
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.{}", self.boot >> 32, self.counter)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $type:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $type($inner);

        impl $type {
            /// Wraps a number.
            pub fn new(number: $inner) -> Self {
                Self(number)
            }

            /// The bare number, for the wire and for logs.
            pub fn value(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number!(
    /// One proxied connection, from accept to last byte; unique within a server process.
    SessionId(u64)
);
number!(
    /// Which session of its proxy connection a frame belongs to: 1, 2, 3 and so on. 0 is the connection itself.
    Ordinal(u32)
);
number!(
    /// A stream of a data link: odd, growing, never used again.
    StreamId(u32)
);
number!(
    /// A proxy connection as the server's own pool knows it; never on the wire.
    ConnId(u64)
);
number!(
    /// A data link as the server knows it, unique within a server process; never on the wire.
    LinkId(u64)
);

impl Ordinal {
    /// The ordinal of frames that concern the connection, not a session.
    pub const CONNECTION: Self = Self(0);

    /// The ordinal after this one, or `None` when the connection has served its last.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

/// A 128-bit, single-use ticket for one proxy connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxyConnId([u8; 16]);

impl ProxyConnId {
    /// Wraps 16 random bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, for the wire.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ProxyConnId {
    /// Shows the first 4 of 16 bytes: enough to find it in a log, too little to use it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for ProxyConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyConnId({self})")
    }
}
