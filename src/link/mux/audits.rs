//! What the books of a link believe at every moment, counted anew from what they hold: for tests, fuzzing and the simulator.

use std::collections::BTreeMap;

use super::{
    Mux, OUT_LEN_MAX, Side, UNANSWERED_MAX, Urgent,
    frames::REFUSALS_MAX,
    lanes::Lane,
    stream::{Progress, Stream},
};
use crate::id::StreamId;
#[cfg(feature = "mutants")]
use crate::time::Instant;

/// So many streams are counted anew each time.
const FEW: usize = 16;

impl Mux {
    /// Whether to count everything anew: always where that is little, else now and then.
    pub(in crate::link) fn is_time_to_check(&self) -> bool {
        self.checks.set(self.checks.get().wrapping_add(1));
        self.streams.len() <= FEW || self.checks.get().is_multiple_of(16)
    }

    /// All sentences.
    ///
    /// # Panics
    /// When one of them is wrong.
    pub fn check_all(&self) {
        self.check_counts();
        self.check_lanes();
        self.check_urgent();
        self.check_limits();
        let is_wide =
            |stream: &Stream| !stream.reset && stream.saying == Progress::Open && stream.outflow.is_wide();
        assert!(
            self.sweep_at.is_some() || !self.streams.values().any(is_wide),
            "who has more credit than at first is looked at again"
        );
        for stream in self.streams.values() {
            self.check_stream(stream);
        }
    }

    fn check_counts(&self) {
        let streams = self.streams.values();
        assert_eq!(
            streams.clone().map(Stream::out_len).sum::<usize>(),
            self.queued,
            "what is queued is what the streams have queued"
        );
        assert_eq!(
            streams.clone().filter(|stream| !stream.answered).count(),
            self.unanswered,
            "who waits for an answer is counted"
        );
        assert_eq!(
            streams.map(|stream| stream.inflow.window()).sum::<u64>(),
            self.budget.used() + u64::from(self.options.window) * self.streams.len() as u64,
            "what windows have above their bases is taken from the budget"
        );
    }

    fn check_lanes(&self) {
        let mut standing: Vec<_> = self.lanes.standing().collect();
        standing.sort_unstable_by_key(|(_, id)| *id);
        let enrolled = self.streams.iter().filter(|(_, stream)| stream.enrolled);
        let enrolled: Vec<_> = enrolled
            .map(|(id, stream)| (Lane::of(stream.sent), *id))
            .collect();
        assert_eq!(
            standing, enrolled,
            "who is marked stands in the lane of what it has sent, once, and nobody else does"
        );
    }

    fn check_urgent(&self) {
        let count = |is: fn(&Urgent) -> bool| self.urgent.iter().filter(|urgent| is(urgent)).count();
        assert_eq!(
            count(|urgent| matches!(urgent, Urgent::Pong(_))),
            self.pongs,
            "answers to PING that wait are counted"
        );
        assert!(
            count(|urgent| matches!(urgent, Urgent::GoAway)) <= usize::from(self.leaving),
            "who leaves says so, once"
        );
        assert!(
            count(|urgent| matches!(urgent, Urgent::Refuse(_))) <= REFUSALS_MAX,
            "no more refusals wait than may"
        );
        let mut credits: BTreeMap<StreamId, usize> = BTreeMap::new();
        let mut asked = 0;
        for urgent in &self.urgent {
            match *urgent {
                Urgent::Credit(id) if self.streams.contains_key(&id) => *credits.entry(id).or_default() += 1,
                Urgent::CreditBack(_, back) => assert!(back > 0, "nobody gives back nothing"),
                Urgent::Ping(token) => asked = token,
                Urgent::Credit(_) | Urgent::Pong(_) | Urgent::GoAway | Urgent::Refuse(_) => {}
            }
        }
        let granting = self.streams.iter().filter(|(_, stream)| stream.grant > 0);
        let granting: BTreeMap<_, _> = granting.map(|(id, _)| (*id, 1)).collect();
        assert_eq!(
            credits, granting,
            "who is to be granted something has one frame of credit queued"
        );
        assert!(
            asked == 0 || asked == self.trip.last_asked(),
            "the last PING that waits is the last that was asked for"
        );
    }

    fn check_limits(&self) {
        let (streams, max) = (self.streams.len(), self.options.streams_max);
        assert!(
            self.unanswered + self.reserved <= UNANSWERED_MAX,
            "no more streams wait for an answer than may"
        );
        assert!(
            self.streams
                .last_key_value()
                .is_none_or(|(id, _)| id.value() <= self.last),
            "streams that are there were opened"
        );
        match self.side {
            Side::Opener => {
                assert!(
                    streams + self.reserved <= max,
                    "no more streams are opened than a link carries"
                );
                let ahead = u32::try_from(self.reserved * 2).expect("few places are taken");
                assert!(
                    self.last + ahead <= self.options.ids_max,
                    "each place has an id that may be used"
                );
                assert!(self.opened.is_empty(), "only the other side opens streams");
            }
            Side::Acceptor => {
                let open = self.streams.values().filter(|stream| !stream.is_over()).count();
                assert!(
                    open <= max && streams <= max.saturating_mul(2),
                    "no more streams are taken in than a link carries"
                );
                assert_eq!(
                    (self.reserved, self.places),
                    (0, 0),
                    "who accepts streams takes no places"
                );
                assert!(
                    self.opened.is_sorted_by(|one, next| one < next),
                    "a stream is handed out once, in the order of the opening"
                );
            }
        }
    }

    fn check_stream(&self, stream: &Stream) {
        stream.check();
        assert!(
            stream.enrolled || !stream.can_send(),
            "a stream that could send waits for its turn"
        );
        assert!(
            !stream.released || !stream.is_over(),
            "a stream that is over and that nobody holds is forgotten"
        );
        assert!(
            !(stream.reset && stream.reader_waits),
            "who waits for what comes on a stream is told of its reset"
        );
        assert!(
            stream.answered || !stream.reset,
            "a stream that was reset waits for no answer"
        );
        assert!(
            stream.out_len() <= OUT_LEN_MAX,
            "a queue is no longer than it may be"
        );
        assert!(
            !stream.writer_waits || stream.out_len() > OUT_LEN_MAX / 2,
            "who waits for room is told when there is some"
        );
        assert!(
            !stream.is_refused(self.side) || stream.out_len() == 0,
            "what nobody wants is not kept"
        );
    }

    /// Who waits: for what comes on a stream, and for room in it.
    #[cfg(feature = "mutants")]
    pub(in crate::link) fn all_who_wait(&self) -> impl Iterator<Item = (StreamId, bool, bool)> {
        let held = self.streams.iter().filter(|(_, stream)| !stream.released);
        held.map(|(id, stream)| (*id, stream.reader_waits, stream.writer_waits))
    }

    /// Whether the reader and the writer of this stream wait; `None` for one that is not there.
    #[cfg(feature = "mutants")]
    pub(in crate::link) fn who_waits(&self, id: StreamId) -> Option<(bool, bool)> {
        let stream = self.streams.get(&id)?;
        Some((stream.reader_waits, stream.writer_waits))
    }

    /// Whether a place would be given now, had somebody asked for one.
    #[cfg(feature = "mutants")]
    pub(in crate::link) fn has_room(&self, now: Instant) -> bool {
        !self.is_leaving()
            && self.last + 2 * (self.reserved as u32 + 1) <= self.options.ids_max
            && self.streams() < self.options.streams_max
            && self.unanswered + self.reserved < UNANSWERED_MAX
            && self.resets.clone().has(now)
            && self.opens.clone().has(now)
    }
}
