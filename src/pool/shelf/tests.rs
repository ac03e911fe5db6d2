//! What a shelf does, one rule at a time.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{super::Mode, *};
use crate::{
    id::Epoch,
    pool::{address::Raw, conn::Conn, park::Park},
    time,
};

const EPOCH: fn() -> Epoch = || Epoch::new(1, 1);

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(1)
}

fn drain<K: Ord + Clone>(shelf: &mut Shelf<K>) -> Vec<Action<K>> {
    std::iter::from_fn(|| shelf.poll_action()).collect()
}

fn filled(min: usize) -> (Shelf<Epoch>, Instant) {
    let now = time::now();
    let options = Options {
        min,
        max: 100,
        ..Options::default()
    };
    let mut shelf = Shelf::new(options, Conn::CAPS);
    shelf.add(now, EPOCH());
    let ordered: Vec<_> = (min > 0)
        .then_some(Action::Order(EPOCH(), min))
        .into_iter()
        .collect();
    assert_eq!(drain(&mut shelf), ordered);
    for n in 0..min {
        assert!(shelf.handle_arrived(now, &EPOCH(), ConnId::new(n as u64), &mut rng()));
    }
    assert_eq!(drain(&mut shelf), []);
    (shelf, now)
}

#[test]
fn the_warmest_is_taken_and_the_spare_ordered_again() {
    let (mut shelf, now) = filled(2);
    assert!(shelf.handle_take(now, &EPOCH(), 7, Some(now)));
    assert_eq!(
        drain(&mut shelf),
        [Action::Give(7, ConnId::new(1)), Action::Order(EPOCH(), 1)]
    );
}

#[test]
fn a_miss_waits_for_an_arrival_until_its_deadline() {
    let (mut shelf, now) = filled(0);
    let deadline = now + Duration::from_secs(1);
    assert!(!shelf.handle_take(now, &EPOCH(), 1, Some(deadline)));
    assert!(!shelf.handle_take(now, &EPOCH(), 2, Some(deadline)));
    assert_eq!(
        drain(&mut shelf),
        [Action::Order(EPOCH(), 1), Action::Order(EPOCH(), 1)]
    );
    shelf.handle_arrived(now, &EPOCH(), ConnId::new(5), &mut rng());
    assert_eq!(drain(&mut shelf), [Action::Give(1, ConnId::new(5))]);
    assert_eq!(shelf.poll_timeout(), Some(deadline));
    shelf.handle_timeout(deadline);
    assert_eq!(drain(&mut shelf), [Action::Refuse(2)]);
}

#[test]
fn refilling_goes_on_after_failures() {
    let (mut shelf, mut now) = filled(0);
    shelf.handle_take(now, &EPOCH(), 1, Some(now + Duration::from_secs(60)));
    drain(&mut shelf);
    for _ in 0..8 {
        shelf.handle_order_failed(now, &EPOCH(), 1);
        assert_eq!(drain(&mut shelf), [], "no order right after a failure");
        now = shelf.poll_timeout().expect("a retry is due");
        shelf.handle_timeout(now);
        assert_eq!(drain(&mut shelf), [Action::Order(EPOCH(), 1)]);
    }
}

#[test]
fn a_removed_target_keeps_nothing() {
    let (mut shelf, now) = filled(1);
    shelf.handle_take(now, &EPOCH(), 1, Some(now));
    drain(&mut shelf);
    shelf.remove(&EPOCH());
    shelf.handle_parked(now, ConnId::new(0), &mut rng());
    assert_eq!(drain(&mut shelf), [Action::Retire(ConnId::new(0))]);
    assert!(!shelf.handle_arrived(now, &EPOCH(), ConnId::new(9), &mut rng()));
    assert_eq!(shelf.poll_timeout(), None);
}

