//! The demo: a server, two clients and two tiny HTTP upstreams in one process, on loopback.

use std::{cell::Cell, collections::BTreeMap, io, net::SocketAddr, rc::Rc, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::{JoinHandle, LocalSet},
};

use super::{StartError, client, server::Server};
use crate::{
    admin::needs::Needs,
    backoff,
    candidates::Candidate,
    config::{ClientConfig, Drain, Limits, Logging, ServerConfig, UpstreamConfig},
    entry,
    env::{Env, Stop, StopPhase},
    id::{ClientId, EntryName, GroupName, UpstreamName},
    link,
    registry::{self, auth::Auth},
    session,
    time::{self, Duration},
    transport::Stream,
    wire::proof::Token,
};

/// Writes a line to standard output. Unlike `println!` it does not panic when nobody reads.
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(io::stdout(), $($line)*);
    }};
}

/// The names of the demo's clients, and of what answers behind each.
const NAMES: [&str; 2] = ["amber", "beryl"];

/// Requests before and after one client is killed.
const REQUESTS: usize = 10;

/// How long one request may take, and how long everything may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest request head a sample upstream reads.
const REQUEST_LEN_MAX: usize = 16 * 1024;

/// What to show.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Make the requests, kill a client, make them again, and end.
    pub once: bool,
    /// The public port; 0 takes any free one.
    pub port: u16,
}

/// Why the demo could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A sample upstream did not start.
    #[error("cannot start a sample upstream: {0}")]
    Upstream(#[from] io::Error),
    /// The clients did not register.
    #[error("the clients did not register within {PATIENCE:?}")]
    NotRegistered,
}

/// A client of the demo: everything it is made of dies with it.
struct DemoClient {
    name: &'static str,
    task: JoinHandle<()>,
}

impl Drop for DemoClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Shows the demo. Says whether every request was answered. Must run inside a `LocalSet`.
///
/// # Errors
/// [`DemoError`] when it could not begin.
pub async fn run(options: Options, env: Env) -> Result<bool, DemoError> {
    let server = Server::bind(server_config(options.port), env.clone()).await?;
    let addresses = server.addresses().clone();
    let public = addresses.entries[0];
    let mut stop = env.stop.clone();
    let server = tokio::task::spawn_local(server.run());

    let visitors = Rc::new(Cell::new(0));
    let mut clients = Vec::new();
    for name in NAMES {
        let upstream = start_upstream(&env, name, Rc::clone(&visitors), !options.once).await?;
        say!("  upstream {name:<6} http://{upstream}");
        clients.push(start_client(&env, name, addresses.control, upstream));
    }
    say!("  control port    {}", addresses.control);
    say!("  proxy port      {}", addresses.proxy);
    say!("  public port     {public}");
    let all = i64::try_from(NAMES.len()).unwrap_or(i64::MAX);
    wait_for_clients(&env, all)
        .await
        .ok_or(DemoError::NotRegistered)?;
    say!("Two clients, {} and {}, are registered.\n", NAMES[0], NAMES[1]);

    let all_answered = if options.once {
        once(&env, public, clients).await
    } else {
        say!(
            "Try it, a few times:\n\n    curl http://{public}/\n\nEach visitor goes to a client at random. Ctrl-C ends the demo.\n"
        );
        stop.reached(StopPhase::Draining).await;
        true
    };
    server.abort();
    Ok(all_answered)
}

fn group() -> GroupName {
    GroupName::new("default").expect("the demo's names are legal")
}

