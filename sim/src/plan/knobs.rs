//! What a run turns: the network's manners and the product's options.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Millis, forward::Balance};

/// How long an answer to a probe may take: the product's own default.
pub const PROBE_TIMEOUT_MS: Millis = 2_000;

/// What carries the sessions of every group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carry {
    /// A proxy connection for each at a time.
    Dedicated,
    /// Streams of data links.
    Mux,
}

/// What happens where no proxy connection is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    /// A stream of a data link is used.
    Mux,
    /// One is waited for.
    Wait,
}

/// Every knob. A plan file leaves out what stands at its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// One way between hosts, least and most.
    pub latency_ms: (Millis, Millis),
    /// One in so many packets takes ten times as long; 0 is none.
    pub tail_one_in: u32,
    /// Bytes per packet on every link.
    pub mtu: u32,
    /// Bytes a kernel buffers per socket and direction.
    pub kernel_buffer: usize,
    /// How long bytes may stay unacknowledged before a kernel gives its connection up; 0 is for ever.
    pub retry_budget_ms: Millis,
    /// One in so many reads and writes of a node is cut short; 0 is none.
    pub chop_one_in: u32,
    /// The longest read or write that is cut short.
    pub chop_to: usize,
    /// One in so many reads and writes of a node says "not yet" although it could be done; 0 is none.
    pub balk_one_in: u32,
    /// One in so many turns of a task of a node is put off; 0 is none.
    pub yield_one_in: u32,

    /// Heartbeat interval.
    pub heartbeat_ms: Millis,
    /// Missed heartbeats before a link is dead.
    pub missed_max: u32,
    /// Time for a handshake.
    pub handshake_timeout_ms: Millis,
    /// Proxy connections kept parked per client.
    pub pool_min: usize,
    /// Proxy connections per client.
    pub pool_max: usize,
    /// What carries sessions.
    pub carry: Carry,
    /// What those that a proxy connection carries do when none is ready.
    pub overflow: Overflow,
    /// Data links per client, where sessions may ride on one.
    pub links: usize,
    /// Streams per data link.
    pub max_streams: u32,
    /// Bytes that may be sent on a stream before its receiver gives credit.
    pub window: u32,
    /// What the windows of one data link may have above that together.
    pub window_budget: u64,
    /// Ids of streams after which a data link is replaced.
    pub ids_max: u32,
    /// Whether an unacknowledged start may be sent again.
    pub replay_unacknowledged: bool,
    /// First bytes kept for replay, all sessions together.
    pub replay_bytes: usize,
    /// The least time a client gets to answer a start.
    pub answer_timeout_ms: Millis,
    /// From accept to started.
    pub start_timeout_ms: Millis,
    /// How long a half-closed session may stay silent.
    pub half_closed_timeout_ms: Millis,
    /// Sessions at once.
    pub sessions_max: usize,
    /// Visitors that may wait for an empty group.
    pub waiting_max: usize,
    /// Connections that have not proved themselves yet.
    pub unproven_max: usize,
    /// Clients that may be registered.
    pub clients_max: usize,
    /// The ceiling of a client's first wait before it comes back.
    pub backoff_base_ms: Millis,
    /// The ceiling of all its waits.
    pub backoff_cap_ms: Millis,
    /// How long a server that drains serves everybody as before, first.
    pub drain_delay_ms: Millis,
    /// How long a draining node waits for its sessions.
    pub drain_timeout_ms: Millis,
    /// Whether clients know both doors of their upstreams.
    pub spare_doors: bool,
    /// Between two probes of a target of the server; 0 is none, and only sessions tell.
    pub probe_interval_ms: Millis,
    /// How long a target that failed stays out, times how often it failed.
    pub hold_off_ms: Millis,
    /// How long a target that came back takes to get its whole share.
    pub slow_start_ms: Millis,
    /// How long a client gets to connect to its upstream.
    pub connect_timeout_ms: Millis,
    /// How the server's groups choose one of their targets.
    pub balance: Balance,
    /// Probes of the server's targets ask their services by HTTP, which speak when they are spoken to then.
    pub probe_http: bool,
    /// Pools follow demand, between `pool_min` and `pool_max`.
    pub pool_follows: bool,
}

