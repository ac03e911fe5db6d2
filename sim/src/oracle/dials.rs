//! Invariants 22, 29 and 31: clients come back, soon but not at once nor in a storm, and notice when they must.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::{Class, Invariant, Model};
use crate::{
    event::Event,
    fault::AnyAct,
    node::CONTROL_PORT,
    plan::{Millis, knobs::Knobs, who::Who},
};

/// What a client does between two attempts besides waiting: resolving, closing, being scheduled.
const SLACK_MS: Millis = 500;
/// How long a server asks a client to wait whose name it thinks is taken.
const DENIED_MS: Millis = 5_000;
/// How long a link must have lived for its client's patience to be new (`backoff.stable_after`), and a margin.
const STABLE_MS: Millis = 11_000;

/// 22: waits between attempts stay under their ceiling, are spread, and are short again after a stable link.
#[derive(Default)]
pub struct Backoff {
    /// Of each client, waits after losses in a row.
    rows: BTreeMap<Who, Row>,
    /// Of each client, waits in a row that were exactly a ceiling.
    exact: BTreeMap<Who, u32>,
}

/// How often in a row a registration must have been lost for the wait after it to be judged, so many waits together have to
/// have been, and the least that they may come to, in parts of the longest: with eight that are drawn evenly less is one in
/// ten million.
const ROW_MIN: u32 = 4;
const WAITS_MIN: u32 = 8;
const SHARES_MIN: f64 = 0.5;

/// Waits after a registration that was lost again and again.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    losses: u32,
    waits: u32,
    shares: f64,
}

impl Row {
    /// It was lost again, and the client has waited: for how long, as a part of the longest wait, together.
    fn handle_lost(&mut self, knobs: &Knobs, waited: Millis) {
        self.losses += 1;
        if self.losses < ROW_MIN {
            return;
        }
        let grown = knobs.backoff_base_ms << (self.losses - 1).min(20);
        self.waits += 1;
        self.shares += waited as f64 / grown.min(knobs.backoff_cap_ms) as f64;
    }
}

/// Whether nothing happens but that control connections are reset, and both ends hear of it.
fn only_loses_registrations(model: &Model) -> bool {
    model.plan.strangers.iter().all(|one| one.deed.is_harmless())
        && model.plan.faults.iter().all(|fault| {
            matches!(&fault.act, AnyAct::ResetFlow(reset) if reset.both && reset.flow.port == CONTROL_PORT)
        })
}

impl Invariant for Backoff {
    fn number(&self) -> u8 {
        22
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        let Event::Dials {
            client,
            lived_ms,
            waited_ms: Some(waited),
        } = event
        else {
            return None;
        };
        let knobs = &model.plan.knobs;
        let Who::Client(n) = *client else {
            return None;
        };
        let row = self.rows.entry(*client).or_default();
        match lived_ms.is_some_and(|lived| lived + 2_000 >= STABLE_MS) {
            true => *row = Row::default(),
            false => row.handle_lost(knobs, *waited),
        }
        if row.waits >= WAITS_MIN && row.shares < SHARES_MIN && only_loses_registrations(model) {
            return Some(format!(
                "{client} has lost its registration {} times in a row, and its waits do not grow",
                row.losses
            ));
        }
        let ceiling = |wait: &Millis| {
            let mut ceiling = knobs.backoff_base_ms;
            while ceiling < *wait && ceiling < knobs.backoff_cap_ms {
                ceiling = (2 * ceiling).min(knobs.backoff_cap_ms);
            }
            ceiling == *wait || ceiling + 1 == *wait
        };
        let exact = self.exact.entry(*client).or_default();
        *exact = if ceiling(waited) { *exact + 1 } else { 0 };
        if *exact >= 3 {
            return Some(format!(
                "{client} has waited exactly the longest time, {exact} times in a row"
            ));
        }
        // A process that stands still waits longer, and so does one that was told to, or finds no name.
        let from = model
            .now
            .saturating_sub(Duration::from_millis(*waited + lived_ms.unwrap_or(0)));
        let hampered = model.was_hampered(n, from) || model.may_have_been_told_to_wait(n);
        if hampered {
            return None;
        }
        // A handshake that gets more time than usual may take it.
        let patience = knobs.handshake_timeout_ms;
        let patience = patience.saturating_sub(Knobs::default().handshake_timeout_ms);
        let most = knobs.backoff_cap_ms + patience + DENIED_MS + SLACK_MS;
        if *waited > most {
            return Some(format!(
                "{client} has waited {waited} ms, at most {most} are allowed"
            ));
        }
        // It counts from the registration on, which may have taken as long as a handshake may.
        let stable = lived_ms.is_some_and(|lived| lived >= STABLE_MS + knobs.handshake_timeout_ms);
        (stable && *waited > knobs.backoff_base_ms + SLACK_MS)
            .then(|| format!("{client} has waited {waited} ms after a link that lived {lived_ms:?} ms"))
    }
}

