//! What must hold. One invariant is one small struct with the number it has in `docs/simulation.md`; it reads
//! the [`Model`] and what happens, and says what is broken. A new one is a struct, its `impl Invariant`, and a
//! line in [`all`].

pub mod access;
mod active;
mod ailing;
mod back;
mod asks;
pub mod bounds;
pub mod bytes;
mod choice;
pub mod dials;
mod doors;
pub mod drain;
pub mod excuse;
pub mod figures;
pub mod forward;
mod here;
pub mod model;
mod past;
pub mod ready;
pub mod rest;
pub mod service;
pub mod session;
mod shares;
pub mod silence;
pub mod still;
pub mod strangers;
mod usable;
pub mod uneven;
pub mod web;
pub mod wire;
mod words;

use std::{fmt, time::Duration};

use serde::Serialize;

use self::{excuse::Excuses, model::Model, rest::Rest, uneven::Uneven};
use crate::{event::Event, lock::Shared, net::Overheard, plan::Plan, trace::Recorder};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Something wrong happened.
    Correctness,
    /// Something right did not happen.
    Liveness,
    /// A panic, or the engine gave up.
    Crash,
}

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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

/// The server's gauges at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Clients that say that they are registered, a bit each.
    pub linked: u64,
    /// Clients registered.
    pub registered: usize,
    /// Proxy connections parked.
    pub parked: i64,
    /// Streams open at the server.
    pub streams: i64,
    /// Sessions running.
    pub sessions: i64,
    /// Connections that have not proved themselves.
    pub unproven: i64,
    /// First bytes kept for replay.
    pub replay_bytes: i64,
    /// Data links open at the server.
    pub links: i64,
    /// Streams that they carry.
    pub carried: i64,
    /// Bytes of those that wait to be sent.
    pub queued: i64,
    /// What their windows have above what each begins with.
    pub promised: i64,
    /// The groups of which somebody is not active, a bit for each.
    pub uneven: u64,
    /// The groups that are shown as usable, a bit for each.
    pub usable: u64,
    /// The upstreams that have a connection, a bit for each.
    pub connected: u64,
    /// The clients that leave out a door of their service, a bit for each.
    pub one_door: u64,
    /// Ends of proxy connections that a black hole has swallowed, still held as if they lived.
    pub silenced: usize,
    /// Figures of a node that do not agree.
    pub uneven_figures: Option<Uneven>,
}

/// The bit of a group in [`Sight::uneven`] and [`Sight::usable`], or of an upstream or client in the others; the last stands for all beyond it.
pub fn group_bit(group: usize) -> u64 {
    1 << group.min(63)
}

/// Something that must hold.
pub trait Invariant: Send {
    /// Its number in `docs/simulation.md`.
    fn number(&self) -> u8;

    /// Correctness, unless said otherwise.
    fn class(&self) -> Class {
        Class::Correctness
    }

    /// Something has happened; the model knows of it already. What is broken, in words.
    fn handle(&mut self, _: &Model, _: &Event) -> Option<String> {
        None
    }

    /// Some time has passed.
    fn handle_look(&mut self, _: &Model) -> Option<String> {
        None
    }

    /// What it has excused, if it judges failures.
    fn excuses(&self) -> Option<&Excuses> {
        None
    }

    /// Everybody has gone home.
    fn handle_rest(&mut self, _: &Model, _: &Rest) -> Option<String> {
        None
    }
}

