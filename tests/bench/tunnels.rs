//! The tunnels under test.

use std::{net::SocketAddr, process::Command};

use crate::program::{Program, config_file, free_addresses};

/// This build of Adit, on loopback without a secret.
///
/// # Errors
/// See [`Program::start`].
pub async fn adit(upstream: SocketAddr) -> Result<Program, String> {
    let [control, proxy, public] = free_addresses();
    let mut server = Command::new(env!("CARGO_BIN_EXE_adit"));
    server
        .arg("server")
        .args(["--control-port", &control.port().to_string()])
        .args(["--proxy-port", &proxy.port().to_string()])
        .args(["--public-port", &public.port().to_string()]);
    let mut client = Command::new(env!("CARGO_BIN_EXE_adit"));
    client
        .args(["client", "--client-id", "a"])
        .args(["--server", &control.to_string()])
        .args(["--local", &upstream.to_string()]);
    Program::start("adit", public, [server, client], None).await
}

/// The rathole on the PATH, plain TCP, with its default settings.
///
/// # Errors
/// See [`Program::start`].
pub async fn rathole(upstream: SocketAddr) -> Result<Program, String> {
    let [control, public] = free_addresses();
    let (folder, config) = config_file(
        "rathole.toml",
        &format!(
            "[server]\nbind_addr = \"{control}\"\ndefault_token = \"bench\"\n\
             [server.services.bench]\nbind_addr = \"{public}\"\n\
             [client]\nremote_addr = \"{control}\"\ndefault_token = \"bench\"\n\
             [client.services.bench]\nlocal_addr = \"{upstream}\"\n"
        ),
    );
    let [server, client] = ["--server", "--client"].map(|role| {
        let mut command = Command::new("rathole");
        command.arg(role).arg(&config);
        command
    });
    Program::start("rathole", public, [server, client], Some(folder)).await
}
