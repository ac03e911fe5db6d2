//! How long a try waits for its client: its deadlines, and what may hold an answer up.

use std::sync::Arc;

use super::Options;
use crate::{
    link::{
        carrier::Carrier,
        gauges::{LastMoved, LinkGauges},
    },
    probe::{measure, mutant},
    time::{Duration, Instant},
};

/// How long an answer to `Start` may take on a connection of its own, as long as other connections of the client move: they
/// may fill the queue that it waits in. Longer, and a connection that a NAT has forgotten costs a visitor so much; shorter,
/// and new sessions behind bulk on a thin link are given up while the tunnel works.
const BUSY_ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long after bytes moved last an answer behind them may still come, at least. A full queue is seen to move once for
/// each 64 KiB: shorter gives up behind less than half a megabit per second.
const BUSY_GAP_MAX: Duration = Duration::from_secs(1);

/// The shortest body of a frame that says that a connection is busy: less fills no queue.
pub const BULK_LEN: u32 = 16 * 1024;

/// The deadlines of one try.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For `Accepted` or `Started`: max(300 ms, 4 x RTT).
    pub answer: Duration,
    /// For the upstream's connect, after `Accepted`.
    pub connect: Duration,
    /// For the whole session to start.
    pub start_deadline: Instant,
    /// For a half-closed session without a byte.
    pub half_closed: Duration,
}

impl Patience {
    /// What `options` grant on a link with this round trip.
    pub fn new(options: &Options, rtt: Duration, start_deadline: Instant) -> Self {
        Self {
            answer: match mutant!("answer-has-one-round-trip") {
                false => options.answer_timeout.max(rtt * 4),
                true => options.answer_timeout.max(rtt),
            },
            connect: options.connect_timeout,
            start_deadline,
            half_closed: options.half_closed_timeout,
        }
    }
}

/// Where a session sees that its answer may only be held up.
#[derive(Debug)]
pub struct Backlog {
    /// The client that carries it.
    client: Arc<LinkGauges>,
    /// The data link that carries it among others, if one does.
    shared: Option<Arc<LastMoved>>,
    /// When the try began.
    began: Instant,
}

impl Backlog {
    /// That before a try which begins `now` on a connection to `client`.
    pub fn new(now: Instant, client: &Arc<LinkGauges>, carrier: &Carrier) -> Self {
        Self {
            client: Arc::clone(client),
            shared: carrier.moved().cloned(),
            began: now,
        }
    }

    /// Bytes of the session went by.
    pub fn note_moved(&self, now: Instant) {
        self.client.moved.note(now);
    }

    /// Until when an answer that did not come in time may be held up: bytes of the data link that carries it have just
    /// moved, or those of other connections to its client, which share its path. `None` where nothing moved. Half of the
    /// visitor's time is left for another try.
    pub fn holds_up_until(&self, now: Instant, patience: &Patience) -> Option<Instant> {
        let half = patience.start_deadline.saturating_duration_since(self.began) / 2;
        let beside = self.client.moved.get();
        let (moved, most) = match &self.shared {
            // Its next try would ride on the same link, most likely, behind the same loss.
            Some(link) => (link.get().max(beside)?, half),
            None => (beside?, half.min(BUSY_ANSWER_TIMEOUT)),
        };
        let until = (moved + patience.answer.max(BUSY_GAP_MAX)).min(self.began + most);
        (until > now).then(|| {
            measure!("start-held-up-ms", until - self.began);
            until
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    const ANSWER: Duration = Duration::from_millis(300);
    const START: Duration = Duration::from_secs(8);

    /// What moves, and where the session is.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Moves {
        /// The data link that carries the session.
        SameLink,
        /// Others of its client, beside that data link.
        BesideLink,
        /// Others of its client, beside a connection that carries the session alone.
        Beside,
    }

    /// How long an answer may be held up in all, where bytes move every 100 ms for so long.
    fn check(moves: Moves, moving: Duration, expected: Option<Duration>) {
        let began = time::now();
        let options = Options::default();
        let patience = Patience::new(&options, Duration::from_millis(30), began + START);
        assert_eq!(patience.answer, ANSWER);
        let link = Arc::<LastMoved>::default();
        let backlog = Backlog {
            client: Arc::default(),
            shared: (moves != Moves::Beside).then(|| Arc::clone(&link)),
            began,
        };
        let (mut now, mut due, mut held_up) = (began, began + ANSWER, None);
        while now < began + START * 2 {
            now += Duration::from_millis(100);
            if now <= began + moving {
                match moves {
                    Moves::SameLink => link.note(now),
                    Moves::BesideLink | Moves::Beside => backlog.note_moved(now),
                }
            }
            if now >= due {
                let Some(until) = backlog.holds_up_until(now, &patience) else {
                    break;
                };
                (due, held_up) = (until, Some(until - began));
            }
        }
        let rounded =
            held_up.map(|held_up| Duration::from_millis(held_up.as_millis().div_ceil(100) as u64 * 100));
        assert_eq!(rounded, expected, "{moves:?} for {moving:?}");
    }

    #[test]
    fn an_answer_may_be_held_up_while_bytes_move_before_it() {
        let ms = Duration::from_millis;
        for moves in [Moves::SameLink, Moves::BesideLink, Moves::Beside] {
            check(moves, ms(0), None);
            check(moves, ms(500), Some(ms(500) + BUSY_GAP_MAX));
        }
        check(Moves::Beside, START, Some(BUSY_ANSWER_TIMEOUT));
        check(Moves::BesideLink, START, Some(START / 2));
        check(Moves::SameLink, START, Some(START / 2));
    }
}
