//! A relay in memory: the two cores of a session, real bytes, and a stream between them that may break at any
//! byte. Every step is the test's own choice, and after every step everything is checked.

mod checks;
mod side;
mod wires;

use adit::{
    id::Ordinal,
    session::{
        Options,
        core::{Core, Fate},
        first_bytes::FirstBytes,
        patience::Patience,
        upstream_side::UpstreamSide,
        visitor_side::VisitorSide,
    },
    time::{Duration, Instant},
    wire::{
        frame::kind,
        message::{RefuseCode, ResetCode, Start, ToClient, ToServer},
    },
};

/// How long a side may be half-closed without a byte.
pub const HALF_CLOSED: Duration = Duration::from_secs(300);

/// One end of a session, and what its owner does to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Visitor,
    Upstream,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Step {
    /// The relay reads up to so many raw bytes, or the end behind the last.
    Read(End, usize),
    /// Up to so many frames, or pieces of a body, reach the relay of this end.
    Deliver(End, usize),
    /// The relay gets its ending of the raw side through.
    ShutDown(End),
    /// The owner of this end resets it.
    Reset(End),
    /// The client says that it is working on it.
    Working,
    /// The upstream takes the connection.
    Connect,
    /// The upstream refuses the connection.
    Refuse,
    /// Time passes, in milliseconds; whoever has a deadline is told.
    Wait(u64),
    /// The stream breaks: of what is under way to the client and to the server only so many bytes arrive.
    Break(usize, usize),
    /// The server ends the session.
    Abort,
}

pub use side::Side;
pub use wires::{Pipe, Raw};

/// One try: a visitor, a stream, an upstream.
pub struct Try {
    pub now: Instant,
    pub visitor: Side<VisitorSide>,
    /// There once `Start` has reached the client.
    pub upstream: Option<Side<UpstreamSide>>,
    upstream_raw: Option<Raw>,
    connecting: bool,
    working: bool,
    pub connected: bool,
    pub to_client: Pipe,
    pub to_server: Pipe,
}

impl Try {
    pub fn new(now: Instant, ordinal: Ordinal, visitor: Raw, first: FirstBytes, upstream: Raw) -> Self {
        let options = Options::default();
        let patience = Patience::new(&options, Duration::from_millis(30), now + options.start_timeout);
        let core = VisitorSide::new(now, ordinal, Start::default(), patience, first);
        let mut it = Self {
            now,
            visitor: Side::new(core, visitor),
            upstream: None,
            upstream_raw: Some(upstream),
            connecting: false,
            working: false,
            connected: false,
            to_client: Pipe::default(),
            to_server: Pipe::default(),
        };
        it.perform();
        it
    }

    pub fn step(&mut self, step: &Step) {
        let now = self.now;
        match *step {
            Step::Read(End::Visitor, n) => self.visitor.read(now, n, &ToClient::Data, &mut self.to_client),
            Step::Read(End::Upstream, n) => {
                if let Some(upstream) = &mut self.upstream {
                    upstream.read(now, n, &ToServer::Data, &mut self.to_server);
                }
            }
            Step::Deliver(end, pieces) => {
                for _ in 0..pieces {
                    self.deliver(end);
                    self.perform();
                }
            }
            Step::ShutDown(End::Visitor) => self.visitor.shut_down(now),
            Step::ShutDown(End::Upstream) => self.with_upstream(|side| side.shut_down(now)),
            Step::Reset(End::Visitor) => self.visitor.raw.broken = true,
            Step::Reset(End::Upstream) => self.with_upstream(|side| side.raw.broken = true),
            Step::Working if self.connecting && !std::mem::replace(&mut self.working, true) => {
                self.with_upstream(|side| side.core.handle_working())
            }
            Step::Connect if std::mem::take(&mut self.connecting) => {
                self.connected = true;
                self.with_upstream(|side| side.core.handle_connected());
            }
            Step::Refuse if std::mem::take(&mut self.connecting) => self.with_upstream(|side| {
                side.raw.gone = true;
                side.core.handle_not_connected(now, RefuseCode::Unreachable, "");
            }),
            Step::Working | Step::Connect | Step::Refuse => {}
            Step::Wait(ms) => self.advance(now + Duration::from_millis(ms)),
            Step::Break(up, down) => {
                self.to_client.cut(up);
                self.to_server.cut(down);
            }
            Step::Abort => self.visitor.core.handle_abort(now, ResetCode::Shutdown),
        }
        self.perform();
        self.check();
    }

