//! Whom a request is from, as a chain of proxies tells it: what a trusted visitor brings in `X-Forwarded-For`, and whom an
//! entry has to take for the client.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};

/// The proxies that an entry trusts besides visitors.
pub const PROXIES: &str = "10.0.7.0/24";

/// A chain of proxies.
#[derive(Clone, Copy, Debug)]
pub struct Chain {
    /// The lines of `X-Forwarded-For`.
    pub lines: &'static [&'static str],
    /// The first address, read from the right, that is no trusted proxy.
    pub client: &'static str,
    /// The proxies behind it, on the way to the entry.
    pub through: &'static [&'static str],
}

/// Chains that trusted visitors bring.
pub const CHAINS: [Chain; 9] = [
    Chain {
        lines: &["10.9.8.7"],
        client: "10.9.8.7",
        through: &[],
    },
    // What stands before the client may be forged.
    Chain {
        lines: &["198.51.100.9, 203.0.113.7, 10.0.7.1"],
        client: "203.0.113.7",
        through: &["10.0.7.1"],
    },
    Chain {
        lines: &["198.51.100.9", "203.0.113.7, 10.0.7.1"],
        client: "203.0.113.7",
        through: &["10.0.7.1"],
    },
    Chain {
        lines: &["198.51.100.9, 203.0.113.7", "10.0.7.3,10.0.7.1"],
        client: "203.0.113.7",
        through: &["10.0.7.3", "10.0.7.1"],
    },
    Chain {
        lines: &["203.0.113.7:4711, 10.0.7.1:80"],
        client: "203.0.113.7",
        through: &["10.0.7.1"],
    },
    Chain {
        lines: &["198.51.100.9, [2001:db8::7]:443, ::ffff:10.0.7.2"],
        client: "2001:db8::7",
        through: &["10.0.7.2"],
    },
    // What is no address ends the chain at the proxy that wrote it.
    Chain {
        lines: &["203.0.113.7, unknown, 10.0.7.2"],
        client: "10.0.7.2",
        through: &[],
    },
    // Nobody but proxies: the first of them asks.
    Chain {
        lines: &["10.0.7.3, 10.0.7.2"],
        client: "10.0.7.3",
        through: &["10.0.7.2"],
    },
    Chain {
        lines: &["198.51.100.9, 203.0.113.7, , 10.0.7.2,"],
        client: "203.0.113.7",
        through: &["10.0.7.2"],
    },
];

impl Chain {
    /// The chain of that number.
    pub fn of(number: usize) -> Self {
        CHAINS[number % CHAINS.len()]
    }

    /// Its lines, as the visitor sends them.
    pub fn add_to(self, headers: &mut HeaderMap) {
        for line in self.lines {
            headers.append("x-forwarded-for", HeaderValue::from_static(line));
        }
    }

    /// What the upstream gets of a visitor at `from`: one line, from the client on, with nothing that may be forged.
    pub fn line(self, from: &str) -> String {
        let way = [self.client].into_iter().chain(self.through.iter().copied());
        way.chain([from]).collect::<Vec<_>>().join(", ")
    }

    /// `Forwarded` as the upstream gets it of a visitor at `from`: from the client on, who asked for `proto` at `host`.
    pub fn forwarded(self, from: &str, proto: &str, host: &str) -> String {
        let client = match self.client() {
            IpAddr::V4(client) => client.to_string(),
            IpAddr::V6(client) => format!("\"[{client}]\""),
        };
        let through = self.through.iter().copied().chain([from]);
        let through: String = through.map(|proxy| format!(", for={proxy}")).collect();
        format!("for={client};proto={proto};host=\"{host}\"{through}")
    }

    /// The client's address.
    pub fn client(self) -> IpAddr {
        self.client.parse().expect("it is an address")
    }
}
