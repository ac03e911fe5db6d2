//! Planted bugs, marks and audits: how the simulator knows that it would see a bug, and that it was where bugs hide.
//!
//! A planted bug is a small mistake at the place where a programmer could make it. It is made only when the
//! simulator asks for it by name. A mark counts how often something worth reaching has happened. Both exist
//! only under the feature `mutants`: without it `mutant!` is `false`, `sometimes!` and `measure!` are nothing, and none of their
//! names gets into the binary. An audit is an assertion of a core about itself; it is checked under that feature too.
//!
//! Everything is kept per thread, because one run of the simulator is one thread and several may run at once.

use crate::time::Duration;

/// Whether to make the planted bug of this name here. A condition that says when the bug would show stands
/// before it, so that a hit is a bug made.
#[cfg(feature = "mutants")]
macro_rules! mutant {
    ($name:literal) => {
        $crate::probe::is_planted($name)
    };
}

#[cfg(not(feature = "mutants"))]
macro_rules! mutant {
    ($name:literal) => {
        false
    };
}

/// Counts the mark of this name; with a condition, only when it holds.
#[cfg(feature = "mutants")]
macro_rules! sometimes {
    ($name:literal) => {
        $crate::probe::mark($name)
    };
    ($happened:expr, $name:literal) => {
        if $happened {
            $crate::probe::mark($name);
        }
    };
}

#[cfg(not(feature = "mutants"))]
macro_rules! sometimes {
    ($name:literal) => {
        ()
    };
    // Checked for its type, never evaluated.
    ($happened:expr, $name:literal) => {
        if false {
            let _: bool = $happened;
        }
    };
}

/// Notes a value that something has chosen or seen: a wait, an age, a number. On average it says whether a policy is what
/// it was.
#[cfg(feature = "mutants")]
macro_rules! measure {
    ($name:literal, $value:expr) => {
        $crate::probe::note($name, $crate::probe::Measured::of($value))
    };
}

#[cfg(not(feature = "mutants"))]
macro_rules! measure {
    // Checked for its type, never evaluated.
    ($name:literal, $value:expr) => {
        if false {
            let _ = $crate::probe::Measured::of($value);
        }
    };
}

/// What can be measured. Times are in milliseconds.
#[cfg_attr(
    not(feature = "mutants"),
    expect(dead_code, reason = "nothing is measured in what is shipped")
)]
pub(crate) struct Measured(f64);

impl Measured {
    pub(crate) fn of(value: impl Into<Self>) -> Self {
        value.into()
    }
}

impl From<Duration> for Measured {
    fn from(value: Duration) -> Self {
        Self(value.as_secs_f64() * 1e3)
    }
}

impl From<usize> for Measured {
    fn from(value: usize) -> Self {
        Self(value as f64)
    }
}

impl From<u64> for Measured {
    fn from(value: u64) -> Self {
        Self(value as f64)
    }
}

impl From<u32> for Measured {
    fn from(value: u32) -> Self {
        Self(f64::from(value))
    }
}

impl From<f64> for Measured {
    fn from(value: f64) -> Self {
        Self(value)
    }
}

/// How much a core remembers for its audits.
#[cfg(feature = "mutants")]
const HISTORY_LEN: usize = 64;

/// What a core was told last, so that its audits can count anew what it counts itself. Nothing in what is shipped.
#[derive(Clone, Debug)]
pub(crate) struct History<E> {
    #[cfg(feature = "mutants")]
    events: std::collections::VecDeque<E>,
    #[cfg(not(feature = "mutants"))]
    nothing: std::marker::PhantomData<E>,
}

impl<E> Default for History<E> {
    fn default() -> Self {
        Self {
            #[cfg(feature = "mutants")]
            events: std::collections::VecDeque::new(),
            #[cfg(not(feature = "mutants"))]
            nothing: std::marker::PhantomData,
        }
    }
}

#[cfg_attr(
    not(feature = "mutants"),
    expect(clippy::unused_self, reason = "nothing is remembered in what is shipped")
)]
impl<E> History<E> {
    /// Remembers `event`, and forgets the oldest.
    pub(crate) fn push(&mut self, event: E) {
        #[cfg(feature = "mutants")]
        {
            if self.events.len() == HISTORY_LEN {
                self.events.pop_front();
            }
            self.events.push_back(event);
        }
        #[cfg(not(feature = "mutants"))]
        drop(event);
    }

    /// What is remembered, oldest first, and whether that is all there was. Nothing in what is shipped.
    pub(crate) fn remembered(&self) -> (impl DoubleEndedIterator<Item = &E> + Clone, bool) {
        #[cfg(feature = "mutants")]
        {
            (self.events.iter(), self.events.len() < HISTORY_LEN)
        }
        #[cfg(not(feature = "mutants"))]
        {
            (std::iter::empty(), false)
        }
    }

    /// How many events `count`, from the newest on to the first that `ends` the row. `None` where that is not remembered.
    pub(crate) fn in_a_row(&self, counts: impl Fn(&E) -> bool, ends: impl Fn(&E) -> bool) -> Option<u32> {
        #[cfg(feature = "mutants")]
        {
            let row = self.events.iter().rev().take_while(|event| !ends(event));
            let counted = row.filter(|event| counts(event)).count();
            let whole = self.events.len() < HISTORY_LEN || self.events.iter().any(ends);
            whole.then(|| u32::try_from(counted).unwrap_or(u32::MAX))
        }
        #[cfg(not(feature = "mutants"))]
        {
            let _ = (counts, ends);
            None
        }
    }
}

