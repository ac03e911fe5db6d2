//! The nodes of the index as they lie in memory: one behind the other, each with its ends and its text.
//!
//! With 100,000 rules it is not comparing that costs but waiting for memory. What one request needs of the tree lies
//! together, in a few lines of a cache and in one page, when nodes are pushed in the order in which they are walked.

use super::tree::{End, Extent, NONE};

/// The numbers of a node, which stand before its ends and its text: the fields of [`Node`].
const HEAD_LEN: usize = 6;
/// Which of them are written when it is known what is behind the node.
const ANY: usize = 1;
const CHILDREN: usize = 2;
const CHILDREN_LEN: usize = 3;

/// Octets of a number.
const NUMBER_LEN: usize = size_of::<u32>();

/// What a place is multiplied by to make room for an extent in the same number.
const EXTENTS: u32 = 4;

/// Nodes, each known by where it begins.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    octets: Vec<u8>,
}

/// A node and the step to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    /// The best place here and behind.
    pub(super) best: u32,
    /// Where any segment leads, or [`NONE`].
    pub(super) any: u32,
    /// The first of the nodes that steps by text lead to, behind which the others stand; [`NONE`] if they are in the
    /// table.
    pub(super) children: u32,
    pub(super) children_len: u32,
    /// A number for each.
    ends: &'a [[u8; NUMBER_LEN]],
    text: &'a [u8],
}

impl Nodes {
    /// Adds a node with no steps from it.
    ///
    /// # Panics
    /// If there are 2^30 rules, or 4 GiB of nodes.
    pub(super) fn push(&mut self, text: &str, best: u32, ends: &[End]) -> u32 {
        let at = self.end();
        let len = |len: usize| u32::try_from(len).expect("less than 4 GiB");
        let end = |end: &End| {
            let place = end.place.checked_mul(EXTENTS).expect("fewer than 2^30 rules");
            place + end.extent as u32
        };
        let head: [u32; HEAD_LEN] = [best, NONE, NONE, 0, len(ends.len()), len(text.len())];
        let numbers = head.into_iter().chain(ends.iter().map(end));
        self.octets.extend(numbers.flat_map(u32::to_le_bytes));
        self.octets.extend_from_slice(text.as_bytes());
        at
    }

    /// Says where any segment leads from a node.
    pub(super) fn set_any(&mut self, at: u32, any: u32) {
        self.set(at, ANY, any);
    }

    /// Says where the nodes begin that steps by text lead to, or [`NONE`], and how many they are.
    pub(super) fn set_children(&mut self, at: u32, first: u32, len: u32) {
        self.set(at, CHILDREN, first);
        self.set(at, CHILDREN_LEN, len);
    }

    fn set(&mut self, at: u32, field: usize, number: u32) {
        let at = at as usize + field * NUMBER_LEN;
        self.octets[at..at + NUMBER_LEN].copy_from_slice(&number.to_le_bytes());
    }

    /// Where the next node will begin.
    pub(super) fn end(&self) -> u32 {
        let end = u32::try_from(self.octets.len()).ok().filter(|end| *end < NONE);
        end.expect("less than 4 GiB of nodes")
    }

    /// The node that begins here.
    pub(super) fn get(&self, at: u32) -> Node<'_> {
        let (numbers, _) = self.octets[at as usize..].as_chunks::<NUMBER_LEN>();
        let (head, behind) = numbers
            .split_first_chunk::<HEAD_LEN>()
            .expect("a node begins here");
        let [best, any, children, children_len, ends_len, text_len] = head.map(u32::from_le_bytes);
        let ends = &behind[..ends_len as usize];
        let text = at as usize + (HEAD_LEN + ends.len()) * NUMBER_LEN;
        Node {
            best,
            any,
            children,
            children_len,
            ends,
            text: &self.octets[text..text + text_len as usize],
        }
    }
}

impl Node<'_> {
    /// The rules that end here, the best first.
    pub(super) fn ends(&self) -> impl Iterator<Item = End> {
        let numbers = self.ends.iter().copied().map(u32::from_le_bytes);
        numbers.map(|number| End {
            place: number / EXTENTS,
            extent: Extent::ALL[(number % EXTENTS) as usize],
        })
    }

    /// Whether this is the text of the step to it.
    pub(super) fn is_by(&self, text: &str) -> bool {
        self.text == text.as_bytes()
    }

    /// How many octets it takes.
    pub(super) fn len(&self) -> u32 {
        ((HEAD_LEN + self.ends.len()) * NUMBER_LEN + self.text.len()) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_there() {
        let mut nodes = Nodes::default();
        let texts = ["", "a", "abcd", "abcde", "ab", "abcd\0"];
        let end = |place| End {
            place,
            extent: Extent::ALL[place as usize % 3],
        };
        let ends: Vec<_> = (0..6).map(end).collect();
        let mut places = Vec::new();
        for (n, text) in texts.iter().enumerate() {
            places.push(nodes.push(text, n as u32, &ends[..n]));
        }
        nodes.set_any(places[1], places[2]);
        nodes.set_children(places[1], places[3], 2);
        for (n, at) in places.iter().enumerate() {
            let node = nodes.get(*at);
            assert_eq!(node.best, n as u32);
            assert!(node.ends().eq(ends[..n].iter().copied()));
            let by: Vec<_> = texts.iter().filter(|text| node.is_by(text)).collect();
            assert_eq!(by, [&texts[n]]);
            let next = places.get(n + 1).copied();
            assert_eq!(at + node.len(), next.unwrap_or(nodes.end()));
        }
        let node = nodes.get(places[1]);
        assert_eq!(
            (node.any, node.children, node.children_len),
            (places[2], places[3], 2)
        );
    }
}
