//! The `adit` command: parses the command line, loads and checks the configuration, runs a role.

use std::{env, future::Future, path::Path, process::ExitCode};

use adit::{
    config::{
        self, Checked, ClientConfig, ClientFlags, ForwardConfig, Logging, LoggingFlags, Role, ServerConfig,
        ServerFlags, Source, TOKEN_VARIABLE, value::Level,
    },
    env::{Env, Stop, Stopper},
    role,
    time::Duration,
};
use anyhow::Context;
use clap::Parser;
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    task::LocalSet,
};

mod cli;
mod explain;
mod health;
mod log;
mod password;
mod terminal;

/// Bytes are allocated by one worker and freed by another all the time; that of the C library has them wait for each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the workers may take to let go of what they carry.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(200);

/// How a command ends that could not begin: wrong usage, wrong configuration.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match prepare(cli) {
        Ok(run) => match run() {
            Ok(code) => code,
            Err(error) => fail(&error, 1),
        },
        Err(error) => fail(&error, EXIT_USAGE),
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    terminal::complain(format_args!("adit: {error:#}"));
    ExitCode::from(code)
}

/// What is left to do once everything that can be checked is checked.
type Run = Box<dyn FnOnce() -> anyhow::Result<ExitCode>>;

fn prepare(cli: cli::Cli) -> anyhow::Result<Run> {
    let readable = env::var_os(TOKEN_VARIABLE).is_none_or(|value| value.to_str().is_some());
    anyhow::ensure!(readable, "environment variable {TOKEN_VARIABLE}: it is not UTF-8");
    let logging = cli.logging;
    match cli.command {
        cli::Command::Server(args) => {
            let file = args.config.clone();
            let checked = config::load_server(file.as_deref(), &args.flags(logging), &lookup)?;
            let log = log::init(&checked.config.logging)?;
            say_start(Role::Server, file.as_deref(), &checked.warnings);
            Ok(logged(log, move || run_server(checked.config)))
        }
        cli::Command::Client(args) => {
            let file = args.config.clone();
            let checked = config::load_client(file.as_deref(), &args.flags(logging), &lookup)?;
            let log = log::init(&checked.config.logging)?;
            say_start(Role::Client, file.as_deref(), &checked.warnings);
            Ok(logged(log, move || run_client(checked.config)))
        }
        cli::Command::Forward(args) => {
            let file = args.config.clone();
            let checked = config::load_forward(file.as_deref(), &args.flags(logging), lookup)?;
            let log = log::init(&checked.config.logging)?;
            say_start(Role::Forward, file.as_deref(), &checked.warnings);
            Ok(logged(log, move || run_forward(checked.config)))
        }
        cli::Command::Health(args) => Ok(Box::new(move || {
            health::ask(&args.admin)?;
            terminal::say("ready");
            Ok(ExitCode::SUCCESS)
        })),
        cli::Command::Check(args) => {
            check(&args)?;
            Ok(Box::new(|| Ok(ExitCode::SUCCESS)))
        }
        cli::Command::HashPassword => {
            password::hash()?;
            Ok(Box::new(|| Ok(ExitCode::SUCCESS)))
        }
        cli::Command::Rules(cli::RulesCommand::Explain(args)) => {
            let code = explain::explain(&args, &lookup)?;
            Ok(Box::new(move || Ok(code)))
        }
        cli::Command::Demo(args) => {
            // The demo speaks for itself; the log of its parts is there for who asks.
            let mut flags = LoggingFlags::from(logging);
            flags.level.get_or_insert(Level::Warn);
            let log = log::init(&Logging::from_flags(flags))?;
            let options = role::demo::Options {
                once: args.once,
                port: args
                    .port
                    .unwrap_or(if args.once { 0 } else { config::PUBLIC_PORT }),
            };
            Ok(logged(log, move || run_demo(options)))
        }
    }
}

/// The first lines of a log: what runs, how it was configured, and what of that is hardly meant.
fn say_start(role: Role, file: Option<&Path>, warnings: &[String]) {
    let config = file.map_or_else(|| "none".into(), Path::to_string_lossy);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        config = &*config,
        "adit {} starts",
        role.word()
    );
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// Runs with `log` open. What ends the role early is written there too: who reads the log may not see stderr.
fn logged(log: log::Log, run: impl FnOnce() -> anyhow::Result<ExitCode> + 'static) -> Run {
    Box::new(move || {
        let _log = log;
        run().inspect_err(|error| tracing::error!("cannot go on: {error:#}"))
    })
}

