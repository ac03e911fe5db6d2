//! The eight bytes that every connection starts with: magic, version, purpose, two reserved zeros.

/// Length of a preamble in bytes.
pub const LEN: usize = 8;

/// The protocol version this build speaks.
pub const VERSION: u8 = 1;

const MAGIC: [u8; 4] = *b"ADIT";

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// One per client: registration, heartbeats, orders.
    Control = 1,
    /// Carries one session at a time.
    Proxy = 2,
    /// Carries many sessions at once.
    Link = 3,
}

/// Why the first bytes of a connection were not a preamble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreambleError {
    /// Some other protocol: an HTTP request, a port scanner.
    #[error("the connection does not begin with the Adit preamble")]
    Magic,
    /// An Adit from another time.
    #[error("the peer speaks protocol version {0}, this side speaks {VERSION}")]
    Version(u8),
    /// A purpose this build does not know.
    #[error("unknown connection purpose {0}")]
    Purpose(u8),
    /// The reserved bytes are not zero.
    #[error("reserved bytes of the preamble are not zero")]
    Reserved,
}

impl Purpose {
    /// The preamble of a connection for this purpose.
    pub fn preamble(self) -> [u8; LEN] {
        let [a, d, i, t] = MAGIC;
        [a, d, i, t, VERSION, self as u8, 0, 0]
    }

    /// The purpose of this number, in a preamble or a request.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Control, Self::Proxy, Self::Link]
            .into_iter()
            .find(|purpose| *purpose as u8 == number)
    }

    /// Reads a preamble.
    ///
    /// # Errors
    /// [`PreambleError`]: close the connection, it is not one of ours.
    pub fn parse(bytes: &[u8; LEN]) -> Result<Self, PreambleError> {
        if bytes[..4] != MAGIC {
            return Err(PreambleError::Magic);
        }
        if bytes[4] != VERSION {
            return Err(PreambleError::Version(bytes[4]));
        }
        if bytes[6..] != [0, 0] {
            return Err(PreambleError::Reserved);
        }
        Self::from_number(bytes[5]).ok_or(PreambleError::Purpose(bytes[5]))
    }
}
