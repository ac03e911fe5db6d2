//! What happened, as a hash over everything and a list of what is worth words.

use std::{net::SocketAddr, time::Duration};

use crate::{event::Event, lock::Shared, out::say};

/// What a stream of the system under test did.
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

/// How much of a trace is shown on stdout as it happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Nothing.
    #[default]
    Nothing,
    /// What is worth words.
    Events,
    /// Every entry of the hash: two traces that differ are compared line by line.
    Everything,
}

#[derive(Debug, Default)]
struct Trace {
    hash: u64,
    entries: u64,
    packets: u64,
    now: Duration,
    events: Vec<(Duration, Event)>,
    detail: Detail,
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

    fn mix_now(&mut self, now: Duration) {
        self.mix(u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
        self.entries += 1;
    }
}

/// Where everybody writes down what happens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder(Shared<Trace>);

/// The hash of a run, and how much it runs over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// Over everything that happened, in order.
    pub hash: u64,
    /// Packets, moves and events.
    pub entries: u64,
    /// Packets alone.
    pub packets: u64,
}

impl Recorder {
    /// An empty trace; `detail` says what is shown of it.
    pub fn new(detail: Detail) -> Self {
        Self(Shared::new(Trace {
            detail,
            ..Trace::default()
        }))
    }

    /// The simulated time of what follows. Told by the engine, not read from a clock, so that a drop
    /// outside any runtime is stamped too.
    pub fn set_now(&self, now: Duration) {
        self.0.with(|trace| trace.now = now);
    }

    /// The simulated time.
    pub fn now(&self) -> Duration {
        self.0.with(|trace| trace.now)
    }

    /// Something worth words.
    pub fn event(&self, event: Event) {
        self.0.with(|trace| {
            let now = trace.now;
            let words = event.to_string();
            trace.mix_now(now);
            trace.mix_bytes(words.as_bytes());
            if trace.detail >= Detail::Events {
                say(line(now, &words));
            }
            trace.events.push((now, event));
        });
    }

    /// A packet is sent from one host to another, between two ports: its payload and its flags.
    pub fn packet(
        &self,
        now: Duration,
        hosts: (usize, usize),
        ports: (u16, u16),
        (payload, flags): (&[u8], u8),
    ) {
        self.0.with(|trace| {
            trace.mix_now(now);
            trace.mix(
                ((hosts.0 as u64) << 48)
                    | ((hosts.1 as u64) << 32)
                    | (u64::from(ports.0) << 16)
                    | u64::from(ports.1),
            );
            trace.mix(flags.into());
            trace.mix_bytes(payload);
            trace.packets += 1;
            if trace.detail == Detail::Everything {
                let len = payload.len();
                let words = format_args!("packet {hosts:?} {ports:?} {len} bytes, flags {flags:04b}");
                say(line(now, words));
            }
        });
    }

    /// One operation on a stream of the system under test.
    pub fn moved(&self, host: usize, what: Move, (local, peer): (u64, SocketAddr), bytes: usize) {
        self.0.with(|trace| {
            let now = trace.now;
            let address = match peer {
                SocketAddr::V4(v4) => u64::from(v4.ip().to_bits()),
                SocketAddr::V6(v6) => v6.ip().to_bits() as u64,
            };
            trace.mix_now(now);
            trace.mix(((host as u64) << 8) | what as u64);
            trace.mix((address << 16) | u64::from(peer.port()));
            trace.mix((local << 32) | bytes as u64);
            if trace.detail == Detail::Everything {
                let words = format_args!("host {host} stream {local} to {peer}: {what:?} {bytes}");
                say(line(now, words));
            }
        });
    }

    /// The hash so far.
    pub fn digest(&self) -> Digest {
        self.0.with(|trace| Digest {
            hash: trace.hash,
            entries: trace.entries,
            packets: trace.packets,
        })
    }

    /// Everything that was worth words, oldest first.
    pub fn events(&self) -> Vec<(Duration, Event)> {
        self.0.with(|trace| trace.events.clone())
    }
}

/// An event as a line of the trace.
pub fn line(at: Duration, what: impl std::fmt::Display) -> String {
    format!("{:>9.3}s {what}", at.as_secs_f64())
}
