//! Causes of errors in NIfTI files that end early or cannot be read.

use std::io;

pub(super) fn broken(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "is cut short".into(),
        _ => format!("cannot be read: {error}"),
    }
}

pub(super) fn cut_short() -> String {
    "is cut short: it has fewer voxels than its header states".into()
}
