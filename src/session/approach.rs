//! Finds a visitor an address: picks one, takes a warm stream to it or dials, and tries the next where that fails or
//! takes long.
//!
//! A plain task, on any thread: it asks the snapshot whom to try and the pool for a stream, and tells the selector
//! what came of it.

use std::{collections::BTreeSet, future::poll_fn, io, net::SocketAddr, sync::Arc, task::Poll};

use actix::{Addr, Recipient};
use rand_chacha::ChaCha8Rng;
use tokio::sync::{Semaphore, oneshot};

use super::{
    names::{Asking, Names},
    raw::RawStream,
};
use crate::{
    env::Env,
    pool::{actor::Take, address::AddressPool, dial::connect},
    probe::{measure, mutant, sometimes},
    selector::{Strategy, actor::Reported, group::Group, roster::Report, strategy::pick},
    target::{InFlight, Target},
    time::{self, Duration, Instant},
    transport::{BoxFuture, Stream},
};

/// How long a visitor waits for a group that has no target.
const EMPTY_GROUP_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a pool may take to say whether it has a stream: two messages on a thread that never stalls.
const TAKE_TIMEOUT: Duration = Duration::from_secs(1);

/// After so long without a connection the next is tried as well, or looked for; whoever answers first is taken. Sooner
/// opens connections for nothing; later lets visitors wait for whoever has just died. Source: RFC 8305, section 5.
const NEXT_AFTER: Duration = Duration::from_millis(250);

/// How many of one visitor's dials may be under way at once.
const DIALS_MAX: usize = 3;

/// How many dials may go on after their visitors were served elsewhere. More only hold descriptors: a few say enough
/// about their targets.
const OVERTAKEN_MAX: usize = 64;

/// The pause before everything is tried again from the start.
const ROUND_PAUSE: Duration = Duration::from_millis(100);

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
    /// Who knows what names come to; `None` where nobody is asked out of turn.
    pub names: Option<Names>,
    /// Who is told how each did.
    pub reports: Recipient<Reported<SocketAddr>>,
    /// How long one connect may take.
    pub connect_timeout: Duration,
    /// How many may wait for a group without a target.
    pub waiting_max: usize,
    /// Bounds the dials that go on when their visitors have been served elsewhere.
    pub overtaken: Overtaken,
}

/// Room for dials whose visitors have been served elsewhere: how they end is news of their targets.
#[derive(Clone, Debug)]
pub struct Overtaken(Arc<Semaphore>);

impl Default for Overtaken {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(OVERTAKEN_MAX)))
    }
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
    /// The group has no target, for its names do not resolve.
    #[error("{0}")]
    Unresolved(Arc<str>),
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
            Self::NoTarget | Self::Unresolved(_) => "no_target",
            Self::Unreachable(_) => "all_refused",
            Self::TimedOut => "start_timeout",
        }
    }
}

