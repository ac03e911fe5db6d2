//! How one group is judged, said once.

use std::sync::Arc;

use actix::Recipient;

use super::Options;
use crate::{
    id::{ClientId, UpstreamName},
    pool::actor::{Add, Remove},
    prober::{self, Scoring, probe::Probe},
    target::Reach,
};

/// How one group is judged.
#[derive(Clone)]
pub struct Setup<R: Reach> {
    /// Who is in the active set.
    pub selector: Options,
    /// When targets are probed.
    pub probing: prober::Options,
    /// What measurements count for.
    pub scoring: Scoring,
    /// How they are probed; `None` when only sessions tell.
    pub probe: Option<Arc<dyn Probe<R>>>,
    /// When a target without rivals is probed.
    pub alone: Alone,
    /// Whether only the best are wanted: a target that scores too little is left out at the next evaluation, also where
    /// there are few.
    pub best_only: bool,
    /// Who keeps streams to the members warm.
    pub warm: Option<Warm<R::Key>>,
    /// The client and the upstream whose addresses the targets are, for logs.
    pub serves: Option<(ClientId, UpstreamName)>,
}

/// When a target without rivals is probed. There is nobody to prefer to it, and its service may log each connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alone {
    /// While it fails.
    #[default]
    Failing,
    /// All the time.
    Always,
}

/// A pool that follows the active set.
#[derive(Clone)]
pub struct Warm<K: Send + 'static> {
    /// Told who came in.
    pub add: Recipient<Add<K>>,
    /// Told who left.
    pub remove: Recipient<Remove<K>>,
}

impl<R: Reach> Setup<R> {
    /// Whether a probe asks for more than to be reached: then sessions do not tell how a target does.
    pub fn judges_by_answers(&self) -> bool {
        self.probe.is_some() && matches!(self.probing.kind, prober::Kind::Http { .. })
    }
}

impl<R: Reach> Default for Setup<R> {
    fn default() -> Self {
        Self {
            selector: Options::default(),
            probing: prober::Options::default(),
            scoring: Scoring::default(),
            probe: None,
            alone: Alone::default(),
            best_only: false,
            warm: None,
            serves: None,
        }
    }
}
