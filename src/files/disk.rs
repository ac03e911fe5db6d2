//! The real disk: reads on the blocking threads, and watches through the operating system.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use notify::{
    Event, EventKind, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::sync::watch;

use super::{Changes, FILE_LEN_MAX, Files, Lines, Output, Written};
use crate::transport::BoxFuture;

/// Lines that wait to be written. They may be some kilobytes each, by the will of strangers.
const LINES_WAITING_MAX: usize = 16 * 1024;

/// The files of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: PathBuf) -> BoxFuture<'static, io::Result<Vec<u8>>> {
        blocking(move || read(&path))
    }

    fn watch(&self, path: PathBuf) -> BoxFuture<'static, io::Result<Changes>> {
        blocking(move || watch(&path))
    }

    fn lines(&self, output: &Output) -> io::Result<Arc<dyn Lines>> {
        Ok(Arc::new(Written::open(output, LINES_WAITING_MAX)?))
    }
}

/// A disk may take its time; no thread that serves waits for it.
fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> BoxFuture<'static, io::Result<T>> {
    Box::pin(async move {
        #[allow(clippy::disallowed_methods, reason = "this is the seam itself")]
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(io::Error::other)?
    })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?
        .take(FILE_LEN_MAX + 1)
        .read_to_end(&mut content)?;
    if content.len() as u64 > FILE_LEN_MAX {
        let message = format!("it has more than {FILE_LEN_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(content)
}

/// Watches folders, not the file: editors and orchestrators replace a file, and a watch on the old one says nothing.
fn watch(path: &Path) -> io::Result<Changes> {
    let mut names = BTreeSet::new();
    let mut folders = BTreeSet::new();
    names.extend(path.file_name().map(OsString::from));
    folders.insert(folder(path));
    // What a link leads to may be written where it is.
    if let Ok(target) = fs::canonicalize(path) {
        names.extend(target.file_name().map(OsString::from));
        folders.insert(folder(&target));
    }
    let (changed, receiver) = watch::channel(());
    let tell = move |event: notify::Result<Event>| {
        // Watching that fails may have missed something.
        if event.map_or(true, |event| matters(&event, &names)) {
            changed.send_replace(());
        }
    };
    let mut watcher = notify::recommended_watcher(tell).map_err(io::Error::other)?;
    for folder in folders {
        watcher
            .watch(&folder, RecursiveMode::NonRecursive)
            .map_err(io::Error::other)?;
    }
    Ok(Changes::new(receiver, Some(Box::new(watcher))))
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whether a file of these names may have other content now. Neighbours that are written (a log, say) do not matter;
/// neighbours that come, go or are renamed may be a link on the way.
fn matters(event: &Event, names: &BTreeSet<OsString>) -> bool {
    let own = || {
        let name = |path: &PathBuf| path.file_name().is_some_and(|name| names.contains(name));
        event.paths.iter().any(name)
    };
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => own(),
        EventKind::Access(_) => false,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => own(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::time::{self, Duration};

    /// Does `act`, and says whether a change of `path` was told.
    fn told(path: &Path, act: impl FnOnce()) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut changes = Disk.watch(path.to_owned()).await.unwrap();
            act();
            time::within(Duration::from_secs(10), changes.next())
                .await
                .is_some()
        })
    }

    #[test]
    fn every_way_of_putting_new_content_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert!(told(&path, || fs::write(&path, "new").unwrap()));
        assert!(told(&path, || fs::write(&path, "in place").unwrap()));
        let other = folder.path().join("b");
        fs::write(&other, "beside").unwrap();
        assert!(told(&path, || fs::rename(&other, &path).unwrap()));
        assert!(told(&path, || fs::remove_file(&path).unwrap()));
    }

    #[test]
    fn links_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // As an orchestrator does it: the file leads through a link that is replaced.
        for (version, name) in [("v1", "..data"), ("v2", "..next")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("a"), version).unwrap();
            symlink(version, at(name)).unwrap();
        }
        symlink("..data/a", at("a")).unwrap();
        assert!(told(&at("a"), || fs::rename(at("..next"), at("..data")).unwrap()));
        assert_eq!(read(&at("a")).unwrap(), b"v2");
        assert!(told(&at("a"), || fs::write(at("v2/a"), "v3").unwrap()));
    }

    #[test]
    fn a_neighbour_that_grows_is_no_change() {
        let names = BTreeSet::from([OsString::from("a")]);
        let event = |kind, path: &str| Event::new(kind).add_path(path.into());
        let written = EventKind::Modify(ModifyKind::Data(notify::event::DataChange::Any));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
        let created = EventKind::Create(notify::event::CreateKind::Any);
        assert!(matters(&event(written, "/x/a"), &names));
        assert!(!matters(&event(written, "/x/log"), &names));
        assert!(matters(&event(closed, "/x/a"), &names));
        assert!(!matters(&event(closed, "/x/log"), &names));
        assert!(!matters(&event(opened, "/x/a"), &names), "reading is no change");
        assert!(matters(&event(created, "/x/..data"), &names));
    }

    #[test]
    fn too_much_is_refused() {
        assert_eq!(
            read(Path::new("/dev/zero")).unwrap_err().kind(),
            io::ErrorKind::FileTooLarge
        );
    }
}
