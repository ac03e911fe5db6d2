//! Files that exist in memory only: tests and the simulation write them, nodes read them.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{Changes, Files};
use crate::transport::BoxFuture;

/// A disk of its own, empty at first. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct Memory {
    contents: Arc<ArcSwap<BTreeMap<PathBuf, Vec<u8>>>>,
    changed: Arc<watch::Sender<()>>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            contents: Arc::default(),
            changed: Arc::new(watch::Sender::new(())),
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
}
