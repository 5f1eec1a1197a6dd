//! Reports of panics. A panic is a mistake in normed, never the user's.
//!
//! The hook only records a panic and lets it unwind. A guard that catches it, such as the one around
//! image decoders, then decides what it means. A panic that no guard catches reaches `main`, which
//! reports it here.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic;
use std::sync::{Mutex, PoisonError};

use normed::Error;

use crate::output::{print_bug, print_err_line};

/// Where the most recent panic happened.
static LAST: Mutex<Option<Panic>> = Mutex::new(None);

struct Panic {
    message: String,
    location: String,
    backtrace: Backtrace,
}

/// Makes panics silent until they are reported, on every thread.
pub fn record_panics() {
    panic::set_hook(Box::new(|info| {
        let location = info.location().map(|l| format!(" ({}:{})", l.file(), l.line()));
        let panic = Panic {
            message: message_of(info.payload()),
            location: location.unwrap_or_default(),
            // Empty unless the user asks for it with RUST_BACKTRACE.
            backtrace: Backtrace::capture(),
        };
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(panic);
    }));
}

/// Reports a panic that reached `main`, in one line.
pub fn report_panic(payload: &(dyn Any + Send)) {
    report(&message_of(payload));
}

/// Reports an error whose cause is a panic of a worker, in one line.
pub fn report_error(error: &Error) {
    report(error.cause());
}

fn report(cause: &str) {
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner).take();
    // Another panic may have been caught since this one.
    let last = last.filter(|panic| cause.contains(&panic.message));
    let location = last.as_ref().map_or("", |panic| &panic.location);
    let cause = cause.replace('\n', " ");
    print_bug(format_args!("{cause}{location}"));
    if let Some(panic) = last
        && panic.backtrace.status() == BacktraceStatus::Captured
    {
        print_err_line(panic.backtrace);
    }
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}
