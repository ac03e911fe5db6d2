//! Finds the first of many rules that fits a host and a path, in steps that depend on these two and not on how many
//! rules there are.
//!
//! A tree of steps. The first goes by host: a whole name, or the part behind a wildcard. Each further one goes by one
//! segment of the path, by its text or by a parameter of any name. Rules stand where their pattern ends, each as its
//! place in the order in which rules win. Every way through the tree that fits is walked, with the best place so far
//! in hand; what holds nothing better is left alone.

use std::collections::BTreeMap;

use super::{
    edges::Edges,
    host::HostPattern,
    path::{PathPattern, Segment, split},
};

/// Where steps by a whole host name begin.
const EXACT: u32 = 0;
/// Where steps by what stands behind a wildcard begin.
const BELOW: u32 = 1;
/// Where the paths of rules about any host begin.
const ANY: u32 = 2;

/// No node, or no place.
const NONE: u32 = u32::MAX;

/// Names below which there may be rules have at most so many labels, as [`HostPattern`] sees to.
const LABELS_MAX: u32 = 127;

/// One step's end.
#[derive(Debug)]
struct Node {
    /// The best place here and behind.
    best: u32,
    /// Where any segment leads, or [`NONE`].
    any: u32,
    /// The rules that end here, the best first.
    ends: Vec<End>,
}

/// A rule that ends at a node.
#[derive(Clone, Copy, Debug)]
struct End {
    place: u32,
    extent: Extent,
}

/// How much of a path may be left where a pattern ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    Nothing,
    Something,
    Anything,
}

impl Extent {
    /// Whether it is all right that `left` is left; `None` is nothing, not even a border.
    fn allows(self, left: Option<&str>) -> bool {
        match self {
            Self::Nothing => left.is_none(),
            Self::Something => left.is_some_and(|left| !left.is_empty()),
            Self::Anything => true,
        }
    }
}

/// The tree.
#[derive(Debug)]
pub(super) struct Index {
    nodes: Vec<Node>,
    edges: Edges,
    /// A bit for each number of labels that some name behind a wildcard has: others are not looked up.
    labels_below: u128,
}

impl Index {
    /// Of what rules ask of host and path, in the order in which they win.
    ///
    /// # Panics
    /// If there are 2^32 rules, or segments of them.
    pub(super) fn new<'a>(rules: impl Iterator<Item = (&'a HostPattern, Option<&'a PathPattern>)>) -> Self {
        let mut builder = Builder::default();
        for (place, (host, path)) in rules.enumerate() {
            let place = u32::try_from(place).ok().filter(|place| *place != NONE);
            builder.insert(place.expect("fewer than 2^32 rules"), host, path);
        }
        Self {
            nodes: builder.nodes,
            edges: Edges::new(builder.steps),
            labels_below: builder.labels_below,
        }
    }

    /// The best place of a rule that fits and `passes` what else it asks.
    pub(super) fn first(&self, host: &str, path: &str, passes: impl Fn(u32) -> bool) -> Option<u32> {
        let mut search = Search {
            index: self,
            passes,
            best: NONE,
        };
        // From the most specific host to the least, because a rule that is found early ends the search early.
        let left = path.strip_prefix('/');
        if let Some(root) = self.edges.get(EXACT, host) {
            search.walk(root, left);
        }
        if self.labels_below != 0 {
            let mut labels = host.matches('.').count();
            for (at, _) in host.match_indices('.') {
                // What stands in front of the dot is a label if it is not empty.
                if at > 0
                    && self.has_names_below(labels)
                    && let Some(root) = self.edges.get(BELOW, &host[at + 1..])
                {
                    search.walk(root, left);
                }
                labels -= 1;
            }
        }
        search.walk(ANY, left);
        (search.best != NONE).then_some(search.best)
    }

    fn has_names_below(&self, labels: usize) -> bool {
        let bit = u32::try_from(labels)
            .ok()
            .and_then(|labels| 1u128.checked_shl(labels));
        self.labels_below & bit.unwrap_or(0) != 0
    }
}

/// One search in the tree.
struct Search<'a, P> {
    index: &'a Index,
    passes: P,
    /// The best place so far.
    best: u32,
}

impl<P: Fn(u32) -> bool> Search<'_, P> {
    /// Looks for something better at a node and behind it. `left` is the path behind the border that follows the node,
    /// or nothing where the path ends there.
    fn walk(&mut self, node: u32, left: Option<&str>) {
        let index = self.index;
        let Node { best, any, ends } = &index.nodes[node as usize];
        if *best >= self.best {
            return;
        }
        for end in ends {
            if end.place >= self.best {
                break;
            }
            if end.extent.allows(left) && (self.passes)(end.place) {
                self.best = end.place;
            }
        }
        let Some((first, behind)) = left.map(split) else {
            return;
        };
        if let Some(node) = index.edges.get(node, first) {
            self.walk(node, behind);
        }
        if *any != NONE && !first.is_empty() {
            self.walk(*any, behind);
        }
    }
}

