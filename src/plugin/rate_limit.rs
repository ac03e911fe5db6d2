//! `rate_limit`: how often visitors may ask, all together, by address or by a header.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::PoisonError,
};

use http::{HeaderName, StatusCode, request};

use super::{
    Decision, Memo, Plugin, Problem, Refusal, Visit,
    bucket::{Buckets, Terms},
    secret::{Digest, Key},
};
use crate::time::Duration;

/// The highest rate and burst. Higher ones limit nothing that one machine can do.
pub(super) const RATE_MAX: u32 = 1_000_000;
pub(super) const BURST_MAX: u32 = 1_000_000;

const NAME: &str = "rate_limit";

#[allow(
    clippy::disallowed_types,
    reason = "one short lock for each plugin: requests of one rule are served by many threads"
)]
type Lock<T> = std::sync::Mutex<T>;

/// How often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// So many requests in the long run …
    pub rate: u32,
    /// … in this time. Default a second.
    pub per: Per,
    /// So many at once. Default the rate.
    pub burst: Option<u32>,
    /// Whose requests are counted together. Default all of the rule.
    pub by: By,
}

/// The time of a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// A second.
    #[default]
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

/// Whose requests are counted together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// All that come to the rule.
    #[default]
    Rule,
    /// Those of one address; of IPv6 those of one /64, which is what one household has.
    Address,
    /// Those with the same value of a header; those without it by their address. A visitor may make values up, so
    /// this limits only where something else refuses those that are.
    Header(String),
}

impl Per {
    fn time(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
        })
    }
}

/// Whose bucket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    All,
    Address(IpAddr),
    /// A digest: a value may be long, and a secret.
    Value(Digest),
}

/// What distinguishes them.
enum Sort {
    Rule,
    Address,
    Header(HeaderName),
}

/// Refuses requests beyond a rate with 429, and says when to come again.
pub(super) struct RateLimit {
    sort: Sort,
    key: Key,
    buckets: Lock<Buckets<Whose>>,
}

impl RateLimit {
    pub fn new(options: &Options, key: &Key) -> Result<Self, Problem> {
        let Options { rate, per, burst, by } = options;
        let burst = burst.unwrap_or(*rate);
        if !(1..=RATE_MAX).contains(rate) {
            return Err(Problem::Rate(*rate));
        }
        if !(1..=BURST_MAX).contains(&burst) {
            return Err(Problem::Burst(burst));
        }
        let sort = match by {
            By::Rule => Sort::Rule,
            By::Address => Sort::Address,
            By::Header(name) => {
                let problem = |_| Problem::HeaderName(name.clone());
                Sort::Header(HeaderName::try_from(name).map_err(problem)?)
            }
        };
        // Rounded up, so that there are never more than promised.
        let nanos = per.time().as_nanos().div_ceil(u128::from(*rate));
        let interval = Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX));
        Ok(Self {
            sort,
            key: key.clone(),
            buckets: Lock::new(Buckets::new(Terms { interval, burst })),
        })
    }

    fn whose(&self, request: &request::Parts, peer: IpAddr) -> Whose {
        match &self.sort {
            Sort::Rule => Whose::All,
            Sort::Address => Whose::Address(household(peer)),
            Sort::Header(name) => match request.headers.get(name) {
                Some(value) => Whose::Value(self.key.digest("rate_limit", &[value.as_bytes()])),
                None => Whose::Address(household(peer)),
            },
        }
    }
}

impl Plugin for RateLimit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn request(&self, request: &mut request::Parts, visit: &Visit, _: &mut Memo) -> Decision {
        let whose = self.whose(request, visit.peer);
        let taken = {
            let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
            buckets.take(whose, visit.now)
        };
        let Err(wait) = taken else {
            return Decision::Pass;
        };
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Refusal::new(NAME, StatusCode::TOO_MANY_REQUESTS, "too many requests")
            .after(seconds)
            .into()
    }
}

