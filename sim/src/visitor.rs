//! A visitor: opens one session after another and checks each byte of every reply.

use std::{cell::Cell, io, net::SocketAddr, rc::Rc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
};
use turmoil::net::{
    TcpStream,
    tcp::{OwnedReadHalf, OwnedWriteHalf},
};

use crate::{
    node::PUBLIC_PORT,
    oracle::{Class, Oracle},
    payload::{Body, Direction, GREETING_LEN, Greeting, REPLY_LEN, Reply, Request},
    plan::{LAST_VISIT, Manner, Visit},
    trace::Recorder,
};

/// Bytes read at once.
const CHUNK_LEN: usize = 16 * 1024;

/// One visitor host.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Its host's name.
    pub name: String,
    /// What it does.
    pub visits: Rc<Vec<Visit>>,
    /// The number of the next session of the run.
    pub next: Rc<Cell<u64>>,
    /// The judge.
    pub oracle: Oracle,
    /// The trace.
    pub recorder: Recorder,
}

/// How a session ended, when it did not end whole.
enum Short {
    /// Visibly broken.
    Broken(String),
    /// As planned.
    Left,
}

impl From<io::Error> for Short {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.kind().to_string())
    }
}

impl Visitor {
    /// Does its visits, as many as there is time for.
    pub async fn run(self) {
        for visit in self.visits.iter() {
            tokio::time::sleep(visit.pause).await;
            if self.recorder.now() >= LAST_VISIT {
                return;
            }
            let id = self.next.replace(self.next.get() + 1);
            self.oracle.handle_opened(self.recorder.now(), id, *visit);
            self.recorder.event(
                &self.name,
                format_args!(
                    "session {id} opens: {:?}, {} up, {} down",
                    visit.manner, visit.len, visit.reply_len
                ),
            );
            match self.visit(id, visit).await {
                Ok(()) => {
                    self.recorder
                        .event(&self.name, format_args!("session {id} complete"));
                    self.oracle.handle_complete(id);
                }
                Err(Short::Left) => {
                    self.recorder.event(&self.name, format_args!("session {id} left"));
                    self.oracle.handle_left(id);
                }
                Err(Short::Broken(why)) => {
                    self.recorder
                        .event(&self.name, format_args!("session {id} broken: {why}"));
                    self.oracle.handle_broken(id, &why);
                }
            }
        }
    }

    async fn visit(&self, id: u64, visit: &Visit) -> Result<(), Short> {
        let server = SocketAddr::new(turmoil::lookup("server"), PUBLIC_PORT);
        let (read, write) = TcpStream::connect(server).await?.into_split();
        let (greeted, on_greeting) = watch::channel(false);
        let mut sending = std::pin::pin!(send(write, id, visit, on_greeting));
        let mut getting = std::pin::pin!(self.get(read, id, visit, greeted));
        let mut sent = None;
        loop {
            tokio::select! {
                biased;
                done = &mut sending, if sent.is_none() => {
                    let done = done?;
                    if visit.manner == Manner::Leave {
                        return Err(Short::Left);
                    }
                    sent = Some(done);
                }
                got = &mut getting => {
                    got?;
                    let mut write = match sent {
                        Some(write) => write,
                        None => sending.await?,
                    };
                    if visit.manner == Manner::Leave {
                        return Err(Short::Left);
                    }
                    if visit.manner != Manner::HalfClose {
                        write.shutdown().await?;
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Reads and checks everything up to the upstream's end.
    async fn get(
        &self,
        mut read: OwnedReadHalf,
        id: u64,
        visit: &Visit,
        greeted: watch::Sender<bool>,
    ) -> Result<(), Short> {
        let mut bytes = [0; GREETING_LEN];
        exactly(&mut read, &mut bytes, "before the greeting").await?;
        let Some(greeting) = Greeting::decode(&bytes) else {
            return self.wrong(
                1,
                format!("session {id} begins with bytes that are no greeting: {bytes:?}"),
            );
        };
        self.oracle.handle_greeted(id, greeting);
        greeted.send_replace(true);
        let mut bytes = [0; REPLY_LEN];
        exactly(&mut read, &mut bytes, "before the reply").await?;
        let serial = greeting.serial;
        match Reply::decode(&bytes) {
            Some(reply) if reply.connection != id || reply.serial != serial => {
                return self.wrong(
                    3,
                    format!("session {id}, greeted by {serial:#x}, got another's reply: {reply:?}"),
                );
            }
            Some(reply) if reply.len == visit.reply_len => {}
            _ => {
                return self.wrong(
                    1,
                    format!("session {id} got bytes that are not its reply: {bytes:?}"),
                );
            }
        }
        let body = Body::new(id, Direction::Down);
        let mut buffer = vec![0; CHUNK_LEN];
        let mut got = 0;
        loop {
            let n = read.read(&mut buffer).await?;
            if n == 0 && got == visit.reply_len {
                return Ok(());
            }
            if n == 0 {
                return Err(Short::Broken(format!(
                    "cut at {got} of {} bytes",
                    visit.reply_len
                )));
            }
            if let Some(at) = body.mismatch(got, &buffer[..n]) {
                return self.wrong(1, format!("session {id}: byte {at} of the reply is wrong"));
            }
            got += n as u64;
            self.oracle.handle_checked(n);
            if got > visit.reply_len {
                return self.wrong(2, format!("session {id} got {got} of {} bytes", visit.reply_len));
            }
        }
    }

    fn wrong(&self, invariant: u8, what: String) -> Result<(), Short> {
        self.oracle.violate(invariant, Class::Correctness, what.clone());
        Err(Short::Broken(what))
    }
}

async fn exactly(read: &mut OwnedReadHalf, bytes: &mut [u8], place: &str) -> Result<(), Short> {
    match read.read_exact(bytes).await {
        Ok(_) => Ok(()),
        Err(error) => Err(Short::Broken(format!("{} {place}", error.kind()))),
    }
}

/// Sends the request in the visit's manner and pace; returns the sending half.
async fn send(
    mut write: OwnedWriteHalf,
    id: u64,
    visit: &Visit,
    mut greeted: watch::Receiver<bool>,
) -> Result<OwnedWriteHalf, Short> {
    if visit.manner == Manner::ReadFirst && greeted.wait_for(|greeted| *greeted).await.is_err() {
        std::future::pending::<()>().await;
    }
    let request = Request {
        connection: id,
        len: visit.len,
        reply_len: visit.reply_len,
        when: visit.when,
        delay_ms: u64::try_from(visit.delay.as_millis()).unwrap_or(u64::MAX),
    };
    write.write_all(&request.encode()).await?;
    let body = Body::new(id, Direction::Up);
    let to_send = if visit.manner == Manner::Leave {
        visit.len / 2
    } else {
        visit.len
    };
    let (piece, pause) = visit.pace;
    let mut sent = 0;
    let mut buffer = Vec::new();
    while sent < to_send {
        let n = usize::try_from(to_send - sent).unwrap_or(usize::MAX).min(piece);
        buffer.resize(n, 0);
        body.fill(sent, &mut buffer);
        write.write_all(&buffer).await?;
        sent += n as u64;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    if visit.manner == Manner::HalfClose {
        write.shutdown().await?;
    }
    Ok(write)
}
