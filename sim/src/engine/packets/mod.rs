//! The main engine: one simulated kernel per host, packets between them, and time that jumps over idle gaps.
//!
//! All hosts share one paused runtime on one thread. Each has a `LocalSet`, which gets a turn when something
//! in it was woken; between turns the router carries packets. When nobody has anything to do, the clock
//! goes to the next arrival or the next timer.

mod book;
mod deeds;
mod packet;
mod router;
mod socket;
mod watch;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use adit::transport::Transport;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tokio::{
    runtime::{RngSeed, Runtime},
    sync::Notify,
    task::LocalSet,
    time::Instant,
};
use turmoil_net::{EnterGuard, HostId, KernelConfig, Net, netstat};

use self::{book::Book, router::Router, socket::Sockets};
use super::{Condition, Engine, FlowDeed, FlowPick, ProcessDeed, Software};
use crate::{
    lock::Shared,
    plan::{Millis, Purpose},
    trace::Recorder,
};

/// What the network is like.
#[derive(Clone, Copy, Debug)]
pub struct NetOptions {
    /// One way, least and most.
    pub latency_ms: (Millis, Millis),
    /// One in so many packets takes ten times as long; 0 is none.
    pub tail_one_in: u32,
    /// Bytes per packet.
    pub mtu: u32,
    /// Bytes a kernel buffers per socket and direction.
    pub buffer: usize,
    /// How long bytes may stay unacknowledged before a kernel gives up; `None` is for ever.
    pub retry_budget: Option<Duration>,
}

/// Wakes the engine for one host.
struct Bell {
    rung: AtomicBool,
    engine: Arc<Notify>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Relaxed);
        self.engine.notify_one();
    }
}

struct Host {
    id: HostId,
    ip: IpAddr,
    bell: Arc<Bell>,
    software: Option<Software>,
    tasks: Option<LocalSet>,
    paused: bool,
    /// Its turns come only at multiples of this; zero is whenever it is woken.
    period: Duration,
}

impl Host {
    /// When it may have its next turn, from `now` on.
    fn next_turn(&self, now: Duration) -> Option<Duration> {
        if self.paused || self.tasks.is_none() || !self.bell.rung.load(Ordering::Relaxed) {
            return None;
        }
        let period = self.period.as_millis();
        if period == 0 {
            return Some(now);
        }
        let late = now.as_millis() % period;
        let wait = if late == 0 { 0 } else { period - late };
        Some(now + Duration::from_millis(u64::try_from(wait).unwrap_or(0)))
    }
}

/// The main engine.
pub struct Packets {
    // Dropped in this order: what hosts run closes sockets of kernels that must still be there.
    world: Ground,
    runtime: Runtime,
}

struct Ground {
    hosts: Vec<Host>,
    order: Vec<usize>,
    turns: ChaCha8Rng,
    router: Router,
    book: Shared<Book>,
    recorder: Recorder,
    engine: Arc<Notify>,
    now: Duration,
    started: Option<Instant>,
    kernels: EnterGuard,
}

impl Packets {
    /// An engine for hosts of these names, which is also how they resolve.
    ///
    /// # Panics
    /// When this thread already runs such an engine.
    pub fn new(seed: u64, options: NetOptions, names: &[String], recorder: Recorder) -> Self {
        let config = KernelConfig::default()
            .mtu(options.mtu)
            .send_buf_cap(options.buffer)
            .recv_buf_cap(options.buffer)
            // The router sends again, by the clock; the kernels would by the number of turns.
            .retx_threshold(u32::MAX);
        let mut net = Net::with_config(config);
        let engine = Arc::new(Notify::new());
        let hosts: Vec<_> = names
            .iter()
            .map(|name| Host {
                id: net.add_host(name.as_str()),
                ip: net.lookup(name),
                bell: Arc::new(Bell {
                    rung: AtomicBool::new(false),
                    engine: Arc::clone(&engine),
                }),
                software: None,
                tasks: None,
                paused: false,
                period: Duration::ZERO,
            })
            .collect();
        let book = Shared::new(Book::default());
        let ips = hosts.iter().map(|host| host.ip).collect();
        let router = Router::new(seed, options, ips, book.clone(), recorder.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            // Which branch of a select! and which waiter of a watch comes first.
            .rng_seed(RngSeed::from_bytes(&seed.to_le_bytes()))
            .build()
            .expect("a runtime without sockets needs nothing from the system");
        Self {
            world: Ground {
                order: (0..hosts.len()).collect(),
                hosts,
                turns: Purpose::Turns.rng(seed),
                router,
                book,
                recorder,
                engine,
                now: Duration::ZERO,
                started: None,
                kernels: net.enter(),
            },
            runtime,
        }
    }
}

impl Drop for Packets {
    fn drop(&mut self) {
        let world = &mut self.world;
        self.runtime.block_on(async {
            for host in 0..world.hosts.len() {
                world.crash(host);
                world.unpark(host);
            }
        });
    }
}

impl Engine for Packets {
    fn install(&mut self, host: usize, software: Software) {
        self.world.hosts[host].software = Some(software);
        self.process(host, ProcessDeed::Boot);
    }

