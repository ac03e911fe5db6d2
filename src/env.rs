//! Everything that comes from outside: sockets, names, files, tasks, randomness, the signal to stop.
//!
//! Production fills these seams from the operating system, the simulator from its world. Code in Adit
//! asks `Env` and nobody else, or the simulator could not see it.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rand::{Rng, SeedableRng, TryRng, rngs::SysRng};
use rand_chacha::ChaCha8Rng;
use tokio::{
    sync::{Semaphore, oneshot, watch},
    task::AbortHandle,
};

use crate::{
    files::{Disk, Files},
    metrics::Metrics,
    notice::{Notices, times},
    probe::sometimes,
    time::{self, Duration, WallClock},
    transport::{BoxFuture, Listener, Stream, Transport, tcp::Tcp},
};

/// The pause after a failed accept: long enough for some descriptors to come free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The world as one node sees it. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Opens and accepts connections.
    pub transport: Arc<dyn Transport>,
    /// Turns host names into addresses.
    pub resolver: Arc<dyn Resolver>,
    /// Reads files and notices their changes.
    pub files: Arc<dyn Files>,
    /// Runs the tasks that move bytes.
    pub spawner: Arc<dyn Spawner>,
    /// Where every random choice and every nonce comes from.
    pub entropy: Entropy,
    /// Tells the time of day.
    pub wall: WallClock,
    /// Says when to drain and when to end.
    pub stop: Stop,
    /// What this node counts.
    pub metrics: Arc<Metrics>,
    /// Its log lines of which there may be many at once.
    pub notices: Notices,
}

impl Env {
    /// The real world: TCP sockets, the system resolver, the disk, the current tokio runtime, system randomness.
    pub fn production(stop: Stop) -> Self {
        let metrics = Metrics::new();
        watch_descriptors(&metrics);
        Self {
            transport: Arc::new(Tcp),
            resolver: Arc::new(SystemResolver),
            files: Arc::new(Disk),
            spawner: Arc::new(RuntimeSpawner::new()),
            entropy: Entropy::system(),
            wall: WallClock::System,
            stop,
            metrics: Arc::new(metrics),
            notices: Notices::default(),
        }
    }

    /// Spawns a task that is aborted when the returned handle is dropped.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task {
        self.spawner.spawn(Box::pin(future))
    }

    /// Writes a log line, unless a line of this `kind` about `subject` was written lately: then it is counted, and one line
    /// stands for all that are when the period ends. `line` is told for how many it stands.
    pub fn notice(&self, kind: &'static str, subject: String, line: impl Fn(u64) + Send + Sync + 'static) {
        if let Some(held) = self.notices.write(time::now(), kind, subject, line) {
            let notices = self.notices.clone();
            let wait = held.due.saturating_duration_since(time::now());
            let writing = async move {
                time::sleep(wait).await;
                notices.write_due(time::now(), &held);
            };
            self.spawn(writing).detach();
        }
    }

    /// Runs work that would hold other tasks up where it does not, and waits for it; `None` when it panicked.
    ///
    /// Who stops waiting before its turn has come takes the work back. Work that has begun runs to its end.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (tell, told) = oneshot::channel();
        let work = move || {
            // Nobody may wait for it any more.
            let _ = tell.send(work());
        };
        self.spawner.blocking(Box::new(work)).await;
        told.await.ok()
    }

    /// Accepts the next stream; waits where accepting fails for now, as it does when descriptors run out. The address is
    /// plain: IPv4 within IPv6 is given as IPv4.
    pub async fn accept(&self, listener: &mut dyn Listener, what: &str) -> (Box<dyn Stream>, SocketAddr) {
        loop {
            match listener.accept().await {
                // A socket for both families names IPv4 peers as IPv6 addresses.
                Ok((stream, peer)) => {
                    return (stream, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
                }
                Err(error) => {
                    self.metrics.accept_pauses.inc();
                    let what = what.to_owned();
                    let reason = error.to_string();
                    self.notice("accept", format!("{what}: {reason}"), move |n| {
                        tracing::warn!(
                            what,
                            reason,
                            times = times(n),
                            "connections are not accepted for a moment"
                        );
                    });
                    time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Resolves `host:port` to addresses, in the resolver's order.
    ///
    /// # Errors
    /// No port, an unknown host, or a resolver that does not answer.
    pub async fn resolve(&self, authority: &str) -> io::Result<Vec<SocketAddr>> {
        if let Ok(addr) = authority.parse() {
            return Ok(vec![addr]);
        }
        let resolved = self.resolver.resolve(authority.to_owned()).await;
        sometimes!(resolved.is_err(), "name-not-resolved");
        let addresses = resolved?;
        if addresses.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("no address for {authority}"),
            ));
        }
        Ok(addresses)
    }
}

/// Shows how many of this process's descriptors are open, where the system tells.
fn watch_descriptors(metrics: &Metrics) {
    let folder = "/proc/self/fd";
    // A newer Linux gives their number as the size of the folder; an older one has to be asked for each.
    let open = move || match std::fs::metadata(folder).ok()?.len() {
        0 => Some(std::fs::read_dir(folder).ok()?.count()),
        n => usize::try_from(n).ok(),
    };
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if let Some(limit) = limit
        && open().is_some()
    {
        let max = usize::try_from(limit).unwrap_or(usize::MAX);
        metrics
            .limits
            .watch("descriptors", max, move || open().unwrap_or_default());
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").finish_non_exhaustive()
    }
}

/// Turns names into addresses.
pub trait Resolver: Send + Sync {
    /// Resolves `host:port`.
    fn resolve(&self, authority: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, authority: String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host(authority).await?.collect()) })
    }
}

