//! What is ordered when.

use proptest::prelude::*;

use super::*;
use crate::time;

fn epoch(counter: u64) -> Epoch {
    Epoch::new(1, counter)
}

/// Orders since the last look.
fn orders(trunks: &mut Trunks) -> usize {
    std::iter::from_fn(|| trunks.poll_action()).count()
}

/// A registration whose first order is out.
fn joined(links_max: usize) -> (Instant, Trunks) {
    let (now, mut trunks) = (time::now(), Trunks::new(links_max));
    trunks.handle_joined(now, epoch(1));
    assert_eq!(trunks.poll_action(), Some(Action::Order(epoch(1))));
    assert_eq!(orders(&mut trunks), 0);
    (now, trunks)
}

#[test]
fn one_from_the_start_and_more_on_demand_one_at_a_time() {
    let (now, mut trunks) = joined(3);
    trunks.handle_demand(now, epoch(1));
    assert_eq!(orders(&mut trunks), 0, "the first is on its way");
    let first = trunks.handle_arrived(now, epoch(1)).unwrap();
    assert_eq!(orders(&mut trunks), 0);
    for open in 2..=3 {
        for _ in 0..100 {
            trunks.handle_demand(now, epoch(1));
        }
        assert_eq!(orders(&mut trunks), 1);
        assert_ne!(trunks.handle_arrived(now, epoch(1)), Some(first));
        assert_eq!(trunks.count(epoch(1)), open);
    }
    trunks.handle_demand(now, epoch(1));
    assert_eq!(orders(&mut trunks), 0, "there are as many as there may be");
    assert_eq!(
        trunks.handle_arrived(now, epoch(1)),
        None,
        "nobody ordered this one"
    );
    assert_eq!(trunks.poll_timeout(), None);
}

#[test]
fn nothing_is_ordered_where_nothing_is_wanted() {
    let now = time::now();
    let mut none = Trunks::new(0);
    none.handle_joined(now, epoch(1));
    none.handle_demand(now, epoch(1));
    assert_eq!((orders(&mut none), none.handle_arrived(now, epoch(1))), (0, None));

    let (now, mut trunks) = joined(4);
    let link = trunks.handle_arrived(now, epoch(1)).unwrap();
    trunks.handle_left(epoch(1));
    trunks.handle_lost(now, epoch(1), link);
    trunks.handle_demand(now, epoch(1));
    trunks.handle_failed(now, epoch(1));
    assert_eq!(trunks.handle_arrived(now, epoch(1)), None);
    assert_eq!((orders(&mut trunks), trunks.poll_timeout()), (0, None));
}

/// Orders that fail at once, until `end`; the pauses between them in milliseconds.
fn pauses(trunks: &mut Trunks, mut now: Instant, end: Instant) -> Vec<u128> {
    let mut pauses = Vec::new();
    while now < end {
        trunks.handle_failed(now, epoch(1));
        assert_eq!(orders(trunks), 0, "nothing is ordered in a pause");
        let due = trunks.poll_timeout().unwrap();
        pauses.push((due - now).as_millis());
        now = due;
        trunks.handle_timeout(now);
        assert_eq!(orders(trunks), 1);
    }
    pauses
}

#[test]
fn pauses_grow_and_start_over_after_a_quiet_time() {
    let (now, mut trunks) = joined(1);
    let end = now + Duration::from_secs(15);
    let grown = [100, 200, 400, 800, 1600, 3200, 5000, 5000];
    assert_eq!(pauses(&mut trunks, now, end), grown);

    // A link that comes and goes has not made anything better.
    let now = end + Duration::from_secs(3);
    let link = trunks.handle_arrived(now, epoch(1)).unwrap();
    trunks.handle_lost(now, epoch(1), link);
    let due = trunks.poll_timeout().unwrap();
    assert_eq!(due - now, PAUSE_MAX);
    trunks.handle_timeout(due);
    let link = trunks.handle_arrived(due, epoch(1)).unwrap();
    let now = due + FORGIVEN_AFTER;
    trunks.handle_lost(now, epoch(1), link);
    assert_eq!(trunks.poll_timeout(), Some(now + PAUSE_MIN));
}

#[test]
fn orders_that_fail_together_have_failed_once() {
    let (now, mut trunks) = joined(3);
    let links = std::iter::from_fn(|| {
        trunks.handle_demand(now, epoch(1));
        trunks.handle_arrived(now, epoch(1))
    });
    let links: Vec<_> = links.collect();
    orders(&mut trunks);
    for link in links {
        trunks.handle_lost(now, epoch(1), link);
    }
    assert_eq!(trunks.poll_timeout(), Some(now + PAUSE_MIN));
    trunks.handle_timeout(now + PAUSE_MIN);
    assert_eq!(orders(&mut trunks), 3, "all of them are wanted again");
}

#[test]
fn an_order_that_is_given_up_may_still_be_filled() {
    let (now, mut trunks) = joined(1);
    let late = now + ORDER_TIMEOUT;
    assert_eq!(trunks.poll_timeout(), Some(late));
    trunks.handle_timeout(late);
    trunks.handle_failed(late, epoch(1));
    assert_eq!(trunks.poll_timeout(), Some(late + PAUSE_MIN), "it fails once");
    trunks.handle_timeout(late + PAUSE_MIN);
    assert_eq!(orders(&mut trunks), 1);
    assert!(trunks.handle_arrived(late + PAUSE_MIN, epoch(1)).is_some());
    assert_eq!(
        trunks.handle_arrived(late + PAUSE_MIN, epoch(1)),
        None,
        "the second is one too many"
    );
    assert_eq!(trunks.poll_timeout(), None);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Join,
    Leave,
    Demand,
    Arrive,
    Fail,
    Lose,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Join),
        Just(Step::Leave),
        Just(Step::Demand),
        Just(Step::Arrive),
        Just(Step::Fail),
        Just(Step::Lose),
        (0u64..20_000).prop_map(Step::Wait),
    ]
}

proptest! {
    /// The books believe their own sentences, and a timer that is due leads somewhere.
    #[test]
    fn whatever_happens(links_max in 0usize..4, steps in proptest::collection::vec((step(), 0u64..3), 0..200)) {
        let (mut now, mut trunks) = (time::now(), Trunks::new(links_max));
        let mut open = Vec::new();
        for (step, counter) in steps {
            let epoch = epoch(counter);
            match step {
                Step::Join => {
                    trunks.handle_left(epoch);
                    trunks.handle_joined(now, epoch);
                }
                Step::Leave => trunks.handle_left(epoch),
                Step::Demand => trunks.handle_demand(now, epoch),
                Step::Arrive => open.extend(trunks.handle_arrived(now, epoch).map(|link| (epoch, link))),
                Step::Fail => trunks.handle_failed(now, epoch),
                Step::Lose => {
                    if let Some((epoch, link)) = open.pop() {
                        trunks.handle_lost(now, epoch, link);
                    }
                }
                Step::Wait(ms) => {
                    now += Duration::from_millis(ms);
                    trunks.handle_timeout(now);
                }
            }
            prop_assert!(trunks.poll_timeout().is_none_or(|due| due > now));
            prop_assert!(trunks.count(epoch) <= links_max);
        }
    }
}
