//! What carries a world: hosts, their turns, and the network between them. Two engines stand behind one
//! seam: [`packets`], where everything is true to TCP, and [`stock`], the second opinion.

pub mod packets;
pub mod stock;

use std::{future::Future, net::IpAddr, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use adit::transport::Transport;

use crate::plan::Millis;

/// What a host runs, from its boot on; each call is one life.
pub type Software = Rc<dyn Fn() -> Pin<Box<dyn Future<Output = ()>>>>;

/// Carries hosts, numbered from 0, through simulated time.
pub trait Engine {
    /// Gives a host its software. Boots it.
    fn install(&mut self, host: usize, software: Software);

    /// The simulated time since the start.
    fn now(&self) -> Duration;

    /// Lets the world run until `at`.
    fn run_until(&mut self, at: Duration);

    /// Where a host is reached.
    fn address(&self, host: usize) -> IpAddr;

    /// The sockets of a host.
    fn transport(&self, host: usize) -> Arc<dyn Transport>;

    /// Does something to a host's process. `false` when this engine cannot.
    fn process(&mut self, host: usize, deed: ProcessDeed) -> bool;

    /// Begins or ends a condition of the way from one host to another. `false` when this engine cannot.
    fn path(&mut self, from: usize, to: usize, condition: Condition, begins: bool) -> bool;

    /// Does something to one connection. `false` when there is none such, or when this engine cannot.
    fn flow(&mut self, pick: FlowPick, deed: FlowDeed) -> bool;

    /// How many ends of connections to that port, swallowed by a black hole, are still held as if they lived.
    fn silenced(&self, port: u16) -> usize;

    /// The sockets that a host has open, in words.
    fn sockets(&self, host: usize) -> Vec<String>;
}

/// What can be done to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessDeed {
    /// A new life begins.
    Boot,
    /// The process dies; its kernel closes what it held.
    Crash,
    /// The machine loses power: nobody is told anything.
    PowerLoss,
    /// The process stands still; its kernel goes on.
    Pause,
    /// It goes on.
    Resume,
    /// It gets its turn only once in so many milliseconds; 0 is always.
    Sluggish(Millis),
}

/// What a way may be like, beyond its latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing passes; what is sent again until it is answered arrives when the cut is over.
    Cut,
    /// Nothing passes; all of it arrives at the end.
    Clog,
    /// Everything takes so much longer.
    Lag(Millis),
    /// Packets are lost and sent again.
    Loss {
        /// Of all packets, also of those that are sent again.
        percent: u32,
        /// It is over by then: what is sent again later arrives.
        longest_ms: Millis,
    },
    /// So many bytes per millisecond.
    Narrow(u32),
}

/// Which connection: the `nth` of those that `host` made to `to`, counted round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowPick {
    /// Who connected.
    pub host: usize,
    /// To whom.
    pub to: usize,
    /// To which port.
    pub port: u16,
    /// Counted in the order of local ports.
    pub nth: usize,
}

/// What can be done to one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowDeed {
    /// Nothing passes any more, either way, and nobody is told.
    BlackHole,
    /// Both ends see a reset now.
    Reset,
    /// The connecting end sees a reset now; the other when it speaks.
    ResetNear,
    /// The connecting end sees a reset now; what the other says is lost from then on, and it is not told.
    ResetLost,
    /// Both ends see a reset when the connecting end has sent so many more bytes.
    ResetAfter(u64),
    /// Both ends see a reset when the accepting end has sent so many more bytes.
    ResetAfterReply(u64),
    /// No connection between the two, to that port, waits for its last byte any more.
    Spare,
}
