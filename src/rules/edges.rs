//! Steps from where there are too many to look at each: the one map of the index, made once and only read then.

use super::tree::NONE;

/// A step and where it leads, or [`NONE`] where there is no step.
#[derive(Clone, Copy, Debug)]
struct Edge {
    from: u32,
    to: u32,
    hash: u32,
}

/// Takes a node and a text to a node, whose text is compared by whoever asks.
///
/// A table of hashes, because a sorted list of 100,000 steps is searched at seventeen places, most of which are in no
/// cache. The hash has no secret: only whoever writes the rules decides what is in the table, and what a request asks
/// for costs a look at one place and what follows it without a gap.
#[derive(Debug)]
pub(super) struct Edges {
    /// A step stands where its hash says, or at the next free place.
    places: Box<[Edge]>,
}

impl Edges {
    /// Of steps: from a node, by a text, to a node.
    ///
    /// # Panics
    /// If there are 2^31 steps.
    pub(super) fn new<'a>(steps: impl ExactSizeIterator<Item = (u32, &'a [u8], u32)>) -> Self {
        assert!(steps.len() < 1 << 31, "fewer than 2^31 steps");
        let nothing = Edge {
            from: NONE,
            to: NONE,
            hash: 0,
        };
        // At least half of the places stay free, so that most look-ups see one place.
        let mut places = vec![nothing; (2 * steps.len()).next_power_of_two()].into_boxed_slice();
        for (from, text, to) in steps {
            let hash = hash(from, text);
            let mut at = hash as usize & (places.len() - 1);
            while places[at].to != NONE {
                at = (at + 1) & (places.len() - 1);
            }
            places[at] = Edge { from, to, hash };
        }
        Self { places }
    }

    /// Where the step leads that `is_it` takes for the right one.
    pub(super) fn get(&self, from: u32, text: &[u8], is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let hash = hash(from, text);
        let (before, behind) = self.places.split_at(hash as usize & (self.places.len() - 1));
        let steps = behind.iter().chain(before).take_while(|edge| edge.to != NONE);
        let mut steps = steps.filter(|edge| edge.hash == hash && edge.from == from);
        steps.find(|edge| is_it(edge.to)).map(|edge| edge.to)
    }
}

/// Eight octets at a time, as Firefox and rustc hash.
fn hash(from: u32, text: &[u8]) -> u32 {
    // 2^64 divided by the golden ratio: an odd number whose bits stand in no order.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    let mut hash = mix(text.len() as u64, from.into());
    for chunk in text.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix(hash, u64::from_le_bytes(word));
    }
    // The highest bits of a product depend on all bits of the number, and they are what counts.
    (mix(hash, 0) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_step_is_found_and_no_other() {
        for count in [0, 1, 2, 3, 1000] {
            let texts: Vec<_> = (0..count)
                .map(|n| format!("{}{n}", "x".repeat(n % 20)).into_bytes())
                .collect();
            let from = |to: usize| to as u32 % 7;
            let steps = texts.iter().enumerate();
            let edges = Edges::new(steps.map(|(to, text)| (from(to), text.as_slice(), to as u32)));
            let found = |from: u32, text: &[u8]| edges.get(from, text, |to| texts[to as usize] == text);
            for (to, text) in texts.iter().enumerate() {
                assert_eq!(found(from(to), text), Some(to as u32));
                assert_eq!(found(from(to) + 1, text), None);
            }
            assert_eq!(found(0, b""), None);
            assert_eq!(found(0, b"y"), None);
        }
    }

    #[test]
    fn steps_whose_hashes_meet_are_kept_apart() {
        // Numbers in a row would not meet for long: that is what the factor is good at.
        let froms = (0..).map(|n: u32| n.wrapping_mul(n ^ 0x5bd1_e995));
        let mut seen = BTreeMap::new();
        let met = |from: u32| {
            let other = seen.insert(hash(from, b"a"), from)?;
            (other != from).then_some((other, from))
        };
        let (one, other) = froms.take(1 << 20).find_map(met).unwrap();
        let edges = Edges::new([(one, b"a".as_slice(), 1), (other, b"a", 2)].into_iter());
        assert_eq!(edges.get(one, b"a", |_| true), Some(1));
        assert_eq!(edges.get(other, b"a", |_| true), Some(2));
    }

    #[test]
    fn runs_stay_short() {
        let texts: Vec<_> = (0..100_000).map(|n| format!("host-{n}.example.com")).collect();
        let steps = texts.iter().enumerate();
        let steps = steps.map(|(to, text)| (to as u32 % 3, text.as_bytes(), to as u32));
        let edges = Edges::new(steps);
        let runs = edges.places.split(|edge| edge.to == NONE);
        let longest = runs.map(<[_]>::len).max();
        assert!(longest < Some(64), "{longest:?}");
    }
}
