//! What changes slowly: soft evidence, and who would be better.

use rand::Rng;

use super::{
    super::{
        health::{Evidence, State},
        journal::Reason,
    },
    Action, Entry, Roster, SOFT_GROUP_MIN,
};
use crate::{
    probe::{measure, mutant},
    prober::{ewma::RTT_DEFAULT, score::SCORE_MAX},
    time::{Duration, Instant},
};

/// Who succeeds less often is put out.
const SUCCESS_MIN: f64 = 0.8;

/// The least median that scores are measured by. Less, and a few milliseconds of noise would leave out a neighbour;
/// more, and a target that is slower than the others by as much as people notice would stay.
const MEDIAN_MIN: Duration = Duration::from_millis(5);

/// A new opinion of one target.
enum Opinion {
    RarelySucceeds,
    LowScore,
}

impl<K: Ord + Clone> Roster<K> {
    /// Evaluates the group.
    pub(super) fn tick(&mut self, now: Instant, rng: &mut impl Rng) {
        if self.fault.handle_timeout(now) {
            self.note_fault(now);
        }
        self.judge_reference(now);
        if !self.is_frozen() {
            self.judge_softly(now, rng);
        }
        self.compose(now);
        if !self.is_frozen() && !self.last_resort {
            self.settle(now);
            self.improve(now);
        }
        self.actions.push_back(Action::WeighAll);
    }

    /// The cost that scores half: as configured, or the median of those that are well.
    fn judge_reference(&mut self, now: Instant) {
        self.reference = self.scoring.reference.unwrap_or_else(|| {
            let known = self.entries.values().filter(|entry| entry.is_known_well());
            let mut costs: Vec<_> = known.map(|entry| entry.meter.cost(now)).collect();
            costs.sort_unstable();
            let median = costs.get(costs.len().saturating_sub(1) / 2).copied();
            median.unwrap_or(RTT_DEFAULT).max(MEDIAN_MIN)
        });
    }

