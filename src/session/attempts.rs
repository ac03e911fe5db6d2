//! Whom a visitor has been tried on, and whether it may be tried once more. Pure.

use std::collections::BTreeSet;

use rand::Rng;

use super::{
    Options, Replay,
    visitor_side::{Cause, Outcome},
};
use crate::{
    probe::{History, audit, audit_eq, measure, mutant, sometimes},
    selector::{
        Strategy,
        active_set::ActiveSet,
        strategy::pick,
        target::{Reach, Target, Tunnel},
    },
    time::{Duration, Instant},
};

use std::sync::Arc;

/// How often bytes that may already have arrived are sent again. More repeats side effects; fewer fails
/// visitors while clients die.
const AMBIGUOUS_MAX: u32 = 3;

/// The pause before everything is tried again from the start: doubles up to the cap.
const ROUND_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// What to do with the visitor now.
#[derive(Debug)]
pub enum Choice {
    /// Try this one.
    Try(Arc<Target<Tunnel>>),
    /// Everyone was tried; ask again after a pause.
    Pause(Duration),
    /// The group has no target; wait for one.
    Empty,
    /// No further try is allowed; the reason, for logs and metrics.
    GiveUp(&'static str),
}

/// What was told, for the audits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Refused,
    Lost { ambiguous: bool },
    Round,
}

/// One visitor's tries.
#[derive(Debug)]
pub struct Attempts {
    replay: Replay,
    deadline: Instant,
    tried: BTreeSet<<Tunnel as Reach>::Key>,
    ambiguous: u32,
    rounds: u32,
    /// Every failure of this round was an upstream's refusal.
    only_refused: bool,
    given_up: Option<&'static str>,
    bound_to: Option<u64>,
    preferred: Option<<Tunnel as Reach>::Key>,
    told: History<Told>,
}

impl Attempts {
    /// A visitor that has just been accepted.
    pub fn new(now: Instant, options: &Options) -> Self {
        Self {
            replay: options.replay,
            deadline: now + options.start_timeout,
            tried: BTreeSet::new(),
            ambiguous: 0,
            rounds: 0,
            only_refused: true,
            given_up: None,
            bound_to: None,
            preferred: None,
            told: History::default(),
        }
    }

    /// The same, for a visitor that `hash` binds to a target where the strategy is consistent.
    pub fn bound_to(self, hash: u64) -> Self {
        Self {
            bound_to: Some(hash),
            ..self
        }
    }

    /// The same, for a visitor that is tried on `target` first if that is in the active set.
    pub fn preferring(self, target: Option<<Tunnel as Reach>::Key>) -> Self {
        Self {
            preferred: target,
            ..self
        }
    }

    /// When the visitor must have been started.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Picks the next target, of those in the reserve when all others were tried: nobody twice while another is
    /// untried.
    pub fn choose(
        &mut self,
        now: Instant,
        set: &ActiveSet<Tunnel>,
        strategy: Strategy,
        rng: &mut impl Rng,
    ) -> Choice {
        if let Some(reason) = self.given_up {
            return Choice::GiveUp(reason);
        }
        if now >= self.deadline && !mutant!("start-deadline-ignored") {
            sometimes!("start-deadline-passed");
            return Choice::GiveUp("start_timeout");
        }
        measure!("tried-before", self.tried.len());
        measure!("ambiguous-before", self.ambiguous);
        measure!(
            "time-left-to-start-ms",
            self.deadline.saturating_duration_since(now)
        );
        if set.is_empty() {
            return Choice::Empty;
        }
        if let Some(preferred) = self.preferred.take()
            && let Some(target) = set.member(&preferred)
        {
            return Choice::Try(Arc::clone(target));
        }
        let untried = |target: &Target<Tunnel>| !self.tried.contains(&target.key());
        let chosen = pick(strategy, set, untried, self.bound_to, rng);
        let standby = || set.reserve().iter().find(|target| untried(target)).cloned();
        if let Some(target) = chosen.or_else(standby) {
            sometimes!(!self.tried.is_empty(), "start-retried-elsewhere");
            return Choice::Try(target);
        }
        audit!(
            set.targets()
                .iter()
                .chain(set.reserve())
                .all(|target| self.tried.contains(&target.key())),
            "a round ends when everybody was tried"
        );
        if self.only_refused {
            sometimes!("every-upstream-refused");
            return Choice::GiveUp("all_refused");
        }
        let (base, cap) = ROUND_PAUSE;
        let pause = base.saturating_mul(1 << self.rounds.min(10)).min(cap);
        measure!("pause-between-rounds-ms", pause);
        self.rounds += 1;
        self.tried.clear();
        if self.ambiguous > 0 && mutant!("ambiguous-tries-counted-by-round") {
            self.ambiguous = 0;
        }
        self.only_refused = true;
        self.told.push(Told::Round);
        self.check();
        Choice::Pause(pause)
    }

