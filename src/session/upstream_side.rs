//! The client's side of one session on one stream.
//!
//! ```text
//!             connected                 both FINs, all written, upstream closed
//! Connecting ----------> Open ------------------------------------------------> Finished: stream reusable
//!     |                    |  reset, break, violation
//!     | not connected      +--------------------------------------------------> stream dead
//!     +------> Discarding --- FIN ---------------------------------------------> Finished: stream reusable
//! ```

use std::collections::VecDeque;

use super::core::{Action, Core, Fate, Flow};
use crate::{
    id::Ordinal,
    probe::{History, audit, mutant, sometimes},
    time::{Duration, Instant},
    wire::message::{Finished, RefuseCode, Refused, Reset, ResetCode, ToClient, ToServer},
};

/// After a refusal, how many bytes of the visitor are thrown away, and for how long, before the stream is
/// given up rather than reused. More wastes traffic; less costs a new connection.
const DISCARD_MAX: u64 = 64 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest explanation of a refusal, in characters.
const REFUSAL_LEN_MAX: usize = 200;

/// How the session ended for the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every byte arrived in both directions, and both directions ended.
    Completed,
    /// The upstream could not be connected.
    Refused(RefuseCode),
    /// The upstream reset or vanished.
    UpstreamReset,
    /// The server reset the session.
    Reset(ResetCode),
    /// The stream broke.
    Broken,
    /// Half-closed for too long without a byte.
    HalfClosed,
    /// Ended by the client itself.
    Aborted(ResetCode),
}

impl Outcome {
    /// A short name for logs and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Refused(code) => code.label(),
            Self::UpstreamReset => "upstream_reset",
            Self::Reset(code) | Self::Aborted(code) => code.label(),
            Self::Broken => "broken",
            Self::HalfClosed => "half_closed_timeout",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Connecting,
    Open,
    Discarding { deadline: Instant, left: u64 },
    Ended(Fate),
}

/// Inputs: `handle_*`. Outputs: [`Core::poll_action`], [`outcome`](Self::outcome), [`Core::fate`].
#[derive(Debug)]
pub struct UpstreamSide {
    ordinal: Ordinal,
    half_closed: Duration,
    state: State,
    flow: Flow,
    violated: bool,
    outcome: Option<Outcome>,
    actions: VecDeque<Action<ToServer>>,
    /// How often the raw side was reset or closed, for its audits.
    parted: History<()>,
}

impl UpstreamSide {
    /// A `Start` has come; the upstream is being connected.
    pub fn new(now: Instant, ordinal: Ordinal, half_closed: Duration) -> Self {
        Self {
            ordinal,
            half_closed,
            state: State::Connecting,
            flow: Flow::new(now),
            violated: false,
            outcome: None,
            actions: VecDeque::new(),
            parted: History::default(),
        }
    }

    /// How the session ended for the upstream.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Whether the upstream broke its session before it had ended its answer.
    pub fn was_broken_by_upstream(&self) -> bool {
        let answered = self.flow.fin_sent && self.flow.raw_in > 0;
        self.outcome == Some(Outcome::UpstreamReset) && !answered
    }

    /// Connecting takes longer than a local connect should: say that we are at it.
    pub fn handle_working(&mut self) {
        if self.state == State::Connecting {
            self.actions.push_back(Action::Send(ToServer::Accepted));
        }
    }

    /// The upstream is connected. `Started` goes out before anything is written to it.
    pub fn handle_connected(&mut self) {
        if self.state == State::Connecting {
            self.state = State::Open;
            self.actions.push_back(Action::Send(ToServer::Started));
        }
        self.check();
    }

    /// The upstream's address is not chosen any more: no new request should come on this stream.
    pub fn handle_retired(&mut self) {
        if self.state == State::Open && !self.flow.fin_sent && !mutant!("retirement-not-said") {
            sometimes!("kept-upstream-retired");
            self.actions.push_back(Action::Send(ToServer::Retire));
        }
    }

    /// The upstream could not be connected.
    pub fn handle_not_connected(&mut self, now: Instant, code: RefuseCode, message: &str) {
        if self.state == State::Connecting {
            // It may quote what the peer said, and must fit a frame header whatever that was.
            let message = message.chars().take(REFUSAL_LEN_MAX).collect();
            self.outcome = Some(Outcome::Refused(code));
            self.state = State::Discarding {
                deadline: now + DISCARD_TIMEOUT,
                left: DISCARD_MAX,
            };
            self.actions.push_back(Action::Send(ToServer::Refused(Refused {
                code: code.code(),
                message,
            })));
        }
        self.check();
    }

    fn send_reset(&mut self, code: ResetCode) {
        self.actions
            .push_back(Action::Send(ToServer::Reset(Reset { code: code.code() })));
    }

    fn break_off(&mut self, outcome: Outcome) {
        if self.outcome.is_none() {
            self.outcome = Some(outcome);
            self.actions.push_back(Action::ResetRaw);
            self.parted.push(());
        }
        self.state = State::Ended(Fate::Dead);
    }

    fn finish(&mut self) {
        let finished = Finished {
            outcome: 0,
            bytes: self.flow.raw_out,
        };
        self.actions.push_back(Action::Send(ToServer::Finished(finished)));
        self.state = State::Ended(Fate::Reusable);
    }

    fn settle(&mut self) {
        if self.state == State::Open && self.flow.fin_sent && self.flow.shut_down {
            self.outcome = Some(Outcome::Completed);
            // `Finished` says that the upstream's socket is closed, so it is closed first.
            self.actions.push_back(Action::CloseRaw);
            self.parted.push(());
            self.finish();
        }
    }

