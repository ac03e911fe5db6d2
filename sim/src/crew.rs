//! Threads that share work. Each run is one thread with state of its own, so several may go on at once.

use std::{
    num::NonZeroUsize,
    ops::{ControlFlow, Range},
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

/// As many threads as the machine runs at once.
pub fn all_hands() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Does `work` for each number, on `jobs` threads, and gives the results to `got` on this one, as they come.
///
/// Numbers are handed out in order, as long as `go_on` says so and `got` wants more. What was handed out is
/// finished and given, so when a number has been given, every smaller one is given too before this returns.
pub fn each<T: Send>(
    numbers: Range<u64>,
    jobs: NonZeroUsize,
    go_on: impl Fn() -> bool + Sync,
    work: impl Fn(u64) -> T + Sync,
    mut got: impl FnMut(u64, T) -> ControlFlow<()>,
) {
    let next = AtomicU64::new(numbers.start);
    let enough = AtomicBool::new(false);
    let (done, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs.get() {
            let done = done.clone();
            let (next, enough, go_on, work, end) = (&next, &enough, &go_on, &work, numbers.end);
            scope.spawn(move || {
                while !enough.load(Ordering::Relaxed) && go_on() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end || done.send((number, work(number))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(done);
        for (number, result) in results {
            if got(number, result).is_break() {
                enough.store(true, Ordering::Relaxed);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn given(jobs: usize, last: u64, go_on: impl Fn() -> bool + Sync) -> BTreeSet<u64> {
        let mut given = BTreeSet::new();
        let jobs = NonZeroUsize::new(jobs).unwrap();
        each(
            3..10,
            jobs,
            go_on,
            |n| n * n,
            |n, square| {
                assert_eq!(square, n * n);
                assert!(given.insert(n));
                if n < last {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            },
        );
        given
    }

    #[test]
    fn every_number_is_worked_on_once() {
        for jobs in [1, 2, 30] {
            assert_eq!(given(jobs, 100, || true), (3..10).collect());
        }
    }

    #[test]
    fn what_was_handed_out_is_given_without_a_gap() {
        for jobs in [1, 3] {
            // A thread may be some numbers ahead of what it is told.
            let given = given(jobs, 5, || true);
            assert!(given.contains(&5));
            assert_eq!(given, (3..3 + given.len() as u64).collect());
        }
        assert_eq!(given(2, 100, || false), BTreeSet::new());
    }
}
