//! Adit beside rathole, in one run: `cargo bench --bench tunnel`.
//!
//! Starts a server and a client of each as processes of their own, with the load tool and the upstream in
//! this one, and takes turns between them. Prints medians, their ratio, and the CPU seconds that server and
//! client used. Without `rathole` on the PATH only Adit is measured. Figures from a busy machine are noise:
//! the spread is printed beside each.

mod load;
mod tunnels;

use std::net::SocketAddr;

use load::{bulk, rate, start_upstream};
use tunnels::Tunnel;

/// Rounds per tunnel; the median counts.
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() {
    let seconds: f64 = std::env::var("BENCH_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(5.0);
    let bulk_seconds: f64 = std::env::var("BENCH_BULK_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(10.0);
    let upstream = start_upstream().await;
    let mut tunnels = vec![Tunnel::adit(upstream).await];
    match Tunnel::rathole(upstream).await {
        Some(rathole) => tunnels.push(rathole),
        None => println!("rathole is not installed (cargo install rathole): nothing to compare with"),
    }
    println!("{ROUNDS} rounds each, taking turns; {seconds} s per rate, {bulk_seconds} s per bulk\n");
    compare(
        "sessions/s, 1 at once",
        "CPU s per 1k",
        1000.0,
        &tunnels,
        async |at| rate(at, 1, seconds).await,
    )
    .await;
    compare(
        "sessions/s, 128 at once",
        "CPU s per 1k",
        1000.0,
        &tunnels,
        async |at| rate(at, 128, seconds).await,
    )
    .await;
    compare(
        "bulk GB/s, to the visitor",
        "CPU s per GB",
        1.0,
        &tunnels,
        async |at| bulk(at, bulk_seconds, true).await,
    )
    .await;
    compare(
        "bulk GB/s, from the visitor",
        "CPU s per GB",
        1.0,
        &tunnels,
        async |at| bulk(at, bulk_seconds, false).await,
    )
    .await;
}

/// Measures each tunnel in turn and prints a table. `measure` returns units done and seconds taken.
async fn compare<F>(what: &str, cpu: &str, unit: f64, tunnels: &[Tunnel], measure: F)
where
    F: AsyncFn(SocketAddr) -> (f64, f64),
{
    let mut figures = vec![(Vec::new(), Vec::new()); tunnels.len()];
    for _ in 0..ROUNDS {
        for (tunnel, (rates, costs)) in tunnels.iter().zip(&mut figures) {
            let before = tunnel.cpu_seconds();
            let (done, took) = measure(tunnel.public).await;
            rates.push(done / took);
            costs.push((tunnel.cpu_seconds() - before) / done * unit);
        }
    }
    println!("{what}");
    let mut medians = Vec::new();
    for (tunnel, (mut rates, mut costs)) in tunnels.iter().zip(figures) {
        rates.sort_by(f64::total_cmp);
        costs.sort_by(f64::total_cmp);
        let (rate, cost) = (rates[ROUNDS / 2], costs[ROUNDS / 2]);
        println!(
            "  {:<8} {rate:>10.2}  ({:.2} to {:.2})   {cpu} {cost:.3}",
            tunnel.name,
            rates[0],
            rates[ROUNDS - 1]
        );
        medians.push((rate, cost));
    }
    if let [(ours, our_cost), (theirs, their_cost)] = medians[..] {
        println!(
            "  ratio    {:>10.2}   CPU ratio {:.2}",
            ours / theirs,
            our_cost / their_cost
        );
    }
    println!();
}