    /// A try on `target` did not reach `Started`. Says whether it repeats bytes that may have arrived.
    ///
    /// # Panics
    /// When `outcome` is the end of a session that did start.
    pub fn handle_failed(&mut self, target: <Tunnel as Reach>::Key, outcome: Outcome) -> bool {
        let Outcome::NotStarted { cause, ambiguous } = outcome else {
            panic!("only a try that did not start may be followed by another");
        };
        self.told.push(match cause {
            Cause::Refused(_) => Told::Refused,
            Cause::Broken | Cause::Silent => Told::Lost { ambiguous },
        });
        if !mutant!("failed-target-forgotten") {
            self.tried.insert(target);
        }
        if matches!(cause, Cause::Refused(_)) {
            if mutant!("first-refusal-is-final") {
                self.given_up = Some("all_refused");
            }
            self.check();
            return false;
        }
        self.only_refused = false;
        if !ambiguous {
            self.check();
            return false;
        }
        self.ambiguous += 1;
        match self.replay {
            Replay::RefusedOnly if mutant!("refused-only-repeats-sent-bytes") => {}
            Replay::RefusedOnly => self.given_up = Some("may_have_arrived"),
            Replay::Unacknowledged if self.ambiguous >= AMBIGUOUS_MAX && !mutant!("repeated-without-end") => {
                self.given_up = Some("ambiguous_tries")
            }
            Replay::Unacknowledged => {}
        }
        sometimes!(self.given_up.is_none(), "sent-bytes-repeated");
        self.check();
        self.given_up.is_none()
    }

