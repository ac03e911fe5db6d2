//! The visitors of the benchmarks.

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
    net::TcpStream,
    task::JoinSet,
};

use crate::upstream::{BLOCK_LEN, DRAIN, MESSAGE_LEN, visit};

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

/// One visitor asks for `mode`, such as [`DRAIN`], and moves bytes for `seconds`; returns gigabytes,
/// and the time.
pub async fn bulk(public: SocketAddr, seconds: f64, mode: u8) -> (f64, f64) {
    let mut stream = TcpStream::connect(public).await.expect("the way is up");
    stream
        .write_all(&[mode; MESSAGE_LEN])
        .await
        .expect("the way takes a request");
    let moved = Arc::new(AtomicU64::new(0));
    let mut block = vec![0; BLOCK_LEN];
    let start = time::now();
    let moving = async {
        loop {
            let n = if mode != DRAIN {
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
