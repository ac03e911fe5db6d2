//! Where a step leads: the one map of the index, made once and only read then.

use std::collections::BTreeMap;

/// A step and where it leads.
#[derive(Debug)]
struct Edge {
    from: u32,
    to: u32,
    text: Box<str>,
}

/// Takes a node and a text to a node.
///
/// A table of buckets, because a sorted list of 100,000 steps is searched at seventeen places, most of which are in no
/// cache. The hash has no secret: only whoever writes the rules decides what is in the table, and what a request asks
/// for costs a look at one bucket.
#[derive(Debug)]
pub(super) struct Edges {
    /// In order of their buckets.
    edges: Box<[Edge]>,
    /// Where each bucket begins, and where the last one ends.
    begins: Box<[u32]>,
    /// How far a hash is shifted to be the number of a bucket.
    shift: u32,
}

impl Edges {
    /// # Panics
    /// If there are 2^32 steps.
    pub(super) fn new(steps: BTreeMap<(u32, Box<str>), u32>) -> Self {
        // At most one step in two buckets, so that most look-ups see one step, or none.
        let buckets = (2 * steps.len()).next_power_of_two();
        let shift = u64::BITS - buckets.trailing_zeros();
        let mut edges: Vec<_> = steps
            .into_iter()
            .map(|((from, text), to)| Edge { from, to, text })
            .collect();
        edges.sort_by_cached_key(|edge| bucket(hash(edge.from, &edge.text), shift));
        let mut begins = vec![0u32; buckets + 1];
        for edge in &edges {
            begins[bucket(hash(edge.from, &edge.text), shift) + 1] += 1;
        }
        // From how many there are in each to how many there are before it.
        let mut before = 0u32;
        for begin in &mut begins {
            before = before.checked_add(*begin).expect("fewer than 2^32 steps");
            *begin = before;
        }
        Self {
            edges: edges.into(),
            begins: begins.into(),
            shift,
        }
    }

    pub(super) fn get(&self, from: u32, text: &str) -> Option<u32> {
        let bucket = bucket(hash(from, text), self.shift);
        let [begin, end] = [self.begins[bucket], self.begins[bucket + 1]].map(|at| at as usize);
        let is_it = |edge: &&Edge| edge.from == from && *edge.text == *text;
        self.edges[begin..end].iter().find(is_it).map(|edge| edge.to)
    }
}

fn bucket(hash: u64, shift: u32) -> usize {
    // A shift by all bits is none to the processor; there is one bucket then.
    hash.checked_shr(shift).unwrap_or(0) as usize
}

/// Eight octets at a time, as Firefox and rustc hash.
fn hash(from: u32, text: &str) -> u64 {
    // 2^64 divided by the golden ratio: an odd number whose bits stand in no order.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    let mut hash = mix(text.len() as u64, from.into());
    for chunk in text.as_bytes().chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash, u64::from_le_bytes(word));
    }
    // The highest bits of a product depend on all bits of the number, and they are what counts.
    mix(hash, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_found_and_no_other() {
        for count in [0, 1, 2, 3, 1000] {
            let text = |n: u32| format!("{}{n}", "x".repeat(n as usize % 20));
            let steps = (0..count).map(|n| ((n % 7, text(n).into()), n)).collect();
            let edges = Edges::new(steps);
            for n in 0..count {
                assert_eq!(edges.get(n % 7, &text(n)), Some(n));
                assert_eq!(edges.get(n % 7 + 1, &text(n)), None);
            }
            assert_eq!(edges.get(0, ""), None);
            assert_eq!(edges.get(0, "y"), None);
        }
    }

    #[test]
    fn buckets_stay_short() {
        let steps = (0..100_000u32).map(|n| ((n % 3, format!("host-{n}.example.com").into()), n));
        let edges = Edges::new(steps.collect());
        let longest = edges.begins.windows(2).map(|pair| pair[1] - pair[0]).max();
        // A random function puts 7 or 8 into the fullest of so many buckets.
        assert!(longest.unwrap() < 12, "{longest:?}");
    }
}
