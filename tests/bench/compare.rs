//! Programs measured in turns, and the tables of what was seen.

use std::net::SocketAddr;

use crate::{
    load::{bulk, rate},
    program::Program,
    upstream::{DRAIN, SEND},
};

/// Rounds per program; the median counts.
const ROUNDS: usize = 3;

/// Connections at once of the busier rate.
const AT_ONCE: usize = 128;

/// Measures connections per second and bulk in both directions, and prints a table of each.
///
/// A rate takes `BENCH_SECONDS` a round (5), a bulk `BENCH_BULK_SECONDS` (10). `noun` is what a connection is
/// called. The first of `programs` is the one that the others are compared with.
pub async fn compare_all(noun: &str, programs: &[Program]) {
    let seconds = from_env("BENCH_SECONDS", 5.0);
    let bulk_seconds = from_env("BENCH_BULK_SECONDS", 10.0);
    println!("{ROUNDS} rounds each, taking turns; {seconds} s per rate, {bulk_seconds} s per bulk\n");
    for at_once in [1, AT_ONCE] {
        let what = format!("{noun}/s, {at_once} at once");
        let measure = async |at| rate(at, at_once, seconds).await;
        compare(&what, "CPU s per 1k", 1000.0, programs, measure).await;
    }
    compare_bulk(bulk_seconds, programs).await;
}

/// Measures one bulk session of each, `seconds` a round, in both directions, and prints a table of each.
pub async fn compare_bulk(seconds: f64, programs: &[Program]) {
    for (mode, direction) in [(SEND, "to"), (DRAIN, "from")] {
        let what = format!("bulk GB/s, {direction} the visitor");
        let measure = async |at| bulk(at, seconds, mode).await;
        compare(&what, "CPU s per GB", 1.0, programs, measure).await;
    }
}

/// A number from the environment, or the default.
pub fn from_env(name: &str, default: f64) -> f64 {
    let set = std::env::var(name).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What the rounds of one program showed.
#[derive(Default)]
struct Figures {
    rates: Vec<f64>,
    costs: Vec<f64>,
}

/// Measures each program in turn and prints a table. `measure` returns units done and seconds taken.
async fn compare<F>(what: &str, cpu: &str, unit: f64, programs: &[Program], measure: F)
where
    F: AsyncFn(SocketAddr) -> (f64, f64),
{
    let mut figures: Vec<Figures> = programs.iter().map(|_| Figures::default()).collect();
    for _ in 0..ROUNDS {
        for (program, seen) in programs.iter().zip(&mut figures) {
            let before = program.cpu_seconds();
            let (done, took) = measure(program.public).await;
            seen.rates.push(done / took);
            if let (Some(before), Some(after)) = (before, program.cpu_seconds()) {
                seen.costs.push((after - before) / done * unit);
            }
        }
    }
    let Some(first) = programs.first() else {
        return;
    };
    let versus = format!("{}/this", first.name);
    println!("{what:<46}{cpu:>14}{versus:>16}  of CPU");
    let mut ours = None;
    for (program, mut seen) in programs.iter().zip(figures) {
        let (rate, cost) = (median(&mut seen.rates), median(&mut seen.costs));
        let (our_rate, our_cost) = *ours.get_or_insert((rate, cost));
        let range = seen.rates.first().zip(seen.rates.last());
        println!(
            "  {:<10}{}  {:<22}{}{}{}",
            program.name,
            cell(rate, 10, 2),
            range.map_or_else(String::new, |(low, high)| format!("({low:.2} to {high:.2})")),
            cell(cost, 13, 3),
            cell(ratio(our_rate, rate), 16, 2),
            cell(ratio(our_cost, cost), 8, 2),
        );
    }
    println!();
}

/// The one in the middle, of an odd number; sorts them.
pub fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn ratio(ours: Option<f64>, theirs: Option<f64>) -> Option<f64> {
    Some(ours? / theirs?)
}

fn cell(value: Option<f64>, width: usize, digits: usize) -> String {
    value.map_or_else(
        || format!("{:>width$}", "-"),
        |value| format!("{value:>width$.digits$}"),
    )
}
