//! A visitor: opens one session after another and checks each byte of every reply.

mod browser;
mod drained;
mod extras;
mod plain;
mod upgrade;

use std::{cell::Cell, io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use adit::transport::Transport;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::watch,
    task::JoinSet,
};

use crate::{
    event::{End, Event, Oddity},
    net::hands::Hand,
    node::PUBLIC_PORT,
    oracle::Oracle,
    payload::{Body, Direction, GREETING_LEN, Greeting, REPLY_LEN, Reply, Request},
    plan::{Manner, Millis, Visit, who::Who},
};

pub use self::browser::Browser;

/// Bytes read at once.
const CHUNK_LEN: usize = 16 * 1024;

/// A slow reader pauses after so many bytes.
const READ_LEN: u64 = 1_024;

/// How long a visitor stays at most. Longer than anything that is well takes; a session that lasts so long
/// hangs, and the oracle has said so before.
const PATIENCE: Duration = Duration::from_secs(180);

/// After how long a visitor gives up a service that hangs.
const GIVES_UP_AFTER: Duration = Duration::from_secs(10);

/// One visitor host. Cheap to clone.
#[derive(Clone)]
pub struct Visitor {
    /// Who it is.
    pub who: Who,
    /// What it does.
    pub visits: Rc<Vec<Visit>>,
    /// It begins nothing between these.
    pub quiet: (Duration, Duration),
    /// It does not begin anything later.
    pub last_visit: Duration,
    /// Whether it gives up a service that is known to be lost.
    pub gives_up: bool,
    /// The number of the next session of the run.
    pub next: Rc<Cell<u64>>,
    /// Where the server is.
    pub server: std::net::IpAddr,
    /// Its sockets.
    pub sockets: Arc<dyn Transport>,
    /// The judge.
    pub oracle: Oracle,
    /// What it has if it speaks HTTP.
    pub browser: Rc<Browser>,
}

/// How a session ended, when it did not end whole.
enum Short {
    /// Cut, with an end that looks clean.
    Cut(String),
    /// Visibly broken.
    Broken(String),
    /// As planned.
    Left,
    /// The oracle knows.
    Told,
}

impl From<io::Error> for Short {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.kind().to_string())
    }
}

impl Visitor {
    /// Does its visits, as many as there is time for.
    pub async fn run(self) {
        self.visit_all().await;
        self.browser.line.take();
    }