    fn with_upstream(&mut self, change: impl FnOnce(&mut Side<UpstreamSide>)) {
        if let Some(side) = &mut self.upstream {
            change(side);
        }
    }

    fn advance(&mut self, now: Instant) {
        self.now = now;
        self.visitor.time_out(now);
        if !self.connecting {
            self.with_upstream(|side| side.time_out(now));
        }
    }

    fn deliver(&mut self, end: End) {
        match (end, &mut self.upstream) {
            (End::Visitor, _) => self.visitor.deliver(self.now, &mut self.to_server),
            // While it connects, the client reads nothing.
            (End::Upstream, Some(side)) if !self.connecting => side.deliver(self.now, &mut self.to_client),
            (End::Upstream, None) => {
                if let Some(start) = self.to_client.frames.pop_front() {
                    assert_eq!(start.kind, kind::START, "a session begins with Start");
                    let core = UpstreamSide::new(self.now, Ordinal::new(start.stream_id), HALF_CLOSED);
                    let raw = self.upstream_raw.take().expect("a session starts once");
                    self.upstream = Some(Side::new(core, raw));
                    self.connecting = true;
                }
            }
            (End::Upstream, Some(_)) => {}
        }
    }

    /// Sends what the cores want sent. A side that has lost its stream closes it: what it sent before may
    /// still arrive, what was sent to it is lost.
    fn perform(&mut self) {
        self.visitor.perform(&mut self.to_client);
        if self.visitor.core.fate() == Some(Fate::Dead) {
            self.to_client.broken = true;
            self.to_server.cut(0);
        }
        if let Some(upstream) = &mut self.upstream {
            upstream.perform(&mut self.to_server);
            if upstream.core.fate() == Some(Fate::Dead) {
                self.to_server.broken = true;
                self.to_client.cut(0);
            }
        }
    }

    /// Lets everybody finish: both ends say all they have, the upstream connects, every frame arrives, time
    /// passes when nothing else happens.
    ///
    /// # Panics
    /// When the session does not come to its end.
    pub fn finish(&mut self) {
        for _ in 0..2_000 {
            let before = self.progress();
            self.step(&Step::Connect);
            for end in [End::Visitor, End::Upstream] {
                self.step(&Step::Read(end, usize::MAX));
                self.step(&Step::Deliver(end, 1));
                self.step(&Step::ShutDown(end));
            }
            if self.is_over() {
                return;
            }
            if before == self.progress() {
                let dues = [
                    self.visitor.core.poll_timeout(),
                    self.upstream.as_ref().and_then(|side| side.core.poll_timeout()),
                ];
                let due = dues.into_iter().flatten().min();
                self.advance(
                    due.expect("a session that stands still has a deadline")
                        .max(self.now),
                );
                self.perform();
            }
        }
        panic!("the session does not end");
    }

    fn progress(&self) -> impl PartialEq + use<> {
        let side =
            |raw: &Raw, body: usize, frames: usize| (raw.read, raw.end_read, raw.got.len(), body, frames);
        let upstream = self.upstream.as_ref().map(|up| {
            let moved = side(&up.raw, up.body_left, self.to_client.frames.len());
            (moved, up.core.fate(), up.shutting_down, up.raw.saw_end)
        });
        let moved = side(
            &self.visitor.raw,
            self.visitor.body_left,
            self.to_server.frames.len(),
        );
        let fate = self.visitor.core.fate();
        (
            moved,
            fate,
            self.visitor.shutting_down,
            self.visitor.raw.saw_end,
            upstream,
        )
    }

    pub fn is_over(&self) -> bool {
        let upstream_over = match &self.upstream {
            Some(side) => side.core.fate().is_some(),
            None => self.to_client.is_empty(),
        };
        self.visitor.core.fate().is_some() && upstream_over
    }
}
