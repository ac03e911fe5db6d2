//! Who may be used now: the active set of each group.

pub mod active_set;
pub mod actor;
pub mod group;
pub mod strategy;

/// How a session picks one target of the active set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Each target with the same chance.
    #[default]
    Random,
}
