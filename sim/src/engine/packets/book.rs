//! What is known of every socket, beyond what the simulated kernels know. Sockets write here what their
//! software does; the router writes what the network does to them and cures what the kernels lack.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use turmoil_net::shim::tokio::net::TcpListener;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ends {
    /// This end.
    pub local: SocketAddr,
    /// The other.
    pub peer: SocketAddr,
}

impl Ends {
    /// The same connection, seen from the other end.
    pub fn flip(self) -> Self {
        Self {
            local: self.peer,
            peer: self.local,
        }
    }
}

/// Who holds a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holder {
    /// The kernel, until the handshake is over and somebody accepts.
    #[default]
    Kernel,
    /// The software.
    Software,
    /// Nobody any more; the kernel ends it by itself.
    Nobody,
}

/// One socket.
#[derive(Clone, Copy, Debug, Default)]
pub struct Socket {
    /// Who holds it.
    pub holder: Holder,
    /// It was made by connecting.
    pub connected: bool,
    /// It has answered a SYN, whose acknowledgement it waits for: the sequence number after its own.
    pub answered: Option<u32>,
    /// The sequence number after the last byte that was delivered to it.
    pub delivered_to: u32,
    /// Bytes delivered that the software has not read.
    pub buffered: usize,
    /// Its peer has ended its direction, and it has got everything.
    pub finished: bool,
    /// What it has acknowledged last.
    pub acked: u32,
    /// The right edge of the window it has announced.
    pub edge: u32,
    /// The earliest moment its next packet may arrive: what it sends stays in order.
    pub next_arrival: Duration,
    /// When it last heard from its peer.
    pub heard: Duration,
    /// Keepalive probes that went unanswered.
    pub probes: u32,
    /// Since when bytes of its own are stuck on the way.
    pub stuck_since: Option<Duration>,
    /// Its peer always reads, its software says.
    pub prompt_reader: bool,
    /// Nothing passes any more, either way.
    pub black_hole: bool,
    /// It has sent so many bytes of payload.
    pub sent: u64,
    /// Both ends are reset when it has sent so many.
    pub reset_at: Option<u64>,
    /// How it failed.
    pub failed: Option<io::ErrorKind>,
}

/// What a socket asks of the router.
#[derive(Clone, Copy, Debug)]
pub enum Wish {
    /// Reset the connection, as a close with zero linger does.
    Reset(Ends),
}

/// All sockets of a run.
#[derive(Debug, Default)]
pub struct Book {
    /// By their ends.
    pub sockets: BTreeMap<Ends, Socket>,
    /// Listeners that software has let go of, by where they listen.
    pub parked: BTreeMap<SocketAddr, TcpListener>,
    /// What the router is asked for.
    pub wishes: Vec<Wish>,
    /// Sockets whose software has read since the router last looked.
    pub read: Vec<Ends>,
    /// Hosts whose process is being taken away: what its software still says in dropping is not heard.
    pub dying: Option<IpAddr>,
    /// Whether any connection has become a black hole in this run.
    pub black_holes: bool,
}

impl Book {
    /// A socket is in the hands of software from now on.
    pub fn hold(&mut self, ends: Ends) {
        self.sockets.entry(ends).or_default().holder = Holder::Software;
    }

    /// Software has read from it.
    pub fn note_read(&mut self, ends: Ends, bytes: usize) {
        if let Some(socket) = self.sockets.get_mut(&ends) {
            socket.buffered = socket.buffered.saturating_sub(bytes);
            self.read.push(ends);
        }
    }

    /// Software has let go of it.
    pub fn let_go(&mut self, ends: Ends) {
        if let Some(socket) = self.sockets.get_mut(&ends) {
            socket.holder = Holder::Nobody;
        }
    }

    /// Software wants it reset.
    pub fn wish_reset(&mut self, ends: Ends) {
        if self.dying != Some(ends.local.ip()) {
            self.wishes.push(Wish::Reset(ends));
        }
    }

    /// How it failed, if it did.
    pub fn failed(&self, ends: Ends) -> Option<io::ErrorKind> {
        self.sockets.get(&ends)?.failed
    }

    /// The sockets that software of the host at `ip` holds.
    pub fn held_by(&self, ip: IpAddr) -> impl Iterator<Item = (Ends, &Socket)> {
        let held = |socket: &Socket| socket.holder == Holder::Software;
        self.sockets
            .iter()
            .filter(move |(ends, socket)| ends.local.ip() == ip && held(socket))
            .map(|(ends, socket)| (*ends, socket))
    }
}
