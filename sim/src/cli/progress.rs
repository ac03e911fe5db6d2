//! How far a command has come: a bar on a terminal, now and then a line elsewhere. Both on stderr.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::watch::Watch;

/// Between two lines.
const PAUSE: Duration = Duration::from_secs(10);

/// Shows how far something has come.
pub struct Progress {
    end: Option<u64>,
    bar: Option<ProgressBar>,
    last: Watch,
}

impl Progress {
    /// Nothing is done yet, of so much if that is known.
    pub fn new(end: Option<u64>) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let (bar, shape) = match end {
                Some(end) => (ProgressBar::new(end), "{bar:30} {pos}/{len} {msg}"),
                None => (ProgressBar::new_spinner(), "{spinner} {pos} {msg}"),
            };
            let style = ProgressStyle::with_template(shape).expect("the shape is right");
            bar.with_style(style)
        });
        Self {
            end,
            bar,
            last: Watch::start(),
        }
    }

    /// So much is done.
    pub fn tell(&mut self, done: u64, words: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(words());
        } else if self.last.elapsed() >= PAUSE {
            self.last = Watch::start();
            match self.end {
                Some(end) => eprintln!("{done}/{end} {}", words()),
                None => eprintln!("{done} {}", words()),
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
