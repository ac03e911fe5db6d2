//! The forwarders under test, all with one upstream, on loopback.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Command,
};

use crate::program::{Program, config_file, free_addresses};

/// Threads of haproxy, and processes of nginx.
const WORKERS: usize = 2;

/// Connections of haproxy, and of each process of nginx: more than any measurement opens at once.
const CONNECTIONS_MAX: usize = 4096;

/// Starts adit once for each of `adits` (its name, and lines for its configuration file), then haproxy and nginx,
/// and last the upstream by itself, which is the floor. Says which of them is left out, and why.
pub async fn start(upstream: SocketAddr, adits: &[(&'static str, &str)]) -> Vec<Program> {
    let mut started = Vec::new();
    for (name, extra) in adits {
        started.push(adit(name, upstream, extra).await);
    }
    started.push(haproxy(upstream).await);
    started.push(nginx(upstream).await);
    started.push(Program::start("direct", upstream, [], None).await);
    started
        .into_iter()
        .filter_map(|program| program.map_err(|why| println!("{why}: left out")).ok())
        .collect()
}

/// This build of Adit, with its defaults and the lines of `extra`.
async fn adit(name: &'static str, upstream: SocketAddr, extra: &str) -> Result<Program, String> {
    let [public, metrics] = free_addresses(Ipv4Addr::LOCALHOST.into());
    let (folder, config) = config_file(
        "adit.yaml",
        &format!(
            "server: {{ listen_addr: \"{public}\" }}\n\
             candidates: {{ addresses: [\"{upstream}\"] }}\n\
             metrics: {{ listen: \"{metrics}\" }}\n{extra}\n"
        ),
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_adit"));
    command.args(["forward", "-c"]).arg(&config);
    Program::start(name, public, [command], Some(folder)).await
}

/// The haproxy on the PATH, in TCP mode. Its `option splice-auto` is left off: it changed none of the figures.
async fn haproxy(upstream: SocketAddr) -> Result<Program, String> {
    let [public] = free_addresses(Ipv4Addr::LOCALHOST.into());
    let (folder, config) = config_file(
        "haproxy.cfg",
        &format!(
            "global\n  nbthread {WORKERS}\n  maxconn {CONNECTIONS_MAX}\n\
             defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             listen bench\n  bind {public}\n  server upstream {upstream}\n"
        ),
    );
    let mut command = Command::new("haproxy");
    command.args(["-q", "-db", "-f"]).arg(&config);
    Program::start("haproxy", public, [command], Some(folder)).await
}

/// The nginx on the PATH, with its stream module.
async fn nginx(upstream: SocketAddr) -> Result<Program, String> {
    let [public] = free_addresses(Ipv4Addr::LOCALHOST.into());
    let module = nginx_stream_module();
    let (folder, config) = config_file(
        "nginx.conf",
        &format!(
            "{module}daemon off;\nworker_processes {WORKERS};\npid nginx.pid;\n\
             events {{ worker_connections {CONNECTIONS_MAX}; }}\n\
             stream {{ server {{ listen {public}; proxy_pass {upstream}; }} }}\n"
        ),
    );
    let mut command = Command::new("nginx");
    command
        .args(["-e", "stderr", "-p"])
        .arg(folder.path())
        .arg("-c")
        .arg(&config);
    Program::start("nginx", public, [command], Some(folder)).await
}

/// The line that loads the stream module, where nginx was built without it inside.
fn nginx_stream_module() -> String {
    let built = Command::new("nginx").arg("-V").output();
    let built = built.map_or_else(
        |_| String::new(),
        |said| String::from_utf8_lossy(&said.stderr).into_owned(),
    );
    let words = || built.split_whitespace();
    let folder = words().find_map(|word| word.strip_prefix("--modules-path="));
    match folder {
        Some(folder) if words().any(|word| word == "--with-stream=dynamic") => {
            format!("load_module {folder}/ngx_stream_module.so;\n")
        }
        _ => String::new(),
    }
}
