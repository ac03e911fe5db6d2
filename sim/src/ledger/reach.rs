//! What a number of runs has reached.

use super::marks::MARKS;
use crate::{
    fault::{AnyAct, Family},
    oracle::excuse::Excuses,
    plan::Deed,
    runner::Coverage,
};

/// One thing that may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// In how many runs it was reached.
    pub runs: u64,
    /// How often in all of them.
    pub times: u64,
}

impl Row {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            runs: 0,
            times: 0,
        }
    }

    fn add(&mut self, times: u64) {
        self.runs += u64::from(times > 0);
        self.times += times;
    }
}

/// Everything that may be reached; what never was has its rows too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Families of faults.
    pub families: Vec<Row>,
    /// Kinds of fault, in the order of [`AnyAct::KINDS`].
    pub faults: Vec<Row>,
    /// Strangers' deeds.
    pub deeds: Vec<Row>,
    /// Marks in the product.
    pub marks: Vec<Row>,
    /// Why visits that failed were excused.
    pub excuses: Excuses,
}

impl Default for Reach {
    fn default() -> Self {
        Self {
            families: Family::ALL.iter().map(|family| Row::new(family.name())).collect(),
            faults: AnyAct::KINDS.iter().map(|(name, _)| Row::new(name)).collect(),
            deeds: Deed::NAMES.into_iter().map(Row::new).collect(),
            marks: MARKS.iter().map(|mark| Row::new(mark.name)).collect(),
            excuses: Excuses::new(),
        }
    }
}

impl Reach {
    /// Adds what one run has reached.
    pub fn add(&mut self, coverage: &Coverage) {
        let done = |name: &str| coverage.faults.get(name).copied().unwrap_or(0);
        for (row, family) in self.families.iter_mut().zip(Family::ALL) {
            let kinds = AnyAct::KINDS.iter().filter(|(_, of)| of == family);
            row.add(kinds.map(|(name, _)| done(name)).sum());
        }
        for row in &mut self.faults {
            row.add(done(row.name));
        }
        for row in &mut self.deeds {
            row.add(coverage.intrusions.get(row.name).copied().unwrap_or(0));
        }
        for row in &mut self.marks {
            row.add(coverage.marks.get(row.name).copied().unwrap_or(0));
        }
        for (name, times) in &coverage.excuses {
            *self.excuses.entry(name).or_default() += times;
        }
    }

    /// What was never reached, in words.
    pub fn gaps(&self) -> Vec<String> {
        let parts = [
            ("fault", &self.faults),
            ("deed", &self.deeds),
            ("mark", &self.marks),
        ];
        let never = |(what, rows): (&'static str, &Vec<Row>)| {
            let rows: Vec<_> = rows.iter().filter(|row| row.times == 0).copied().collect();
            rows.into_iter().map(move |row| format!("{what} {}", row.name))
        };
        parts.into_iter().flat_map(never).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::draw::scenario;
    use std::collections::BTreeSet;

    #[test]
    fn what_is_reached_is_no_gap() {
        let mut reach = Reach::default();
        let all = AnyAct::KINDS.len() + Deed::NAMES.len() + MARKS.len();
        assert_eq!(reach.gaps().len(), all);
        let coverage = Coverage {
            faults: [("lag", 2), ("loss", 1), ("crash", 0)].into(),
            intrusions: [("flaps", 3)].into(),
            marks: [("pool-was-empty", 4)].into(),
            planted: 0,
            excuses: Excuses::new(),
        };
        reach.add(&coverage);
        reach.add(&Coverage::default());
        assert_eq!(reach.gaps().len(), all - 4);
        let weather = reach.families.iter().find(|row| row.name == "weather");
        assert_eq!(weather.map(|row| (row.runs, row.times)), Some((1, 3)));
    }

    #[test]
    fn a_full_sweep_draws_every_fault_and_every_deed() {
        let any = scenario("any").unwrap();
        let plans: Vec<_> = (1..=300).map(any.draw).collect();
        let faults: BTreeSet<_> = plans
            .iter()
            .flat_map(|plan| plan.faults.iter().map(|fault| fault.act.name()))
            .collect();
        let deeds: BTreeSet<_> = plans
            .iter()
            .flat_map(|plan| plan.strangers.iter().map(|one| one.deed.name()))
            .collect();
        assert_eq!(faults, AnyAct::KINDS.iter().map(|(name, _)| *name).collect());
        assert_eq!(deeds, Deed::NAMES.into());
    }
}
