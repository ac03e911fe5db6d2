//! The server's side of one session on one stream.
//!
//! ```text
//!            Accepted          Started                 both FINs, Finished
//! Starting ----------> Working -------> Open --------------------------------> ended, stream reusable
//!    |  \________________|_______________^  |  reset, break, violation
//!    |          Started  |                  +--------------------------------> ended, stream dead
//!    |  Refused          | Refused
//!    +-------------------+-----------> Refused --- Finished -----------------> ended, stream reusable
//!    |                   |  (the visitor is released at once, for another try)
//!    +-------------------+-----------> ended, stream dead   (break, silence: released too)
//! ```

mod audits;

use std::collections::VecDeque;

use super::{
    core::{Action, Come, Core, Fate, Flow},
    first_bytes::FirstBytes,
    patience::{BULK_LEN, Backlog, Patience},
};
use crate::{
    id::Ordinal,
    probe::{History, audit, measure, mutant, sometimes},
    time::{Duration, Instant},
    wire::message::{RefuseCode, Reset, ResetCode, Start, ToClient, ToServer},
};

/// How long a refused stream may take to agree that it is free again. Longer holds descriptors.
const REFUSED_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a try did not reach `Started`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The client said so: nothing reached an upstream.
    Refused(RefuseCode),
    /// The stream broke.
    Broken,
    /// No answer within the deadline.
    Silent,
}

/// How the session ended for the visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every byte arrived in both directions, and both directions ended.
    Completed,
    /// Not started; the visitor may be tried elsewhere. `ambiguous`: its bytes may have reached an upstream.
    NotStarted {
        /// Why.
        cause: Cause,
        /// Whether visitor bytes had been sent.
        ambiguous: bool,
    },
    /// The visitor reset or vanished.
    VisitorGone,
    /// The client reset the session.
    Reset(ResetCode),
    /// The stream broke after `Started`.
    Broken,
    /// Half-closed for too long without a byte.
    HalfClosed,
    /// Ended by the server itself.
    Aborted(ResetCode),
}

impl Outcome {
    /// A short name for logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::NotStarted {
                cause: Cause::Refused(code),
                ..
            } => code.label(),
            Self::NotStarted {
                cause: Cause::Broken, ..
            } => "not_started_broken",
            Self::NotStarted {
                cause: Cause::Silent, ..
            } => "not_started_silent",
            Self::VisitorGone => "visitor_gone",
            Self::Reset(code) | Self::Aborted(code) => code.label(),
            Self::Broken => "broken",
            Self::HalfClosed => "half_closed_timeout",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Starting(Instant),
    Working(Instant),
    Open,
    Refused(Instant),
    Ended(Fate),
}

/// Inputs: `handle_*`. Outputs: [`Core::poll_action`], [`outcome`](Self::outcome), [`Core::fate`].
#[derive(Debug)]
pub struct VisitorSide {
    ordinal: Ordinal,
    patience: Patience,
    state: State,
    flow: Flow,
    first: FirstBytes,
    /// A visitor byte has gone out behind this `Start`.
    sent: bool,
    served: bool,
    /// The client asked for no more requests on this stream.
    retired: bool,
    finished: bool,
    violated: bool,
    outcome: Option<Outcome>,
    /// What the client said when it refused.
    refusal: String,
    backlog: Option<Backlog>,
    actions: VecDeque<Action<ToClient>>,
    /// How often the raw side was given back, reset or closed, for its audits.
    parted: History<()>,
}

