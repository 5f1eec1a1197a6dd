//! Standard output and standard error.

use std::fmt::Display;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use normed::files::is_standard_output;

/// Whether the reader of standard output has gone away.
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Prints a line to standard output.
///
/// If its reader has gone away (`normed inspect DIR | head`), nothing more is printed; the command
/// still finishes its work, and its exit code stays true. If the line cannot be written for another
/// reason, such as a full disk, the process ends with an error.
pub fn print_out(line: impl Display) {
    if IS_CLOSED.load(Ordering::Relaxed) {
        return;
    }
    let mut out = stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            IS_CLOSED.store(true, Ordering::Relaxed);
        }
        Err(error) => {
            print_err(format_args!("error: cannot write to standard output: {error}"));
            std::process::exit(1);
        }
    }
}

/// Prints a line about a result that is in `out`: to standard error, if that is the standard output itself.
pub fn print_about(out: &Path, line: impl Display) {
    if is_standard_output(out) { print_err(line) } else { print_out(line) }
}

/// Prints a line to standard error. If even that fails, the line is lost.
pub fn print_err(line: impl Display) {
    let _ = writeln!(stderr().lock(), "{line}");
}