/// Starts tasks: on the workers in production, on the simulated host in simulation.
pub trait Spawner: Send + Sync {
    /// Starts `future`; dropping the handle aborts it.
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task;

    /// Runs `work` off the workers; ready when it has run. Dropped before `work` began, it never runs.
    fn blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
}

/// The current tokio runtime.
struct RuntimeSpawner {
    /// Blocking work that may run at once: as much as there are cores. What strangers can cause (a password to check
    /// costs tens of milliseconds and 20 MB) then waits as a task, and not as a thread that a name look-up would need.
    turns: Arc<Semaphore>,
}

impl RuntimeSpawner {
    fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            turns: Arc::new(Semaphore::new(cores)),
        }
    }
}

impl Spawner for RuntimeSpawner {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> Task {
        #[allow(clippy::disallowed_methods, reason = "this is the seam itself")]
        Task::new(tokio::spawn(future).abort_handle())
    }

    fn blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        let turns = Arc::clone(&self.turns);
        Box::pin(async move {
            let turn = turns.acquire_owned().await.expect("nobody closes the turns");
            // The turn goes with the work: it is over when the work is, whoever still waits.
            let work = move || {
                let _turn = turn;
                work();
            };
            #[allow(clippy::disallowed_methods, reason = "this is the seam itself")]
            let done = tokio::task::spawn_blocking(work).await;
            if let Err(error) = done {
                tracing::error!(%error, "blocking work did not end");
            }
        })
    }
}

/// A running task; dropping it aborts the task.
#[must_use = "dropping a task aborts it; call detach() to let it run"]
#[derive(Debug)]
pub struct Task(Option<AbortHandle>);

impl Task {
    /// Wraps the handle of a task that was just started.
    pub fn new(handle: AbortHandle) -> Self {
        Self(Some(handle))
    }

    /// Whether it has run to its end.
    pub fn is_finished(&self) -> bool {
        self.0.as_ref().is_none_or(AbortHandle::is_finished)
    }

    /// Lets the task run to its own end.
    pub fn detach(mut self) {
        self.0 = None;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            handle.abort();
        }
    }
}

/// The source of all randomness.
#[derive(Clone, Debug)]
pub enum Entropy {
    /// The operating system's random source; what is drawn for choices comes from one key of it, asked for once.
    System {
        /// The key of all generators.
        key: [u8; 32],
        /// The stream the next generator gets.
        next_stream: Arc<AtomicU64>,
    },
    /// A seed; each generator drawn from it gets a stream of its own.
    Seeded {
        /// The seed of the whole run.
        seed: u64,
        /// The stream the next generator gets.
        next_stream: Arc<AtomicU64>,
    },
}

