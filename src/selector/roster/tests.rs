use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::selector::Switching;

pub(super) const S: fn(u64) -> Duration = Duration::from_secs;
pub(super) const MS: fn(u64) -> Duration = Duration::from_millis;

/// A roster, its clock, and what it said.
pub(super) struct Bench {
    pub roster: Roster<u32>,
    pub now: Instant,
    start: Instant,
    pub rng: ChaCha8Rng,
    pub members: BTreeSet<u32>,
    decisions: Vec<Decision>,
    hurried: Vec<u32>,
}

impl Bench {
    pub fn new(options: Options, probed: bool) -> Self {
        let now = crate::time::now();
        let interval = probed.then_some(S(5));
        Self {
            roster: Roster::new(now, options, Scoring::default(), interval),
            now,
            start: now,
            rng: ChaCha8Rng::seed_from_u64(17),
            members: BTreeSet::new(),
            decisions: Vec::new(),
            hurried: Vec::new(),
        }
    }

    /// A probed group of `n` targets that each answered in 20 ms.
    pub fn of(n: u32, options: Options) -> Self {
        let mut bench = Self::new(options, true);
        (0..n).for_each(|key| bench.join(key));
        (0..n).for_each(|key| bench.answers(key, 20));
        bench
    }

    pub(super) fn sized(size: usize) -> Options {
        Options {
            active_set_size: Some(size),
            ..Options::default()
        }
    }

    pub fn take(&mut self) {
        while let Some(action) = self.roster.poll_action() {
            match action {
                Action::Enter(key) => assert!(self.members.insert(key), "it was none"),
                Action::Exit(key) => assert!(self.members.remove(&key), "it was one"),
                Action::Decided(decision) => self.decisions.push(decision),
                Action::Hurry(key) => self.hurried.push(key),
                Action::Publish | Action::Weigh(_) | Action::WeighAll => {}
            }
        }
        assert_eq!(self.members.len(), self.roster.members());
    }

    pub fn join(&mut self, key: u32) {
        self.roster.join(self.now, key, &format!("t{key}"), &mut self.rng);
        self.take();
    }

    pub fn leave(&mut self, key: u32) {
        self.roster.leave(self.now, &key);
        self.take();
    }

    pub fn answers(&mut self, key: u32, ms: u64) {
        self.roster
            .handle_probed(self.now, &key, Some(MS(ms)), MS(ms), &mut self.rng);
        self.take();
    }

    pub fn fails(&mut self, key: u32) {
        self.roster
            .handle_probed(self.now, &key, None, MS(1), &mut self.rng);
        self.take();
    }

    pub fn reports(&mut self, key: u32, report: Report) {
        self.roster.handle_report(self.now, &key, report, &mut self.rng);
        self.take();
    }

    /// Takes a target down by sessions.
    pub(super) fn down(&mut self, key: u32) {
        (0..3).for_each(|_| self.reports(key, Report::Refused(MS(1))));
    }

    /// Lets time pass; every two seconds each target in `answering` answers within so many milliseconds.
    pub fn pass(&mut self, wait: Duration, answering: &[(u32, u64)]) {
        let end = self.now + wait;
        let mut probe_at = self.now;
        while self.now < end {
            if self.now >= probe_at {
                probe_at += S(2);
                for (key, ms) in answering {
                    self.answers(*key, *ms);
                }
            }
            let next = self.roster.poll_timeout().unwrap_or(end).min(probe_at).min(end);
            self.now = next.max(self.now);
            self.roster.handle_timeout(self.now, &mut self.rng);
            self.take();
        }
    }

    pub(super) fn all_answer(keys: std::ops::Range<u32>) -> Vec<(u32, u64)> {
        keys.map(|key| (key, 20)).collect()
    }

    pub(super) fn members(&self) -> Vec<u32> {
        self.members.iter().copied().collect()
    }

    pub(super) fn was(&self, target: Option<u32>, reason: Reason) -> bool {
        let name = target.map(|key| format!("t{key}"));
        self.decisions
            .iter()
            .any(|d| d.reason == reason && d.target.as_deref() == name.as_deref())
    }
}

#[test]
fn who_joins_is_used_at_once_and_who_leaves_is_not() {
    let mut bench = Bench::new(Options::default(), false);
    (0..3).for_each(|key| bench.join(key));
    assert_eq!(bench.members(), [0, 1, 2]);
    bench.leave(1);
    assert_eq!(bench.members(), [0, 2]);
    bench.roster.drain(bench.now, &0);
    bench.take();
    assert_eq!(bench.members(), [2]);
    bench.leave(2);
    assert_eq!(
        bench.members(),
        [0_u32; 0],
        "who drains is not used, even when nobody else is there"
    );
    bench.leave(0);
    assert_eq!(bench.roster.poll_timeout(), None);
}

