//! Sessions that share one link, beside other ways to carry them, in one run: `cargo bench --bench mux`.
//!
//! Every tunnel, relay and upstream is a process of its own (two for a tunnel: server and client), the visitors are
//! this one, and what is compared takes turns. Words choose a part: `bulk` (sessions per second and bulk), `echo`
//! (a short message while others move bulk), `idle` (memory of sessions that wait); without words it is all three.
//! `long-way` is bulk and first replies with client and upstream in another network namespace, which
//! `tests/bench/rtt.sh` makes. The other words are the processes that this one starts.
//! [docs/benchmarks.md](../../docs/benchmarks.md) says what was seen.

mod compare;
mod echo;
mod first_reply;
mod idle;
mod load;
mod long_way;
mod program;
mod relays;
mod tunnels;
mod upstream;

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::Command,
};

use program::{Program, free_addresses};
use tunnels::Ground;

/// Server: one link, which carries every session.
const MUX: &str = "groups: { default: { carry: mux } }\nlink: { links: 1 }";

#[tokio::main]
async fn main() {
    let words: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["upstream", at] => {
            upstream::start(address(at)).await;
            std::future::pending().await
        }
        ["hop", listen, target] => relays::hop(address(listen), address(target)).await,
        ["yamux-server", control, public, frame_len] => {
            relays::yamux_server(address(control), address(public), number(frame_len)).await;
        }
        ["yamux-client", control, target, frame_len] => {
            relays::yamux_client(address(control), address(target), number(frame_len)).await;
        }
        ["long-way", near, upstream, namespace, ref parts @ ..] => {
            let ground = Ground {
                near: near.parse().expect("an IP address"),
                far: Some(namespace.to_owned()),
                upstream: address(upstream),
            };
            let all = ["bulk", "first-reply"];
            long_way::measure(&ground, if parts.is_empty() { &all } else { parts }).await;
        }
        [] => loopback(&["bulk", "echo", "idle"]).await,
        [part @ ("bulk" | "echo" | "idle")] => loopback(&[part]).await,
        _ => panic!("no words, or one of `bulk`, `echo` and `idle`"),
    }
}

/// Measures `parts` with everything on loopback.
async fn loopback(parts: &[&str]) {
    let [at] = free_addresses(Ipv4Addr::LOCALHOST.into());
    let mut command = Command::new(relays::this_program());
    command.args(["upstream", &at.to_string()]);
    let _upstream = Program::start("upstream", at, [command], None).await;
    let ground = Ground::loopback(at);
    for part in parts {
        match *part {
            "bulk" => compare::compare_all("sessions", &programs(&ground).await).await,
            "echo" => echo::measure(&programs(&ground).await, at).await,
            _ => idle::measure(&ground).await,
        }
    }
}

/// All that carry a session from visitor to upstream, by way of two processes. Says which is left out, and why.
async fn programs(ground: &Ground) -> Vec<Program> {
    let started = [
        tunnels::adit("adit mux", ground, MUX).await,
        tunnels::adit("adit", ground, "").await,
        relays::start_bare(ground).await,
        relays::start_yamux("yamux", ground, relays::FRAME_LEN_DEFAULT).await,
        relays::start_yamux("yamux 64K", ground, relays::FRAME_LEN_RAISED).await,
        tunnels::rathole(ground).await,
    ];
    let started = started.into_iter();
    started
        .filter_map(|program| program.map_err(|why| println!("{why}: left out")).ok())
        .collect()
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an IP address and a port")
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}
