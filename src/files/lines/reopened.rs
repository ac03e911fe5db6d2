//! A log file that is opened anew after another program has renamed or removed it, as logrotate does.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

/// Lines in a row that are written without a look at the name. More leave lines in a renamed file for longer while the log
/// never rests; fewer cost a system call for each line then.
const UNCHECKED_MAX: u32 = 256;

/// Appends to the file that has this name now.
#[derive(Debug)]
pub(super) struct ReopenedFile {
    path: PathBuf,
    file: File,
    /// Lines written since the last look at the name; 0 if the next write looks.
    unchecked: u32,
}

impl ReopenedFile {
    /// Opens the file, or creates it.
    ///
    /// # Errors
    /// What the operating system says.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let file = append(&path)?;
        Ok(Self {
            path,
            file,
            unchecked: 0,
        })
    }

    /// True if the open file still has the name. A file system that cannot say leaves the file as it is.
    fn is_current(&self) -> bool {
        let Ok(open) = self.file.metadata() else {
            return true;
        };
        match self.path.metadata() {
            Ok(named) => (named.dev(), named.ino()) == (open.dev(), open.ino()),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Keeps the old file if a new one cannot be opened: lines in a renamed file are better than lost lines.
    fn reopen_if_renamed(&mut self) {
        if !self.is_current()
            && let Ok(file) = append(&self.path)
        {
            self.file = file;
        }
    }
}

impl Write for ReopenedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.unchecked == 0 {
            self.reopen_if_renamed();
        }
        self.unchecked = (self.unchecked + 1) % UNCHECKED_MAX;
        self.file.write(bytes)
    }

    /// Called when no line waits: the next line looks at the name again.
    fn flush(&mut self) -> io::Result<()> {
        self.unchecked = 0;
        self.file.flush()
    }
}

fn append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_renamed_or_removed_file_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
        let mut file = ReopenedFile::open(path.clone()).unwrap();
        let mut line = |text: &[u8]| {
            file.write_all(text).unwrap();
            file.flush().unwrap();
        };
        line(b"first\n");
        fs::rename(&path, &old).unwrap();
        line(b"second\n");
        assert_eq!(fs::read(&old).unwrap(), b"first\n");
        assert_eq!(fs::read(&path).unwrap(), b"second\n");
        // logrotate with `create` makes the new file itself.
        fs::rename(&path, &old).unwrap();
        fs::write(&path, b"").unwrap();
        line(b"third\n");
        fs::remove_file(&path).unwrap();
        line(b"fourth\n");
        assert_eq!(fs::read(&path).unwrap(), b"fourth\n");
        assert_eq!(fs::read(&old).unwrap(), b"second\n");
    }

    #[test]
    fn a_log_that_never_rests_looks_now_and_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = ReopenedFile::open(path.clone()).unwrap();
        file.write_all(b"line\n").unwrap();
        fs::remove_file(&path).unwrap();
        for _ in 0..UNCHECKED_MAX {
            file.write_all(b"line\n").unwrap();
        }
        assert!(path.exists());
    }
}
