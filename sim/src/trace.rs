//! What happened, as a hash over everything and the last events in words.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Display,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

/// Events kept for a failure report. More buries the cause; fewer may miss it.
const LAST_MAX: usize = 50;

// Every simulated host runs on the simulation's one thread, so the lock is never contended and its order is
// the simulation's own. It is a lock only because the seams of the system under test ask for `Send`.
#[allow(clippy::disallowed_types, reason = "see above")]
type Lock<T> = std::sync::Mutex<T>;

/// What a stream did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Connected by this host.
    Connected,
    /// Accepted by this host.
    Accepted,
    /// Bytes read.
    Read,
    /// Bytes written.
    Wrote,
    /// The peer's direction ended.
    Ended,
    /// This host's direction ended.
    ShutDown,
    /// An operation failed.
    Failed,
    /// Ended on purpose so that it must not look finished.
    Reset,
    /// Closed.
    Closed,
}

#[derive(Debug, Default)]
struct Trace {
    hash: u64,
    entries: u64,
    now: Duration,
    last: VecDeque<String>,
    /// Streams of the system under test that are open, and what each did last.
    open: BTreeMap<(u64, u16, SocketAddr), (Duration, Move)>,
    print: bool,
}

impl Trace {
    fn mix(&mut self, word: u64) {
        let mixed = (self.hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.hash = mixed ^ mixed.rotate_right(29);
    }

    fn mix_bytes(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
        self.mix(bytes.len() as u64);
    }
}

/// Where everybody writes down what happens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Lock<Trace>>);

impl Recorder {
    /// An empty trace; `print` shows each event on stdout as it happens.
    pub fn new(print: bool) -> Self {
        let trace = Trace {
            print,
            ..Trace::default()
        };
        Self(Arc::new(Lock::new(trace)))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Trace) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// The simulated time of what follows. Told by the driver, not read from a clock, so that a drop
    /// outside any runtime is stamped too.
    pub fn set_now(&self, now: Duration) {
        self.with(|trace| trace.now = now);
    }

    /// The simulated time.
    pub fn now(&self) -> Duration {
        self.with(|trace| trace.now)
    }

    /// An event worth words: hashed, and kept among the last.
    pub fn event(&self, host: &str, what: impl Display) {
        self.with(|trace| {
            let line = format!("{:>9.3}s {host:<10} {what}", trace.now.as_secs_f64());
            trace.mix_bytes(line.as_bytes());
            trace.entries += 1;
            if trace.print {
                println!("{line}");
            }
            if trace.last.len() == LAST_MAX {
                trace.last.pop_front();
            }
            trace.last.push_back(line);
        });
    }

    /// One operation on a stream of the system under test: hashed only.
    pub fn moved(&self, host: u64, what: Move, (local, peer): (u16, SocketAddr), bytes: usize) {
        self.with(|trace| {
            let now = u64::try_from(trace.now.as_micros()).unwrap_or(u64::MAX);
            let address = match peer {
                SocketAddr::V4(v4) => u64::from(v4.ip().to_bits()),
                SocketAddr::V6(v6) => v6.ip().to_bits() as u64,
            };
            trace.mix(now);
            trace.mix((host << 8) | what as u64);
            trace.mix((address << 32) | (u64::from(local) << 16) | u64::from(peer.port()));
            trace.mix(bytes as u64);
            trace.entries += 1;
            let stream = (host, local, peer);
            if what == Move::Closed {
                trace.open.remove(&stream);
            } else {
                trace.open.insert(stream, (trace.now, what));
            }
        });
    }

    /// The hash over everything so far, and over how many entries it runs.
    pub fn digest(&self) -> (u64, u64) {
        self.with(|trace| (trace.hash, trace.entries))
    }

    /// The streams of the system under test that are open, in words.
    pub fn open_streams(&self) -> Vec<String> {
        self.with(|trace| {
            let open = trace.open.iter();
            open.map(|((host, local, peer), (at, what))| {
                format!(
                    "host {host} port {local} to {peer}: last {what:?} at {:.3}s",
                    at.as_secs_f64()
                )
            })
            .collect()
        })
    }

    /// The last events, oldest first.
    pub fn last(&self) -> Vec<String> {
        self.with(|trace| trace.last.iter().cloned().collect())
    }
}
