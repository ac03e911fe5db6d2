//! The tickets of one registration that are out. Pure: it is told the time.

use std::collections::BTreeMap;

use crate::{
    id::ProxyConnId,
    probe::audit,
    time::{Duration, Instant},
    wire::preamble::Purpose,
};

/// How long a ticket may be used.
pub const TICKET_TIMEOUT: Duration = Duration::from_secs(5);

/// Tickets for one purpose that may be out. Counted apart, so that a pool that wants many connections keeps no data
/// link waiting.
const TICKETS_MAX: usize = 64;

/// Tickets that were given out and not yet redeemed.
#[derive(Debug, Default)]
pub struct Tickets {
    out: BTreeMap<ProxyConnId, Ticket>,
}

#[derive(Clone, Copy, Debug)]
struct Ticket {
    purpose: Purpose,
    expires: Instant,
}

impl Tickets {
    /// Gives out up to `count` tickets for `purpose`; `fresh` makes each.
    pub fn issue(
        &mut self,
        now: Instant,
        purpose: Purpose,
        count: usize,
        mut fresh: impl FnMut() -> ProxyConnId,
    ) -> Vec<ProxyConnId> {
        self.out.retain(|_, ticket| ticket.expires > now);
        let out = self.out.values().filter(|ticket| ticket.purpose == purpose);
        let room = TICKETS_MAX.saturating_sub(out.count());
        let tickets: Vec<_> = (0..count.min(room)).map(|_| fresh()).collect();
        let expires = now + TICKET_TIMEOUT;
        self.out.extend(
            tickets
                .iter()
                .map(|ticket| (*ticket, Ticket { purpose, expires })),
        );
        audit!(
            tickets.iter().all(|ticket| self.is_valid(now, purpose, *ticket)),
            "a ticket that is given out may be used"
        );
        self.check();
        tickets
    }

    /// Those that are out.
    pub fn out(&self) -> impl Iterator<Item = ProxyConnId> {
        self.out.keys().copied()
    }

    fn check(&self) {
        let count = |purpose| {
            let out = self.out.values().filter(|ticket| ticket.purpose == purpose);
            out.count()
        };
        audit!(
            count(Purpose::Proxy) <= TICKETS_MAX && count(Purpose::Link) <= TICKETS_MAX,
            "no more tickets are out for a purpose than may be"
        );
    }

    /// Whether a connection for `purpose` may redeem this ticket now.
    pub fn is_valid(&self, now: Instant, purpose: Purpose, ticket: ProxyConnId) -> bool {
        let ticket = self.out.get(&ticket);
        ticket.is_some_and(|ticket| ticket.purpose == purpose && ticket.expires > now)
    }

    /// Takes a ticket back; says what it was for, if it was out.
    pub fn remove(&mut self, ticket: ProxyConnId) -> Option<Purpose> {
        self.out.remove(&ticket).map(|ticket| ticket.purpose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    /// Tickets that are all different.
    fn fresh() -> impl FnMut() -> ProxyConnId {
        let mut last = 0u128;
        move || {
            last += 1;
            ProxyConnId::new(last.to_le_bytes())
        }
    }

    #[test]
    fn a_ticket_is_for_one_purpose_and_for_a_while() {
        let now = time::now();
        let (mut tickets, mut fresh) = (Tickets::default(), fresh());
        let link = tickets.issue(now, Purpose::Link, 1, &mut fresh)[0];
        let proxy = tickets.issue(now, Purpose::Proxy, 1, &mut fresh)[0];
        assert!(tickets.is_valid(now, Purpose::Link, link));
        assert!(!tickets.is_valid(now, Purpose::Proxy, link));
        assert!(!tickets.is_valid(now, Purpose::Link, proxy));
        assert!(!tickets.is_valid(now + TICKET_TIMEOUT, Purpose::Link, link));
        assert_eq!(tickets.remove(link), Some(Purpose::Link));
        assert_eq!(tickets.remove(link), None, "it was out once");
        assert!(!tickets.is_valid(now, Purpose::Link, link));
        assert_eq!(tickets.remove(proxy), Some(Purpose::Proxy));
    }

    #[test]
    fn the_limit_is_each_purposes_own_and_what_expired_makes_room() {
        let now = time::now();
        let (mut tickets, mut fresh) = (Tickets::default(), fresh());
        let mut issue = |now, purpose, count| tickets.issue(now, purpose, count, &mut fresh).len();
        assert_eq!(issue(now, Purpose::Proxy, 100), TICKETS_MAX);
        assert_eq!(issue(now, Purpose::Proxy, 1), 0);
        assert_eq!(issue(now, Purpose::Link, 4), 4);
        assert_eq!(issue(now + TICKET_TIMEOUT, Purpose::Proxy, 100), TICKETS_MAX);
    }
}
