//! Files and their changes, behind a seam: the disk in production, memory in tests and in simulation.

mod disk;
mod lines;
mod memory;
pub mod text;

use std::{any::Any, fmt, io, path::PathBuf, sync::Arc};

use tokio::sync::watch;

pub use self::{
    disk::Disk,
    lines::{Lines, Output, Rolling, Written},
    memory::Memory,
};
use crate::transport::BoxFuture;

/// The largest file that is read. What a node reads is written by people or for them; more is a mistake.
pub const FILE_LEN_MAX: u64 = 16 << 20;

/// The files that a node reads and writes while it runs.
pub trait Files: Send + Sync {
    /// The whole content of a file.
    ///
    /// # Errors
    /// It cannot be read, or has more than [`FILE_LEN_MAX`] bytes.
    fn read(&self, path: PathBuf) -> BoxFuture<'static, io::Result<Vec<u8>>>;

    /// Begins to watch a file, which need not be there. Whatever puts new content behind the path is a change:
    /// writing, replacing, a symbolic link on the way that leads elsewhere. A change of nothing may be told too.
    ///
    /// # Errors
    /// Its folder is not there, or the system has no watches left.
    fn watch(&self, path: PathBuf) -> BoxFuture<'static, io::Result<Changes>>;

    /// Somewhere to write lines to.
    ///
    /// # Errors
    /// It cannot be opened.
    fn lines(&self, output: &Output) -> io::Result<Arc<dyn Lines>>;
}

/// The changes of one watched file, several in a row as one. Dropping it ends the watch.
pub struct Changes {
    changed: watch::Receiver<()>,
    _watch: Option<Box<dyn Any + Send + Sync>>,
}

impl Changes {
    /// Changes that `changed` tells of; `watch` is kept as long as they are.
    pub fn new(changed: watch::Receiver<()>, watch: Option<Box<dyn Any + Send + Sync>>) -> Self {
        Self {
            changed,
            _watch: watch,
        }
    }

    /// Waits for a change since the last call, or since the watch began. Cancel safe.
    pub async fn next(&mut self) {
        if self.changed.changed().await.is_err() {
            // Nobody can tell of one any more.
            std::future::pending::<()>().await;
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").finish_non_exhaustive()
    }
}
