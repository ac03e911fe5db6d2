//! How sessions end: cleanly, or in a way that cannot be mistaken for it.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::{cell::Cell, rc::Rc};

use adit::time::{self, Duration};
use support::{
    Mortal, RunningServer, client_config, echo, is_reset, named, nowhere, read_until_broken, reset,
    run_by_each, until, upstream, visit,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, watch},
};

#[test]
fn an_upstream_that_closes_early_is_seen_to_close() {
    run_by_each(|config| async move {
        let target = upstream(|mut stream| async move { stream.write_all(b"bye").await.unwrap() }).await;
        let server = RunningServer::start(config).await;
        let client = server.client("a", target);
        server.wait_for_clients(1).await;
        let mut visitor = TcpStream::connect(server.public()).await.unwrap();
        let mut answer = Vec::new();
        visitor.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"bye");
        drop(visitor);
        until(|| server.metrics.session_outcomes.count("completed") == 1).await;
        assert_eq!(client.metrics.session_outcomes.count("completed"), 1);
    });
}

#[test]
fn a_reset_upstream_resets_the_visitor() {
    run_by_each(|config| async move {
        let target = upstream(|mut stream| async move {
            stream.read_exact(&mut [0; 5]).await.unwrap();
            reset(stream);
        })
        .await;
        let server = RunningServer::start(config).await;
        let _client = server.client("a", target);
        server.wait_for_clients(1).await;
        for half_closed in [false, true] {
            let mut visitor = TcpStream::connect(server.public()).await.unwrap();
            visitor.write_all(b"hello").await.unwrap();
            if half_closed {
                visitor.shutdown().await.unwrap();
            }
            let error = read_until_broken(&mut visitor).await;
            assert!(is_reset(&error), "{error}");
        }
    });
}

#[test]
fn a_reset_visitor_resets_the_upstream() {
    run_by_each(|config| async move {
        let (tell, mut told) = mpsc::unbounded_channel();
        let target = upstream(move |mut stream| {
            let tell = tell.clone();
            async move {
                stream.write_all(b"hello").await.unwrap();
                tell.send(read_until_broken(&mut stream).await).unwrap();
            }
        })
        .await;
        let server = RunningServer::start(config).await;
        let _client = server.client("a", target);
        server.wait_for_clients(1).await;
        let mut visitor = TcpStream::connect(server.public()).await.unwrap();
        visitor.read_exact(&mut [0; 5]).await.unwrap();
        reset(visitor);
        assert!(is_reset(&told.recv().await.unwrap()));
        until(|| server.metrics.session_outcomes.count("visitor_gone") == 1).await;
    });
}

#[test]
fn a_visitor_nobody_can_serve_is_reset_soon() {
    run_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let _client = server.client("a", nowhere().await);
        server.wait_for_clients(1).await;
        let began = time::now();
        let mut visitor = TcpStream::connect(server.public()).await.unwrap();
        visitor.write_all(b"hello").await.unwrap();
        let error = read_until_broken(&mut visitor).await;
        assert!(is_reset(&error), "{error}");
        assert!(
            time::now() - began < Duration::from_secs(5),
            "a refusal is not waited for"
        );
        assert_eq!(server.metrics.session_outcomes.count("all_refused"), 1);
    });
}

/// Hundreds of times, because the hand-over from one try to the next crosses threads.
#[test]
fn a_refused_visitor_is_tried_on_another_client() {
    run_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let _bad = server.client("bad", nowhere().await);
        let _good = server.client("good", echo().await);
        server.wait_for_clients(2).await;
        for n in 0..500u32 {
            let request = n.to_le_bytes().repeat(1_000);
            assert_eq!(visit(server.public(), &request).await.unwrap(), request);
        }
        let refused = server.metrics.tries_failed.count("unreachable");
        assert!(refused > 0, "500 random choices meet both of two");
        assert_eq!(
            server.metrics.replays_ambiguous.get(),
            0,
            "a refusal is not ambiguous"
        );
        until(|| server.metrics.session_outcomes.count("completed") == 500).await;
    });
}

