//! The tree of hosts and paths as it grows.

use std::collections::BTreeMap;

use super::path::{PathPattern, Segment};

/// No node, no place, nothing.
pub(super) const NONE: u32 = u32::MAX;

/// What is behind a step.
#[derive(Debug)]
pub(super) struct Tree {
    /// The best place here and behind.
    pub(super) best: u32,
    /// The rules that end here, the best first.
    pub(super) ends: Vec<End>,
    /// Steps by text.
    pub(super) children: BTreeMap<Box<str>, Tree>,
    /// The step by any segment.
    pub(super) any: Option<Box<Tree>>,
}

/// A rule that ends at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Where it stands in the order in which rules win.
    pub(super) place: u32,
    pub(super) extent: Extent,
}

/// How much of a path may be left where a pattern ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Nothing,
    Something,
    Anything,
}

impl Extent {
    /// By their numbers.
    pub(super) const ALL: [Self; 3] = [Self::Nothing, Self::Something, Self::Anything];

    /// Whether it is all right that `left` is left; `None` is nothing, not even a border.
    pub(super) fn allows(self, left: Option<&str>) -> bool {
        match self {
            Self::Nothing => left.is_none(),
            Self::Something => left.is_some_and(|left| !left.is_empty()),
            Self::Anything => true,
        }
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            best: NONE,
            ends: Vec::new(),
            children: BTreeMap::new(),
            any: None,
        }
    }
}

impl Tree {
    /// What is behind the step by this text.
    pub(super) fn step(&mut self, text: &str) -> &mut Self {
        self.children.entry(text.into()).or_default()
    }

    /// Adds a rule with this path. Rules are inserted in the order in which they win, so that what is at a node already
    /// is better.
    pub(super) fn insert(&mut self, path: Option<&PathPattern>, place: u32) {
        let mut extent = match path {
            None | Some(PathPattern::Prefix(_)) => Extent::Anything,
            Some(PathPattern::Exact(_) | PathPattern::Params(_)) => Extent::Nothing,
        };
        let mut at = self;
        at.best = place.min(at.best);
        for segment in path.map_or(&[][..], PathPattern::segments) {
            at = match segment {
                Segment::Literal(text) => at.step(text),
                Segment::Param(_) => at.any.get_or_insert_default(),
                Segment::Rest(_) => {
                    extent = Extent::Something;
                    break;
                }
            };
            at.best = place.min(at.best);
        }
        at.ends.push(End { place, extent });
    }
}