impl VisitorSide {
    /// Begins a try: `Start`, then whatever the visitor has said so far.
    pub fn new(now: Instant, ordinal: Ordinal, start: Start, patience: Patience, first: FirstBytes) -> Self {
        measure!("answer-waited-for-ms", patience.answer);
        let mut deadline = (now + patience.answer).min(patience.start_deadline);
        if mutant!("answer-deadline-ignored") {
            deadline = patience.start_deadline;
        }
        let mut side = Self {
            ordinal,
            patience,
            state: State::Starting(deadline),
            flow: Flow::new(now),
            sent: !first.bytes().is_empty(),
            first,
            served: false,
            retired: false,
            finished: false,
            violated: false,
            outcome: None,
            refusal: String::new(),
            backlog: None,
            actions: VecDeque::from([Action::Send(ToClient::Start(start))]),
            parted: History::default(),
        };
        sometimes!(side.sent, "first-bytes-sent-again");
        if side.sent && !mutant!("replay-forgets-first-bytes") {
            side.actions
                .push_back(Action::SendKept(side.first.bytes().to_vec()));
        }
        side.flow.raw_in = side.first.bytes().len() as u64;
        if side.first.fin() {
            side.send_fin();
        }
        if side.sent && side.first.fin() && mutant!("replay-sends-end-before-first-bytes") {
            side.actions.swap(1, 2);
        }
        side.check();
        side
    }

    /// The same, patient as long as `backlog` moves before it.
    pub fn behind(mut self, backlog: Backlog) -> Self {
        self.backlog = Some(backlog);
        self
    }

    /// How the session ended for the visitor; may be known before the stream's fate is.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// What the client said when it refused; empty when it did not, or gave no reason.
    pub fn refusal(&self) -> &str {
        &self.refusal
    }

    /// Whether a client serves the visitor, or did.
    pub fn has_started(&self) -> bool {
        !matches!(self.outcome, Some(Outcome::NotStarted { .. }))
            && !matches!(self.state, State::Starting(_) | State::Working(_))
    }

    /// How far it has come.
    pub fn come(&self) -> Come {
        Come {
            served: self.served,
            answered: self.flow.fin_received && self.flow.raw_out > 0,
        }
    }

    /// Whether a client said that it serves the visitor.
    pub fn was_served(&self) -> bool {
        self.served
    }

    /// Whether the client asked for no more requests on this stream: its upstream's address is not chosen any more.
    pub fn is_retired(&self) -> bool {
        self.retired
    }

    /// The kept bytes, for the next try.
    pub fn take_first_bytes(&mut self) -> FirstBytes {
        let empty = FirstBytes::new(super::first_bytes::ReplayBudget::new(0));
        std::mem::replace(&mut self.first, empty)
    }

    fn is_starting(&self) -> bool {
        matches!(self.state, State::Starting(_) | State::Working(_))
    }

    fn send_fin(&mut self) {
        if !self.flow.fin_sent {
            self.flow.fin_sent = true;
            self.actions.push_back(Action::Send(ToClient::Fin));
        }
    }

    fn send_reset(&mut self, code: ResetCode) {
        self.actions
            .push_back(Action::Send(ToClient::Reset(Reset { code: code.code() })));
    }

    /// Ends this try without a start; the visitor goes back.
    fn release(&mut self, cause: Cause) {
        self.outcome = Some(Outcome::NotStarted {
            cause,
            ambiguous: self.sent,
        });
        self.actions.push_back(Action::ReleaseRaw);
        self.parted.push(());
    }

    /// Ends the session in a way that must not look like an end.
    fn break_off(&mut self, outcome: Outcome) {
        if self.outcome.is_none() {
            self.outcome = Some(outcome);
            self.actions.push_back(Action::ResetRaw);
            self.parted.push(());
        }
        self.state = State::Ended(Fate::Dead);
    }

    /// The stream is of no use any more, whatever state it was in.
    fn lose_stream(&mut self, cause: Cause) {
        match self.state {
            State::Starting(_) | State::Working(_) => {
                self.release(cause);
                self.state = State::Ended(Fate::Dead);
            }
            State::Open if mutant!("session-tried-again-after-start") => {
                self.release(cause);
                self.state = State::Ended(Fate::Dead);
            }
            State::Open => self.break_off(Outcome::Broken),
            State::Refused(_) => self.state = State::Ended(Fate::Dead),
            State::Ended(_) => {}
        }
    }

