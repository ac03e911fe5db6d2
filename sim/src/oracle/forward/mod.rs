//! What must hold of a forwarder: numbers 34 to 39, 41 and 48, and those of the tunnel that mean something else here.

pub mod books;
pub mod candidates;
pub mod journal;
pub mod merit;
pub mod scores;
pub mod service;
pub mod warmth;

use super::{Invariant, bounds, bytes, drain, figures, rest, service as common, silence};

/// Every invariant of a world of the forwarder.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(bytes::Order),
        Box::new(bytes::Completeness),
        Box::new(bytes::Privacy),
        Box::new(service::OneUpstream),
        Box::new(bounds::Ports),
        Box::<bounds::Shelved>::default(),
        Box::new(books::Limits),
        Box::<drain::Draining>::default(),
        Box::new(service::Success::default()),
        Box::new(service::Out),
        Box::new(service::Parted),
        Box::<journal::Switching>::default(),
        Box::<journal::NeverNobody>::default(),
        Box::<scores::LeftOut>::default(),
        Box::<merit::Merit>::default(),
        Box::<warmth::Watched>::default(),
        Box::new(warmth::Warmth),
        Box::new(common::NoHang),
        Box::new(common::StartDeadline),
        Box::new(rest::Counters),
        Box::new(rest::Baseline),
        Box::new(figures::Figures),
        Box::new(rest::Books),
        Box::new(rest::AllEnded),
        Box::new(silence::Silence),
        Box::new(super::still::Still),
        Box::<super::uneven::Agreement>::default(),
    ]
}
