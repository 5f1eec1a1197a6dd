//! Panics in decoders, turned into errors.
//!
//! Decoders of images, tables and tokenizers are crates that this project does not maintain. A damaged file may trip
//! an assertion in one. That must not end a thread or a run: it is an error of the file.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `decode`. A panic in it is an error that holds the message of the panic, up to its first line end.
pub(super) fn catch<T>(decode: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // What a decoder leaves half done is dropped with it: nothing is seen in a broken state.
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        let message = message(&*panic).lines().next().unwrap_or_default();
        Err(format!("cannot be decoded: the decoder failed ({message})"))
    })
}

/// The message of a panic.
pub(super) fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given")
}