    fn settle(&mut self) {
        let flow = &self.flow;
        if self.state == State::Open && flow.fin_sent && flow.shut_down && self.finished {
            self.outcome = Some(Outcome::Completed);
            self.state = State::Ended(Fate::Reusable);
            self.actions.push_back(Action::CloseRaw);
            self.parted.push(());
        }
    }

    fn handle_open(&mut self, now: Instant, message: ToServer) {
        match message {
            ToServer::Data if !self.flow.fin_received => {}
            // It ends by itself where nothing comes behind what is under way.
            ToServer::Retire if !self.flow.fin_received => self.retired = true,
            ToServer::Fin if !self.flow.fin_received => {
                sometimes!(!self.flow.fin_sent, "upstream-half-closed-first");
                self.flow.fin_received = true;
                self.flow.touch(now);
                self.actions.push_back(Action::ShutDownRaw);
            }
            ToServer::Finished(_) if self.flow.fin_sent && self.flow.fin_received && !self.finished => {
                self.finished = true;
            }
            ToServer::Reset(reset) => self.break_off(Outcome::Reset(ResetCode::from(reset.code))),
            _ => self.handle_violation(now),
        }
    }
}

impl Core for VisitorSide {
    type In = ToServer;
    type Out = ToClient;

    fn ordinal(&self) -> Ordinal {
        self.ordinal
    }

    fn raw_room(&mut self) -> usize {
        match self.state {
            State::Starting(_) | State::Working(_) => self.first.room(),
            State::Open if !self.flow.fin_sent => usize::MAX,
            _ => 0,
        }
    }

    fn handle_raw_bytes(&mut self, now: Instant, bytes: &[u8]) {
        self.flow.count_in(now, bytes.len());
        if self.is_starting() {
            self.first.push(bytes);
            self.sent = true;
        }
        self.check();
    }

    fn handle_raw_fin(&mut self, now: Instant) {
        if self.is_starting() {
            sometimes!("visitor-ended-before-start");
            self.first.push_fin();
        }
        if self.is_starting() || self.state == State::Open {
            sometimes!(!self.flow.fin_received, "visitor-half-closed-first");
            self.flow.touch(now);
            self.send_fin();
            self.settle();
        }
        self.check();
    }

    fn handle_raw_broken(&mut self, _now: Instant) {
        sometimes!(self.is_starting(), "visitor-gone-before-start");
        if self.is_starting() || self.state == State::Open {
            self.send_reset(ResetCode::VisitorGone);
            self.break_off(Outcome::VisitorGone);
        }
        self.check();
    }

    fn handle_message(&mut self, now: Instant, stream_id: u32, message: ToServer, body_len: u32) {
        if let Some(backlog) = self.backlog.as_ref().filter(|_| body_len >= BULK_LEN) {
            backlog.note_moved(now);
        }
        if stream_id != self.ordinal.value() {
            self.handle_violation(now);
            return;
        }
        match (self.state, message) {
            (State::Starting(_), ToServer::Accepted) => {
                let deadline = now + self.patience.connect + self.patience.answer;
                let deadline = deadline.min(self.patience.start_deadline);
                audit!(
                    self.poll_timeout().is_none_or(|before| before <= deadline),
                    "who is at work has no less time than who has not answered"
                );
                self.state = State::Working(deadline);
            }
            (State::Starting(_) | State::Working(_), ToServer::Started) => {
                self.state = State::Open;
                // A visitor may have ended long before: what is waited for counts from here.
                self.flow.touch(now);
                self.served = true;
                self.first.clear();
            }
            (State::Starting(_) | State::Working(_), ToServer::Refused(refused)) => {
                sometimes!("client-refused-start");
                self.release(Cause::Refused(RefuseCode::from(refused.code)));
                self.refusal = refused.message;
                // The client discards what it was sent up to this FIN; then the stream is free again.
                self.send_fin();
                self.state = State::Refused(now + REFUSED_TIMEOUT);
            }
            (State::Starting(_) | State::Working(_), ToServer::Reset(_)) => self.lose_stream(Cause::Broken),
            (State::Open, message) => self.handle_open(now, message),
            (State::Refused(_), ToServer::Finished(_)) => self.state = State::Ended(Fate::Reusable),
            (State::Ended(_), _) => {}
            _ => self.handle_violation(now),
        }
        self.settle();
        self.check();
    }