#[test]
fn what_nobody_used_for_a_while_is_retired_by_halves() {
    let (mut shelf, mut now) = filled(0);
    for n in 0..8 {
        shelf.handle_take(now, &EPOCH(), n, Some(now + ORDER_TIMEOUT));
    }
    for n in 0..8 {
        shelf.handle_arrived(now, &EPOCH(), ConnId::new(n), &mut rng());
    }
    for n in 0..8 {
        shelf.handle_parked(now, ConnId::new(n), &mut rng());
    }
    drain(&mut shelf);
    let mut left = Vec::new();
    while shelf.parked() > 0 {
        now = shelf.poll_timeout().expect("a surplus is trimmed");
        shelf.handle_timeout(now);
        left.push(shelf.parked());
    }
    assert_eq!(left, [8, 4, 2, 1, 0]);
}

/// A shelf of streams to addresses, with the one target 7.
fn addresses(min: usize, max: usize) -> (Shelf<u32>, Instant) {
    let now = time::now();
    let options = Options {
        mode: Mode::Dynamic,
        min,
        max,
        max_age: Some(Duration::from_secs(90)),
        ..Options::default()
    };
    let mut shelf = Shelf::new(options, Raw::CAPS);
    shelf.add(now, 7);
    (shelf, now)
}

/// Lets everything that is ordered arrive at once, numbered from `next` on.
fn arrive(shelf: &mut Shelf<u32>, now: Instant, next: &mut u64, rng: &mut ChaCha8Rng) -> Vec<Action<u32>> {
    let mut others = Vec::new();
    while let Some(action) = shelf.poll_action() {
        let Action::Order(key, count) = action else {
            others.push(action);
            continue;
        };
        for _ in 0..count {
            shelf.handle_arrived(now, &key, ConnId::new(*next), rng);
            *next += 1;
        }
    }
    others
}

fn standing(shelf: &Shelf<u32>, now: Instant) -> Standing {
    shelf.standings(now).next().expect("the target is there").1
}

#[test]
fn who_does_not_wait_is_refused_at_once_and_makes_the_stock_grow() {
    let (mut shelf, now) = addresses(0, 64);
    assert_eq!(drain(&mut shelf), [], "nobody has come, so nothing is kept");
    assert!(!shelf.handle_take(now, &7, 1, None));
    assert_eq!(drain(&mut shelf), [Action::Refuse(1), Action::Order(7, 3)]);
    let one = standing(&shelf, now).wanted;
    shelf.handle_take(now, &7, 2, None);
    assert!(standing(&shelf, now).wanted > one);
    assert_eq!(drain(&mut shelf), [Action::Refuse(2), Action::Order(7, 2)]);
}

#[test]
fn a_full_stock_is_ordered_in_small_portions_and_not_too_fast() {
    let (mut shelf, mut now) = addresses(64, 64);
    assert_eq!(drain(&mut shelf), [Action::Order(7, 3)]);
    let begin = now;
    let (mut ordered, mut next, mut rng) = (3, 0, rng());
    let mut arrived = 0;
    while arrived < 64 {
        if ordered > arrived {
            now += Duration::from_millis(1);
            shelf.handle_arrived(now, &7, ConnId::new(next), &mut rng);
            next += 1;
            arrived += 1;
        } else {
            now = shelf.poll_timeout().expect("the next order is due");
            shelf.handle_timeout(now);
        }
        for action in drain(&mut shelf) {
            let Action::Order(7, count) = action else {
                panic!("{action:?}")
            };
            assert!(count <= 3);
            ordered += count;
            assert!(ordered - arrived <= 8);
        }
    }
    // Eight at once, then 50 a second.
    let took = now - begin;
    let least = Duration::from_millis(20 * (64 - 8));
    assert!(took >= least && took < least * 2, "{took:?}");
}

