//! What must hold. A model of its own: it knows what each visitor and each upstream sent and got, and which
//! faults were in force; it knows nothing of how the system under test works.
//!
//! Invariants carry the numbers of the list in `docs/simulation.md`: 1 bytes arrive in order, 2 a finished
//! session is complete, 3 no byte of another session, 4 a visitor's bytes reach two upstreams only in the
//! ambiguous window, 23 nothing leaks, 24 the books balance, 25 every client is registered, 26 pools are
//! full, 27 sessions succeed, 28 none hangs.

use std::{cell::RefCell, collections::BTreeMap, fmt, rc::Rc, time::Duration};

use crate::{
    payload::{Greeting, Request},
    plan::{CLIENTS, Manner, Visit},
    trace::Recorder,
};

/// How long an undisturbed session may take: the server's 8 s to start it, the slowest visitor's 2 s, the
/// slowest upstream's 3 s, and a margin. Longer hides a hang; shorter blames the workload.
const SESSION_MAX: Duration = Duration::from_secs(16);

/// How long after a fault everything may take to be as before.
pub const HEAL_MAX: Duration = Duration::from_secs(20);

/// How long after its end a fault still excuses: news of it is under way.
const SETTLE: Duration = Duration::from_secs(1);

/// To how many upstream connections a visitor's bytes may go at most.
const TRIES_MAX: usize = 3;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Something wrong happened.
    Correctness,
    /// Something right did not happen.
    Liveness,
    /// A panic, or the engine gave up.
    Crash,
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number.
    pub invariant: u8,
    /// How bad it is.
    pub class: Class,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: invariant {}: {}", self.class, self.invariant, self.what)
    }
}

/// What the driver sees of the world at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// The server is down, draining, or was a moment ago.
    pub server_troubled: bool,
    /// Clients that are crashed or cut off, or were a moment ago.
    pub troubled: [bool; CLIENTS],
    /// How many clients the server counts.
    pub registered: usize,
}

#[derive(Debug)]
struct Session {
    visit: Visit,
    opened: Duration,
    greeting: Option<Greeting>,
    end: Option<End>,
    server_troubled: bool,
    troubled: [bool; CLIENTS],
    /// The fewest registered clients in no trouble that there were at any moment.
    sound_min: usize,
    /// Upstream connections that saw its header.
    seen_by: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Complete,
    Left,
    Broken,
}

#[derive(Debug)]
struct Served {
    upstream: usize,
    accepted: Duration,
    connection: Option<u64>,
    got: u64,
    clean_end: bool,
}

/// Figures of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sessions that completed.
    pub complete: usize,
    /// Sessions that visitors left.
    pub left: usize,
    /// Sessions that broke, excused by a fault.
    pub broken: usize,
    /// Upstream connections beyond the first that saw a visitor's bytes.
    pub repeated: usize,
    /// Body bytes checked.
    pub bytes: u64,
}

#[derive(Debug)]
struct Books {
    recorder: Recorder,
    sight: Sight,
    since_trouble: Duration,
    sessions: BTreeMap<u64, Session>,
    served: BTreeMap<u64, Served>,
    violations: Vec<Violation>,
    /// Open streams when the first invariant broke.
    streams: Vec<String>,
    bytes: u64,
}

/// The judge. Cheap to clone; one per run.
#[derive(Clone, Debug)]
pub struct Oracle(Rc<RefCell<Books>>);

impl Oracle {
    /// Nothing has happened yet.
    pub fn new(recorder: Recorder) -> Self {
        Self(Rc::new(RefCell::new(Books {
            recorder,
            sight: Sight::default(),
            since_trouble: Duration::ZERO,
            sessions: BTreeMap::new(),
            served: BTreeMap::new(),
            violations: Vec::new(),
            streams: Vec::new(),
            bytes: 0,
        })))
    }

    /// An invariant is broken.
    pub fn violate(&self, invariant: u8, class: Class, what: impl Into<String>) {
        let what = what.into();
        let mut books = self.0.borrow_mut();
        books
            .recorder
            .event("oracle", format_args!("invariant {invariant} broken: {what}"));
        if books.violations.is_empty() {
            books.streams = books.recorder.open_streams();
        }
        books.violations.push(Violation {
            invariant,
            class,
            what,
        });
    }

    /// The first broken invariant.
    pub fn verdict(&self) -> Option<Violation> {
        self.0.borrow().violations.first().cloned()
    }

    /// The streams of the system under test that were open when the first invariant broke.
    pub fn streams_at_verdict(&self) -> Vec<String> {
        self.0.borrow().streams.clone()
    }