    fn handle_delivered(&mut self, now: Instant, bytes: usize) {
        self.flow.count_out(now, bytes);
    }

    fn handle_raw_shut_down(&mut self, now: Instant) {
        self.flow.touch(now);
        self.flow.shut_down = true;
        self.finished |= self.flow.fin_sent && mutant!("connection-parked-before-client-finished");
        self.settle();
        self.check();
    }

    fn handle_sent(&mut self, now: Instant) {
        if let Some(backlog) = &self.backlog {
            backlog.note_moved(now);
        }
    }

    fn handle_sent_at(&mut self, at: Instant) {
        self.flow.note_sent(at);
    }

    fn handle_stream_broken(&mut self, _now: Instant) {
        self.lose_stream(Cause::Broken);
        self.check();
    }

    fn handle_violation(&mut self, _now: Instant) {
        self.violated = true;
        self.send_reset(ResetCode::Protocol);
        self.lose_stream(Cause::Broken);
        self.check();
    }

    fn is_violated(&self) -> bool {
        self.violated
    }

    fn handle_abort(&mut self, _now: Instant, code: ResetCode) {
        if matches!(self.state, State::Ended(_)) {
            return;
        }
        self.send_reset(code);
        if self.is_starting()
            && code == ResetCode::LinkSilent
            && !mutant!("unstarted-session-reset-with-its-client")
        {
            // Not started yet: another client may still serve this visitor.
            self.lose_stream(Cause::Silent);
        } else {
            self.break_off(Outcome::Aborted(code));
        }
        self.check();
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        let backlog = self
            .backlog
            .as_ref()
            .filter(|_| matches!(self.state, State::Starting(_)));
        let held_up = backlog.and_then(|backlog| backlog.holds_up_until(now, &self.patience));
        match (self.state, held_up) {
            (State::Starting(_), Some(until)) => {
                sometimes!("start-behind-traffic");
                self.state = State::Starting(until);
            }
            (State::Starting(_) | State::Working(_), _) => {
                sometimes!("client-left-start-unanswered");
                self.send_reset(ResetCode::Timeout);
                self.lose_stream(Cause::Silent);
            }
            (State::Open, _) => {
                self.send_reset(ResetCode::Timeout);
                self.break_off(Outcome::HalfClosed);
            }
            (State::Refused(_), _) => self.state = State::Ended(Fate::Dead),
            (State::Ended(_), _) => {}
        }
        audit!(
            self.poll_timeout().is_none_or(|due| due > now),
            "a deadline that has come is dealt with"
        );
        self.check();
    }

    fn poll_action(&mut self) -> Option<Action<ToClient>> {
        let action = self.actions.pop_front();
        if action.is_none() {
            // Most of its life a session has nothing to do here: it keeps no room for it.
            self.actions = VecDeque::new();
        }
        action
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Starting(due) | State::Working(due) | State::Refused(due) => Some(due),
            State::Open => self.flow.half_closed_deadline(self.patience.half_closed),
            State::Ended(_) => None,
        }
    }

    fn bytes(&self) -> (u64, u64) {
        (self.flow.raw_in, self.flow.raw_out)
    }

    fn fate(&self) -> Option<Fate> {
        match self.state {
            State::Ended(fate) => Some(fate),
            _ => None,
        }
    }
}
