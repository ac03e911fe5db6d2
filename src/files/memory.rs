//! Files that exist in memory only: tests and the simulation write them, nodes read them; and the other way round.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{Changes, Files, Lines, Output};
use crate::transport::BoxFuture;

/// A disk of its own, empty at first. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct Memory {
    contents: Arc<ArcSwap<BTreeMap<PathBuf, Vec<u8>>>>,
    changed: Arc<watch::Sender<()>>,
    written: Outputs,
    full: Arc<AtomicBool>,
}

/// What nodes have written, by the name of the output.
type Outputs = Arc<RwLock<BTreeMap<String, Vec<String>>>>;

impl Default for Memory {
    fn default() -> Self {
        Self {
            contents: Arc::default(),
            changed: Arc::new(watch::Sender::new(())),
            written: Outputs::default(),
            full: Arc::default(),
        }
    }
}

impl Memory {
    /// Puts `content` behind `path`, whole.
    pub fn write(&self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) {
        let (path, content) = (path.into(), content.into());
        self.contents.rcu(|contents| {
            let mut contents = BTreeMap::clone(contents);
            contents.insert(path.clone(), content.clone());
            contents
        });
        self.changed.send_replace(());
    }

    /// Takes the file away.
    pub fn remove(&self, path: impl Into<PathBuf>) {
        let path = path.into();
        self.contents.rcu(|contents| {
            let mut contents = BTreeMap::clone(contents);
            contents.remove(&path);
            contents
        });
        self.changed.send_replace(());
    }
}

impl Memory {
    /// The lines that nodes have written to `output`.
    pub fn written(&self, output: &Output) -> Vec<String> {
        let written = self.written.read().unwrap_or_else(PoisonError::into_inner);
        written.get(&output.to_string()).cloned().unwrap_or_default()
    }

    /// From now on nodes write in vain, or no longer. Says whether that is something else than before.
    pub fn fill(&self, full: bool) -> bool {
        self.full.swap(full, Ordering::Relaxed) != full
    }
}

/// One output of a disk in memory.
struct MemoryLines {
    name: String,
    written: Outputs,
    full: Arc<AtomicBool>,
    lost: AtomicU64,
}

impl Lines for MemoryLines {
    fn write(&self, line: &[u8]) {
        if self.full.load(Ordering::Relaxed) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let line = String::from_utf8_lossy(line).into_owned();
        let mut written = self.written.write().unwrap_or_else(PoisonError::into_inner);
        written.entry(self.name.clone()).or_default().push(line);
    }

    fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Files for Memory {
    fn read(&self, path: PathBuf) -> BoxFuture<'static, io::Result<Vec<u8>>> {
        let content = self.contents.load().get(&path).cloned();
        Box::pin(async move { content.ok_or_else(|| io::ErrorKind::NotFound.into()) })
    }

    fn watch(&self, _path: PathBuf) -> BoxFuture<'static, io::Result<Changes>> {
        // Every change is told to everybody: a change of nothing is allowed.
        let changes = Changes::new(self.changed.subscribe(), None);
        Box::pin(async move { Ok(changes) })
    }

    fn lines(&self, output: &Output) -> io::Result<Arc<dyn Lines>> {
        Ok(Arc::new(MemoryLines {
            name: output.to_string(),
            written: Arc::clone(&self.written),
            full: Arc::clone(&self.full),
            lost: AtomicU64::new(0),
        }))
    }
}
