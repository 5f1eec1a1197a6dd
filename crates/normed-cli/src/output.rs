//! Standard output and standard error, for good and for bad.

use std::fmt::Display;
use std::io::{ErrorKind, Write, stderr, stdout};

/// Prints a line to standard output. Where nobody reads any more (`normed inspect | head`), the
/// process ends in silence; where it cannot be written, with an error.
pub fn print_out(line: impl Display) {
    let mut out = stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        if error.kind() != ErrorKind::BrokenPipe {
            print_err(format_args!("error: standard output: {error}"));
        }
        std::process::exit(1);
    }
}

/// Prints a line to standard error. If even that fails, there is nobody left to tell.
pub fn print_err(line: impl Display) {
    let _ = writeln!(stderr().lock(), "{line}");
}
