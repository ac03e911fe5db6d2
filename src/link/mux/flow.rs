//! The windows of one stream: what its receiver has promised to hold, and what its sender may still send.
//!
//! At the receiver, at every moment: `granted + unread + owed = window`, where what is *granted* the sender may
//! still use (or has under way), *unread* has come and was not consumed, and *owed* was consumed and not yet
//! granted anew. A window starts at its base, doubles while it is what holds the stream back, and shrinks when
//! nobody needs it: the reader that sleeps loses what it had above the base as it reads on, and a sender that is
//! idle gives half of it back.

use crate::{
    probe::{audit, measure, mutant, sometimes},
    time::{Duration, Instant},
};

/// The window of a stream that nothing is known about. Larger promises more memory to everybody; smaller makes
/// the first reply of some size wait for a round trip.
pub const WINDOW: u64 = 64 * 1024;

/// The widest window. Larger lets one slow reader hold more; smaller slows long fat paths: 8 MiB are 400 MB/s at
/// 20 ms.
pub const WINDOW_MAX: u64 = 8 * 1024 * 1024;

/// What all windows of a link may have above their bases together.
pub const BUDGET: u64 = 32 * 1024 * 1024;

/// A reader that takes longer than this to go on is slow: it gets no more than the base from then on.
const UNREAD_MAX: Duration = Duration::from_secs(5);

/// A window grows when half of it was used up in less than so many round trips (as in yamux).
const GROWTH_TRIPS: u32 = 2;

/// The shortest round trip that counts. Below it, what is measured is the scheduler of two busy processes.
const TRIP_MIN: Duration = Duration::from_micros(200);

/// A sender that gives credit back gives back at least so much, or all of it.
const RETURN_MIN: u64 = 16 * 1024;

/// The peer did what its credit does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun;

/// What is left of a link's promise above the bases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    left: u64,
    whole: u64,
}

impl Budget {
    /// All of it is left.
    pub fn new(whole: u64) -> Self {
        Self { left: whole, whole }
    }

    /// What of it is promised.
    pub fn used(&self) -> u64 {
        self.whole - self.left
    }

    fn take(&mut self, wanted: u64) -> u64 {
        let taken = wanted.min(self.left);
        self.left -= taken;
        taken
    }

    fn give(&mut self, amount: u64) {
        self.left += amount;
        assert!(
            self.left <= self.whole,
            "no more is given back than was taken from the link's budget"
        );
    }
}

/// The receiver's books of one stream.
#[derive(Clone, Debug)]
pub struct Inflow {
    base: u64,
    window: u64,
    granted: u64,
    unread: u64,
    owed: u64,
    /// The reader was slow: what is above the base is not granted anew.
    shrinking: bool,
    granted_at: Instant,
    consumed_at: Instant,
}

impl Inflow {
    /// A stream whose sender has `base` to begin with.
    pub fn new(now: Instant, base: u64) -> Self {
        Self {
            base,
            window: base,
            granted: base,
            unread: 0,
            owed: 0,
            shrinking: false,
            granted_at: now,
            consumed_at: now,
        }
    }

    /// The whole promise, in bytes.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// Bytes that came and were not consumed.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// So many bytes came.
    ///
    /// # Errors
    /// [`Overrun`]: there was no credit for them.
    pub fn handle_data(&mut self, now: Instant, bytes: u64) -> Result<(), Overrun> {
        if self.unread == 0 {
            // What was not there could not be read: the reader's time begins here.
            self.consumed_at = now;
        }
        self.granted = self.granted.checked_sub(bytes).ok_or(Overrun)?;
        self.unread += bytes;
        self.check();
        Ok(())
    }

    /// The reader has handed so many bytes on; returns the credit to send, if it is time to.
    pub fn handle_consumed(
        &mut self,
        now: Instant,
        bytes: u64,
        trip: Duration,
        budget: &mut Budget,
    ) -> Option<u64> {
        assert!(bytes <= self.unread, "no more is consumed than has come");
        self.shrinking |= self.window > self.base && now - self.consumed_at > UNREAD_MAX;
        self.consumed_at = now;
        self.unread -= bytes;
        if !(bytes > 1 && mutant!("consumed-bytes-never-credited")) {
            self.owed += bytes;
        } else {
            self.window -= bytes;
        }
        if self.shrinking {
            self.shrink(budget);
        }
        let granting = self.owed * 2 >= self.window;
        let granting = granting || mutant!("credit-granted-with-each-read");
        if !granting || self.owed == 0 {
            self.check();
            return None;
        }
        let mut grant = std::mem::take(&mut self.owed);
        if !self.shrinking && now - self.granted_at < trip.max(TRIP_MIN) * GROWTH_TRIPS {
            let wanted = self.window.min(WINDOW_MAX.saturating_sub(self.window));
            let more = budget.take(wanted);
            sometimes!(more > 0, "window-grew");
            sometimes!(more < wanted, "link-budget-exhausted");
            self.window += more;
            grant += more;
        }
        measure!("credit-granted", grant);
        measure!("window-of-a-stream", self.window);
        self.granted += grant;
        self.granted_at = now;
        self.check();
        Some(grant)
    }

