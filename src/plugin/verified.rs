//! Credentials that were verified a moment ago.

use std::{collections::BTreeMap, sync::PoisonError};

use super::secret::Digest;
use crate::time::{Duration, Instant};

/// How long verified credentials count. Longer, and a table of them is worth more to whoever gets at this process's
/// memory; shorter, and busy users cost a hash more often.
pub(super) const VERIFIED_FOR: Duration = Duration::from_secs(60);

/// The most that are remembered. More would be more users at once than a list in a file has; with fewer, they would
/// push each other out.
pub(super) const VERIFIED_MAX: usize = 1024;

#[allow(
    clippy::disallowed_types,
    reason = "one short lock for each plugin: requests of one rule are served by many threads"
)]
type Lock<T> = std::sync::Mutex<T>;

/// Digests of credentials, each with the time until which it counts. The credentials themselves are not kept.
#[derive(Debug, Default)]
pub(super) struct Verified {
    until: Lock<BTreeMap<Digest, Instant>>,
}

impl Verified {
    /// Whether these were verified a moment ago.
    pub fn holds(&self, digest: &Digest, now: Instant) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.get(digest).is_some_and(|until| now < *until)
    }

    /// They were right. Where there is no room, those that count the shortest go.
    pub fn keep(&self, digest: Digest, now: Instant) {
        let mut all = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= VERIFIED_MAX && !all.contains_key(&digest) {
            all.retain(|_, until| now < *until);
            let oldest = all.iter().min_by_key(|(_, until)| **until);
            if let Some(oldest) = oldest.map(|(digest, _)| *digest)
                && all.len() >= VERIFIED_MAX
            {
                all.remove(&oldest);
            }
        }
        all.insert(digest, now + VERIFIED_FOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    fn digest(n: usize) -> Digest {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.to_le_bytes());
        digest
    }

    #[test]
    fn what_was_verified_counts_for_a_while() {
        let (now, verified) = (time::now(), Verified::default());
        assert!(!verified.holds(&digest(1), now));
        verified.keep(digest(1), now);
        assert!(verified.holds(&digest(1), now + VERIFIED_FOR - Duration::from_nanos(1)));
        assert!(!verified.holds(&digest(1), now + VERIFIED_FOR));
        assert!(!verified.holds(&digest(2), now));
    }

    #[test]
    fn the_oldest_make_room() {
        let (now, verified) = (time::now(), Verified::default());
        let at = |n: usize| now + Duration::from_millis(n as u64);
        for n in 0..VERIFIED_MAX + 10 {
            verified.keep(digest(n), at(n));
        }
        let held = |n: usize| verified.holds(&digest(n), at(VERIFIED_MAX + 10));
        assert_eq!((0..VERIFIED_MAX + 10).filter(|n| held(*n)).count(), VERIFIED_MAX);
        assert!(!held(9) && held(10));
        verified.keep(digest(10), at(VERIFIED_MAX + 10));
        assert!(held(11), "what is there already needs no room");
        let later = now + Duration::from_secs(3600);
        verified.keep(digest(0), later);
        assert_eq!(
            verified.until.lock().unwrap().len(),
            1,
            "what is over makes room first"
        );
    }
}
