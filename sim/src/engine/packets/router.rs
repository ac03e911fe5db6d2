//! The network between simulated kernels: decides when each packet arrives, and cures what the kernels lack.
//!
//! The kernels never retransmit (they would count turns, not time), so nothing is lost for good here: a lost
//! packet arrives when it would have been sent again, and holds up what follows it on its connection, which
//! is all that software can see of a loss. What each connection sends stays in order; connections overtake
//! each other. Cures: window updates, a reset for bytes to a socket nobody holds, SO_REUSEADDR, resets on
//! demand, keepalive and TCP_USER_TIMEOUT, machines without power.

use std::{cell::Cell, collections::BTreeMap, io, net::IpAddr, time::Duration};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use turmoil_net::{EnterGuard, Packet, TcpFlags};

use super::{
    NetOptions,
    book::{Book, Ends, Holder, Socket, Wish},
    packet::{announce, bits, distance, reset, retransmit_wait, tcp_of},
    watch::WATCH,
};
use crate::{engine::Condition, lock::Shared, plan::Purpose, trace::Recorder};

/// One way from one host to another.
pub(super) struct Path {
    rng: ChaCha8Rng,
    pub(super) conditions: Vec<Condition>,
    pub(super) held: Vec<(Duration, Packet)>,
    free_at: Duration,
}

impl Path {
    pub(super) fn is(&self, condition: Condition) -> bool {
        self.conditions.contains(&condition)
    }
}

/// Carries packets between hosts.
pub struct Router {
    pub(super) options: NetOptions,
    seed: u64,
    pub(super) book: Shared<Book>,
    recorder: Recorder,
    pub(super) hosts: Vec<IpAddr>,
    /// Without power: hears nothing, says nothing.
    pub(super) dark: Vec<bool>,
    paths: BTreeMap<(usize, usize), Path>,
    pending: BTreeMap<(Duration, u64), Packet>,
    sent: u64,
    out: Vec<Packet>,
    watched: Duration,
    /// A kernel has got something since the kernels were last asked what they send.
    stirred: Cell<bool>,
}

impl Router {
    /// A calm network between `hosts`.
    pub fn new(
        seed: u64,
        options: NetOptions,
        hosts: Vec<IpAddr>,
        book: Shared<Book>,
        recorder: Recorder,
    ) -> Self {
        Self {
            options,
            seed,
            book,
            recorder,
            dark: vec![false; hosts.len()],
            hosts,
            paths: BTreeMap::new(),
            pending: BTreeMap::new(),
            sent: 0,
            out: Vec::new(),
            watched: Duration::ZERO,
            stirred: Cell::new(true),
        }
    }

    /// When the next packet arrives.
    pub fn next_arrival(&self) -> Option<Duration> {
        self.pending.first_key_value().map(|((at, _), _)| *at)
    }

    /// Delivers what has arrived by `now`. Whether there was any.
    pub fn deliver_due(&mut self, kernels: &EnterGuard, now: Duration) -> bool {
        let mut any = false;
        while let Some(first) = self.pending.first_entry() {
            if first.key().0 > now {
                break;
            }
            let packet = first.remove();
            self.arrive(kernels, now, packet);
            any = true;
        }
        if now >= self.watched + WATCH {
            self.watched = now;
            self.watch(kernels, now);
        }
        any
    }

    /// Hands `packet` to the kernel it is for.
    pub(super) fn hand(&self, kernels: &EnterGuard, packet: Packet) {
        self.stirred.set(true);
        kernels.deliver(packet);
    }

    /// Software has had a turn, or was taken away: kernels may have something to send.
    pub fn stir(&self) {
        self.stirred.set(true);
    }

    /// Takes what the kernels send and fulfils what sockets wish. Whether there was any.
    pub fn collect(&mut self, kernels: &EnterGuard, now: Duration) -> bool {
        // To ask a kernel costs a look at each of its sockets.
        if !self.stirred.replace(false) {
            return false;
        }
        let wishes = self.book.with(|book| std::mem::take(&mut book.wishes));
        let mut crafted = Vec::new();
        for wish in &wishes {
            let Wish::Reset(ends) = *wish;
            self.hand(kernels, reset(ends.peer, ends.local));
            crafted.push(reset(ends.local, ends.peer));
        }
        let mut out = std::mem::take(&mut self.out);
        kernels.egress_all(&mut out);
        crafted.splice(0..0, out.drain(..));
        self.out = out;
        let any = !crafted.is_empty();
        for packet in crafted {
            self.send(kernels, now, packet);
        }
        for update in self.window_updates() {
            self.send(kernels, now, update);
        }
        any
    }

