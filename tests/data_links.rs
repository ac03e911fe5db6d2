//! How data links come to be: who is asked for one, what a ticket is good for, and what a client opens.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod support;

use adit::{
    env::{Env, Stop},
    id::ProxyConnId,
    link::{
        self, LINKS_MAX,
        connect::{Identity, register},
        framed::Framed,
    },
    session::Overflow,
    time,
    wire::{
        codec::Head,
        handshake::{Greeted, Registered},
        message::{
            FEATURE_MUX, Granted, NewProxyConn, ProxyConnFailed, Register, RequestNewProxyConn, ResetCode,
            ToClient, ToServer, Upstream,
        },
        preamble::Purpose,
        proof::Token,
    },
};
use serde_bytes::ByteBuf;
use support::{RunningClient, RunningServer, TOKEN, any_port, client_config, nowhere, run, server_config};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A client that does nothing by itself.
struct Puppet {
    framed: Framed,
    registered: Registered,
}

impl Puppet {
    async fn register(server: &RunningServer) -> Self {
        let (_stopper, stop) = Stop::channel();
        let env = Env::production(stop);
        let identity = Identity {
            client_id: "a".to_owned(),
            group: "default".to_owned(),
            upstreams: vec![Upstream {
                name: "main".to_owned(),
                ..Upstream::default()
            }],
            instance: [1; 16],
            token: Token::new(TOKEN).unwrap(),
        };
        let control = server.addresses.control.to_string();
        let (framed, registered) = register(&env, &control, &identity, None, &link::Options::default())
            .await
            .unwrap();
        Self { framed, registered }
    }

    /// The tickets of the next request for connections of this purpose.
    async fn requested(&mut self, purpose: Purpose) -> Vec<ProxyConnId> {
        loop {
            let head = self.framed.read_head().await.unwrap();
            if let Ok(Some(ToClient::RequestNewProxyConn(request))) = head.message()
                && request.purpose == purpose as u8
            {
                let ids = request.ids.iter();
                return ids
                    .map(|id| ProxyConnId::new(id.as_slice().try_into().unwrap()))
                    .collect();
            }
        }
    }

    async fn decline(&mut self, ticket: ProxyConnId) {
        let id = ByteBuf::from(*ticket.bytes());
        let code = ResetCode::Unreachable.code();
        self.framed
            .queue(0, &ToServer::ProxyConnFailed(ProxyConnFailed { id, code }));
        self.framed.flush().await.unwrap();
    }

    /// Opens a connection of this purpose for a ticket; whether it was accepted.
    async fn open(&self, server: &RunningServer, purpose: Purpose, ticket: ProxyConnId) -> bool {
        let (epoch, key) = (self.registered.epoch, &self.registered.key);
        let stream = TcpStream::connect(server.addresses.proxy).await.unwrap();
        let mut framed = Framed::new(Box::new(stream), 0);
        framed.queue_raw(&purpose.preamble());
        let new = NewProxyConn {
            client_id: "a".to_owned(),
            boot: epoch.boot(),
            counter: epoch.counter(),
            proxy_conn_id: ByteBuf::from(*ticket.bytes()),
            mac: ByteBuf::from(key.conn_proof(purpose, epoch, ticket)),
        };
        framed.queue(0, &ToServer::NewProxyConn(new));
        framed.flush().await.unwrap();
        let Ok(head) = framed.read_head().await else {
            return false;
        };
        let Ok(Some(ToClient::ProxyConnReady(ready))) = head.message() else {
            panic!("a proof or the end was expected");
        };
        assert_eq!(ready.mac, key.ready_proof(purpose, epoch, ticket));
        true
    }
}

#[test]
fn a_client_is_asked_for_a_data_link_until_one_is_there() {
    run(|| async {
        let server = RunningServer::start(server_config()).await;
        let mut puppet = Puppet::register(&server).await;
        let granted = puppet.registered.granted.clone();
        assert_eq!((granted.window, granted.max_streams), (65_536, 1_024));
        let mut ticket = puppet.requested(Purpose::Link).await;
        for _ in 0..2 {
            assert_eq!(ticket.len(), 1, "one data link is wanted");
            puppet.decline(ticket[0]).await;
            let next = puppet.requested(Purpose::Link).await;
            assert!(
                !puppet.open(&server, Purpose::Link, ticket[0]).await,
                "it was given back"
            );
            ticket = next;
        }
        let ticket = ticket[0];
        assert!(
            !puppet.open(&server, Purpose::Proxy, ticket).await,
            "it is for a data link"
        );
        assert!(puppet.open(&server, Purpose::Link, ticket).await);
        assert!(
            !puppet.open(&server, Purpose::Link, ticket).await,
            "it is good once"
        );
        support::until(|| server.metrics.handshake_failures.count("claim") == 4).await;
    });
}

