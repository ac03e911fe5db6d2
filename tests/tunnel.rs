//! The tunnel on real sockets: what a visitor sees when all is well.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::sync::Arc;

use support::{RunningServer, Speech, echo, named, run_by_each, upstream, visit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

#[test]
fn a_visitor_reaches_an_upstream() {
    run_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let _client = server.client("a", echo().await);
        server.wait_for_clients(1).await;
        for n in 0..10u8 {
            let request = vec![n; 1000];
            assert_eq!(visit(server.public(), &request).await.unwrap(), request);
        }
    });
}

#[test]
fn many_visitors_at_once_get_their_own_bytes() {
    run_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let _client = server.client("a", echo().await);
        server.wait_for_clients(1).await;
        let mut visitors = JoinSet::new();
        for n in 0..200u64 {
            let public = server.public();
            visitors.spawn(async move {
                let speech = Speech::new(n);
                let stream = TcpStream::connect(public).await.unwrap();
                let (mut read, mut write) = stream.into_split();
                let (said, heard) = tokio::join!(speech.say(&mut write, 100_000), speech.hear(&mut read));
                said.unwrap();
                assert_eq!(heard.unwrap(), 100_000);
            });
        }
        while let Some(done) = visitors.join_next().await {
            done.unwrap();
        }
        assert_eq!(server.metrics.visitors.get(), 200);
    });
}

#[test]
fn bulk_goes_both_ways_at_once() {
    const LEN: usize = 64 << 20;
    run_by_each(|config| async move {
        let (up, down) = (Arc::new(Speech::new(1)), Arc::new(Speech::new(2)));
        let (up_there, down_there) = (Arc::clone(&up), Arc::clone(&down));
        let target = upstream(move |stream| {
            let (up, down) = (Arc::clone(&up_there), Arc::clone(&down_there));
            async move {
                let (mut read, mut write) = stream.into_split();
                let heard = async {
                    assert_eq!(up.hear(&mut read).await.unwrap(), LEN);
                };
                let said = async { down.say(&mut write, LEN).await.unwrap() };
                tokio::join!(heard, said);
            }
        })
        .await;
        let server = RunningServer::start(config).await;
        let client = server.client("a", target);
        server.wait_for_clients(1).await;
        let stream = TcpStream::connect(server.public()).await.unwrap();
        let (mut read, mut write) = stream.into_split();
        let (said, heard) = tokio::join!(up.say(&mut write, LEN), down.hear(&mut read));
        said.unwrap();
        assert_eq!(heard.unwrap(), LEN);
        support::until(|| client.metrics.session_outcomes.count("completed") == 1).await;
    });
}

#[test]
fn a_visitor_that_has_finished_still_gets_its_answer() {
    run_by_each(|config| async move {
        let target = upstream(|mut stream| async move {
            let mut request = Vec::new();
            stream.read_to_end(&mut request).await.unwrap();
            stream
                .write_all(format!("{} bytes", request.len()).as_bytes())
                .await
                .unwrap();
        })
        .await;
        let server = RunningServer::start(config).await;
        let _client = server.client("a", target);
        server.wait_for_clients(1).await;
        assert_eq!(
            visit(server.public(), &[1; 300_000]).await.unwrap(),
            b"300000 bytes"
        );
        assert_eq!(visit(server.public(), b"").await.unwrap(), b"0 bytes");
    });
}

#[test]
fn an_upstream_that_has_finished_still_gets_the_rest() {
    run_by_each(|config| async move {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let target = upstream(move |mut stream| {
            let tell = tell.clone();
            async move {
                stream.write_all(b"go on").await.unwrap();
                stream.shutdown().await.unwrap();
                tell.send(Speech::new(5).hear(&mut stream).await.unwrap())
                    .unwrap();
            }
        })
        .await;
        let server = RunningServer::start(config).await;
        let _client = server.client("a", target);
        server.wait_for_clients(1).await;
        let mut visitor = TcpStream::connect(server.public()).await.unwrap();
        let mut answer = Vec::new();
        visitor.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"go on");
        Speech::new(5).say(&mut visitor, 300_000).await.unwrap();
        assert_eq!(told.recv().await, Some(300_000));
    });
}

#[test]
fn an_upstream_may_speak_first() {
    run_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let _client = server.client("a", named("220 ready").await);
        server.wait_for_clients(1).await;
        let mut visitor = TcpStream::connect(server.public()).await.unwrap();
        let mut greeting = Vec::new();
        visitor.read_to_end(&mut greeting).await.unwrap();
        assert_eq!(greeting, b"220 ready");
    });
}

/// How many connections to `port` wait for an answer of its kernel, as Linux tells it.
#[cfg(target_os = "linux")]
fn knocking(port: u16) -> usize {
    const SYN_SENT: &str = "02";
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let peer = format!(":{port:04X}");
    let columns = sockets
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    columns
        .filter(|column| column[2].ends_with(&peer) && column[3] == SYN_SENT)
        .count()
}

/// A kernel whose queue is full drops a SYN, and it is sent again after a second.
#[cfg(target_os = "linux")]
#[test]
fn a_visitor_is_served_by_an_upstream_whose_queue_was_full() {
    /// As many as a queue of one takes, and one that knocks.
    const QUEUE_FULL: usize = 3;
    run_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(support::any_port()).unwrap();
        let listener = socket.listen(1).unwrap();
        let target = listener.local_addr().unwrap();
        let _client = server.client("a", target);
        server.wait_for_clients(1).await;
        let others: Vec<_> = (0..QUEUE_FULL)
            .map(|_| tokio::task::spawn_local(TcpStream::connect(target)))
            .collect();
        support::until(|| knocking(target.port()) == 1).await;
        let visitor = tokio::task::spawn_local(visit(server.public(), b"late"));
        support::until(|| knocking(target.port()) == 2).await;
        support::serve_each(listener, support::send_back);
        assert_eq!(visitor.await.unwrap().unwrap(), b"late");
        drop(others);
    });
}
