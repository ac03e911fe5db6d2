//! Groups of few. Where the best are wanted alone a low score counts in them too; and who joins while all others fail.

use super::{
    tests::{Bench, MS, S},
    *,
};

/// A probed group of `n` targets, of which the best are wanted alone.
fn of_best(n: u32, options: Options) -> Bench {
    let mut bench = Bench::new(options, true);
    bench.roster = bench.roster.wanting_best_only();
    (0..n).for_each(|key| bench.join(key));
    bench
}

#[test]
fn a_slow_one_of_few_is_left_out_at_the_next_evaluation() {
    for (n, size) in [(3, None), (3, Some(4)), (2, None), (6, None)] {
        let options = Options {
            active_set_size: size,
            ..Options::default()
        };
        let mut bench = of_best(n, options);
        let answering: Vec<_> = (0..n).map(|key| (key, if key == 0 { 400 } else { 2 })).collect();
        // The first evaluation is an early one.
        bench.pass(S(5), &answering);
        assert_eq!(bench.members(), (1..n).collect::<Vec<_>>(), "{n} of {size:?}");
        assert!(bench.was(Some(0), Reason::LowScore));
        bench.pass(S(300), &answering);
        assert_eq!(bench.members.len(), n as usize - 1, "it stays out");

        // One that gets slow has a time of its own, and comes back when it does well.
        let mut bench = of_best(n, Options::default());
        bench.pass(S(20), &Bench::all_answer(0..n));
        assert_eq!(bench.members.len(), n as usize);
        let slow: Vec<_> = (0..n).map(|key| (key, if key == 0 { 900 } else { 20 })).collect();
        bench.pass(S(2 * 2 + 12), &slow);
        assert_eq!(bench.members(), (1..n).collect::<Vec<_>>());
        bench.pass(S(120), &Bench::all_answer(0..n));
        assert_eq!(bench.members.len(), n as usize);
    }
}

#[test]
fn one_slow_answer_and_small_differences_leave_nobody_out() {
    let mut bench = of_best(3, Options::default());
    bench.pass(S(20), &Bench::all_answer(0..3));
    for _ in 0..20 {
        bench.answers(0, 1000);
        bench.pass(S(14), &Bench::all_answer(0..3));
        assert_eq!(bench.members.len(), 3, "a lost packet is no verdict");
    }
    let mut bench = of_best(3, Options::default());
    bench.pass(S(60), &[(0, 1), (1, 1), (2, 15)]);
    assert_eq!(bench.members.len(), 3);
}

#[test]
fn of_few_at_most_half_are_left_out_and_the_others_stay_used() {
    let options = Options {
        min_score_threshold: 60.0,
        ..Options::default()
    };
    let mut bench = of_best(4, options);
    bench.roster.scoring.reference = Some(MS(30));
    bench.pass(S(60), &[(0, 900), (1, 800), (2, 700), (3, 5)]);
    assert_eq!(bench.members(), [2, 3], "the worst two");
    bench.down(2);
    assert_eq!(bench.members(), [3]);
    bench.down(3);
    assert_eq!(bench.members(), [0, 1], "slow is better than down");
    assert!(!bench.roster.is_last_resort());

    // Where nobody scores enough, everybody stays.
    let mut bench = of_best(3, Options::default());
    bench.roster.scoring.reference = Some(MS(1));
    bench.pass(S(60), &[(0, 900), (1, 800), (2, 700)]);
    assert_eq!(bench.members(), [0, 1, 2]);
}

#[test]
fn of_few_those_that_are_down_are_not_missed() {
    let mut bench = of_best(3, Options::default());
    bench.pass(S(5), &Bench::all_answer(0..3));
    bench.down(0);
    assert_eq!(bench.members(), [1, 2]);
    bench.pass(S(30), &[(1, 400), (2, 20)]);
    assert_eq!(bench.members(), [2]);
    bench.down(2);
    assert_eq!(bench.members(), [1], "it is all there is");
}

#[test]
fn who_joins_while_all_others_fail_has_joined() {
    let mut bench = Bench::of(1, Options::default());
    bench.down(0);
    assert!(bench.was(None, Reason::LastResort));
    bench.join(1);
    assert_eq!(bench.members(), [1]);
    assert!(bench.was(Some(1), Reason::Joined) && !bench.was(Some(1), Reason::Room));
}