    /// A kernel announces room only when half its buffer came free in one read, and never answers a probe of
    /// a closed window: announces it where a sender may be waiting for it.
    fn window_updates(&self) -> Vec<Packet> {
        let buffer = self.options.buffer;
        let worth = (buffer / 2).min(2 * self.options.mtu as usize).max(1);
        self.book.with(|book| {
            let mut updates = Vec::new();
            for ends in std::mem::take(&mut book.read) {
                let Some(socket) = book.sockets.get_mut(&ends) else {
                    continue;
                };
                let room = buffer.saturating_sub(socket.buffered).min(usize::from(u16::MAX));
                let left = distance(socket.delivered_to, socket.edge);
                let useful = socket.failed.is_none() && !socket.finished;
                if useful && left < worth && room >= left + worth {
                    let window = u16::try_from(room).unwrap_or(u16::MAX);
                    socket.edge = socket.delivered_to.wrapping_add(u32::from(window));
                    updates.push(announce(ends, socket.delivered_to, window));
                }
            }
            updates
        })
    }

    pub(super) fn host(&self, ip: IpAddr) -> Option<usize> {
        self.hosts.iter().position(|host| *host == ip)
    }

    pub(super) fn path(&mut self, from: usize, to: usize) -> &mut Path {
        let seed = self.seed;
        self.paths.entry((from, to)).or_insert_with(|| Path {
            rng: Purpose::Path(from, to).rng(seed),
            conditions: Vec::new(),
            held: Vec::new(),
            free_at: Duration::ZERO,
        })
    }

    /// A kernel, or the router in its name, sends `packet`.
    fn send(&mut self, kernels: &EnterGuard, now: Duration, mut packet: Packet) {
        let (Some(from), Some(to)) = (self.host(packet.src), self.host(packet.dst)) else {
            return;
        };
        let buffer = self.options.buffer;
        let Some((ends, segment)) = tcp_of(&mut packet) else {
            return;
        };
        if self.dark[from] {
            return;
        }
        if segment.flags.syn {
            // A kernel announces a full window with its SYN, whatever its buffer is.
            segment.window = segment.window.min(u16::try_from(buffer).unwrap_or(u16::MAX));
        }
        let flags = segment.flags;
        self.recorder.packet(
            now,
            (from, to),
            (ends.local.port(), ends.peer.port()),
            (&segment.payload, bits(flags)),
        );
        let (len, seq, ack, window) = (segment.payload.len(), segment.seq, segment.ack, segment.window);
        let (swallowed, resets) = self.book.with(|book| {
            if flags.syn && !flags.ack {
                book.sockets.insert(ends.flip(), Socket::default());
            }
            let socket = book.sockets.entry(ends).or_default();
            if flags.syn && !flags.ack {
                *socket = Socket {
                    connected: true,
                    heard: now,
                    ..Socket::default()
                };
            }
            // A window is of no use any more to a peer that has ended; its kernel may have forgotten the
            // connection, and would answer with a reset.
            let idle = len == 0 && flags.ack && !flags.syn && !flags.fin && !flags.rst;
            let idle = idle && socket.finished && socket.acked == ack;
            if flags.ack && !flags.rst {
                socket.edge = ack.wrapping_add(u32::from(window));
                socket.acked = ack;
            }
            if flags.syn && flags.ack {
                socket.answered = Some(seq.wrapping_add(1));
            }
            if flags.rst {
                // Whoever asks later, having missed this, is told again.
                socket.failed.get_or_insert(io::ErrorKind::ConnectionReset);
            }
            socket.sent += len as u64;
            if socket.black_hole && (len > 0 || flags.fin || flags.syn) {
                socket.stuck_since.get_or_insert(now);
            }
            let resets = socket.reset_at.is_some_and(|at| socket.sent >= at);
            (socket.black_hole || idle, resets)
        });
        if resets {
            self.reset_both(kernels, ends);
        } else if !swallowed {
            self.forward(now, (from, to), packet);
        }
    }

    /// Holds `packet` back, or decides when it arrives.
    fn forward(&mut self, now: Duration, (from, to): (usize, usize), mut packet: Packet) {
        let dark = self.dark[to];
        let Some((ends, segment)) = tcp_of(&mut packet) else {
            return;
        };
        let (flags, len) = (segment.flags, segment.payload.len());
        let path = self.path(from, to);
        let cut = dark || path.is(Condition::Cut);
        if cut && flags.rst {
            // Nobody sends a reset twice.
            return;
        }
        if cut || path.is(Condition::Clog) {
            path.held.push((now, packet));
            if len > 0 || flags.fin {
                self.book.with(|book| {
                    if let Some(socket) = book.sockets.get_mut(&ends) {
                        socket.stuck_since.get_or_insert(now);
                    }
                });
            }
            return;
        }
        let at = self.arrival(now, (from, to), len, flags.syn);
        self.schedule(at, packet);
    }

