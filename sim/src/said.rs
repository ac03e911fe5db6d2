//! What nodes log, as a hash: a line that is not written any more, or says something else, is a change like any other.

use std::{
    cell::Cell,
    fmt::{self, Write as _},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use crate::fnv::Fnv;

thread_local! {
    /// Of everything that was logged on this thread, in order.
    static HASH: Cell<u64> = const { Cell::new(0) };
}

/// The hash of what was logged on this thread since it was taken last. It is nothing where nobody listens.
pub fn take() -> u64 {
    HASH.take()
}

/// Listens to all that nodes log, but for what only they understand who wrote it (`TRACE`).
#[derive(Debug)]
pub struct Listener;

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let about = event.metadata();
        if *about.level() == Level::TRACE || !about.target().starts_with("adit::") {
            return;
        }
        let mut words = Words(Fnv(HASH.get()));
        words.0.add(about.target());
        words.0.add(about.level().as_str());
        event.record(&mut words);
        HASH.set(words.0.0);
    }
}

struct Words(Fnv);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.add(field.name());
        write!(self.0, "{value:?}").expect("a hash takes everything");
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::prelude::*;

    use super::*;

    fn hash_of(log: impl FnOnce()) -> u64 {
        let listening = tracing_subscriber::registry().with(Listener);
        tracing::subscriber::with_default(listening, log);
        take()
    }

    #[test]
    fn every_word_counts_of_what_nodes_say() {
        let line = || tracing::info!(target: "adit::link", client = "a", after = 3, "link lost");
        let hash = hash_of(line);
        assert_eq!(hash_of(line), hash);
        assert_ne!(
            hash_of(|| tracing::info!(target: "adit::link", client = "a", after = 4, "link lost")),
            hash
        );
        assert_ne!(
            hash_of(|| tracing::warn!(target: "adit::link", client = "a", after = 3, "link lost")),
            hash
        );
        assert_ne!(
            hash_of(|| {
                line();
                line();
            }),
            hash
        );
        assert_eq!(
            hash_of(|| tracing::info!(target: "turmoil", "nobody's concern")),
            0
        );
    }
}
