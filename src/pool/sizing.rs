//! How many connections to order. Pure functions of counts.

use super::Options;
use crate::probe::mutant;

/// Orders that may be under way at once for one client. More lets a burst open needless connections; fewer
/// makes the burst wait for the next round.
pub const ORDERS_MAX: usize = 64;

/// What a target's shelf holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// Parked, ready.
    pub idle: usize,
    /// Carrying a session.
    pub busy: usize,
    /// Ordered, not here yet.
    pub ordered: usize,
    /// Takers waiting.
    pub waiting: usize,
}

/// How many more to order now, so that every waiter is served and `min` stay ready.
pub fn to_order(options: &Options, stock: Stock) -> usize {
    let wanted = (stock.waiting + options.min).saturating_sub(stock.idle + stock.ordered);
    let room = options
        .max
        .saturating_sub(stock.idle + stock.busy + stock.ordered);
    wanted.min(room).min(ORDERS_MAX.saturating_sub(stock.ordered))
}

/// How many idle ones to retire, when never fewer than `low_water` were idle lately: half the surplus.
pub fn to_retire(options: &Options, low_water: usize) -> usize {
    if mutant!("surplus-never-retired") {
        return 0;
    }
    low_water.saturating_sub(options.min).div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_serve_waiters_and_the_spare_within_the_limits() {
        let options = Options { min: 4, max: 100 };
        let check = |idle, busy, ordered, waiting, expected| {
            assert_eq!(
                to_order(
                    &options,
                    Stock {
                        idle,
                        busy,
                        ordered,
                        waiting
                    }
                ),
                expected
            );
        };
        check(0, 0, 0, 0, 4);
        check(4, 0, 0, 0, 0);
        check(0, 4, 0, 1, 5);
        check(0, 4, 5, 1, 0);
        check(0, 98, 0, 9, 2);
        check(0, 0, 60, 90, 4);
    }

    #[test]
    fn surplus_halves() {
        let options = Options { min: 4, max: 100 };
        assert_eq!(to_retire(&options, 4), 0);
        assert_eq!(to_retire(&options, 5), 1);
        assert_eq!(to_retire(&options, 104), 50);
    }
}