impl Entropy {
    /// The real randomness.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: nothing safe could follow.
    pub fn system() -> Self {
        Self::System {
            key: system_bytes(),
            next_stream: Arc::default(),
        }
    }

    /// Randomness that replays: for simulation and tests only.
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded {
            seed,
            next_stream: Arc::new(AtomicU64::new(0)),
        }
    }

    /// A generator for choices (balancing, jitter). Not for secrets.
    pub fn rng(&self) -> ChaCha8Rng {
        let (mut rng, next_stream) = match self {
            Self::System { key, next_stream } => (ChaCha8Rng::from_seed(*key), next_stream),
            Self::Seeded { seed, next_stream } => (ChaCha8Rng::seed_from_u64(*seed), next_stream),
        };
        rng.set_stream(next_stream.fetch_add(1, Ordering::Relaxed));
        rng
    }

    /// Fresh bytes, unpredictable in production: for nonces, tickets and boot ids.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: nothing safe could follow.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        match self {
            Self::System { .. } => system_bytes(),
            Self::Seeded { .. } => {
                let mut bytes = [0; N];
                self.rng().fill_bytes(&mut bytes);
                bytes
            }
        }
    }
}

fn system_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SysRng
        .try_fill_bytes(&mut bytes)
        .expect("the system's random source answers");
    bytes
}

/// How far a node has been told to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopPhase {
    /// Serve.
    Running,
    /// Take nothing new, let what runs finish until the deadline.
    Draining,
    /// End at once.
    Ending,
}

/// The receiving end of the stop signal. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<StopPhase>);

/// The sending end of the stop signal; dropping it never stops anything.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<watch::Sender<StopPhase>>);

impl Stop {
    /// A stop signal that has not been given, with its sending end.
    pub fn channel() -> (Stopper, Self) {
        let (sender, receiver) = watch::channel(StopPhase::Running);
        (Stopper(Arc::new(sender)), Self(receiver))
    }

    /// How far the node has been told to go.
    pub fn phase(&self) -> StopPhase {
        *self.0.borrow()
    }

    /// Waits until the node is told to go at least as far as `phase`.
    pub async fn reached(&mut self, phase: StopPhase) {
        if self.0.wait_for(|now| *now >= phase).await.is_err() {
            // Nobody can give the signal any more.
            std::future::pending::<()>().await;
        }
    }
}

impl Stopper {
    /// Goes one phase further: first drain, then end.
    pub fn advance(&self) {
        self.0.send_modify(|phase| {
            *phase = match *phase {
                StopPhase::Running => StopPhase::Draining,
                StopPhase::Draining | StopPhase::Ending => StopPhase::Ending,
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn blocking_work_yields_its_value_and_a_panic_yields_none() {
        let env = Env::production(Stop::channel().1);
        assert_eq!(env.blocking(|| 6 * 7).await, Some(42));
        // More often than there are cores: a panic gives its turn back.
        for _ in 0..std::thread::available_parallelism().unwrap().get() + 1 {
            assert_eq!(env.blocking(|| -> u8 { panic!("as it should") }).await, None);
        }
        assert_eq!(env.blocking(|| 1).await, Some(1));
    }

    #[tokio::test]
    async fn blocking_work_that_nobody_waits_for_any_more_is_not_begun() {
        let spawner = RuntimeSpawner {
            turns: Arc::new(Semaphore::new(1)),
        };
        let turn = Arc::clone(&spawner.turns).try_acquire_owned().unwrap();
        let held = Arc::new(());
        let work = Arc::clone(&held);
        let mut waiting = spawner.blocking(Box::new(move || drop(work)));
        let polled = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "there is no turn");
        assert_eq!(Arc::strong_count(&held), 2);
        drop(waiting);
        assert_eq!(Arc::strong_count(&held), 1);
        drop(turn);
        spawner.blocking(Box::new(|| ())).await;
    }
}
