//! What a session that waits costs in memory.

use std::{fs, process::Child};

use adit::time::{self, Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    compare::from_env,
    program::Program,
    tunnels::{self, Ground},
    upstream::{HOLD, MESSAGE_LEN},
};

/// Sessions that are opened at once: bursts are measured elsewhere.
const AT_ONCE: usize = 100;

/// Before memory is looked at: longer than a window stays grown without use.
const SETTLE: Duration = Duration::from_secs(15);

/// Sessions on one link for each one on connections of its own: those need two descriptors at each end.
const LINK_SHARE: usize = 4;

/// Prints the resident memory of server and client before and after `BENCH_IDLE` sessions (10,000) have said one
/// word and wait, on one link, and before and after a quarter as many on connections of their own.
pub async fn measure(ground: &Ground) {
    let sessions = from_env("BENCH_IDLE", 10_000.0) as usize;
    let mux = format!(
        "groups: {{ default: {{ carry: mux }} }}\nlink: {{ links: 1, max_streams: {} }}",
        2 * sessions
    );
    println!(
        "memory of idle sessions, KiB{:>12}{:>9}{:>9}{:>12}",
        "sessions", "before", "after", "a session"
    );
    for (name, extra, sessions) in [
        ("adit mux", &mux[..], sessions),
        (
            "adit wait",
            "groups: { default: { overflow: wait } }",
            sessions / LINK_SHARE,
        ),
    ] {
        let program = tunnels::adit(name, ground, extra).await;
        let program = program.expect("the tunnel comes up");
        // The first session brings what all later ones share.
        drop(waiting(&program, AT_ONCE).await);
        time::sleep(SETTLE).await;
        let before = resident_kib(&program);
        let mut visitors = Vec::new();
        while visitors.len() < sessions {
            visitors.extend(waiting(&program, AT_ONCE.min(sessions - visitors.len())).await);
        }
        time::sleep(SETTLE).await;
        let after = resident_kib(&program);
        for ((side, before), after) in ["server", "client"].iter().zip(before).zip(after) {
            let each = (after - before) / sessions as f64;
            println!(
                "  {:<26}{sessions:>12}{before:>9}{after:>9}{each:>12.2}",
                format!("{name}, {side}")
            );
        }
    }
    println!();
}

/// `count` visitors that have had their word, opened at once.
async fn waiting(program: &Program, count: usize) -> Vec<TcpStream> {
    let mut visitors = JoinSet::new();
    for _ in 0..count {
        let public = program.public;
        #[allow(
            clippy::disallowed_methods,
            reason = "the load tool is outside what is measured"
        )]
        visitors.spawn(async move {
            let mut stream = TcpStream::connect(public).await?;
            let mut word = [HOLD; MESSAGE_LEN];
            stream.write_all(&word).await?;
            stream.read_exact(&mut word).await?;
            std::io::Result::Ok(stream)
        });
    }
    let visitors = visitors.join_all().await.into_iter();
    visitors
        .collect::<Result<_, _>>()
        .expect("every visitor is served")
}

/// Resident memory of each process of a program.
fn resident_kib(program: &Program) -> Vec<f64> {
    let status = |child: &Child| fs::read_to_string(format!("/proc/{}/status", child.id())).ok();
    let each = program.children.iter().map(|child| vm_rss(&status(child)?));
    each.map(|kib| kib.expect("the program runs")).collect()
}

/// The line `VmRSS:     1234 kB`, in which a kB is a KiB.
fn vm_rss(status: &str) -> Option<f64> {
    let figure = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    figure.trim().strip_suffix(" kB")?.parse().ok()
}