#[test]
fn who_fails_is_out_at_once_and_another_takes_the_place() {
    let mut bench = Bench::of(4, Bench::sized(2));
    assert_eq!(bench.members(), [0, 1]);
    bench.down(0);
    assert_eq!(bench.members(), [1, 2]);
    assert!(bench.was(Some(0), Reason::Failing) && bench.was(Some(2), Reason::Room));
}

#[test]
fn of_those_who_stand_by_the_well_come_first_and_the_down_last() {
    let mut bench = Bench::of(4, Bench::sized(1));
    let out: Vec<_> = (0..4).filter(|key| !bench.members.contains(key)).collect();
    bench.down(out[0]);
    let reserve = bench.roster.reserve(bench.now, 8);
    assert_eq!(reserve.len(), 3);
    assert_eq!(reserve.last(), Some(&out[0]));
    assert_eq!(bench.roster.reserve(bench.now, 2), reserve[..2]);
    bench.roster.drain(bench.now, &out[0]);
    bench.take();
    assert_eq!(bench.roster.reserve(bench.now, 8), reserve[..2]);
}

#[test]
fn a_total_outage_in_a_burst_is_seen() {
    let mut bench = Bench::of(2, Options::default());
    for _ in 0..200 {
        bench.reports(0, Report::Connected(MS(20)));
        bench.reports(1, Report::Connected(MS(20)));
    }
    for _ in 0..50 {
        bench.now += MS(2);
        bench.reports(0, Report::Refused(MS(1)));
    }
    assert_eq!(bench.members(), [1]);
    let now = bench.now;
    let standing = bench.roster.standings(now).next().expect("it is there").1;
    assert!(
        standing.score.success.is_some_and(|success| success < 0.82),
        "{:?}",
        standing.score
    );
}

#[test]
fn nobody_well_means_everybody_is_a_last_resort() {
    let mut bench = Bench::of(3, Options::default());
    (0..3).for_each(|key| bench.down(key));
    assert_eq!(bench.members(), [0, 1, 2]);
    assert!(bench.roster.is_last_resort() && bench.was(None, Reason::LastResort));
    bench.answers(1, 20);
    assert_eq!(
        bench.members(),
        [1],
        "one success is enough, and no hold-off counts"
    );
    assert!(!bench.roster.is_last_resort());
}

#[test]
fn a_last_resort_is_the_least_bad() {
    let mut bench = Bench::of(4, Bench::sized(1));
    for key in [0, 1, 2, 3] {
        let times = if key == 2 { 3 } else { 9 };
        (0..times).for_each(|_| bench.reports(key, Report::Refused(MS(1))));
    }
    bench.pass(S(12), &[]);
    assert_eq!(bench.members(), [2]);
}

#[test]
fn hold_off_keeps_out_who_recovered_and_grows() {
    let mut bench = Bench::of(3, Options::default());
    for times in 1..=2 {
        bench.down(0);
        let out_at = bench.now;
        assert_eq!(bench.members(), [1, 2]);
        while !bench.members.contains(&0) {
            bench.pass(S(1), &Bench::all_answer(0..3));
            assert!(bench.now < out_at + S(120), "it comes back");
        }
        let stayed = bench.now - out_at;
        assert!(
            stayed >= S(30) * times && stayed <= S(30) * times + S(2),
            "{stayed:?}"
        );
        assert!(bench.was(Some(0), Reason::Recovered));
        bench.pass(S(60), &Bench::all_answer(0..3));
    }
}

#[test]
fn who_is_half_open_is_probed_soon_and_two_successes_are_needed() {
    let mut bench = Bench::of(
        2,
        Options {
            switching: Switching {
                hold_off: Duration::ZERO,
                ..Switching::default()
            },
            ..Options::default()
        },
    );
    bench.down(0);
    bench.hurried.clear();
    bench.pass(S(2), &[(1, 20)]);
    assert_eq!(bench.hurried, [0]);
    bench.answers(0, 20);
    assert_eq!((bench.members(), bench.hurried.len()), (vec![1], 2));
    bench.answers(0, 20);
    assert_eq!(bench.members(), [0, 1]);
}

#[test]
fn a_probe_tells_soon_of_a_member_that_turned_a_visitor_down() {
    let mut bench = Bench::of(2, Options::default());
    bench.reports(0, Report::TimedOut(S(1)));
    assert!(bench.hurried.is_empty(), "it may be the way");
    bench.reports(0, Report::Refused(MS(1)));
    assert_eq!(bench.hurried, [0]);
    bench.fails(0);
    assert!(!bench.members.contains(&0));
    bench.reports(0, Report::Refused(MS(1)));
    assert_eq!(bench.hurried, [0], "it is known");
}