#[test]
fn what_is_too_old_is_retired_at_an_age_of_its_own() {
    let (mut shelf, now) = addresses(0, 64);
    let (mut next, mut rng) = (0, rng());
    for n in 0..40 {
        shelf.handle_arrived(now, &7, ConnId::new(n), &mut rng);
    }
    next += 40;
    let mut ages = Vec::new();
    while shelf.parked() > 0 {
        let at = shelf.poll_timeout().expect("something is due");
        shelf.handle_timeout(at);
        // The surplus is trimmed as well, oldest first; only what is left at the end has its age.
        let retired = arrive(&mut shelf, at, &mut next, &mut rng).len();
        ages.extend(std::iter::repeat_n(at - now, retired));
    }
    assert!(ages.iter().all(|age| *age <= Duration::from_secs(90)));

    let (mut shelf, now) = addresses(40, 40);
    for n in 0..40 {
        shelf.handle_arrived(now, &7, ConnId::new(n), &mut rng);
    }
    drain(&mut shelf);
    let mut ages = Vec::new();
    while shelf.parked() > 0 {
        let at = shelf.poll_timeout().expect("something is due");
        shelf.handle_timeout(at);
        let retired = drain(&mut shelf).into_iter();
        ages.extend(
            retired
                .filter(|action| matches!(action, Action::Retire(_)))
                .map(|_| at - now),
        );
    }
    assert_eq!(ages.len(), 40);
    assert!(
        ages.iter()
            .all(|age| *age >= Duration::from_secs(72) && *age <= Duration::from_secs(90))
    );
    ages.dedup();
    assert!(ages.len() > 30, "they do not die together");
}

#[test]
fn what_is_too_old_is_not_given_even_when_the_clock_is_late() {
    let (mut shelf, now) = addresses(1, 1);
    let mut rng = rng();
    shelf.handle_arrived(now, &7, ConnId::new(0), &mut rng);
    drain(&mut shelf);
    assert!(!shelf.handle_take(now + Duration::from_secs(91), &7, 1, None));
    assert_eq!(
        drain(&mut shelf),
        [
            Action::Retire(ConnId::new(0)),
            Action::Refuse(1),
            Action::Order(7, 1)
        ]
    );
}

#[test]
fn a_target_that_speaks_first_keeps_nothing_until_it_is_tried_again() {
    let (mut shelf, now) = addresses(2, 8);
    let (mut next, mut rng) = (0, rng());
    arrive(&mut shelf, now, &mut next, &mut rng);
    shelf.handle_spoke(now, ConnId::new(0));
    assert_eq!(
        drain(&mut shelf),
        [Action::Retire(ConnId::new(0)), Action::Retire(ConnId::new(1))]
    );
    let seen = standing(&shelf, now);
    assert_eq!((seen.mark, seen.wanted), (Some(Mark::SpeaksFirst), 0));
    assert!(!shelf.handle_take(now, &7, 1, None));
    assert_eq!(drain(&mut shelf), [Action::Refuse(1)], "and orders nothing");
    shelf.handle_arrived(now, &7, ConnId::new(99), &mut rng);
    assert_eq!(drain(&mut shelf), [Action::Retire(ConnId::new(99))]);
    assert_eq!(shelf.poll_timeout(), None);

    let later = now + Duration::from_secs(600);
    shelf.handle_take(later, &7, 2, None);
    assert_eq!(standing(&shelf, later).mark, None);
    assert_eq!(drain(&mut shelf), [Action::Refuse(2), Action::Order(7, 3)]);
}

#[test]
fn a_target_that_hangs_up_twice_keeps_nothing() {
    let (mut shelf, mut now) = addresses(2, 8);
    let (mut next, mut rng) = (0, rng());
    arrive(&mut shelf, now, &mut next, &mut rng);
    now += Duration::from_secs(4);
    // A restart closes all of them: that is once.
    shelf.handle_hung_up(now, ConnId::new(0));
    shelf.handle_hung_up(now + Duration::from_millis(1), ConnId::new(1));
    now += Duration::from_millis(2);
    arrive(&mut shelf, now, &mut next, &mut rng);
    let seen = standing(&shelf, now);
    assert_eq!((seen.mark, seen.parked), (None, 2));
    now += Duration::from_secs(4);
    shelf.handle_hung_up(now, ConnId::new(2));
    assert_eq!(standing(&shelf, now).mark, Some(Mark::ShortIdle));
    assert_eq!(drain(&mut shelf), [Action::Retire(ConnId::new(3))]);
}

