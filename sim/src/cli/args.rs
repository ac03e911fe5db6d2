//! Arguments that several commands take.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use crate::{
    crew, mutants,
    plan::{
        Plan,
        draw::{self, SCENARIOS, Scenario},
        file,
    },
    trace::Detail,
    world::EngineKind,
};

/// Parses the name of a scenario.
pub fn scenario(name: &str) -> Result<&'static Scenario, String> {
    draw::scenario(name).ok_or_else(|| {
        let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// Parses the name of a planted bug.
pub fn planted(name: &str) -> Result<&'static str, String> {
    mutants::table::name(name)
        .ok_or_else(|| "no planted bug is called that; see `adit-sim list --bugs`".to_owned())
}

/// Parses minutes.
pub fn minutes(text: &str) -> Result<Duration, String> {
    let wrong = || "expected minutes, such as 5 or 0.5".to_owned();
    let minutes: f64 = text.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(60.0 * minutes).map_err(|_| wrong())
}

/// Parses how much of a trace is shown.
pub fn detail(name: &str) -> Result<Detail, String> {
    match name {
        "events" => Ok(Detail::Events),
        "everything" => Ok(Detail::Everything),
        _ => Err("expected events or everything".to_owned()),
    }
}

/// Which engine carries a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Simulated kernels and packets, true to TCP.
    #[default]
    Packets,
    /// The second opinion: stock turmoil, for what it can do.
    Turmoil,
}

impl Engine {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Turmoil => "turmoil",
        }
    }
}

impl From<Engine> for EngineKind {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Packets => Self::Packets,
            Engine::Turmoil => Self::Stock,
        }
    }
}

/// How many threads.
#[derive(Args, Clone, Copy, Debug)]
pub struct Jobs {
    /// Threads, one run on each [default: as many as there are processors]
    #[arg(long, value_name = "J")]
    jobs: Option<NonZeroUsize>,
}

impl Jobs {
    /// That many.
    pub fn count(self) -> NonZeroUsize {
        self.jobs.unwrap_or_else(crew::all_hands)
    }
}

/// Where a plan comes from, and how it was asked for.
#[derive(Clone, Debug)]
pub enum Source {
    /// Drawn from its seed.
    Seed(&'static Scenario, u64),
    /// Read from a file.
    File(PathBuf),
}

impl Source {
    /// The plan, with a bug planted if one was asked for.
    ///
    /// # Errors
    /// The file is no plan.
    pub fn plan(&self, planted: Option<&str>) -> anyhow::Result<Plan> {
        let mut plan = match self {
            Self::Seed(scenario, seed) => (scenario.draw)(*seed),
            Self::File(path) => file::read(path)?,
        };
        if let Some(name) = planted {
            plan.planted = Some(name.to_owned());
        }
        Ok(plan)
    }

    /// The command that runs it again and shows everything.
    pub fn command(&self, engine: Engine, planted: Option<&str>) -> String {
        let what = match self {
            Self::Seed(scenario, seed) => format!("replay {seed} --scenario {}", scenario.name),
            Self::File(path) => format!("run --plan {}", path.display()),
        };
        let mut command = format!("cargo run --release -p adit-sim -- {what}");
        if engine != Engine::default() {
            command += &format!(" --engine {}", engine.name());
        }
        if let Some(name) = planted {
            command += &format!(" --plant {name}");
        }
        command + " --trace"
    }
}
