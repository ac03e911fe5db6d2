//! A tunnel on real sockets, inside one test: server, clients and upstreams on ports that the system picks.

#![allow(dead_code, reason = "each test file uses the part it needs")]

pub mod http;
pub mod memory;
mod mortal;
mod service;
mod speech;
pub mod web;

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc};

use adit::{
    admin::needs::Needs,
    backoff,
    candidates::Candidate,
    config::{ClientConfig, Drain, GroupConfig, Limits, Logging, ServerConfig, UpstreamConfig},
    entry,
    env::{Env, Stop, Stopper},
    id::{ClientId, EntryName, GroupName, UpstreamName},
    link,
    metrics::Metrics,
    pool, prober,
    registry::{self, auth::Auth},
    role::{
        client,
        server::{Addresses, Server},
    },
    selector,
    session::{self, Carriage},
    time::{self, Duration},
    wire::proof::Token,
};
#[allow(unused_imports, reason = "each test file uses the part it needs")]
pub use mortal::Mortal;
#[allow(unused_imports, reason = "each test file uses the part it needs")]
pub use service::{Service, answer, ask};
#[allow(unused_imports, reason = "each test file uses the part it needs")]
pub use speech::Speech;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, LocalSet},
};

/// The secret of every test.
pub const TOKEN: &str = "a token that is long enough";

/// Runs a test the way `main` runs a role: control on this thread, bytes on two workers. A test that hangs
/// fails after a minute.
pub fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    run_on(2, test);
}

/// The same on so many workers; on one, tasks that were spawned together run in that order.
pub fn run_on<F: Future<Output = ()>>(workers: usize, test: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .unwrap();
    let local = LocalSet::new();
    let done = local.run_until(async { time::within(Duration::from_secs(60), test()).await });
    runtime.block_on(done).expect("the test ends within a minute");
}

pub fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub fn group(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

/// Upstreams see nobody but those who are sent to them.
pub fn unprobed() -> GroupConfig {
    let mut group = GroupConfig::default();
    group.probing.kind = prober::Kind::Off;
    group
}

/// A server's configuration: any ports, nobody is probed, one entry `public` for the group `default`.
pub fn server_config() -> ServerConfig {
    ServerConfig {
        control: any_port(),
        proxy: any_port(),
        proxy_advertise: None,
        entries: vec![entry::Options {
            name: EntryName::new("public").unwrap(),
            listen: any_port(),
            group: group("default"),
            session: patient(),
            kind: entry::Kind::Tcp,
        }],
        rules: Vec::new(),
        auth: Auth::single(Token::new(TOKEN).unwrap()),
        groups: BTreeMap::from([(group("default"), unprobed())]),
        registry: registry::Options::default(),
        link: link::Options::default(),
        limits: Limits::default(),
        admin: None,
        ready: Needs::default(),
        metrics: None,
        drain: Drain::default(),
        logging: Logging::default(),
    }
}

/// The same, with every session on a stream of a data link.
pub fn mux_config() -> ServerConfig {
    let mut config = server_config();
    config.entries[0].session.carry = Carriage::Mux;
    config
}

/// Runs a test once for each kind of connection that may carry a session.
pub fn run_by_each<F: Future<Output = ()>>(test: impl Fn(ServerConfig) -> F) {
    for config in [server_config(), mux_config()] {
        eprintln!("carried: {:?}", config.entries[0].session.carry);
        run(|| test(config));
    }
}

/// The default, but a busy test machine is not taken for a dead client.
pub fn patient() -> session::Options {
    session::Options {
        answer_timeout: Duration::from_secs(10),
        start_timeout: Duration::from_secs(30),
        ..session::Options::default()
    }
}

/// Keeps between `min` and `max` proxy connections per client in the group `default`.
pub fn with_pool(mut config: ServerConfig, min: usize, max: usize) -> ServerConfig {
    let pool = pool::Options {
        min,
        max,
        ..pool::Options::default()
    };
    let balance = selector::Strategy::default();
    config.groups.insert(
        group("default"),
        GroupConfig {
            balance,
            pool,
            ..unprobed()
        },
    );
    config
}

/// A running server; dropping it does not stop it, its `stopper` does.
pub struct RunningServer {
    pub addresses: Addresses,
    pub metrics: Arc<Metrics>,
    pub stopper: Stopper,
    pub task: JoinHandle<()>,
    /// Sessions ride on data links.
    mux: bool,
}

impl RunningServer {
    pub async fn start(config: ServerConfig) -> Self {
        let (stopper, stop) = Stop::channel();
        let env = Env::production(stop);
        let metrics = Arc::clone(&env.metrics);
        let mux = config
            .entries
            .iter()
            .any(|entry| entry.session.carry == Carriage::Mux);
        let server = Server::bind(config, env).await.unwrap();
        let addresses = server.addresses().clone();
        let task = tokio::task::spawn_local(server.run());
        Self {
            addresses,
            metrics,
            stopper,
            task,
            mux,
        }
    }

    /// Where visitors connect.
    pub fn public(&self) -> SocketAddr {
        self.addresses.entries[0]
    }

    /// Waits until exactly `count` clients are registered, each with a data link where sessions ride on those.
    pub async fn wait_for_clients(&self, count: i64) {
        let links = if self.mux { count } else { 0 };
        until(|| self.metrics.clients.get() == count && self.metrics.data_links.get() >= links).await;
    }

    /// Starts a client of this server with one upstream `main`.
    pub fn client(&self, id: &str, target: SocketAddr) -> RunningClient {
        RunningClient::start(client_config(id, self.addresses.control, target))
    }
}

pub fn client_config(id: &str, control: SocketAddr, target: SocketAddr) -> ClientConfig {
    ClientConfig {
        client_id: ClientId::new(id).unwrap(),
        group: group("default"),
        servers: vec![control.to_string()],
        token: Token::new(TOKEN).unwrap(),
        upstreams: vec![UpstreamConfig::new(
            UpstreamName::new("main").unwrap(),
            group("default"),
            vec![Candidate::at(&target.to_string())],
        )],
        link: link::Options::default(),
        backoff: backoff::Options::default(),
        admin: None,
        metrics: None,
        drain: Drain::default(),
        logging: Logging::default(),
    }
}

/// A running client.
pub struct RunningClient {
    pub metrics: Arc<Metrics>,
    pub stopper: Stopper,
    pub task: JoinHandle<()>,
}

impl RunningClient {
    pub fn start(config: ClientConfig) -> Self {
        let (stopper, stop) = Stop::channel();
        let env = Env::production(stop);
        let metrics = Arc::clone(&env.metrics);
        let task = tokio::task::spawn_local(async { client::run(config, env).await.unwrap() });
        Self {
            metrics,
            stopper,
            task,
        }
    }
}

/// A listener whose queue is full: whoever connects to it hears nothing. With what keeps it full.
#[cfg(target_os = "linux")]
pub async fn full_queue() -> (SocketAddr, impl Sized) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(any_port()).unwrap();
    let listener = socket.listen(1).unwrap();
    let target = listener.local_addr().unwrap();
    // As many as a queue of one takes.
    let first = TcpStream::connect(target).await.unwrap();
    let second = TcpStream::connect(target).await.unwrap();
    (target, (listener, first, second))
}

