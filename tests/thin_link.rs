//! New sessions behind bulk on a thin link: they are slow, and they are served.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use adit::{
    env::{Env, Stop},
    role::client,
    time::{self, Duration, Instant, Timer},
    transport::{BoxFuture, Listener, Stream, Transport, tcp::Tcp},
};
use support::{RunningServer, client_config, mux_config, run, until, visit};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

/// What each connection of the client takes in, where bulk is before a visitor: 2 Mbit/s.
const BYTES_PER_SECOND: u32 = 250_000;

/// At once.
const PIECE: usize = 4096;

/// The network of a client at the end of a thin link.
struct Thin {
    bytes_per_second: u32,
}

impl Transport for Thin {
    fn connect(&self, peer: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let bytes_per_second = self.bytes_per_second;
        Box::pin(async move {
            let stream = ThinStream {
                bytes_per_second,
                stream: Tcp.connect(peer).await?,
                next: time::now(),
                timer: Timer::default(),
            };
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }

    fn listen(&self, local: SocketAddr) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        Tcp.listen(local)
    }
}

/// A stream that is read slowly.
struct ThinStream {
    bytes_per_second: u32,
    stream: Box<dyn Stream>,
    next: Instant,
    timer: Timer,
}

impl AsyncRead for ThinStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.timer.poll(cx, Some(this.next)));
        let mut piece = [0; PIECE];
        let len = buf.remaining().min(PIECE);
        let mut piece = ReadBuf::new(&mut piece[..len]);
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut piece))?;
        buf.put_slice(piece.filled());
        let read = piece.filled().len();
        this.next =
            time::now() + Duration::from_secs(1) * u32::try_from(read).unwrap() / this.bytes_per_second;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ThinStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Stream for ThinStream {
    fn peer_addr(&self) -> Option<SocketAddr> {
        self.stream.peer_addr()
    }

    fn reset(self: Box<Self>) {
        self.stream.reset();
    }
}

/// Answers a question with one byte, and takes everything else.
async fn answer_questions(mut stream: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read) = stream.read(&mut buffer).await {
        let asked = read > 0 && buffer[0] == b'?';
        if read == 0 || asked && stream.write_all(b"!").await.is_err() {
            return;
        }
    }
}

#[test]
fn new_sessions_behind_bulk_are_served() {
    run(|| async {
        let mut config = mux_config();
        config.link.links = 1;
        config.entries[0].session.answer_timeout = Duration::from_millis(300);
        let server = RunningServer::start(config).await;
        let service = support::upstream(answer_questions).await;
        let (_stopper, stop) = Stop::channel();
        let env = Env {
            transport: Arc::new(Thin {
                bytes_per_second: BYTES_PER_SECOND,
            }),
            ..Env::production(stop)
        };
        let config = client_config("a", server.addresses.control, service);
        let _client = tokio::task::spawn_local(async { client::run(config, env).await.unwrap() });
        server.wait_for_clients(1).await;

        let (mut upload, sent) = (
            TcpStream::connect(server.public()).await.unwrap(),
            Arc::new(AtomicUsize::new(0)),
        );
        let count = Arc::clone(&sent);
        let uploading = tokio::task::spawn_local(async move {
            while let Ok(written) = upload.write(&[b'x'; 64 * 1024]).await {
                count.fetch_add(written, Ordering::Relaxed);
            }
        });
        // Every buffer on the way is full.
        until(|| sent.load(Ordering::Relaxed) > 1024 * 1024).await;
        let mut slowest = Duration::ZERO;
        // The window of the upload grows, and the queue with it.
        while slowest < Duration::from_millis(500) {
            let asked = time::now();
            assert_eq!(visit(server.public(), b"?").await.unwrap(), b"!");
            slowest = slowest.max(time::now() - asked);
        }
        let silent = server.metrics.tries_failed.count("not_started_silent");
        assert_eq!(silent, 0, "the slowest took {slowest:?}");
        uploading.abort();
    });
}

/// A service that reads slowly holds up what its visitor said, which waits for credit at the server: as long as it moves,
/// the half-closed session is alive.
#[test]
fn bytes_that_wait_for_credit_keep_a_half_closed_session_alive() {
    run(|| async {
        const LEN: usize = 40_000;
        let half_closed = Duration::from_millis(300);
        let mut config = mux_config();
        config.link.window = 1000;
        config.link.half_closed_timeout = half_closed;
        config.entries[0].session.half_closed_timeout = half_closed;
        let server = RunningServer::start(config).await;
        let (_stopper, stop) = Stop::channel();
        let env = Env {
            transport: Arc::new(Thin {
                bytes_per_second: 25_000,
            }),
            ..Env::production(stop)
        };
        let service = support::upstream(|mut stream: TcpStream| async move {
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.unwrap();
            stream
                .write_all(heard.len().to_string().as_bytes())
                .await
                .unwrap();
        })
        .await;
        let config = client_config("a", server.addresses.control, service);
        let _client = tokio::task::spawn_local(async { client::run(config, env).await.unwrap() });
        server.wait_for_clients(1).await;

        let began = time::now();
        let mut visitor = TcpStream::connect(server.public()).await.unwrap();
        visitor.write_all(&[b'x'; LEN]).await.unwrap();
        visitor.shutdown().await.unwrap();
        let mut answer = String::new();
        visitor.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, LEN.to_string());
        let took = time::now() - began;
        assert!(took > half_closed * 3, "nothing waited: {took:?}");
    });
}
