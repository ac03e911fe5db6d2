//! How long a new connection waits for the first byte of its reply when the upstream is far away.

use adit::time::{self, Duration};
use tokio::task::JoinSet;

use crate::{program::Program, upstream::visit};

/// Turns that each program gets.
const ROUNDS: usize = 5;

/// Visits of a round that are alone, one after the other.
const ALONE: usize = 40;

/// Bursts of a round.
const BURSTS: usize = 4;

/// Before a visit alone: warm connections that were taken have come back, with room.
const PAUSE: Duration = Duration::from_millis(100);

/// Before a burst.
const BURST_PAUSE: Duration = Duration::from_secs(1);

/// Before the first round: what keeps connections warm has them by then.
const SETTLE: Duration = Duration::from_secs(5);

/// What the visits saw: how long each waited to be connected, and for the first byte of its reply.
#[derive(Default)]
struct Seen {
    alone: Vec<(Duration, Duration)>,
    burst: Vec<(Duration, Duration)>,
    failed: usize,
}

/// Measures visits alone and bursts of `burst` visits, the programs taking turns, and prints milliseconds and
/// multiples of the round trip. The last of `programs` is the direct way.
///
/// The round trip is measured too: it is how long the direct way takes to connect, where the kernel answers at
/// both ends. Its median alone is what the multiples are of.
pub async fn measure(programs: &[Program], burst: usize) {
    time::sleep(SETTLE).await;
    let mut seen: Vec<Seen> = programs.iter().map(|_| Seen::default()).collect();
    for _ in 0..ROUNDS {
        for (program, seen) in programs.iter().zip(&mut seen) {
            for _ in 0..ALONE {
                time::sleep(PAUSE).await;
                seen.failed += visits(program, 1, &mut seen.alone).await;
            }
            for _ in 0..BURSTS {
                time::sleep(BURST_PAUSE).await;
                seen.failed += visits(program, burst, &mut seen.burst).await;
            }
        }
    }
    print(programs, burst, &seen);
}

/// Visits `program`, `at_once` times at once; returns how many were not served.
async fn visits(program: &Program, at_once: usize, seen: &mut Vec<(Duration, Duration)>) -> usize {
    let mut visitors = JoinSet::new();
    for _ in 0..at_once {
        #[allow(
            clippy::disallowed_methods,
            reason = "the load tool is outside what is measured"
        )]
        visitors.spawn(visit(program.public));
    }
    let before = seen.len();
    seen.extend(visitors.join_all().await.into_iter().flatten());
    at_once - (seen.len() - before)
}

fn print(programs: &[Program], burst: usize, seen: &[Seen]) {
    let direct = seen.last().expect("the direct way is measured");
    let connected = |waits: &[(Duration, Duration)]| milliseconds(waits, |(connected, _)| connected);
    let replied = |waits: &[(Duration, Duration)]| milliseconds(waits, |(_, replied)| replied);
    let trips = (connected(&direct.alone), connected(&direct.burst));
    let trip = percentile(&trips.0, 50);
    println!("\nfirst reply of a new connection; one round trip is {trip:.2} ms");
    println!("{:<14}{:^34}{:^34}", "", "alone", format!("{burst} at once"));
    println!("{:<14}{}{}", "ms (trips)", heads(), heads());
    let row = |name: &str, alone: &[f64], burst: &[f64]| {
        let cells =
            [alone, burst].map(|waits| [50, 99].map(|percent| cell(percentile(waits, percent), trip)));
        println!("  {name:<12}{}", cells.concat().concat());
    };
    for (program, seen) in programs.iter().zip(seen) {
        row(program.name, &replied(&seen.alone), &replied(&seen.burst));
        if seen.failed > 0 {
            println!("    {} visitors of {} were not served", seen.failed, program.name);
        }
    }
    row("round trip", &trips.0, &trips.1);
}

fn heads() -> String {
    format!("{:>17}{:>17}", "p50", "p99")
}

fn cell(wait: f64, trip: f64) -> String {
    format!("{wait:>10.2} ({:.2})", wait / trip)
}

/// One part of every wait, sorted.
fn milliseconds(waits: &[(Duration, Duration)], part: impl Fn((Duration, Duration)) -> Duration) -> Vec<f64> {
    let mut waits: Vec<f64> = waits.iter().map(|&wait| part(wait).as_secs_f64() * 1e3).collect();
    waits.sort_by(f64::total_cmp);
    waits
}

/// The smallest value that `percent` of the sorted values do not exceed.
pub fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}