    /// What it counts, counted anew.
    fn check(&self) {
        let row = |counts: fn(&Told) -> bool, ends: fn(&Told) -> bool| self.told.in_a_row(counts, ends);
        let is_round = |told: &Told| *told == Told::Round;
        let never = |_: &Told| false;
        if let Some(ambiguous) = row(|told| *told == Told::Lost { ambiguous: true }, never) {
            audit_eq!(
                self.ambiguous,
                ambiguous,
                "tries that may have arrived are counted over all rounds"
            );
        }
        if let Some(rounds) = row(is_round, never) {
            audit_eq!(self.rounds, rounds, "rounds are counted");
        }
        if let Some(lost) = row(|told| matches!(told, Told::Lost { .. }), is_round) {
            audit_eq!(
                self.only_refused,
                lost == 0,
                "whether all were refused is known of each round"
            );
        }
        if let Some(failed) = row(|told| *told != Told::Round, is_round) {
            audit!(
                self.tried.len() <= failed as usize && self.tried.is_empty() == (failed == 0),
                "who was tried in this round is known"
            );
        }
        let ambiguous_max = match self.replay {
            Replay::RefusedOnly => 1,
            Replay::Unacknowledged => AMBIGUOUS_MAX,
        };
        audit_eq!(
            self.given_up.is_some(),
            self.ambiguous >= ambiguous_max,
            "a visitor is given up when its bytes have been sent often enough"
        );
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::{selector::active_set::tests::set_of, time, wire::message::RefuseCode};

    const REFUSED: Outcome = Outcome::NotStarted {
        cause: Cause::Refused(RefuseCode::Unreachable),
        ambiguous: true,
    };
    const BROKEN: Outcome = Outcome::NotStarted {
        cause: Cause::Broken,
        ambiguous: false,
    };
    const AMBIGUOUS: Outcome = Outcome::NotStarted {
        cause: Cause::Silent,
        ambiguous: true,
    };

    fn attempts(replay: Replay) -> (Attempts, ChaCha8Rng) {
        let options = Options {
            replay,
            ..Options::default()
        };
        (Attempts::new(time::now(), &options), ChaCha8Rng::seed_from_u64(3))
    }

    fn choose(attempts: &mut Attempts, set: &ActiveSet<Tunnel>, rng: &mut ChaCha8Rng) -> Choice {
        attempts.choose(time::now(), set, Strategy::Random, rng)
    }

    #[test]
    fn nobody_is_tried_twice_while_another_is_untried() {
        let set = set_of(3);
        let (mut attempts, mut rng) = attempts(Replay::Unacknowledged);
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            let Choice::Try(target) = choose(&mut attempts, &set, &mut rng) else {
                panic!("a target is untried")
            };
            attempts.handle_failed(target.key(), BROKEN);
            seen.insert(target.key());
        }
        assert_eq!(seen.len(), 3);
        assert!(matches!(choose(&mut attempts, &set, &mut rng), Choice::Pause(_)));
        assert!(matches!(choose(&mut attempts, &set, &mut rng), Choice::Try(_)));
    }

    #[test]
    fn who_stands_by_is_tried_when_no_member_serves() {
        let set = set_of(4);
        let (members, reserve) = set.targets().split_at(2);
        let set = ActiveSet::new(members.to_vec()).reserving(reserve.to_vec());
        let (mut attempts, mut rng) = attempts(Replay::Unacknowledged);
        let mut tried = Vec::new();
        for _ in 0..4 {
            let Choice::Try(target) = choose(&mut attempts, &set, &mut rng) else {
                panic!("a target is untried")
            };
            attempts.handle_failed(target.key(), REFUSED);
            tried.push(target.key());
        }
        let reserved: Vec<_> = set.reserve().iter().map(|target| target.key()).collect();
        assert_eq!(tried[2..], reserved, "in their order, after the members");
        assert!(matches!(
            choose(&mut attempts, &set, &mut rng),
            Choice::GiveUp("all_refused")
        ));
    }

    #[test]
    fn a_round_of_refusals_is_final() {
        let set = set_of(2);
        let (mut attempts, mut rng) = attempts(Replay::Unacknowledged);
        for _ in 0..2 {
            let Choice::Try(target) = choose(&mut attempts, &set, &mut rng) else {
                panic!("a target is untried")
            };
            assert!(
                !attempts.handle_failed(target.key(), REFUSED),
                "a refusal is never ambiguous"
            );
        }
        assert!(matches!(
            choose(&mut attempts, &set, &mut rng),
            Choice::GiveUp("all_refused")
        ));
    }

    #[test]
    fn ambiguous_bytes_are_replayed_as_configured() {
        let set = set_of(5);
        let (mut careful, mut rng) = attempts(Replay::RefusedOnly);
        assert!(!careful.handle_failed(set.targets()[0].key(), AMBIGUOUS));
        assert!(matches!(
            choose(&mut careful, &set, &mut rng),
            Choice::GiveUp("may_have_arrived")
        ));

        let (mut eager, mut rng) = attempts(Replay::Unacknowledged);
        for n in 0..3 {
            assert!(matches!(choose(&mut eager, &set, &mut rng), Choice::Try(_)));
            assert_eq!(eager.handle_failed(set.targets()[n].key(), AMBIGUOUS), n < 2);
        }
        assert!(matches!(
            choose(&mut eager, &set, &mut rng),
            Choice::GiveUp("ambiguous_tries")
        ));
    }
}
