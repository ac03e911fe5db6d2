//! An upstream: greets everyone, takes a request, checks each byte, replies as asked.

use std::{cell::Cell, io, net::Ipv4Addr, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
};
use turmoil::net::{
    TcpListener, TcpStream,
    tcp::{OwnedReadHalf, OwnedWriteHalf},
};

use crate::{
    oracle::{Class, Oracle},
    payload::{Body, Direction, Greeting, REQUEST_LEN, Reply, Request, When},
    trace::Recorder,
};

/// Where every upstream listens.
pub const PORT: u16 = 3000;

/// Bytes moved at once.
const CHUNK_LEN: usize = 16 * 1024;

/// One upstream host.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its number.
    pub index: usize,
    /// Its host's name.
    pub name: String,
    /// Connections open right now.
    pub open: Rc<Cell<usize>>,
    /// The judge.
    pub oracle: Oracle,
    /// The trace.
    pub recorder: Recorder,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Header,
    Request,
    Eof,
}

impl Upstream {
    /// Serves for ever.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn run(self) -> io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
        let mut serial = (self.index as u64) << 32;
        loop {
            let (stream, _) = listener.accept().await?;
            serial += 1;
            let (upstream, open) = (self.clone(), Open::count(&self.open));
            self.oracle
                .handle_accepted(self.recorder.now(), serial, self.index);
            tokio::task::spawn_local(async move {
                let result = upstream.serve(stream, serial).await;
                let note = result.map_or_else(|error| error.kind().to_string(), |done| done.to_owned());
                upstream.recorder.event(
                    &upstream.name,
                    format_args!("connection {serial:#x} ends: {note}"),
                );
                drop(open);
            });
        }
    }

    async fn serve(&self, stream: TcpStream, serial: u64) -> io::Result<&'static str> {
        let (mut read, mut write) = stream.into_split();
        let upstream = u8::try_from(self.index).expect("upstreams are few");
        write.write_all(&Greeting { upstream, serial }.encode()).await?;
        let mut header = [0; REQUEST_LEN];
        if let Err(error) = read.read_exact(&mut header).await {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof => Ok("no request"),
                _ => Err(error),
            };
        }
        let Some(request) = Request::decode(&header) else {
            let what =
                format!("upstream connection {serial:#x} begins with bytes that are no request: {header:?}");
            self.oracle.violate(1, Class::Correctness, what);
            return Ok("garbage");
        };
        self.oracle.handle_header(serial, request);
        self.recorder.event(
            &self.name,
            format_args!(
                "connection {serial:#x} has session {}, {} bytes to come",
                request.connection, request.len
            ),
        );
        let (stage, mut reached) = watch::channel(Stage::Header);
        let mut take = std::pin::pin!(self.take(read, &request, serial, stage));
        let mut reply = std::pin::pin!(async {
            let wanted = match request.when {
                When::AfterHeader => Stage::Header,
                When::AfterRequest => Stage::Request,
                When::AfterEof => Stage::Eof,
            };
            let _ = reached.wait_for(|stage| *stage >= wanted).await;
            reply(write, &request, serial).await
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
                    done?;
                    replied = true;
                }
            }
        }
    }

    /// Reads and checks the body up to the visitor's end.
    async fn take(
        &self,
        mut read: OwnedReadHalf,
        request: &Request,
        serial: u64,
        stage: watch::Sender<Stage>,
    ) -> io::Result<&'static str> {
        let body = Body::new(request.connection, Direction::Up);
        let mut buffer = vec![0; CHUNK_LEN];
        let mut got = 0;
        loop {
            if got == request.len {
                stage.send_replace(Stage::Request);
            }
            let n = read.read(&mut buffer).await?;
            if n == 0 && got < request.len {
                return Ok("cut short");
            }
            if n == 0 {
                self.oracle.handle_clean_end(serial);
                stage.send_replace(Stage::Eof);
                return Ok("complete");
            }
            let session = request.connection;
            if let Some(at) = body.mismatch(got, &buffer[..n]) {
                let what = format!("upstream connection {serial:#x}, session {session}: byte {at} is wrong");
                self.oracle.violate(1, Class::Correctness, what);
                return Ok("wrong byte");
            }
            got += n as u64;
            self.oracle.handle_checked(n);
            self.oracle.handle_body(serial, got);
            if got > request.len {
                let what = format!(
                    "upstream connection {serial:#x}, session {session}: {got} of {} bytes",
                    request.len
                );
                self.oracle.violate(2, Class::Correctness, what);
                return Ok("too many bytes");
            }
        }
    }
}

async fn reply(mut write: OwnedWriteHalf, request: &Request, serial: u64) -> io::Result<()> {
    tokio::time::sleep(Duration::from_millis(request.delay_ms)).await;
    let connection = request.connection;
    let header = Reply {
        serial,
        connection,
        len: request.reply_len,
    };
    write.write_all(&header.encode()).await?;
    let body = Body::new(connection, Direction::Down);
    let mut buffer = vec![0; CHUNK_LEN];
    let mut sent = 0;
    while sent < request.reply_len {
        let n = usize::try_from(request.reply_len - sent)
            .unwrap_or(usize::MAX)
            .min(CHUNK_LEN);
        body.fill(sent, &mut buffer[..n]);
        write.write_all(&buffer[..n]).await?;
        sent += n as u64;
    }
    write.shutdown().await
}

/// Counts a connection while it lives.
#[derive(Debug)]
pub struct Open(Rc<Cell<usize>>);

impl Open {
    /// One more in `count`.
    pub fn count(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