/// A tree that grows.
struct Builder {
    nodes: Vec<Node>,
    steps: BTreeMap<(u32, Box<str>), u32>,
    labels_below: u128,
}

impl Default for Builder {
    fn default() -> Self {
        let mut builder = Self {
            nodes: Vec::new(),
            steps: BTreeMap::new(),
            labels_below: 0,
        };
        for root in [EXACT, BELOW, ANY] {
            let node = builder.grow();
            debug_assert_eq!(node, root, "the roots come first");
        }
        builder
    }
}

impl Builder {
    /// Rules are inserted in order of their places, so that what is at a node already is better.
    fn insert(&mut self, place: u32, host: &HostPattern, path: Option<&PathPattern>) {
        let mut at = match host {
            HostPattern::Exact(name) => self.step(EXACT, name.as_str()),
            HostPattern::Below(name) => {
                let labels = u32::try_from(name.labels())
                    .ok()
                    .filter(|labels| *labels <= LABELS_MAX);
                self.labels_below |= 1 << labels.expect("a name has at most 127 labels");
                self.step(BELOW, name.as_str())
            }
            HostPattern::Any => ANY,
        };
        self.note(at, place);
        let mut extent = match path {
            None | Some(PathPattern::Prefix(_)) => Extent::Anything,
            Some(PathPattern::Exact(_) | PathPattern::Params(_)) => Extent::Nothing,
        };
        for segment in path.map_or(&[][..], PathPattern::segments) {
            at = match segment {
                Segment::Literal(text) => self.step(at, text),
                Segment::Param(_) => self.step_by_any(at),
                Segment::Rest(_) => {
                    extent = Extent::Something;
                    break;
                }
            };
            self.note(at, place);
        }
        self.nodes[at as usize].ends.push(End { place, extent });
    }

    fn note(&mut self, node: u32, place: u32) {
        let best = &mut self.nodes[node as usize].best;
        *best = place.min(*best);
    }

    fn step(&mut self, from: u32, text: &str) -> u32 {
        if let Some(to) = self.steps.get(&(from, text.into())) {
            return *to;
        }
        let to = self.grow();
        self.steps.insert((from, text.into()), to);
        to
    }

    fn step_by_any(&mut self, from: u32) -> u32 {
        if self.nodes[from as usize].any == NONE {
            self.nodes[from as usize].any = self.grow();
        }
        self.nodes[from as usize].any
    }

    fn grow(&mut self) -> u32 {
        let node = u32::try_from(self.nodes.len()).ok().filter(|node| *node != NONE);
        self.nodes.push(Node {
            best: NONE,
            any: NONE,
            ends: Vec::new(),
        });
        node.expect("fewer than 2^32 segments")
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Asks an index of paths under any host; says how many rules were tried, and which one it is.
    fn tried(paths: &[PathPattern], asked: &str, passes: impl Fn(u32) -> bool) -> (u32, Option<u32>) {
        let index = Index::new(paths.iter().map(|path| (&HostPattern::Any, Some(path))));
        let tried = Cell::new(0);
        let found = index.first("h", asked, |place| {
            tried.set(tried.get() + 1);
            passes(place)
        });
        (tried.get(), found)
    }

    #[test]
    fn what_is_found_early_ends_the_search() {
        // At every segment both ways fit, so that each of these patterns fits.
        let pattern = |bits: u32| {
            let segment = |n: u32| match bits >> n & 1 {
                0 => "/a".to_owned(),
                _ => format!("/{{p{n}}}"),
            };
            let path: String = (0..10).map(segment).collect();
            path.parse().unwrap()
        };
        let mut patterns: Vec<PathPattern> = vec!["=/a/a/a/a/a/a/a/a/a/a".parse().unwrap()];
        patterns.extend((1..1 << 10).map(pattern));
        let path = "/a".repeat(10);
        assert_eq!(tried(&patterns, &path, |_| true), (1, Some(0)));
        assert_eq!(tried(&patterns, &path, |_| false), (1024, None));
        assert_eq!(tried(&patterns, "/b/a/a/a/a/a/a/a/a/a", |_| false).0, 512);
        assert_eq!(tried(&patterns, "/b", |_| true), (0, None));
    }

    #[test]
    fn names_are_looked_up_where_there_are_some() {
        let check = |pattern: &str, host: &str, expected: bool| {
            let host_pattern: HostPattern = pattern.parse().unwrap();
            let index = Index::new([(&host_pattern, None)].into_iter());
            let found = index.first(host, "/", |_| true).is_some();
            assert_eq!(found, expected, "{pattern} {host}");
            assert_eq!(found, host_pattern.fits(host), "{pattern} {host}");
        };
        check("*.b.c", "a.b.c", true);
        check("*.b.c", "b.c", false);
        check("*.b.c", ".b.c", false);
        let long = ["a"; 126].join(".");
        check(&format!("*.{long}"), &format!("x.{long}"), true);
        check(&format!("*.{long}"), &format!("x.y.{long}"), true);
        check(&format!("*.{long}"), &long, false);
        check("*.a", &format!("{long}.{long}.{long}"), true);
        check("*.b", &".".repeat(5000), false);
    }
}
