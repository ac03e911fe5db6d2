//! How long 64 bytes take there and back while others move bulk.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use adit::time::{self, Duration};
use tokio::task::JoinSet;

use crate::{
    compare::{from_env, median},
    first_reply::percentile,
    load::bulk,
    program::Program,
    upstream::{ECHO, MESSAGE_LEN, PACED, SEND},
};

/// Rounds per program; the median counts.
const ROUNDS: usize = 5;

/// Sessions that move bulk.
const BULK: usize = 8;

/// From the start of the bulk to the first message: by then it has its speed.
const RISE: Duration = Duration::from_millis(500);

/// What the rounds of one program showed: medians and 99th percentiles in milliseconds, and GB/s.
#[derive(Default)]
struct Seen {
    idle: [Vec<f64>; 2],
    busy: [Vec<f64>; 2],
    straight: [Vec<f64>; 2],
    bulk: Vec<f64>,
}

/// Measures one session that waits for each of its messages to come back, alone, and beside sessions that move bulk
/// to the visitor: as much as they can, and at a pace that leaves the machine idle half of the time. Each takes
/// `BENCH_ECHO_SECONDS` a round (2).
///
/// While they do, messages also go straight to `upstream`. What those wait for is the machine, not what is measured.
pub async fn measure(programs: &[Program], upstream: SocketAddr) {
    let seconds = from_env("BENCH_ECHO_SECONDS", 2.0);
    for (mode, pace) in [(SEND, "all they can"), (PACED, "at a pace")] {
        let mut seen: Vec<Seen> = programs.iter().map(|_| Seen::default()).collect();
        for _ in 0..ROUNDS {
            for (program, seen) in programs.iter().zip(&mut seen) {
                add(&mut seen.idle, echoes(program.public, seconds));
                let mut others = JoinSet::new();
                for _ in 0..BULK {
                    let lasts = 2.0 * (seconds + RISE.as_secs_f64());
                    #[allow(
                        clippy::disallowed_methods,
                        reason = "the load tool is outside what is measured"
                    )]
                    others.spawn(bulk(program.public, lasts, mode));
                }
                time::sleep(RISE).await;
                add(&mut seen.busy, echoes(program.public, seconds));
                add(&mut seen.straight, echoes(upstream, seconds));
                let moved = others.join_all().await;
                seen.bulk
                    .push(moved.iter().map(|(moved, took)| moved / took).sum());
            }
        }
        print(pace, programs, seen);
    }
}

/// Sends a message and waits for it, again and again; returns the milliseconds that each took.
///
/// Blocks the thread on purpose: it is the main one, which runs no other task, and waits for nobody but the kernel.
fn echoes(public: SocketAddr, seconds: f64) -> Vec<f64> {
    let mut stream = TcpStream::connect(public).expect("the way is up");
    stream.set_nodelay(true).expect("a socket takes its options");
    let mut message = [ECHO; MESSAGE_LEN];
    let mut took = Vec::new();
    let end = time::now() + Duration::from_secs_f64(seconds);
    loop {
        let start = time::now();
        if start > end {
            return took;
        }
        stream.write_all(&message).expect("the stream goes on");
        stream.read_exact(&mut message).expect("the stream goes on");
        took.push((time::now() - start).as_secs_f64() * 1e3);
    }
}

/// Adds the median and the 99th percentile of one round.
fn add(to: &mut [Vec<f64>; 2], mut took: Vec<f64>) {
    took.sort_by(f64::total_cmp);
    for (to, percent) in to.iter_mut().zip([50, 99]) {
        to.push(percentile(&took, percent));
    }
}

fn print(pace: &str, programs: &[Program], seen: Vec<Seen>) {
    println!(
        "64 bytes there and back, beside {BULK} sessions of bulk, {pace}; medians of {ROUNDS} rounds, ms"
    );
    println!(
        "  {:<10}{:>10}{:>8}{:>10}{:>9}  {:<20}{:>8}{:>15}{:>9}",
        "", "idle p50", "p99", "busy p50", "p99", "", "of idle", "straight p99", "GB/s"
    );
    for (program, seen) in programs.iter().zip(seen) {
        let [idle50, idle99] = seen.idle.map(spread);
        let [busy50, busy99] = seen.busy.map(spread);
        let [_, straight99] = seen.straight.map(spread);
        println!(
            "  {:<10}{:>10.3}{:>8.3}{:>10.3}{:>9.2}  {:<20}{:>8.1}{:>15.2}{:>9.2}",
            program.name,
            idle50.0,
            idle99.0,
            busy50.0,
            busy99.0,
            format!("({:.2} to {:.2})", busy99.1, busy99.2),
            busy99.0 / idle99.0,
            straight99.0,
            spread(seen.bulk).0,
        );
    }
    println!();
}

/// Median, least and most.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    let middle = median(&mut values).expect("there were rounds");
    (middle, values[0], values[values.len() - 1])
}
