//! What a node must be able to serve to be ready. Pure.

use crate::probe::mutant;

/// How many reasons an answer names. More make no line that people read.
const REASONS_MAX: usize = 3;

/// How much of what a node serves must be usable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Needs {
    /// Everything: each visitor is served, whichever entry it comes to.
    #[default]
    All,
    /// At least one group of one entry.
    Any,
}

impl Needs {
    /// Whether a node is ready whose `parts` are usable, or why each is not.
    ///
    /// # Errors
    /// Why it is not ready, in one line.
    pub fn judge(self, parts: impl IntoIterator<Item = Result<(), String>>) -> Result<(), String> {
        let (mut usable, mut reasons) = (0, Vec::new());
        for part in parts {
            match part {
                Ok(()) => usable += 1,
                Err(reason) => reasons.push(reason),
            }
        }
        let ready = match self {
            Self::All if mutant!("one-usable-group-is-enough") => usable > 0,
            Self::All => reasons.is_empty(),
            Self::Any => usable > 0,
        };
        if ready && usable > 0 {
            return Ok(());
        }
        if reasons.is_empty() {
            return Err("no entry leads to a group".to_owned());
        }
        let more = reasons.len().saturating_sub(REASONS_MAX);
        reasons.truncate(REASONS_MAX);
        if more > 0 {
            reasons.push(format!("and {more} more"));
        }
        Err(reasons.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_or_any_part_must_be_usable() {
        let check = |needs: Needs, parts: &[bool], expected: Result<(), &str>| {
            let part = |(n, usable): (usize, &bool)| usable.then_some(()).ok_or(format!("{n} fails"));
            let judged = needs.judge(parts.iter().enumerate().map(part));
            assert_eq!(judged, expected.map_err(str::to_owned), "{needs:?} {parts:?}");
        };
        check(Needs::All, &[true, true], Ok(()));
        check(Needs::All, &[true, false], Err("1 fails"));
        check(Needs::Any, &[true, false], Ok(()));
        check(Needs::Any, &[false, false], Err("0 fails; 1 fails"));
        check(
            Needs::All,
            &[false; 5],
            Err("0 fails; 1 fails; 2 fails; and 2 more"),
        );
        for needs in [Needs::All, Needs::Any] {
            check(needs, &[], Err("no entry leads to a group"));
        }
    }
}
