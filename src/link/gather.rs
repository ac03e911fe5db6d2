//! Whether a link gives others a turn before it writes. Pure.
//!
//! Whoever has something to say wakes the task of its link, which runs at once; under load many do so one after the other,
//! and each costs a write of its own. After a turn for all other tasks their frames leave together. Where nobody joins,
//! the turn is only a wake-up more: then it is given ever more seldom.

use crate::probe::{History, audit, audit_eq, sometimes};

/// The most times in a row that nobody is waited for. More finds out later that many speak; fewer costs those who speak
/// alone a wake-up more often.
const SKIP_MAX: u32 = 63;

/// When others get a turn.
#[derive(Debug, Default)]
pub struct Gather {
    /// The task was woken, and has not written since.
    woken: bool,
    /// Who was there when others got a turn.
    before: Option<usize>,
    /// So many times nobody is waited for.
    skip: u32,
    /// So many times after the last turn that brought nobody.
    backoff: u32,
    /// Whether the turns of others brought anybody, for its audits.
    joined: History<bool>,
}

impl Gather {
    /// The task has nothing more to do, and sleeps.
    pub fn sleep(&mut self) {
        self.woken = true;
    }

    /// Whether others are to have a turn before so many streams are heard that wait now, unless they are in a `hurry`.
    pub fn holds_back(&mut self, waiting: usize, hurry: bool) -> bool {
        if let Some(before) = self.before.take() {
            let joined = waiting > before;
            sometimes!(joined, "frames-left-together");
            self.backoff = match joined {
                true => 0,
                false => (2 * self.backoff + 1).min(SKIP_MAX),
            };
            self.skip = self.backoff;
            self.joined.push(joined);
        }
        self.check();
        if !std::mem::take(&mut self.woken) || waiting == 0 || hurry {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.before = Some(waiting);
        true
    }

    /// What follows from the turns that brought nobody, counted anew.
    fn check(&self) {
        if let Some(alone) = self.joined.in_a_row(|joined| !joined, |joined| *joined) {
            let backoff = 2u32.saturating_pow(alone).saturating_sub(1).min(SKIP_MAX);
            audit_eq!(
                self.backoff,
                backoff,
                "the more often nobody has joined, the longer nobody is waited for"
            );
        }
        audit!(self.skip <= self.backoff, "who is alone is not waited for longer");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wakes with one that speaks each time; says how often others got a turn. So many join in it.
    fn turns(gather: &mut Gather, wakes: usize, joining: usize) -> usize {
        let mut wake = |_: &usize| {
            gather.sleep();
            let held = gather.holds_back(1, false);
            // Once is enough.
            assert!(!(held && gather.holds_back(1 + joining, false)));
            held
        };
        (0..wakes).filter(&mut wake).count()
    }

    #[test]
    fn others_get_a_turn_as_long_as_they_join() {
        let mut gather = Gather::default();
        assert_eq!(turns(&mut gather, 1000, 1), 1000);
        assert_eq!(turns(&mut gather, 1000, 0), 20);
        // At the latest after a while somebody is waited for again.
        assert!(turns(&mut gather, 164, 1) >= 100);
    }

    #[test]
    fn who_has_nothing_to_say_or_is_in_a_hurry_or_was_not_woken_is_not_held_back() {
        let mut gather = Gather::default();
        assert!(!gather.holds_back(1, false));
        gather.sleep();
        assert!(!gather.holds_back(0, false));
        assert!(!gather.holds_back(1, false));
        gather.sleep();
        assert!(!gather.holds_back(1, true));
    }
}
