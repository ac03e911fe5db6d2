//! Which rule a request falls under.
//!
//! A rule asks things of a request ([`Conditions`]): host, path, method, headers, gRPC. Several rules may fit one; which
//! of them it falls under does not depend on the order in which they were written, unless nothing else tells them apart.
//! It is the one with
//!
//! 1. the higher `priority`;
//! 2. the more specific host: a name, then a longer wildcard, then a shorter one, then any;
//! 3. the more specific path: exact, then with parameters, then open at its end (a prefix, or `{*rest}`); among those
//!    with more literal segments, which for prefixes is the longer one; among those, from the left, with a literal
//!    where the other has a parameter, with a parameter where the other is open, and `{*rest}` before a plain prefix;
//! 4. the more conditions: one for each header, one for methods however many, one for gRPC;
//! 5. the earlier place in the list.
//!
//! So the order is one for all requests. [`Matcher`] sorts the rules by it once, and finds the first that fits by host
//! and path in a tree; [`Query`] says how a path is compared, and which ones are refused.

mod conditions;
mod edges;
mod error;
mod host;
mod index;
mod matcher;
mod nodes;
mod normal;
mod path;
mod query;
mod rank;
mod tree;
mod verdict;

pub use conditions::{Conditions, GrpcPattern, HeaderTest, PathCondition, parse_header_name, parse_method};
pub use error::ConditionError;
pub use host::{HostName, HostPattern};
pub use matcher::{Match, Matcher};
pub use normal::Refused;
pub use path::{PathPattern, Segments};
pub use query::Query;
pub use rank::Advantage;
pub use verdict::Verdict;
