//! What a TCP stream does, as cases that hold on every ground Adit runs on.
//!
//! ```text
//! case (two sides) + seats (one per host) -> software -> a ground runs it -> ending
//! ```
//!
//! A case knows `adit::transport` and nothing else, so one and the same text judges the real loopback and each
//! simulated network. What is written here is what Linux does; where two behaviours are legal, a case takes both.

pub mod connects;
pub mod ends;
pub mod listening;
pub mod meeting;
pub mod pressure;
pub mod resets;
pub mod talk;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use adit::{
    time::{self, Duration},
    transport::{Listener, Stream, Transport},
};
use tokio::sync::watch;

pub use self::{meeting::Meeting, talk::Talk};
use crate::payload::Direction;

/// What came of a side, or of a whole case: a sentence says what did not hold.
pub type Ending = Result<(), String>;

/// One side under way.
pub type Running = Pin<Box<dyn Future<Output = Ending>>>;

/// What one host does in a case.
pub type Side = fn(Site) -> Running;

/// The cases of all themes, in order.
pub const CASES: &[Case] = &joined::<{ count(&THEMES) }>(&THEMES);

const THEMES: [&[Case]; 5] = [
    ends::CASES,
    resets::CASES,
    pressure::CASES,
    connects::CASES,
    listening::CASES,
];

const fn count(themes: &[&[Case]]) -> usize {
    let (mut sum, mut theme) = (0, 0);
    while theme < themes.len() {
        sum += themes[theme].len();
        theme += 1;
    }
    sum
}

const fn joined<const N: usize>(themes: &[&[Case]]) -> [Case; N] {
    let mut cases = [themes[0][0]; N];
    let (mut at, mut theme) = (0, 0);
    while theme < themes.len() {
        let mut index = 0;
        while index < themes[theme].len() {
            cases[at] = themes[theme][index];
            at += 1;
            index += 1;
        }
        theme += 1;
    }
    cases
}

/// Something that two connected hosts can rely on.
#[derive(Clone, Copy)]
pub struct Case {
    /// The sentence that holds, in kebab case.
    pub name: &'static str,
    /// What the listening host does.
    pub server: Side,
    /// What the connecting host does.
    pub client: Side,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Writes a case as its name and two async closures over a [`Site`]: what the server does, what the client does.
macro_rules! case {
    ($name:literal, $server:expr, $client:expr $(,)?) => {
        $crate::parity::Case {
            name: $name,
            server: |site| Box::pin(($server)(site)),
            client: |site| Box::pin(($client)(site)),
        }
    };
}
use case;

/// What a ground gives one host.
#[derive(Clone)]
pub struct Seat {
    /// The host's network.
    pub transport: Arc<dyn Transport>,
    /// The address under which the other host reaches this one.
    pub address: IpAddr,
    /// Where the host listens: an address it can bind, with port 0 or one that is free.
    pub listen: SocketAddr,
}

/// One host's view of a case.
#[derive(Clone)]
pub struct Site {
    /// The host's network.
    pub transport: Arc<dyn Transport>,
    /// Where the host may listen.
    pub listen: SocketAddr,
    /// The other host's address.
    pub reach: IpAddr,
    /// Where the two sides meet.
    pub meet: Meeting,
    /// How long anything that is due may take: longer is a failure.
    pub patience: Duration,
    says: Direction,
}

impl Site {
    /// Listens, and tells the other side where.
    ///
    /// # Errors
    /// A listener that cannot be bound.
    pub async fn listen(&self) -> Result<Box<dyn Listener>, String> {
        let door = self.listen_at(self.listen).await?;
        self.meet.publish(door.local_addr().port());
        Ok(door)
    }

    /// Listens at `local`, and tells nobody.
    ///
    /// # Errors
    /// A listener that cannot be bound.
    pub async fn listen_at(&self, local: SocketAddr) -> Result<Box<dyn Listener>, String> {
        let bound = self
            .patiently("the listener", self.transport.listen(local))
            .await?;
        bound.map_err(|error| format!("listening on {local}: {error}"))
    }

    /// The next connection at `door`.
    ///
    /// # Errors
    /// None came, or accepting failed.
    pub async fn accept(&self, door: &mut Box<dyn Listener>) -> Result<Talk, String> {
        let accepted = self.patiently("a connection to accept", door.accept()).await?;
        let (stream, _) = accepted.map_err(|error| format!("accepting: {error}"))?;
        Ok(self.talk(stream))
    }