/// A loopback server without a secret: any ports but the public one.
fn server_config(public_port: u16) -> ServerConfig {
    let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let public = entry::Options {
        name: EntryName::new("public").expect("the demo's names are legal"),
        listen: loopback(public_port),
        group: group(),
        session: session::Options::default(),
        kind: entry::Kind::Tcp,
    };
    ServerConfig {
        control: loopback(0),
        proxy: loopback(0),
        proxy_advertise: None,
        entries: vec![public],
        rules: Vec::new(),
        auth: Auth::single(Token::anonymous()),
        groups: BTreeMap::new(),
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

fn client_config(name: &str, control: SocketAddr, upstream: SocketAddr) -> ClientConfig {
    let main = UpstreamName::new("main").expect("the demo's names are legal");
    let upstream = UpstreamConfig::new(main, group(), vec![Candidate::at(&upstream.to_string())]);
    ClientConfig {
        client_id: ClientId::new(name).expect("the demo's names are legal"),
        group: group(),
        servers: vec![control.to_string()],
        token: Token::anonymous(),
        upstreams: vec![upstream],
        link: link::Options::default(),
        backoff: backoff::Options::default(),
        admin: None,
        metrics: None,
        drain: Drain::default(),
        logging: Logging::default(),
    }
}

/// Ten requests, a death, ten more.
async fn once(env: &Env, public: SocketAddr, mut clients: Vec<DemoClient>) -> bool {
    let before = ask_all(env, public).await;
    let Some(victim) = clients.pop() else {
        return false;
    };
    say!("Killing client {}.", victim.name);
    drop(victim);
    let after = ask_all(env, public).await;
    let failed = before + after;
    match failed {
        0 => say!("None of {} requests failed.", 2 * REQUESTS),
        n => say!("{n} of {} requests FAILED.", 2 * REQUESTS),
    }
    failed == 0
}

/// Makes ten requests, prints who answered, returns how many failed.
async fn ask_all(env: &Env, public: SocketAddr) -> usize {
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    let mut failed = 0;
    for _ in 0..REQUESTS {
        match time::within(PATIENCE, ask(env, public)).await {
            Some(Ok(name)) => *answers.entry(name).or_default() += 1,
            Some(Err(error)) => {
                say!("  request failed: {error}");
                failed += 1;
            }
            None => {
                say!("  request failed: no answer within {PATIENCE:?}");
                failed += 1;
            }
        }
    }
    let who: Vec<_> = answers
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    say!("{REQUESTS} requests; answered by: {}", who.join(", "));
    failed
}

/// One request; returns the name in the answer.
async fn ask(env: &Env, public: SocketAddr) -> io::Result<String> {
    let mut stream = env.transport.connect(public).await?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let name = answer.lines().find_map(|line| line.strip_prefix("X-Served-By: "));
    name.map(str::to_owned)
        .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no complete answer"))
}

async fn wait_for_clients(env: &Env, count: i64) -> Option<()> {
    let registered = async {
        while env.metrics.clients.get() < count {
            time::sleep(Duration::from_millis(5)).await;
        }
    };
    time::within(PATIENCE, registered).await
}

/// Starts a client with a `LocalSet` of its own, so that killing it is as abrupt as killing a process.
fn start_client(env: &Env, name: &'static str, control: SocketAddr, upstream: SocketAddr) -> DemoClient {
    let (stopper, stop) = Stop::channel();
    let env = Env {
        stop,
        metrics: Arc::default(),
        ..env.clone()
    };
    let config = client_config(name, control, upstream);
    let task = tokio::task::spawn_local(async move {
        let _stopper = stopper;
        if let Err(error) = LocalSet::new().run_until(client::run(config, env)).await {
            say!("  client {name} did not start: {error}");
        }
    });
    DemoClient { name, task }
}

/// Starts a tiny HTTP server that answers every request with its own name.
async fn start_upstream(
    env: &Env,
    name: &'static str,
    visitors: Rc<Cell<u64>>,
    announce: bool,
) -> io::Result<SocketAddr> {
    let mut listener = env
        .transport
        .listen(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await?;
    let address = listener.local_addr();
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let visitor = visitors.replace(visitors.get() + 1) + 1;
            tokio::task::spawn_local(async move {
                if announce {
                    say!("  visitor {visitor} was served by client {name}");
                }
                // A visitor that leaves in the middle of its own request is no news.
                let _ = time::within(PATIENCE, answer(stream, name, visitor)).await;
            });
        }
    });
    Ok(address)
}

async fn answer(mut stream: Box<dyn Stream>, name: &str, visitor: u64) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        if request.len() > REQUEST_LEN_MAX || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let body = format!("Hello, visitor {visitor}. This is {name}, reached through an adit.\n");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nX-Served-By: {name}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await?;
    // Reading to the end keeps an early close from turning into a reset.
    while stream.read(&mut [0; 512]).await? > 0 {}
    Ok(())
}
