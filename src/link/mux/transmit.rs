//! What a link says next, and who is through with it.

use super::{
    Event, Mux, OUT_LEN_MAX, Urgent,
    batch::Batch,
    frames::{go_away, refuse},
    lanes::{Lane, QUANTUM},
    stream::Stream,
};
use crate::{
    id::StreamId,
    probe::{audit, mutant, sometimes},
    time::Instant,
    wire::frame::kind,
};

/// So many bytes are written at once, whoever else might join. More makes bulk wait for company that it does not need;
/// less lets fewer small frames leave together.
const MUCH_LEN: usize = 16 * 1024;

impl Mux {
    /// Whether [`poll_transmit`](Self::poll_transmit) has anything to say.
    pub fn has_frames(&self) -> bool {
        !self.urgent.is_empty() || !self.lanes.is_empty()
    }

    /// How many streams have something to say.
    pub fn waiting(&self) -> usize {
        self.lanes.len()
    }

    /// Whether what there is to say is worth a write of its own: something is urgent, or it is much.
    pub fn is_in_hurry(&self) -> bool {
        !self.urgent.is_empty() || self.queued >= MUCH_LEN
    }

    /// Fills `batch` with frames, the most urgent first.
    pub fn poll_transmit(&mut self, now: Instant, batch: &mut Batch) {
        while !batch.is_full() {
            if let Some(urgent) = self.urgent.pop_front() {
                self.send_urgent(urgent, batch);
                continue;
            }
            if mutant!("stream-without-credit-blocks-others")
                && self.streams.values().any(|stream| stream.starved)
            {
                break;
            }
            let Some((id, quantum)) = self.lanes.pop() else {
                break;
            };
            audit!(
                quantum == QUANTUM || self.streams.values().filter(|stream| stream.enrolled).count() <= 1,
                "who may send a whole frame stands alone"
            );
            let Some(stream) = self.streams.get_mut(&id) else {
                continue;
            };
            let lane = Lane::of(stream.sent);
            stream.enrolled = false;
            let sent = stream.send(now, id.value(), quantum, batch);
            self.queued -= sent as usize;
            self.counts.sent(lane, sent);
            audit!(sent <= quantum, "nobody sends more in one turn than it may");
            let starved = !stream.is_flushed() && !stream.can_send();
            if starved && !std::mem::replace(&mut stream.starved, true) {
                sometimes!("stream-out-of-credit");
                self.counts.stalls.credit += 1;
            }
            let room = stream.out_len() <= OUT_LEN_MAX / 2;
            if room && stream.writer_waits && !mutant!("waiting-writer-never-told") {
                stream.writer_waits = false;
                self.events.push_back(Event::Writable(id));
            }
            self.enroll(id);
            self.settle(id);
        }
        self.check();
    }

    fn send_urgent(&mut self, urgent: Urgent, batch: &mut Batch) {
        let before = batch.len();
        match urgent {
            Urgent::Ping(token) => batch.push_message(kind::PING, token, &[]),
            Urgent::Pong(token) => {
                self.pongs -= 1;
                batch.push_message(kind::PONG, token, &[]);
            }
            Urgent::GoAway => batch.push_message(kind::GO_AWAY, 0, &go_away()),
            Urgent::Refuse(id) => refuse(id, batch),
            Urgent::CreditBack(id, back) => batch.push_credit(kind::WINDOW_RETURN, id.value(), back),
            Urgent::Credit(id) => {
                // A stream that is no more needs none.
                if let Some(stream) = self.streams.get_mut(&id)
                    && let Ok(grant) = u32::try_from(std::mem::take(&mut stream.grant))
                {
                    batch.push_credit(kind::WINDOW, id.value(), grant);
                }
            }
        }
        self.counts.control += (batch.len() - before) as u64;
    }

    /// Puts a stream that can send in its lane, unless it stands there.
    pub(super) fn enroll(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.can_send()
            && !std::mem::replace(&mut stream.enrolled, true)
        {
            self.lanes.push(Lane::of(stream.sent), id);
        }
    }

    /// Forgets a stream that is over and that nobody holds.
    pub(super) fn settle(&mut self, id: StreamId) {
        let over = |stream: &mut Stream| stream.released && stream.is_over();
        let Some(mut stream) = self
            .streams
            .get_mut(&id)
            .is_some_and(over)
            .then(|| self.streams.remove(&id))
            .flatten()
        else {
            return;
        };
        if stream.enrolled {
            self.lanes.remove(id);
        }
        if !stream.answered {
            self.unanswered -= 1;
        }
        stream.inflow.close(&mut self.budget);
    }

    /// A stream that was reset waits for no answer.
    pub(super) fn forget_answer(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !std::mem::replace(&mut stream.answered, true)
        {
            self.unanswered -= 1;
        }
    }

    pub(super) fn wake_both(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if std::mem::take(&mut stream.reader_waits) {
            self.events.push_back(Event::Readable(id));
        }
        if std::mem::take(&mut stream.writer_waits) {
            self.events.push_back(Event::Writable(id));
        }
    }
}
