//! The tunnels under test, and relays like them.

use std::{
    ffi::OsStr,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Command,
};

use crate::program::{Program, config_file, free_addresses};

/// Where a tunnel is: visitors and server on one side, client and upstream on the other.
pub struct Ground {
    /// Where servers listen, for clients and visitors.
    pub near: IpAddr,
    /// The network namespace of clients; `None` is the servers' own.
    pub far: Option<String>,
    /// What clients lead to.
    pub upstream: SocketAddr,
}

impl Ground {
    /// All on loopback.
    pub fn loopback(upstream: SocketAddr) -> Self {
        let near = Ipv4Addr::LOCALHOST.into();
        Self {
            near,
            far: None,
            upstream,
        }
    }

    /// `program` on the far side. `ip netns exec` becomes the program, so this is one process too.
    pub fn far(&self, program: impl AsRef<OsStr>) -> Command {
        let Some(namespace) = &self.far else {
            return Command::new(program);
        };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(program);
        command
    }
}

/// This build of Adit without a secret, with its defaults and the lines of `extra` for the server.
///
/// # Errors
/// See [`Program::start`].
pub async fn adit(name: &'static str, ground: &Ground, extra: &str) -> Result<Program, String> {
    let [control, proxy, public] = free_addresses(ground.near);
    let (folder, config) = config_file(
        "server.yaml",
        &format!(
            "bind: {}\ncontrol: {{ port: {} }}\nproxy: {{ port: {} }}\npublic: {{ port: {} }}\n\
             admin: {{ listen: off }}\n{extra}\n",
            ground.near,
            control.port(),
            proxy.port(),
            public.port(),
        ),
    );
    let adit = env!("CARGO_BIN_EXE_adit");
    let mut server = Command::new(adit);
    server.args(["server", "--insecure", "-c"]).arg(&config);
    let mut client = ground.far(adit);
    client
        .args(["client", "--client-id", "a"])
        .args(["--server", &control.to_string()])
        .args(["--local", &ground.upstream.to_string()]);
    Program::start(name, public, [server, client], Some(folder)).await
}

/// The rathole on the PATH, plain TCP, with its default settings.
///
/// # Errors
/// See [`Program::start`].
pub async fn rathole(ground: &Ground) -> Result<Program, String> {
    let [control, public] = free_addresses(ground.near);
    let (folder, config) = config_file(
        "rathole.toml",
        &format!(
            "[server]\nbind_addr = \"{control}\"\ndefault_token = \"bench\"\n\
             [server.services.bench]\nbind_addr = \"{public}\"\n\
             [client]\nremote_addr = \"{control}\"\ndefault_token = \"bench\"\n\
             [client.services.bench]\nlocal_addr = \"{}\"\n",
            ground.upstream
        ),
    );
    let mut server = Command::new("rathole");
    server.arg("--server").arg(&config);
    let mut client = ground.far("rathole");
    client.arg("--client").arg(&config);
    Program::start("rathole", public, [server, client], Some(folder)).await
}
