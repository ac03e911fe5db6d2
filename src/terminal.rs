//! What the command says on standard output and standard error, and whether a hang-up ends it.

use std::{
    fmt::Display,
    fs,
    io::{self, Write},
};

/// The number of SIGHUP, as a bit of the masks in `/proc/self/status`.
const SIGHUP_BIT: u64 = 1;

/// Writes a line to standard output. A reader that has left, or a full disk, is no reason to fail: there is nobody to tell.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// The same on standard error.
pub fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Whether this process was started to end when its terminal hangs up: it has one, and nobody (`nohup`) had SIGHUP ignored.
pub fn ends_with_terminal() -> bool {
    has_terminal() && !ignores_hang_up(&fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// Whether there is a controlling terminal. One that has hung up cannot be opened any more.
pub fn has_terminal() -> bool {
    fs::File::open("/dev/tty").is_ok()
}

/// `status`: the text of `/proc/self/status` (proc_pid_status(5)).
fn ignores_hang_up(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & SIGHUP_BIT != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nohup_is_noticed() {
        let check = |status: &str, expected| assert_eq!(ignores_hang_up(status), expected, "{status}");
        check("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n", true);
        check("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n", false);
        check("", false);
    }
}
