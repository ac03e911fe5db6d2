//! Those who knock at the server's ports without being clients: closed in time, counted by reason.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use std::net::SocketAddr;

use adit::{
    config::{Limits, ServerConfig},
    time::{self, Duration},
    wire::{
        codec::encode,
        frame::Prefix,
        message::{Heartbeat, NewProxyConn, Register, ToServer},
        preamble::Purpose,
    },
};
use serde_bytes::ByteBuf;
use support::{RunningServer, named, run, server_config, until, visit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const DEADLINE: Duration = Duration::from_millis(300);

fn strict_config() -> ServerConfig {
    let mut config = server_config();
    config.link.handshake_timeout = DEADLINE;
    config
}

/// Says `words`, then waits for the server to close.
async fn knock(address: SocketAddr, words: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may close before everything is said.
    let _ = stream.write_all(words).await;
    while let Ok(1..) = stream.read(&mut [0; 1024]).await {}
}

fn with_preamble(purpose: Purpose, rest: &[u8]) -> Vec<u8> {
    [&purpose.preamble()[..], rest].concat()
}

fn framed(purpose: Purpose, message: &ToServer) -> Vec<u8> {
    let mut bytes = purpose.preamble().to_vec();
    encode(&mut bytes, 0, message);
    bytes
}

fn prefix(kind: u8, header_len: u16, body_len: u32) -> [u8; 12] {
    Prefix {
        header_len,
        body_len,
        ..Prefix::bare(kind, 0)
    }
    .encode()
}

#[test]
fn every_kind_of_nonsense_is_closed_and_counted() {
    run(|| async {
        use Purpose::{Control, Link, Proxy};
        let server = RunningServer::start(strict_config()).await;
        let (control, proxy) = (server.addresses.control, server.addresses.proxy);
        let check = async |address: SocketAddr, words: Vec<u8>, reason: &'static str| {
            let before = server.metrics.handshake_failures.count(reason);
            knock(address, &words).await;
            until(|| server.metrics.handshake_failures.count(reason) == before + 1).await;
        };
        let old_proof = NewProxyConn {
            client_id: "a".to_owned(),
            boot: 1,
            counter: 1,
            proxy_conn_id: ByteBuf::from([1; 16]),
            mac: ByteBuf::from([2; 32]),
        };
        for (address, purpose) in [(control, Control), (proxy, Proxy), (proxy, Link)] {
            check(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "preamble").await;
            check(address, vec![0xff; 100_000], "preamble").await;
            check(address, b"ADIT\x02\x01\0\0".to_vec(), "preamble").await;
            check(
                address,
                with_preamble(purpose, &prefix(1, u16::MAX, 0)),
                "malformed",
            )
            .await;
            check(
                address,
                with_preamble(purpose, &prefix(32, 0, u32::MAX)),
                "malformed",
            )
            .await;
            check(address, with_preamble(purpose, &prefix(200, 0, 0)), "malformed").await;
            check(address, with_preamble(purpose, &[0xff; 2_000]), "malformed").await;
            let beat = ToServer::Heartbeat(Heartbeat::default());
            check(address, framed(purpose, &beat), "unexpected_message").await;
            check(address, b"ADIT".to_vec(), "timeout").await;
            check(address, Vec::new(), "timeout").await;
            check(address, with_preamble(purpose, b"\x01"), "timeout").await;
        }
        check(control, with_preamble(Proxy, b""), "purpose").await;
        check(control, with_preamble(Link, b""), "purpose").await;
        check(proxy, with_preamble(Control, b""), "purpose").await;
        check(
            control,
            framed(Control, &ToServer::Register(Register::default())),
            "bad_nonce",
        )
        .await;
        let greeting = Register {
            nonce: ByteBuf::from([1; 32]),
            ..Register::default()
        };
        check(control, framed(Control, &ToServer::Register(greeting)), "timeout").await;
        for purpose in [Proxy, Link] {
            let nothing = ToServer::NewProxyConn(NewProxyConn::default());
            check(proxy, framed(purpose, &nothing), "claim").await;
            let old_proof = ToServer::NewProxyConn(old_proof.clone());
            check(proxy, framed(purpose, &old_proof), "claim").await;
        }
        assert_eq!(server.metrics.connections_unproven.get(), 0);
        assert_eq!(server.metrics.registrations.get(), 0);
    });
}

#[test]
fn a_stranger_that_drips_is_closed_at_the_deadline() {
    run(|| async {
        let server = RunningServer::start(strict_config()).await;
        for address in [server.addresses.control, server.addresses.proxy] {
            let began = time::now();
            let mut stream = TcpStream::connect(address).await.unwrap();
            // PINGs for ever: each is answered, none moves the deadline.
            let ping = prefix(35, 0, 0);
            let purpose = if address == server.addresses.control {
                Purpose::Control
            } else {
                Purpose::Proxy
            };
            stream.write_all(&purpose.preamble()).await.unwrap();
            while stream.write_all(&ping).await.is_ok() {
                time::sleep(Duration::from_millis(10)).await;
            }
            let took = time::now() - began;
            assert!(took >= DEADLINE && took < DEADLINE * 20, "closed after {took:?}");
        }
        until(|| server.metrics.handshake_failures.count("timeout") == 2).await;
    });
}

#[test]
fn strangers_are_limited_in_number_and_clients_get_in_after_them() {
    run(|| async {
        let config = ServerConfig {
            limits: Limits {
                unproven: 8,
                ..Limits::default()
            },
            ..strict_config()
        };
        let server = RunningServer::start(config).await;
        let mut silent = Vec::new();
        for _ in 0..20 {
            silent.push(TcpStream::connect(server.addresses.control).await.unwrap());
        }
        until(|| server.metrics.connections_refused.count("unproven") == 12).await;
        let _client = server.client("a", named("a").await);
        server.wait_for_clients(1).await;
        assert_eq!(visit(server.public(), b"").await.unwrap(), b"a");
        until(|| server.metrics.handshake_failures.count("timeout") == 8).await;
        until(|| server.metrics.connections_unproven.get() == 0).await;
    });
}

/// Strangers at the server's ports cost its visitors nothing.
#[test]
fn visitors_are_served_while_strangers_knock() {
    run(|| async {
        let server = RunningServer::start(strict_config()).await;
        let _client = server.client("a", named("a").await);
        server.wait_for_clients(1).await;
        let (control, proxy) = (server.addresses.control, server.addresses.proxy);
        let flood = tokio::task::spawn_local(async move {
            loop {
                knock(control, &[0; 64]).await;
                knock(proxy, b"GET / HTTP/1.1\r\n\r\n").await;
            }
        });
        for _ in 0..200 {
            assert_eq!(visit(server.public(), b"").await.unwrap(), b"a");
        }
        flood.abort();
        assert_eq!(server.metrics.links_lost.count("silent"), 0);
        assert_eq!(server.metrics.violations.get(), 0);
    });
}
