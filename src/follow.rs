//! Follows one file: yields each good new version, and keeps a bad one from changing anything.

use std::{fmt, io, path::PathBuf, sync::Arc};

use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::{
    env::Env,
    files::Changes,
    time::{self, Duration},
};

/// How long a file must be left alone before it is read: whoever writes it may not be done.
const DEBOUNCE: Duration = Duration::from_millis(200);

/// How often a file that is written without a pause is waited for.
const DEBOUNCES_MAX: usize = 10;

/// The file is looked at so often even when no change was told: there are file systems that tell none.
const LOOK: Duration = Duration::from_secs(30);

/// How long reading and parsing may take. More, and the disk is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// How content becomes a version; an error is a sentence that names the place.
type Parse<T> = Arc<dyn Fn(&[u8]) -> Result<T, String> + Send + Sync>;

/// What is there: its content, and the version it comes to unless it is known; or why nothing is.
type Found<T> = Result<(Vec<u8>, Option<Result<T, String>>), String>;

/// One followed file. [`next`](Self::next) yields its versions.
pub struct Follow<T> {
    env: Env,
    path: PathBuf,
    parse: Parse<T>,
    current: T,
    changes: Option<Changes>,
    /// What was there when it was looked at last: content, or why there was none.
    seen: Option<Result<Vec<u8>, String>>,
    /// What was there is no version, and somebody was told.
    refused: bool,
    unwatched: bool,
    look: bool,
}

