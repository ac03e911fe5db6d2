//! Invariants 38 and 39: who is asked how it does, and what is kept warm.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    event::Event,
    oracle::{Class, Invariant, model::Model},
    plan::who::Who,
};

/// Within what everybody is probed, a member or not, with the round that was under way, and a margin.
const PROBED: Duration = Duration::from_secs(40);

/// 38: everybody who is listed is looked at now and then.
#[derive(Default)]
pub struct Watched {
    /// When each was connected to last, or took a connection that came too late for who asked.
    last: BTreeMap<usize, Duration>,
}

impl Invariant for Watched {
    fn number(&self) -> u8 {
        38
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        if let Event::Connects {
            upstream: Who::Upstream(n),
        }
        | Event::Accepts {
            upstream: Who::Upstream(n),
            ..
        } = event
        {
            self.last.insert(*n, model.now);
        }
        None
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let candidates = model.candidates.as_ref()?;
        let well = candidates.sound(model.now);
        for n in 0..candidates.count() {
            let last = self.last.entry(n).or_insert(model.now);
            if !well.contains(&n) {
                *last = model.now;
            } else if model.now > *last + PROBED {
                let who = Who::Upstream(n);
                return Some(format!(
                    "{who} is listed and well, and was left alone since {last:?}"
                ));
            }
        }
        None
    }
}

/// How long a stream may outlive its time: it is looked at when it is asked for, or when the pool is looked through.
const OLD_MAX: Duration = Duration::from_secs(2);

/// How long a stream may wait to somebody who has spoken on it.
const SPOKEN_MAX: Duration = Duration::from_secs(3);

/// 39: no stream is kept warm for longer than it may be, nor to somebody who speaks first.
pub struct Warmth;

impl Invariant for Warmth {
    fn number(&self) -> u8 {
        39
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let (candidates, forward) = (model.candidates.as_ref()?, model.plan.forward.as_ref()?);
        let trouble = model.trouble();
        if trouble.server || !trouble.visitors.is_empty() {
            return None;
        }
        let age = candidates.choice().pool_age_ms;
        let mut old = candidates.silent.iter().filter_map(|(serial, (n, since))| {
            let most = if forward.candidates[*n].speaks_first {
                SPOKEN_MAX
            } else if age > 0 {
                Duration::from_millis(age) + OLD_MAX
            } else {
                return None;
            };
            let is_old = model.now > *since + most && !model.was_ill(*n, *since);
            is_old.then_some((serial, n, since, most))
        });
        let (serial, n, since, most) = old.nth(model.mute())?;
        let who = Who::Upstream(*n);
        Some(format!(
            "connection {serial:#x} of {who} waits since {since:?}, {most:?} are the most"
        ))
    }
}
