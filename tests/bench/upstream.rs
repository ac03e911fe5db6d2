//! The upstream of the benchmarks, and the shortest visit to it.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
};

use adit::time::{self, Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

/// Bytes of a request and of its reply.
pub const MESSAGE_LEN: usize = 64;

/// Bytes moved by one bulk session at a time.
pub const BLOCK_LEN: usize = 256 * 1024;

/// First byte of a request for one short reply.
const SHORT: u8 = b's';

/// First byte of a request for an endless stream.
pub const SEND: u8 = b'd';

/// First byte of a request for an endless stream of [`PACED_BYTES_PER_SECOND`].
pub const PACED: u8 = b'p';

/// What a paced stream moves: eight of them leave the machine most of its time.
pub const PACED_BYTES_PER_SECOND: u32 = 50_000_000;

/// First byte of a request that an endless stream follows.
pub const DRAIN: u8 = b'u';

/// First byte of a message that is sent back, as are all that follow it.
pub const ECHO: u8 = b'e';

/// First byte of a request for one short reply, after which the upstream waits for the end.
pub const HOLD: u8 = b'h';

/// How many connections wait for the upstream's turn at most: more than any burst, else its kernel drops some, and what
/// is measured is when they are sent again.
const BACKLOG: u32 = 4096;

/// Starts an upstream that does what the first byte of a connection says; returns where it listens.
pub async fn start(listen: SocketAddr) -> SocketAddr {
    let listener = bind(listen).expect("the address can be bound");
    let address = listener.local_addr().expect("a bound listener");
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn(serve(stream));
        }
    });
    address
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn serve(mut stream: TcpStream) {
    let mut request = [0; MESSAGE_LEN];
    if stream.set_nodelay(true).is_err() || stream.read_exact(&mut request).await.is_err() {
        return;
    }
    match request[0] {
        SHORT => {
            let _ = stream.write_all(&request).await;
        }
        SEND => {
            let block = vec![0; BLOCK_LEN];
            while stream.write_all(&block).await.is_ok() {}
        }
        PACED => {
            let block = vec![0; BLOCK_LEN];
            let gap = Duration::from_secs_f64(BLOCK_LEN as f64 / f64::from(PACED_BYTES_PER_SECOND));
            let mut due = time::now();
            while stream.write_all(&block).await.is_ok() {
                due += gap;
                time::sleep_until(due).await;
            }
        }
        HOLD => {
            let _ = stream.write_all(&request).await;
            let _ = stream.read(&mut request).await;
        }
        // A thread of its own: what is measured shall not wait for the other tasks of this process.
        ECHO => drop(std::thread::spawn(move || echo(stream, request))),
        _ => {
            let mut block = vec![0; BLOCK_LEN];
            while stream.read(&mut block).await.is_ok_and(|n| n > 0) {}
        }
    }
}

/// Sends `message` back, and each one that follows.
fn echo(stream: TcpStream, mut message: [u8; MESSAGE_LEN]) -> io::Result<()> {
    let mut stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    loop {
        stream.write_all(&message)?;
        stream.read_exact(&mut message)?;
    }
}

/// Connects, sends a request, takes the reply, sees the end; returns the time until the connection stood, and
/// until the first byte of the reply, both from the start.
///
/// # Errors
/// What the socket said; `InvalidData` when the reply is not the request.
pub async fn visit(public: SocketAddr) -> io::Result<(Duration, Duration)> {
    let start = time::now();
    let mut stream = TcpStream::connect(public).await?;
    let connected = time::now() - start;
    stream.set_nodelay(true)?;
    stream.write_all(&[SHORT; MESSAGE_LEN]).await?;
    let mut reply = Vec::with_capacity(2 * MESSAGE_LEN);
    stream.read_buf(&mut reply).await?;
    let first_reply = time::now() - start;
    stream.read_to_end(&mut reply).await?;
    if reply != [SHORT; MESSAGE_LEN] {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok((connected, first_reply))
}

fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    #[allow(
        clippy::disallowed_methods,
        reason = "the load tool is outside what is measured"
    )]
    tokio::spawn(future);
}
