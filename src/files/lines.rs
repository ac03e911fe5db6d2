//! Text that a node writes line by line, behind the same seam as the files that it reads.
//!
//! On a real disk a thread of its own writes: a slow disk or a full pipe holds nobody up who has something to say.

mod reopened;

use std::{ffi::OsStr, fmt, io, path::Path, path::PathBuf};

use tracing_appender::{
    non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard},
    rolling::{RollingFileAppender, Rotation},
};

use self::reopened::ReopenedFile;

/// Where lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// Appended to this file. If it is renamed or removed, a new one is opened under its name.
    File(PathBuf),
    /// Appended to files that take turns.
    Rolling(Rolling),
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::Stderr => f.write_str("standard error"),
            Self::File(path) | Self::Rolling(Rolling { path, .. }) => path.display().fmt(f),
        }
    }
}

/// Files of which each takes what is written in its hour or day (UTC): `adit.log` becomes `adit.2026-01-31.log`,
/// hourly `adit.2026-01-31-13.log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rolling {
    /// The path without the time.
    pub path: PathBuf,
    /// A file for each hour, else for each day.
    pub hourly: bool,
    /// The most files; older ones are removed. Default 7.
    pub keep: usize,
}

/// Somewhere to write lines to. Never waits: what comes faster than it can be written is lost, and counted.
pub trait Lines: Send + Sync {
    /// Writes one line, with its end.
    fn write(&self, line: &[u8]);

    /// How many lines were lost so far.
    fn lost(&self) -> u64;
}

/// Lines on the real disk, or to whoever reads this process. Dropping it waits, a moment at most, until every line is
/// written.
#[derive(Debug)]
pub struct Written {
    writer: NonBlocking,
    lost: ErrorCounter,
    _thread: WorkerGuard,
}

impl Written {
    /// Opens `output`, and begins to write; at most `waiting` lines wait for that.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(output: &Output, waiting: usize) -> io::Result<Self> {
        let queue = NonBlockingBuilder::default().buffered_lines_limit(waiting);
        let (writer, thread) = match output {
            Output::Stdout => queue.finish(io::stdout()),
            Output::Stderr => queue.finish(io::stderr()),
            Output::File(path) => queue.finish(ReopenedFile::open(path.clone())?),
            Output::Rolling(rolling) => queue.finish(appender(rolling)?),
        };
        Ok(Self {
            lost: writer.error_counter(),
            writer,
            _thread: thread,
        })
    }

    /// What writes, for whoever wants a writer of the standard library.
    pub fn writer(&self) -> NonBlocking {
        self.writer.clone()
    }
}

impl Lines for Written {
    fn write(&self, line: &[u8]) {
        // It takes what it is given, or counts it as lost.
        let _ = io::Write::write_all(&mut self.writer(), line);
    }

    fn lost(&self) -> u64 {
        self.lost.dropped_lines() as u64
    }
}

/// Files that take turns: `adit.log` becomes `adit.DATE.log`.
fn appender(rolling: &Rolling) -> io::Result<RollingFileAppender> {
    let text = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let path = &rolling.path;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let rotation = if rolling.hourly {
        Rotation::HOURLY
    } else {
        Rotation::DAILY
    };
    RollingFileAppender::builder()
        .rotation(rotation)
        .filename_prefix(text(path.file_stem()))
        .filename_suffix(text(path.extension()))
        .max_log_files(rolling.keep)
        .build(folder)
        .map_err(io::Error::other)
}