#[test]
fn one_that_waits_longer_and_lives_clears_the_target() {
    let (mut shelf, mut now) = addresses(2, 8);
    let (mut next, mut rng) = (0, rng());
    for round in 0..6 {
        arrive(&mut shelf, now, &mut next, &mut rng);
        now += Duration::from_secs(4);
        shelf.handle_hung_up(now, ConnId::new(next - 1));
        now += Duration::from_secs(1);
        arrive(&mut shelf, now, &mut next, &mut rng);
        now += Duration::from_secs(5);
        assert!(shelf.handle_take(now, &7, round, None), "round {round}");
        arrive(&mut shelf, now, &mut next, &mut rng);
        assert_eq!(standing(&shelf, now).mark, None);
    }
}

#[test]
fn the_stock_follows_demand_up_and_down() {
    let (mut shelf, mut now) = addresses(2, 64);
    let (mut next, mut rng) = (0, rng());
    let (mut missed, mut given) = (0, 0);
    // 100 a second, refills take 50 ms: five are under way on average.
    let mut coming = VecDeque::new();
    for ticket in 0..3000 {
        now += Duration::from_millis(10);
        while coming.front().is_some_and(|at| *at <= now) {
            coming.pop_front();
            shelf.handle_arrived(now, &7, ConnId::new(next), &mut rng);
            next += 1;
        }
        shelf.handle_timeout(now);
        missed += u32::from(!shelf.handle_take(now, &7, ticket, None));
        for action in drain(&mut shelf) {
            match action {
                Action::Order(7, count) => {
                    coming.extend(std::iter::repeat_n(now + Duration::from_millis(50), count));
                }
                Action::Give(_, conn) => {
                    given += 1;
                    shelf.handle_gone(now, conn);
                }
                _ => {}
            }
        }
    }
    assert!(missed < 20, "{missed} of 3000 missed");
    assert_eq!(missed + given, 3000);
    assert!(shelf.parked() < 32, "{} are parked", shelf.parked());
    let end = now + Duration::from_secs(120);
    while now < end {
        now = shelf.poll_timeout().unwrap_or(end);
        shelf.handle_timeout(now);
        for at in std::mem::take(&mut coming) {
            shelf.handle_arrived(now.max(at), &7, ConnId::new(next), &mut rng);
            next += 1;
        }
        arrive(&mut shelf, now, &mut next, &mut rng);
    }
    assert_eq!(shelf.parked(), 2, "nobody comes any more");
}

#[test]
fn ten_thousand_targets_cost_no_more_than_a_few() {
    let now = time::now();
    let options = Options {
        mode: Mode::Dynamic,
        min: 0,
        max: 64,
        max_age: Some(Duration::from_secs(90)),
        ..Options::default()
    };
    let mut shelf = Shelf::new(options, Raw::CAPS);
    for key in 0..10_000u32 {
        shelf.add(now, key);
    }
    assert_eq!(drain(&mut shelf), []);
    assert_eq!(
        shelf.poll_timeout(),
        None,
        "nobody has come: there is nothing to wait for"
    );
    assert!(shelf.due.is_empty());
    let mut rng = rng();
    shelf.handle_take(now, &4711, 1, None);
    shelf.handle_arrived(now, &4711, ConnId::new(1), &mut rng);
    assert_eq!(shelf.due.len(), 1);
    for key in 0..10_000 {
        shelf.remove(&key);
    }
    assert_eq!((shelf.parked(), shelf.held.len(), shelf.due.len()), (0, 0, 0));
}