    async fn visit_all(&self) {
        for visit in self.visits.iter() {
            adit::time::sleep(Duration::from_millis(visit.pause_ms)).await;
            let (from, to) = self.quiet;
            if (from..to).contains(&self.oracle.now()) {
                adit::time::sleep(to - self.oracle.now()).await;
            }
            if self.oracle.now() >= self.last_visit {
                return;
            }
            let left = self.last_visit - self.oracle.now();
            let visit = &visit.in_time(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
            let mut crowd = JoinSet::new();
            for _ in 1..visit.at_once {
                let (me, visit) = (self.clone(), visit.clone());
                crowd.spawn_local(async move { me.go(&visit).await });
            }
            self.go(visit).await;
            while crowd.join_next().await.is_some() {}
        }
    }

    /// One visit, from its begin to its end.
    async fn go(&self, visit: &Visit) {
        let session = self.next_session();
        self.oracle.tell(Event::Opens {
            session,
            visitor: self.who,
            visit: visit.clone(),
        });
        let patience = match visit.manner {
            Manner::Quit { after_ms } => Duration::from_millis(after_ms),
            _ => PATIENCE,
        };
        let quits = matches!(visit.manner, Manner::Quit { .. });
        let over = match adit::time::within(patience, self.visit(session, visit)).await {
            Some(over) => over,
            None if quits => Err(Short::Left),
            None => Err(Short::Broken("out of patience".to_owned())),
        };
        if !matches!(over, Err(Short::Told)) {
            self.oracle.tell(ends(session, &over));
        }
    }

    fn next_session(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    /// Where visitors of a group come in.
    fn public(&self, group: usize) -> SocketAddr {
        SocketAddr::new(self.server, PUBLIC_PORT + u16::try_from(group).unwrap_or(0))
    }

    async fn visit(&self, session: u64, visit: &Visit) -> Result<(), Short> {
        if let Some(call) = visit.call {
            return self.ask(session, visit, call).await;
        }
        let hand = Hand::new(self.sockets.connect(self.public(visit.group)).await?);
        let halves = (hand.clone(), hand.clone());
        let talk = self.converse(session, visit, halves, &hand);
        if !self.gives_up {
            return talk.await;
        }
        tokio::select! {
            biased;
            over = talk => over,
            () = self.loses_patience(session) => {
                hand.reset();
                Err(Short::Broken("given up".to_owned()))
            }
        }
    }

    /// Waits until it is clear that its session will come to nothing.
    async fn loses_patience(&self, session: u64) {
        adit::time::sleep(GIVES_UP_AFTER).await;
        while !self.oracle.read(|model| model.is_lost_on_a_mute(session)) {
            adit::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// A whole session, on the two halves of a stream that `hand` can reset.
    async fn converse(
        &self,
        session: u64,
        visit: &Visit,
        (read, write): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
        hand: &Hand,
    ) -> Result<(), Short> {
        let (greeted, on_greeting) = watch::channel(false);
        // A stall that would outlast the run is left out.
        let holds = self.oracle.now() + Duration::from_millis(visit.hold_ms) < self.last_visit;
        let hold_ms = if holds { visit.hold_ms } else { 0 };
        let visit = &self.hurried(visit);
        let mut sending = std::pin::pin!(send(write, (session, hold_ms), visit, on_greeting));
        let mut getting = std::pin::pin!(self.get(read, session, visit, greeted));
        let (mut sent, mut got) = (None, false);
        while sent.is_none() || !got {
            tokio::select! {
                biased;
                done = &mut sending, if sent.is_none() => {
                    sent = Some(done?);
                    match visit.manner {
                        Manner::Leave => return Err(Short::Left),
                        Manner::Reset => {
                            hand.reset();
                            return Err(Short::Left);
                        }
                        _ => {}
                    }
                }
                done = &mut getting, if !got => {
                    done?;
                    got = true;
                }
            }
        }
        if let Some(mut write) = sent
            && visit.manner != Manner::HalfClose
        {
            write.shutdown().await?;
        }
        Ok(())
    }

    /// The visit without the pauses for which no time is left.
    fn hurried(&self, visit: &Visit) -> Visit {
        let fits = |n: u64, ms| self.oracle.now() + Duration::from_millis(n * ms) < self.last_visit;
        let mut visit = visit.clone();
        if !fits(visit.len / visit.piece.max(1) as u64, visit.piece_pause_ms) {
            visit.piece_pause_ms = 0;
        }
        if !fits(1, visit.mute_ms) {
            visit.mute_ms = 0;
        }
        if !fits(visit.reply_len / READ_LEN, visit.read_pause_ms) {
            visit.read_pause_ms = 0;
        }
        visit
    }

    /// Reads and checks everything up to the upstream's end.
    async fn get(
        &self,
        mut read: impl AsyncRead + Unpin,
        session: u64,
        visit: &Visit,
        greeted: watch::Sender<bool>,
    ) -> Result<(), Short> {
        let odd = |what: Oddity| {
            let words = what.to_string();
            self.oracle.tell(Event::Odd {
                place: self.who,
                session: Some(session),
                what,
            });
            Err(Short::Broken(words))
        };
        let mut bytes = [0; GREETING_LEN];
        exactly(&mut read, &mut bytes, "before the greeting").await?;
        let Some(greeting) = Greeting::decode(&bytes) else {
            return odd(Oddity::NoGreeting(bytes.to_vec()));
        };
        self.oracle.tell(Event::Greeted { session, greeting });
        greeted.send_replace(true);
        let mut bytes = [0; REPLY_LEN];
        exactly(&mut read, &mut bytes, "before the reply").await?;
        let serial = greeting.serial;
        match Reply::decode(&bytes) {
            Some(reply) if reply.connection != session || reply.serial != serial => {
                return odd(Oddity::ForeignReply {
                    connection: reply.connection,
                    serial: reply.serial,
                });
            }
            Some(reply) if reply.len == visit.reply_len => {}
            _ => return odd(Oddity::WrongReply(bytes.to_vec())),
        }
        let body = Body::new(session, Direction::Down);
        let mut buffer = vec![0; CHUNK_LEN];
        let mut got = 0;
        loop {
            let n = read.read(&mut buffer).await?;
            if n == 0 && got == visit.reply_len {
                return Ok(());
            }
            if n == 0 {
                return Err(Short::Cut(format!("cut at {got} of {} bytes", visit.reply_len)));
            }
            if let Some(at) = body.mismatch(got, &buffer[..n]) {
                return odd(Oddity::WrongByte { at });
            }
            let before = got;
            got += n as u64;
            if got > visit.reply_len {
                return odd(Oddity::TooMuch {
                    got,
                    of: visit.reply_len,
                });
            }
            self.dawdle(visit, before, got).await;
        }
    }

    /// Takes its time when it has read from there to there.
    async fn dawdle(&self, visit: &Visit, before: u64, got: u64) {
        let stalls = before < visit.reply_len / 2 && got >= visit.reply_len / 2;
        let stall = Duration::from_millis(visit.stall_ms);
        // One that would outlast the run is left out.
        if stalls && self.oracle.now() + stall < self.last_visit {
            adit::time::sleep(stall).await;
        }
        // However small the pieces are in which it comes.
        if visit.read_pause_ms > 0 && before / READ_LEN != got / READ_LEN {
            adit::time::sleep(Duration::from_millis(visit.read_pause_ms)).await;
        }
    }
}

/// How a session ended, for the oracle.
fn ends(session: u64, over: &Result<(), Short>) -> Event {
    let how = match over {
        Ok(()) => End::Complete,
        Err(Short::Left | Short::Told) => End::Left,
        Err(Short::Cut(why)) => End::Cut(why.clone()),
        Err(Short::Broken(why)) => End::Broken(why.clone()),
    };
    Event::Ends { session, how }
}

async fn exactly(read: &mut (impl AsyncRead + Unpin), bytes: &mut [u8], place: &str) -> Result<(), Short> {
    match read.read_exact(bytes).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Short::Cut(format!("cut {place}"))),
        Err(error) => Err(Short::Broken(format!("{} {place}", error.kind()))),
    }
}

/// Sends the request in the visit's manner and pace; as long as it says. Gives back what it was sent on.
async fn send<W: AsyncWrite + Unpin>(
    mut write: W,
    (session, hold_ms): (u64, Millis),
    visit: &Visit,
    mut greeted: watch::Receiver<bool>,
) -> Result<W, Short> {
    if visit.manner == Manner::ReadFirst && greeted.wait_for(|greeted| *greeted).await.is_err() {
        std::future::pending::<()>().await;
    }
    adit::time::sleep(Duration::from_millis(visit.mute_ms)).await;
    let request = Request {
        connection: session,
        len: visit.len,
        reply_len: visit.reply_len,
        when: visit.when,
        delay_ms: visit.delay_ms,
        hold_ms,
    };
    write.write_all(&request.encode()).await?;
    let body = Body::new(session, Direction::Up);
    let half = matches!(visit.manner, Manner::Leave | Manner::Reset);
    let to_send = if half { visit.len / 2 } else { visit.len };
    let mut sent = 0;
    let mut buffer = Vec::new();
    while sent < to_send {
        let n = usize::try_from(to_send - sent)
            .unwrap_or(usize::MAX)
            .min(visit.piece.max(1));
        buffer.resize(n, 0);
        body.fill(sent, &mut buffer);
        write.write_all(&buffer).await?;
        sent += n as u64;
        if visit.piece_pause_ms > 0 {
            adit::time::sleep(Duration::from_millis(visit.piece_pause_ms)).await;
        }
    }
    if visit.manner == Manner::HalfClose {
        write.shutdown().await?;
    }
    Ok(write)
}
