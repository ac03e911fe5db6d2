//! Where the two sides of a case meet, outside of the network that is judged.

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

/// The steps that either side has marked, each with a number. Cheap to clone.
///
/// A mark is faster than any network: what the other side did before it marked a step may not have arrived yet.
#[derive(Clone, Debug, Default)]
pub struct Meeting(Arc<watch::Sender<BTreeMap<&'static str, u64>>>);

const PORT: &str = "the port";

impl Meeting {
    /// Says that `step` has been reached.
    pub fn mark(&self, step: &'static str) {
        self.tell(step, 0);
    }

    /// Says that `step` has been reached, and a number with it.
    pub fn tell(&self, step: &'static str, number: u64) {
        self.0.send_modify(|steps| {
            steps.insert(step, number);
        });
    }

    /// Waits until `step` is reached. Returns the number told with it.
    pub async fn reached(&self, step: &'static str) -> u64 {
        let mut steps = self.0.subscribe();
        loop {
            if let Some(number) = steps.borrow_and_update().get(step) {
                return *number;
            }
            // The sender lives in `self`, so there is always another change to wait for.
            let _ = steps.changed().await;
        }
    }

    /// Takes `step` back, so that it can be reached again.
    pub fn forget(&self, step: &'static str) {
        self.0.send_modify(|steps| {
            steps.remove(step);
        });
    }

    /// Publishes where the server listens.
    pub fn publish(&self, port: u16) {
        self.tell(PORT, u64::from(port));
    }

    /// Takes back where the server listened: it will say so anew.
    pub fn unpublish(&self) {
        self.forget(PORT);
    }

    /// Waits for the server's port.
    pub async fn port(&self) -> u16 {
        u16::try_from(self.reached(PORT).await).unwrap_or(0)
    }
}