    /// The world as it stands now; called at every step.
    pub fn handle_sight(&self, now: Duration, sight: Sight) {
        let mut hung = None;
        {
            let mut books = self.0.borrow_mut();
            let trouble = sight.server_troubled || sight.troubled.contains(&true);
            if trouble {
                books.since_trouble = now;
            }
            books.sight = sight;
            let healing = now < books.since_trouble + HEAL_MAX;
            for (id, session) in books
                .sessions
                .iter_mut()
                .filter(|(_, session)| session.end.is_none())
            {
                session.see(&sight);
                let excused = healing && session.was_troubled();
                if now > session.opened + SESSION_MAX && !excused {
                    hung = Some(*id);
                }
            }
        }
        if let Some(id) = hung {
            self.violate(
                28,
                Class::Liveness,
                format!("session {id} hangs: {}", self.describe(id)),
            );
        }
    }

    /// A visitor is about to connect.
    pub fn handle_opened(&self, now: Duration, id: u64, visit: Visit) {
        let mut books = self.0.borrow_mut();
        let mut session = Session {
            visit,
            opened: now,
            greeting: None,
            end: None,
            server_troubled: false,
            troubled: [false; CLIENTS],
            sound_min: CLIENTS,
            seen_by: Vec::new(),
        };
        session.see(&books.sight);
        books.sessions.insert(id, session);
    }

    /// A visitor was greeted.
    pub fn handle_greeted(&self, id: u64, greeting: Greeting) {
        let known = {
            let mut books = self.0.borrow_mut();
            if let Some(session) = books.sessions.get_mut(&id) {
                session.greeting = Some(greeting);
            }
            let served = books.served.get(&greeting.serial);
            served.is_some_and(|served| served.upstream == usize::from(greeting.upstream))
        };
        if !known {
            self.violate(
                1,
                Class::Correctness,
                format!("session {id} got a greeting nobody sent: {greeting:?}"),
            );
        }
    }

    /// A session ended for its visitor with everything sent and everything got.
    pub fn handle_complete(&self, id: u64) {
        self.end(id, End::Complete);
    }

    /// A visitor left as it had planned.
    pub fn handle_left(&self, id: u64) {
        self.end(id, End::Left);
    }

    /// A session broke, visibly so: cut short or reset.
    pub fn handle_broken(&self, id: u64, why: &str) {
        self.end(id, End::Broken);
        if let Some(excuse_missing) = self.accuse(id) {
            let what = format!(
                "session {id} broke ({why}) although {excuse_missing}: {}",
                self.describe(id)
            );
            self.violate(27, Class::Liveness, what);
        }
    }

    fn end(&self, id: u64, end: End) {
        if let Some(session) = self.0.borrow_mut().sessions.get_mut(&id) {
            session.end = Some(end);
        }
    }