impl<T: Clone + PartialEq + Send + 'static> Follow<T> {
    /// Follows `path`. `current` is the version in use: one that equals it is no news. `parse` runs on a worker.
    pub fn new(
        env: Env,
        path: PathBuf,
        current: T,
        parse: impl Fn(&[u8]) -> Result<T, String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            env,
            path,
            parse: Arc::new(parse),
            current,
            changes: None,
            seen: None,
            refused: false,
            unwatched: false,
            // It may have changed since `current` was read.
            look: true,
        }
    }

    /// Waits for the next version that is good and differs from the one before. Cancel safe.
    ///
    /// A file that is bad or gone is reported once per change, and again when it is good.
    pub async fn next(&mut self) -> T {
        loop {
            if !self.look {
                self.wait().await;
                self.look = true;
            }
            let found = self.read().await;
            self.look = false;
            if let Some(version) = self.judge(found) {
                return version;
            }
        }
    }

    /// Waits until there may be something to see.
    async fn wait(&mut self) {
        let Some(changes) = &mut self.changes else {
            return time::sleep(LOOK).await;
        };
        if time::within(LOOK, changes.next()).await.is_none() {
            return;
        }
        // From here on a cancelled wait must not forget the change.
        self.look = true;
        settle(changes).await;
    }

    /// What is there now: content and what it comes to, or why there is none.
    async fn read(&mut self) -> Found<T> {
        // A new watch each time, before the reading: folders and links may have been replaced too.
        match self.env.files.watch(self.path.clone()).await {
            Ok(changes) => {
                self.changes = Some(changes);
                self.unwatched = false;
            }
            Err(error) => {
                self.changes = None;
                if !std::mem::replace(&mut self.unwatched, true) {
                    warn!(file = %self.path.display(), %error, every = ?LOOK, "cannot be watched: looking now and then");
                }
            }
        }
        let read = time::within(PATIENCE, self.env.files.read(self.path.clone())).await;
        let late = || Err(io::ErrorKind::TimedOut.into());
        let content = read
            .unwrap_or_else(late)
            .map_err(|error: io::Error| error.to_string())?;
        if self.seen.as_ref() == Some(&Ok(content.clone())) {
            return Ok((content, None));
        }
        let (tell, told) = oneshot::channel();
        let (parse, text) = (Arc::clone(&self.parse), content.clone());
        let _task = self.env.spawn(async move {
            let _ = tell.send(parse(&text));
        });
        let parsed = time::within(PATIENCE, told).await;
        let parsed = parsed
            .and_then(Result::ok)
            .unwrap_or_else(|| Err("it could not be understood in time".to_owned()));
        Ok((content, Some(parsed)))
    }

    /// Reports what is new, and says what is to be used from now on.
    fn judge(&mut self, found: Found<T>) -> Option<T> {
        let file = self.path.display();
        let (seen, parsed) = match found {
            Ok((_, None)) => return None,
            Ok((content, Some(parsed))) => (Ok(content), parsed),
            Err(error) => (Err(error.clone()), Err(format!("cannot be read: {error}"))),
        };
        if self.seen.as_ref() == Some(&seen) {
            return None;
        }
        self.seen = Some(seen);
        match parsed {
            Err(error) => {
                self.refused = true;
                warn!(%file, error, "not accepted: nothing changes");
                None
            }
            Ok(version) => {
                let again = std::mem::take(&mut self.refused);
                let news = version != self.current;
                match (again, news) {
                    (true, true) => info!(%file, "good again, and new"),
                    (true, false) => info!(%file, "good again, and as it was"),
                    (false, true) => info!(%file, "has a new version"),
                    (false, false) => return None,
                }
                news.then(|| {
                    self.current = version.clone();
                    version
                })
            }
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Follow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow")
            .field("path", &self.path)
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

/// Waits until no change was told for a moment.
async fn settle(changes: &mut Changes) {
    for _ in 0..DEBOUNCES_MAX {
        if time::within(DEBOUNCE, changes.next()).await.is_none() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{env::Stop, files::Memory};

    /// The file that is followed.
    const PATH: &str = "/etc/number";

    fn number(content: &[u8]) -> Result<u32, String> {
        let text = std::str::from_utf8(content).map_err(|error| error.to_string())?;
        text.trim().parse().map_err(|_| format!("{text:?} is no number"))
    }

    /// Follows a number that was 1 at the start.
    fn run<F: Future<Output = ()>>(test: impl FnOnce(Memory, Follow<u32>) -> F) {
        let files = Memory::default();
        files.write(PATH, "1");
        let (_stopper, stop) = Stop::channel();
        let env = Env {
            files: Arc::new(files.clone()),
            ..Env::production(stop)
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let follow = Follow::new(env, PATH.into(), 1, number);
            let done = time::within(Duration::from_secs(20), test(files, follow)).await;
            done.expect("the test ends in time");
        });
    }

    /// Nothing is yielded for longer than a change takes.
    async fn quiet(follow: &mut Follow<u32>) {
        let news = time::within(4 * DEBOUNCE, follow.next()).await;
        assert_eq!(news, None);
    }

    #[test]
    fn a_new_version_is_yielded_once() {
        run(|files, mut follow| async move {
            quiet(&mut follow).await;
            files.write(PATH, "2");
            assert_eq!(follow.next().await, 2);
            files.write(PATH, " 2 ");
            quiet(&mut follow).await;
            files.write("/etc/other", "3");
            quiet(&mut follow).await;
        });
    }

    #[test]
    fn a_bad_version_changes_nothing() {
        run(|files, mut follow| async move {
            files.write(PATH, "many");
            quiet(&mut follow).await;
            assert!(follow.refused);
            files.write(PATH, "1");
            quiet(&mut follow).await;
            assert!(!follow.refused, "good again");
            files.remove(PATH);
            quiet(&mut follow).await;
            assert!(follow.refused, "gone is bad");
            files.write(PATH, "5");
            assert_eq!(follow.next().await, 5);
        });
    }

    #[test]
    fn a_burst_is_one_change() {
        run(|files, mut follow| async move {
            quiet(&mut follow).await;
            let writer = async {
                for text in ["7", "no", "8", "9"] {
                    files.write(PATH, text);
                    time::sleep(DEBOUNCE / 4).await;
                }
            };
            let (version, ()) = tokio::join!(follow.next(), writer);
            assert_eq!(version, 9);
        });
    }

    #[test]
    fn a_cancelled_wait_forgets_nothing() {
        run(|files, mut follow| async move {
            quiet(&mut follow).await;
            files.write(PATH, "2");
            // Cut off at every step on the way: seeing the change, waiting, reading.
            let mut version = None;
            for step in 0..1000 {
                version = time::within(Duration::from_millis(step % 7), follow.next()).await;
                if version.is_some() {
                    break;
                }
            }
            assert_eq!(version, Some(2));
        });
    }

    #[test]
    fn what_changed_before_the_watch_is_seen() {
        run(|files, mut follow| async move {
            files.write(PATH, "2");
            assert_eq!(follow.next().await, 2);
        });
    }
}
