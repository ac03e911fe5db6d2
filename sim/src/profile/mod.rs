//! What runs count on average, held against what they counted before. An invariant judges one run; that targets are left
//! out for longer than before, or that more tries fail, only many runs show.

pub mod gather;
pub mod seeds;

use std::{collections::BTreeMap, ops::RangeInclusive};

/// What one run counted, by name.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// How often, or how much in all.
    pub sums: BTreeMap<String, f64>,
    /// Of what the product has measured: the mean of `ln(1 + value)`.
    pub means: BTreeMap<&'static str, f64>,
}

/// A figure differs when chance alone would move it so far less than once in a million: so many standard errors.
pub const DIFFERS: f64 = 5.0;

/// The seeds of any that are written down.
pub const RECORDED: RangeInclusive<u64> = 1..=1_200;

/// Sums that were written down are exact to less than this.
const WRITTEN: f64 = 1e-3;

/// Of fewer runs of a scenario it is not known how much they vary.
pub const RUNS_MIN: u64 = 30;

/// One figure over a number of runs. Counts are summed up as `ln(1 + count)`: one run with thousands does not outweigh all
/// others.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figure {
    /// In how many runs it was measured. `None`: it was counted, in all of them.
    runs: Option<u64>,
    /// The sum.
    sum: f64,
    /// The sum of the squares.
    squares: f64,
}

impl Figure {
    fn measured() -> Self {
        Self {
            runs: Some(0),
            ..Self::default()
        }
    }

    /// Adds `ln(1 + count)`, or the mean of such values.
    fn add(&mut self, value: f64) {
        self.runs = self.runs.map(|runs| runs + 1);
        self.sum += value;
        self.squares += value * value;
    }

    fn mean(self, runs: f64) -> f64 {
        self.sum / runs
    }

    /// The variance of its mean. What has hardly ever been counted varies as if it were counted in one more run.
    fn doubt(self, runs: f64) -> f64 {
        let mean = self.mean(runs);
        let one_more = std::f64::consts::LN_2.powi(2) / runs;
        (self.squares / runs - mean * mean).max(one_more) / runs
    }
}

/// What a number of runs of one scenario counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// How many.
    pub runs: u64,
    /// By name.
    pub figures: BTreeMap<String, Figure>,
}

impl Section {
    /// Adds a run.
    pub fn add(&mut self, counts: &Counts) {
        self.runs += 1;
        for (name, count) in &counts.sums {
            let figure = self.figures.entry(name.clone()).or_default();
            figure.add(count.max(0.0).ln_1p());
        }
        for (name, mean) in &counts.means {
            let figure = self.figures.entry(format!("measure/{name}"));
            figure.or_insert_with(Figure::measured).add(*mean);
        }
    }
}

/// What a number of runs counted, by scenario.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile(pub BTreeMap<String, Section>);

/// A figure that differs by more than chance.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Scenario and name.
    pub name: String,
    /// What a run counted before, and what it counts now, in the middle.
    pub middle: (f64, f64),
    /// How many standard errors lie between.
    pub errors: f64,
}

/// A figure of the very same runs that has changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Scenario and name.
    pub name: String,
    /// The sums, of `ln(1 + count)` or of means, before and now.
    pub sums: (f64, f64),
}

impl Change {
    /// By what part of the larger one it has changed.
    pub fn share(&self) -> f64 {
        let (before, now) = self.sums;
        (now - before).abs() / before.abs().max(now.abs())
    }
}

impl Profile {
    /// Adds a run of `scenario`.
    pub fn add(&mut self, scenario: &str, counts: &Counts) {
        match self.0.get_mut(scenario) {
            Some(section) => section.add(counts),
            None => self.0.entry(scenario.to_owned()).or_default().add(counts),
        }
    }

    /// Whether some scenario ran often enough to be compared.
    pub fn is_enough(&self) -> bool {
        self.0.values().any(|section| section.runs >= RUNS_MIN)
    }

    /// How often each scenario ran, in all.
    pub fn runs(&self) -> u64 {
        self.0.values().map(|section| section.runs).sum()
    }

    /// What differs from `before` by more than chance, the most certain first.
    pub fn differences(&self, before: &Self) -> Vec<Difference> {
        let mut all = Vec::new();
        for (scenario, now) in &self.0 {
            let before = before.0.get(scenario);
            let Some(before) = before.filter(|before| before.runs.min(now.runs) >= RUNS_MIN) else {
                continue;
            };
            let names: std::collections::BTreeSet<_> =
                before.figures.keys().chain(now.figures.keys()).collect();
            for name in names {
                let of = |section: &Section| section.figures.get(name).copied().unwrap_or_default();
                let (one, other) = (of(before), of(now));
                // What is counted in neither is measured in both, or new.
                let is_measured = one.runs.or(other.runs).is_some();
                let runs = match is_measured {
                    true => (one.runs.unwrap_or(0), other.runs.unwrap_or(0)),
                    false => (before.runs, now.runs),
                };
                if runs.0.min(runs.1) < RUNS_MIN {
                    continue;
                }
                let runs = (runs.0 as f64, runs.1 as f64);
                let means = (one.mean(runs.0), other.mean(runs.1));
                let errors = (means.1 - means.0) / (one.doubt(runs.0) + other.doubt(runs.1)).sqrt();
                if errors.abs() >= DIFFERS {
                    all.push(Difference {
                        name: format!("{scenario} {name}"),
                        middle: (means.0.exp_m1(), means.1.exp_m1()),
                        errors,
                    });
                }
            }
        }
        all.sort_by(|one, other| other.errors.abs().total_cmp(&one.errors.abs()));
        all
    }

