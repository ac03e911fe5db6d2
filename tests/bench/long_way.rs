//! Bulk and first replies when client and upstream are far away.

use std::net::SocketAddr;

use adit::time::{self, Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    compare::{compare_bulk, from_env, median},
    first_reply,
    program::Program,
    tunnels::{self, Ground},
    upstream::{BLOCK_LEN, MESSAGE_LEN, SEND},
};

/// Visitors of a burst.
const BURST: usize = 256;

/// Server: sessions wait for a connection of their own instead of sharing a link.
const WAIT: &str = "groups: { default: { overflow: wait } }";

/// Rounds of the rise; the median counts.
const RISES: usize = 3;

/// How long a rise is watched, and how fine. The second half is the speed that it reaches.
const RISE_STEPS: usize = 60;
const RISE_STEP: Duration = Duration::from_millis(100);

/// The share of its speed at which a session has reached it.
const RISEN: f64 = 0.9;

/// Measures `parts`: one `bulk` session of each in both directions, and how soon it is at full speed; the
/// `first-reply` of new visitors, alone and in bursts. A bulk takes `BENCH_BULK_SECONDS` a round (10).
pub async fn measure(ground: &Ground, parts: &[&str]) {
    let mut programs = crate::programs(ground).await;
    let wait = tunnels::adit("adit wait", ground, WAIT).await;
    programs.insert(2, wait.expect("the tunnel comes up"));
    let direct = Program::start("direct", ground.upstream, [], None).await;
    programs.push(direct.expect("the upstream is there"));
    for part in parts {
        match *part {
            "bulk" => {
                compare_bulk(from_env("BENCH_BULK_SECONDS", 10.0), &programs).await;
                rises(&programs).await;
            }
            "first-reply" => first_reply::measure(&programs, BURST).await,
            _ => panic!("a part is `bulk` or `first-reply`"),
        }
    }
}

/// Prints how soon one bulk session of each is at full speed.
async fn rises(programs: &[Program]) {
    let mut seen = vec![Vec::new(); programs.len()];
    for _ in 0..RISES {
        for (program, seen) in programs.iter().zip(&mut seen) {
            seen.push(rise(program.public).await);
        }
    }
    println!("seconds until bulk to the visitor is at {RISEN} of its full speed");
    for (program, mut seen) in programs.iter().zip(seen) {
        let middle = median(&mut seen).expect("there were rounds");
        println!(
            "  {:<10}{middle:>10.1}  ({:.1} to {:.1})",
            program.name,
            seen[0],
            seen[seen.len() - 1]
        );
    }
    println!();
}

/// Seconds from the request to the end of the first step that moved enough.
async fn rise(public: SocketAddr) -> f64 {
    let mut stream = TcpStream::connect(public).await.expect("the way is up");
    let request = stream.write_all(&[SEND; MESSAGE_LEN]).await;
    request.expect("the way takes a request");
    let mut steps = [0.0; RISE_STEPS];
    let mut block = vec![0; BLOCK_LEN];
    let start = time::now();
    loop {
        let moved = stream.read(&mut block).await.expect("the stream goes on");
        let step = (time::now() - start).div_duration_f64(RISE_STEP) as usize;
        match steps.get_mut(step) {
            Some(step) => *step += moved as f64,
            None => break,
        }
    }
    let full = steps[RISE_STEPS / 2..].iter().sum::<f64>() / (RISE_STEPS - RISE_STEPS / 2) as f64;
    let risen = steps.iter().position(|&moved| moved >= RISEN * full);
    (risen.expect("half of the steps are that good on average") + 1) as f64 * RISE_STEP.as_secs_f64()
}
