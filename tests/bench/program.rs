//! What is measured: programs that run as processes of their own, and what they cost.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use adit::time::{self, Duration};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::upstream::visit;

/// How long a program may take until it serves its first visitor.
const START_MAX: Duration = Duration::from_secs(20);

/// How often, and how many times, a program that was asked to end is looked at: two seconds in all.
const STOP_CHECK: Duration = Duration::from_millis(20);
const STOP_CHECKS: usize = 100;

/// Ticks of `/proc/PID/stat` in a second: the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A program that visitors reach, and all the processes it needs.
pub struct Program {
    /// What it is.
    pub name: &'static str,
    /// Where visitors connect.
    pub public: SocketAddr,
    /// Its processes, in the order of the commands.
    pub children: Vec<Child>,
    _files: Option<TempDir>,
}

impl Drop for Program {
    /// Asks its processes to end, so that each sees to its own children, and kills what is left after a while.
    fn drop(&mut self) {
        let processes = self.processes();
        for child in &self.children {
            signal(child.id(), Signal::TERM);
        }
        for _ in 0..STOP_CHECKS {
            if self
                .children
                .iter_mut()
                .all(|child| matches!(child.try_wait(), Ok(Some(_))))
            {
                return;
            }
            std::thread::sleep(STOP_CHECK);
        }
        for (pid, _) in processes {
            signal(pid, Signal::KILL);
        }
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

impl Program {
    /// Runs `commands` and waits until a visitor at `public` is served. `files` lives as long as the program.
    ///
    /// # Errors
    /// Why it cannot be measured, for people: it is not installed, it ended, or nobody was served in time.
    pub async fn start(
        name: &'static str,
        public: SocketAddr,
        commands: impl IntoIterator<Item = Command>,
        files: Option<TempDir>,
    ) -> Result<Self, String> {
        let mut program = Self {
            name,
            public,
            children: Vec::new(),
            _files: files,
        };
        for mut command in commands {
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
            program.children.push(child.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => format!("{name} is not installed"),
                _ => format!("{name} cannot be started: {error}"),
            })?);
        }
        let served = async {
            while visit(public).await.is_err() {
                if let Some(status) = program.ended() {
                    return Err(format!("{name} did not start: {status}"));
                }
                time::sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        };
        time::within(START_MAX, served)
            .await
            .unwrap_or_else(|| Err(format!("{name} served nobody in {START_MAX:?}")))?;
        Ok(program)
    }

    /// How one of its processes ended, if one has.
    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.children
            .iter_mut()
            .find_map(|child| child.try_wait().ok().flatten())
    }

    /// CPU seconds, in user and system mode, that all its processes have used; `None` when it has no process.
    pub fn cpu_seconds(&self) -> Option<f64> {
        let ticks = self.processes().iter().map(|(_, ticks)| ticks).sum::<u64>();
        (!self.children.is_empty()).then_some(ticks as f64 / TICKS_PER_SECOND)
    }

    /// The processes started here and all that come from them, parents before their children, with the ticks
    /// that each used.
    fn processes(&self) -> Vec<(u32, u64)> {
        let all = every_process();
        let mut found = Vec::new();
        let mut parents: Vec<u32> = self.children.iter().map(Child::id).collect();
        while !parents.is_empty() {
            found.extend(parents.iter().filter_map(|pid| Some((*pid, all.get(pid)?.ticks))));
            parents = all
                .iter()
                .filter(|(_, process)| parents.contains(&process.parent))
                .map(|(pid, _)| *pid)
                .collect();
        }
        found
    }
}

/// What `/proc/PID/stat` says of a process.
struct Process {
    parent: u32,
    /// In user and system mode, its own and those of children that ended and were waited for.
    ticks: u64,
}

fn every_process() -> BTreeMap<u32, Process> {
    let folders = fs::read_dir("/proc").expect("/proc is there");
    folders
        .filter_map(|folder| {
            let pid = folder.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, process(&stat)?))
        })
        .collect()
}

/// Field 4 is the parent, fields 14 to 17 are ticks. Field 2 is a name that may hold anything, in brackets.
fn process(stat: &str) -> Option<Process> {
    let fields: Vec<_> = stat.rsplit(')').next()?.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Process {
        parent: field(4)?.try_into().ok()?,
        ticks: (14..=17).map(field).sum::<Option<u64>>()?,
    })
}

/// Addresses at `host` that were free a moment ago: no program can be asked for the port it took.
pub fn free_addresses<const N: usize>(host: IpAddr) -> [SocketAddr; N] {
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind((host, 0)).expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("a bound listener"))
}

/// Writes a configuration file into a folder of its own, which goes when the [`TempDir`] does.
pub fn config_file(name: &str, text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    fs::write(&path, text).expect("a temporary file takes a few lines");
    (folder, path)
}
