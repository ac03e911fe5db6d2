//! `adit hash-password`: reads a password and prints the hash that `basic_auth` takes.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use adit::{env::Entropy, files::text, plugin::hash_password};
use anyhow::{Context as _, ensure};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::terminal;

/// The longest password, in bytes. With its name it has to fit the credentials that are looked at.
const PASSWORD_LEN_MAX: usize = 1024;

/// Reads a password from standard input, on a terminal twice and without echo, and prints its hash.
pub fn hash() -> anyhow::Result<()> {
    let password = match io::stdin().is_terminal() {
        true => ask_twice()?,
        false => read_all()?,
    };
    ensure!(!password.is_empty(), "the password is empty");
    ensure!(
        password.len() <= PASSWORD_LEN_MAX,
        "the password has more than {PASSWORD_LEN_MAX} bytes"
    );
    let salt = Entropy::system().bytes();
    terminal::say(hash_password(password.as_bytes(), salt)?);
    Ok(())
}

/// The one line of standard input, without its end.
fn read_all() -> anyhow::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::new());
    io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .context("cannot read the password")?;
    let line = Zeroizing::new(
        text::decode(&bytes)
            .context("cannot read the password")?
            .to_owned(),
    );
    let line = without_end(&line);
    ensure!(
        !line.contains(['\n', '\r']),
        "the password has more than one line"
    );
    Ok(Zeroizing::new(line.to_owned()))
}

fn ask_twice() -> anyhow::Result<Zeroizing<String>> {
    let quiet = Quiet::begin().context("cannot turn off the echo of the terminal")?;
    let first = quiet.ask("Password: ")?;
    let second = quiet.ask("Again: ")?;
    ensure!(first == second, "the two passwords differ");
    Ok(first)
}

/// A line without the characters that end it.
fn without_end(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

/// The terminal without echo, until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }

    fn ask(&self, prompt: &str) -> anyhow::Result<Zeroizing<String>> {
        let mut line = Zeroizing::new(String::new());
        // Standard output is for the hash alone.
        let _ = write!(io::stderr(), "{prompt}");
        io::stdin()
            .lock()
            .read_line(&mut line)
            .context("cannot read the password")?;
        let _ = writeln!(io::stderr());
        Ok(Zeroizing::new(without_end(&line).to_owned()))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
