//! The one address of a forwarder: every connection is a session of its own, on the workers.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use tokio::sync::Semaphore;

use crate::{
    env::{Env, Task},
    id::SessionId,
    session::{
        forward::{Forwarding, forward},
        raw::RawStream,
    },
    transport::Listener,
};

/// Fewer sessions are not worth a look for those that have ended.
const SWEEP_MIN: usize = 1024;

/// The sessions of an entry. Dropping the last clone resets those that still run.
#[derive(Clone)]
pub struct Running {
    /// One permit per session.
    pub slots: Arc<Semaphore>,
    max: usize,
    next: Rc<Cell<u64>>,
    tasks: Rc<RefCell<Vec<Task>>>,
    /// At so many tasks, those that have ended are dropped: as often as they double.
    sweep_at: Rc<Cell<usize>>,
}

impl Running {
    /// None yet; at most `max` at once.
    pub fn new(max: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(max)),
            max,
            next: Rc::new(Cell::new(1)),
            tasks: Rc::default(),
            sweep_at: Rc::new(Cell::new(SWEEP_MIN)),
        }
    }

    /// Resets all that still run.
    pub fn reset(&self) {
        self.tasks.borrow_mut().clear();
    }

    /// Waits until none runs.
    pub async fn idle(&self) {
        let all = u32::try_from(self.max).unwrap_or(u32::MAX);
        // Every permit is free exactly when no session runs; the semaphore is never closed.
        let _ = self.slots.acquire_many(all).await;
    }

    fn push(&self, task: Task) {
        let mut tasks = self.tasks.borrow_mut();
        tasks.push(task);
        if tasks.len() >= self.sweep_at.get() {
            tasks.retain(|task| !task.is_finished());
            self.sweep_at.set((2 * tasks.len()).max(SWEEP_MIN));
        }
    }
}

/// Accepts visitors for ever.
pub async fn serve(
    env: Env,
    mut listener: Box<dyn Listener>,
    forwarding: Rc<RefCell<Arc<Forwarding>>>,
    running: Running,
) {
    loop {
        let (stream, peer) = env.accept(&mut *listener, "forwarder").await;
        env.metrics.visitors.inc();
        let forwarding = Arc::clone(&forwarding.borrow());
        forwarding.traffic.visitors.inc();
        let visitor = RawStream::new(stream);
        let Ok(slot) = Arc::clone(&running.slots).try_acquire_owned() else {
            env.metrics.session_outcomes.inc("too_many_sessions");
            forwarding.traffic.outcomes.inc("too_many_sessions");
            continue;
        };
        let id = SessionId::new(running.next.replace(running.next.get() + 1));
        running.push(env.spawn(forward(forwarding, id, visitor, peer, slot)));
    }
}