    /// Why a broken session has no excuse.
    fn accuse(&self, id: u64) -> Option<&'static str> {
        let books = self.0.borrow();
        let session = books.sessions.get(&id)?;
        if session.server_troubled || session.sound_min == 0 {
            return None;
        }
        if !session.troubled.contains(&true) {
            return Some("nothing was troubled and a client was registered");
        }
        if session.visit.manner == Manner::ReadFirst {
            // Whom it was started on is not to be seen from outside before it has sent its header.
            return None;
        }
        let started_on = session
            .seen_by
            .iter()
            .chain(session.greeting.iter().map(|greeting| &greeting.serial));
        let started_on_troubled = started_on
            .filter_map(|serial| books.served.get(serial))
            .any(|served| session.troubled[served.upstream]);
        // An upstream that was connected for it and cut off before the header came cannot name it.
        let perhaps_started = books.served.values().any(|served| {
            served.connection.is_none()
                && served.accepted >= session.opened
                && session.troubled[served.upstream]
        });
        let excused = started_on_troubled || perhaps_started;
        (!excused).then_some("a sound client was registered throughout and no troubled one had started it")
    }

    fn describe(&self, id: u64) -> String {
        let books = self.0.borrow();
        format!("{:?}", books.sessions.get(&id))
    }

    /// An upstream accepted a connection.
    pub fn handle_accepted(&self, accepted: Duration, serial: u64, upstream: usize) {
        let served = Served {
            upstream,
            accepted,
            connection: None,
            got: 0,
            clean_end: false,
        };
        self.0.borrow_mut().served.insert(serial, served);
    }

    /// An upstream got a request's header.
    pub fn handle_header(&self, serial: u64, request: Request) {
        let problem = {
            let mut books = self.0.borrow_mut();
            if let Some(served) = books.served.get_mut(&serial) {
                served.connection = Some(request.connection);
            }
            let since_trouble = books.since_trouble;
            match books.sessions.get_mut(&request.connection) {
                None => Some((3, format!("an upstream got a request nobody sent: {request:?}"))),
                Some(session) => {
                    session.seen_by.push(serial);
                    // Its bytes may arrive, held up, long after it ended.
                    let excused = since_trouble >= session.opened || session.was_troubled();
                    session.judge_header(&request, excused)
                }
            }
        };
        if let Some((invariant, what)) = problem {
            self.violate(invariant, Class::Correctness, what);
        }
    }

    /// An upstream got so many bytes of body in all, each of them right.
    pub fn handle_body(&self, serial: u64, got: u64) {
        if let Some(served) = self.0.borrow_mut().served.get_mut(&serial) {
            served.got = got;
        }
    }

    /// An upstream saw the visitor's direction end, behind a complete body.
    pub fn handle_clean_end(&self, serial: u64) {
        if let Some(served) = self.0.borrow_mut().served.get_mut(&serial) {
            served.clean_end = true;
        }
    }

    /// Body bytes that were compared.
    pub fn handle_checked(&self, bytes: usize) {
        self.0.borrow_mut().bytes += bytes as u64;
    }

    /// Sessions that have not ended.
    pub fn open(&self) -> usize {
        let books = self.0.borrow();
        books
            .sessions
            .values()
            .filter(|session| session.end.is_none())
            .count()
    }

    /// Judges at rest what can only be judged there: `replays` is how many the servers say they made.
    pub fn handle_rest(&self, replays: u64) {
        let mut problems = Vec::new();
        {
            let books = self.0.borrow();
            for (id, session) in books
                .sessions
                .iter()
                .filter(|(_, s)| s.end == Some(End::Complete))
            {
                let served = session
                    .greeting
                    .and_then(|greeting| books.served.get(&greeting.serial));
                let whole = served.is_some_and(|served| {
                    served.connection == Some(*id) && served.got == session.visit.len && served.clean_end
                });
                // The last bytes may still have been under way when a fault struck.
                if !whole && !session.was_troubled() {
                    problems.push((2, format!("session {id} was complete for its visitor, but its upstream has {served:?}: {session:?}")));
                }
            }
        }
        let repeated = self.tally().repeated as u64;
        if repeated > replays {
            problems.push((
                4,
                format!("bytes were repeated {repeated} times, the servers own up to {replays}"),
            ));
        }
        for (invariant, what) in problems {
            self.violate(invariant, Class::Correctness, what);
        }
    }

    /// The figures so far.
    pub fn tally(&self) -> Tally {
        let books = self.0.borrow();
        let count = |end: End| {
            books
                .sessions
                .values()
                .filter(|session| session.end.as_ref() == Some(&end))
                .count()
        };
        Tally {
            complete: count(End::Complete),
            left: count(End::Left),
            broken: count(End::Broken),
            repeated: books
                .sessions
                .values()
                .map(|s| s.seen_by.len().saturating_sub(1))
                .sum(),
            bytes: books.bytes,
        }
    }
}

impl Session {
    fn see(&mut self, sight: &Sight) {
        self.server_troubled |= sight.server_troubled;
        let mut troubled = 0;
        for (mine, now) in self.troubled.iter_mut().zip(sight.troubled) {
            *mine |= now;
            troubled += usize::from(now);
        }
        self.sound_min = self.sound_min.min(sight.registered.saturating_sub(troubled));
    }

    fn was_troubled(&self) -> bool {
        self.server_troubled || self.sound_min == 0 || self.troubled.contains(&true)
    }

    fn judge_header(&self, request: &Request, excused: bool) -> Option<(u8, String)> {
        if request.len != self.visit.len || request.reply_len != self.visit.reply_len {
            return Some((1, format!("an upstream got {request:?}, sent was {self:?}")));
        }
        if self.seen_by.len() > TRIES_MAX {
            return Some((
                4,
                format!(
                    "a visitor's bytes went to {} upstream connections: {self:?}",
                    self.seen_by.len()
                ),
            ));
        }
        if self.seen_by.len() > 1 && !excused {
            return Some((
                4,
                format!("a visitor's bytes were repeated although nothing was troubled: {self:?}"),
            ));
        }
        None
    }
}

/// Whether a fault over `from..to` still excuses what happens at `now`.
pub fn troubles(now: Duration, from: Duration, to: Duration) -> bool {
    now >= from && now < to + SETTLE
}
