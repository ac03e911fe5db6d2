//! `report`: what is published of a sweep.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::Args;

use super::{
    WRONG,
    args::{Engine, Jobs, Source},
    run, sweep,
};
use crate::{
    out::say,
    plan::draw::SCENARIOS,
    sweep::{Order, Sweep},
};

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 1)]
    from: u64,
    #[command(flatten)]
    jobs: Jobs,
    /// Write it to a file instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl ReportArgs {
    /// Does it.
    pub fn run(self) -> anyhow::Result<u8> {
        let scenario = &SCENARIOS[0];
        let order = Order {
            scenario,
            engine: Engine::default().into(),
            seeds: self.from..self.from.saturating_add(self.seeds),
            time: None,
            jobs: self.jobs.count(),
            planted: None,
        };
        let swept = sweep::watched(order, Some(self.seeds));
        if let Some(report) = &swept.failure {
            let source = Source::Seed(scenario, report.plan.seed);
            run::print(report, &source, Engine::default(), None);
            return Ok(report.exit_code());
        }
        let text = markdown(&swept);
        match self.out {
            Some(path) => {
                fs::write(&path, text).with_context(|| format!("{}: cannot be written", path.display()))?;
            }
            None => say(text.trim_end()),
        }
        Ok(if swept.gaps().is_empty() { 0 } else { WRONG })
    }
}

fn markdown(swept: &Sweep) -> String {
    let gaps = swept.gaps();
    let gaps = if gaps.is_empty() {
        String::new()
    } else {
        format!("\nNever reached: {}.\n", gaps.join(", "))
    };
    format!("{}\n\n{}{gaps}", sweep::figures(swept), sweep::coverage(swept))
}