#[test]
fn a_ticket_of_the_pool_opens_no_data_link() {
    run(|| async {
        let mut config = server_config();
        config.entries[0].session.overflow = Overflow::Wait;
        let server = RunningServer::start(config).await;
        let mut puppet = Puppet::register(&server).await;
        let head = puppet.framed.read_head().await.unwrap();
        let Ok(Some(ToClient::RequestNewProxyConn(request))) = head.message() else {
            panic!("the pool asks");
        };
        assert_eq!(
            request.purpose,
            Purpose::Proxy as u8,
            "no session would use a data link"
        );
        let ticket = ProxyConnId::new(request.ids[0].as_slice().try_into().unwrap());
        assert!(!puppet.open(&server, Purpose::Link, ticket).await);
        assert!(puppet.open(&server, Purpose::Proxy, ticket).await);
    });
}

/// A server that only registers its client, and what it has to say of itself.
async fn admit(listener: &TcpListener, granted: Granted) -> (Framed, Register) {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.read_exact(&mut [0; 8]).await.unwrap();
    let mut framed = Framed::new(Box::new(stream), 0);
    let head = framed.read_head().await.unwrap();
    let (challenging, challenge) = Greeted::handle_register(&head).unwrap().challenge([7; 32], &[]);
    let register = challenging.register.clone();
    framed.queue_raw(&challenge);
    framed.flush().await.unwrap();
    let head = framed.read_head().await.unwrap();
    let token = Token::new(TOKEN).unwrap();
    let (_, proven) = challenging.handle_proof(&head, token).unwrap();
    framed.queue(0, &proven.grant(granted));
    framed.flush().await.unwrap();
    (framed, register)
}

fn ask(framed: &mut Framed, purpose: u8, count: u8) {
    let ids = (0..count).map(|n| ByteBuf::from([n; 16])).collect();
    framed.queue(
        0,
        &ToClient::RequestNewProxyConn(RequestNewProxyConn { ids, purpose }),
    );
}

/// The tickets that the client says it will not use, of so many.
async fn declined(framed: &mut Framed, count: usize) -> Vec<(u8, ResetCode)> {
    let mut declined = Vec::new();
    while declined.len() < count {
        let head: Head = framed.read_head().await.unwrap();
        match head.message().unwrap() {
            Some(ToServer::ProxyConnFailed(failed)) => declined.push((failed.id[0], failed.code.into())),
            Some(ToServer::Heartbeat(_)) => {}
            other => panic!("not expected: {other:?}"),
        }
    }
    declined
}

#[test]
fn a_client_opens_so_many_data_links_and_nothing_it_does_not_know() {
    run(|| async {
        let control = TcpListener::bind(any_port()).await.unwrap();
        let proxy = TcpListener::bind(any_port()).await.unwrap();
        let config = client_config("a", control.local_addr().unwrap(), nowhere().await);
        let _client = RunningClient::start(config);
        let granted = Granted {
            boot: 1,
            counter: 1,
            proxy_port: proxy.local_addr().unwrap().port(),
            heartbeat_ms: 60_000,
            ..Granted::default()
        };
        let (mut framed, register) = admit(&control, granted).await;
        assert_eq!(register.features, [FEATURE_MUX]);

        for unknown in [0, Purpose::Control as u8, 4, u8::MAX] {
            ask(&mut framed, unknown, 2);
            framed.flush().await.unwrap();
            let none = ResetCode::Unreachable;
            assert_eq!(declined(&mut framed, 2).await, [(0, none), (1, none)]);
        }

        // As many as there may be, and as many that were replaced.
        let links = u8::try_from(2 * LINKS_MAX).unwrap();
        ask(&mut framed, Purpose::Link as u8, links + 2);
        framed.flush().await.unwrap();
        let full = ResetCode::Overload;
        assert_eq!(declined(&mut framed, 2).await, [(links, full), (links + 1, full)]);
        // The others stay open as long as nobody answers them.
        let mut opened = Vec::new();
        for _ in 0..links {
            let (mut stream, _) = proxy.accept().await.unwrap();
            let mut preamble = [0; 8];
            stream.read_exact(&mut preamble).await.unwrap();
            assert_eq!(Purpose::parse(&preamble), Ok(Purpose::Link));
            opened.push(stream);
        }
        // One that is closed makes room for another.
        opened.pop().unwrap().shutdown().await.unwrap();
        assert_eq!(declined(&mut framed, 1).await[0].1, ResetCode::Unreachable);
        let began = time::now();
        ask(&mut framed, Purpose::Link as u8, 1);
        framed.flush().await.unwrap();
        proxy.accept().await.unwrap();
        assert!(time::now() - began < link::Options::default().handshake_timeout);
    });
}