fn check(args: &cli::CheckArgs) -> anyhow::Result<()> {
    let source = Source::open_as(args.path(), args.format)?;
    let role = match args.role {
        Some(role) => role,
        None => source.role()?,
    };
    let server = ServerFlags {
        token_file: args.token_file.clone(),
        only_check: true,
        ..ServerFlags::default()
    };
    let client = ClientFlags {
        token_file: args.token_file.clone(),
        ..ClientFlags::default()
    };
    let warnings = match role {
        Role::Server => warnings(config::build_server(&source, &server, &lookup)?),
        Role::Client => warnings(config::build_client(&source, &client, &lookup)?),
        Role::Forward => warnings(config::build_forward(&source, &Default::default(), &lookup)?),
    };
    for warning in warnings {
        terminal::complain(format_args!("warning: {warning}"));
    }
    terminal::say(format_args!("{}: ok ({})", source.name(), role.word()));
    Ok(())
}

fn warnings<T>(checked: Checked<T>) -> Vec<String> {
    checked.warnings
}

fn lookup(name: &str) -> Option<String> {
    env::var(name).ok()
}

fn run_server(config: ServerConfig) -> anyhow::Result<ExitCode> {
    run(|env| async { Ok(role::server::run(config, env).await?) }).map(|()| ExitCode::SUCCESS)
}

fn run_client(config: ClientConfig) -> anyhow::Result<ExitCode> {
    run(|env| async {
        role::client::run(config, env).await?;
        Ok(ExitCode::SUCCESS)
    })
}

fn run_forward(config: ForwardConfig) -> anyhow::Result<ExitCode> {
    run(|env| async { Ok(role::forward::run(config, env).await?) }).map(|()| ExitCode::SUCCESS)
}

fn run_demo(options: role::demo::Options) -> anyhow::Result<ExitCode> {
    let good = run(|env| async { Ok(role::demo::run(options, env).await?) })?;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs a role to its end: actors on this thread, bytes on the workers.
fn run<T, F>(role: impl FnOnce(Env) -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    raise_descriptor_limit();
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let local = LocalSet::new();
    let result = local.block_on(&runtime, async {
        let (stopper, stop) = Stop::channel();
        let env = Env::production(stop);
        let signals = Signals::listen()?;
        let _signals = env.spawn(signals.obey(stopper));
        role(env).await
    });
    drop(local);
    // Workers get a moment to drop what they carry, which resets it; a name that is still being resolved
    // must not hold the process.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    result
}

/// The signals that this process does not die of.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user: Signal,
    /// Whether the end of its terminal ends this process.
    ends_with_terminal: bool,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let ends_with_terminal = terminal::ends_with_terminal();
        let listen = |kind, name| signal(kind).with_context(|| format!("cannot listen for {name}"));
        Ok(Self {
            terminate: listen(SignalKind::terminate(), "SIGTERM")?,
            interrupt: listen(SignalKind::interrupt(), "SIGINT")?,
            hang_up: listen(SignalKind::hangup(), "SIGHUP")?,
            user: listen(SignalKind::user_defined1(), "SIGUSR1")?,
            ends_with_terminal,
        })
    }

    /// The first signal to stop drains, the second ends at once. Log files that were renamed are opened anew by whoever writes
    /// to them, at the next line: after SIGHUP or SIGUSR1 that is the line here.
    async fn obey(mut self, stopper: Stopper) {
        loop {
            let signal = tokio::select! {
                biased;
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.hang_up.recv() => "SIGHUP",
                _ = self.user.recv() => "SIGUSR1",
            };
            match signal {
                "SIGHUP" if self.ends_with_terminal && !terminal::has_terminal() => {
                    tracing::info!(signal, "terminal hung up, stopping");
                }
                "SIGHUP" | "SIGUSR1" => {
                    tracing::info!(signal, "log files are reopened if they were renamed");
                    continue;
                }
                _ => tracing::info!(signal, "stopping"),
            }
            stopper.advance();
        }
    }
}

/// Raises the soft limit on descriptors to the hard one: each session takes several.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit on open files");
    }
}
