//! The addresses a forwarder may use, as people list them.
//!
//! A candidate is an address or a name; a name is resolved, again and again, by whoever uses it. [`parse`] reads
//! lists, [`merge`] makes one set of several.

mod list;

use std::{collections::BTreeMap, fmt, net::SocketAddr};

pub use list::{LINES_FORM, ListError, parse, parse_line, split_weight};

/// The most candidates. More are hardly meant, and each costs a probe now and then and a line in every status.
pub const CANDIDATES_MAX: usize = 65_536;

/// The largest weight. Larger ones say no more: a thousand to one is nearly never.
pub const WEIGHT_MAX: u32 = 1000;

/// One thing a forwarder may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it is.
    pub place: Place,
    /// Its share of the sessions beside the others', from 1 to [`WEIGHT_MAX`]. Default 1.
    pub weight: u32,
}

impl Candidate {
    /// What `authority` (`host:port`) names, of weight 1.
    pub fn at(authority: &str) -> Self {
        let place = match authority.parse() {
            Ok(address) => Place::Address(address),
            Err(_) => Place::Name(authority.to_owned()),
        };
        Self { place, weight: 1 }
    }
}

/// Where a candidate is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// An address.
    Address(SocketAddr),
    /// `host:port`: every address that the host resolves to, with the candidate's weight each.
    Name(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Makes one set of several lists, in order of their places. What stands twice counts once, with the weight of the
/// later one.
pub fn merge<'a>(lists: impl IntoIterator<Item = &'a [Candidate]>) -> Vec<Candidate> {
    let mut weights = BTreeMap::new();
    for candidate in lists.into_iter().flatten() {
        weights.insert(&candidate.place, candidate.weight);
    }
    let candidate = |(place, weight): (&Place, u32)| Candidate {
        place: place.clone(),
        weight,
    };
    weights.into_iter().map(candidate).collect()
}