#[test]
fn where_probes_ask_for_an_answer_to_be_reached_is_none() {
    let mut bench = Bench::of(2, Options::default());
    bench.roster = std::mem::replace(
        &mut bench.roster,
        Roster::new(bench.now, Options::default(), Scoring::default(), None),
    )
    .judging_by_answers();
    for _ in 0..3 {
        bench.answers(0, 50);
        bench.reports(0, Report::Connected(MS(1)));
    }
    let latency = |bench: &Bench| bench.roster.standing(bench.now, &0).unwrap().score.latency;
    assert!(
        latency(&bench).unwrap() > MS(20),
        "it connects fast, and answers slowly"
    );
    for _ in 0..3 {
        assert!(bench.members.contains(&0));
        bench.fails(0);
        bench.reports(0, Report::Connected(MS(1)));
    }
    assert!(
        !bench.members.contains(&0),
        "it accepts, and answers nothing of use"
    );

    for n in 1..=9 {
        bench.reports(1, Report::Refused(MS(1)));
        bench.reports(1, Report::Connected(MS(1)));
        assert_eq!(bench.hurried.iter().filter(|key| **key == 1).count(), n);
    }
    assert!(bench.members.contains(&1), "now and then it refuses, and answers");
}

#[test]
fn without_probes_visitors_try_who_was_out() {
    let mut bench = Bench::new(
        Options {
            switching: Switching {
                hold_off: S(5),
                ..Switching::default()
            },
            ..Options::default()
        },
        false,
    );
    (0..2).for_each(|key| bench.join(key));
    bench.down(0);
    assert_eq!(bench.members(), [1]);
    bench.pass(S(12), &[]);
    assert_eq!(bench.members(), [0, 1], "on trial");
    bench.reports(0, Report::Refused(MS(1)));
    assert_eq!(bench.members(), [1], "one failure ends the trial");
}

#[test]
fn soft_evidence_puts_out_half_at_most_and_nobody_of_few() {
    let slow = |n: u32| {
        (0..n)
            .map(|key| (key, if key < 3 { 900 } else { 20 }))
            .collect::<Vec<_>>()
    };
    let mut few = Bench::of(4, Options::default());
    few.pass(S(120), &slow(4));
    assert_eq!(few.members(), [0, 1, 2, 3]);

    let mut many = Bench::of(5, Options::default());
    many.roster.scoring.reference = Some(MS(30));
    many.pass(S(50), &slow(5));
    assert_eq!(many.members.len(), 5, "not before they dwelt");
    many.pass(S(70), &slow(5));
    assert_eq!(
        many.members.len(),
        3,
        "two of five is the half: {:?}",
        many.members()
    );
    assert!(many.decisions.iter().any(|d| d.reason == Reason::LowScore));
    many.pass(S(120), &Bench::all_answer(0..5));
    assert_eq!(many.members.len(), 5, "they are let in when they do well");
}

#[test]
fn who_rarely_succeeds_is_put_out_of_a_group_of_five() {
    let check = |n: u32, expected: bool| {
        let mut bench = Bench::of(n, Options::default());
        for round in 0..40 {
            bench.now += MS(200);
            let report = match round % 3 {
                0 => Report::Refused(MS(1)),
                _ => Report::Connected(MS(20)),
            };
            bench.reports(0, report);
        }
        bench.pass(S(6), &Bench::all_answer(1..n));
        assert_eq!(bench.was(Some(0), Reason::RarelySucceeds), expected, "{n}");
        assert_eq!(bench.members.contains(&0), !expected);
    };
    check(4, false);
    check(5, true);
}

#[test]
fn panic_lets_back_who_does_poorly_but_never_who_is_down() {
    let mut bench = Bench::of(6, Options::default());
    let slow: Vec<_> = (0..6).map(|key| (key, if key < 2 { 900 } else { 20 })).collect();
    bench.pass(S(120), &slow);
    assert_eq!(bench.members(), [2, 3, 4, 5]);
    bench.down(2);
    assert_eq!(bench.members(), [3, 4, 5], "half are well");
    bench.down(3);
    assert_eq!(bench.members(), [0, 1, 4, 5]);
    assert!(bench.roster.is_panicking() && bench.was(None, Reason::Panic));
}