    /// When a packet sent now would arrive if nothing held it up on its connection.
    pub(super) fn arrival(
        &mut self,
        now: Duration,
        (from, to): (usize, usize),
        len: usize,
        syn: bool,
    ) -> Duration {
        let NetOptions {
            latency_ms: (least, most),
            tail_one_in,
            ..
        } = self.options;
        let path = self.path(from, to);
        let mut millis = path.rng.random_range(least..=most.max(least));
        if tail_one_in > 0 && path.rng.random_ratio(1, tail_one_in) {
            millis *= 10;
        }
        let mut waits = Duration::ZERO;
        let mut depart = now;
        for condition in &path.conditions {
            match *condition {
                Condition::Lag(more) => millis += more,
                Condition::Loss { percent, longest_ms } => {
                    let longest = Duration::from_millis(longest_ms);
                    let mut nth = 0;
                    while waits < longest && path.rng.random_ratio(percent.min(99), 100) {
                        waits += retransmit_wait(nth, syn);
                        nth += 1;
                    }
                }
                Condition::Narrow(rate) => {
                    let takes = Duration::from_micros((len as u64 + 40) * 1_000 / u64::from(rate.max(1)));
                    path.free_at = path.free_at.max(now) + takes;
                    depart = path.free_at;
                }
                Condition::Cut | Condition::Clog => {}
            }
        }
        depart + waits + Duration::from_millis(millis)
    }

    /// Puts `packet` on its way, behind what its connection has sent before.
    pub(super) fn schedule(&mut self, at: Duration, mut packet: Packet) {
        let Some((ends, _)) = tcp_of(&mut packet) else {
            return;
        };
        // What a machine had sent before it lost power arrives, and makes no socket of it.
        let at = self.book.with(|book| {
            let Some(socket) = book.sockets.get_mut(&ends) else {
                return at;
            };
            socket.next_arrival = socket.next_arrival.max(at);
            socket.next_arrival
        });
        self.sent += 1;
        self.pending.insert((at, self.sent), packet);
    }

    /// `packet` has reached its host.
    fn arrive(&mut self, kernels: &EnterGuard, now: Duration, mut packet: Packet) {
        let (Some(from), Some(to)) = (self.host(packet.src), self.host(packet.dst)) else {
            return;
        };
        if self.dark[to] {
            return self.forward(now, (from, to), packet);
        }
        let Some((sender, segment)) = tcp_of(&mut packet) else {
            return;
        };
        let ends = sender.flip();
        let (len, flags) = (segment.payload.len(), segment.flags);
        let end = segment
            .seq
            .wrapping_add(len as u32 + u32::from(flags.syn) + u32::from(flags.fin));
        if self.book.with(|book| book.parked.contains_key(&ends.local)) && self.is_new(ends, flags) {
            // Nobody listens there.
            self.send(kernels, now, reset(ends.local, ends.peer));
            return;
        }
        let (refused, half_open) = self.book.with(|book| {
            let Some(socket) = book.sockets.get_mut(&ends) else {
                return (false, None);
            };
            if socket.black_hole {
                return (true, None);
            }
            let half_open = socket.answered.take();
            socket.heard = now;
            socket.probes = 0;
            if flags.rst {
                socket.failed.get_or_insert(io::ErrorKind::ConnectionReset);
            } else if len > 0 || flags.syn || flags.fin {
                socket.delivered_to = end;
                socket.buffered += len;
                socket.finished |= flags.fin;
            }
            (false, half_open.filter(|_| flags.rst))
        });
        if refused {
            return;
        }
        if let Some(ack) = half_open {
            // A kernel never forgets a half-open socket that was reset. It may forget a whole one.
            self.hand(kernels, announce(sender, ack, 0));
        }
        // Bytes for a socket nobody holds: a kernel resets the connection.
        let unheard = len > 0
            && self.book.with(|book| {
                book.sockets
                    .get(&ends)
                    .is_some_and(|socket| socket.holder == Holder::Nobody)
            });
        if unheard {
            self.hand(kernels, reset(ends.peer, ends.local));
            self.send(kernels, now, reset(ends.local, ends.peer));
        } else {
            self.hand(kernels, packet);
        }
    }

    /// Ends a connection for one of its ends.
    pub(super) fn fail(&self, kernels: &EnterGuard, ends: Ends, kind: io::ErrorKind) {
        self.book.with(|book| {
            if let Some(socket) = book.sockets.get_mut(&ends) {
                socket.failed.get_or_insert(kind);
            }
        });
        self.hand(kernels, reset(ends.peer, ends.local));
    }

    pub(super) fn reset_both(&self, kernels: &EnterGuard, ends: Ends) {
        self.fail(kernels, ends, io::ErrorKind::ConnectionReset);
        self.fail(kernels, ends.flip(), io::ErrorKind::ConnectionReset);
    }

    /// Whether a packet would begin a connection, or end its handshake.
    fn is_new(&self, ends: Ends, flags: TcpFlags) -> bool {
        let shaking = |book: &mut Book| {
            book.sockets
                .get(&ends)
                .is_some_and(|socket| socket.answered.is_some())
        };
        !flags.rst && ((flags.syn && !flags.ack) || self.book.with(shaking))
    }
}
