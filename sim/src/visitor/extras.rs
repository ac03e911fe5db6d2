//! What a visitor of HTTP does and expects where a request has more than all have.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Short, Visitor};
use crate::{
    event::Oddity,
    lock::Shared,
    plan::{Visit, web::Call},
    web::{
        GREETING, GRPC_STATUS,
        chain::Chain,
        told::{HINTS, Told},
    },
};

/// gRPC's DEADLINE_EXCEEDED.
const DEADLINE_EXCEEDED: &str = "4";

/// How much later than it should an answer that pauses is broken off, at most.
const PAUSE_MARGIN: Duration = Duration::from_secs(3);

/// A request that was sent.
pub(super) struct Asked<'a> {
    pub(super) session: u64,
    pub(super) visit: &'a Visit,
    pub(super) call: Call,
    pub(super) told: Told,
    /// When its head was sent, at the earliest.
    pub(super) since: Duration,
    /// The interim answers that came before the answer.
    pub(super) hints: Shared<Vec<HeaderMap>>,
}

impl Visitor {
    /// A request of this visitor that is sent now. Pauses that would outlast the run are left out.
    pub(super) fn asked<'a>(&self, session: u64, visit: &'a Visit, call: Call) -> Asked<'a> {
        let mut extras = call.extras;
        if self.oracle.now() + Duration::from_millis(extras.takes_ms()) >= self.last_visit {
            (extras.pause_ms, extras.hint_pause_ms, extras.head_ms) = (0, 0, 0);
        }
        Asked {
            session,
            visit,
            call,
            told: Told {
                extras,
                trusted: self.browser.trusted,
                forges: call.forges,
                extended: call.is_extended(),
            },
            since: self.oracle.now(),
            hints: Shared::default(),
        }
    }

    /// Says for whom it speaks: as a proxy that is trusted does, or as one that nobody believes.
    pub(super) fn speak_for(&self, headers: &mut HeaderMap, told: &Told) {
        match told.trusted {
            true => Chain::of(told.extras.chain).add_to(headers),
            false => drop(headers.insert("x-forwarded-for", HeaderValue::from_static("10.9.8.7"))),
        }
    }

    /// How a call ends whose status, in these headers or trailers, says that its deadline is over; `None` if they do not. It is
    /// wrong before the deadline.
    pub(super) fn over_by_deadline(&self, asked: &Asked<'_>, headers: &HeaderMap) -> Option<Short> {
        let timeout = Duration::from_millis(asked.told.extras.timeout_ms);
        if timeout.is_zero() || text(headers, &GRPC_STATUS) != Some(DEADLINE_EXCEEDED) {
            return None;
        }
        let passed = self.oracle.now() - asked.since;
        Some(match passed < timeout {
            true => {
                let what = format!("its deadline is over after {passed:?}, not {timeout:?}");
                self.strange(asked.session, Oddity::WrongHead(what))
            }
            false => Short::Left,
        })
    }

    /// Whether the entry has to break the answer off, because it pauses for longer than it may.
    pub(super) fn is_broken_off(&self, asked: &Asked<'_>) -> bool {
        let idle = self.browser.answer_idle;
        !idle.is_zero() && Duration::from_millis(asked.told.extras.pause_ms) > idle
    }

    /// How an answer ends that broke after nothing had come for so long.
    pub(super) fn broke(&self, asked: &Asked<'_>, waited: Duration, why: String) -> Short {
        // What came last may have been late itself.
        match self.is_broken_off(asked) && waited * 2 >= self.browser.answer_idle {
            true => Short::Left,
            false => Short::Broken(why),
        }
    }

    /// # Errors
    /// An answer goes on that has paused for so long that the entry should have broken it off.
    pub(super) fn check_pause(&self, asked: &Asked<'_>, waited: Duration) -> Result<(), Short> {
        if !self.is_broken_off(asked) || waited < self.browser.answer_idle + PAUSE_MARGIN {
            return Ok(());
        }
        // What was under way may have been held up.
        if self.was_touched(asked.session) {
            return Ok(());
        }
        let what = format!("an answer that paused for {waited:?} went on");
        Err(self.strange(asked.session, Oddity::WrongHead(what)))
    }

    /// Whether anything has befallen what the session rides on.
    fn was_touched(&self, session: u64) -> bool {
        self.oracle.read(|model| {
            let Some(session) = model.sessions.get(&session) else {
                return true;
            };
            let (exposure, served_by) = (&session.exposure, session.greeted);
            let client = served_by.map(|(_, greeting)| usize::from(greeting.upstream));
            let hit = client.is_none_or(|client| exposure.touched.clients.contains(&client));
            hit || exposure.server || exposure.visitor
        })
    }

    /// Whether anything has befallen the session.
    pub(super) fn was_exposed(&self, session: u64) -> bool {
        self.oracle.read(|model| {
            let session = model.sessions.get(&session);
            session.is_none_or(crate::oracle::session::Session::was_exposed)
        })
    }

    /// What is wrong with the interim answers before the answer with these headers, if anything is. Those of a try that
    /// failed may stand among them.
    pub(super) fn check_hints(&self, asked: &Asked<'_>, headers: &HeaderMap) -> Result<(), Short> {
        let session = asked.session;
        let wrong = |what| Err(self.strange(session, Oddity::WrongHead(what)));
        let hints = asked.hints.with(std::mem::take);
        if let Some(what) = hints.iter().find_map(|hint| Told::wrong_hint(session, hint)) {
            return wrong(what);
        }
        let own = hints
            .iter()
            .filter(|hint| hint.get(GREETING) == headers.get(GREETING));
        let own: Vec<_> = own
            .filter_map(|hint| text(hint, &HINTS)?.parse::<u64>().ok())
            .collect();
        let sent = text(headers, &HINTS)
            .and_then(|sent| sent.parse().ok())
            .unwrap_or(0);
        match own.iter().copied().eq(0..sent) {
            true => Ok(()),
            false => wrong(format!("of {sent} interim answers it has {own:?}")),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