    /// Weighs latency and success: the worst are put out, half of the group at most. Of a small group only those with a
    /// low score are, and only where the best alone are wanted: half at most of those that are not down.
    fn judge_softly(&mut self, now: Instant, rng: &mut impl Rng) {
        let better = self.entries.values().any(|entry| self.is_good(now, entry));
        self.forgive_low(now, better);
        let counted = || self.entries.values().filter(|entry| entry.counts());
        let few = counted().count() < SOFT_GROUP_MIN && !mutant!("small-group-judged-softly");
        if few && !self.best_only {
            return;
        }
        let reckoned = counted().filter(|entry| !(few && entry.is_down()));
        let (all, well) = reckoned.fold((0_usize, 0_usize), |(all, well), entry| {
            (all + 1, well + usize::from(entry.is_well()))
        });
        let mut poor: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(key, entry)| {
                let opinion = self.opinion(now, entry, better, few)?;
                Some((self.steady_score(now, entry), key.clone(), opinion))
            })
            .collect();
        poor.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        // Those that are out already count.
        let may_go = (all / 2).saturating_sub(all - well);
        for (_, key, opinion) in poor.into_iter().take(may_go) {
            if let Some(entry) = self.entries.get_mut(&key) {
                match opinion {
                    Opinion::RarelySucceeds => drop(entry.gate.open(now, Evidence::Soft, rng)),
                    Opinion::LowScore => entry.low_since = Some(now),
                }
            }
            self.rearm(now, &key);
        }
    }

    /// What is to be held against a target that nothing was held against.
    /// `better`: somebody good is there; `few`: the group is too small to judge by successes.
    fn opinion(&self, now: Instant, entry: &Entry, better: bool, few: bool) -> Option<Opinion> {
        if !entry.is_well() {
            return None;
        }
        let rarely = |success| success < SUCCESS_MIN;
        if !few && entry.meter.success(now).is_some_and(rarely) {
            return Some(Opinion::RarelySucceeds);
        }
        let threshold = self.options.min_score_threshold;
        let low = entry.meter.is_known()
            && self.steady_score(now, entry) < threshold
            && self.score_of(entry.recent_cost(now)) < threshold;
        let dwelt = |since| self.best_only || now >= since + self.options.switching.min_dwell;
        (low && better && entry.active_since.is_none_or(dwelt) && !mutant!("slow-candidate-stays"))
            .then_some(Opinion::LowScore)
    }

    /// Whether it scores enough for others to be left out.
    fn is_good(&self, now: Instant, entry: &Entry) -> bool {
        let held = entry.is_held(now, self.options.switching.hold_off);
        entry.is_well()
            && entry.meter.is_known()
            && (entry.active_since.is_some() || !held)
            && self.steady_score(now, entry) >= self.options.min_score_threshold
    }

    /// Who scored too little is let in again when it scores clearly more, and not too soon; and when nobody scores more.
    fn forgive_low(&mut self, now: Instant, better: bool) {
        let needed = self.options.min_score_threshold * (1.0 + self.options.switching.hysteresis);
        let hold_off = self.options.switching.hold_off;
        let reference = self.reference;
        for entry in self.entries.values_mut() {
            let over = entry.low_since.is_some_and(|since| now >= since + hold_off);
            let over = over || entry.low_since.is_some() && mutant!("low-score-forgiven-early");
            let forgiven = !better || over && score(reference, entry.cost_to_stay(now)) >= needed;
            if forgiven && let Some(since) = entry.low_since.take() {
                measure!("low-score-lasted-ms", now.saturating_duration_since(since));
            }
        }
    }

    /// The score in the long run: of answers and successes, not of single failures, which the gate judges.
    fn steady_score(&self, now: Instant, entry: &Entry) -> f64 {
        self.score_of(entry.cost_to_stay(now))
    }

    fn score_of(&self, cost: f64) -> f64 {
        score(self.reference, cost)
    }

    /// Those that were taken before anybody was measured give way to those that measured better. That happens once
    /// for each, when a group begins, and is no improvement that would have to wait for the last one.
    fn settle(&mut self, now: Instant) {
        let provisional: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.active_since.is_some() && entry.provisional)
            .filter(|(_, entry)| entry.meter.is_measured(now))
            .map(|(key, _)| key.clone())
            .collect();
        for key in provisional {
            let Some((best, cost)) = self.best_outside(now) else {
                break;
            };
            let Some(entry) = self.entries.get_mut(&key) else {
                continue;
            };
            entry.provisional = false;
            let before = entry.cost_to_enter(now);
            if cost <= before * (1.0 - self.options.switching.hysteresis)
                || cost > before && mutant!("settled-for-the-worse")
            {
                self.exit(now, &key, Reason::Settled);
                self.enter(now, &best, Reason::Better);
            }
        }
    }

    /// The best outsider takes the place of the worst member, if it is clearly better.
    fn improve(&mut self, now: Instant) {
        let switching = self.options.switching;
        let cools = self.improved_at.is_some_and(|at| now < at + switching.cooldown);
        if cools && !mutant!("cooldown-ignored") {
            return;
        }
        let Some((best, cost)) = self.best_outside(now) else {
            return;
        };
        let worst = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.meter.is_measured(now))
            .filter(|(_, entry)| {
                let since = entry.active_since;
                since.is_some_and(|since| now >= since + switching.min_dwell)
                    || since.is_some() && mutant!("improvement-without-dwell")
            })
            .map(|(key, entry)| (entry.cost_to_stay(now), key.clone()))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        if let Some((worst_cost, worst)) = worst
            && cost <= worst_cost * (1.0 - switching.hysteresis)
        {
            measure!("gain-of-an-improvement", worst_cost / cost.max(1e-6));
            self.improved_at = Some(now);
            self.improved.push(now);
            self.check_improved();
            self.exit(now, &worst, Reason::Worse);
            self.enter(now, &best, Reason::Better);
        }
    }

    /// The best of those that are well, have answered, and found no room.
    fn best_outside(&self, now: Instant) -> Option<(K, f64)> {
        self.options.active_set_size?;
        let hold_off = self.options.switching.hold_off;
        self.entries
            .iter()
            .filter(|(_, entry)| entry.active_since.is_none() && entry.gate.state() == State::Closed)
            .filter(|(_, entry)| entry.is_known_well() && entry.is_usable(self.panic, self.probed))
            .filter(|(_, entry)| !entry.is_held(now, hold_off))
            .map(|(key, entry)| (key.clone(), entry.cost_to_enter(now)))
            .min_by(|a, b| match mutant!("worst-of-those-outside-enters") {
                false => a.1.total_cmp(&b.1),
                true => b.1.total_cmp(&a.1),
            })
    }
}

/// The score of what costs so many seconds.
fn score(reference: Duration, cost: f64) -> f64 {
    let reference = reference.as_secs_f64();
    SCORE_MAX * reference / (reference + cost)
}