    fn now(&self) -> Duration {
        self.world.now
    }

    fn run_until(&mut self, at: Duration) {
        self.runtime.block_on(self.world.run_until(at));
    }

    fn address(&self, host: usize) -> IpAddr {
        self.world.hosts[host].ip
    }

    fn transport(&self, host: usize) -> Arc<dyn Transport> {
        Arc::new(Sockets::new(self.world.hosts[host].ip, self.world.book.clone()))
    }

    fn process(&mut self, host: usize, deed: ProcessDeed) -> bool {
        // Within the runtime, so that what a process does in dying is drawn from the seed too.
        let world = &mut self.world;
        self.runtime.block_on(async { world.process(host, deed) });
        true
    }

    fn path(&mut self, from: usize, to: usize, condition: Condition, begins: bool) -> bool {
        let now = self.world.now;
        self.world.router.set(now, from, to, condition, begins);
        true
    }

    fn flow(&mut self, pick: FlowPick, deed: FlowDeed) -> bool {
        let Ground { router, kernels, .. } = &mut self.world;
        router.flow(kernels, pick, deed)
    }

    fn silenced(&self, port: u16) -> usize {
        let held = |(ends, socket): &(&book::Ends, &book::Socket)| {
            let there = ends.local.port() == port || ends.peer.port() == port;
            there && socket.black_hole && socket.holder == book::Holder::Software && socket.failed.is_none()
        };
        // Asked at every look, of thousands of sockets.
        let silenced = |book: &mut Book| match book.black_holes {
            true => book.sockets.iter().filter(held).count(),
            false => 0,
        };
        self.world.book.with(silenced)
    }