/// Whether the cores check themselves: in tests, in debug builds, and in the simulator's.
pub(crate) const AUDITS: bool = cfg!(any(debug_assertions, feature = "mutants"));

/// What a core believes at every moment, where [`AUDITS`] has it checked.
macro_rules! audit {
    ($($believed:tt)*) => {
        if $crate::probe::AUDITS {
            assert!($($believed)*);
        }
    };
}

/// The same of two values that are equal.
macro_rules! audit_eq {
    ($($believed:tt)*) => {
        if $crate::probe::AUDITS {
            assert_eq!($($believed)*);
        }
    };
}

pub(crate) use {audit, audit_eq, measure, mutant, sometimes};

#[cfg(feature = "mutants")]
pub use counted::{hits, is_marked, plant, take_marks, take_measures};
#[cfg(feature = "mutants")]
pub(crate) use counted::{is_planted, mark, note};

#[cfg(feature = "mutants")]
mod counted {
    use std::{
        cell::{Cell, RefCell},
        collections::BTreeMap,
    };

    thread_local! {
        static PLANTED: Cell<Option<&'static str>> = const { Cell::new(None) };
        static HITS: Cell<u64> = const { Cell::new(0) };
        static MARKS: RefCell<BTreeMap<&'static str, u64>> = const { RefCell::new(BTreeMap::new()) };
        static MEASURES: RefCell<BTreeMap<&'static str, (u64, f64)>> = const { RefCell::new(BTreeMap::new()) };
    }

    /// Plants the bug of this name on this thread, or none, and forgets earlier hits.
    pub fn plant(name: Option<&'static str>) {
        PLANTED.set(name);
        HITS.set(0);
    }

    /// How often the planted bug was made since it was planted.
    pub fn hits() -> u64 {
        HITS.get()
    }

    /// Whether a mark has been counted on this thread since they were last taken.
    pub fn is_marked(name: &str) -> bool {
        MARKS.with_borrow(|marks| marks.contains_key(name))
    }

    /// Takes the marks that were counted on this thread since they were last taken.
    pub fn take_marks() -> BTreeMap<&'static str, u64> {
        MARKS.take()
    }

    /// Takes what was measured on this thread since it was last taken: of each the mean of `ln(1 + value)`.
    pub fn take_measures() -> BTreeMap<&'static str, f64> {
        let measures = MEASURES.take().into_iter();
        measures
            .map(|(name, (times, sum))| (name, sum / times as f64))
            .collect()
    }

    // Not inlined, because a comparison with a constant would leave no name in the binary to be found.
    #[inline(never)]
    pub(crate) fn is_planted(name: &'static str) -> bool {
        let planted = PLANTED.get() == Some(name);
        if planted {
            HITS.set(HITS.get() + 1);
        }
        planted
    }

    #[inline(never)]
    pub(crate) fn mark(name: &'static str) {
        // What is dropped at the end of a thread may come too late to be counted.
        let _ = MARKS.try_with(|marks| *marks.borrow_mut().entry(name).or_default() += 1);
    }

    #[inline(never)]
    pub(crate) fn note(name: &'static str, super::Measured(value): super::Measured) {
        let _ = MEASURES.try_with(|measures| {
            let mut measures = measures.borrow_mut();
            let (times, sum) = measures.entry(name).or_default();
            *times += 1;
            *sum += value.max(0.0).ln_1p();
        });
    }
}

#[cfg(all(test, feature = "mutants"))]
mod tests {
    use super::*;

    #[test]
    fn only_the_planted_bug_is_made_and_only_on_its_thread() {
        plant(Some("a-bug"));
        assert!(mutant!("a-bug"));
        assert!(!mutant!("another-bug"));
        let elsewhere = std::thread::spawn(|| mutant!("a-bug"));
        assert!(!elsewhere.join().unwrap());
        assert_eq!(hits(), 1);

        plant(Some("another-bug"));
        assert_eq!(hits(), 0);
        assert!(!mutant!("a-bug"));
        plant(None);
        assert!(!mutant!("another-bug"));
        assert_eq!(hits(), 0);
    }

    #[test]
    fn marks_are_counted_until_they_are_taken() {
        sometimes!("seen");
        for n in 0..4 {
            sometimes!(n % 2 == 1, "odd");
        }
        sometimes!(false, "never");
        let counted: Vec<_> = take_marks().into_iter().collect();
        assert_eq!(counted, [("odd", 2), ("seen", 1)]);
        assert!(take_marks().is_empty());
    }

    #[test]
    fn of_measures_the_mean_is_taken() {
        measure!("wait-ms", Duration::from_millis(9));
        measure!("wait-ms", Duration::from_millis(99));
        measure!("places", 0usize);
        let measured = take_measures();
        assert_eq!(measured.len(), 2);
        assert!((measured["wait-ms"] - (10f64.ln() + 100f64.ln()) / 2.0).abs() < 1e-9);
        assert_eq!(measured["places"], 0.0);
        assert!(take_measures().is_empty());
    }
}