impl Approach {
    /// Reaches a target before `deadline`: nobody is tried twice while another is untried. `hash` is what binds a visitor
    /// to a target where the strategy does; `fresh` takes no warm stream. When one cannot be reached, or not soon, it is
    /// asked what names come to now.
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
        let mut dials = Dials::default();
        let mut asking = Asking::new(self.names.as_ref());
        let mut last = None;
        loop {
            let left = deadline.saturating_duration_since(time::now());
            if left.is_zero() {
                self.leave(dials);
                return Err(ApproachError::TimedOut);
            }
            measure!("addresses-tried-before", tried.len());
            measure!("dials-under-way", dials.len());
            let next = self.next(&tried, hash, rng);
            let is_last = next.is_none();
            if let Some(target) = next {
                if dials.len() >= DIALS_MAX {
                    // The eldest has had its time: it must not keep the visitor from whoever would answer.
                    self.leave(dials.take_eldest());
                }
                tried.insert(target.reach);
                let in_flight = target.gauges.begin();
                if !fresh && let Some(stream) = self.take(target.reach).await {
                    self.leave(dials);
                    return Ok(Reached {
                        stream: RawStream::new(stream),
                        target,
                        in_flight,
                        warm: true,
                    });
                }
                sometimes!(!fresh, "pool-miss");
                sometimes!(!dials.is_empty(), "dial-beside-a-slow-one");
                dials.push(self.dial(target, in_flight));
            }
            if dials.is_empty() && asking.may_help() {
                // Where nobody is left to be tried, names may come to others by now.
                let _ = time::within(left, asking.hear()).await;
                continue;
            }
            if dials.is_empty() {
                match (last.take(), asking.failure()) {
                    (None, None) => self.wait(left).await?,
                    (None, Some(why)) => return Err(ApproachError::Unresolved(why)),
                    // Silence may be a packet that was lost; the visitor's time is not over.
                    (Some(error), _) if is_timeout(&error) => {
                        time::sleep(ROUND_PAUSE.min(left)).await;
                        tried.clear();
                        asking = Asking::new(self.names.as_ref());
                    }
                    (Some(error), _) => return Err(ApproachError::Unreachable(error)),
                }
                continue;
            }
            let looking = async {
                match is_last {
                    false => time::sleep(NEXT_AFTER).await,
                    true if asking.may_help() => {
                        time::sleep(NEXT_AFTER).await;
                        asking.hear().await;
                    }
                    true => std::future::pending().await,
                }
            };
            let ended = tokio::select! {
                biased;
                ended = dials.first() => ended,
                () = looking => continue,
                () = time::sleep(left) => continue,
            };
            match ended {
                Ok(reached) => {
                    sometimes!(tried.len() > 1, "next-address-reached");
                    sometimes!(!asking.may_help() && !dials.is_empty(), "moved-while-dialled");
                    self.leave(dials);
                    return Ok(reached);
                }
                Err(error) if mutant!("refused-address-ends-the-search") => {
                    return Err(ApproachError::Unreachable(error));
                }
                Err(error) => {
                    asking.ask();
                    // A refusal says less than silence: it does not end the tries.
                    if !last.as_ref().is_some_and(is_timeout) {
                        last = Some(error);
                    }
                }
            }
        }
    }

    /// Says how a session on `target` ended, where that is news.
    pub fn report_end(&self, target: &Target<SocketAddr>, well: bool) {
        if target.gauges.end(well) {
            if !well {
                target
                    .gauges
                    .note_failure("sessions break after they have started");
            }
            let (key, report) = (target.reach, if well { Report::Ended } else { Report::Broke });
            self.reports.do_send(Reported { key, report });
        }
    }

    /// Whom to try: a member that was not tried yet, or else the best of those who stand by.
    fn next(
        &self,
        tried: &BTreeSet<SocketAddr>,
        hash: Option<u64>,
        rng: &mut ChaCha8Rng,
    ) -> Option<Arc<Target<SocketAddr>>> {
        let active = self.group.active();
        let untried = |target: &Target<SocketAddr>| !tried.contains(&target.reach);
        let member = pick(self.strategy, &active, untried, hash, rng);
        member.or_else(|| {
            let standby = active.reserve().iter().find(|target| untried(target));
            sometimes!(standby.is_some(), "standby-tried");
            standby.filter(|_| !mutant!("standby-never-tried")).cloned()
        })
    }

    async fn wait(&self, left: Duration) -> Result<(), ApproachError> {
        let wait = self.group.wait_for_target(self.waiting_max);
        let came = time::within(EMPTY_GROUP_TIMEOUT.min(left), wait).await;
        came.flatten().ok_or(ApproachError::NoTarget)
    }

    async fn take(&self, target: SocketAddr) -> Option<Box<dyn Stream>> {
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

    /// Connects to `target`, and says how that went.
    fn dial(&self, target: Arc<Target<SocketAddr>>, in_flight: InFlight) -> Dial {
        let (env, reports, timeout) = (self.env.clone(), self.reports.clone(), self.connect_timeout);
        Box::pin(async move {
            let began = time::now();
            let result = connect(&env, target.reach, timeout).await;
            let elapsed = time::now().saturating_duration_since(began);
            if let Err(error) = &result {
                target.gauges.note_failure(&error.to_string());
            }
            let report = match &result {
                Ok((_, took)) => {
                    env.metrics.connect_seconds.observe(*took);
                    Report::Connected(*took)
                }
                Err(error) if is_timeout(error) => Report::TimedOut(elapsed),
                Err(_) => Report::Refused(elapsed),
            };
            let key = target.reach;
            reports.do_send(Reported { key, report });
            result.map(|(stream, _)| Reached {
                stream: RawStream::new(stream),
                target,
                in_flight,
                warm: false,
            })
        })
    }

    /// Lets dials end for the sake of what they say of their targets: who never answers would always be overtaken, and
    /// never be put out.
    fn leave(&self, dials: Dials) {
        for dial in dials.0 {
            let Ok(place) = Arc::clone(&self.overtaken.0).try_acquire_owned() else {
                return;
            };
            // Ends by the timeout of its connect.
            let ending = async move {
                if let Ok(reached) = dial.await {
                    reached.stream.close();
                }
                drop(place);
            };
            self.env.spawn(ending).detach();
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}

/// One connect under way.
type Dial = BoxFuture<'static, io::Result<Reached>>;

/// One visitor's connects under way, in the order they were begun.
#[derive(Default)]
struct Dials(Vec<Dial>);

impl Dials {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take_eldest(&mut self) -> Dials {
        Self(self.0.drain(..1).collect())
    }

    fn push(&mut self, dial: Dial) {
        self.0.push(dial);
    }

    /// How the first of them ends; it is one of them no more.
    async fn first(&mut self) -> io::Result<Reached> {
        poll_fn(|cx| {
            let ready = self
                .0
                .iter_mut()
                .enumerate()
                .find_map(|(at, dial)| match dial.as_mut().poll(cx) {
                    Poll::Ready(ended) => Some((at, ended)),
                    Poll::Pending => None,
                });
            match ready {
                Some((at, ended)) => {
                    drop(self.0.remove(at));
                    Poll::Ready(ended)
                }
                None => Poll::Pending,
            }
        })
        .await
    }
}
