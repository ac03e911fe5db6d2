//! Planted bugs, marks and audits: how the simulator knows that it would see a bug, and that it was where bugs hide.
//!
//! A planted bug is a small mistake at the place where a programmer could make it. It is made only when the
//! simulator asks for it by name. A mark counts how often something worth reaching has happened. Both exist
//! only under the feature `mutants`: without it `mutant!` is `false`, `sometimes!` is nothing, and none of their
//! names gets into the binary. An audit is an assertion of a core about itself; it is checked under that feature too.
//!
//! Everything is kept per thread, because one run of the simulator is one thread and several may run at once.

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

pub(crate) use {audit, audit_eq, mutant, sometimes};

#[cfg(feature = "mutants")]
pub use counted::{hits, plant, take_marks};
#[cfg(feature = "mutants")]
pub(crate) use counted::{is_planted, mark};

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

    /// Takes the marks that were counted on this thread since they were last taken.
    pub fn take_marks() -> BTreeMap<&'static str, u64> {
        MARKS.take()
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
}
