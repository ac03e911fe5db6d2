//! An upstream: greets everyone, takes a request, checks each byte, replies as asked. When it is not itself
//! it refuses, closes, hangs or answers by halves.

mod heads;
mod probed;
mod site;
mod ways;

use std::{cell::Cell, io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use adit::transport::{Listener, Transport};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::watch,
};

use crate::{
    event::{Event, Oddity},
    oracle::Oracle,
    payload::{Body, Direction, Greeting, REQUEST_LEN, Reply, Request, When},
    plan::who::Who,
};

use self::probed::Probed;
pub use self::{
    site::Site,
    ways::{Mood, Ways},
};

/// Where every upstream listens: its front door.
pub const PORT: u16 = 3000;
/// Where it listens as well, for those who know.
pub const SPARE_PORT: u16 = 3001;
/// Both doors of an upstream.
pub const DOORS: [u16; 2] = [PORT, SPARE_PORT];
/// The most upstreams that run on the machine of another.
pub const FURTHER_DOORS: usize = 2;
/// Bytes moved at once.
const CHUNK_LEN: usize = 16 * 1024;

/// How long a connection must have waited to be dropped for its silence: whoever comes to speak has spoken by then.
const IDLE_MIN: Duration = Duration::from_secs(2);

/// Where an upstream, or a further one on its machine, listens behind a door.
pub fn port(door: usize) -> u16 {
    PORT + u16::try_from(door).expect("doors are few")
}

/// One upstream host. Cheap to clone.
#[derive(Clone)]
pub struct Upstream {
    index: usize,
    sockets: Arc<dyn Transport>,
    oracle: Oracle,
    ways: Ways,
    mood: watch::Sender<Mood>,
    /// For how many reasons each door is shut.
    shut: watch::Sender<[usize; DOORS.len()]>,
    /// Connections that have waited for a while are as good as closed.
    drops: watch::Sender<bool>,
    open: Rc<Cell<usize>>,
    serial: Rc<Cell<u64>>,
    /// HTTP probes that have come.
    probes: Rc<Cell<u64>>,
    /// Streams of HTTP/2 that have come.
    streams: Rc<Cell<u64>>,
}

/// How far a request's body has come.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    got: u64,
    clean: bool,
    ended: bool,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Header,
    Request,
    Eof,
}

impl Upstream {
    /// The upstream of that number, feeling well.
    pub fn new(index: usize, ways: Ways, sockets: Arc<dyn Transport>, oracle: Oracle) -> Self {
        Self {
            index,
            sockets,
            oracle,
            ways,
            mood: watch::channel(Mood::Well).0,
            shut: watch::Sender::default(),
            drops: watch::channel(false).0,
            open: Rc::default(),
            probes: Rc::default(),
            streams: Rc::default(),
            serial: Rc::new(Cell::new((index as u64 + 1) << 32)),
        }
    }

    /// Who it is.
    pub fn who(&self) -> Who {
        Who::Upstream(self.index)
    }