impl Default for Knobs {
    /// A calm network, the product's own defaults but for data links, which there are none of, and a short drain.
    fn default() -> Self {
        Self {
            latency_ms: (2, 10),
            tail_one_in: 0,
            mtu: 9_000,
            kernel_buffer: 64 * 1024,
            retry_budget_ms: 0,
            chop_one_in: 0,
            chop_to: 100,
            balk_one_in: 0,
            yield_one_in: 0,
            heartbeat_ms: 5_000,
            missed_max: 3,
            handshake_timeout_ms: 5_000,
            pool_min: 4,
            pool_max: 4_096,
            carry: Carry::Dedicated,
            overflow: Overflow::Wait,
            links: 4,
            max_streams: 1_024,
            window: 64 * 1024,
            window_budget: 32 << 20,
            ids_max: 1 << 30,
            replay_unacknowledged: true,
            replay_bytes: 64 << 20,
            answer_timeout_ms: 300,
            start_timeout_ms: 8_000,
            half_closed_timeout_ms: 300_000,
            sessions_max: 65_536,
            waiting_max: 1_024,
            unproven_max: 1_024,
            clients_max: 10_000,
            backoff_base_ms: 200,
            backoff_cap_ms: 15_000,
            drain_delay_ms: 0,
            drain_timeout_ms: 3_000,
            spare_doors: false,
            probe_interval_ms: 5_000,
            hold_off_ms: 30_000,
            slow_start_ms: 30_000,
            connect_timeout_ms: 2_000,
            balance: Balance::Random,
            probe_http: false,
            pool_follows: false,
        }
    }
}

impl Knobs {
    /// How long a silent link may go unnoticed.
    pub fn detection_ms(&self) -> Millis {
        self.heartbeat_ms * Millis::from(self.missed_max)
    }

    /// Whether there are data links.
    pub fn has_links(&self) -> bool {
        self.carry == Carry::Mux || self.overflow == Overflow::Mux
    }

    /// How long a message of a few hundred bytes and its answer may take on an untroubled way: two ways, the
    /// slow packets, and as many rounds as a small buffer makes of it.
    pub fn exchange_ms(&self) -> Millis {
        let tail = if self.tail_one_in > 0 { 10 } else { 1 };
        let rounds = 1 + 512 / self.kernel_buffer.max(1) as Millis;
        2 * self.latency_ms.1 * tail * rounds
    }

    /// Whether an untroubled client may be too slow to answer a start in time.
    pub fn is_slow(&self) -> bool {
        // On a data link, what its kernel holds already goes first: one more round there, one until the kernel hears of
        // room again, and one back.
        let on_the_link = if self.has_links() { 4 } else { 1 };
        // A client that is far away is given four round trips, as they were measured: at least what the quickest take.
        let patience_ms = self.answer_timeout_ms.max(4 * 2 * self.latency_ms.0);
        // The client has an exchange of its own, with its upstream.
        (on_the_link + 1) * self.exchange_ms() > patience_ms
    }

    /// How many round trips a probe takes: by HTTP it says and hears some hundred bytes, one window after the other where it
    /// rides on a data link.
    fn probe_trips(&self) -> Millis {
        match self.probe_http && self.has_links() {
            true => 1 + 200 / Millis::from(self.window.max(1)),
            false => 1,
        }
    }

    /// Whether an untroubled client has the time to answer a probe, on a connection that it has yet to open.
    pub fn leaves_time_to_probe(&self) -> bool {
        8 * self.exchange_ms() * self.probe_trips() < PROBE_TIMEOUT_MS && self.pool_max >= 64
    }

    /// Whether probes alone use up the ids of a data link within a run, so that one is replaced now and then.
    pub fn uses_up_links(&self) -> bool {
        self.has_links() && self.ids_max < 100_000
    }

    /// Whether of so many targets one is being probed for half of the time: looks at regular moments may then find a probe
    /// each time, and rest never comes.
    pub fn is_always_probing(&self, targets: usize) -> bool {
        // The data link that it rides on may be used up, and another one made.
        let links = if self.uses_up_links() { 2 } else { 1 };
        let takes_ms = 4 * self.exchange_ms() * self.probe_trips() * links * targets as Millis;
        self.probe_interval_ms > 0 && takes_ms >= self.probe_interval_ms
    }

    /// How long a node that carries nothing may take to be gone when it is told to stop: it says so, is answered, and closes
    /// what it keeps for later. `None` where its deadline comes as soon.
    pub fn gone_ms(&self) -> Option<Millis> {
        // A probe that goes byte by byte is let finish.
        if self.probe_http && self.has_links() && self.window < 200 {
            return None;
        }
        let gone_ms = 1_000 + 8 * self.exchange_ms();
        (gone_ms + 500 <= self.drain_timeout_ms && !self.is_slow()).then_some(gone_ms)
    }

    /// How long nobody has to come for the pools to be full again: what is dead is noticed, and what was ordered
    /// in vain is ordered again.
    pub fn quiet_ms(&self) -> Millis {
        self.detection_ms().min(15_000) + 12_000
    }

    /// How long after the last fault everything may take to be as before: a silent link is noticed, the
    /// longest pause is waited out, and a margin.
    pub fn convergence_ms(&self) -> Millis {
        self.detection_ms() + self.backoff_cap_ms + 7_000
    }
}

impl fmt::Display for Knobs {
    /// Those that are turned, as a plan file spells them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = |knobs: &Self| serde_json::to_value(knobs).map_err(|_| fmt::Error);
        let (mut turned, calm) = (all(self)?, all(&Self::default())?);
        if let Some(turned) = turned.as_object_mut() {
            turned.retain(|name, value| calm.get(name) != Some(value));
        }
        write!(f, "{turned}")
    }
}
