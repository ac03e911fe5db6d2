//! Who lives in the world, as plans and traces name them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One host. Written `server`, `client-1`, `upstream-1` (the service behind `client-1`), `visitor-2`,
/// `stranger-1`, `second-server`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Who {
    /// The tunnel's public end.
    Server,
    /// A tunnel client, counted from 0.
    Client(usize),
    /// The service behind the client of the same number.
    Upstream(usize),
    /// A host of visitors.
    Visitor(usize),
    /// A host that means no good.
    Stranger(usize),
    /// Another public end, with which all clients register as well.
    SecondServer,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, n) = match self {
            Self::Server => return f.pad("server"),
            Self::SecondServer => return f.pad("second-server"),
            Self::Client(n) => ("client", n),
            Self::Upstream(n) => ("upstream", n),
            Self::Visitor(n) => ("visitor", n),
            Self::Stranger(n) => ("stranger", n),
        };
        f.pad(&format!("{kind}-{}", n + 1))
    }
}

impl From<Who> for String {
    fn from(who: Who) -> Self {
        who.to_string()
    }
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "server" => return Ok(Self::Server),
            "second-server" => return Ok(Self::SecondServer),
            _ => {}
        }
        let unknown = || {
            format!(
                "{text:?} is no host: expected server, second-server, client-1, upstream-1, visitor-1 or stranger-1"
            )
        };
        let (kind, n) = text.rsplit_once('-').ok_or_else(unknown)?;
        let n = n
            .parse::<usize>()
            .ok()
            .and_then(|n| n.checked_sub(1))
            .ok_or_else(unknown)?;
        match kind {
            "client" => Ok(Self::Client(n)),
            "upstream" => Ok(Self::Upstream(n)),
            "visitor" => Ok(Self::Visitor(n)),
            "stranger" => Ok(Self::Stranger(n)),
            _ => Err(unknown()),
        }
    }
}

impl TryFrom<String> for Who {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for who in [
            Who::Server,
            Who::SecondServer,
            Who::Client(0),
            Who::Upstream(3),
            Who::Visitor(11),
            Who::Stranger(1),
        ] {
            assert_eq!(who.to_string().parse(), Ok(who));
        }
        for wrong in ["", "serve", "client", "client-0", "client-x", "queen-1"] {
            assert!(wrong.parse::<Who>().is_err(), "{wrong}");
        }
    }
}
