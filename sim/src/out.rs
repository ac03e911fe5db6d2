//! What is said on stdout.

use std::{
    fmt,
    io::{ErrorKind, Write, stdout},
};

/// Prints a line, or several. Who has read enough and closed the pipe changes neither a run nor its verdict.
pub fn say(what: impl fmt::Display) {
    match writeln!(stdout(), "{what}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("stdout cannot be written: {error}"),
        _ => {}
    }
}
