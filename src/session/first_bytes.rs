//! The copy of a visitor's first bytes, kept until a client has started, so that another can be tried.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::probe::{audit, mutant, sometimes};

/// The most a session keeps. Larger holds memory under attack; smaller stops large first requests early.
pub const FIRST_BYTES_MAX: usize = 64 * 1024;

/// Reserved from the budget at once.
const STEP: usize = 16 * 1024;

/// The memory that all copies of a node share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReplayBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    used: AtomicUsize,
    max: usize,
}

impl ReplayBudget {
    /// A budget of `max` bytes.
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Shared {
            used: AtomicUsize::new(0),
            max,
        }))
    }

    /// Bytes reserved right now.
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    fn reserve(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.0.max);
        self.0
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok()
    }

    fn release(&self, bytes: usize) {
        let before = self.0.used.fetch_sub(bytes, Ordering::Relaxed);
        audit!(before >= bytes, "no more is given back than was reserved");
    }
}

/// A visitor's first bytes, in order, and whether the visitor ended its direction behind them.
#[derive(Debug)]
pub struct FirstBytes {
    budget: ReplayBudget,
    reserved: usize,
    bytes: Vec<u8>,
    fin: bool,
}

impl FirstBytes {
    /// Nothing yet.
    pub fn new(budget: ReplayBudget) -> Self {
        Self {
            budget,
            reserved: 0,
            bytes: Vec::new(),
            fin: false,
        }
    }

    /// How many more bytes may be read and kept now: 0 at the end, at [`FIRST_BYTES_MAX`], and beyond the budget.
    pub fn room(&mut self) -> usize {
        if self.fin {
            return 0;
        }
        if self.reserved == self.bytes.len() && self.reserved < FIRST_BYTES_MAX && self.budget.reserve(STEP) {
            self.reserved += STEP;
        }
        sometimes!(self.reserved == self.bytes.len(), "replay-buffer-exhausted");
        audit!(
            self.bytes.len() <= self.reserved && self.reserved <= FIRST_BYTES_MAX,
            "no more is kept than is reserved, nor more than a session may"
        );
        audit!(
            self.reserved <= self.budget.used(),
            "what a session has reserved is taken from the budget"
        );
        self.reserved - self.bytes.len()
    }

    /// Keeps `bytes`, which were read within [`room`](Self::room).
    pub fn push(&mut self, bytes: &[u8]) {
        assert!(
            self.bytes.len() + bytes.len() <= self.reserved,
            "no more is read than there is room for"
        );
        self.bytes.extend_from_slice(bytes);
    }

    /// The visitor ended its direction.
    pub fn push_fin(&mut self) {
        self.fin = true;
    }

    /// What was kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the visitor ended its direction behind [`bytes`](Self::bytes).
    pub fn fin(&self) -> bool {
        self.fin
    }

    /// Whether nothing is kept, and nothing reserved.
    pub fn is_cleared(&self) -> bool {
        self.bytes.is_empty() && self.reserved == 0
    }

    /// Forgets everything and gives the memory back.
    pub fn clear(&mut self) {
        self.bytes = Vec::new();
        let reserved = std::mem::take(&mut self.reserved);
        if !mutant!("replay-budget-never-given-back") {
            self.budget.release(reserved);
        }
    }
}

impl Drop for FirstBytes {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_up_to_the_limit_and_no_more() {
        let mut first = FirstBytes::new(ReplayBudget::new(1 << 20));
        let mut kept = 0;
        while first.room() > 0 {
            let n = first.room().min(1000);
            first.push(&vec![7; n]);
            kept += n;
        }
        assert_eq!(kept, FIRST_BYTES_MAX);
    }

    #[test]
    fn the_budget_is_shared_and_given_back() {
        let budget = ReplayBudget::new(STEP);
        let mut one = FirstBytes::new(budget.clone());
        let mut two = FirstBytes::new(budget.clone());
        assert_eq!(one.room(), STEP);
        assert_eq!(two.room(), 0);
        drop(one);
        assert_eq!(two.room(), STEP);
        two.clear();
        assert_eq!(budget.used(), 0);
    }
}