    /// Changes how it feels.
    pub fn set_mood(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Shuts a door for one more reason, unless it is the last one; what came in by it goes on.
    pub fn shut(&self, door: usize) -> bool {
        self.shut.send_if_modified(|shut| {
            let other_open = shut.iter().enumerate().any(|(n, shut)| n != door && *shut == 0);
            shut[door] += usize::from(other_open);
            other_open
        })
    }

    /// Takes one of the reasons away.
    pub fn unshut(&self, door: usize) {
        self.shut.send_modify(|shut| shut[door] -= 1);
    }

    /// Begins or ends to close what has waited for a while without a word.
    pub fn drop_idle(&self, begins: bool) {
        self.drops.send_replace(begins);
    }

    /// Connections open right now.
    pub fn open(&self) -> usize {
        self.open.get()
    }

    /// Serves for ever.
    pub async fn run(self) {
        let this = &self;
        let further = |nth| async move {
            if nth < this.ways.further {
                this.keep_open(DOORS.len() + nth).await;
            }
        };
        tokio::join!(biased; self.keep(0), self.keep(1), further(0), further(1));
    }

    /// Serves at one door, for ever.
    async fn keep(&self, door: usize) {
        let mut shut = self.shut.subscribe();
        loop {
            let _ = shut.wait_for(|shut| shut[door] == 0).await;
            tokio::select! {
                biased;
                _ = shut.wait_for(|shut| shut[door] > 0) => {}
                () = self.keep_open(door) => {}
            }
        }
    }

    /// Serves at a door that is not shut, as it feels.
    async fn keep_open(&self, door: usize) {
        let mut mood = self.mood.subscribe();
        loop {
            let now = *mood.borrow_and_update();
            match now {
                Mood::Refuses => drop(mood.changed().await),
                Mood::Flaps { half_period_ms } => {
                    let half = Duration::from_millis(half_period_ms);
                    tokio::select! {
                        biased;
                        _ = mood.changed() => continue,
                        () = adit::time::sleep(half) => {}
                    }
                    tokio::select! {
                        biased;
                        _ = mood.changed() => {}
                        _ = adit::time::within(half, self.accept(door)) => {}
                    }
                }
                _ => tokio::select! {
                    biased;
                    // Only these two want the listener gone.
                    _ = mood.wait_for(|mood| matches!(mood, Mood::Refuses | Mood::Flaps { .. })) => {}
                    _ = self.accept(door) => {}
                },
            }
        }
    }

    /// Accepts until it is dropped.
    async fn accept(&self, door: usize) -> io::Result<()> {
        let local = SocketAddr::from(([0, 0, 0, 0], port(door)));
        let mut listener: Box<dyn Listener> = loop {
            match self.sockets.listen(local).await {
                Ok(listener) => break listener,
                // What the last listener left behind is still being cleared away.
                Err(_) => adit::time::sleep(Duration::from_millis(10)).await,
            }
        };
        loop {
            let (stream, _) = listener.accept().await?;
            if let Some(site) = self.ways.site {
                let (open, upstream, mood) = (Open::count(&self.open), self.clone(), *self.mood.borrow());
                tokio::task::spawn_local(async move {
                    upstream.talk(site, door, stream, mood).await;
                    drop(open);
                });
                continue;
            }
            self.serial.set(self.serial.get() + 1);
            let (serial, mood) = (self.serial.get(), *self.mood.borrow());
            let (upstream, who) = (self.clone(), self.who());
            self.oracle.tell(Event::Accepts {
                upstream: who,
                serial,
                door,
            });
            if mood == Mood::Resets {
                stream.reset();
                self.tell_served(serial, Progress::default(), "reset at once".to_owned());
                continue;
            }
            let open = Open::count(&self.open);
            tokio::task::spawn_local(async move {
                let mut progress = Progress::default();
                let result = upstream.serve(stream, serial, mood, &mut progress).await;
                let note = result.map_or_else(|error| error.kind().to_string(), str::to_owned);
                upstream.tell_served(serial, progress, note);
                drop(open);
            });
        }
    }

    fn tell_served(&self, serial: u64, Progress { got, clean, ended }: Progress, note: String) {
        self.oracle.tell(Event::Served {
            upstream: self.who(),
            serial,
            got,
            clean,
            ended,
            note,
        });
    }

    async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite,
        serial: u64,
        mood: Mood,
        progress: &mut Progress,
    ) -> io::Result<&'static str> {
        match mood {
            Mood::ClosesAtOnce => return Ok("closed at once"),
            Mood::Hangs if self.ways.speaks_first => return self.hang().await,
            _ => {}
        }
        let (mut read, mut write) = tokio::io::split(stream);
        let upstream = u8::try_from(self.index).expect("upstreams are few");
        let greeting = Greeting { upstream, serial }.encode();
        if self.ways.speaks_first {
            write.write_all(&greeting).await?;
        }
        let mut header = [0; REQUEST_LEN];
        let since = adit::time::now();
        let said = tokio::select! {
            biased;
            said = read.read_exact(&mut header) => said,
            () = self.idle_too_long() => return Ok("idle for too long"),
        };
        if let Err(error) = said {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    progress.ended = true;
                    Ok("no request")
                }
                _ => Err(error),
            };
        }
        let waited = adit::time::now() - since >= IDLE_MIN;
        if self.ways.idle.is_some() && waited && *self.drops.borrow() {
            return Ok("idle for too long");
        }
        match self.probed(&header) {
            Probed::No => {}
            Probed::Hangs => return self.hang().await,
            Probed::Answer(answer) => {
                write.write_all(answer).await?;
                // What is left unread would turn the end into a reset.
                tokio::io::copy(&mut read, &mut tokio::io::sink()).await?;
                return Ok("a probe");
            }
        }
        let Some(request) = Request::decode(&header) else {
            self.oracle.tell(Event::Odd {
                place: self.who(),
                session: None,
                what: Oddity::NoRequest(header.to_vec()),
            });
            return Ok("garbage");
        };
        self.oracle.tell(Event::Requested {
            upstream: self.who(),
            serial,
            request,
        });
        // A connection may have waited for long.
        let mood = if self.ways.speaks_first {
            mood
        } else {
            *self.mood.borrow()
        };
        if mood == Mood::Hangs {
            return self.hang().await;
        }
        if !self.ways.speaks_first {
            write.write_all(&greeting).await?;
        }
        let (stage, mut reached) = watch::channel(Stage::Header);
        let stalls = mood == Mood::Stalls;
        let mut take = std::pin::pin!(self.take(read, (&request, stalls), stage, progress));
        let half = stalls || mood == Mood::AnswersHalf;
        let mut reply = std::pin::pin!(async {
            let wanted = match request.when {
                When::AfterHeader => Stage::Header,
                When::AfterRequest => Stage::Request,
                When::AfterEof => Stage::Eof,
            };
            let _ = reached.wait_for(|stage| *stage >= wanted).await;
            reply(write, &request, serial, half).await
        });
        let mut replied = false;
        loop {
            tokio::select! {
                biased;
                taken = &mut take => {
                    let taken = taken?;
                    if taken == "complete" && !replied {
                        reply.await?;
                    }
                    return Ok(taken);
                }
                done = &mut reply, if !replied => {
                    if done? == Replied::Half {
                        if stalls {
                            return self.hang().await;
                        }
                        return Ok("half a reply");
                    }
                    replied = true;
                }
            }
        }
    }

    /// Says nothing until it feels better; then the connection is dropped.
    async fn hang(&self) -> io::Result<&'static str> {
        let mut changed = self.mood.subscribe();
        let _ = changed.wait_for(|now| !now.is_mute()).await;
        Ok("hung")
    }

    /// Waits until a connection that says nothing is closed for that.
    async fn idle_too_long(&self) {
        let dropped = async {
            let mut drops = self.drops.subscribe();
            // Who speaks up just then speaks to nobody.
            if *drops.borrow() {
                return std::future::pending().await;
            }
            adit::time::sleep(IDLE_MIN).await;
            let _ = drops.wait_for(|drops| *drops).await;
        };
        match self.ways.idle {
            Some(idle) => drop(adit::time::within(idle, dropped).await),
            None => std::future::pending().await,
        }
    }

    /// Reads and checks the body up to the visitor's end.
    async fn take(
        &self,
        mut read: impl AsyncRead + Unpin,
        (request, stalls): (&Request, bool),
        stage: watch::Sender<Stage>,
        progress: &mut Progress,
    ) -> io::Result<&'static str> {
        let body = Body::new(request.connection, Direction::Up);
        let odd = |what| {
            let session = Some(request.connection);
            self.oracle.tell(Event::Odd {
                place: self.who(),
                session,
                what,
            });
        };
        let mut buffer = vec![0; CHUNK_LEN];
        let mut got = 0;
        loop {
            if got == request.len {
                stage.send_replace(Stage::Request);
            }
            if stalls && 2 * got >= request.len {
                return self.hang().await;
            }
            let n = read.read(&mut buffer).await?;
            progress.ended |= n == 0;
            if n == 0 && got < request.len {
                return Ok("cut short");
            }
            if n == 0 {
                progress.clean = true;
                stage.send_replace(Stage::Eof);
                return Ok("complete");
            }
            if let Some(at) = body.mismatch(got, &buffer[..n]) {
                odd(Oddity::WrongByte { at });
                return Ok("wrong byte");
            }
            let holds = got < request.len / 2 && got + n as u64 >= request.len / 2;
            if holds && request.hold_ms > 0 {
                adit::time::sleep(Duration::from_millis(request.hold_ms)).await;
            }
            got += n as u64;
            progress.got = got;
            if got > request.len {
                odd(Oddity::TooMuch { got, of: request.len });
                return Ok("too many bytes");
            }
        }
    }
}

/// How a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replied {
    Whole,
    Half,
}

async fn reply(
    mut write: impl AsyncWrite + Unpin,
    request: &Request,
    serial: u64,
    half: bool,
) -> io::Result<Replied> {
    adit::time::sleep(Duration::from_millis(request.delay_ms)).await;
    let connection = request.connection;
    let header = Reply {
        serial,
        connection,
        len: request.reply_len,
    };
    write.write_all(&header.encode()).await?;
    let body = Body::new(connection, Direction::Down);
    let mut buffer = vec![0; CHUNK_LEN];
    let to_send = if half {
        request.reply_len / 2
    } else {
        request.reply_len
    };
    let mut sent = 0;
    while sent < to_send {
        let n = usize::try_from(to_send - sent)
            .unwrap_or(usize::MAX)
            .min(CHUNK_LEN);
        body.fill(sent, &mut buffer[..n]);
        write.write_all(&buffer[..n]).await?;
        sent += n as u64;
    }
    if half {
        return Ok(Replied::Half);
    }
    write.shutdown().await?;
    Ok(Replied::Whole)
}

/// Counts a connection while it lives.
struct Open(Rc<Cell<usize>>);

impl Open {
    fn count(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