    /// The idle sender gives credit back.
    ///
    /// # Errors
    /// [`Overrun`]: it has not got so much above the base.
    pub fn handle_returned(&mut self, bytes: u64, budget: &mut Budget) -> Result<(), Overrun> {
        if bytes > self.granted || self.window - bytes < self.base {
            return Err(Overrun);
        }
        self.granted -= bytes;
        self.window -= bytes;
        // Who needs no credit need not get back what it used before either.
        let kept_back = self.owed.min(bytes).min(self.window - self.base);
        self.owed -= kept_back;
        self.window -= kept_back;
        if !mutant!("returned-credit-lost-to-budget") {
            budget.give(bytes + kept_back);
        }
        self.check();
        Ok(())
    }

    /// The stream is over: what it had above its base is free again.
    pub fn close(&mut self, budget: &mut Budget) {
        if !mutant!("ended-stream-keeps-budget") {
            budget.give(self.window.saturating_sub(self.base));
        }
        self.window = self.base;
        self.granted = 0;
    }

    fn shrink(&mut self, budget: &mut Budget) {
        let kept_back = self.owed.min(self.window - self.base);
        sometimes!(kept_back > 0, "slow-reader-lost-its-window");
        self.owed -= kept_back;
        self.window -= kept_back;
        budget.give(kept_back);
        self.shrinking = self.window > self.base;
    }

    /// The sentence this book believes at every moment.
    pub fn check(&self) {
        assert_eq!(
            self.granted + self.unread + self.owed,
            self.window,
            "what is granted, unread and owed makes up the window"
        );
        audit!(
            (self.base..=WINDOW_MAX.max(self.base)).contains(&self.window),
            "a window is between its base and the widest"
        );
    }
}

/// The sender's book of one stream.
#[derive(Clone, Debug)]
pub struct Outflow {
    base: u64,
    credit: u64,
    sent_at: Instant,
}

impl Outflow {
    /// A stream whose receiver grants `base` to begin with.
    pub fn new(now: Instant, base: u64) -> Self {
        Self {
            base,
            credit: base,
            sent_at: now,
        }
    }

    /// Bytes that may be sent.
    pub fn credit(&self) -> u64 {
        self.credit
    }

    /// When bytes were sent last; when it began, before the first.
    pub fn sent_at(&self) -> Instant {
        self.sent_at
    }

    /// Whether credit may have to be given back one day.
    pub fn is_wide(&self) -> bool {
        self.credit > self.base
    }

    /// So many bytes were sent.
    pub fn handle_sent(&mut self, now: Instant, bytes: u64) {
        self.sent_at = now;
        if bytes > 0 && mutant!("sender-forgets-a-byte-it-sent") {
            self.credit += 1;
        }
        self.credit = self
            .credit
            .checked_sub(bytes)
            .expect("no more is sent than there is credit for");
    }

    /// The receiver grants so many bytes more.
    ///
    /// # Errors
    /// [`Overrun`]: more than any window holds.
    pub fn handle_granted(&mut self, bytes: u64) -> Result<(), Overrun> {
        let credit = self.credit + bytes;
        if credit > WINDOW_MAX.max(self.base) {
            return Err(Overrun);
        }
        self.credit = credit;
        Ok(())
    }

    /// What an idle sender gives back now: half of what it has above the base.
    pub fn give_back(&mut self, now: Instant, idle: Duration) -> Option<u64> {
        let above = self.credit.saturating_sub(self.base);
        if above == 0 || now - self.sent_at < idle {
            return None;
        }
        let back = (above / 2).max(RETURN_MIN).min(above);
        if !mutant!("returned-credit-used-again") {
            self.credit -= back;
        }
        sometimes!("idle-credit-given-back");
        measure!("credit-given-back", back);
        audit!(
            self.credit == self.base + above - back,
            "what is given back is not used again, and never the base"
        );
        Some(back)
    }

