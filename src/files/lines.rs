//! Text that a node writes line by line, behind the same seam as the files that it reads.
//!
//! On a real disk a thread of its own writes: a slow disk or a full pipe holds nobody up who has something to say.

mod reopened;

use std::{
    ffi::OsStr,
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

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

/// Somewhere to write lines to. Never waits: what comes faster than it can be written, or finds the disk full, is lost, and
/// counted.
pub trait Lines: Send + Sync {
    /// Writes one line, with its end.
    fn write(&self, line: &[u8]);

    /// How many lines were lost so far.
    fn lost(&self) -> u64;
}

/// A writer that counts what it fails to write. Each call is one line.
struct Counted<W> {
    inner: W,
    failed: Arc<AtomicU64>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.inner.write_all(line) {
            Ok(()) => Ok(line.len()),
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Lines on the real disk, or to whoever reads this process. Dropping it waits, a moment at most, until every line is
/// written.
#[derive(Debug)]
pub struct Written {
    writer: NonBlocking,
    dropped: ErrorCounter,
    failed: Arc<AtomicU64>,
    _thread: WorkerGuard,
}

impl Written {
    /// Opens `output`, and begins to write; at most `waiting` lines wait for that.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(output: &Output, waiting: usize) -> io::Result<Self> {
        let inner: Box<dyn Write + Send> = match output {
            Output::Stdout => Box::new(io::stdout()),
            Output::Stderr => Box::new(io::stderr()),
            Output::File(path) => Box::new(ReopenedFile::open(path.clone())?),
            Output::Rolling(rolling) => Box::new(appender(rolling)?),
        };
        let failed = Arc::<AtomicU64>::default();
        let queue = NonBlockingBuilder::default().buffered_lines_limit(waiting);
        let (writer, thread) = queue.finish(Counted {
            inner,
            failed: Arc::clone(&failed),
        });
        Ok(Self {
            dropped: writer.error_counter(),
            failed,
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
        let _ = self.writer().write_all(line);
    }

    fn lost(&self) -> u64 {
        self.dropped.dropped_lines() as u64 + self.failed.load(Ordering::Relaxed)
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
