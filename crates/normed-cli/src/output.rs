//! Standard output and standard error: what is printed where, in which form and in which colors.

use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anstyle::{AnsiColor, Style};
use normed::Error;
use normed::files::is_standard_output;
use serde_json::json;

/// How much a command prints, and in which form.
#[derive(Debug, Clone, Copy, Default)]
pub struct Verbosity {
    /// Only results, warnings and errors.
    pub quiet: bool,
    /// Also what was found and chosen.
    pub verbose: bool,
    /// JSON: results and events, warnings among them.
    pub json: bool,
}

static VERBOSITY: OnceLock<Verbosity> = OnceLock::new();

/// Whether the reader of standard output has gone away.
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether standard output holds a result of its own, so that events go to standard error.
static IS_RESERVED: AtomicBool = AtomicBool::new(false);

// The styles of clap's own messages.
const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Green.on_default();
const DETAIL: Style = Style::new().dimmed();

/// Sets how much is printed. Only the first call counts.
pub fn set_verbosity(verbosity: Verbosity) {
    let _ = VERBOSITY.set(verbosity);
}

/// How much is printed.
pub fn verbosity() -> Verbosity {
    VERBOSITY.get().copied().unwrap_or_default()
}

/// Whether progress is shown: bars, and remarks about what is done.
pub fn shows_progress() -> bool {
    let Verbosity { quiet, json, .. } = verbosity();
    !quiet && !json
}

/// Whether standard error is a terminal.
pub fn stderr_is_terminal() -> bool {
    stderr().is_terminal()
}

/// The width of the terminal that standard output is; `None` if it is none.
pub fn terminal_width() -> Option<usize> {
    terminal_size::terminal_size_of(stdout()).map(|(width, _)| width.0.into())
}

/// Prints prose or tables to standard output. On a terminal, lines that are wider are wrapped at words.
pub fn print_text(text: impl Display) {
    print_out(wrapped(text, terminal_width()));
}

/// `text` with every line of it that has more than `width` characters wrapped at words. A line's indentation is that of
/// its continuations. `None` leaves it as it is, as programs read it.
fn wrapped(text: impl Display, width: Option<usize>) -> String {
    let text = text.to_string();
    let Some(width) = width else { return text };
    let wrap = |line: &str| {
        let indent = &line[..line.len() - line.trim_start().len()];
        let options = textwrap::Options::new(width).subsequent_indent(indent).break_words(false);
        textwrap::fill(line, options.word_splitter(textwrap::WordSplitter::NoHyphenation))
    };
    text.split('\n').map(wrap).collect::<Vec<_>>().join("\n")
}

/// Prints a line to standard output as it is.
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
            print_error(&Error::failed("standard output", format!("cannot be written: {error}")));
            std::process::exit(1);
        }
    }
}

/// Sends events to standard error from now on, if the output file `out` is the standard output itself.
pub fn reserve_for(out: &Path) {
    if is_standard_output(out) {
        reserve_stdout();
    }
}

/// Sends events to standard error from now on.
pub fn reserve_stdout() {
    IS_RESERVED.store(true, Ordering::Relaxed);
}

/// Prints prose about a result that is in `out`: to standard error, if that is the standard output itself.
pub fn print_about(out: &Path, text: impl Display) {
    if is_standard_output(out) { print_err(text) } else { print_text(text) }
}

/// Prints a remark that something is done, unless the command is quiet.
pub fn print_done(out: &Path, line: impl Display) {
    if shows_progress() {
        print_about(out, line);
    }
}

/// Prints an error to standard error, with its remedy.
pub fn print_error(error: &Error) {
    let (place, cause) = (error.place(), error.cause());
    print_err(format_args!("{ERROR}error:{ERROR:#} {place}: {cause}"));
    if let Some(remedy) = error.remedy() {
        print_err(format_args!("  {HINT}hint:{HINT:#} {remedy}"));
    }
}

/// Prints that normed itself is at fault.
pub fn print_bug(cause: impl Display) {
    print_err(format_args!(
        "{ERROR}error:{ERROR:#} this is a bug in normed: {cause}; please report it"
    ));
}

/// Prints a warning: to standard error, or among the events.
pub fn print_warning(warning: impl Display) {
    if verbosity().json {
        print_event(json!({ "event": "warning", "message": warning.to_string() }));
    } else {
        print_err(format_args!("{WARNING}warning:{WARNING:#} {warning}"));
    }
}

/// Prints which rows of the data are skipped, as a warning.
pub fn print_skipped(rows: &[String]) {
    if rows.is_empty() {
        return;
    }
    if verbosity().json {
        print_event(json!({ "event": "skipped", "rows": rows }));
    } else {
        let rows_are = if rows.len() == 1 { "row is" } else { "rows are" };
        print_warning(format_args!("{} {rows_are} skipped:", rows.len()));
        rows.iter().for_each(|row| print_err(format_args!("  {row}")));
    }
}

/// Prints an event, a JSON object.
pub fn print_event(event: impl Display) {
    if IS_RESERVED.load(Ordering::Relaxed) { print_err_line(event) } else { print_out(event) }
}

/// Prints what was found or chosen to standard error, if the command is verbose.
pub fn print_detail(name: &str, value: impl Display) {
    if verbosity().verbose {
        print_err(format_args!("{DETAIL}{name}: {value}{DETAIL:#}"));
    }
}

/// Prints prose to standard error, without its colors where they are not wanted. On a terminal, lines that are wider are
/// wrapped at words.
pub fn print_err(text: impl Display) {
    let width = terminal_size::terminal_size_of(stderr()).map(|(width, _)| width.0.into());
    print_err_line(wrapped(text, width));
}

/// Prints a line to standard error as it is, but for its colors. If even that fails, the line is lost.
pub fn print_err_line(line: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_at_words_on_a_terminal_alone() {
        let text = "error: one two three four\n  hint: five six seven\n\na  b";
        let want = "error: one two\nthree four\n  hint: five six\n  seven\n\na  b";
        assert_eq!(wrapped(text, Some(16)), want);
        assert_eq!(wrapped(text, None), text);
        // A path is not broken, and colors take no room.
        assert_eq!(
            wrapped("in runs/a-very-long-name.jsonl", Some(8)),
            "in\nruns/a-very-long-name.jsonl"
        );
        let colored = format!("{ERROR}error:{ERROR:#} one two");
        assert_eq!(wrapped(&colored, Some(14)), colored);
    }
}