/// An upstream that takes a connection and nothing else: its visitor is held back, nobody else is.
#[test]
fn a_hanging_upstream_holds_only_its_own_visitor() {
    run_by_each(|config| async move {
        let (let_go, held_back) = watch::channel(false);
        let (tell, mut told) = mpsc::unbounded_channel();
        let target = upstream(move |mut stream| {
            let (mut held_back, tell) = (held_back.clone(), tell.clone());
            async move {
                let mut first = [0];
                stream.read_exact(&mut first).await.unwrap();
                if first == *b"h" {
                    held_back.wait_for(|go| *go).await.unwrap();
                    tell.send(read_until_broken(&mut stream).await).unwrap();
                } else {
                    stream.write_all(&first).await.unwrap();
                }
            }
        })
        .await;
        let server = RunningServer::start(config).await;
        let _client = server.client("a", target);
        server.wait_for_clients(1).await;
        let written = Rc::new(Cell::new(0usize));
        let mut held = TcpStream::connect(server.public()).await.unwrap();
        let pour = async {
            loop {
                held.write_all(&[b'h'; 16 * 1024]).await.unwrap();
                written.set(written.get() + 16 * 1024);
            }
        };
        let others = async {
            let mut before = usize::MAX;
            while before != written.get() {
                before = written.get();
                for _ in 0..20 {
                    assert_eq!(visit(server.public(), b"x").await.unwrap(), b"x");
                }
            }
        };
        tokio::select! {
            biased;
            () = others => {}
            () = pour => unreachable!("the pouring has no end"),
        }
        assert!(
            written.get() < 64 << 20,
            "what nobody reads is not taken for ever"
        );
        until(|| server.metrics.sessions.get() == 1).await;
        reset(held);
        let_go.send_replace(true);
        assert!(is_reset(&told.recv().await.unwrap()));
        until(|| server.metrics.sessions.get() == 0).await;
    });
}

#[test]
fn a_killed_client_breaks_its_own_sessions_and_no_others() {
    run_by_each(|config| async move {
        let chatter = |name: &'static str| {
            upstream(move |mut stream| async move {
                stream.write_all(name.as_bytes()).await.unwrap();
                let mut buffer = [0; 1000];
                // Echoes until either side is gone.
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..n]).await.is_err() {
                        break;
                    }
                }
            })
        };
        let server = RunningServer::start(config).await;
        let victim = Mortal::client(client_config("a", server.addresses.control, chatter("a").await));
        let _other = server.client("b", chatter("b").await);
        server.wait_for_clients(2).await;
        let (mut doomed, mut safe) = (Vec::new(), Vec::new());
        while doomed.len() < 5 || safe.len() < 5 {
            let mut visitor = TcpStream::connect(server.public()).await.unwrap();
            let mut name = [0];
            visitor.read_exact(&mut name).await.unwrap();
            visitor.write_all(&[7; 1000]).await.unwrap();
            if name == *b"a" { &mut doomed } else { &mut safe }.push(visitor);
        }
        victim.kill();
        for visitor in &mut doomed {
            read_until_broken(visitor).await;
        }
        for visitor in &mut safe {
            visitor.write_all(&[8; 1000]).await.unwrap();
            let mut all = [0; 2000];
            visitor.read_exact(&mut all).await.unwrap();
            assert_eq!(all[..1000], [7; 1000]);
            assert_eq!(all[1000..], [8; 1000]);
        }
        server.wait_for_clients(1).await;
        for _ in 0..20 {
            let mut visitor = TcpStream::connect(server.public()).await.unwrap();
            let mut name = [0];
            visitor.read_exact(&mut name).await.unwrap();
            assert_eq!(&name, b"b", "a dead client gets no visitors");
        }
    });
}

#[test]
fn a_visitor_of_an_empty_group_is_served_by_who_comes_in_time_or_reset() {
    run_by_each(|config| async move {
        let server = RunningServer::start(config).await;
        let mut early = TcpStream::connect(server.public()).await.unwrap();
        let error = read_until_broken(&mut early).await;
        assert!(is_reset(&error), "{error}");
        assert_eq!(server.metrics.session_outcomes.count("no_target"), 1);

        let mut patient = TcpStream::connect(server.public()).await.unwrap();
        until(|| server.metrics.sessions.get() == 1).await;
        let _client = server.client("a", named("here").await);
        let mut answer = [0; 4];
        patient.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"here");
    });
}
