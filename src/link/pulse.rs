//! The heartbeat of a control connection. Pure: it is told the time.

use super::Options;
use crate::{
    probe::{AUDITS, History, audit, measure, mutant, sometimes},
    time::{Duration, Instant},
};

/// A timer this late means that this process slept; the interval does not count against the peer.
const LATE: Duration = Duration::from_secs(1);

/// Judges silence on either side, and says when the client's next beat is due.
#[derive(Debug)]
pub struct Pulse {
    interval: Duration,
    missed_max: u32,
    silent_at: Instant,
    heard_at: Instant,
    beat_at: Option<Instant>,
    /// When an interval was forgiven, for its audits.
    forgiven: History<Instant>,
}

impl Pulse {
    /// The server's side: only listens.
    pub fn listening(now: Instant, options: &Options) -> Self {
        let (interval, missed_max) = (options.heartbeat, options.missed_max);
        Self {
            interval,
            missed_max,
            silent_at: now + interval * missed_max,
            heard_at: now,
            beat_at: None,
            forgiven: History::default(),
        }
    }

    /// The client's side: beats at once, and then every interval.
    pub fn beating(now: Instant, options: &Options) -> Self {
        Self {
            beat_at: Some(now),
            ..Self::listening(now, options)
        }
    }

    /// Any frame is a sign of life. Returns how many beats were missed before it.
    pub fn handle_input(&mut self, now: Instant) -> u32 {
        // The one that has come is not missed.
        let missed = self.missed(now).saturating_sub(1);
        self.heard_at = now;
        if !mutant!("heartbeat-does-not-restart-silence") {
            self.silent_at = now + self.interval * self.missed_max;
        }
        self.check(now);
        missed
    }

    fn check(&self, now: Instant) {
        if !AUDITS {
            return;
        }
        let due = self.heard_at + self.interval * self.missed_max;
        let forgiven = self.forgiven.in_a_row(
            |at| *at + self.interval == self.silent_at,
            |at| *at < self.heard_at,
        );
        audit!(
            self.silent_at == due || self.silent_at > due && forgiven != Some(0),
            "silence is counted from the last that was heard, or from when an interval was forgiven"
        );
        audit!(
            self.beat_at.is_none_or(|due| due <= now + self.interval),
            "the next beat is due within an interval"
        );
    }

    /// How many beats were due since the peer was last heard.
    pub fn missed(&self, now: Instant) -> u32 {
        let silence = now.saturating_duration_since(self.heard_at).as_nanos();
        let missed = silence.checked_div(self.interval.as_nanos()).unwrap_or(0);
        u32::try_from(missed).unwrap_or(u32::MAX)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Instant {
        self.beat_at
            .map_or(self.silent_at, |beat| beat.min(self.silent_at))
    }

    /// What the time calls for.
    pub fn handle_timeout(&mut self, now: Instant) -> Beat {
        if now > self.poll_timeout() + LATE
            || self.beat_at.is_none() && mutant!("server-never-notices-silence")
            || self.beat_at.is_some() && mutant!("client-never-notices-silence")
        {
            self.silent_at = match now >= self.silent_at && mutant!("grace-counted-from-what-is-over") {
                false => self.silent_at.max(now + self.interval),
                true => self.silent_at + self.interval,
            };
            self.forgiven.push(now);
        }
        self.check(now);
        if now >= self.silent_at {
            sometimes!("link-fell-silent");
            measure!("silent-for-ms", now.saturating_duration_since(self.heard_at));
            return Beat::Silent;
        }
        match self.beat_at {
            Some(due) if now >= due => {
                self.beat_at = Some(now + self.interval);
                if mutant!("own-beat-taken-for-sign-of-life") {
                    self.silent_at = now + self.interval * self.missed_max;
                }
                Beat::Send
            }
            _ => Beat::Nothing,
        }
    }
}

/// What a [`Pulse`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Not yet.
    Nothing,
    /// Send a heartbeat.
    Send,
    /// The peer is dead.
    Silent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_missed_beats_are_silence() {
        let start = crate::time::now();
        let mut pulse = Pulse::listening(start, &Options::default());
        pulse.handle_input(start + Duration::from_secs(4));
        assert_eq!(
            pulse.handle_timeout(start + Duration::from_secs(18)),
            Beat::Nothing
        );
        assert_eq!(
            pulse.handle_timeout(start + Duration::from_secs(19)),
            Beat::Silent
        );
    }

    #[test]
    fn missed_beats_are_counted_once() {
        let start = crate::time::now();
        let mut pulse = Pulse::listening(start, &Options::default());
        let mut check = |secs, expected| {
            let missed = pulse.handle_input(start + Duration::from_secs(secs));
            assert_eq!(missed, expected, "after {secs} s");
        };
        check(5, 0);
        check(9, 0);
        check(15, 0);
        check(26, 1);
        check(26, 0);
        assert_eq!(pulse.missed(start + Duration::from_secs(26 + 15)), 3);
    }

    #[test]
    fn a_process_that_slept_grants_one_more_interval() {
        let start = crate::time::now();
        let mut pulse = Pulse::listening(start, &Options::default());
        assert_eq!(
            pulse.handle_timeout(start + Duration::from_secs(60)),
            Beat::Nothing
        );
        assert_eq!(
            pulse.handle_timeout(start + Duration::from_secs(65)),
            Beat::Silent
        );
    }

    #[test]
    fn beats_come_every_interval() {
        let start = crate::time::now();
        let mut pulse = Pulse::beating(start, &Options::default());
        for n in 0..3 {
            let now = start + Duration::from_secs(5 * n);
            pulse.handle_input(now);
            assert_eq!(pulse.handle_timeout(now), Beat::Send);
            assert_eq!(pulse.handle_timeout(now), Beat::Nothing);
        }
    }
}
