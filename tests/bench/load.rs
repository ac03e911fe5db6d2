//! The visitors and the upstream of the benchmark.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use adit::time::{self, Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Bytes of a request and of its reply.
const MESSAGE_LEN: usize = 64;

/// Bytes moved by one bulk session at a time.
const BLOCK_LEN: usize = 256 * 1024;

/// First bytes of a request: a short reply, an endless stream, or an endless drain.
const SHORT: u8 = b's';
const SEND: u8 = b'd';
const DRAIN: u8 = b'u';

/// An upstream that does what the first byte of a connection says.
pub async fn start_upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound listener");
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn(serve(stream));
        }
    });
    address
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
        _ => {
            let mut block = vec![0; BLOCK_LEN];
            while stream.read(&mut block).await.is_ok_and(|n| n > 0) {}
        }
    }
}

/// Connect, request, reply, close, `at_once` in parallel for `seconds`; returns how many, and the time.
pub async fn rate(public: SocketAddr, at_once: usize, seconds: f64) -> (f64, f64) {
    let start = time::now();
    let end = start + Duration::from_secs_f64(seconds);
    let mut visitors = JoinSet::new();
    for _ in 0..at_once {
        #[allow(
            clippy::disallowed_methods,
            reason = "the load tool is outside what is measured"
        )]
        visitors.spawn(async move {
            let mut done = 0u64;
            while time::now() < end {
                visit(public).await.expect("every visitor is served");
                done += 1;
            }
            done
        });
    }
    let done: u64 = visitors.join_all().await.into_iter().sum();
    (done as f64, (time::now() - start).as_secs_f64())
}

async fn visit(public: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(public).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&[SHORT; MESSAGE_LEN]).await?;
    let mut reply = Vec::with_capacity(MESSAGE_LEN);
    stream.read_to_end(&mut reply).await?;
    assert_eq!(reply, [SHORT; MESSAGE_LEN], "the reply is the request");
    Ok(())
}

/// One visitor moves bytes for `seconds`; returns gigabytes, and the time.
pub async fn bulk(public: SocketAddr, seconds: f64, to_visitor: bool) -> (f64, f64) {
    let mut stream = TcpStream::connect(public).await.expect("the tunnel is up");
    let mode = if to_visitor { SEND } else { DRAIN };
    stream
        .write_all(&[mode; MESSAGE_LEN])
        .await
        .expect("the tunnel takes a request");
    let moved = Arc::new(AtomicU64::new(0));
    let mut block = vec![0; BLOCK_LEN];
    let start = time::now();
    let moving = async {
        loop {
            let n = if to_visitor {
                stream.read(&mut block).await.expect("the stream goes on")
            } else {
                stream.write(&block).await.expect("the stream goes on")
            };
            moved.fetch_add(n as u64, Ordering::Relaxed);
        }
    };
    let _: Option<()> = time::within(Duration::from_secs_f64(seconds), moving).await;
    (
        moved.load(Ordering::Relaxed) as f64 / 1e9,
        (time::now() - start).as_secs_f64(),
    )
}

fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    #[allow(
        clippy::disallowed_methods,
        reason = "the load tool is outside what is measured"
    )]
    tokio::spawn(future);
}