    fn sockets(&self, host: usize) -> Vec<String> {
        let entries = netstat(self.world.hosts[host].ip).entries;
        let open = entries.iter().filter_map(|entry| {
            let (peer, state) = (entry.peer?, entry.state?);
            Some(format!(
                "{} to {peer} {state}, {} bytes to read, {} to send",
                entry.local, entry.recv_q, entry.send_q
            ))
        });
        open.collect()
    }
}

impl Ground {
    async fn run_until(&mut self, until: Duration) {
        #[allow(
            clippy::disallowed_methods,
            reason = "the clock of this runtime is the simulation's own"
        )]
        let started = *self.started.get_or_insert_with(Instant::now);
        loop {
            #[allow(clippy::disallowed_methods, reason = "see above")]
            let now = Instant::now() - started;
            self.now = now;
            self.recorder.set_now(now);
            loop {
                let delivered = self.router.deliver_due(&self.kernels, now);
                let turned = self.turns(now);
                let sent = self.router.collect(&self.kernels, now);
                if !delivered && !turned && !sent {
                    break;
                }
            }
            if now >= until {
                // A task that has used up its turn is woken by the runtime when that would sleep next, and by nobody once it
                // has returned.
                tokio::task::yield_now().await;
                if self.hosts.iter().any(|host| host.next_turn(now) == Some(now)) {
                    continue;
                }
                return;
            }
            let turns = self.hosts.iter().filter_map(|host| host.next_turn(now));
            let next = self
                .router
                .next_arrival()
                .into_iter()
                .chain(turns)
                .fold(until, Duration::min);
            let _ = tokio::time::timeout_at(started + next, self.engine.notified()).await;
        }
    }

    /// Gives every host that was woken its turn, in an order of the seed's choice. Whether there was any.
    fn turns(&mut self, now: Duration) -> bool {
        let mut any = false;
        self.order.shuffle(&mut self.turns);
        for at in 0..self.order.len() {
            let host = &mut self.hosts[self.order[at]];
            if host.next_turn(now) != Some(now) {
                continue;
            }
            let Some(tasks) = &mut host.tasks else { continue };
            host.bell.rung.store(false, Ordering::Relaxed);
            self.kernels.set_current(host.id);
            let waker = Waker::from(Arc::clone(&host.bell));
            // A host whose tasks have all ended stays: its kernel still answers.
            let (Poll::Ready(()) | Poll::Pending) = Pin::new(tasks).poll(&mut Context::from_waker(&waker));
            self.router.stir();
            any = true;
        }
        any
    }

    fn process(&mut self, host: usize, deed: ProcessDeed) {
        let now = self.now;
        match deed {
            ProcessDeed::Boot => self.boot(host),
            ProcessDeed::Crash => self.crash(host),
            ProcessDeed::PowerLoss => self.lose_power(host),
            ProcessDeed::Pause => self.hosts[host].paused = true,
            ProcessDeed::Resume => self.hosts[host].paused = false,
            ProcessDeed::Sluggish(period) => self.hosts[host].period = Duration::from_millis(period),
        }
        if deed == ProcessDeed::Boot {
            self.router.set_dark(now, host, false);
        }
        self.engine.notify_one();
    }

    fn boot(&mut self, n: usize) {
        let host = &mut self.hosts[n];
        let Some(software) = host.software.clone() else {
            return;
        };
        self.kernels.set_current(host.id);
        let tasks = LocalSet::new();
        tasks.spawn_local(software());
        host.tasks = Some(tasks);
        host.bell.wake_by_ref();
    }

    fn crash(&mut self, n: usize) {
        let host = &mut self.hosts[n];
        self.kernels.set_current(host.id);
        let ip = host.ip;
        self.book.with(|book| book.dying = Some(ip));
        drop(host.tasks.take());
        self.router.stir();
        self.book.with(|book| book.dying = None);
    }

    /// Closes the listeners that nobody has taken over.
    fn unpark(&mut self, n: usize) {
        let (id, ip) = (self.hosts[n].id, self.hosts[n].ip);
        self.kernels.set_current(id);
        let parked = self.book.with(|book| std::mem::take(&mut book.parked));
        let (here, elsewhere) = parked.into_iter().partition(|(at, _)| at.ip() == ip);
        self.book.with(|book| book.parked = elsewhere);
        self.router.stir();
        let _: BTreeMap<_, _> = here;
    }

    /// Nobody hears a word of it: what the kernel says in dying stays inside, and it remembers nothing.
    fn lose_power(&mut self, n: usize) {
        self.router.set_dark(self.now, n, true);
        let ip = self.hosts[n].ip;
        self.crash(n);
        for entry in netstat(ip).entries {
            if let Some(peer) = entry.peer {
                self.router.hand(&self.kernels, packet::reset(peer, entry.local));
            }
        }
        self.router.collect(&self.kernels, self.now);
        self.router.set_dark(self.now, n, true);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::trace::Detail;

    #[test]
    fn whoever_uses_up_a_turn_gets_another() {
        let options = NetOptions {
            latency_ms: (1, 1),
            tail_one_in: 0,
            mtu: 1_500,
            buffer: 4_096,
            retry_budget: None,
        };
        let mut engine = Packets::new(1, options, &["a".to_owned()], Recorder::new(Detail::Nothing));
        let done = Rc::new(std::cell::Cell::new(false));
        let tells = Rc::clone(&done);
        engine.install(
            0,
            Rc::new(move || {
                let tells = Rc::clone(&tells);
                Box::pin(async move {
                    // More than one turn has.
                    for _ in 0..1_000 {
                        tokio::task::consume_budget().await;
                    }
                    tells.set(true);
                })
            }),
        );
        engine.run_until(Duration::ZERO);
        engine.run_until(Duration::from_millis(1));
        assert!(done.get());
    }
}