    /// The sentence this book believes at every moment.
    #[cfg(any(test, fuzzing, feature = "mutants"))]
    pub fn check(&self) {
        assert!(
            self.credit <= WINDOW_MAX.max(self.base),
            "nobody has more credit than the widest window holds"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    const TRIP: Duration = Duration::from_millis(20);

    #[test]
    fn a_window_that_holds_a_stream_back_doubles_and_one_that_does_not_stays() {
        let (mut now, mut budget) = (time::now(), Budget::new(BUDGET));
        let mut inflow = Inflow::new(now, WINDOW);
        let half = |inflow: &Inflow| inflow.window() / 2;
        let turn = |inflow: &mut Inflow, now, budget: &mut Budget| {
            let bytes = half(inflow);
            inflow.handle_data(now, bytes).unwrap();
            inflow.handle_consumed(now, bytes, TRIP, budget)
        };
        now += TRIP;
        assert_eq!(turn(&mut inflow, now, &mut budget), Some(WINDOW / 2 + WINDOW));
        assert_eq!(inflow.window(), 2 * WINDOW);
        now += TRIP * 2;
        assert_eq!(turn(&mut inflow, now, &mut budget), Some(WINDOW));
        assert_eq!((inflow.window(), budget.used()), (2 * WINDOW, WINDOW));
        while inflow.window() < WINDOW_MAX {
            turn(&mut inflow, now, &mut budget).unwrap();
        }
        turn(&mut inflow, now, &mut budget).unwrap();
        assert_eq!(inflow.window(), WINDOW_MAX, "and no wider");
        inflow.close(&mut budget);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn nothing_is_granted_beyond_the_budget_nor_taken_without_credit() {
        let (now, mut budget) = (time::now(), Budget::new(1000));
        let mut inflow = Inflow::new(now, WINDOW);
        assert_eq!(inflow.handle_data(now, WINDOW + 1), Err(Overrun));
        inflow.handle_data(now, WINDOW).unwrap();
        assert_eq!(inflow.handle_data(now, 1), Err(Overrun));
        let granted = inflow.handle_consumed(now, WINDOW, TRIP, &mut budget);
        assert_eq!(granted, Some(WINDOW + 1000));
        assert_eq!(inflow.handle_returned(1001, &mut budget), Err(Overrun));
        inflow.handle_returned(1000, &mut budget).unwrap();
        assert_eq!((inflow.window(), budget.used()), (WINDOW, 0));
    }

    #[test]
    fn a_reader_that_sleeps_loses_what_it_has_above_the_base() {
        let (mut now, mut budget) = (time::now(), Budget::new(BUDGET));
        let mut inflow = Inflow::new(now, WINDOW);
        inflow.handle_data(now, WINDOW).unwrap();
        inflow.handle_consumed(now, WINDOW, TRIP, &mut budget);
        inflow.handle_data(now, 2 * WINDOW).unwrap();
        now += UNREAD_MAX + TRIP;
        assert_eq!(inflow.handle_consumed(now, WINDOW, TRIP, &mut budget), None);
        assert_eq!((inflow.window(), budget.used()), (WINDOW, 0));
        let granted = inflow.handle_consumed(now, WINDOW, TRIP, &mut budget);
        assert_eq!(granted, Some(WINDOW));
        inflow.handle_data(now, WINDOW).unwrap();
        let granted = inflow.handle_consumed(now, WINDOW, TRIP, &mut budget);
        assert_eq!(granted, Some(2 * WINDOW), "one that reads again may grow again");
    }

    #[test]
    fn an_idle_sender_gives_back_what_it_does_not_need() {
        let mut now = time::now();
        let idle = Duration::from_secs(10);
        let mut outflow = Outflow::new(now, WINDOW);
        assert_eq!(outflow.give_back(now + idle, idle), None);
        outflow.handle_granted(WINDOW).unwrap();
        outflow.handle_sent(now, 1000);
        assert_eq!(outflow.give_back(now, idle), None);
        let mut back = 0;
        while outflow.is_wide() {
            now += idle;
            back += outflow.give_back(now, idle).unwrap();
        }
        assert_eq!((outflow.credit(), back), (WINDOW, WINDOW - 1000));
        assert_eq!(outflow.handle_granted(WINDOW_MAX), Err(Overrun));
    }
}
