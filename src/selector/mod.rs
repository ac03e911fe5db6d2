//! Who may be used now: the active set of each group.

/// How a session picks one target of the active set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Each target with the same chance.
    #[default]
    Random,
}
