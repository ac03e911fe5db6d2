//! The tunnels under test, as child processes.

use std::{
    io::Write,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use adit::time::{self, Duration};
use tokio::net::TcpStream;

/// A server and a client, running.
pub struct Tunnel {
    /// What it is.
    pub name: &'static str,
    /// Where visitors connect.
    pub public: SocketAddr,
    children: Vec<Child>,
    _config: Option<tempfile::NamedTempFile>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Tunnel {
    /// This build of Adit, on loopback without a secret.
    pub async fn adit(upstream: SocketAddr) -> Self {
        let [control, proxy, public] = free_ports();
        let run = |args: &[&str]| {
            Command::new(env!("CARGO_BIN_EXE_adit"))
                .args(args)
                .stdout(Stdio::null())
                .spawn()
                .expect("adit starts")
        };
        let server = run(&[
            "server",
            "--control-port",
            &control.to_string(),
            "--proxy-port",
            &proxy.to_string(),
            "--public-port",
            &public.to_string(),
        ]);
        let server_address = format!("127.0.0.1:{control}");
        let client = run(&[
            "client",
            "--client-id",
            "a",
            "--server",
            &server_address,
            "--local",
            &upstream.to_string(),
        ]);
        Self::up("adit", public, vec![server, client], None).await
    }

    /// The rathole on the PATH, plain TCP, with its default settings.
    pub async fn rathole(upstream: SocketAddr) -> Option<Self> {
        let [control, public, _] = free_ports();
        let mut config = tempfile::Builder::new()
            .suffix(".toml")
            .tempfile()
            .expect("a temporary file");
        write!(
            config,
            "[server]\nbind_addr = \"127.0.0.1:{control}\"\ndefault_token = \"bench\"\n\
             [server.services.bench]\nbind_addr = \"127.0.0.1:{public}\"\n\
             [client]\nremote_addr = \"127.0.0.1:{control}\"\ndefault_token = \"bench\"\n\
             [client.services.bench]\nlocal_addr = \"{upstream}\"\n"
        )
        .expect("a temporary file takes a few lines");
        let run = |role| {
            Command::new("rathole")
                .arg(role)
                .arg(config.path())
                .stdout(Stdio::null())
                .spawn()
                .ok()
        };
        let server = run("--server")?;
        let client = run("--client")?;
        Some(Self::up("rathole", public, vec![server, client], Some(config)).await)
    }

    async fn up(
        name: &'static str,
        port: u16,
        children: Vec<Child>,
        config: Option<tempfile::NamedTempFile>,
    ) -> Self {
        let public = SocketAddr::from(([127, 0, 0, 1], port));
        let tunnel = Self {
            name,
            public,
            children,
            _config: config,
        };
        let served = async {
            while !matches!(answers(public).await, Ok(true)) {
                time::sleep(Duration::from_millis(50)).await;
            }
        };
        time::within(Duration::from_secs(20), served)
            .await
            .expect("the tunnel comes up");
        tunnel
    }

    /// CPU seconds that its processes have used, in user and system mode.
    pub fn cpu_seconds(&self) -> f64 {
        self.children.iter().map(|child| cpu_seconds(child.id())).sum()
    }
}

async fn answers(public: SocketAddr) -> std::io::Result<bool> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(public).await?;
    stream.write_all(&[b's'; 64]).await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    Ok(reply.len() == 64)
}

/// Ports that were free a moment ago: neither program can be asked for the port it took.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("a bound listener").port())
}

/// Fields 14 and 15 of `/proc/PID/stat`, in ticks of 1/100 s.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |n: usize| {
        fields
            .get(n)
            .and_then(|field| field.parse::<f64>().ok())
            .unwrap_or_default()
    };
    (ticks(11) + ticks(12)) / 100.0
}