    /// The sentences this core believes at every moment.
    fn check(&self) {
        self.flow.check();
        assert!(
            self.outcome != Some(Outcome::Completed) || (self.flow.fin_sent && self.flow.shut_down),
            "a session is complete only when both directions have ended and everything is written upstream"
        );
        assert!(
            self.state != State::Ended(Fate::Reusable) || self.outcome.is_some(),
            "a stream is free again only when the session's end is known"
        );
        let refused = matches!(self.outcome, Some(Outcome::Refused(_)));
        match self.state {
            State::Connecting => audit!(
                self.outcome.is_none() && !self.flow.fin_sent && !self.flow.fin_received,
                "nothing has happened before the upstream is connected"
            ),
            State::Open => audit!(self.outcome.is_none(), "a session that is open has not ended"),
            State::Discarding { left, .. } => audit!(
                refused && left <= DISCARD_MAX,
                "what comes is thrown away where nobody was reached"
            ),
            State::Ended(_) => audit!(self.outcome.is_some(), "a session that is over has an outcome"),
        }
        audit!(
            self.parted
                .in_a_row(|()| true, |()| false)
                .is_none_or(|times| times == u32::from(self.outcome.is_some() && !refused)),
            "the upstream is parted with once, as the outcome is known"
        );
    }
}

impl Core for UpstreamSide {
    type In = ToClient;
    type Out = ToServer;

    fn ordinal(&self) -> Ordinal {
        self.ordinal
    }

    fn raw_room(&mut self) -> usize {
        if self.state == State::Open && !self.flow.fin_sent {
            usize::MAX
        } else {
            0
        }
    }

    fn handle_raw_bytes(&mut self, now: Instant, bytes: &[u8]) {
        self.flow.count_in(now, bytes.len());
    }

    fn handle_raw_fin(&mut self, now: Instant) {
        if self.state == State::Open && !self.flow.fin_sent {
            self.flow.touch(now);
            self.flow.fin_sent = true;
            self.actions.push_back(Action::Send(ToServer::Fin));
            self.settle();
        }
        self.check();
    }

    fn handle_raw_broken(&mut self, _now: Instant) {
        if self.state == State::Open {
            sometimes!("upstream-reset-session");
            self.send_reset(ResetCode::UpstreamReset);
            self.break_off(Outcome::UpstreamReset);
        }
        self.check();
    }

    fn handle_message(&mut self, now: Instant, stream_id: u32, message: ToClient, body_len: u32) {
        if stream_id != self.ordinal.value() {
            self.handle_violation(now);
            return;
        }
        match (self.state, message) {
            (State::Ended(_), _) => {}
            (_, ToClient::Reset(reset)) => self.break_off(Outcome::Reset(ResetCode::from(reset.code))),
            (State::Open, ToClient::Data) if !self.flow.fin_received => {}
            (State::Open, ToClient::Fin) if !self.flow.fin_received => {
                self.flow.fin_received = true;
                self.flow.touch(now);
                self.actions.push_back(Action::ShutDownRaw);
            }
            (State::Discarding { deadline, left }, ToClient::Data) => {
                self.state = match left.checked_sub(body_len.into()) {
                    Some(left) => State::Discarding { deadline, left },
                    None => State::Ended(Fate::Dead),
                };
            }
            (State::Discarding { .. }, ToClient::Fin) => self.finish(),
            _ => self.handle_violation(now),
        }
        self.check();
    }

    fn handle_delivered(&mut self, now: Instant, bytes: usize) {
        self.flow.count_out(now, bytes);
    }

    /// A visitor that has reset wants nothing done any more, and a service that hangs would keep it for ever.
    fn drops_what_is_held_up(&self) -> bool {
        !mutant!("reset-waits-behind-held-up-bytes")
    }

    fn handle_raw_shut_down(&mut self, now: Instant) {
        self.flow.touch(now);
        self.flow.shut_down = true;
        if mutant!("upload-end-ends-answer-too") {
            self.handle_raw_fin(now);
        }
        self.settle();
        self.check();
    }

    fn handle_sent_at(&mut self, at: Instant) {
        self.flow.note_sent(at);
    }

    fn handle_stream_broken(&mut self, _now: Instant) {
        if !matches!(self.state, State::Ended(_)) {
            self.break_off(Outcome::Broken);
        }
        self.check();
    }

    fn handle_violation(&mut self, _now: Instant) {
        self.violated = true;
        self.send_reset(ResetCode::Protocol);
        self.break_off(Outcome::Broken);
        self.check();
    }

    fn is_violated(&self) -> bool {
        self.violated
    }

    fn handle_abort(&mut self, _now: Instant, code: ResetCode) {
        if !matches!(self.state, State::Ended(_)) {
            self.send_reset(code);
            self.break_off(Outcome::Aborted(code));
        }
        self.check();
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        match self.state {
            State::Open => {
                self.send_reset(ResetCode::Timeout);
                self.break_off(Outcome::HalfClosed);
            }
            State::Discarding { .. } => self.state = State::Ended(Fate::Dead),
            State::Connecting | State::Ended(_) => {}
        }
        audit!(
            self.poll_timeout().is_none_or(|due| due > now),
            "a deadline that has come is dealt with"
        );
        self.check();
    }

    fn poll_action(&mut self) -> Option<Action<ToServer>> {
        let action = self.actions.pop_front();
        if action.is_none() {
            // Most of its life a session has nothing to do here: it keeps no room for it.
            self.actions = VecDeque::new();
        }
        action
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Open => self.flow.half_closed_deadline(self.half_closed),
            State::Discarding { deadline, .. } => Some(deadline),
            State::Connecting | State::Ended(_) => None,
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