/// 29: a client whose control connection has gone silent notices, and comes back.
#[derive(Default)]
pub struct Noticed {
    /// By fault: who, and until when.
    due: BTreeMap<usize, (usize, Duration)>,
}

impl Invariant for Noticed {
    fn number(&self) -> u8 {
        29
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        match event {
            Event::FaultBegins { nth, .. } => {
                if let AnyAct::BlackHole(hole) = &model.plan.faults[*nth].act
                    && let (Who::Client(client), CONTROL_PORT) = (hole.flow.who, hole.flow.port)
                {
                    let knobs = &model.plan.knobs;
                    let within = knobs.detection_ms() + knobs.heartbeat_ms + knobs.backoff_cap_ms + 3_000;
                    self.due
                        .insert(*nth, (client, model.now + Duration::from_millis(within)));
                }
            }
            Event::FaultMisses { nth, .. } => drop(self.due.remove(nth)),
            Event::Dials {
                client: Who::Client(client),
                ..
            } => self.due.retain(|_, (who, _)| who != client),
            _ => {}
        }
        None
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        // Whoever has other troubles is left alone.
        self.due
            .retain(|nth, (client, _)| !model.is_troubled_besides(*client, *nth));
        let late = self.due.values().find(|(_, due)| model.now > *due);
        late.map(|(client, _)| {
            format!(
                "{} has not noticed that its control connection is silent",
                Who::Client(*client)
            )
        })
    }
}

/// 29 as well: a proxy connection that a black hole has swallowed is found out, parked as it may be.
#[derive(Default)]
pub struct FoundOut {
    /// The quiet after the healing is over.
    asked: bool,
}

impl Invariant for FoundOut {
    fn number(&self) -> u8 {
        29
    }

    fn class(&self) -> Class {
        Class::Liveness
    }

    fn handle_look(&mut self, model: &Model) -> Option<String> {
        let (from, to) = model.plan.quiet();
        // Just before the next visitors come.
        if self.asked || from == to || model.now + Duration::from_millis(200) < to {
            return None;
        }
        self.asked = true;
        // A session may wait for its reader for longer, and a handmade plan may leave no time.
        if !model.open.is_empty() || model.plan.silence_found() > to {
            return None;
        }
        let held = model.sight.silenced;
        (held > 0).then(|| format!("{held} ends of silent proxy connections are held as if they lived"))
    }
}

/// The window in which a storm is counted.
const STORM_WINDOW: Duration = Duration::from_secs(1);
/// Attempts of each client in that window. With the shortest base (50 ms) the mean waits are 25, 50, 100, 200 and
/// 400 ms, so five or six attempts fall into the first second.
const STORM_MAX: usize = 12;

/// 31: the storm after a restart is bounded: no second has more than so many attempts for each client.
#[derive(Default)]
pub struct Storm {
    /// When clients dialled, the latest last.
    dials: VecDeque<Duration>,
}

impl Invariant for Storm {
    fn number(&self) -> u8 {
        31
    }

    fn handle(&mut self, model: &Model, event: &Event) -> Option<String> {
        let Event::Dials {
            client: Who::Client(_),
            ..
        } = event
        else {
            return None;
        };
        self.dials.push_back(model.now);
        while self
            .dials
            .front()
            .is_some_and(|at| model.now > *at + STORM_WINDOW)
        {
            self.dials.pop_front();
        }
        let (count, clients) = (self.dials.len(), model.plan.clients.len());
        (count > STORM_MAX * clients)
            .then(|| format!("{clients} clients have dialled {count} times within a second"))
    }
}
