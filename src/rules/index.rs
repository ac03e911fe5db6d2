//! Finds the first of many rules that fits a host and a path, in steps that depend on these two and not on how many
//! rules there are.
//!
//! A tree of steps. The first goes by host: a whole name, or the part behind a wildcard. Each further one goes by one
//! segment of the path, by its text or by a parameter of any name. Rules stand where their pattern ends, each as its
//! place in the order in which rules win. Every way through the tree that fits is walked, with the best place so far
//! in hand; what holds nothing better is left alone.

use super::{
    edges::Edges,
    host::HostPattern,
    nodes::Nodes,
    path::{PathPattern, split},
    tree::{NONE, Tree},
};
use crate::probe::mutant;

/// The most steps by text from one node that are looked at one after the other. With more, much is read to find one;
/// with fewer, more is looked up in the table, which is far from everything else.
const CHILDREN_MAX: usize = 8;

/// The tree as it is searched.
#[derive(Debug)]
pub(super) struct Index {
    nodes: Nodes,
    edges: Edges,
    /// Where steps by a whole host begin.
    exact: u32,
    /// Where steps by what stands behind a wildcard begin.
    below: u32,
    /// Where the paths of rules about any host begin.
    any: u32,
    /// A bit for each number of labels that some name behind a wildcard has: others are not looked up.
    labels_below: u128,
}

impl Index {
    /// Of rules in the order in which they win.
    ///
    /// # Panics
    /// If there are 2^30 rules, or 4 GiB of their hosts and paths.
    pub(super) fn new<'a>(rules: impl Iterator<Item = (&'a HostPattern, Option<&'a PathPattern>)>) -> Self {
        let [mut exact, mut below, mut any] = [(); 3].map(|()| Tree::default());
        let mut labels_below = 0;
        for (place, (host, path)) in (0..).zip(rules) {
            let root = match host {
                HostPattern::Exact(name) => exact.step(name.as_str()),
                HostPattern::Below(name) => {
                    labels_below |= bit(name.labels());
                    below.step(name.as_str())
                }
                HostPattern::Any => &mut any,
            };
            root.insert(path, place);
        }
        let mut layout = Layout::default();
        let [exact, below, any] = [&exact, &below, &any].map(|tree| layout.root(tree));
        let steps = layout
            .steps
            .iter()
            .map(|(from, text, to)| (*from, text.as_bytes(), *to));
        Self {
            edges: Edges::new(steps),
            nodes: layout.nodes,
            exact,
            below,
            any,
            labels_below,
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
        if let Some(root) = self.step(self.exact, host) {
            search.walk(root, left);
        }
        if search.best != NONE && mutant!("own-host-beats-priority") {
            return Some(search.best);
        }
        if self.labels_below != 0 {
            let mut labels = host.matches('.').count();
            for (at, _) in host.match_indices('.') {
                // What stands in front of the dot is a label if it is not empty.
                if at > 0
                    && self.labels_below & bit(labels) != 0
                    && let Some(root) = self.step(self.below, &host[at + 1..])
                {
                    search.walk(root, left);
                }
                labels -= 1;
            }
        }
        search.walk(self.any, left);
        (search.best != NONE).then_some(search.best)
    }

    /// Where the step by this text leads.
    fn step(&self, from: u32, text: &str) -> Option<u32> {
        let node = self.nodes.get(from);
        if node.children == NONE {
            let is_it = |to: u32| self.nodes.get(to).is_by(text);
            return self.edges.get(from, text.as_bytes(), is_it);
        }
        let mut at = node.children;
        for _ in 0..node.children_len {
            let child = self.nodes.get(at);
            if child.is_by(text) {
                return Some(at);
            }
            at += child.len();
        }
        None
    }
}

/// The bit of a number of labels. A name of a pattern has at most 127, and of a host none that has more is one.
fn bit(labels: usize) -> u128 {
    let labels = u32::try_from(labels).ok();
    labels.and_then(|labels| 1u128.checked_shl(labels)).unwrap_or(0)
}

/// Lays trees out: what is behind a node follows it.
#[derive(Default)]
struct Layout<'a> {
    nodes: Nodes,
    /// What belongs in the table.
    steps: Vec<(u32, &'a str, u32)>,
}

impl<'a> Layout<'a> {
    fn root(&mut self, tree: &'a Tree) -> u32 {
        let at = self.push("", tree);
        self.lay_out(at, tree);
        at
    }

    fn push(&mut self, text: &str, tree: &Tree) -> u32 {
        self.nodes.push(text, tree.best, &tree.ends)
    }

    /// Adds what is behind a node.
    fn lay_out(&mut self, at: u32, tree: &'a Tree) {
        if let Some(behind) = &tree.any {
            let to = self.push("", behind);
            self.nodes.set_any(at, to);
            self.lay_out(to, behind);
        }
        if tree.children.len() > CHILDREN_MAX {
            for (text, behind) in &tree.children {
                let to = self.push(text, behind);
                self.steps.push((at, text, to));
                self.lay_out(to, behind);
            }
            return;
        }
        let first = self.nodes.end();
        let children = tree.children.iter();
        let children: Vec<_> = children
            .map(|(text, behind)| (self.push(text, behind), behind))
            .collect();
        self.nodes.set_children(at, first, children.len() as u32);
        for (to, behind) in children {
            self.lay_out(to, behind);
        }
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
    fn walk(&mut self, at: u32, left: Option<&str>) {
        let node = self.index.nodes.get(at);
        if node.best >= self.best {
            return;
        }
        for end in node.ends() {
            if end.place >= self.best {
                break;
            }
            if !end.extent.allows(left) {
                continue;
            }
            if (self.passes)(end.place) {
                self.best = end.place;
            } else if mutant!("first-rule-of-a-path-decides") {
                break;
            }
        }
        let Some((first, behind)) = left.map(split) else {
            return;
        };
        if let Some(to) = self.index.step(at, first) {
            self.walk(to, behind);
        }
        if node.any != NONE && !first.is_empty() {
            self.walk(node.any, behind);
        }
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
