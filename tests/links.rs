//! Data links on real sockets: many sessions over one connection.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::sync::Arc;

use adit::time::{self, Duration};
use support::{
    Mortal, RunningServer, Speech, client_config, echo, mux_config, named, read_until_broken, run,
    server_config, until, upstream, visit, with_pool,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

/// More than the windows, the queues and the kernels' buffers on the way hold.
const ENDLESS: usize = 64 << 20;

#[test]
fn sessions_share_one_link_and_leave_nothing_on_it() {
    run(|| async {
        let mut config = mux_config();
        config.link.links = 1;
        let server = RunningServer::start(config).await;
        let client = server.client("a", echo().await);
        server.wait_for_clients(1).await;
        let mut visitors = JoinSet::new();
        for n in 0..120u64 {
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
        for metrics in [&server.metrics, &client.metrics] {
            until(|| metrics.streams.get() == 0 && metrics.sessions.get() == 0).await;
            assert_eq!(metrics.data_links.get(), 1);
            assert_eq!(metrics.stream_queued_bytes.get(), 0);
        }
        assert_eq!(server.metrics.streams_opened.get(), 120);
    });
}

#[test]
fn who_finds_no_connection_ready_overflows_to_a_link_and_waits_where_there_is_none() {
    run(|| async {
        let server = RunningServer::start(with_pool(server_config(), 0, 8)).await;
        let _client = server.client("a", named("a").await);
        server.wait_for_clients(1).await;
        until(|| server.metrics.data_links.get() == 1).await;
        assert_eq!(visit(server.public(), b"").await.unwrap(), b"a");
        assert_eq!(server.metrics.streams_opened.get(), 1);

        let mut config = with_pool(server_config(), 0, 8);
        config.entries[0].session.overflow = adit::session::Overflow::Wait;
        let server = RunningServer::start(config).await;
        let _client = server.client("a", named("a").await);
        server.wait_for_clients(1).await;
        assert_eq!(visit(server.public(), b"").await.unwrap(), b"a");
        assert_eq!(server.metrics.streams_opened.get(), 0);
        assert_eq!(server.metrics.data_links.get(), 0, "nobody would use one");
    });
}

#[test]
fn one_slow_reader_among_a_hundred_delays_nobody_and_holds_no_more_than_its_window() {
    const LEN: usize = 1 << 20;
    run(|| async {
        let speech = Arc::new(Speech::new(1));
        let there = Arc::clone(&speech);
        let target = upstream(move |mut stream| {
            let speech = Arc::clone(&there);
            async move {
                // A length is asked for in eight bytes.
                let mut asked = [0; 8];
                if stream.read_exact(&mut asked).await.is_ok() {
                    let _ = speech.say(&mut stream, usize::from_le_bytes(asked)).await;
                }
            }
        })
        .await;
        let mut config = mux_config();
        config.link.links = 1;
        let server = RunningServer::start(config).await;
        let client = server.client("a", target);
        server.wait_for_clients(1).await;

        let mut slow = TcpStream::connect(server.public()).await.unwrap();
        slow.write_all(&ENDLESS.to_le_bytes()).await.unwrap();
        // It is as far as it comes when its stream has no credit left, and its writer no room.
        until(|| client.metrics.stream_stalls.queue.get() > 0).await;
        until(|| client.metrics.stream_queued_bytes.get() > 0).await;

        let mut visitors = JoinSet::new();
        for _ in 0..99 {
            let (public, speech) = (server.public(), Arc::clone(&speech));
            visitors.spawn(async move {
                let mut stream = TcpStream::connect(public).await.unwrap();
                stream.write_all(&LEN.to_le_bytes()).await.unwrap();
                assert_eq!(speech.hear(&mut stream).await.unwrap(), LEN);
            });
        }
        while let Some(done) = visitors.join_next().await {
            done.unwrap();
        }
        // One stream is left: what waits for it at the client is its queue, what was promised to it its window.
        until(|| client.metrics.streams.get() == 1).await;
        assert!(client.metrics.stream_queued_bytes.get() <= 64 << 10);
        assert!(server.metrics.stream_window_bytes.get() <= (8 << 20) - (64 << 10));
        assert_eq!(
            speech.hear(&mut slow).await.unwrap(),
            ENDLESS,
            "and then it gets everything"
        );
    });
}

#[test]
fn a_link_that_is_lost_takes_its_own_sessions_and_comes_back() {
    run(|| async {
        let server = RunningServer::start(mux_config()).await;
        let control = server.addresses.control;
        let doomed = Mortal::client(client_config("a", control, echo().await));
        server.wait_for_clients(1).await;
        let mut on_a = TcpStream::connect(server.public()).await.unwrap();
        on_a.write_all(b"x").await.unwrap();
        on_a.read_exact(&mut [0]).await.unwrap();
        let _b = server.client("b", echo().await);
        server.wait_for_clients(2).await;
        doomed.kill();
        read_until_broken(&mut on_a).await;
        server.wait_for_clients(1).await;
        for _ in 0..10 {
            assert_eq!(visit(server.public(), b"still").await.unwrap(), b"still");
        }
        let _again = server.client("a", echo().await);
        server.wait_for_clients(2).await;
    });
}

#[test]
fn a_link_is_replaced_before_its_ids_run_out_and_no_session_is_lost() {
    run(|| async {
        let mut config = mux_config();
        config.link.links = 1;
        // Ten streams, and then another link.
        config.link.ids_max = 19;
        let server = RunningServer::start(config).await;
        let client = server.client("a", echo().await);
        server.wait_for_clients(1).await;
        let mut long = TcpStream::connect(server.public()).await.unwrap();
        for n in 0..50u8 {
            long.write_all(&[n]).await.unwrap();
            let mut back = [0];
            long.read_exact(&mut back).await.unwrap();
            assert_eq!(back, [n]);
            assert_eq!(visit(server.public(), &[n]).await.unwrap(), [n]);
        }
        assert!(server.metrics.data_links_lost.count("left") >= 1);
        long.shutdown().await.unwrap();
        assert_eq!(
            long.read(&mut [0]).await.unwrap(),
            0,
            "the first session ends well"
        );
        until(|| client.metrics.sessions.get() == 0).await;
    });
}

#[test]
fn a_client_that_leaves_says_all_it_has_to_say() {
    const LEN: usize = 4 << 20;
    run(|| async {
        let speech = Arc::new(Speech::new(3));
        let there = Arc::clone(&speech);
        let target = upstream(move |mut stream| {
            let speech = Arc::clone(&there);
            async move { speech.say(&mut stream, LEN).await.unwrap() }
        })
        .await;
        let server = RunningServer::start(mux_config()).await;
        let client = server.client("a", target);
        server.wait_for_clients(1).await;
        let mut visitor = TcpStream::connect(server.public()).await.unwrap();
        visitor.read_exact(&mut [0; 1]).await.unwrap();
        client.stopper.advance();
        visitor.shutdown().await.unwrap();
        // Slowly enough for the client to be done before everything has arrived.
        time::sleep(Duration::from_millis(50)).await;
        let (at, end) = speech.hear_some(&mut visitor, 1, usize::MAX).await;
        end.unwrap();
        assert_eq!(at, LEN);
        client.task.await.unwrap();
    });
}