    /// Listens and accepts one connection. The door stays open as long as it is held.
    ///
    /// # Errors
    /// Listening or accepting failed.
    pub async fn serve(&self) -> Result<(Box<dyn Listener>, Talk), String> {
        let mut door = self.listen().await?;
        let talk = self.accept(&mut door).await?;
        Ok((door, talk))
    }

    /// The address that the server published.
    ///
    /// # Errors
    /// It never did.
    pub async fn address(&self) -> Result<SocketAddr, String> {
        let port = self.patiently("the server's address", self.meet.port()).await?;
        Ok(SocketAddr::new(self.reach, port))
    }

    /// Connects to the address that the server published.
    ///
    /// # Errors
    /// Connecting failed.
    pub async fn call(&self) -> Result<Talk, String> {
        self.call_at(self.address().await?).await
    }

    /// Connects to `address`.
    ///
    /// # Errors
    /// Connecting failed.
    pub async fn call_at(&self, address: SocketAddr) -> Result<Talk, String> {
        let connected = self
            .patiently("the connection", self.transport.connect(address))
            .await?;
        let stream = connected.map_err(|error| format!("connecting to {address}: {error}"))?;
        Ok(self.talk(stream))
    }

    /// Wraps a stream in a conversation: what this side says differs from what it hears.
    pub fn talk(&self, stream: Box<dyn Stream>) -> Talk {
        Talk::new(stream, self.says, self.patience)
    }

    /// Waits until the other side has marked `step`. Says which number it marked it with.
    ///
    /// This takes more patience than anything else, so that the side where something is overdue says so first.
    ///
    /// # Errors
    /// It never did.
    pub async fn until(&self, step: &'static str) -> Result<u64, String> {
        let reached = time::within(3 * self.patience, self.meet.reached(step)).await;
        reached.ok_or_else(|| format!("the other side never said: {step}"))
    }

    /// What `future` gives, if it does so before patience ends.
    ///
    /// # Errors
    /// It did not; `what` says what was waited for.
    pub async fn patiently<T>(&self, what: &str, future: impl Future<Output = T>) -> Result<T, String> {
        time::within(self.patience, future)
            .await
            .ok_or_else(|| format!("waited {:?} for: {what}", self.patience))
    }
}

/// What both sides of a case came to, as far as known. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Verdict(Arc<watch::Sender<[Option<Ending>; 2]>>);

impl Verdict {
    /// How the case ended: with the first side that failed, or when both are through.
    pub fn ending(&self) -> Option<Ending> {
        match &*self.0.borrow() {
            [Some(Err(what)), _] => Some(Err(format!("server: {what}"))),
            [_, Some(Err(what))] => Some(Err(format!("client: {what}"))),
            [Some(Ok(())), Some(Ok(()))] => Some(Ok(())),
            _ => None,
        }
    }

    /// Waits for the end of the case.
    pub async fn settled(&self) -> Ending {
        let mut sides = self.0.subscribe();
        loop {
            sides.mark_unchanged();
            if let Some(ending) = self.ending() {
                return ending;
            }
            // The sender lives in `self`, so there is always another change to wait for.
            let _ = sides.changed().await;
        }
    }

    fn record(&self, side: usize, ending: Ending) {
        self.0.send_modify(|sides| sides[side] = Some(ending));
    }
}

impl Case {
    /// The software of both hosts, the server's first, and where they will say what came of it.
    ///
    /// Each must run on its own host, where `tokio::task::spawn_local` works. A host should live on when its
    /// software has ended, so that what its peer still says is answered.
    pub fn software(
        &self,
        seats: [Seat; 2],
        patience: Duration,
    ) -> ([impl Future<Output = ()> + use<>; 2], Verdict) {
        let verdict = Verdict(Arc::new(watch::Sender::new([None, None])));
        let meet = Meeting::default();
        let reach = [seats[1].address, seats[0].address];
        let play = |(index, seat): (usize, Seat), act: Side, says| {
            let site = Site {
                transport: seat.transport,
                listen: seat.listen,
                reach: reach[index],
                meet: meet.clone(),
                patience,
                says,
            };
            let verdict = verdict.clone();
            async move { verdict.record(index, act(site).await) }
        };
        let [server, client] = seats;
        let server = play((0, server), self.server, Direction::Down);
        let client = play((1, client), self.client, Direction::Up);
        ([server, client], verdict)
    }
}