/// Polls a condition that other tasks bring about; the test's own deadline ends a wait in vain.
pub async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        time::sleep(Duration::from_millis(2)).await;
    }
}

/// Starts an upstream that serves each connection with `serve`.
pub async fn upstream<F, Fut>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(any_port()).await.unwrap();
    let address = listener.local_addr().unwrap();
    serve_each(listener, serve);
    address
}

/// Serves each connection of `listener` with `serve`.
pub fn serve_each<F, Fut>(listener: TcpListener, serve: F)
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(serve(stream));
        }
    });
}

/// An upstream that sends back what it gets, until the end.
pub async fn echo() -> SocketAddr {
    upstream(send_back).await
}

/// Sends back what `stream` brings, until the end.
pub async fn send_back(mut stream: TcpStream) {
    let (mut read, mut write) = stream.split();
    let _ = tokio::io::copy(&mut read, &mut write).await;
    let _ = write.shutdown().await;
}

/// An upstream that says its name once and closes.
pub async fn named(name: &'static str) -> SocketAddr {
    upstream(move |mut stream| async move {
        let _ = stream.write_all(name.as_bytes()).await;
        let _ = stream.shutdown().await;
        let _ = stream.read(&mut [0; 64]).await;
    })
    .await
}

/// One visitor: sends `request`, ends its direction, returns the whole answer.
pub async fn visit(public: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(public).await?;
    stream.write_all(request).await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Whether this is the end of a stream that was reset.
pub fn is_reset(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset
}

/// Ends `stream` so that its peer sees a reset.
pub fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

/// Reads until the stream breaks.
///
/// # Panics
/// When it ends cleanly.
pub async fn read_until_broken(stream: &mut TcpStream) -> io::Error {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => panic!("a broken session must not look finished"),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

/// An address where nobody listens.
pub async fn nowhere() -> SocketAddr {
    TcpListener::bind(any_port()).await.unwrap().local_addr().unwrap()
}