/// What stands for an address: of IPv6 the first half, because whoever has one address has all of that.
fn household(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::{request, visit};

    fn limit(rate: u32, per: Per, burst: Option<u32>, by: By) -> RateLimit {
        let options = Options { rate, per, burst, by };
        RateLimit::new(&options, &Key::new([5; 32])).unwrap()
    }

    /// How long one has to wait, in seconds; `None` for whoever passes.
    fn ask(plugin: &RateLimit, visit: &Visit, headers: &[(&str, &str)]) -> Option<String> {
        let mut asked = request("GET /", headers);
        match plugin.request(&mut asked, visit, &mut Memo::default()) {
            Decision::Pass => None,
            Decision::Refuse(refusal) => {
                assert_eq!((refusal.plugin, refusal.status.as_u16()), ("rate_limit", 429));
                Some(refusal.headers["retry-after"].to_str().unwrap().to_owned())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rate_holds_over_time() {
        let check = |rate, per, burst, wait: &str, long: u64, passed: usize| {
            let plugin = limit(rate, per, burst, By::Rule);
            let mut visit = visit();
            let burst = burst.unwrap_or(rate);
            for n in 0..burst {
                assert_eq!(ask(&plugin, &visit, &[]), None, "{n} of {burst}");
            }
            assert_eq!(ask(&plugin, &visit, &[]).as_deref(), Some(wait));
            visit.now += Duration::from_secs(long);
            let passes = (0..2 * burst).filter(|_| ask(&plugin, &visit, &[]).is_none());
            assert_eq!(passes.count(), passed, "after {long} s");
        };
        check(10, Per::Second, None, "1", 1, 10);
        check(10, Per::Second, Some(100), "1", 3, 30);
        check(6, Per::Minute, Some(1), "10", 10, 1);
        check(6, Per::Minute, Some(3), "10", 25, 2);
        check(7, Per::Minute, Some(1), "9", 9, 1);
        check(1, Per::Hour, None, "3600", 3599, 0);
        check(1, Per::Hour, Some(2), "3600", 7200, 2);
    }

    #[test]
    fn addresses_are_counted_by_household() {
        let check = |one: &str, other: &str, together: bool| {
            let plugin = limit(1, Per::Second, None, By::Address);
            let from = |ip: &str| Visit {
                peer: ip.parse().unwrap(),
                ..visit()
            };
            let (one, mut other) = (from(one), from(other));
            other.now = one.now;
            assert_eq!(ask(&plugin, &one, &[]), None);
            assert_eq!(ask(&plugin, &other, &[]).is_some(), together);
        };
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("192.0.2.1", "::ffff:192.0.2.1", true);
        check("2001:db8::1", "2001:db8::ffff:0:0:1", true);
        check("2001:db8::1", "2001:db8:0:1::1", false);
    }

    #[test]
    fn values_of_a_header_are_counted_apart() {
        let plugin = limit(1, Per::Second, None, By::Header("X-Key".to_owned()));
        let visit = visit();
        let other = Visit {
            peer: "192.0.2.99".parse().unwrap(),
            ..visit
        };
        let long = "a".repeat(10_000);
        for value in ["a", "b", "", &long] {
            assert_eq!(ask(&plugin, &visit, &[("x-key", value)]), None);
            assert!(ask(&plugin, &other, &[("x-key", value)]).is_some(), "{value}");
        }
        assert_eq!(ask(&plugin, &visit, &[]), None);
        assert!(ask(&plugin, &visit, &[]).is_some());
        assert_eq!(ask(&plugin, &other, &[]), None, "by address without it");
    }

    #[test]
    fn mistakes_are_found_before_anybody_comes() {
        let check = |rate, burst, by, expected| {
            let per = Per::Second;
            let found = RateLimit::new(&Options { rate, per, burst, by }, &Key::new([0; 32]));
            assert_eq!(found.err(), Some(expected));
        };
        check(0, None, By::Rule, Problem::Rate(0));
        check(1_000_001, None, By::Rule, Problem::Rate(1_000_001));
        check(1, Some(0), By::Rule, Problem::Burst(0));
        check(1, Some(u32::MAX), By::Rule, Problem::Burst(u32::MAX));
        let header = |name: &str| By::Header(name.to_owned());
        check(1, None, header("a b"), Problem::HeaderName("a b".to_owned()));
    }
}
