//! What a visitor of HTTP hears of a server that was told to stop and still serves, while the delay of its drain lasts.

use std::time::Duration;

use http::{HeaderMap, header};

use super::{Short, Visitor, extras::Asked};
use crate::{event::Oddity, oracle::model::Model, plan::Millis};

/// How long a server that was told to stop may take to act on it.
const HEARD: Duration = Duration::from_millis(200);

/// Ways that a GOAWAY has to go, with those before it.
const WAYS: Millis = 8;

/// How long what a server has said may be under way.
fn under_way(model: &Model) -> Duration {
    let knobs = &model.plan.knobs;
    let slow = if knobs.tail_one_in > 0 { 4 } else { 1 };
    Duration::from_millis(WAYS * slow * (knobs.latency_ms.1 + 1))
}

impl Visitor {
    /// Whether a GOAWAY has come on a connection of HTTP/2 that has brought a request, and was there and free at that time.
    pub(super) fn is_due_to_leave(&self, used: Duration) -> bool {
        let now = self.oracle.now();
        self.oracle.read(|model| {
            let told = model.drain_delay(now).map(|(since, _)| since.max(used));
            told.is_some_and(|told| now > told + HEARD + under_way(model))
        })
    }

    /// # Errors
    /// An answer over HTTP/1 does not say that it is the last of its connection, although its server drains.
    pub(super) fn check_last(&self, asked: &Asked<'_>, headers: &HeaderMap) -> Result<(), Short> {
        let now = self.oracle.now();
        // Also the answer to a request that came before, if it was begun behind that.
        let told = self.oracle.read(|model| {
            let drains = model.drain_delay(now).map(|(since, _)| since + HEARD);
            drains.is_some_and(|told| asked.since > told || now > told + under_way(model))
        });
        let says = headers
            .get(header::CONNECTION)
            .is_some_and(|value| value == "close");
        if !told || says || self.was_struck(asked.since) {
            return Ok(());
        }
        let what = "an answer of a server that drains does not say that it is the last".to_owned();
        Err(self.strange(asked.session, Oddity::GoesOn(what)))
    }
}
