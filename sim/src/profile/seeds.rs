//! What each seed did and counted when that was written down, as a hash. A seed is the same run whenever it is run, so one that
//! does or counts anything else does so because something was changed; whether that was meant only whoever changed it can tell.

use std::collections::BTreeMap;

use super::Counts;

/// On a line of the file.
const ON_A_LINE: usize = 12;

/// A hash of what each seed did, packet by packet, and of what it counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seeds(pub BTreeMap<u64, u32>);

impl Seeds {
    /// Adds a run: the hash of its trace, and what it counted.
    pub fn add(&mut self, seed: u64, trace: u64, counts: &Counts) {
        self.0.insert(seed, hash(trace, counts));
    }

    /// The seeds that run otherwise than `before`, of those that are in both.
    pub fn changed(&self, before: &Self) -> Vec<u64> {
        let other = |(seed, hash): &(&u64, &u32)| before.0.get(seed).is_some_and(|before| before != *hash);
        self.0.iter().filter(other).map(|(seed, _)| *seed).collect()
    }

    /// How many are in both.
    pub fn shared(&self, before: &Self) -> usize {
        self.0.keys().filter(|seed| before.0.contains_key(seed)).count()
    }

    /// As a file: the first seed of a line, and the hashes from it on.
    pub fn to_text(&self) -> String {
        let all: Vec<_> = self.0.iter().collect();
        let mut text = String::new();
        for line in all.chunk_by(|(one, _), (next, _)| **one + 1 == **next) {
            for line in line.chunks(ON_A_LINE) {
                text += &line[0].0.to_string();
                for (_, hash) in line {
                    text += &format!(" {hash:08x}");
                }
                text += "\n";
            }
        }
        text
    }

    /// Reads such a file.
    ///
    /// # Errors
    /// The number of the line that is none.
    pub fn of_text(text: &str) -> Result<Self, usize> {
        let mut seeds = Self::default();
        for (n, line) in text.lines().enumerate() {
            let wrong = n + 1;
            let (first, hashes) = line.split_once(' ').ok_or(wrong)?;
            let first: u64 = first.parse().map_err(|_| wrong)?;
            for (seed, hash) in (first..).zip(hashes.split(' ')) {
                let hash = u32::from_str_radix(hash, 16).map_err(|_| wrong)?;
                seeds.0.insert(seed, hash);
            }
        }
        Ok(seeds)
    }
}

/// FNV-1a over the trace, names and values, folded.
fn hash(trace: u64, counts: &Counts) -> u32 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    add(&trace.to_le_bytes());
    let sums = counts.sums.iter().map(|(name, count)| (name.as_str(), *count));
    for (name, value) in sums.chain(counts.means.iter().map(|(name, mean)| (*name, *mean))) {
        add(name.as_bytes());
        // Of a logarithm the last digits are the processor's.
        add(&((value * 1e6).round() as i64).to_le_bytes());
    }
    (hash ^ (hash >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(tries: f64, wait: f64) -> Counts {
        Counts {
            sums: [("tries".to_owned(), tries)].into(),
            means: [("wait", wait)].into(),
        }
    }

    #[test]
    fn one_more_of_anything_is_another_hash() {
        let mut before = Seeds::default();
        for seed in 1..=40 {
            before.add(seed, 1, &counts(seed as f64, 0.5));
        }
        let mut now = before.clone();
        assert_eq!(now.changed(&before), Vec::<u64>::new());
        now.add(7, 1, &counts(8.0, 0.5));
        now.add(9, 1, &counts(9.0, 0.500_01));
        now.add(11, 2, &counts(11.0, 0.5));
        now.add(41, 1, &counts(1.0, 1.0));
        assert_eq!(now.changed(&before), [7, 9, 11]);
        assert_eq!(now.shared(&before), 40);
    }

    #[test]
    fn a_file_comes_back() {
        let mut seeds = Seeds::default();
        for seed in (1..=30).chain(50..=51) {
            seeds.add(seed, 1, &counts(seed as f64, 0.5));
        }
        assert_eq!(Seeds::of_text(&seeds.to_text()), Ok(seeds));
        assert_eq!(Seeds::of_text("1 00000001\n2\n"), Err(2));
        assert_eq!(Seeds::of_text("1 0000000x\n"), Err(1));
    }
}