    /// What the very same runs count otherwise than `before`, the largest share first. Nothing varies between two runs of one
    /// seed, so here chance has no part. `None`: they were other runs.
    pub fn changes(&self, before: &Self) -> Option<Vec<Change>> {
        let runs = |profile: &Self| -> Vec<_> {
            let each = profile
                .0
                .iter()
                .map(|(name, section)| (name.clone(), section.runs));
            each.collect()
        };
        if runs(self) != runs(before) {
            return None;
        }
        let mut all = Vec::new();
        for ((scenario, now), before) in self.0.iter().zip(before.0.values()) {
            let names: std::collections::BTreeSet<_> =
                before.figures.keys().chain(now.figures.keys()).collect();
            for name in names {
                let sum = |section: &Section| section.figures.get(name).map_or(0.0, |figure| figure.sum);
                let sums = (sum(before), sum(now));
                if (sums.0 - sums.1).abs() > WRITTEN {
                    let name = format!("{scenario} {name}");
                    all.push(Change { name, sums });
                }
            }
        }
        all.sort_by(|one, other| other.share().total_cmp(&one.share()));
        Some(all)
    }

    /// As a file: a line for each scenario, and one for each of its figures.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (scenario, section) in &self.0 {
            text += &format!("{scenario} {}\n", section.runs);
            let counted = |figure: &Figure| figure.sum > 0.0 || figure.runs.is_some();
            let counted = section.figures.iter().filter(|(_, figure)| counted(figure));
            for (name, figure) in counted {
                let runs = figure.runs.map(|runs| format!(" {runs}")).unwrap_or_default();
                text += &format!("  {name}{runs} {:.4} {:.4}\n", figure.sum, figure.squares);
            }
        }
        text
    }

    /// Reads such a file.
    ///
    /// # Errors
    /// The number of the line that is none.
    pub fn of_text(text: &str) -> Result<Self, usize> {
        let mut profile = Self::default();
        let mut scenario = None;
        for (n, line) in text.lines().enumerate() {
            let wrong = n + 1;
            let fields: Vec<_> = line.split_whitespace().collect();
            match (line.starts_with(' '), &fields[..], &scenario) {
                (false, [name, runs], _) => {
                    let runs = runs.parse().map_err(|_| wrong)?;
                    let section = Section {
                        runs,
                        figures: BTreeMap::new(),
                    };
                    profile.0.insert((*name).to_owned(), section);
                    scenario = Some((*name).to_owned());
                }
                (true, [name, runs @ .., sum, squares], Some(scenario)) if runs.len() < 2 => {
                    let runs = runs.first().map(|runs| runs.parse().map_err(|_| wrong));
                    let figure = Figure {
                        runs: runs.transpose()?,
                        sum: sum.parse().map_err(|_| wrong)?,
                        squares: squares.parse().map_err(|_| wrong)?,
                    };
                    let section = profile.0.get_mut(scenario).ok_or(wrong)?;
                    section.figures.insert((*name).to_owned(), figure);
                }
                _ => return Err(wrong),
            }
        }
        Ok(profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;
    use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

    fn profile(seed: u64, most: u32, rare_one_in: u32) -> Profile {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut profile = Profile::default();
        for _ in 0..400 {
            let mut counts = Counts::default();
            let tries = f64::from(rng.random_range(0..most));
            counts.sums.insert("tries".to_owned(), tries);
            if rare_one_in > 0 && rng.random_ratio(1, rare_one_in) {
                counts.sums.insert("rare".to_owned(), 1.0);
            }
            if rng.random_ratio(1, 3) {
                let wait = rng.random_range(10.0..20.0) * f64::from(most);
                counts.means.insert("wait", f64::ln_1p(wait));
            }
            profile.add("chaos", &counts);
        }
        profile
    }

    #[test]
    fn chance_makes_no_difference_and_a_change_does() {
        let before = profile(1, 100, 200);
        for seed in 2..200 {
            assert_eq!(profile(seed, 100, 200).differences(&before), [], "seed {seed}");
        }
        let more = profile(2, 200, 200).differences(&before);
        let names: Vec<_> = more.iter().map(|one| &one.name[..]).collect();
        assert_eq!(names, ["chaos measure/wait", "chaos tries"]);
        for one in more {
            assert!(one.errors > 0.0 && one.middle.1 > one.middle.0);
        }
        let new = profile(2, 100, 10).differences(&profile(1, 100, 0));
        assert_eq!(new.len(), 1, "{new:?}");
        assert_eq!(new[0].name, "chaos rare");
    }

    #[test]
    fn the_same_runs_count_the_same() {
        let before = Profile::of_text(&profile(1, 100, 50).to_text()).unwrap();
        assert_eq!(profile(1, 100, 50).changes(&before), Some(Vec::new()));
        let mut more = Counts::default();
        more.sums.insert("tries".to_owned(), 3.0);
        let (mut one, mut other) = (profile(1, 100, 50), profile(1, 100, 50));
        one.add("chaos", &more);
        assert_eq!(one.changes(&before), None);
        more.sums.insert("rare".to_owned(), 1.0);
        other.add("chaos", &more);
        let changes = other.changes(&one).unwrap();
        let names: Vec<_> = changes.iter().map(|one| &one.name[..]).collect();
        assert_eq!(names, ["chaos rare"]);
    }

    #[test]
    fn a_file_comes_back() {
        let profile = profile(1, 100, 50);
        let read = Profile::of_text(&profile.to_text()).unwrap();
        assert_eq!(read.to_text(), profile.to_text());
        assert_eq!(Profile::of_text("chaos 4\n  tries 1\n"), Err(2));
        assert_eq!(Profile::of_text("chaos 4\n  wait 1 2 3 4\n"), Err(2));
        assert_eq!(Profile::of_text("  tries 1 2\n"), Err(1));
    }
}
