//! How many connections to keep and to order. Pure functions of counts.

use super::{Mode, Options};
use crate::probe::mutant;

/// Orders that may be under way at once for one client. More lets a burst open needless connections; fewer
/// makes the burst wait for the next round.
pub const ORDERS_MAX: usize = 64;

/// What the kind of connection allows, whatever the options say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Orders that one event may cause for one target. More turns a burst into a burst of dials.
    pub per_event: usize,
    /// Orders under way at once for one target. More crowds a target that comes up slowly; fewer limits what a pool
    /// delivers to so many per refill time.
    pub outstanding: usize,
    /// Orders per second for one target beyond one for each connection that was taken; `None` is no limit. More
    /// lets all pools storm a target that has just come back.
    pub per_second: Option<u32>,
    /// A connection that was given never comes back, and does not count any more.
    pub single_use: bool,
}

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

/// How many to keep ready when `outstanding` refills are under way on average: rate times refill time.
///
/// `ceil(a + 3 * sqrt(a)) + 1` between `min` and `max`; `min` where nobody comes. Refills under way are
/// Poisson(a), whatever the spread of the refill time (Palm), so three deviations and one more miss 0.4 % at most.
pub fn base_stock(options: &Options, outstanding: f64) -> usize {
    let dynamic = options.mode == Mode::Dynamic && outstanding > 0.0;
    let spare = if dynamic {
        // Saturates where the figure is absurd.
        ((outstanding + 3.0 * outstanding.sqrt()).ceil() as usize).saturating_add(1)
    } else {
        0
    };
    if dynamic && spare < options.min && mutant!("few-visitors-shrink-the-stock") {
        return spare.min(options.max);
    }
    spare.max(options.min).min(options.max)
}

/// How many more to order now, so that every waiter is served and `base` stay ready.
pub fn to_order(caps: &Caps, max: usize, base: usize, stock: Stock) -> usize {
    let busy = if caps.single_use { 0 } else { stock.busy };
    let base = match busy > 0 && mutant!("busy-connections-count-as-ready") {
        false => base,
        true => base.saturating_sub(busy),
    };
    let wanted = (stock.waiting + base).saturating_sub(stock.idle + stock.ordered);
    let held_back = busy > 0 && stock.idle + busy + stock.ordered + wanted > max;
    let busy = if held_back && mutant!("busy-connections-beyond-the-most") {
        0
    } else {
        busy
    };
    let room = max.saturating_sub(stock.idle + busy + stock.ordered);
    wanted
        .min(room)
        .min(caps.per_event)
        .min(caps.outstanding.saturating_sub(stock.ordered))
}

/// How many idle ones to retire, when never fewer than `low_water` were idle lately: half of what is beyond `base`.
pub fn to_retire(base: usize, low_water: usize) -> usize {
    if mutant!("surplus-never-retired") {
        return 0;
    }
    low_water.saturating_sub(base).div_ceil(2)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const CLIENT: Caps = Caps {
        per_event: ORDERS_MAX,
        outstanding: ORDERS_MAX,
        per_second: None,
        single_use: false,
    };

    #[test]
    fn orders_serve_waiters_and_the_spare_within_the_limits() {
        let check = |idle, busy, ordered, waiting, expected| {
            let stock = Stock {
                idle,
                busy,
                ordered,
                waiting,
            };
            assert_eq!(to_order(&CLIENT, 100, 4, stock), expected, "{stock:?}");
        };
        check(0, 0, 0, 0, 4);
        check(4, 0, 0, 0, 0);
        check(0, 4, 0, 1, 5);
        check(0, 4, 5, 1, 0);
        check(0, 98, 0, 9, 2);
        check(0, 0, 60, 90, 4);
    }

    #[test]
    fn an_event_orders_few_of_what_is_used_once_and_what_was_given_takes_no_room() {
        let caps = Caps {
            per_event: 3,
            outstanding: 8,
            per_second: Some(50),
            single_use: true,
        };
        let check = |idle, busy, ordered, expected| {
            let stock = Stock {
                idle,
                busy,
                ordered,
                waiting: 0,
            };
            assert_eq!(to_order(&caps, 20, 10, stock), expected, "{stock:?}");
        };
        check(0, 0, 0, 3);
        check(8, 0, 0, 2);
        check(0, 0, 7, 1);
        check(0, 0, 8, 0);
        check(9, 20, 0, 1);
    }

    #[test]
    fn surplus_halves() {
        assert_eq!(to_retire(4, 4), 0);
        assert_eq!(to_retire(4, 5), 1);
        assert_eq!(to_retire(4, 104), 50);
    }

    fn dynamic(min: usize, max: usize) -> Options {
        Options {
            mode: Mode::Dynamic,
            min,
            max,
            ..Options::default()
        }
    }

    #[test]
    fn the_stock_follows_demand_between_its_bounds() {
        let check = |outstanding, expected| assert_eq!(base_stock(&dynamic(2, 64), outstanding), expected);
        check(0.0, 2);
        check(0.01, 2);
        check(0.5, 4);
        check(1.0, 5);
        check(10.0, 21);
        check(1000.0, 64);
        check(f64::INFINITY, 64);
        let fixed = Options {
            mode: Mode::Fixed,
            ..dynamic(2, 64)
        };
        assert_eq!(base_stock(&fixed, 10.0), 2);
    }

    /// Which share of visitors finds no connection, when each refill takes one second and `outstanding` visitors
    /// come per second, at random.
    fn misses(outstanding: f64, base: usize) -> f64 {
        const VISITORS: u32 = 200_000;
        let unlimited = Caps {
            per_event: usize::MAX,
            outstanding: usize::MAX,
            ..CLIENT
        };
        let mut rng = ChaCha8Rng::seed_from_u64(42);
        let mut arrivals = VecDeque::new();
        let mut stock = Stock {
            idle: base,
            ..Stock::default()
        };
        let (mut now, mut missed) = (0.0, 0);
        for _ in 0..VISITORS {
            now += -(1.0 - rng.random::<f64>()).ln() / outstanding;
            while arrivals.front().is_some_and(|at| *at <= now) {
                arrivals.pop_front();
                stock.ordered -= 1;
                if stock.waiting > 0 {
                    stock.waiting -= 1;
                } else {
                    stock.idle += 1;
                }
            }
            if stock.idle > 0 {
                stock.idle -= 1;
            } else {
                missed += 1;
                stock.waiting += 1;
            }
            let count = to_order(&unlimited, usize::MAX, base, stock);
            stock.ordered += count;
            arrivals.extend(std::iter::repeat_n(now + 1.0, count));
        }
        f64::from(missed) / f64::from(VISITORS)
    }

    #[test]
    fn three_deviations_and_one_more_hardly_miss_and_half_as_much_again_often_does() {
        println!("    a |  S | misses | 1.5 a | misses");
        let mut half_again = Vec::new();
        for a in [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0] {
            let base = base_stock(&dynamic(0, 1000), a);
            let naive = (1.5 * a).ceil() as usize;
            let (missed, naive_missed) = (misses(a, base), misses(a, naive));
            println!(
                "{a:5} | {base:2} | {:5.2}% | {naive:5} | {:5.2}%",
                missed * 100.0,
                naive_missed * 100.0
            );
            assert!(missed <= 0.0045, "{missed} of the visitors miss at a = {a}");
            half_again.push((a, naive_missed));
        }
        let missed_at = |at: f64| half_again.iter().find(|(a, _)| *a == at).expect("it was tried").1;
        assert!((0.37..0.41).contains(&missed_at(0.5)));
        assert!((0.12..0.15).contains(&missed_at(5.0)));
    }
}
