//! `adit forward` beside haproxy and nginx, in one run: `cargo bench --bench forward`.
//!
//! Starts each as a process of its own, with the load tool and the upstream in this one, and takes turns between
//! them; `direct` is the upstream without a forwarder, which nothing can beat. Prints medians, the ratio of Adit
//! to each, and the CPU seconds that each used in all its processes. What is not on the PATH (Debian: `haproxy`,
//! `nginx`, `libnginx-mod-stream`) is left out, and said. Figures from a busy machine are noise: the spread is
//! printed beside each.
//!
//! `first-reply UPSTREAM` measures new connections over a long way instead, to an upstream that another process
//! runs as `upstream ADDRESS`: `tests/bench/rtt.sh` makes the way and starts both.

mod compare;
mod first_reply;
mod forwarders;
mod load;
mod program;
mod upstream;

use std::net::{Ipv4Addr, SocketAddr};

/// New connections at once over a long way.
const BURST: usize = 64;

#[tokio::main]
async fn main() {
    let words: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            let upstream = upstream::start((Ipv4Addr::LOCALHOST, 0).into()).await;
            let programs = forwarders::start(upstream, &[("adit", "")]).await;
            compare::compare_all("connections", &programs).await;
        }
        ["upstream", at] => {
            upstream::start(address(at)).await;
            std::future::pending::<()>().await;
        }
        ["first-reply", upstream] => {
            let warm = format!("pools: {{ min: {BURST}, max: {} }}", 2 * BURST);
            let adits = [("adit", ""), ("adit warm", &warm)];
            let programs = forwarders::start(address(upstream), &adits).await;
            first_reply::measure(&programs, BURST).await;
        }
        _ => panic!("no words, or `upstream ADDRESS`, or `first-reply UPSTREAM`"),
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an IP address and a port")
}
