//! Makes the plan of a failing run smaller: takes something away, looks whether the run still fails by the same
//! invariant, and keeps what does (delta debugging; the halving of chunks is that of Zeller's ddmin).
//!
//! The search knows nothing about running a plan; it asks, and [`live`] answers. Each candidate is a plan that
//! can be run.

mod less;
pub mod live;
mod simpler;

use std::{fmt, ops::Range};

use crate::plan::{Plan, knobs::Knobs};

/// How large a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Faults.
    pub faults: usize,
    /// Strangers' deeds.
    pub strangers: usize,
    /// Visits, of all visitors.
    pub visits: usize,
    /// Clients.
    pub clients: usize,
    /// Knobs that do not stand at their default.
    pub knobs: usize,
}

impl Size {
    /// The size of `plan`.
    pub fn of(plan: &Plan) -> Self {
        Self {
            faults: plan.faults.len(),
            strangers: plan.strangers.len(),
            visits: plan.visitors.iter().map(Vec::len).sum(),
            clients: plan.clients.len(),
            knobs: turned(&plan.knobs).len(),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            faults,
            strangers,
            visits,
            clients,
            knobs,
        } = self;
        write!(
            f,
            "{faults} faults, {strangers} strangers, {visits} visits, {clients} clients, {knobs} knobs turned"
        )
    }
}

/// The names of the knobs that do not stand at their default.
fn turned(knobs: &Knobs) -> Vec<String> {
    let fields = |knobs: &Knobs| match serde_json::to_value(knobs) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => unreachable!("knobs are an object"),
    };
    let (knobs, calm) = (fields(knobs), fields(&Knobs::default()));
    let turned = knobs.into_iter().filter(|(name, value)| calm[name] != *value);
    turned.map(|(name, _)| name).collect()
}

/// A plan that fails, made smaller.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest plan that was found.
    pub plan: Plan,
    /// Which invariant it breaks.
    pub invariant: u8,
    /// How many candidates were run.
    pub runs: u64,
    /// Whether nothing smaller was left to try when the search ended.
    pub complete: bool,
}

/// Makes `plan`, which breaks `invariant`, smaller for as long as `go_on` says so. `fails` runs a candidate
/// and says which invariant it breaks.
pub fn shrink(
    plan: &Plan,
    invariant: u8,
    fails: &dyn Fn(&Plan) -> Option<u8>,
    go_on: &dyn Fn() -> bool,
) -> Shrunk {
    let mut search = Search {
        best: plan.clone(),
        invariant,
        runs: 0,
        fails,
        go_on,
    };
    // What one pass takes away may let another take more.
    while (go_on)() {
        let before = search.best.clone();
        search.pass();
        if search.best == before {
            break;
        }
    }
    Shrunk {
        plan: search.best,
        invariant,
        runs: search.runs,
        complete: go_on(),
    }
}

struct Search<'a> {
    best: Plan,
    invariant: u8,
    runs: u64,
    fails: &'a dyn Fn(&Plan) -> Option<u8>,
    go_on: &'a dyn Fn() -> bool,
}

impl Search<'_> {
    /// What takes most away comes first.
    fn pass(&mut self) {
        self.remove(|plan| plan.strangers.len(), less::without_strangers);
        self.remove(|plan| plan.faults.len(), less::without_faults);
        // A shorter run is a faster one.
        self.simplify(simpler::times);
        self.remove(|plan| plan.visitors.len(), less::without_visitors);
        for visitor in 0..self.best.visitors.len() {
            self.remove(
                |plan| plan.visitors[visitor].len(),
                |plan, range| less::without_visits(plan, visitor, range),
            );
        }
        self.remove(|plan| plan.offers.len(), less::without_offers);
        self.remove(|plan| plan.clients.len(), less::without_clients);
        self.simplify(simpler::knobs);
        self.simplify(simpler::faults);
        self.simplify(simpler::visits);
        self.simplify(simpler::times);
    }

    /// Takes `candidate` for the best plan if it fails as the best one does.
    fn consider(&mut self, candidate: Plan) -> bool {
        if candidate == self.best || candidate.check().is_err() || !(self.go_on)() {
            return false;
        }
        self.runs += 1;
        let fails = (self.fails)(&candidate) == Some(self.invariant);
        if fails {
            self.best = candidate;
        }
        fails
    }

    /// Removes items, of which there are `count`, in ever smaller chunks.
    fn remove(&mut self, count: impl Fn(&Plan) -> usize, without: impl Fn(&Plan, Range<usize>) -> Plan) {
        let mut chunk = count(&self.best);
        while chunk > 0 {
            // From the end: what comes last is the least likely to matter.
            let mut end = count(&self.best);
            while end > 0 {
                let from = end.saturating_sub(chunk);
                let candidate = without(&self.best, from..end);
                self.consider(candidate);
                end = from.min(count(&self.best));
            }
            chunk /= 2;
        }
    }

    /// Tries candidates, from the one that changes most, again and again until none of them fails.
    fn simplify(&mut self, candidates: fn(&Plan) -> Vec<Plan>) {
        loop {
            let all = candidates(&self.best);
            if !all.into_iter().any(|candidate| self.consider(candidate)) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
