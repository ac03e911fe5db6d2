//! Finds a visitor an address: picks one, takes a warm stream to it or dials, and tries the next where that fails.
//!
//! A plain task, on any thread: it asks the snapshot whom to try and the pool for a stream, and tells the selector
//! what came of it.

use std::{collections::BTreeSet, io, net::SocketAddr, sync::Arc};

use actix::{Addr, Recipient};
use rand_chacha::ChaCha8Rng;
use tokio::sync::oneshot;

use super::raw::RawStream;
use crate::{
    env::Env,
    pool::{actor::Take, address::AddressPool, dial::connect},
    selector::{Strategy, actor::Reported, group::Group, roster::Report, strategy::pick},
    target::{InFlight, Target},
    time::{self, Duration, Instant},
};

/// How long a visitor waits for a group that has no target.
const EMPTY_GROUP_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a pool may take to say whether it has a stream: two messages on a thread that never stalls.
const TAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// The way to one group of addresses. Cheap to share.
#[derive(Clone)]
pub struct Approach {
    /// The world.
    pub env: Env,
    /// Who may be used.
    pub group: Arc<Group<SocketAddr>>,
    /// How one is chosen.
    pub strategy: Strategy,
    /// Where warm streams are; `None` keeps none.
    pub pool: Option<Addr<AddressPool>>,
    /// Who is told how each did.
    pub reports: Recipient<Reported<SocketAddr>>,
    /// How long one connect may take.
    pub connect_timeout: Duration,
    /// How many may wait for a group without a target.
    pub waiting_max: usize,
}

/// An address that was reached.
pub struct Reached {
    /// The stream to it.
    pub stream: RawStream,
    /// Which it is.
    pub target: Arc<Target<SocketAddr>>,
    /// Counts the session on it.
    pub in_flight: InFlight,
    /// Whether the stream was warm.
    pub warm: bool,
}

/// Why nothing was reached.
#[derive(Debug, thiserror::Error)]
pub enum ApproachError {
    /// The group has no target, and got none while it was waited for.
    #[error("no target")]
    NoTarget,
    /// Everyone was tried; what the last one said.
    #[error("no target could be reached: {0}")]
    Unreachable(io::Error),
    /// The visitor's time is over.
    #[error("no target could be reached in time")]
    TimedOut,
}

impl ApproachError {
    /// Its name, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoTarget => "no_target",
            Self::Unreachable(_) => "all_refused",
            Self::TimedOut => "start_timeout",
        }
    }
}

impl Approach {
    /// Reaches a target before `deadline`: nobody is tried twice. `hash` is what binds a visitor to a target where the
    /// strategy does; `fresh` takes no warm stream.
    ///
    /// # Errors
    /// [`ApproachError`], when nobody could be reached.
    pub async fn reach(
        &self,
        deadline: Instant,
        hash: Option<u64>,
        fresh: bool,
        rng: &mut ChaCha8Rng,
    ) -> Result<Reached, ApproachError> {
        let mut tried = BTreeSet::new();
        let mut last = None;
        loop {
            let left = deadline.saturating_duration_since(time::now());
            if left.is_zero() {
                return Err(ApproachError::TimedOut);
            }
            let active = self.group.active();
            let untried = |target: &Target<SocketAddr>| !tried.contains(&target.reach);
            let chosen = pick(self.strategy, &active, untried, hash, rng);
            let standby = || active.reserve().iter().find(|target| untried(target)).cloned();
            let Some(target) = chosen.or_else(standby) else {
                match last {
                    Some(error) => return Err(ApproachError::Unreachable(error)),
                    None => self.wait(left).await?,
                }
                continue;
            };
            tried.insert(target.reach);
            let in_flight = target.gauges.begin();
            if !fresh && let Some(stream) = self.take(target.reach).await {
                return Ok(Reached {
                    stream: RawStream::new(stream),
                    target,
                    in_flight,
                    warm: true,
                });
            }
            match self.dial(target.reach, left).await {
                Ok(stream) => {
                    return Ok(Reached {
                        stream,
                        target,
                        in_flight,
                        warm: false,
                    });
                }
                Err(error) => last = Some(error),
            }
        }
    }

    /// Says how a session on `target` ended.
    pub fn report(&self, target: SocketAddr, report: Report) {
        self.reports.do_send(Reported { key: target, report });
    }

    async fn wait(&self, left: Duration) -> Result<(), ApproachError> {
        let wait = self.group.wait_for_target(self.waiting_max);
        let came = time::within(EMPTY_GROUP_TIMEOUT.min(left), wait).await;
        came.flatten().ok_or(ApproachError::NoTarget)
    }

    async fn take(&self, target: SocketAddr) -> Option<Box<dyn crate::transport::Stream>> {
        let pool = self.pool.as_ref()?;
        let (reply, stream) = oneshot::channel();
        let deadline = time::now() + TAKE_TIMEOUT;
        pool.do_send(Take {
            key: target,
            wait: false,
            deadline,
            reply,
        });
        time::within(TAKE_TIMEOUT, stream).await?.ok()
    }

    async fn dial(&self, target: SocketAddr, left: Duration) -> io::Result<RawStream> {
        let began = time::now();
        let result = connect(&self.env, target, self.connect_timeout.min(left)).await;
        let elapsed = time::now().saturating_duration_since(began);
        let (result, report) = match result {
            Ok((stream, took)) => {
                self.env.metrics.connect_seconds.observe(took);
                (Ok(RawStream::new(stream)), Report::Connected(took))
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => (Err(error), Report::TimedOut(elapsed)),
            Err(error) => (Err(error), Report::Refused(elapsed)),
        };
        self.report(target, report);
        result
    }
}
