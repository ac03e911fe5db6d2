//! Figures of things that come and go: groups, targets and rules. What has left is no longer shown, and of very many
//! only some are.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Deref,
    sync::{Arc, PoisonError, RwLock, Weak},
};

/// The most members of one kind that a node shows. More makes each scrape longer, and costs whoever keeps the
/// series; fewer hides members of groups of ordinary size.
pub const SHOWN_MAX: usize = 1000;

/// What tells two members apart: the values of their labels.
pub(super) type Labels = (String, String);

/// The members of one kind that are here. A clone is the same.
pub(super) struct Series<F>(Arc<Home<F>>);

type Home<F> = RwLock<BTreeMap<Labels, Weak<Entry<F>>>>;

/// The figures of one member; shown until the last clone is dropped.
pub struct Member<F>(Arc<Entry<F>>);

struct Entry<F> {
    labels: Labels,
    home: Weak<Home<F>>,
    figures: F,
}

impl<F> Default for Series<F> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<F> Clone for Series<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F> fmt::Debug for Series<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Series").finish_non_exhaustive()
    }
}

impl<F> Clone for Member<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F: fmt::Debug> fmt::Debug for Member<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.figures.fmt(f)
    }
}

impl<F> Deref for Member<F> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.0.figures
    }
}

impl<F> Series<F> {
    /// The member of these labels that is here already.
    pub(super) fn find(&self, labels: &Labels) -> Option<Member<F>> {
        let home = self.0.read().unwrap_or_else(PoisonError::into_inner);
        home.get(labels)?.upgrade().map(Member)
    }

    /// The member of these labels that is here already, or a new one.
    pub(super) fn find_or_join(&self, labels: Labels) -> Member<F>
    where
        F: Default,
    {
        if let Some(member) = self.find(&labels) {
            return member;
        }
        // Between the two looks somebody else may have made it.
        let mut home = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(member) = home.get(&labels).and_then(Weak::upgrade) {
            return Member(member);
        }
        let entry = self.entry(&labels, F::default());
        home.insert(labels, Arc::downgrade(&entry));
        Member(entry)
    }

    fn entry(&self, labels: &Labels, figures: F) -> Arc<Entry<F>> {
        Arc::new(Entry {
            labels: labels.clone(),
            home: Arc::downgrade(&self.0),
            figures,
        })
    }

    /// A new member. One of the same labels that is still here is shown no longer: a client that registers again
    /// is another target of the same name.
    pub(super) fn join(&self, labels: Labels, figures: F) -> Member<F> {
        let entry = self.entry(&labels, figures);
        let mut home = self.0.write().unwrap_or_else(PoisonError::into_inner);
        home.insert(labels, Arc::downgrade(&entry));
        Member(entry)
    }

    /// At most [`SHOWN_MAX`] members, those of the lowest `rank` first, and how many are left out.
    pub(super) fn shown<R: Ord>(&self, rank: impl Fn(&F) -> R) -> (Vec<Shown<F>>, usize) {
        self.first(SHOWN_MAX, rank)
    }

    /// At most `max` members, those of the lowest `rank` first, and how many are left out.
    pub(super) fn first<R: Ord>(&self, max: usize, rank: impl Fn(&F) -> R) -> (Vec<Shown<F>>, usize) {
        // The lock is held for as long as it takes to copy the list, not while anything is written out.
        let home = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = home.values().filter_map(Weak::upgrade).map(Shown).collect();
        drop(home);
        // A stable sort: members of the same rank stay in the order of their labels.
        all.sort_by_cached_key(|member| rank(member.figures()));
        let hidden = all.len().saturating_sub(max);
        all.truncate(max);
        (all, hidden)
    }
}

/// A member as a scrape sees it.
pub(super) struct Shown<F>(Arc<Entry<F>>);

impl<F> Shown<F> {
    pub(super) fn labels(&self) -> (&str, &str) {
        (&self.0.labels.0, &self.0.labels.1)
    }

    pub(super) fn figures(&self) -> &F {
        &self.0.figures
    }
}

impl<F> Drop for Entry<F> {
    fn drop(&mut self) {
        let Some(home) = self.home.upgrade() else {
            return;
        };
        let mut home = home.write().unwrap_or_else(PoisonError::into_inner);
        let own: *const Self = self;
        if home
            .get(&self.labels)
            .is_some_and(|shown| std::ptr::eq(shown.as_ptr(), own))
        {
            home.remove(&self.labels);
        }
        #[cfg(feature = "mutants")]
        assert!(
            home.values().all(|member| member.strong_count() > 0),
            "who has left is not remembered"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(name: &str) -> Labels {
        ("g".to_owned(), name.to_owned())
    }

    fn names<F>(series: &Series<F>) -> Vec<String> {
        let (shown, _) = series.shown(|_| 0);
        shown.iter().map(|member| member.labels().1.to_owned()).collect()
    }

    #[test]
    fn a_member_is_shown_until_its_last_handle_is_dropped() {
        let series = Series::default();
        let (a, b) = (series.join(labels("a"), 1), series.join(labels("b"), 2));
        let again = a.clone();
        drop(a);
        assert_eq!(names(&series), ["a", "b"]);
        drop(again);
        assert_eq!(names(&series), ["b"]);
        assert!(series.find(&labels("a")).is_none());
        assert_eq!(series.find(&labels("b")).as_deref(), Some(&2));
        drop(b);
        assert!(names(&series).is_empty());
        assert!(series.0.read().unwrap().is_empty());
    }

    #[test]
    fn who_comes_back_under_the_same_name_outlives_its_forerunner() {
        let series = Series::default();
        let old = series.join(labels("a"), 1);
        let _new = series.join(labels("a"), 2);
        drop(old);
        assert_eq!(series.find(&labels("a")).as_deref(), Some(&2));
        let (shown, _) = series.shown(|_| 0);
        assert_eq!(shown.len(), 1, "a scrape must not see one series twice");
    }

    #[test]
    fn of_too_many_the_most_important_are_shown() {
        let series = Series::default();
        let total = SHOWN_MAX + 5;
        let members: Vec<_> = (0..total)
            .map(|n| series.join(labels(&format!("{n:05}")), n))
            .collect();
        let (shown, hidden) = series.shown(|n| total - n);
        assert_eq!((shown.len(), hidden), (SHOWN_MAX, 5));
        assert!(shown.iter().all(|member| *member.figures() >= 5));
        drop(members);
        assert_eq!(series.shown(|n| *n).1, 0);
    }

    #[test]
    fn a_handle_may_outlive_the_node() {
        let series = Series::default();
        let member = series.join(labels("a"), 7);
        drop(series);
        assert_eq!(*member, 7);
    }
}
