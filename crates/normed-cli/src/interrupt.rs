//! Ctrl-C: the first press stops a command cleanly, the second ends it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use normed::{Error, Result};

use crate::output::print_err;

/// The exit code of a process that was stopped by Ctrl-C.
pub const STOPPED: u8 = 130;

/// A flag that the first Ctrl-C (or SIGTERM) sets, after printing `message`. The second ends the process at
/// once.
pub fn flag(message: &'static str) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let pressed = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if pressed.swap(true, Ordering::Relaxed) {
            std::process::exit(STOPPED.into());
        }
        print_err(message);
    })
    .map_err(|error| Error::failed("Ctrl-C", error))?;
    Ok(stop)
}