#[test]
fn members_that_serve_and_are_not_probed_are_no_outage() {
    let mut bench = Bench::of(10, Bench::sized(4));
    bench.pass(S(20), &[]);
    let members = bench.members.clone();
    let outside = (0..10).filter(|key| !members.contains(key));
    outside.for_each(|key| bench.fails(key));
    assert!(!bench.roster.all_fail());
    members.iter().for_each(|key| bench.fails(*key));
    assert!(bench.roster.all_fail());
}

#[test]
fn a_local_fault_changes_nothing_that_probes_say() {
    let mut bench = Bench::of(8, Options::default());
    bench.pass(S(20), &Bench::all_answer(0..8));
    for _ in 0..8 {
        bench.now += S(5);
        (0..8).for_each(|key| bench.fails(key));
        let now = bench.now;
        bench.roster.handle_timeout(now, &mut bench.rng);
        bench.take();
    }
    assert!(bench.roster.is_frozen() && bench.was(None, Reason::Frozen));
    assert_eq!(bench.members.len(), 8);
    assert!(!bench.roster.is_last_resort(), "nobody was judged");
    bench.down(0);
    assert_eq!(bench.members.len(), 7, "sessions are believed");
    bench.pass(S(12), &Bench::all_answer(1..8));
    assert!(!bench.roster.is_frozen() && bench.was(None, Reason::Thawed));
}

#[test]
fn many_that_never_answered_are_no_local_fault_and_no_panic() {
    let mut bench = Bench::new(Bench::sized(3), true);
    (0..50).for_each(|key| bench.join(key));
    for _ in 0..12 {
        bench.now += S(5);
        (0..45).for_each(|key| bench.fails(key));
        (45..50).for_each(|key| bench.answers(key, 20));
        let now = bench.now;
        bench.roster.handle_timeout(now, &mut bench.rng);
        bench.take();
    }
    assert!(!bench.roster.is_frozen() && !bench.roster.is_panicking());
    assert!(bench.members.iter().all(|key| *key >= 45) && bench.members.len() == 3);
}

#[test]
fn a_better_one_comes_in_after_the_dwell_and_one_in_a_cooldown() {
    let mut bench = Bench::of(4, Bench::sized(2));
    bench.pass(S(5), &Bench::all_answer(0..4));
    let answering = [(0, 50), (1, 60), (2, 20), (3, 30)];
    let mut changed_at = Vec::new();
    for _ in 0..200 {
        let before = bench.members();
        bench.pass(S(1), &answering);
        if bench.members() != before {
            changed_at.push(bench.now - bench.start);
        }
    }
    assert_eq!(bench.members(), [2, 3]);
    assert!(changed_at[0] >= S(60), "{changed_at:?}");
    assert!(changed_at[1] - changed_at[0] >= S(30), "{changed_at:?}");
    assert_eq!(changed_at.len(), 2);
}

#[test]
fn a_little_better_is_not_worth_a_change() {
    let mut bench = Bench::of(2, Bench::sized(1));
    bench.pass(S(5), &Bench::all_answer(0..2));
    bench.pass(S(600), &[(0, 24), (1, 20)]);
    assert_eq!(bench.members(), [0], "17 % is less than 20");
    bench.pass(S(600), &[(0, 26), (1, 20)]);
    assert_eq!(bench.members(), [1], "23 % is more");
}

#[test]
fn what_was_taken_unmeasured_gives_way_without_a_dwell() {
    let mut bench = Bench::new(Bench::sized(2), true);
    (0..6).for_each(|key| bench.join(key));
    assert_eq!(
        bench.members(),
        [0, 1],
        "somebody is used before anybody is measured"
    );
    let answering: Vec<_> = (0..6).map(|key| (key, 120 - 20 * u64::from(key))).collect();
    bench.pass(S(5), &answering);
    assert_eq!(bench.members(), [4, 5]);
    assert!(bench.was(Some(0), Reason::Settled));
}

#[test]
fn late_joiners_start_slowly_and_first_ones_do_not() {
    let mut bench = Bench::new(Options::default(), false);
    (0..2).for_each(|key| bench.join(key));
    let share = |bench: &Bench, key: u32| bench.roster.share(bench.now, &key);
    assert_eq!((share(&bench, 0), share(&bench, 1)), (1000, 1000));
    bench.pass(S(31), &[]);
    bench.join(2);
    assert_eq!(share(&bench, 2), 100);
    bench.pass(S(15), &[]);
    assert_eq!(share(&bench, 2), 550);
    bench.pass(S(16), &[]);
    assert_eq!((share(&bench, 2), share(&bench, 0)), (1000, 1000));
    assert!(bench.roster.ramping.is_empty() && bench.roster.ramp_at.is_none());
}
