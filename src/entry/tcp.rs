//! A public TCP address: every connection is one session.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use actix::Actor;
use tokio::sync::Semaphore;

use crate::{
    id::SessionId,
    probe::{mutant, sometimes},
    session::{
        actor::{Desk, Session},
        raw::RawStream,
    },
    transport::Listener,
};

/// What all entries of a server share.
#[derive(Clone)]
pub struct Slots {
    /// One permit per session, and per connection of a visitor to an HTTP entry.
    pub sessions: Arc<Semaphore>,
    /// One permit per connection of an HTTP entry to an upstream.
    pub upstream_connections: Arc<Semaphore>,
    /// The number of the next session.
    pub next: Arc<AtomicU64>,
}

/// Accepts visitors for ever. Runs on the control thread: a session crosses threads once, when it is
/// handed to a proxy connection.
pub async fn serve(mut listener: Box<dyn Listener>, desk: Rc<Desk>, slots: Slots) {
    loop {
        let (stream, peer) = desk.env.accept(&mut *listener, desk.entry.as_str()).await;
        desk.env.metrics.visitors.inc();
        desk.traffic.visitors.inc();
        let visitor = RawStream::new(stream);
        let Ok(slot) = Arc::clone(&slots.sessions).try_acquire_owned() else {
            sometimes!("session-limit-reached");
            if !mutant!("refused-visitor-has-no-outcome") {
                desk.env.metrics.session_outcomes.inc("too_many_sessions");
                desk.traffic.outcomes.inc("too_many_sessions");
            }
            desk.turned_away(peer, "too_many_sessions", None);
            continue;
        };
        let id = SessionId::new(slots.next.fetch_add(1, Ordering::Relaxed));
        Session::new(Rc::clone(&desk), id, visitor, peer, slot).start();
    }
}