/// Every invariant of the tunnel; those of a forwarder are in [`forward`], those of an HTTP entry in [`web`].
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(bytes::Order),
        Box::new(bytes::Completeness),
        Box::new(bytes::Privacy),
        Box::new(bytes::OneUpstream),
        Box::new(bytes::Group),
        Box::new(strangers::Fencing),
        Box::new(bounds::Ports),
        Box::<bounds::Shelved>::default(),
        Box::new(bounds::Balance),
        Box::<choice::LeftOut>::default(),
        Box::new(wire::Wires(10)),
        Box::new(service::Beside),
        Box::new(wire::Wires(12)),
        Box::new(strangers::Admission),
        Box::new(bounds::Limits),
        Box::<drain::Draining>::default(),
        Box::<dials::Backoff>::default(),
        Box::new(service::Success::new(service::judge)),
        Box::new(service::Reached),
        Box::new(service::NoHang),
        Box::<dials::Noticed>::default(),
        Box::<dials::Storm>::default(),
        Box::new(service::StartDeadline),
        Box::new(rest::Counters),
        Box::new(rest::Baseline),
        Box::new(figures::Figures),
        Box::new(rest::Books),
        Box::new(rest::Registered),
        Box::new(rest::Active),
        Box::<rest::Pools>::default(),
        Box::new(rest::DataLinks),
        Box::<dials::FoundOut>::default(),
        Box::new(rest::AllEnded),
        Box::new(rest::Courtesy),
        Box::new(rest::NoVainTries),
        Box::new(silence::Silence),
        Box::<shares::Strategy>::default(),
        Box::new(strangers::Lured),
        Box::<usable::Usable>::default(),
        Box::<ready::Ready>::default(),
        Box::<back::Back>::default(),
        Box::<here::Here>::default(),
        Box::new(still::Still),
        Box::<uneven::Agreement>::default(),
    ]
}

struct Court {
    recorder: Recorder,
    model: Model,
    invariants: Vec<Box<dyn Invariant>>,
    first: Option<Violation>,
}

impl Court {
    fn judge(&mut self, ask: impl Fn(&mut dyn Invariant, &Model) -> Option<String>) {
        for invariant in &mut self.invariants {
            let Some(what) = ask(&mut **invariant, &self.model) else {
                continue;
            };
            let violation = Violation {
                invariant: invariant.number(),
                class: invariant.class(),
                what,
            };
            self.recorder.event(Event::Broken {
                invariant: violation.invariant,
                what: violation.what.clone(),
            });
            self.first.get_or_insert(violation);
        }
    }
}

/// The judge. Cheap to clone; one per run.
#[derive(Clone)]
pub struct Oracle {
    recorder: Recorder,
    overheard: Shared<Overheard>,
    court: Shared<Court>,
}

impl Oracle {
    /// Nothing has happened yet. Where nobody can reset, an end proves nothing.
    pub fn new(plan: Plan, can_reset: bool, recorder: Recorder) -> Self {
        let court = Court {
            recorder: recorder.clone(),
            invariants: match (&plan.forward, &plan.web) {
                (Some(_), _) => forward::all(),
                (None, Some(_)) => web::all(),
                (None, None) => all(),
            },
            model: Model::new(plan, can_reset),
            first: None,
        };
        Self {
            recorder,
            overheard: Shared::default(),
            court: Shared::new(court),
        }
    }

    /// Something has happened.
    pub fn tell(&self, event: Event) {
        let now = self.now();
        self.recorder.event(event.clone());
        self.court.with(|court| {
            court.model.handle(now, &event);
            court.judge(|invariant, model| invariant.handle(model, &event));
        });
    }

    /// The server's gauges as they stand.
    pub fn look(&self, sight: Sight) {
        let now = self.now();
        self.court.with(|court| {
            court.model.handle_sight(now, sight);
            court.judge(|invariant, model| invariant.handle_look(model));
        });
    }

    /// What does not hold although everybody has gone home. Says nothing yet.
    pub fn unrest(&self, rest: &Rest) -> bool {
        self.court.with(|court| {
            let model = &court.model;
            court
                .invariants
                .iter_mut()
                .any(|invariant| invariant.handle_rest(model, rest).is_some())
        })
    }

    /// Judges what can only be judged at rest.
    pub fn rest(&self, rest: &Rest) {
        self.court
            .with(|court| court.judge(|invariant, model| invariant.handle_rest(model, rest)));
    }

    /// The first broken invariant.
    pub fn verdict(&self) -> Option<Violation> {
        self.court.with(|court| court.first.clone())
    }

    /// How often failures were excused, and by what.
    pub fn excuses(&self) -> Excuses {
        self.court.with(|court| {
            let all = court.invariants.iter().find_map(|invariant| invariant.excuses());
            all.cloned().unwrap_or_default()
        })
    }

    /// Reads what is known.
    pub fn read<R>(&self, read: impl FnOnce(&Model) -> R) -> R {
        self.court.with(|court| read(&court.model))
    }

    /// The simulated time.
    pub fn now(&self) -> Duration {
        self.recorder.now()
    }

    /// Where everything is written down.
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// What an eavesdropper has.
    pub fn overheard(&self) -> Shared<Overheard> {
        self.overheard.clone()
    }
}
