//! What the oracle knows of one session, and of one connection of an upstream.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    event::End,
    payload::{Greeting, Request},
    plan::Visit,
};

/// What has befallen the hosts around a session while it lasted.
#[derive(Clone, Debug)]
pub struct Exposure {
    /// The server was in trouble.
    pub server: bool,
    /// The server's process died, and its kernel ended what it held: cleanly, as far as anybody can see.
    pub server_died: bool,
    /// Something else than a death befell a client.
    pub worn: bool,
    /// When anything befell it last.
    pub last: Duration,
    /// Its visitor was.
    pub visitor: bool,
    /// These clients of its group were.
    pub clients: BTreeSet<usize>,
    /// Of those, some service was.
    pub upstreams: bool,
    /// How many clients of its group were registered for certain as it came, in trouble or not.
    pub found: Option<usize>,
    /// The fewest registered clients of its group in no trouble that there were at any moment.
    pub sound_min: usize,
    /// Since when there has been one without interruption.
    pub sound_since: Option<Duration>,
    /// The most sessions that were open at any moment, or had been shortly before.
    pub crowd: usize,
    /// The most that the server had at any moment.
    pub busy: usize,
    /// A target of its group had no share like the others'.
    pub uneven: bool,
    /// The candidates of a forwarder that could be counted on throughout.
    pub sound: Option<BTreeSet<usize>>,
    /// What it rides on once it is served has been touched: the server, or these clients.
    pub touched: Touched,
}

/// Who was in such trouble that what they serve already may suffer.
#[derive(Clone, Debug, Default)]
pub struct Touched {
    /// The server was.
    pub server: bool,
    /// These clients were, or their services.
    pub clients: BTreeSet<usize>,
}

/// One session, as its visitor sees it.
#[derive(Clone, Debug)]
pub struct Session {
    /// What the visitor wants.
    pub visit: Visit,
    /// Which visitor.
    pub visitor: usize,
    /// When it was about to connect.
    pub opened: Duration,
    /// When it had the greeting.
    pub greeted: Option<(Duration, Greeting)>,
    /// When it was over, and how.
    pub ended: Option<(Duration, End)>,
    /// What has befallen it.
    pub exposure: Exposure,
    /// Upstream connections that saw its header.
    pub seen_by: Vec<u64>,
    /// The upstreams that a forwarder brought it to.
    pub brought_to: Vec<usize>,
}

impl Session {
    /// Whether anything has befallen it.
    pub fn was_exposed(&self) -> bool {
        let Exposure {
            server,
            visitor,
            ref clients,
            sound_min,
            ..
        } = self.exposure;
        server || visitor || sound_min == 0 || !clients.is_empty()
    }
}

/// One connection of an upstream.
#[derive(Clone, Debug)]
pub struct Served {
    /// Which upstream.
    pub upstream: usize,
    /// By which door it came in.
    pub door: usize,
    /// When it was accepted.
    pub accepted: Duration,
    /// What was wanted.
    pub request: Option<Request>,
    /// When that was said.
    pub asked: Option<Duration>,
    /// How many bytes of body it got, whether they ended cleanly and complete, and whether they ended cleanly
    /// at all, once it is over.
    pub over: Option<(u64, bool, bool)>,
    /// When that was.
    pub over_at: Option<Duration>,
}
