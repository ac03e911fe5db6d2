//! `adit hash-password`: reads a password and prints the hash that `basic_auth` takes.

use std::io::{self, BufRead, IsTerminal as _, Read as _, Write as _};

use adit::{env::Entropy, files::text, plugin::hash_password};
use anyhow::{Context as _, ensure};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

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
    let hash = hash_password(password.as_bytes(), salt)?;
    writeln!(io::stdout(), "{hash}").context("cannot print the hash")
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
            .into_owned(),
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

/// A line, with its end.
///
/// # Errors
/// `interrupt` was typed, or it is no text.
fn read_line(reader: &mut impl BufRead, interrupt: u8) -> anyhow::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::new());
    loop {
        let there = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            there => there.context("cannot read the password")?,
        };
        let end = there.iter().position(|byte| [b'\n', interrupt].contains(byte));
        let len = end.map_or(there.len(), |at| at + 1);
        bytes.extend_from_slice(&there[..len]);
        reader.consume(len);
        if len == 0 || end.is_some() {
            break;
        }
    }
    ensure!(bytes.last() != Some(&interrupt), "interrupted");
    let line = std::str::from_utf8(&bytes).context("cannot read the password")?;
    Ok(Zeroizing::new(line.to_owned()))
}

/// The terminal without echo and without signals, until this is dropped. A signal would end the process and leave the
/// terminal as it is: the character that interrupts ends the line instead.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VEOL] = before.special_codes[SpecialCodeIndex::VINTR];
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }

    fn ask(&self, prompt: &str) -> anyhow::Result<Zeroizing<String>> {
        // Standard output is for the hash alone.
        let _ = write!(io::stderr(), "{prompt}");
        let interrupt = self.0.special_codes[SpecialCodeIndex::VINTR];
        let line = read_line(&mut io::stdin().lock(), interrupt);
        let _ = writeln!(io::stderr());
        let line = line?;
        Ok(Zeroizing::new(without_end(&line).to_owned()))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_its_end_and_not_when_interrupted() {
        let check = |typed: &[u8], expected: Option<&str>| {
            // A terminal may give a line in pieces.
            let mut reader = io::BufReader::with_capacity(2, typed);
            let line = read_line(&mut reader, 3).ok();
            assert_eq!(line.as_deref().map(String::as_str), expected, "{typed:?}");
        };
        check(b"secret\nnext\n", Some("secret\n"));
        check(b"secret", Some("secret"));
        check(b"", Some(""));
        check(b"secr\x03et\n", None);
        check(b"\x03", None);
        check(b"\xff\n", None);
    }
}
